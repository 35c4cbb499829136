//! How much a project may have of something, where that is not the default.

use sea_orm::entity::prelude::*;

/// How much a project may have of something, where that is not the default.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "quotas")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Whose.
    pub project_id: i64,
    /// `instances`, `cores`, `ram`, `disk`, `floating_ips`.
    pub resource: String,
    /// How much; -1: any.
    pub most: i64,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
