//! A secret of a user's for programs, bound to one project.

use sea_orm::entity::prelude::*;

/// A secret of a user's for programs, bound to one project.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "application_credentials")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Whose it is.
    pub user_id: i64,
    /// What it lets into.
    pub project_id: i64,
    /// Its name, unique for its user.
    pub name: String,
    /// Free words.
    #[sea_orm(column_type = "Text")]
    pub description: String,
    /// SHA-256 of the secret, hexadecimal: it is as long as a key.
    pub secret_digest: String,
    /// What it lets do: roles, separated by commas.
    pub roles: String,
    /// Whether it may make and delete its like.
    pub unrestricted: bool,
    /// Until when.
    pub expires_at: Option<DateTimeUtc>,
    /// When it was made.
    pub created_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
