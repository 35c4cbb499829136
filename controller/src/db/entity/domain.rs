//! A domain of users and projects (Identity v3).

use sea_orm::entity::prelude::*;

/// A domain of users and projects (Identity v3).
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "domains")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Whether anybody of it may log in.
    pub enabled: bool,
    /// When it was made.
    pub created_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
