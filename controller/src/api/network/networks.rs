//! Networks.
//!
//! For administrators only: `shared`, `router:external`, `tenant_id` of another project, and where the network is on the nodes:
//! `provider:network_type` (`bridged` or `routed`), `provider:physical_network` (bridge, or routing table),
//! `synnefo:mac_prefix` (three octets), `synnefo:tags` (Ganeti's tags, separated by spaces).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::ask::{is_up, said, several, single, words};
use super::listed::{Kind, fields, page};
use super::{moment, uuid};
use crate::api::body::{Json, Pairs, Path, reply};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::accounts;
use crate::db::entity::network;
use crate::db::networks as read;
use crate::networks::{self, NetworkChange, Placed, Wanted};

const KIND: Kind = Kind {
    plural: "networks",
    keys: &[
        "id",
        "name",
        "tenant_id",
        "project_id",
        "status",
        "admin_state_up",
        "shared",
        "router:external",
        "mtu",
        "description",
        "dns_domain",
        "subnets",
        "provider:network_type",
        "provider:physical_network",
    ],
};

/// MTU where nothing else is said.
const MTU: i32 = 1500;
/// The longest domain that a tag takes.
const DOMAIN_LONGEST: usize = 100;

/// A network that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkWanted {
    name: Option<String>,
    description: Option<String>,
    admin_state_up: Option<bool>,
    mtu: Option<i32>,
    dns_domain: Option<String>,
    shared: Option<bool>,
    #[serde(rename = "router:external")]
    external: Option<bool>,
    #[serde(alias = "project_id")]
    tenant_id: Option<String>,
    #[serde(rename = "provider:network_type")]
    mode: Option<String>,
    #[serde(rename = "provider:physical_network")]
    link: Option<String>,
    #[serde(rename = "synnefo:mac_prefix")]
    mac_prefix: Option<String>,
    #[serde(rename = "synnefo:tags")]
    tags: Option<String>,
    port_security_enabled: Option<bool>,
}

/// What changes of a network.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkChanged {
    name: Option<String>,
    description: Option<String>,
    admin_state_up: Option<bool>,
    mtu: Option<i32>,
    #[serde(default, deserialize_with = "said")]
    dns_domain: Option<Option<String>>,
    shared: Option<bool>,
    #[serde(rename = "router:external")]
    external: Option<bool>,
}

fn checked_mtu(mtu: Option<i32>) -> Result<Option<i32>, Fault> {
    match mtu {
        Some(0) | None => Ok(None),
        Some(bytes @ 68..=65535) => Ok(Some(bytes)),
        Some(bytes) => Err(Fault::bad(format!(
            "Invalid input for mtu: {bytes} is not from 68 to 65535"
        ))),
    }
}

fn checked_domain(text: Option<String>) -> Result<Option<String>, Fault> {
    let text = text.filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(None) };
    let name = text.trim_end_matches('.').to_owned();
    let read: Result<nfdhcpd_binding::DomainName, _> = name.parse();
    match read {
        Ok(_) if name.len() <= DOMAIN_LONGEST => Ok(Some(name)),
        _ => Err(Fault::bad(format!(
            "Invalid input for dns_domain: {text:?} is no domain of at most {DOMAIN_LONGEST} letters"
        ))),
    }
}

async fn placed(cloud: &Cloud, who: &Principal, wanted: &NetworkWanted) -> Result<Placed, Fault> {
    let mode = match wanted.mode.as_deref() {
        None => None,
        Some(mode @ ("bridged" | "routed")) => Some(mode.to_owned()),
        Some(mode) => {
            return Err(Fault::bad(format!(
                "provider:network_type is bridged or routed, not {mode}"
            )));
        }
    };
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if let Some(link) = &wanted.link
        && (link.is_empty() || link.len() > 64 || !link.chars().all(is_word))
    {
        return Err(Fault::bad(format!(
            "provider:physical_network: {link:?} is no bridge and no table"
        )));
    }
    if mode.is_some() && wanted.link.is_none() {
        return Err(Fault::bad(
            "provider:network_type goes with provider:physical_network",
        ));
    }
    let is_tag = |letter: char| letter.is_ascii_alphanumeric() || "_.+*/:@- ".contains(letter);
    if wanted
        .tags
        .as_ref()
        .is_some_and(|tags| tags.len() > 255 || !tags.chars().all(is_tag))
    {
        return Err(Fault::bad("synnefo:tags: no tags of Ganeti"));
    }
    let project = match &wanted.tenant_id {
        None => None,
        Some(id) => {
            let uuid: Option<Uuid> = id.parse().ok();
            match uuid {
                Some(uuid) if uuid == who.project_uuid => None,
                _ if !who.is_admin() => {
                    return Err(Fault::Forbidden(String::from(
                        "only administrators make networks for others",
                    )));
                }
                Some(uuid) => {
                    let found = accounts::project(cloud.db.reader(), uuid).await?;
                    Some(
                        found
                            .ok_or_else(|| Fault::bad(format!("there is no project {id}")))?
                            .id,
                    )
                }
                None => return Err(Fault::bad(format!("there is no project {id}"))),
            }
        }
    };
    Ok(Placed {
        is_shared: wanted.shared.unwrap_or(false),
        is_external: wanted.external.unwrap_or(false),
        mode,
        link: wanted.link.clone(),
        mac_prefix: wanted.mac_prefix.clone(),
        tags: wanted.tags.clone(),
        project,
    })
}

async fn written(
    cloud: &Cloud,
    who: &Principal,
    rows: &[network::Model],
) -> Result<Vec<Value>, Fault> {
    let db = cloud.db.reader();
    let subnets = read::subnets_of(db, rows.iter().map(|row| row.id)).await?;
    let projects = read::project_names(db, rows.iter().filter_map(|row| row.project_id)).await?;
    let each = rows.iter().map(|row| {
        let project = row.project_id.and_then(|id| projects.get(&id));
        let project = project.map_or_else(String::new, |uuid| uuid.simple().to_string());
        let subnets = subnets.get(&row.id).into_iter().flatten();
        let subnets: Vec<Uuid> = subnets.map(|subnet| subnet.uuid).collect();
        let mut value = json!({
            "id": row.uuid,
            "name": row.name,
            "description": row.description,
            "tenant_id": project,
            "project_id": project,
            "status": row.status,
            "admin_state_up": true,
            "shared": row.is_shared,
            "router:external": row.is_external,
            "subnets": subnets,
            "mtu": row.mtu.unwrap_or(MTU),
            "dns_domain": row.dns_domain.clone().unwrap_or_default(),
            "availability_zones": [],
            "availability_zone_hints": [],
            "ipv4_address_scope": null,
            "ipv6_address_scope": null,
            "port_security_enabled": true,
            "tags": [],
            "created_at": moment(row.created_at),
            "updated_at": moment(row.updated_at),
            "revision_number": 0,
        });
        if let (true, Some(object)) = (who.is_admin(), value.as_object_mut()) {
            object.insert(String::from("provider:network_type"), json!(row.mode));
            object.insert(String::from("provider:physical_network"), json!(row.link));
            object.insert(String::from("provider:segmentation_id"), Value::Null);
            object.insert(String::from("synnefo:mac_prefix"), json!(row.mac_prefix));
            object.insert(String::from("synnefo:tags"), json!(row.tags));
        }
        value
    });
    Ok(each.collect())
}

/// Lists networks.
#[utoipa::path(get, path = "/v2.0/networks", tag = "networks", responses((status = 200, body = Value)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    who: Principal,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let rows = read::networks(cloud.db.reader(), (&who).into()).await?;
    let all = written(&cloud, &who, &rows).await?;
    Ok(Json(page(&cloud, KIND, all, &query)?))
}

/// Makes a network, or several.
#[utoipa::path(post, path = "/v2.0/networks", tag = "networks", request_body = NetworkWanted, responses((status = 201, body = Value)))]
pub(super) async fn create(
    State(cloud): State<Cloud>,
    who: Principal,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, Fault> {
    let asked = several::<NetworkWanted>(body, "network", "networks")?;
    let mut new = Vec::new();
    for wanted in asked.all {
        is_up(wanted.admin_state_up)?;
        if wanted.port_security_enabled == Some(false) {
            return Err(Fault::bad(
                "port_security_enabled: a NIC always has only its own addresses",
            ));
        }
        new.push(Wanted {
            placed: placed(&cloud, &who, &wanted).await?,
            name: words("name", wanted.name)?,
            description: words("description", wanted.description)?,
            mtu: checked_mtu(wanted.mtu)?,
            dns_domain: checked_domain(wanted.dns_domain)?,
        });
    }
    let rows = networks::create(&cloud, &who, &new).await?;
    let mut all = written(&cloud, &who, &rows).await?;
    let body = match asked.is_list {
        true => json!({"networks": all}),
        false => json!({"network": all.pop()}),
    };
    Ok(reply(StatusCode::CREATED, body))
}

/// Shows a network.
#[utoipa::path(get, path = "/v2.0/networks/{id}", tag = "networks", params(("id" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let uuid = uuid("network", &id)?;
    let row = read::network(cloud.db.reader(), (&who).into(), uuid).await?;
    let row = row.ok_or_else(|| Fault::not_found("network", id))?;
    let one = written(&cloud, &who, &[row]).await?.pop();
    Ok(Json(json!({"network": one.map(|one| fields(one, &query))})))
}

/// Changes a network.
#[utoipa::path(put, path = "/v2.0/networks/{id}", tag = "networks", params(("id" = String, Path)), request_body = NetworkChanged, responses((status = 200, body = Value)))]
pub(super) async fn update(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Value>, Fault> {
    let uuid = uuid("network", &id)?;
    let wanted: NetworkChanged = single(body, "network")?;
    is_up(wanted.admin_state_up)?;
    let change = NetworkChange {
        name: wanted
            .name
            .map(|name| words("name", Some(name)))
            .transpose()?,
        description: wanted
            .description
            .map(|text| words("description", Some(text)))
            .transpose()?,
        mtu: checked_mtu(wanted.mtu)?,
        dns_domain: wanted.dns_domain.map(checked_domain).transpose()?,
        is_shared: wanted.shared,
        is_external: wanted.external,
    };
    let row = networks::update(&cloud, &who, uuid, &change).await?;
    let one = written(&cloud, &who, &[row]).await?.pop();
    Ok(Json(json!({"network": one})))
}

/// Removes a network.
#[utoipa::path(delete, path = "/v2.0/networks/{id}", tag = "networks", params(("id" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Fault> {
    networks::delete(&cloud, &who, uuid("network", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
