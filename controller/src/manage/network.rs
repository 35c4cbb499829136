//! Networks and their subnets.

use std::net::{IpAddr, Ipv4Addr};

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use snf_events::tag::Key;
use uuid::Uuid;

use super::{ManageError, Shown, note, only};
use crate::allocation::{Pool, check_pools, default_pools};
use crate::cloud::{self, Cloud};
use crate::db::entity::{network, subnet};
use crate::db::{Tx, lookup, rows as one};

/// How NICs are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// To a bridge.
    Bridged,
    /// By a routing table.
    Routed,
}

/// `network-create`
#[derive(Debug, Clone, Args)]
pub struct NewNetwork {
    /// Its name.
    name: String,
    /// How NICs are attached.
    #[arg(long, value_enum, default_value = "bridged")]
    mode: Mode,
    /// Bridge or routing table on the nodes.
    #[arg(long)]
    link: String,
    /// First three octets of its hardware addresses, no other network's [default: the next that are free].
    #[arg(long)]
    mac_prefix: Option<String>,
    /// Tag it gets in Ganeti: `private-filtered`, `ip-less-routed`, …
    #[arg(long)]
    tag: Vec<String>,
    /// Every project may use it.
    #[arg(long)]
    shared: bool,
    /// Floating addresses come from it.
    #[arg(long)]
    external: bool,
    /// What guests are told, bytes.
    #[arg(long, value_parser = clap::value_parser!(i32).range(68..=65_535))]
    mtu: Option<i32>,
    /// The domain guests are told.
    #[arg(long)]
    dns_domain: Option<String>,
    /// Whose it is [default: the operator's].
    #[arg(long)]
    project: Option<String>,
}

/// `subnet-create`
#[derive(Debug, Clone, Args)]
pub struct NewSubnet {
    /// The network's name, UUID or number.
    network: String,
    /// The prefix.
    cidr: IpNet,
    /// Its name.
    #[arg(long, default_value = "")]
    name: String,
    /// Its router [default: none].
    #[arg(long)]
    gateway: Option<IpAddr>,
    /// Guests are not told their addresses.
    #[arg(long)]
    no_dhcp: bool,
    /// Name server guests are told.
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// Route guests are told, as in `10.8.0.0/16=10.0.0.1`.
    #[arg(long, value_name = "CIDR=GATEWAY")]
    route: Vec<String>,
    /// Range that addresses are taken from, as in `10.0.0.10-10.0.0.99` [default: all but the router's].
    #[arg(long, value_name = "FIRST-LAST")]
    pool: Vec<String>,
    /// How IPv6 addresses come about: `slaac`, `stateless`, `stateful`.
    #[arg(long)]
    ipv6_mode: Option<String>,
}

/// Three octets, the first of them of a machine's own, locally given address.
fn mac_prefix(text: &str) -> Option<String> {
    let octets: Vec<&str> = text.split(':').collect();
    let read = |octet: &&str| (octet.len() == 2).then(|| u8::from_str_radix(octet, 16).ok())?;
    let octets: Vec<u8> = octets.iter().map(read).collect::<Option<_>>()?;
    match octets.as_slice() {
        [first, second, third] if first & 1 == 0 => {
            Some(format!("{first:02x}:{second:02x}:{third:02x}"))
        }
        _ => None,
    }
}

fn check_tag(key: Key, value: &str, option: &str) -> Result<(), ManageError> {
    if key.read(value).is_some() {
        return Ok(());
    }
    let words = format!("{option} {value}: {}", key.expected());
    Err(ManageError::Usage(words))
}

pub(super) async fn create(cloud: &Cloud, new: NewNetwork) -> Result<Shown, ManageError> {
    let given = match &new.mac_prefix {
        None => None,
        Some(text) => Some(mac_prefix(text).ok_or_else(|| {
            ManageError::Usage(format!(
                "--mac-prefix {text}: three octets, the first of them even, as in aa:00:01"
            ))
        })?),
    };
    let is_tag = |tag: &&String| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.+*/:@-".contains(c);
        !tag.is_empty() && tag.len() <= 128 && tag.chars().all(fits)
    };
    if let Some(tag) = new.tag.iter().find(|tag| !is_tag(tag)) {
        let words = format!("--tag {tag}: Ganeti allows letters, digits and _.+*/:@-");
        return Err(ManageError::Usage(words));
    }
    if let Some(domain) = &new.dns_domain {
        check_tag(Key::Domain, domain, "--dns-domain")?;
    }
    let project = match &new.project {
        None => None,
        Some(key) => {
            let found = lookup::projects(cloud.db.reader(), key).await?;
            Some(only(found, "project", key)?.id)
        }
    };
    let made = cloud.db.write(async |tx: Tx| -> Result<_, ManageError> {
        let known = lookup::all_networks(&*tx).await?;
        let is_free = |prefix: &String| {
            !known
                .iter()
                .any(|row| row.deletion == 0 && row.mac_prefix == *prefix)
        };
        let prefix = match &given {
            Some(prefix) => Some(prefix.clone()).filter(is_free),
            None => (1..=0xffffu32)
                .map(|number| format!("aa:{:02x}:{:02x}", number >> 8, number & 0xff))
                .find(is_free),
        };
        let Some(prefix) = prefix else {
            let words = "another network has this prefix of hardware addresses";
            return Err(ManageError::Refused(words.to_owned()));
        };
        let now = cloud::now();
        let row = network::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            project_id: Set(project),
            user_id: Set(None),
            name: Set(new.name.clone()),
            description: Set(String::new()),
            mode: Set(String::from(match new.mode {
                Mode::Bridged => "bridged",
                Mode::Routed => "routed",
            })),
            link: Set(new.link.clone()),
            mac_prefix: Set(prefix),
            tags: Set(new.tag.join(" ")),
            is_shared: Set(new.shared),
            is_external: Set(new.external),
            is_drained: Set(false),
            mtu: Set(new.mtu),
            dns_domain: Set(new.dns_domain.clone()),
            status: Set(String::from("ACTIVE")),
            created_at: Set(now),
            updated_at: Set(now),
            deletion: Set(0),
            ..Default::default()
        };
        let made = one::insert(&tx, row).await?;
        let detail = json!({"name": made.name, "link": made.link});
        note(&tx, ("network", "create"), made.uuid.to_string(), detail).await?;
        Ok(made)
    });
    let made = made.await?;
    Ok(Shown::Fields(vec![
        ("id", json!(made.id)),
        ("uuid", json!(made.uuid)),
        ("name", json!(made.name)),
        ("mac_prefix", json!(made.mac_prefix)),
    ]))
}

pub(super) async fn list(cloud: &Cloud) -> Result<Shown, ManageError> {
    let all = lookup::all_networks(cloud.db.reader()).await?;
    let rows = all.into_iter().filter(|row| row.deletion == 0).map(|row| {
        vec![
            json!(row.id),
            json!(row.uuid),
            json!(row.name),
            json!(row.project_id),
            json!(row.mode),
            json!(row.link),
            json!(row.mac_prefix),
            json!(row.is_shared),
            json!(row.is_external),
            json!(row.tags),
        ]
    });
    Ok(Shown::Table {
        columns: &[
            "id",
            "uuid",
            "name",
            "project",
            "mode",
            "link",
            "mac_prefix",
            "shared",
            "external",
            "tags",
        ],
        rows: rows.collect(),
    })
}

fn pool(text: &str) -> Option<Pool> {
    let (start, end) = text.split_once('-')?;
    Some(Pool {
        start: start.parse().ok()?,
        end: end.parse().ok()?,
    })
}

fn pools(new: &NewSubnet) -> Result<Vec<Pool>, ManageError> {
    let mut given = Vec::new();
    for text in &new.pool {
        let words = || ManageError::Usage(format!("--pool {text}: FIRST-LAST"));
        given.push(pool(text).ok_or_else(words)?);
    }
    if given.is_empty()
        && let IpNet::V4(cidr) = new.cidr
    {
        let gateway = match new.gateway {
            Some(IpAddr::V4(gateway)) => Some(gateway),
            Some(IpAddr::V6(_)) | None => None::<Ipv4Addr>,
        };
        return Ok(default_pools(cidr, gateway));
    }
    check_pools(&given, new.cidr, new.gateway)
        .map_err(|error| ManageError::Usage(format!("--pool: {error}")))?;
    Ok(given)
}

fn routes(new: &NewSubnet) -> Result<Vec<Value>, ManageError> {
    let mut routes = Vec::new();
    for text in &new.route {
        let (destination, nexthop) = text.split_once('=').unwrap_or((text, ""));
        check_tag(Key::Route, &format!("{destination}@{nexthop}"), "--route")?;
        routes.push(json!({"destination": destination, "nexthop": nexthop}));
    }
    Ok(routes)
}

pub(super) async fn create_subnet(cloud: &Cloud, new: NewSubnet) -> Result<Shown, ManageError> {
    let key = &new.network;
    let network = only(
        lookup::networks(cloud.db.reader(), key).await?,
        "network",
        key,
    )?;
    let cidr = new.cidr.trunc();
    let version: i16 = if cidr.addr().is_ipv4() { 4 } else { 6 };
    if let Some(gateway) = new.gateway
        && gateway.is_ipv4() != cidr.addr().is_ipv4()
    {
        let words = format!("--gateway {gateway}: of another family than {cidr}");
        return Err(ManageError::Usage(words));
    }
    let ipv6_mode = match (&new.ipv6_mode, version) {
        (Some(mode), 6) => {
            check_tag(Key::Mode6, mode, "--ipv6-mode")?;
            Some(mode.clone())
        }
        (Some(_), _) => {
            let words = format!("--ipv6-mode: {cidr} is IPv4");
            return Err(ManageError::Usage(words));
        }
        (None, 6) => Some(String::from("slaac")),
        (None, _) => None,
    };
    let (pools, routes) = (pools(&new)?, routes(&new)?);
    let now = cloud::now();
    let row = subnet::ActiveModel {
        uuid: Set(Uuid::new_v4()),
        network_id: Set(network.id),
        project_id: Set(network.project_id),
        name: Set(new.name.clone()),
        ip_version: Set(version),
        cidr: Set(cidr.to_string()),
        gateway: Set(new.gateway.map(|gateway| gateway.to_string())),
        dhcp: Set(!new.no_dhcp),
        ipv6_mode: Set(ipv6_mode),
        pools: Set(json!(pools)),
        dns_servers: Set(json!(new.dns)),
        host_routes: Set(Value::Array(routes)),
        created_at: Set(now),
        updated_at: Set(now),
        deletion: Set(0),
        ..Default::default()
    };
    let made = cloud.db.write(async |tx: Tx| -> Result<_, ManageError> {
        let known = lookup::all_subnets(&*tx).await?;
        let is_same = |row: &subnet::Model| {
            row.deletion == 0 && row.network_id == network.id && row.ip_version == version
        };
        if known.iter().any(is_same) {
            let words = format!("{} has an IPv{version} subnet already", network.name);
            return Err(ManageError::Refused(words));
        }
        let made = one::insert(&tx, row.clone()).await?;
        let detail = json!({"network": network.uuid, "cidr": made.cidr});
        note(&tx, ("subnet", "create"), made.uuid.to_string(), detail).await?;
        Ok(made)
    });
    let made = made.await?;
    Ok(Shown::Fields(vec![
        ("id", json!(made.id)),
        ("uuid", json!(made.uuid)),
        ("cidr", json!(made.cidr)),
        ("gateway", json!(made.gateway)),
        ("pools", made.pools),
    ]))
}

pub(super) async fn list_subnets(cloud: &Cloud) -> Result<Shown, ManageError> {
    let all = lookup::all_subnets(cloud.db.reader()).await?;
    let rows = all.into_iter().filter(|row| row.deletion == 0).map(|row| {
        vec![
            json!(row.id),
            json!(row.uuid),
            json!(row.name),
            json!(row.network_id),
            json!(row.cidr),
            json!(row.gateway),
            json!(row.dhcp),
            row.dns_servers,
        ]
    });
    Ok(Shown::Table {
        columns: &[
            "id", "uuid", "name", "network", "cidr", "gateway", "dhcp", "dns",
        ],
        rows: rows.collect(),
    })
}
