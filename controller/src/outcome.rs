//! What an intent's failure means for what it was for: the same whether Ganeti refused it or its job has failed.

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;

use crate::db::entity::intent;
use crate::db::{DbError, backend_networks, intents, outcomes};
use crate::lifecycle::{NetworkStep, Step};

/// HTTP status of a server's fault.
const FAULT: i32 = 500;
/// Ganeti's words for a network that was made before (`cmdlib/network.py`).
const ALREADY_THERE: &str = "already exists as a network";

/// Marks an intent as failed, drops all that come after it, and tells those they were for.
///
/// A server's task ends and its fault is set; when its creation was among them, it is in `ERROR`. A NIC that was to be added
/// is in `ERROR`, one that was to be removed is there as before. A network is in `ERROR` on that cluster: the next server that
/// needs it there tries again; but one that is there already was only asked for twice, and the intent is done. An intent that
/// has ended is left alone, and nothing follows from it.
///
/// # Errors
/// The database's own.
pub async fn intent_failed(
    tx: &DatabaseTransaction,
    intent: &intent::Model,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    if intent.step == NetworkStep::Add.as_str() && reason.contains(ALREADY_THERE) {
        outcomes::end(tx, intent.id, intents::DONE, None, now).await?;
        return Ok(());
    }
    if !outcomes::end(tx, intent.id, intents::FAILED, Some(reason), now).await? {
        return Ok(());
    }
    tell(tx, intent, reason, now).await?;
    let mut failed = vec![intent.id];
    while let Some(before) = failed.pop() {
        for next in outcomes::open_after(tx, before).await? {
            let why = format!("what it came after has failed: {reason}");
            if outcomes::end(tx, next.id, intents::DROPPED, Some(&why), now).await? {
                tell(tx, &next, reason, now).await?;
                failed.push(next.id);
            }
        }
    }
    Ok(())
}

async fn tell(
    tx: &DatabaseTransaction,
    intent: &intent::Model,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    if let Some(server) = intent.server_id {
        let is_creation = intent.step == Step::Create.as_str();
        let fault = outcomes::Fault {
            code: FAULT,
            message: reason,
            task: intent.task.as_deref(),
            is_creation,
        };
        outcomes::fault(tx, server, fault, now).await?;
        if let Some(port) = intent.port_id {
            if intent.step == Step::AddNic.as_str() {
                outcomes::port_state(tx, port, "ERROR", now).await?;
            } else if intent.step == Step::RemoveNic.as_str() {
                outcomes::port_state(tx, port, "ACTIVE", now).await?;
            }
        }
    }
    if let Some(network) = intent.network_id
        && intent.step.parse::<NetworkStep>().is_ok()
    {
        let place = (network, intent.backend_id);
        backend_networks::set_state(tx, place, backend_networks::ERROR, now).await?;
    }
    Ok(())
}
