//! Address ranges of networks: at most one of each version, made before the network comes to a cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use nfdhcpd_binding::limits;
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, IntoActiveModel};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::allocation::{self, Pool};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::{self, Cloud};
use crate::db::entity::subnet;
use crate::db::{networks as read, rows};
use crate::{deeds, networks, ports};

/// Prefix lengths of IPv4 that Ganeti takes for a network (`lib/network.py`).
const V4_LENGTHS: std::ops::RangeInclusive<u8> = 16..=30;
/// The prefix length of IPv6 that guests make addresses in by themselves (RFC 4862 §5.5.3).
const V6_LENGTH: u8 = 64;

/// A route that guests are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRoute {
    /// Where to: a prefix.
    pub destination: String,
    /// Through which router.
    pub nexthop: String,
}

/// The router of a subnet that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// The first address.
    First,
    /// None.
    None,
    /// This.
    At(IpAddr),
}

/// A subnet that is asked for.
#[derive(Debug, Clone)]
pub struct NewSubnet {
    /// Its network.
    pub network: Uuid,
    /// Its name.
    pub name: String,
    /// Its prefix.
    pub cidr: IpNet,
    /// Its router.
    pub gateway: Gateway,
    /// Where addresses are taken from.
    pub pools: Option<Vec<Pool>>,
    /// Whether guests are told their addresses.
    pub dhcp: bool,
    /// `slaac`, `stateless`, `stateful`.
    pub ipv6_mode: Option<String>,
    /// Name servers guests are told.
    pub dns_servers: Vec<IpAddr>,
    /// Routes guests are told.
    pub host_routes: Vec<HostRoute>,
}

/// Makes subnets, all or none.
///
/// # Errors
/// 404 for the network, 403 where it is another's, 409 where it has one of that version or is on a cluster, 400 where the
/// subnet cannot be.
pub async fn create(
    cloud: &Cloud,
    who: &Principal,
    new: &[NewSubnet],
) -> Result<Vec<subnet::Model>, Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let mut made = Vec::new();
            for new in new {
                made.push(one(&tx, who, new, now).await?);
            }
            Ok(made)
        })
        .await
}

async fn one(
    tx: &DatabaseTransaction,
    who: &Principal,
    new: &NewSubnet,
    now: DateTime<Utc>,
) -> Result<subnet::Model, Fault> {
    let network = networks::locked(tx, who, new.network).await?;
    let version: i16 = if new.cidr.addr().is_ipv4() { 4 } else { 6 };
    let standing = read::lock_subnets(tx, [network.id])
        .await?
        .remove(&network.id)
        .unwrap_or_default();
    if standing.iter().any(|subnet| subnet.ip_version == version) {
        return Err(Fault::Conflict(format!(
            "network {} has a subnet of IPv{version}: it can have one",
            network.uuid
        )));
    }
    networks::is_nowhere(tx, &network).await?;
    if read::network_is_used(tx, network.id).await? {
        return Err(Fault::Conflict(format!(
            "network {} has ports: a subnet comes before them",
            network.uuid
        )));
    }
    check_prefix(new.cidr)?;
    let gateway = gateway(new)?;
    let pools = match (&new.pools, new.cidr) {
        (Some(pools), _) if version == 6 && !pools.is_empty() => {
            return Err(Fault::bad(
                "IPv6 addresses follow from hardware addresses: there are no pools of them",
            ));
        }
        (Some(pools), _) => pools.clone(),
        (None, IpNet::V4(cidr)) => {
            let v4 = gateway.and_then(|gateway| match gateway {
                IpAddr::V4(gateway) => Some(gateway),
                IpAddr::V6(_) => None,
            });
            allocation::default_pools(cidr, v4)
        }
        (None, IpNet::V6(_)) => Vec::new(),
    };
    check_pools(&pools, new.cidr, gateway)?;
    check_told(&new.dns_servers, &new.host_routes, version)?;
    let row = subnet::ActiveModel {
        uuid: Set(Uuid::new_v4()),
        network_id: Set(network.id),
        project_id: Set(network.project_id),
        name: Set(new.name.clone()),
        ip_version: Set(version),
        cidr: Set(new.cidr.trunc().to_string()),
        gateway: Set(gateway.map(|gateway| gateway.to_string())),
        dhcp: Set(new.dhcp),
        ipv6_mode: Set(new.ipv6_mode.clone()),
        pools: Set(json!(pools)),
        dns_servers: Set(json!(new.dns_servers)),
        host_routes: Set(json!(new.host_routes)),
        created_at: Set(now),
        updated_at: Set(now),
        deletion: Set(0),
        ..Default::default()
    };
    let row = rows::insert(tx, row).await?;
    deeds::note(
        tx,
        who,
        ("subnet", "create"),
        row.uuid,
        201,
        json!({"cidr": row.cidr}),
        now,
    )
    .await?;
    Ok(row)
}

fn check_prefix(cidr: IpNet) -> Result<(), Fault> {
    match cidr {
        IpNet::V4(cidr) if !V4_LENGTHS.contains(&cidr.prefix_len()) => {
            let (least, most) = (V4_LENGTHS.start(), V4_LENGTHS.end());
            Err(Fault::bad(format!(
                "{cidr}: an IPv4 prefix is from /{least} to /{most}"
            )))
        }
        IpNet::V4(cidr)
            if cidr.network().is_multicast()
                || cidr.network().is_loopback()
                || cidr.network() == Ipv4Addr::UNSPECIFIED =>
        {
            Err(Fault::bad(format!("{cidr}: no hosts are there")))
        }
        IpNet::V6(cidr) if cidr.prefix_len() != V6_LENGTH => Err(Fault::bad(format!(
            "{cidr}: an IPv6 prefix is a /{V6_LENGTH}"
        ))),
        IpNet::V6(cidr)
            if cidr.network().is_multicast()
                || cidr.network().is_unicast_link_local()
                || cidr.network() == Ipv6Addr::UNSPECIFIED =>
        {
            Err(Fault::bad(format!("{cidr}: no hosts are there")))
        }
        IpNet::V4(_) | IpNet::V6(_) => Ok(()),
    }
}

fn gateway(new: &NewSubnet) -> Result<Option<IpAddr>, Fault> {
    let cidr = new.cidr;
    match new.gateway {
        Gateway::None => Ok(None),
        Gateway::First => Ok(Some(match cidr.network() {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from(u32::from(first) + 1)),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from(u128::from(first) + 1)),
        })),
        Gateway::At(address) => {
            let is_host = match (address, cidr) {
                (IpAddr::V4(address), IpNet::V4(cidr)) => ports::is_host(address, cidr),
                (IpAddr::V6(address), IpNet::V6(cidr)) => {
                    cidr.contains(&address) || address.is_unicast_link_local()
                }
                (IpAddr::V4(_), IpNet::V6(_)) | (IpAddr::V6(_), IpNet::V4(_)) => false,
            };
            match is_host {
                true => Ok(Some(address)),
                false => Err(Fault::bad(format!(
                    "Invalid input for operation: Gateway {address} is not valid on subnet {cidr}"
                ))),
            }
        }
    }
}

fn check_pools(pools: &[Pool], cidr: IpNet, gateway: Option<IpAddr>) -> Result<(), Fault> {
    allocation::check_pools(pools, cidr, gateway).map_err(|error| match error {
        allocation::PoolError::Outside { .. } => Fault::bad(error.to_string()),
        allocation::PoolError::Overlap(_) | allocation::PoolError::Gateway(_) => {
            Fault::Conflict(error.to_string())
        }
    })?;
    let IpNet::V4(cidr) = cidr else { return Ok(()) };
    for end in pools.iter().flat_map(|pool| [pool.start, pool.end]) {
        if let IpAddr::V4(end) = end
            && !ports::is_host(end, cidr)
        {
            return Err(Fault::bad(format!(
                "the pool's end {end} is no host's address in {cidr}"
            )));
        }
    }
    Ok(())
}

fn check_told(servers: &[IpAddr], routes: &[HostRoute], version: i16) -> Result<(), Fault> {
    limits::check_servers(servers)
        .map_err(|error| Fault::bad(format!("dns_nameservers: {error}")))?;
    if routes.len() > limits::ROUTES_PER_FAMILY {
        let most = limits::ROUTES_PER_FAMILY;
        return Err(Fault::bad(format!("host_routes: at most {most}")));
    }
    let is_v4 = version == 4;
    for HostRoute {
        destination,
        nexthop,
    } in routes
    {
        let to: Option<IpNet> = destination
            .parse()
            .ok()
            .filter(|to: &IpNet| to.trunc() == *to);
        let through: Option<IpAddr> = nexthop.parse().ok();
        let fits = to.is_some_and(|to| to.addr().is_ipv4() == is_v4)
            && through.is_some_and(|through| through.is_ipv4() == is_v4);
        if !fits {
            return Err(Fault::bad(format!(
                "host_routes: {destination} via {nexthop} is no route of IPv{version}"
            )));
        }
    }
    Ok(())
}

/// What changes of a subnet.
#[derive(Debug, Clone, Default)]
pub struct SubnetChange {
    /// Its name.
    pub name: Option<String>,
    /// Where addresses are taken from.
    pub pools: Option<Vec<Pool>>,
    /// Name servers guests are told.
    pub dns_servers: Option<Vec<IpAddr>>,
    /// Routes guests are told.
    pub host_routes: Option<Vec<HostRoute>>,
    /// Whether guests are told their addresses.
    pub dhcp: Option<bool>,
    /// Its router.
    pub gateway: Option<Gateway>,
}

/// Changes a subnet: its name and pools at any time, what guests are told until the network is on a cluster.
///
/// # Errors
/// 404, 403, 400, 409, or the database's own.
pub async fn update(
    cloud: &Cloud,
    who: &Principal,
    uuid: Uuid,
    change: &SubnetChange,
) -> Result<subnet::Model, Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let tx = &*tx;
            let (row, network) = locked(tx, who, uuid).await?;
            let cidr: IpNet = row.cidr.parse().map_err(Fault::internal)?;
            let told = change.dns_servers.is_some()
                || change.host_routes.is_some()
                || change.dhcp.is_some_and(|dhcp| dhcp != row.dhcp)
                || change.gateway.is_some();
            if told {
                networks::is_nowhere(tx, &network).await?;
            }
            let standing = row.gateway.as_deref().and_then(|text| text.parse().ok());
            let gateway = match change.gateway {
                None => standing,
                Some(wanted) => {
                    let new = NewSubnet {
                        network: network.uuid,
                        name: String::new(),
                        cidr,
                        gateway: wanted,
                        pools: None,
                        dhcp: row.dhcp,
                        ipv6_mode: None,
                        dns_servers: Vec::new(),
                        host_routes: Vec::new(),
                    };
                    gateway(&new)?
                }
            };
            let pools = change.pools.clone().unwrap_or_else(|| ports::pools(&row));
            if change.pools.is_some() && row.ip_version == 6 && !pools.is_empty() {
                return Err(Fault::bad(
                    "IPv6 addresses follow from hardware addresses: there are no pools of them",
                ));
            }
            check_pools(&pools, cidr, gateway)?;
            let servers = change.dns_servers.clone().unwrap_or_default();
            let routes = change.host_routes.clone().unwrap_or_default();
            check_told(&servers, &routes, row.ip_version)?;
            let mut changed = row.into_active_model();
            if let Some(name) = &change.name {
                changed.name = Set(name.clone());
            }
            if let Some(dhcp) = change.dhcp {
                changed.dhcp = Set(dhcp);
            }
            if change.dns_servers.is_some() {
                changed.dns_servers = Set(json!(servers));
            }
            if change.host_routes.is_some() {
                changed.host_routes = Set(json!(routes));
            }
            changed.gateway = Set(gateway.map(|gateway| gateway.to_string()));
            changed.pools = Set(json!(pools));
            changed.updated_at = Set(now);
            let row = rows::update(tx, changed).await?;
            deeds::note(tx, who, ("subnet", "update"), uuid, 200, json!({}), now).await?;
            Ok(row)
        })
        .await
}

async fn locked(
    tx: &DatabaseTransaction,
    who: &Principal,
    uuid: Uuid,
) -> Result<(subnet::Model, crate::db::entity::network::Model), Fault> {
    let missing = || Fault::not_found("subnet", uuid);
    let (row, network) = read::subnet(tx, who.into(), uuid)
        .await?
        .ok_or_else(missing)?;
    let network = networks::locked(tx, who, network.uuid).await?;
    let subnets = read::lock_subnets(tx, [network.id])
        .await?
        .remove(&network.id);
    let found = subnets
        .into_iter()
        .flatten()
        .find(|subnet| subnet.id == row.id);
    Ok((found.ok_or_else(missing)?, network))
}

/// Removes a subnet that nobody has an address of.
///
/// # Errors
/// 404, 403, 409 where it is in use or its network is on a cluster, or the database's own.
pub async fn delete(cloud: &Cloud, who: &Principal, uuid: Uuid) -> Result<(), Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let tx = &*tx;
            let (row, network) = locked(tx, who, uuid).await?;
            if read::subnet_is_used(tx, row.id).await? {
                return Err(Fault::InUse {
                    what: "subnet",
                    id: uuid.to_string(),
                    reason: String::from(
                        "one or more ports or floating IPs have an address from it",
                    ),
                });
            }
            networks::is_nowhere(tx, &network).await?;
            read::drop_subnet(tx, row, now).await?;
            deeds::note(tx, who, ("subnet", "delete"), uuid, 204, json!({}), now).await?;
            Ok(())
        })
        .await
}
