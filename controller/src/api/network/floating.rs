//! Floating addresses.

use std::net::Ipv4Addr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::ask::{said, several, single};
use super::listed::{Kind, fields, page};
use super::{moment, uuid};
use crate::api::body::{Json, Pairs, Path, reply};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::entity::address;
use crate::db::networks as read;
use crate::floating_ips;

const KIND: Kind = Kind {
    plural: "floatingips",
    keys: &[
        "id",
        "floating_ip_address",
        "floating_network_id",
        "fixed_ip_address",
        "port_id",
        "router_id",
        "status",
        "tenant_id",
        "project_id",
        "description",
    ],
};

/// How a server gets a floating address.
const HOW: &str = "a server gets a floating IP by a port of its own on the floating IP's network: create one with this address \
                   as its fixed IP; addresses are not translated";

/// A floating address that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FloatingWanted {
    floating_network_id: String,
    floating_ip_address: Option<String>,
    port_id: Option<String>,
    fixed_ip_address: Option<String>,
    subnet_id: Option<String>,
    #[serde(alias = "project_id")]
    tenant_id: Option<String>,
    description: Option<String>,
}

/// What changes of a floating address: nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FloatingChanged {
    #[serde(default, deserialize_with = "said")]
    port_id: Option<Option<String>>,
    fixed_ip_address: Option<String>,
    description: Option<String>,
}

async fn written(cloud: &Cloud, rows: &[address::Model]) -> Result<Vec<Value>, Fault> {
    let db = cloud.db.reader();
    let networks = read::networks_by_id(db, rows.iter().map(|row| row.network_id)).await?;
    let projects = read::project_names(db, rows.iter().filter_map(|row| row.project_id)).await?;
    let ports = read::port_names(db, rows.iter().filter_map(|row| row.port_id)).await?;
    let each = rows.iter().map(|row| {
        let project = row.project_id.and_then(|id| projects.get(&id));
        let project = project.map_or_else(String::new, |uuid| uuid.simple().to_string());
        let port = row.port_id.and_then(|id| ports.get(&id));
        json!({
            "id": row.uuid,
            "floating_ip_address": row.address,
            "floating_network_id": networks.get(&row.network_id).map(|network| network.uuid),
            "fixed_ip_address": port.map(|_| &row.address),
            "port_id": port,
            "router_id": null,
            "status": if port.is_some() { "ACTIVE" } else { "DOWN" },
            "tenant_id": project,
            "project_id": project,
            "description": "",
            "tags": [],
            "created_at": moment(row.created_at),
            "updated_at": moment(row.updated_at),
            "revision_number": 0,
        })
    });
    Ok(each.collect())
}

/// Lists floating addresses.
#[utoipa::path(get, path = "/v2.0/floatingips", tag = "floatingips", responses((status = 200, body = Value)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    who: Principal,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let rows = read::floating(cloud.db.reader(), (&who).into(), None).await?;
    let all = written(&cloud, &rows).await?;
    Ok(Json(page(&cloud, KIND, all, &query)?))
}

/// Takes a floating address.
#[utoipa::path(post, path = "/v2.0/floatingips", tag = "floatingips", request_body = FloatingWanted, responses((status = 201, body = Value)))]
pub(super) async fn create(
    State(cloud): State<Cloud>,
    who: Principal,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, Fault> {
    let mut asked = several::<FloatingWanted>(body, "floatingip", "floatingips")?;
    let (Some(wanted), true) = (asked.all.pop(), asked.all.is_empty() && !asked.is_list) else {
        return Err(Fault::bad("floating IPs are made one by one"));
    };
    if wanted.port_id.is_some() || wanted.fixed_ip_address.is_some() {
        return Err(Fault::bad(HOW));
    }
    if wanted.description.is_some_and(|text| !text.is_empty()) {
        return Err(Fault::bad("description: floating IPs have none here"));
    }
    let own = who.project_uuid.simple().to_string();
    if wanted
        .tenant_id
        .is_some_and(|tenant| tenant.replace('-', "") != own)
    {
        return Err(Fault::Forbidden(String::from(
            "a floating IP is taken for one's own project",
        )));
    }
    let network = uuid("network", &wanted.floating_network_id)?;
    if let Some(id) = wanted.subnet_id {
        let found = read::subnet(cloud.db.reader(), (&who).into(), uuid("subnet", &id)?).await?;
        let is_of = found.is_some_and(|(row, of)| of.uuid == network && row.ip_version == 4);
        if !is_of {
            return Err(Fault::not_found("subnet", id));
        }
    }
    let ip = wanted.floating_ip_address.map(|text| {
        let read: Result<Ipv4Addr, _> = text.parse();
        read.map_err(|_| {
            Fault::bad(format!(
                "Invalid input for floating_ip_address: '{text}' is not a valid IPv4 address"
            ))
        })
    });
    let row = floating_ips::create(&cloud, &who, network, ip.transpose()?).await?;
    let one = written(&cloud, &[row]).await?.pop();
    Ok(reply(StatusCode::CREATED, json!({"floatingip": one})))
}

async fn seen(cloud: &Cloud, who: &Principal, id: &str) -> Result<address::Model, Fault> {
    let uuid = uuid("floating IP", id)?;
    let row = read::floating(cloud.db.reader(), who.into(), Some(uuid))
        .await?
        .pop();
    row.ok_or_else(|| Fault::not_found("floating IP", id))
}

/// Shows a floating address.
#[utoipa::path(get, path = "/v2.0/floatingips/{id}", tag = "floatingips", params(("id" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let row = seen(&cloud, &who, &id).await?;
    let one = written(&cloud, &[row]).await?.pop();
    Ok(Json(
        json!({"floatingip": one.map(|one| fields(one, &query))}),
    ))
}

/// Answers who asks for what is so already; nothing else can be done to a floating address.
#[utoipa::path(put, path = "/v2.0/floatingips/{id}", tag = "floatingips", params(("id" = String, Path)), request_body = FloatingChanged, responses((status = 200, body = Value)))]
pub(super) async fn update(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Value>, Fault> {
    let row = seen(&cloud, &who, &id).await?;
    who.writes()?;
    let wanted: FloatingChanged = single(body, "floatingip")?;
    let one = written(&cloud, &[row]).await?.pop().unwrap_or_default();
    let port = one.get("port_id").and_then(Value::as_str).map(String::from);
    if wanted.port_id.is_some_and(|said| said != port) || wanted.fixed_ip_address.is_some() {
        return Err(Fault::bad(HOW));
    }
    if wanted.description.is_some_and(|text| !text.is_empty()) {
        return Err(Fault::bad("description: floating IPs have none here"));
    }
    Ok(Json(json!({"floatingip": one})))
}

/// Gives a floating address back.
#[utoipa::path(delete, path = "/v2.0/floatingips/{id}", tag = "floatingips", params(("id" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Fault> {
    floating_ips::delete(&cloud, &who, uuid("floating IP", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
