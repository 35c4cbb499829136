//! A project: who servers, networks and quotas belong to.

use sea_orm::entity::prelude::*;

/// A project: who servers, networks and quotas belong to.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "projects")]
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
    /// Free words.
    #[sea_orm(column_type = "Text")]
    pub description: String,
    /// Whether tokens may be scoped to it.
    pub enabled: bool,
    /// When it was made.
    pub created_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
