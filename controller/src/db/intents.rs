//! What is to be asked of Ganeti.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter,
    QueryOrder,
};
use serde_json::Value;
use uuid::Uuid;

use super::DbError;
use super::entity::intent;
use crate::lifecycle::NetworkStep;

/// To be sent; surely not sent yet.
pub const WAITING: &str = "waiting";
/// Sent, or about to be; whether there is a job is not known.
pub const SENDING: &str = "sending";
/// There is a job.
pub const SUBMITTED: &str = "submitted";
/// The job has succeeded.
pub const DONE: &str = "done";
/// Refused, or the job has failed.
pub const FAILED: &str = "failed";
/// Not sent, as what it came after has failed.
pub const DROPPED: &str = "dropped";

/// The states before the end.
pub const OPEN: [&str; 3] = [WAITING, SENDING, SUBMITTED];

/// What an intent's secrets are sealed for.
#[must_use]
pub fn secrets_place(uuid: Uuid) -> String {
    format!("intents/{uuid}/secrets")
}

/// An intent in the making.
#[derive(Debug, Clone)]
pub struct NewIntent {
    /// What its job is found again by, and what its secrets are sealed for.
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
    /// The task it is a step of.
    pub task: Option<String>,
    /// The step.
    pub step: &'static str,
    /// Whether the task ends with it.
    pub is_last: bool,
    /// The intent that must be done before.
    pub after_id: Option<i64>,
    /// `rapi::Submission::to_json`
    pub request: Value,
    /// Sealed for [`secrets_place`].
    pub secrets: Option<String>,
    /// The API request it comes from.
    pub request_id: Option<String>,
}

impl NewIntent {
    /// One about a network.
    #[must_use]
    pub fn of_network(
        step: NetworkStep,
        (network_id, backend_id): (i64, i64),
        request: Value,
    ) -> Self {
        Self {
            uuid: Uuid::now_v7(),
            backend_id,
            server_id: None,
            network_id: Some(network_id),
            port_id: None,
            flavor_id: None,
            task: None,
            step: step.as_str(),
            is_last: false,
            after_id: None,
            request,
            secrets: None,
            request_id: None,
        }
    }
}

/// Writes an intent; it waits to be sent.
///
/// # Errors
/// The database's own.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: NewIntent,
    now: DateTime<Utc>,
) -> Result<intent::Model, DbError> {
    let row = intent::ActiveModel {
        id: ActiveValue::NotSet,
        uuid: ActiveValue::Set(new.uuid),
        backend_id: ActiveValue::Set(new.backend_id),
        server_id: ActiveValue::Set(new.server_id),
        network_id: ActiveValue::Set(new.network_id),
        port_id: ActiveValue::Set(new.port_id),
        flavor_id: ActiveValue::Set(new.flavor_id),
        task: ActiveValue::Set(new.task),
        step: ActiveValue::Set(new.step.to_owned()),
        is_last: ActiveValue::Set(new.is_last),
        after_id: ActiveValue::Set(new.after_id),
        request: ActiveValue::Set(new.request),
        secrets: ActiveValue::Set(new.secrets),
        state: ActiveValue::Set(WAITING.to_owned()),
        attempts: ActiveValue::Set(0),
        not_before: ActiveValue::Set(now),
        leased_by: ActiveValue::Set(None),
        leased_until: ActiveValue::Set(None),
        highest_job: ActiveValue::Set(None),
        job_id: ActiveValue::Set(None),
        error: ActiveValue::Set(None),
        request_id: ActiveValue::Set(new.request_id),
        created_at: ActiveValue::Set(now),
        updated_at: ActiveValue::Set(now),
    };
    Ok(row.insert(tx).await?)
}

/// The last open intent about a network on a cluster.
///
/// # Errors
/// The database's own.
pub async fn last_open_of_network(
    tx: &DatabaseTransaction,
    network_id: i64,
    backend_id: i64,
) -> Result<Option<i64>, DbError> {
    let steps = NetworkStep::ALL.map(NetworkStep::as_str);
    let found = intent::Entity::find()
        .filter(intent::Column::NetworkId.eq(network_id))
        .filter(intent::Column::BackendId.eq(backend_id))
        .filter(intent::Column::Step.is_in(steps))
        .filter(intent::Column::State.is_in(OPEN))
        .order_by_desc(intent::Column::Id)
        .one(tx)
        .await?;
    Ok(found.map(|row| row.id))
}

/// A server's intents that surely were not sent are given up: it goes.
///
/// # Errors
/// The database's own.
pub async fn give_up(
    tx: &DatabaseTransaction,
    server_id: i64,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    intent::Entity::update_many()
        .col_expr(intent::Column::State, Expr::value(DROPPED))
        .col_expr(intent::Column::UpdatedAt, Expr::value(now))
        .filter(intent::Column::ServerId.eq(server_id))
        .filter(intent::Column::State.eq(WAITING))
        .exec(tx)
        .await?;
    Ok(())
}
