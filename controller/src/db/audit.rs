//! Who did what, when, from where, and what came of it.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait};
use serde_json::Value;

use super::DbError;
use super::entity::audit_entry;

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user's row, if it is one.
    pub user_id: Option<i64>,
    /// The user's name, or the program's.
    pub name: String,
    /// For which project.
    pub project_id: Option<i64>,
    /// The address it came from, or `local`.
    pub source: String,
    /// The request, or empty.
    pub request_id: String,
}

impl Actor {
    /// A program of ours, run on the machine itself.
    #[must_use]
    pub fn program(name: &str) -> Self {
        Self {
            user_id: None,
            name: name.to_owned(),
            project_id: None,
            source: String::from("local"),
            request_id: String::new(),
        }
    }
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed<'a> {
    /// What, as in `server.create`.
    pub action: &'a str,
    /// On what kind of thing.
    pub kind: &'a str,
    /// On which: its UUID.
    pub target: Option<String>,
    /// HTTP status, or exit code.
    pub result: u16,
    /// What is worth knowing besides; never a secret.
    pub detail: Value,
}

/// Writes it down, in the transaction that does it.
///
/// # Errors
/// The database's own.
pub async fn record(
    connection: &impl ConnectionTrait,
    actor: &Actor,
    deed: Deed<'_>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let row = audit_entry::ActiveModel {
        id: ActiveValue::NotSet,
        at: ActiveValue::Set(now),
        user_id: ActiveValue::Set(actor.user_id),
        actor: ActiveValue::Set(cut(&actor.name, 255)),
        project_id: ActiveValue::Set(actor.project_id),
        source: ActiveValue::Set(cut(&actor.source, 64)),
        request_id: ActiveValue::Set(cut(&actor.request_id, 64)),
        action: ActiveValue::Set(cut(deed.action, 64)),
        target_kind: ActiveValue::Set(cut(deed.kind, 32)),
        target: ActiveValue::Set(deed.target.map(|target| cut(&target, 64))),
        result: ActiveValue::Set(i32::from(deed.result)),
        detail: ActiveValue::Set(deed.detail),
    };
    audit_entry::Entity::insert(row).exec(connection).await?;
    Ok(())
}

/// What a column of so many characters takes.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
