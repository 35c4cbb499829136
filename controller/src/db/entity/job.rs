//! An operation of a job, as far as it is known.

use sea_orm::entity::prelude::*;

/// An operation of a job, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "jobs")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The cluster.
    pub backend_id: i64,
    /// The job.
    pub job_id: i64,
    /// When Ganeti received it, microseconds since 1970 by Ganeti's clock.
    pub received: i64,
    /// Which of its operations.
    pub op_index: i32,
    /// Ganeti's word for it.
    pub opcode: String,
    /// How far it is.
    pub status: String,
    /// When it ended, as `received`.
    pub ended: Option<i64>,
    /// The server it is about.
    pub server_id: Option<i64>,
    /// The network it is about.
    pub network_id: Option<i64>,
    /// The intent it comes from.
    pub intent_id: Option<i64>,
    /// Last line of its log.
    #[sea_orm(column_type = "Text")]
    pub log: Option<String>,
    /// When its row changed.
    pub updated_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
