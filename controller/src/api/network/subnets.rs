//! Subnets.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::ask::{said, several, single, words};
use super::listed::{Kind, fields, page};
use super::{moment, uuid};
use crate::allocation::Pool;
use crate::api::body::{Json, Pairs, Path, reply};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::entity::subnet;
use crate::db::networks as read;
use crate::subnets::{self, Gateway, HostRoute, NewSubnet, SubnetChange};

const KIND: Kind = Kind {
    plural: "subnets",
    keys: &[
        "id",
        "name",
        "network_id",
        "tenant_id",
        "project_id",
        "ip_version",
        "cidr",
        "gateway_ip",
        "enable_dhcp",
        "ipv6_ra_mode",
        "ipv6_address_mode",
        "subnetpool_id",
        "description",
    ],
};

/// A pool that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolWanted {
    start: String,
    end: String,
}

/// A subnet that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubnetWanted {
    network_id: String,
    cidr: Option<String>,
    ip_version: Option<Value>,
    name: Option<String>,
    #[serde(default, deserialize_with = "said")]
    gateway_ip: Option<Option<String>>,
    allocation_pools: Option<Vec<PoolWanted>>,
    enable_dhcp: Option<bool>,
    dns_nameservers: Option<Vec<String>>,
    host_routes: Option<Vec<HostRoute>>,
    ipv6_ra_mode: Option<String>,
    ipv6_address_mode: Option<String>,
    subnetpool_id: Option<String>,
    use_default_subnetpool: Option<bool>,
    prefixlen: Option<Value>,
    #[serde(alias = "project_id")]
    tenant_id: Option<String>,
    description: Option<String>,
}

/// What changes of a subnet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubnetChanged {
    name: Option<String>,
    #[serde(default, deserialize_with = "said")]
    gateway_ip: Option<Option<String>>,
    allocation_pools: Option<Vec<PoolWanted>>,
    enable_dhcp: Option<bool>,
    dns_nameservers: Option<Vec<String>>,
    host_routes: Option<Vec<HostRoute>>,
}

fn address(key: &str, text: &str) -> Result<IpAddr, Fault> {
    let read: Result<IpAddr, _> = text.parse();
    read.map_err(|_| {
        Fault::bad(format!(
            "Invalid input for {key}: '{text}' is not a valid IP address"
        ))
    })
}

fn addresses(key: &str, texts: Vec<String>) -> Result<Vec<IpAddr>, Fault> {
    texts.iter().map(|text| address(key, text)).collect()
}

fn pools(wanted: Vec<PoolWanted>) -> Result<Vec<Pool>, Fault> {
    let each = wanted.into_iter().map(|PoolWanted { start, end }| {
        Ok(Pool {
            start: address("allocation_pools", &start)?,
            end: address("allocation_pools", &end)?,
        })
    });
    each.collect()
}

fn gateway(said: Option<Option<String>>) -> Result<Gateway, Fault> {
    match said {
        None => Ok(Gateway::First),
        Some(None) => Ok(Gateway::None),
        Some(Some(text)) => Ok(Gateway::At(address("gateway_ip", &text)?)),
    }
}

/// Neutron's two words for how guests get IPv6 addresses are one here.
fn mode(advertised: Option<String>, address: Option<String>) -> Result<Option<String>, Fault> {
    let word = match (advertised, address) {
        (None, None) => return Ok(None),
        (Some(one), Some(other)) if one != other => {
            return Err(Fault::bad(
                "Invalid input for operation: ipv6_ra_mode and ipv6_address_mode are not the same",
            ));
        }
        (Some(word), _) | (None, Some(word)) => word,
    };
    match word.as_str() {
        "slaac" => Ok(Some(String::from("slaac"))),
        "dhcpv6-stateless" => Ok(Some(String::from("stateless"))),
        "dhcpv6-stateful" => Ok(Some(String::from("stateful"))),
        _ => Err(Fault::bad(format!(
            "{word} is no way to get IPv6 addresses"
        ))),
    }
}

fn new(wanted: SubnetWanted, who: &Principal) -> Result<NewSubnet, Fault> {
    if wanted.subnetpool_id.is_some()
        || wanted.use_default_subnetpool == Some(true)
        || wanted.prefixlen.is_some()
    {
        return Err(Fault::bad(
            "there are no subnet pools here: a cidr is wanted",
        ));
    }
    let own = who.project_uuid.simple().to_string();
    if wanted
        .tenant_id
        .is_some_and(|tenant| tenant.replace('-', "") != own)
        && !who.is_admin()
    {
        return Err(Fault::Forbidden(String::from(
            "only administrators make subnets for others",
        )));
    }
    if wanted.description.is_some_and(|text| !text.is_empty()) {
        return Err(Fault::bad("description: subnets have none here"));
    }
    let text = wanted
        .cidr
        .ok_or_else(|| Fault::bad("a subnet must have a cidr"))?;
    let cidr: Result<IpNet, _> = text.parse();
    let cidr = cidr.map_err(|_| {
        Fault::bad(format!(
            "Invalid input for cidr: '{text}' is not a valid IP subnet"
        ))
    })?;
    let version = match &wanted.ip_version {
        None => 4,
        Some(Value::Number(version)) => version.as_i64().unwrap_or_default(),
        Some(Value::String(version)) => version.parse().unwrap_or_default(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => 0,
    };
    let is_version = if cidr.addr().is_ipv4() { 4 } else { 6 };
    if version != is_version {
        return Err(Fault::bad(format!(
            "Invalid input for operation: cidr '{text}' does not match ip_version '{version}'"
        )));
    }
    let ipv6_mode = mode(wanted.ipv6_ra_mode, wanted.ipv6_address_mode)?;
    if ipv6_mode.is_some() && version == 4 {
        return Err(Fault::bad(
            "Invalid input for operation: ipv6_ra_mode and ipv6_address_mode are of IPv6",
        ));
    }
    Ok(NewSubnet {
        network: uuid("network", &wanted.network_id)?,
        name: words("name", wanted.name)?,
        cidr: cidr.trunc(),
        gateway: gateway(wanted.gateway_ip)?,
        pools: wanted.allocation_pools.map(pools).transpose()?,
        dhcp: wanted.enable_dhcp.unwrap_or(true),
        ipv6_mode,
        dns_servers: addresses(
            "dns_nameservers",
            wanted.dns_nameservers.unwrap_or_default(),
        )?,
        host_routes: wanted.host_routes.unwrap_or_default(),
    })
}

async fn written(cloud: &Cloud, rows: &[subnet::Model]) -> Result<Vec<Value>, Fault> {
    let db = cloud.db.reader();
    let networks = read::networks_by_id(db, rows.iter().map(|row| row.network_id)).await?;
    let projects = read::project_names(db, rows.iter().filter_map(|row| row.project_id)).await?;
    let each = rows.iter().map(|row| {
        let project = row.project_id.and_then(|id| projects.get(&id));
        let project = project.map_or_else(String::new, |uuid| uuid.simple().to_string());
        let mode = row.ipv6_mode.as_deref().map(|mode| match mode {
            "stateless" => "dhcpv6-stateless",
            "stateful" => "dhcpv6-stateful",
            mode => mode,
        });
        json!({
            "id": row.uuid,
            "name": row.name,
            "network_id": networks.get(&row.network_id).map(|network| network.uuid),
            "tenant_id": project,
            "project_id": project,
            "ip_version": row.ip_version,
            "cidr": row.cidr,
            "gateway_ip": row.gateway,
            "allocation_pools": row.pools,
            "enable_dhcp": row.dhcp,
            "dns_nameservers": row.dns_servers,
            "host_routes": row.host_routes,
            "ipv6_ra_mode": mode,
            "ipv6_address_mode": mode,
            "subnetpool_id": null,
            "service_types": [],
            "description": "",
            "tags": [],
            "created_at": moment(row.created_at),
            "updated_at": moment(row.updated_at),
            "revision_number": 0,
        })
    });
    Ok(each.collect())
}

/// Lists subnets.
#[utoipa::path(get, path = "/v2.0/subnets", tag = "subnets", responses((status = 200, body = Value)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    who: Principal,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let db = cloud.db.reader();
    let networks = read::networks(db, (&who).into()).await?;
    let rows = read::subnets_of(db, networks.iter().map(|network| network.id)).await?;
    let rows: Vec<subnet::Model> = rows.into_values().flatten().collect();
    let all = written(&cloud, &rows).await?;
    Ok(Json(page(&cloud, KIND, all, &query)?))
}

/// Makes a subnet, or several.
#[utoipa::path(post, path = "/v2.0/subnets", tag = "subnets", request_body = SubnetWanted, responses((status = 201, body = Value)))]
pub(super) async fn create(
    State(cloud): State<Cloud>,
    who: Principal,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, Fault> {
    let asked = several::<SubnetWanted>(body, "subnet", "subnets")?;
    let wanted = asked.all.into_iter().map(|wanted| new(wanted, &who));
    let wanted: Vec<NewSubnet> = wanted.collect::<Result<_, _>>()?;
    let rows = subnets::create(&cloud, &who, &wanted).await?;
    let mut all = written(&cloud, &rows).await?;
    let body = match asked.is_list {
        true => json!({"subnets": all}),
        false => json!({"subnet": all.pop()}),
    };
    Ok(reply(StatusCode::CREATED, body))
}

/// Shows a subnet.
#[utoipa::path(get, path = "/v2.0/subnets/{id}", tag = "subnets", params(("id" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let uuid = uuid("subnet", &id)?;
    let found = read::subnet(cloud.db.reader(), (&who).into(), uuid).await?;
    let (row, _) = found.ok_or_else(|| Fault::not_found("subnet", id))?;
    let one = written(&cloud, &[row]).await?.pop();
    Ok(Json(json!({"subnet": one.map(|one| fields(one, &query))})))
}

/// Changes a subnet.
#[utoipa::path(put, path = "/v2.0/subnets/{id}", tag = "subnets", params(("id" = String, Path)), request_body = SubnetChanged, responses((status = 200, body = Value)))]
pub(super) async fn update(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Value>, Fault> {
    let uuid = uuid("subnet", &id)?;
    let wanted: SubnetChanged = single(body, "subnet")?;
    let servers = wanted
        .dns_nameservers
        .map(|texts| addresses("dns_nameservers", texts));
    let change = SubnetChange {
        name: wanted
            .name
            .map(|name| words("name", Some(name)))
            .transpose()?,
        pools: wanted.allocation_pools.map(pools).transpose()?,
        dns_servers: servers.transpose()?,
        host_routes: wanted.host_routes,
        dhcp: wanted.enable_dhcp,
        gateway: wanted
            .gateway_ip
            .map(|said| gateway(Some(said)))
            .transpose()?,
    };
    let row = subnets::update(&cloud, &who, uuid, &change).await?;
    let one = written(&cloud, &[row]).await?.pop();
    Ok(Json(json!({"subnet": one})))
}

/// Removes a subnet.
#[utoipa::path(delete, path = "/v2.0/subnets/{id}", tag = "subnets", params(("id" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Fault> {
    subnets::delete(&cloud, &who, uuid("subnet", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
