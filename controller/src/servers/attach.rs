//! Where a server's NICs go: what a request names is found, and locked, before anything is made.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, IntoActiveModel};
use snf_events::Prefix;
use uuid::Uuid;

use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::db::entity::{network, port, subnet};
use crate::db::networks::{self as read, Viewer};
use crate::db::rows;
use crate::ports::{self, NewPort, Port};

/// A NIC that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// A new one, on this network, with this address if one is named.
    Network {
        /// The network.
        uuid: Uuid,
        /// Its address.
        fixed: Option<IpAddr>,
    },
    /// A port that was made before.
    Port(Uuid),
}

/// What a request names, locked.
pub(super) struct Places {
    attachments: Vec<(i64, Place)>,
    networks: BTreeMap<i64, network::Model>,
    subnets: BTreeMap<i64, Vec<subnet::Model>>,
    ports: BTreeMap<i64, port::Model>,
}

enum Place {
    New(Option<IpAddr>),
    Port(i64),
}

fn no_network(uuid: Uuid) -> Fault {
    Fault::bad(format!("Network {uuid} could not be found."))
}

impl Places {
    /// Finds and locks them: ports, then networks, then subnets, each in the order of their numbers.
    ///
    /// # Errors
    /// 400 where there is no such network or port, 409 where a port is in use.
    pub(super) async fn lock(
        tx: &DatabaseTransaction,
        viewer: Viewer,
        attachments: &[Attachment],
    ) -> Result<Self, Fault> {
        if attachments.len() > ports::MOST {
            let most = ports::MOST;
            return Err(Fault::bad(format!(
                "a server has at most {most} interfaces"
            )));
        }
        let mut wanted: Vec<(i64, Place)> = Vec::new();
        for attachment in attachments {
            match attachment {
                Attachment::Network { uuid, fixed } => {
                    let found = read::network(tx, viewer, *uuid).await?;
                    let found = found.ok_or_else(|| no_network(*uuid))?;
                    wanted.push((found.id, Place::New(*fixed)));
                }
                Attachment::Port(uuid) => {
                    let found = read::port(tx, viewer, *uuid).await?;
                    let missing = || Fault::bad(format!("Port id {uuid} could not be found."));
                    let found = found.ok_or_else(missing)?;
                    wanted.push((found.network_id, Place::Port(found.id)));
                }
            }
        }
        let named = wanted.iter().filter_map(|(_, place)| match place {
            Place::Port(id) => Some(*id),
            Place::New(_) => None,
        });
        let named: Vec<i64> = named.collect();
        let ports = read::lock_ports(tx, named.iter().copied()).await?;
        let networks = read::lock_networks(tx, wanted.iter().map(|(network, _)| *network)).await?;
        let subnets = read::lock_subnets(tx, networks.keys().copied()).await?;
        if ports.len() != named.len() {
            return Err(Fault::bad("a port is named twice, or is gone"));
        }
        if let Some(used) = ports.values().find(|port| port.server_id.is_some()) {
            let uuid = used.uuid;
            return Err(Fault::Conflict(format!("Port {uuid} is still in use.")));
        }
        if let Some((network, _)) = wanted.iter().find(|(id, _)| !networks.contains_key(id)) {
            return Err(Fault::bad(format!("Network {network} could not be found.")));
        }
        Ok(Self {
            attachments: wanted,
            networks,
            subnets,
            ports,
        })
    }

    /// Whether a port that was made before, or an address, is named: only one server can have it.
    pub(super) fn is_for_one(&self) -> bool {
        let mut places = self.attachments.iter();
        places.any(|(_, place)| matches!(place, Place::Port(_) | Place::New(Some(_))))
    }

    /// The networks' numbers, each once, in order.
    pub(super) fn networks(&self) -> impl Iterator<Item = i64> {
        self.networks.keys().copied()
    }

    /// Gives the NICs to a server, from this place on among its own.
    ///
    /// # Errors
    /// As [`ports::make`].
    pub(super) async fn give(
        &self,
        tx: &DatabaseTransaction,
        who: &Principal,
        owner: i64,
        (server, first): (i64, i32),
        prefix: &Prefix,
        now: DateTime<Utc>,
    ) -> Result<Vec<Port>, Fault> {
        let mut made = Vec::new();
        for ((network, place), index) in self.attachments.iter().zip(first..) {
            let fixed = match place {
                Place::Port(id) => {
                    let Some(row) = self.ports.get(id).cloned() else {
                        continue;
                    };
                    let mut bound = row.into_active_model();
                    bound.server_id = Set(Some(server));
                    bound.nic_index = Set(Some(index));
                    bound.state = Set(String::from("BUILD"));
                    bound.updated_at = Set(now);
                    let row = rows::update(tx, bound).await?;
                    let mut addresses = read::addresses_of(tx, [row.id]).await?;
                    let addresses = addresses.remove(&row.id).unwrap_or_default();
                    made.push(Port { row, addresses });
                    continue;
                }
                Place::New(fixed) => fixed,
            };
            let Some(network) = self.networks.get(network) else {
                continue;
            };
            let fixed: Vec<IpAddr> = fixed.iter().copied().collect();
            let new = NewPort {
                network,
                subnets: self.subnets.get(&network.id).map_or(&[], Vec::as_slice),
                fixed: &fixed,
                mac: None,
                name: "",
                project: owner,
                user: who.user_id,
                server: Some((server, index)),
            };
            made.push(ports::make(tx, &new, prefix, now).await?);
        }
        Ok(made)
    }
}
