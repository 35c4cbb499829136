//! NICs: made with their addresses in one transaction, whose network and subnets are locked.

mod own;

use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, Utc};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nfdhcpd_binding::MacAddr;
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, IntoActiveModel};
use serde::Deserialize;
use snf_events::Prefix;
use uuid::Uuid;

use crate::allocation::{self, Pool};
use crate::api::fault::Fault;
use crate::db::entity::{address, network, port, subnet};
use crate::db::{DbError, networks as read, rows};
use crate::rapi::body::NewNic;
use crate::rapi::naming::Named;

pub use own::{Wanted, create, delete, rename};

/// NICs that a server may have (`GANETI_MAX_NICS_PER_INSTANCE` of the original).
pub const MOST: usize = 8;
/// How many hardware addresses are tried by chance.
const TRIES: u32 = 32;

/// A port that is wanted.
#[derive(Debug, Clone)]
pub struct NewPort<'a> {
    /// Its network, locked.
    pub network: &'a network::Model,
    /// The network's subnets, locked.
    pub subnets: &'a [subnet::Model],
    /// Addresses it must have.
    pub fixed: &'a [IpAddr],
    /// The hardware address it must have.
    pub mac: Option<MacAddr>,
    /// Its name.
    pub name: &'a str,
    /// Whose it is.
    pub project: i64,
    /// Who makes it.
    pub user: i64,
    /// Its server, and its place there.
    pub server: Option<(i64, i32)>,
}

/// A port with its addresses.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its row.
    pub row: port::Model,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<address::Model>,
}

impl Port {
    /// What Ganeti is asked for.
    #[must_use]
    pub fn nic(&self, prefix: &Prefix) -> NewNic {
        let v4 = self
            .addresses
            .iter()
            .find_map(|each| each.address.parse().ok());
        let row = &self.row;
        let own = || Named::Port(row.id).name(prefix);
        NewNic {
            name: row.nic_name.clone().unwrap_or_else(own),
            network: Named::Network(row.network_id).name(prefix),
            ip: v4,
            mac: row.mac.clone(),
        }
    }
}

/// Makes a port: its hardware address, the lowest free IPv4 address or the one asked for, the IPv6 address that follows from
/// the hardware address.
///
/// # Errors
/// 409 where an address is taken or none is left, 400 where one cannot be, 403 where the network is only for floating
/// addresses.
pub async fn make(
    tx: &DatabaseTransaction,
    new: &NewPort<'_>,
    prefix: &Prefix,
    now: DateTime<Utc>,
) -> Result<Port, Fault> {
    if new.network.is_drained {
        let name = new.network.uuid;
        return Err(Fault::Conflict(format!(
            "network {name} takes no new ports"
        )));
    }
    let mac = hardware_address(tx, new).await?;
    let row = port::ActiveModel {
        uuid: Set(Uuid::new_v4()),
        network_id: Set(new.network.id),
        server_id: Set(new.server.map(|(server, _)| server)),
        project_id: Set(new.project),
        user_id: Set(new.user),
        name: Set(new.name.to_owned()),
        mac: Set(mac.to_string()),
        nic_name: Set(None),
        nic_uuid: Set(None),
        nic_index: Set(new.server.map(|(_, index)| index)),
        state: Set(String::from(if new.server.is_some() {
            "BUILD"
        } else {
            "DOWN"
        })),
        firewall_profile: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
        deletion: Set(0),
        ..Default::default()
    };
    let row = rows::insert(tx, row).await?;
    let name = Named::Port(row.id).name(prefix);
    let mut named = row.into_active_model();
    named.nic_name = Set(Some(name));
    let row = rows::update(tx, named).await?;
    let mut addresses = Vec::new();
    let mut unheeded: Vec<IpAddr> = new.fixed.to_vec();
    for subnet in new.subnets {
        let Ok(cidr) = subnet.cidr.parse::<IpNet>() else {
            continue;
        };
        let asked = unheeded
            .iter()
            .position(|ip| ip.is_ipv4() == cidr.addr().is_ipv4());
        let asked = asked.map(|place| unheeded.remove(place));
        let taken = match cidr {
            IpNet::V4(cidr) => {
                let asked = asked.and_then(|ip| match ip {
                    IpAddr::V4(ip) => Some(ip),
                    IpAddr::V6(_) => None,
                });
                Some(take_v4(tx, new, subnet, cidr, asked, row.id, now).await?)
            }
            IpNet::V6(cidr) => take_v6(tx, new, subnet, cidr, asked, mac, row.id, now).await?,
        };
        addresses.extend(taken);
    }
    if let Some(ip) = unheeded.first() {
        return Err(outside(*ip, new.network));
    }
    addresses.sort_by_key(|address| address.address.contains(':'));
    Ok(Port { row, addresses })
}

fn outside(ip: IpAddr, network: &network::Model) -> Fault {
    let name = network.uuid;
    Fault::bad(format!(
        "Fixed IP address {ip} is not an address of a subnet of network {name}, or one too many"
    ))
}

async fn hardware_address(tx: &DatabaseTransaction, new: &NewPort<'_>) -> Result<MacAddr, Fault> {
    let octets = prefix_octets(&new.network.mac_prefix)?;
    if let Some(mac) = new.mac {
        if mac.octets().get(..3) != Some(&octets[..]) {
            let begin = &new.network.mac_prefix;
            return Err(Fault::bad(format!(
                "the hardware addresses of this network begin with {begin}: {mac} would not be let through"
            )));
        }
        if read::mac_is_taken(tx, &mac.to_string()).await? {
            return Err(Fault::Conflict(format!("hardware address {mac} is in use")));
        }
        return Ok(mac);
    }
    for _ in 0..TRIES {
        let [a, b, c, d, ..] = *Uuid::new_v4().as_bytes();
        let mac = allocation::mac(octets, u32::from_be_bytes([a, b, c, d]));
        if !read::mac_is_taken(tx, &mac.to_string()).await? {
            return Ok(mac);
        }
    }
    let name = new.network.uuid;
    Err(Fault::Conflict(format!(
        "no hardware address is left on network {name}"
    )))
}

/// Reads `aa:00:01`.
///
/// # Errors
/// It is no prefix of hardware addresses.
pub fn prefix_octets(text: &str) -> Result<[u8; 3], Fault> {
    let whole: Result<MacAddr, _> = format!("{text}:00:00:00").parse();
    match whole {
        Ok(MacAddr([a, b, c, ..])) if a & 1 == 0 => Ok([a, b, c]),
        _ => Err(Fault::bad(format!(
            "{text:?} is no prefix of hardware addresses: it is three octets of single stations, as in aa:00:01"
        ))),
    }
}

/// The ranges a subnet's addresses are taken from.
#[must_use]
pub fn pools(subnet: &subnet::Model) -> Vec<Pool> {
    Vec::<Pool>::deserialize(&subnet.pools).unwrap_or_default()
}

async fn take_v4(
    tx: &DatabaseTransaction,
    new: &NewPort<'_>,
    subnet: &subnet::Model,
    cidr: Ipv4Net,
    asked: Option<Ipv4Addr>,
    port: i64,
    now: DateTime<Utc>,
) -> Result<address::Model, Fault> {
    let name = new.network.uuid;
    if let Some(ip) = asked {
        let is_host = is_host(ip, cidr);
        if !is_host || subnet.gateway.as_deref() == Some(&*ip.to_string()) {
            return Err(outside(ip.into(), new.network));
        }
        match read::address_row(tx, subnet.id, &ip.to_string()).await? {
            Some(row)
                if row.kind == "floating"
                    && row.project_id == Some(new.project)
                    && row.port_id.is_none() =>
            {
                let mut taken = row.into_active_model();
                taken.port_id = Set(Some(port));
                taken.updated_at = Set(now);
                return Ok(rows::update(tx, taken).await?);
            }
            Some(_) => {
                return Err(Fault::Conflict(format!(
                    "Fixed IP address {ip} is already in use on network {name}"
                )));
            }
            None => {}
        }
    }
    let is_floating_only = new.network.is_external
        && !new.network.is_shared
        && new.network.project_id != Some(new.project);
    if is_floating_only {
        return Err(Fault::Forbidden(format!(
            "It is not allowed to create an interface on external network {name} without a floating IP of your own"
        )));
    }
    let ip = match asked {
        Some(ip) => ip,
        None => {
            let taken = read::taken(tx, subnet.id).await?;
            allocation::free_address(&pools(subnet), &taken).ok_or_else(|| no_more(new.network))?
        }
    };
    keep(tx, subnet, "fixed", ip.into(), Some(port), now).await
}

/// No address is left.
#[must_use]
pub fn no_more(network: &network::Model) -> Fault {
    let name = network.uuid;
    Fault::Conflict(format!("No more IP addresses available on network {name}"))
}

/// Whether an address can be a host's.
#[must_use]
pub fn is_host(ip: Ipv4Addr, cidr: Ipv4Net) -> bool {
    let is_end = cidr.prefix_len() < 31 && (ip == cidr.network() || ip == cidr.broadcast());
    cidr.contains(&ip) && !is_end
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is another thing, and it is called once"
)]
async fn take_v6(
    tx: &DatabaseTransaction,
    new: &NewPort<'_>,
    subnet: &subnet::Model,
    cidr: Ipv6Net,
    asked: Option<IpAddr>,
    mac: MacAddr,
    port: i64,
    now: DateTime<Utc>,
) -> Result<Option<address::Model>, Fault> {
    let own = mac.eui64(cidr).map(IpAddr::V6);
    if let Some(ip) = asked
        && own != Some(ip)
    {
        let words = "an IPv6 address follows from the hardware address";
        return Err(Fault::bad(match own {
            Some(own) => format!("{words}: with {mac} it is {own}, not {ip}"),
            None => format!("{words} where the prefix is a /64: {ip} cannot be given on {cidr}"),
        }));
    }
    let Some(ip) = own else { return Ok(None) };
    if read::address_row(tx, subnet.id, &ip.to_string())
        .await?
        .is_some()
    {
        let name = new.network.uuid;
        return Err(Fault::Conflict(format!(
            "Fixed IP address {ip} is already in use on network {name}"
        )));
    }
    keep(tx, subnet, "fixed", ip, Some(port), now)
        .await
        .map(Some)
}

/// Keeps an address that was found free.
///
/// # Errors
/// The database's own.
pub async fn keep(
    tx: &DatabaseTransaction,
    subnet: &subnet::Model,
    kind: &str,
    ip: IpAddr,
    port: Option<i64>,
    now: DateTime<Utc>,
) -> Result<address::Model, Fault> {
    let row = address::ActiveModel {
        uuid: Set(Uuid::new_v4()),
        network_id: Set(subnet.network_id),
        subnet_id: Set(subnet.id),
        address: Set(ip.to_string()),
        kind: Set(kind.to_owned()),
        port_id: Set(port),
        project_id: Set(None),
        user_id: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
        ..Default::default()
    };
    Ok(rows::insert(tx, row).await?)
}

/// Takes a port without a server away, and gives its addresses back: floating ones to who has them, the others to all.
///
/// # Errors
/// The database's own.
pub async fn drop_row(
    tx: &DatabaseTransaction,
    row: port::Model,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    read::release(tx, row.id, now).await?;
    let id = row.id;
    let mut gone = row.into_active_model();
    gone.deletion = Set(id);
    gone.state = Set(String::from("DOWN"));
    gone.updated_at = Set(now);
    rows::update(tx, gone).await?;
    Ok(())
}
