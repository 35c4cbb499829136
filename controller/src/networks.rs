//! Networks on clusters. A network is brought to a cluster when the first server there needs it.

mod own;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use snf_events::Prefix;
use snf_events::tag::Key;

use crate::db::entity::{backend, network, subnet};
use crate::db::intents::NewIntent;
use crate::db::{DbError, backend_networks, intents};
use crate::lifecycle::NetworkStep;
use crate::rapi::body::{self, NewNetwork};
use crate::rapi::naming::Named;

pub use own::{NetworkChange, Placed, Wanted, create, delete, is_nowhere, locked, update};

/// The prefix a network without IPv4 has in Ganeti, which knows no such network; no NIC gets an address of it.
const NO_IPV4: &str = "10.0.0.0/29";

/// What makes the intents of [`prepare`] these: who asked, and when.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What our names begin with.
    pub prefix: &'a Prefix,
    /// The API request.
    pub request_id: Option<&'a str>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Has a network brought to a cluster, unless it is there or on its way. Answers with the last intent that what needs the
/// network comes after; `None`: it is there.
///
/// The network's row is locked. `after` is put before the first of the new intents, so that a server with several networks
/// comes after all of them. Beside that, the outbox sends nothing about a server while any of its networks is on its way.
///
/// # Errors
/// The database's own.
pub async fn prepare(
    tx: &DatabaseTransaction,
    network_id: i64,
    on: &backend::Model,
    after: Option<i64>,
    asked: Asked<'_>,
) -> Result<Option<i64>, DbError> {
    let Some((row, subnets)) = backend_networks::lock_network(tx, network_id).await? else {
        return Ok(after);
    };
    let place = (network_id, on.id);
    let standing = backend_networks::find(tx, network_id, on.id).await?;
    if let Some(standing) = standing {
        if standing.oper_state == backend_networks::ACTIVE {
            return Ok(after);
        }
        let open = intents::last_open_of_network(tx, network_id, on.id).await?;
        if standing.oper_state == backend_networks::PENDING && open.is_some() {
            return Ok(open);
        }
    }
    let wanted = in_ganeti(&row, &subnets, asked.prefix);
    let mut last = after;
    let mut steps = vec![(NetworkStep::Add, body::create_network(&wanted))];
    for group in groups(on) {
        let connect = body::connect_network(&wanted.name, group, &row.mode, &row.link, &[]);
        steps.push((NetworkStep::Connect, connect));
    }
    let count = steps.len();
    for (at, (step, request)) in steps.into_iter().enumerate() {
        let new = NewIntent {
            after_id: last,
            is_last: at + 1 == count,
            request_id: asked.request_id.map(str::to_owned),
            ..NewIntent::of_network(step, place, request.to_json())
        };
        last = Some(intents::insert(tx, new, asked.now).await?.id);
    }
    backend_networks::set_state(tx, place, backend_networks::PENDING, asked.now).await?;
    Ok(last)
}

/// The names of a cluster's node groups.
pub fn groups(on: &backend::Model) -> impl Iterator<Item = &str> {
    on.node_groups.split(',').filter(|name| !name.is_empty())
}

/// What a network is in Ganeti: what its guests are told are tags.
#[must_use]
pub fn in_ganeti(row: &network::Model, subnets: &[subnet::Model], prefix: &Prefix) -> NewNetwork {
    let of_version = |version| {
        subnets
            .iter()
            .find(|subnet: &&subnet::Model| subnet.ip_version == version)
    };
    let (four, six) = (of_version(4), of_version(6));
    let mut tags: Vec<String> = row.tags.split_whitespace().map(str::to_owned).collect();
    if subnets.iter().any(|subnet| subnet.dhcp) {
        tags.push(String::from("nfdhcpd"));
    }
    let told = |key: Key, value: &str| key.read(value).map(|tag| tag.to_string());
    for subnet in subnets {
        let servers = subnet.dns_servers.as_array().into_iter().flatten();
        tags.extend(servers.filter_map(|server| told(Key::Dns, server.as_str()?)));
        let routes = subnet.host_routes.as_array().into_iter().flatten();
        tags.extend(routes.filter_map(|route| {
            let destination = route.get("destination")?.as_str()?;
            let gateway = route.get("nexthop")?.as_str()?;
            told(Key::Route, &format!("{destination}@{gateway}"))
        }));
    }
    let mtu = row.mtu.map(|bytes| bytes.to_string());
    let mode6 = six.and_then(|subnet| subnet.ipv6_mode.clone());
    let single = [
        (Key::Mtu, mtu),
        (Key::Domain, row.dns_domain.clone()),
        (Key::Mode6, mode6),
    ];
    tags.extend(
        single
            .into_iter()
            .filter_map(|(key, value)| told(key, &value?)),
    );
    tags.sort();
    tags.dedup();
    NewNetwork {
        name: Named::Network(row.id).name(prefix),
        subnet: four.map_or_else(|| String::from(NO_IPV4), |subnet| subnet.cidr.clone()),
        gateway: four.and_then(|subnet| subnet.gateway.clone()),
        subnet6: six.map(|subnet| subnet.cidr.clone()),
        gateway6: six.and_then(|subnet| subnet.gateway.clone()),
        tags,
    }
}
