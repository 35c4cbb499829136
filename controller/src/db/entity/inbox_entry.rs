//! A message that was taken in: it counts once.

use sea_orm::entity::prelude::*;

/// A message that was taken in: it counts once.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inbox")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The cluster.
    pub backend_id: i64,
    /// The job.
    pub job_id: i64,
    /// When Ganeti received it, microseconds since 1970.
    pub received: i64,
    /// Which of its operations.
    pub op_index: i32,
    /// How far it was.
    pub status: String,
    /// When.
    pub taken_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
