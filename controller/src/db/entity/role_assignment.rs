//! What a user is in a project.

use sea_orm::entity::prelude::*;

/// What a user is in a project.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "role_assignments")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Who.
    pub user_id: i64,
    /// Where.
    pub project_id: i64,
    /// `admin`, `member` or `reader`.
    pub role: String,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
