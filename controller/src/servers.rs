//! What users have done to servers: each a transaction that leaves rows and intents. Ganeti is asked later, by the outbox.

mod act;
mod attach;
mod create;
mod interfaces;
mod words;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, IntoActiveModel};
use uuid::Uuid;

use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::db::entity::server;
use crate::db::intents::{self, NewIntent};
use crate::db::networks::Viewer;
use crate::db::{DbError, rows, servers as read};
use crate::lifecycle::{OperState, Refusal, Standing, Step, Task, UnknownWord};
use crate::rapi::Submission;

pub use act::{act, delete, resize};
pub use attach::Attachment;
pub use create::{Networks, NewServer, create, hostname};
pub use interfaces::{attach, detach};
pub use words::{Change, change_metadata, rename};

impl From<&Principal> for Viewer {
    fn from(who: &Principal) -> Self {
        Self {
            project: who.project_id,
            is_admin: who.is_admin(),
        }
    }
}

/// There is no such server, or not for who asks: Nova's words.
#[must_use]
pub fn not_found(uuid: Uuid) -> Fault {
    Fault::not_found("instance", uuid)
}

/// How a server stands.
///
/// # Errors
/// A column holds a word that is none of ours.
pub fn standing(row: &server::Model) -> Result<Standing, UnknownWord> {
    Ok(Standing {
        state: row.oper_state.parse()?,
        task: row.task.as_deref().map(str::parse).transpose()?,
        resized: row.former_flavor_id.is_some(),
    })
}

/// Locks a server, which who asks sees, or there is none.
async fn locked(
    tx: &DatabaseTransaction,
    who: &Principal,
    uuid: Uuid,
) -> Result<(server::Model, Standing), Fault> {
    let row = read::lock(tx, who.into(), uuid).await?;
    let row = row.ok_or_else(|| not_found(uuid))?;
    let standing = standing(&row).map_err(Fault::internal)?;
    if standing.state == OperState::Deleted {
        return Err(not_found(uuid));
    }
    Ok((row, standing))
}

/// Nova's word for a server's state (`nova/compute/vm_states.py`).
#[must_use]
pub const fn vm_state(standing: Standing) -> &'static str {
    match standing.state {
        OperState::Build => "building",
        OperState::Error => "error",
        OperState::Deleted => "deleted",
        OperState::Stopped | OperState::Started if standing.resized => "resized",
        OperState::Stopped => "stopped",
        OperState::Started => "active",
    }
}

/// Nova's word for what a server does (`nova/compute/task_states.py`).
#[must_use]
pub const fn task_state(task: Task) -> Option<&'static str> {
    match task {
        Task::Build => Some("spawning"),
        Task::Start => Some("powering-on"),
        Task::Stop => Some("powering-off"),
        Task::RebootSoft => Some("rebooting"),
        Task::RebootHard => Some("rebooting_hard"),
        Task::Resize | Task::ResizeStopped => Some("resize_migrating"),
        Task::RevertResize => Some("resize_reverting"),
        Task::Destroy => Some("deleting"),
        Task::Connect | Task::Disconnect | Task::Firewall => None,
    }
}

/// Why an action is not done now, in Nova's words.
fn refused(row: &server::Model, standing: Standing, action: &str, refusal: Refusal) -> Fault {
    let uuid = row.uuid;
    let because = |what: &str, word: &str| {
        Fault::Conflict(format!(
            "Cannot '{action}' instance {uuid} while it is in {what} {word}"
        ))
    };
    match refusal {
        Refusal::Deleted => not_found(uuid),
        Refusal::Busy(task) => {
            let word = task_state(task).unwrap_or(task.as_str());
            because("task_state", word)
        }
        Refusal::Building | Refusal::State(_) | Refusal::NotResized | Refusal::Unconfirmed => {
            because("vm_state", vm_state(standing))
        }
    }
}

/// Sets a server to a task.
async fn set_task(
    tx: &DatabaseTransaction,
    row: server::Model,
    task: Task,
    now: DateTime<Utc>,
) -> Result<server::Model, DbError> {
    let mut busy = row.into_active_model();
    busy.task = Set(Some(task.as_str().to_owned()));
    busy.updated_at = Set(now);
    rows::update(tx, busy).await
}

/// One step of a server's task.
struct Asked<'a> {
    server: &'a server::Model,
    task: Task,
    request_id: &'a str,
    now: DateTime<Utc>,
}

impl Asked<'_> {
    fn intent(&self, step: Step, request: &Submission) -> NewIntent {
        NewIntent {
            uuid: Uuid::now_v7(),
            backend_id: self.server.backend_id,
            server_id: Some(self.server.id),
            network_id: None,
            port_id: None,
            flavor_id: None,
            task: Some(self.task.as_str().to_owned()),
            step: step.as_str(),
            is_last: true,
            after_id: None,
            request: request.to_json(),
            secrets: None,
            request_id: Some(self.request_id.to_owned()),
        }
    }

    async fn want(&self, tx: &DatabaseTransaction, intent: NewIntent) -> Result<i64, DbError> {
        Ok(intents::insert(tx, intent, self.now).await?.id)
    }
}

/// The instance's name; a server without one is not there yet.
fn instance(row: &server::Model) -> Result<&str, Fault> {
    let name = row.instance_name.as_deref();
    name.ok_or_else(|| Fault::Conflict(format!("instance {} has no instance yet", row.uuid)))
}
