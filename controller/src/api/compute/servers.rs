//! One server: made, shown, renamed, removed.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::ask::{CreateServer, UpdateServer};
use super::server::Around;
use super::uuid;
use crate::api::body::{Json, Path, reply};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::entity::server;
use crate::db::servers as read;
use crate::servers;

/// The server of a path, which who asks sees.
pub(super) async fn seen(cloud: &Cloud, who: &Principal, id: &str) -> Result<server::Model, Fault> {
    let uuid = uuid(id)?;
    let row = read::server(cloud.db.reader(), who.into(), uuid).await?;
    row.ok_or_else(|| servers::not_found(uuid))
}

/// Makes a server, or several.
#[utoipa::path(post, path = "/v2.1/servers", tag = "servers", request_body = CreateServer,
    responses((status = 202, body = Value)))]
pub(super) async fn create(
    State(cloud): State<Cloud>,
    who: Principal,
    Json(body): Json<CreateServer>,
) -> Result<Response, Fault> {
    let made = servers::create(&cloud, &who, &body.wanted()?).await?;
    let around = Around::read(&cloud, &made).await?;
    let first = made
        .first()
        .ok_or_else(|| Fault::bad("no server was asked for"))?;
    let links = around.links("servers", first.uuid);
    let place = links
        .pointer("/0/href")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let server = json!({
        "id": first.uuid,
        "links": links,
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [{"name": "default"}],
    });
    let written = reply(StatusCode::ACCEPTED, json!({"server": server}));
    Ok(([(LOCATION, place)], written).into_response())
}

/// Shows a server.
#[utoipa::path(get, path = "/v2.1/servers/{server_id}", tag = "servers",
    params(("server_id" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    let row = seen(&cloud, &who, &id).await?;
    let around = Around::read(&cloud, std::slice::from_ref(&row)).await?;
    Ok(Json(json!({"server": around.whole(&row, true)?})))
}

/// Calls a server something else.
#[utoipa::path(put, path = "/v2.1/servers/{server_id}", tag = "servers",
    params(("server_id" = String, Path)), request_body = UpdateServer, responses((status = 200, body = Value)))]
pub(super) async fn update(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    Json(body): Json<UpdateServer>,
) -> Result<Json<Value>, Fault> {
    let uuid = uuid(&id)?;
    let row = match body.wanted()? {
        Some(name) => servers::rename(&cloud, &who, uuid, &name).await?,
        None => seen(&cloud, &who, &id).await?,
    };
    let around = Around::read(&cloud, std::slice::from_ref(&row)).await?;
    Ok(Json(json!({"server": around.whole(&row, false)?})))
}

/// Removes a server.
#[utoipa::path(delete, path = "/v2.1/servers/{server_id}", tag = "servers",
    params(("server_id" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Fault> {
    servers::delete(&cloud, &who, uuid(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a hypervisor knows of a server is not told.
#[utoipa::path(get, path = "/v2.1/servers/{server_id}/diagnostics", tag = "servers",
    params(("server_id" = String, Path)), responses((status = 501)))]
pub(super) async fn diagnostics(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Fault> {
    seen(&cloud, &who, &id).await?;
    who.administers()?;
    Err(Fault::NotImplemented(String::from(
        "what a hypervisor knows of a server is not told here",
    )))
}
