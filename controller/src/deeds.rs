//! What users have done, written down in the transaction that does it.

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use serde_json::Value;
use uuid::Uuid;

use crate::api::principal::Principal;
use crate::db::DbError;
use crate::db::audit::{self, Actor, Deed};

/// Writes down that a user did something to a thing, and what the API answers.
///
/// # Errors
/// The database's own.
pub async fn note(
    tx: &DatabaseTransaction,
    who: &Principal,
    (kind, action): (&str, &str),
    target: Uuid,
    result: u16,
    detail: Value,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let actor = Actor {
        user_id: Some(who.user_id),
        name: who.user_name.clone(),
        project_id: Some(who.project_id),
        source: who.source.clone(),
        request_id: who.request_id.clone(),
    };
    let deed = Deed {
        action: &format!("{kind}.{action}"),
        kind,
        target: Some(target.to_string()),
        result,
        detail,
    };
    audit::record(tx, &actor, deed, now).await
}
