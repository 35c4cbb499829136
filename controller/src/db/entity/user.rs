//! A user, who logs in with a password, a token or an application credential.

use sea_orm::entity::prelude::*;

/// A user, who logs in with a password, a token or an application credential.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Its domain.
    pub domain_id: i64,
    /// Its name, unique in its domain.
    pub name: String,
    /// Where to write to.
    pub email: Option<String>,
    /// Argon2id of the password, as a PHC string; none: no password lets in.
    pub password_digest: Option<String>,
    /// The project a token is scoped to when none is asked for.
    pub default_project_id: Option<i64>,
    /// Whether it may log in.
    pub enabled: bool,
    /// When it was made.
    pub created_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
