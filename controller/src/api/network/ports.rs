//! Ports.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::ask::{is_up, several, single, words};
use super::listed::{Kind, fields, page};
use super::plain::default_group;
use super::{moment, uuid};
use crate::api::body::{Json, Pairs, Path, reply};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::entity::port;
use crate::db::networks::{self as read, PortFilter, Viewer};
use crate::db::servers;
use crate::ports::{self, Wanted};

const KIND: Kind = Kind {
    plural: "ports",
    keys: &[
        "id",
        "name",
        "network_id",
        "tenant_id",
        "project_id",
        "status",
        "admin_state_up",
        "mac_address",
        "device_id",
        "device_owner",
        "fixed_ips",
        "security_groups",
        "description",
    ],
};

/// Who has a port that a server has.
const OWNER: &str = "compute:nova";

/// An address that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FixedIp {
    ip_address: Option<String>,
    subnet_id: Option<String>,
}

/// A port that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PortWanted {
    network_id: String,
    name: Option<String>,
    admin_state_up: Option<bool>,
    mac_address: Option<String>,
    fixed_ips: Option<Vec<FixedIp>>,
    device_id: Option<String>,
    device_owner: Option<String>,
    security_groups: Option<Vec<String>>,
    #[serde(alias = "project_id")]
    tenant_id: Option<String>,
    description: Option<String>,
    port_security_enabled: Option<bool>,
}

/// What changes of a port.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PortChanged {
    name: Option<String>,
    admin_state_up: Option<bool>,
    security_groups: Option<Vec<String>>,
    fixed_ips: Option<Vec<FixedIp>>,
    device_id: Option<String>,
    device_owner: Option<String>,
    mac_address: Option<String>,
}

fn check_groups(groups: Option<Vec<String>>, who: &Principal) -> Result<(), Fault> {
    let own = default_group(who).to_string();
    let strange = groups.into_iter().flatten().find(|group| *group != own);
    match strange {
        None => Ok(()),
        Some(group) => Err(Fault::not_found("security group", group)),
    }
}

async fn new(cloud: &Cloud, who: &Principal, wanted: PortWanted) -> Result<Wanted, Fault> {
    is_up(wanted.admin_state_up)?;
    check_groups(wanted.security_groups, who)?;
    if wanted.port_security_enabled == Some(false) {
        return Err(Fault::bad(
            "port_security_enabled: a NIC always has only its own addresses",
        ));
    }
    let is_said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if is_said(&wanted.device_id) || is_said(&wanted.device_owner) {
        return Err(Fault::bad(
            "device_id, device_owner: a server gets a port by Compute's os-interface",
        ));
    }
    if is_said(&wanted.description) {
        return Err(Fault::bad("description: ports have none here"));
    }
    let own = who.project_uuid.simple().to_string();
    if wanted
        .tenant_id
        .is_some_and(|tenant| tenant.replace('-', "") != own)
    {
        return Err(Fault::Forbidden(String::from(
            "a port is made in one's own project",
        )));
    }
    let network = uuid("network", &wanted.network_id)?;
    let mut fixed = Vec::new();
    for FixedIp {
        ip_address,
        subnet_id,
    } in wanted.fixed_ips.unwrap_or_default()
    {
        let mut subnet = None;
        if let Some(id) = subnet_id {
            let uuid = uuid("subnet", &id)?;
            let found = read::subnet(cloud.db.reader(), who.into(), uuid).await?;
            let (row, of) = found.ok_or_else(|| Fault::not_found("subnet", &id))?;
            if of.uuid != network {
                return Err(Fault::bad(format!("subnet {id} is of another network")));
            }
            subnet = Some(row);
        }
        // A subnet alone: it has one address of each of its network's subnets anyhow.
        let Some(text) = ip_address else { continue };
        let ip: Result<IpAddr, _> = text.parse();
        let ip = ip.map_err(|_| {
            Fault::bad(format!(
                "Invalid input for fixed_ips: '{text}' is not a valid IP address"
            ))
        })?;
        if subnet.is_some_and(|row| (row.ip_version == 4) != ip.is_ipv4()) {
            return Err(Fault::bad(format!(
                "IP address {ip} is not a valid IP for the specified subnet."
            )));
        }
        fixed.push(ip);
    }
    let mac = wanted.mac_address.map(|text| {
        let read: Result<nfdhcpd_binding::MacAddr, _> = text.parse();
        read.map_err(|error| Fault::bad(format!("Invalid input for mac_address: {error}")))
    });
    Ok(Wanted {
        network,
        name: words("name", wanted.name)?,
        fixed,
        mac: mac.transpose()?,
    })
}

async fn written(cloud: &Cloud, rows: &[port::Model]) -> Result<Vec<Value>, Fault> {
    let db = cloud.db.reader();
    let networks = read::networks_by_id(db, rows.iter().map(|row| row.network_id)).await?;
    let subnets = read::subnets_of(db, networks.keys().copied()).await?;
    let addresses = read::addresses_of(db, rows.iter().map(|row| row.id)).await?;
    let projects = read::project_names(db, rows.iter().map(|row| row.project_id)).await?;
    let servers = read::server_names(db, rows.iter().filter_map(|row| row.server_id)).await?;
    let each = rows.iter().map(|row| {
        let uuid = projects.get(&row.project_id).copied().unwrap_or_default();
        let project = uuid.simple().to_string();
        let server = row.server_id.and_then(|id| servers.get(&id));
        let subnets = subnets.get(&row.network_id).map_or(&[][..], Vec::as_slice);
        let fixed = addresses.get(&row.id).into_iter().flatten().map(|address| {
            let subnet = subnets.iter().find(|subnet| subnet.id == address.subnet_id);
            json!({"subnet_id": subnet.map(|subnet| subnet.uuid), "ip_address": address.address})
        });
        json!({
            "id": row.uuid,
            "name": row.name,
            "network_id": networks.get(&row.network_id).map(|network| network.uuid),
            "tenant_id": project,
            "project_id": project,
            "mac_address": row.mac,
            "admin_state_up": true,
            "status": row.state,
            "device_id": server.map_or_else(String::new, Uuid::to_string),
            "device_owner": server.map_or("", |_| OWNER),
            "fixed_ips": fixed.collect::<Vec<_>>(),
            "security_groups": [uuid],
            "allowed_address_pairs": [],
            "extra_dhcp_opts": [],
            "binding:vnic_type": "normal",
            "port_security_enabled": true,
            "description": "",
            "tags": [],
            "created_at": moment(row.created_at),
            "updated_at": moment(row.updated_at),
            "revision_number": 0,
        })
    });
    Ok(each.collect())
}

/// Lists ports.
#[utoipa::path(get, path = "/v2.0/ports", tag = "ports", responses((status = 200, body = Value)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    who: Principal,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let db = cloud.db.reader();
    let viewer = Viewer::from(&who);
    let named = |key: &str| {
        let mut all = query.all(key);
        let one: Option<Uuid> = all.next().map(|text| text.parse().unwrap_or_default());
        // Of several none is asked of the database.
        one.filter(|_| all.next().is_none())
    };
    // What is named and not there has number 0, which nothing has.
    let network = match named("network_id") {
        Some(uuid) => Some(
            read::network(db, viewer, uuid)
                .await?
                .map_or(0, |row| row.id),
        ),
        None => None,
    };
    let server = match named("device_id") {
        Some(uuid) if !uuid.is_nil() => Some(
            servers::server(db, viewer, uuid)
                .await?
                .map_or(0, |row| row.id),
        ),
        _ => None,
    };
    let wanted = PortFilter {
        uuid: named("id"),
        network,
        server,
    };
    let rows = read::ports(db, viewer, wanted).await?;
    let all = written(&cloud, &rows).await?;
    Ok(Json(page(&cloud, KIND, all, &query)?))
}

/// Makes a port, or several.
#[utoipa::path(post, path = "/v2.0/ports", tag = "ports", request_body = PortWanted, responses((status = 201, body = Value)))]
pub(super) async fn create(
    State(cloud): State<Cloud>,
    who: Principal,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, Fault> {
    let asked = several::<PortWanted>(body, "port", "ports")?;
    let mut wanted = Vec::new();
    for each in asked.all {
        wanted.push(new(&cloud, &who, each).await?);
    }
    let made = ports::create(&cloud, &who, &wanted).await?;
    let rows: Vec<port::Model> = made.into_iter().map(|port| port.row).collect();
    let mut all = written(&cloud, &rows).await?;
    let body = match asked.is_list {
        true => json!({"ports": all}),
        false => json!({"port": all.pop()}),
    };
    Ok(reply(StatusCode::CREATED, body))
}

async fn seen(cloud: &Cloud, who: &Principal, id: &str) -> Result<port::Model, Fault> {
    let uuid = uuid("port", id)?;
    let row = read::port(cloud.db.reader(), who.into(), uuid).await?;
    row.ok_or_else(|| Fault::not_found("port", id))
}

/// Shows a port.
#[utoipa::path(get, path = "/v2.0/ports/{id}", tag = "ports", params(("id" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let row = seen(&cloud, &who, &id).await?;
    let one = written(&cloud, &[row]).await?.pop();
    Ok(Json(json!({"port": one.map(|one| fields(one, &query))})))
}

/// Calls a port something else.
#[utoipa::path(put, path = "/v2.0/ports/{id}", tag = "ports", params(("id" = String, Path)), request_body = PortChanged, responses((status = 200, body = Value)))]
pub(super) async fn update(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Value>, Fault> {
    let row = seen(&cloud, &who, &id).await?;
    let wanted: PortChanged = single(body, "port")?;
    is_up(wanted.admin_state_up)?;
    check_groups(wanted.security_groups, &who)?;
    let now = written(&cloud, std::slice::from_ref(&row))
        .await?
        .pop()
        .unwrap_or_default();
    let same = |key: &str, said: Option<String>| {
        said.is_none_or(|said| now.get(key).is_some_and(|value| *value == said))
    };
    let is_same = same("device_id", wanted.device_id)
        && same("device_owner", wanted.device_owner)
        && same("mac_address", wanted.mac_address);
    if !is_same || wanted.fixed_ips.is_some() {
        return Err(Fault::bad(
            "a port keeps its addresses, and its server until Compute's os-interface takes it away",
        ));
    }
    let row = match wanted.name {
        Some(name) => ports::rename(&cloud, &who, row.uuid, &words("name", Some(name))?).await?,
        None => row,
    };
    let one = written(&cloud, &[row]).await?.pop();
    Ok(Json(json!({"port": one})))
}

/// Removes a port.
#[utoipa::path(delete, path = "/v2.0/ports/{id}", tag = "ports", params(("id" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Fault> {
    ports::delete(&cloud, &who, uuid("port", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
