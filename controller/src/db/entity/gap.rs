//! Numbers of a stream that are missing.

use sea_orm::entity::prelude::*;

/// Numbers of a stream that are missing.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "gaps")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The stream.
    pub stream_id: i64,
    /// The first that is missing.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// Since when.
    pub found_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
