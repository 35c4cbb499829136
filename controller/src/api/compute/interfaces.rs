//! A server's addresses and NICs.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::ask::attachment;
use super::server::Around;
use super::servers::seen;
use super::uuid;
use crate::api::body::{Json, Path};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::entity::{address, port};
use crate::db::networks::{self as read};
use crate::servers;

/// Shows a server's addresses.
#[utoipa::path(get, path = "/v2.1/servers/{server_id}/ips", tag = "servers",
    params(("server_id" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn addresses(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    let row = seen(&cloud, &who, &id).await?;
    let around = Around::read(&cloud, std::slice::from_ref(&row)).await?;
    let mut addresses = Value::Object(around.addresses(&row));
    strip(&mut addresses);
    Ok(Json(json!({"addresses": addresses})))
}

/// Shows a server's addresses on one network, by the network's name.
#[utoipa::path(get, path = "/v2.1/servers/{server_id}/ips/{network}", tag = "servers",
    params(("server_id" = String, Path), ("network" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn addresses_of(
    State(cloud): State<Cloud>,
    who: Principal,
    Path((id, network)): Path<(String, String)>,
) -> Result<Json<Value>, Fault> {
    let row = seen(&cloud, &who, &id).await?;
    let around = Around::read(&cloud, std::slice::from_ref(&row)).await?;
    let found = around.addresses(&row).remove(&network);
    let found = found.ok_or_else(|| Fault::not_found("network", &network))?;
    let mut addresses = json!({network: found});
    strip(&mut addresses);
    Ok(Json(addresses))
}

/// Here Nova tells version and address only.
fn strip(addresses: &mut Value) {
    let lists = addresses
        .as_object_mut()
        .into_iter()
        .flat_map(|lists| lists.values_mut());
    let each = lists.filter_map(Value::as_array_mut).flatten();
    for object in each.filter_map(Value::as_object_mut) {
        object.retain(|key, _| !key.starts_with("OS-EXT"));
    }
}

async fn written(
    cloud: &Cloud,
    port: &port::Model,
    addresses: &[address::Model],
) -> Result<Value, Fault> {
    let db = cloud.db.reader();
    let network = read::networks_by_id(db, [port.network_id]).await?;
    let network = network.get(&port.network_id).map(|network| network.uuid);
    let subnets = read::subnets_of(db, [port.network_id]).await?;
    let fixed = addresses.iter().map(|address| {
        let mut all = subnets.values().flatten();
        let subnet = all
            .find(|subnet| subnet.id == address.subnet_id)
            .map(|subnet| subnet.uuid);
        json!({"subnet_id": subnet, "ip_address": address.address})
    });
    Ok(json!({
        "port_id": port.uuid,
        "net_id": network,
        "mac_addr": port.mac,
        "port_state": port.state,
        "fixed_ips": fixed.collect::<Vec<_>>(),
    }))
}

/// Lists a server's NICs.
#[utoipa::path(get, path = "/v2.1/servers/{server_id}/os-interface", tag = "servers",
    params(("server_id" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    let row = seen(&cloud, &who, &id).await?;
    let ports = read::ports_of(cloud.db.reader(), [row.id]).await?;
    let mut found = Vec::new();
    for port in ports.values().flatten() {
        let addresses = read::addresses_of(cloud.db.reader(), [port.id]).await?;
        let addresses = addresses.get(&port.id).map_or(&[][..], Vec::as_slice);
        found.push(written(&cloud, port, addresses).await?);
    }
    Ok(Json(json!({"interfaceAttachments": found})))
}

/// Shows a server's NIC.
#[utoipa::path(get, path = "/v2.1/servers/{server_id}/os-interface/{port_id}", tag = "servers",
    params(("server_id" = String, Path), ("port_id" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    who: Principal,
    Path((id, port)): Path<(String, String)>,
) -> Result<Json<Value>, Fault> {
    let row = seen(&cloud, &who, &id).await?;
    let uuid: Option<Uuid> = port.parse().ok();
    let ports = read::ports_of(cloud.db.reader(), [row.id]).await?;
    let found = ports
        .values()
        .flatten()
        .find(|port| Some(port.uuid) == uuid);
    let found = found.ok_or_else(|| Fault::not_found("port", &port))?;
    let addresses = read::addresses_of(cloud.db.reader(), [found.id]).await?;
    let addresses = addresses.get(&found.id).map_or(&[][..], Vec::as_slice);
    Ok(Json(
        json!({"interfaceAttachment": written(&cloud, found, addresses).await?}),
    ))
}

/// `POST /servers/{id}/os-interface`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Attach {
    #[serde(rename = "interfaceAttachment")]
    wanted: AttachWanted,
}

/// A NIC that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttachWanted {
    net_id: Option<String>,
    port_id: Option<String>,
    #[serde(default)]
    fixed_ips: Vec<FixedIp>,
}

/// An address that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FixedIp {
    ip_address: String,
}

/// Gives a server a NIC.
#[utoipa::path(post, path = "/v2.1/servers/{server_id}/os-interface", tag = "servers",
    params(("server_id" = String, Path)), request_body = Attach, responses((status = 200, body = Value)))]
pub(super) async fn attach(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    Json(body): Json<Attach>,
) -> Result<Json<Value>, Fault> {
    let uuid = uuid(&id)?;
    let AttachWanted {
        net_id,
        port_id,
        fixed_ips,
    } = body.wanted;
    if net_id.is_some() && port_id.is_some() {
        return Err(Fault::bad("Must not input both network_id and port_id"));
    }
    if fixed_ips.len() > 1 {
        return Err(Fault::bad("one address is given to an interface"));
    }
    let fixed = fixed_ips.first().map(|fixed| fixed.ip_address.as_str());
    if fixed.is_some() && net_id.is_none() {
        return Err(Fault::bad("Must input network_id when request IP address"));
    }
    let wanted = attachment(net_id.as_deref(), port_id.as_deref(), fixed)?;
    let port = servers::attach(&cloud, &who, uuid, &wanted).await?;
    let written = written(&cloud, &port.row, &port.addresses).await?;
    Ok(Json(json!({"interfaceAttachment": written})))
}

/// Takes a NIC from a server.
#[utoipa::path(delete, path = "/v2.1/servers/{server_id}/os-interface/{port_id}", tag = "servers",
    params(("server_id" = String, Path), ("port_id" = String, Path)), responses((status = 202)))]
pub(super) async fn detach(
    State(cloud): State<Cloud>,
    who: Principal,
    Path((id, port)): Path<(String, String)>,
) -> Result<StatusCode, Fault> {
    let server = uuid(&id)?;
    let port: Uuid = port.parse().map_err(|_| Fault::not_found("port", &port))?;
    servers::detach(&cloud, &who, server, port).await?;
    Ok(StatusCode::ACCEPTED)
}
