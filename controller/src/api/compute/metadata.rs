//! The words on a server.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::check_metadata;
use super::servers::seen;
use super::uuid;
use crate::api::body::{Json, Path};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::servers as read;
use crate::servers::{Change, change_metadata};

/// All words.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    metadata: BTreeMap<String, String>,
}

/// One word.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Word {
    meta: BTreeMap<String, String>,
}

async fn words(
    cloud: &Cloud,
    who: &Principal,
    id: &str,
) -> Result<BTreeMap<String, String>, Fault> {
    let row = seen(cloud, who, id).await?;
    let mut words = read::metadata(cloud.db.reader(), [row.id]).await?;
    Ok(words.remove(&row.id).unwrap_or_default())
}

async fn changed(
    cloud: &Cloud,
    who: &Principal,
    id: &str,
    words: Words,
    change: impl Fn(BTreeMap<String, String>) -> Change,
) -> Result<Json<Words>, Fault> {
    let uuid = uuid(id)?;
    check_metadata(&words.metadata)?;
    let metadata = change_metadata(cloud, who, uuid, &change(words.metadata)).await?;
    Ok(Json(Words { metadata }))
}

/// Shows the words on a server.
#[utoipa::path(get, path = "/v2.1/servers/{server_id}/metadata", tag = "servers",
    params(("server_id" = String, Path)), responses((status = 200, body = Words)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<Json<Words>, Fault> {
    let metadata = words(&cloud, &who, &id).await?;
    Ok(Json(Words { metadata }))
}

/// Adds words.
#[utoipa::path(post, path = "/v2.1/servers/{server_id}/metadata", tag = "servers",
    params(("server_id" = String, Path)), request_body = Words, responses((status = 200, body = Words)))]
pub(super) async fn merge(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    Json(body): Json<Words>,
) -> Result<Json<Words>, Fault> {
    changed(&cloud, &who, &id, body, Change::Merge).await
}

/// Has these words and no other.
#[utoipa::path(put, path = "/v2.1/servers/{server_id}/metadata", tag = "servers",
    params(("server_id" = String, Path)), request_body = Words, responses((status = 200, body = Words)))]
pub(super) async fn replace(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    Json(body): Json<Words>,
) -> Result<Json<Words>, Fault> {
    changed(&cloud, &who, &id, body, Change::Replace).await
}

/// Shows a word.
#[utoipa::path(get, path = "/v2.1/servers/{server_id}/metadata/{key}", tag = "servers",
    params(("server_id" = String, Path), ("key" = String, Path)), responses((status = 200, body = Word)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    who: Principal,
    Path((id, key)): Path<(String, String)>,
) -> Result<Json<Word>, Fault> {
    let value = words(&cloud, &who, &id).await?.remove(&key);
    let value = value.ok_or_else(|| Fault::not_found("metadata item", &key))?;
    Ok(Json(Word {
        meta: BTreeMap::from([(key, value)]),
    }))
}

/// Sets a word.
#[utoipa::path(put, path = "/v2.1/servers/{server_id}/metadata/{key}", tag = "servers",
    params(("server_id" = String, Path), ("key" = String, Path)), request_body = Word, responses((status = 200, body = Word)))]
pub(super) async fn set(
    State(cloud): State<Cloud>,
    who: Principal,
    Path((id, key)): Path<(String, String)>,
    Json(body): Json<Word>,
) -> Result<Json<Word>, Fault> {
    let uuid = uuid(&id)?;
    if body.meta.len() != 1 || !body.meta.contains_key(&key) {
        return Err(Fault::bad("Request body and URI mismatch"));
    }
    check_metadata(&body.meta)?;
    change_metadata(&cloud, &who, uuid, &Change::Merge(body.meta.clone())).await?;
    Ok(Json(body))
}

/// Removes a word.
#[utoipa::path(delete, path = "/v2.1/servers/{server_id}/metadata/{key}", tag = "servers",
    params(("server_id" = String, Path), ("key" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    State(cloud): State<Cloud>,
    who: Principal,
    Path((id, key)): Path<(String, String)>,
) -> Result<StatusCode, Fault> {
    change_metadata(&cloud, &who, uuid(&id)?, &Change::Remove(key)).await?;
    Ok(StatusCode::NO_CONTENT)
}
