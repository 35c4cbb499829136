//! A server's name and the words on it: rows only.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::Set;
use sea_orm::IntoActiveModel;
use serde_json::json;
use uuid::Uuid;

use super::locked;
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::{self, Cloud};
use crate::db::entity::server;
use crate::db::{rows, servers as read};
use crate::deeds;

/// Words that a server may have on it.
const MOST: usize = 128;

/// What becomes of a server's words.
#[derive(Debug, Clone)]
pub enum Change {
    /// These beside the others.
    Merge(BTreeMap<String, String>),
    /// These instead of all.
    Replace(BTreeMap<String, String>),
    /// All but this.
    Remove(String),
}

/// Calls a server something else; its guest keeps its name.
///
/// # Errors
/// 404, or the database's own.
pub async fn rename(
    cloud: &Cloud,
    who: &Principal,
    uuid: Uuid,
    name: &str,
) -> Result<server::Model, Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let tx = &*tx;
            let (row, _) = locked(tx, who, uuid).await?;
            let mut named = row.into_active_model();
            named.name = Set(name.to_owned());
            named.updated_at = Set(now);
            let detail = json!({"name": name});
            deeds::note(tx, who, ("server", "update"), uuid, 200, detail, now).await?;
            Ok(rows::update(tx, named).await?)
        })
        .await
}

/// Changes the words on a server; answers with all that are there then.
///
/// # Errors
/// 404 for the server or the word, 403 for too many, or the database's own.
pub async fn change_metadata(
    cloud: &Cloud,
    who: &Principal,
    uuid: Uuid,
    change: &Change,
) -> Result<BTreeMap<String, String>, Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let tx = &*tx;
            let (row, _) = locked(tx, who, uuid).await?;
            let mut words = read::metadata(tx, [row.id])
                .await?
                .remove(&row.id)
                .unwrap_or_default();
            match change {
                Change::Merge(new) => words.extend(new.clone()),
                Change::Replace(new) => words.clone_from(new),
                Change::Remove(key) => {
                    words
                        .remove(key)
                        .ok_or_else(|| Fault::not_found("metadata item", key))?;
                }
            }
            if words.len() > MOST {
                return Err(Fault::OverLimit(format!(
                    "Maximum number of metadata items exceeds {MOST}"
                )));
            }
            read::set_metadata(tx, row.id, &words).await?;
            let mut changed = row.into_active_model();
            changed.updated_at = Set(now);
            rows::update(tx, changed).await?;
            let detail = json!({"keys": words.keys().collect::<Vec<_>>()});
            deeds::note(tx, who, ("server", "metadata"), uuid, 200, detail, now).await?;
            Ok(words)
        })
        .await
}
