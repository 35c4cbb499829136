//! A network on a cluster: made there when the first server needs it.

use sea_orm::entity::prelude::*;

/// A network on a cluster: made there when the first server needs it.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "backend_networks")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The network.
    pub network_id: i64,
    /// The cluster.
    pub backend_id: i64,
    /// `PENDING`, `ACTIVE`, `ERROR`, `DELETED`.
    pub oper_state: String,
    /// The job that makes it ready: what needs it depends on that job.
    pub job_id: Option<i64>,
    /// When it was asked for.
    pub created_at: DateTimeUtc,
    /// When its row changed.
    pub updated_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// It is being made, or is not connected.
pub const PENDING: &str = "PENDING";
/// Servers can be attached to it.
pub const ACTIVE: &str = "ACTIVE";
/// It could not be made.
pub const ERROR: &str = "ERROR";
/// It is gone.
pub const DELETED: &str = "DELETED";
