//! All that was written down of a server: calls, intents, jobs, events.

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::DbError;
use super::entity::{audit_entry, inbox_entry, intent, job, port, server};

/// See the module.
#[derive(Debug, Clone)]
pub struct Story {
    /// Who asked for what.
    pub calls: Vec<audit_entry::Model>,
    /// What was to be asked of Ganeti.
    pub intents: Vec<intent::Model>,
    /// What Ganeti did.
    pub jobs: Vec<job::Model>,
    /// The messages that told so.
    pub events: Vec<inbox_entry::Model>,
    /// Its NICs.
    pub ports: Vec<port::Model>,
}

/// A server's story, each part in the order it happened.
///
/// # Errors
/// The database's own.
pub async fn server(
    connection: &impl ConnectionTrait,
    server: &server::Model,
) -> Result<Story, DbError> {
    let intents = intent::Entity::find()
        .filter(intent::Column::ServerId.eq(server.id))
        .order_by_asc(intent::Column::Id)
        .all(connection)
        .await?;
    let requests = intents.iter().filter_map(|row| row.request_id.clone());
    let calls = Condition::any()
        .add(audit_entry::Column::Target.eq(server.uuid.to_string()))
        .add(audit_entry::Column::RequestId.is_in(requests.collect::<Vec<_>>()));
    let calls = audit_entry::Entity::find()
        .filter(calls)
        .order_by_asc(audit_entry::Column::Id)
        .all(connection)
        .await?;
    let jobs = job::Entity::find()
        .filter(job::Column::ServerId.eq(server.id))
        .order_by_asc(job::Column::JobId)
        .all(connection)
        .await?;
    let numbers = jobs.iter().map(|job| job.job_id);
    let numbers = numbers.chain(intents.iter().filter_map(|intent| intent.job_id));
    let events = inbox_entry::Entity::find()
        .filter(inbox_entry::Column::BackendId.eq(server.backend_id))
        .filter(inbox_entry::Column::JobId.is_in(numbers.collect::<Vec<_>>()))
        .order_by_asc(inbox_entry::Column::Id)
        .all(connection)
        .await?;
    let ports = port::Entity::find()
        .filter(port::Column::ServerId.eq(server.id))
        .order_by_asc(port::Column::Id)
        .all(connection)
        .await?;
    Ok(Story {
        calls,
        intents,
        jobs,
        events,
        ports,
    })
}
