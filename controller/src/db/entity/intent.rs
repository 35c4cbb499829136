//! What is to be asked of Ganeti: one job, exactly one.

use sea_orm::entity::prelude::*;

/// What is to be asked of Ganeti: one job, exactly one.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "intents")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// What its job is found again by: `snf:<uuid>` is its reason.
    pub uuid: Uuid,
    /// Where.
    pub backend_id: i64,
    /// For which server.
    pub server_id: Option<i64>,
    /// For which network.
    pub network_id: Option<i64>,
    /// For which NIC.
    pub port_id: Option<i64>,
    /// The flavor that its server has once it is done.
    pub flavor_id: Option<i64>,
    /// The server's task it is a step of.
    pub task: Option<String>,
    /// `crate::lifecycle::Step`, or a network's.
    pub step: String,
    /// Whether the task ends with it.
    pub is_last: bool,
    /// The intent whose job must have succeeded before.
    pub after_id: Option<i64>,
    /// What is asked: method, path, query, body, without secrets.
    pub request: Json,
    /// Secret parameters that are added to the body when it is sent: sealed.
    #[sea_orm(column_type = "Text")]
    pub secrets: Option<String>,
    /// `waiting`, `sending`, `submitted`, `done`, `failed`, `dropped`.
    pub state: String,
    /// How often it was sent.
    pub attempts: i32,
    /// When it is tried again.
    pub not_before: DateTimeUtc,
    /// Which worker has it.
    pub leased_by: Option<String>,
    /// Until when.
    pub leased_until: Option<DateTimeUtc>,
    /// The cluster's highest job before it was first sent: its own is above.
    pub highest_job: Option<i64>,
    /// Its job.
    pub job_id: Option<i64>,
    /// Why it failed.
    #[sea_orm(column_type = "Text")]
    pub error: Option<String>,
    /// The API request it comes from.
    pub request_id: Option<String>,
    /// When it was wanted.
    pub created_at: DateTimeUtc,
    /// When its row changed.
    pub updated_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Not sent yet.
pub const WAITING: &str = "waiting";
/// A worker is about to send it, or has sent it and does not know what became of it.
pub const SENDING: &str = "sending";
/// Ganeti has its job.
pub const SUBMITTED: &str = "submitted";
/// Its job has succeeded.
pub const DONE: &str = "done";
/// Its job has failed, or there will be none.
pub const FAILED: &str = "failed";
/// What it was to follow has failed.
pub const DROPPED: &str = "dropped";

/// Whether nothing more happens to an intent in this state.
#[must_use]
pub fn is_final(state: &str) -> bool {
    matches!(state, DONE | FAILED | DROPPED)
}
