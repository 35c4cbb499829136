//! The rows that a batch of messages concerns, in memory: loaded and locked before, written after. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use snf_events::message::{InstanceNic, Operation};
use snf_events::{JobId, JobStatus, Prefix, Timestamp};
use uuid::Uuid;

use super::merge::{microseconds, profile};
use crate::db::entity::{address, backend_network, inbox_entry, intent, job, port, server};
use crate::lifecycle::Step;
use crate::rapi::naming::Named;

/// An operation, whoever tells of it: its natural key without the status, on one of our clusters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The cluster's row.
    pub backend: i64,
    /// The job.
    pub job: i64,
    /// When Ganeti received it, microseconds.
    pub received: i64,
    /// Which of the job's operations.
    pub op_index: i32,
}

impl Key {
    /// `None`: its numbers are none that Ganeti gives.
    #[must_use]
    pub fn new(backend: i64, job: JobId, received: Timestamp, op_index: u32) -> Option<Self> {
        Some(Self {
            backend,
            job: i64::try_from(job.0).ok()?,
            received: microseconds(received),
            op_index: i32::try_from(op_index).ok()?,
        })
    }
}

/// A row, and whether it differs from the table's.
#[derive(Debug, Clone)]
pub struct Slot<M> {
    /// As it is now.
    pub row: M,
    /// As it was loaded; `None`: it is new.
    pub loaded: Option<M>,
}

impl<M: Clone + PartialEq> Slot<M> {
    /// As it is in its table.
    pub fn loaded(row: M) -> Self {
        Self {
            loaded: Some(row.clone()),
            row,
        }
    }

    /// Whether it is to be written.
    pub fn has_changed(&self) -> bool {
        self.loaded.as_ref() != Some(&self.row)
    }
}

/// All that a batch concerns.
#[derive(Debug)]
pub struct Rows {
    /// What our names begin with.
    pub prefix: Prefix,
    /// Natural keys that were taken in: with the batch's own, which have no number yet.
    pub inbox: BTreeMap<(Key, &'static str), Slot<inbox_entry::Model>>,
    /// Operations.
    pub jobs: BTreeMap<Key, Slot<job::Model>>,
    /// Servers by number: locked.
    pub servers: BTreeMap<i64, Slot<server::Model>>,
    /// Their intents, and the networks', by number.
    pub intents: BTreeMap<i64, Slot<intent::Model>>,
    /// Networks on clusters.
    pub backend_networks: Vec<Slot<backend_network::Model>>,
    /// The servers' NICs.
    pub ports: BTreeMap<i64, Slot<port::Model>>,
    /// The NICs' addresses.
    pub addresses: BTreeMap<i64, Slot<address::Model>>,
    /// Addresses that are free again.
    pub freed: BTreeSet<i64>,
    /// The cluster and name of each server.
    pub names: HashMap<(i64, String), i64>,
}

impl Rows {
    /// None yet.
    #[must_use]
    pub fn new(prefix: Prefix) -> Self {
        Self {
            prefix,
            inbox: BTreeMap::new(),
            jobs: BTreeMap::new(),
            servers: BTreeMap::new(),
            intents: BTreeMap::new(),
            backend_networks: Vec::new(),
            ports: BTreeMap::new(),
            addresses: BTreeMap::new(),
            freed: BTreeSet::new(),
            names: HashMap::new(),
        }
    }

    /// The server behind an instance.
    #[must_use]
    pub fn server_named(&self, backend: i64, instance: &str) -> Option<i64> {
        self.names.get(&(backend, instance.to_owned())).copied()
    }

    /// The network behind one of Ganeti's.
    #[must_use]
    pub fn network_named(&self, name: &str) -> Option<i64> {
        match Named::parse(name, &self.prefix)? {
            Named::Network(id) => Some(id),
            Named::Server(_) | Named::Port(_) => None,
        }
    }

    pub(super) fn server(&mut self, id: i64) -> Option<&mut server::Model> {
        self.servers.get_mut(&id).map(|slot| &mut slot.row)
    }

    pub(super) fn intent(&mut self, id: i64) -> Option<&mut intent::Model> {
        self.intents.get_mut(&id).map(|slot| &mut slot.row)
    }

    pub(super) fn backend_network(
        &mut self,
        network: i64,
        backend: i64,
    ) -> Option<&mut backend_network::Model> {
        let mut rows = self.backend_networks.iter_mut().map(|slot| &mut slot.row);
        rows.find(|row| row.network_id == network && row.backend_id == backend)
    }

    /// Whether an operation was not taken in with this status before; from now on it was.
    pub(super) fn is_new(&mut self, key: &Key, status: JobStatus, now: DateTime<Utc>) -> bool {
        let place = (key.clone(), status.as_str());
        if self.inbox.contains_key(&place) {
            return false;
        }
        let row = inbox_entry::Model {
            id: 0,
            backend_id: key.backend,
            job_id: key.job,
            received: key.received,
            op_index: key.op_index,
            status: status.as_str().to_owned(),
            taken_at: now,
        };
        self.inbox.insert(place, Slot { row, loaded: None });
        true
    }

    /// The operation's row; a new one has no status yet.
    pub(super) fn job(&mut self, key: &Key, now: DateTime<Utc>) -> &mut job::Model {
        let slot = self.jobs.entry(key.clone()).or_insert_with(|| Slot {
            row: job::Model {
                id: 0,
                backend_id: key.backend,
                job_id: key.job,
                received: key.received,
                op_index: key.op_index,
                opcode: String::new(),
                status: String::new(),
                ended: None,
                server_id: None,
                network_id: None,
                intent_id: None,
                log: None,
                updated_at: now,
            },
            loaded: None,
        });
        &mut slot.row
    }

    /// The intent that an operation comes from: by its reason, which is there before we know the job's number.
    pub(super) fn intent_of(&self, backend: i64, operation: &Operation) -> Option<i64> {
        let uuid = operation.reason.as_deref().and_then(token);
        let job = i64::try_from(operation.job.0).ok();
        let mut rows = self.intents.values().map(|slot| &slot.row);
        let found = rows.find(|intent| {
            intent.backend_id == backend
                && match uuid {
                    Some(uuid) => intent.uuid == uuid,
                    None => job.is_some() && intent.job_id == job,
                }
        });
        found.map(|intent| intent.id)
    }

    /// Takes all intents that wait for this one out of the queue, and those that wait for them.
    pub(super) fn drop_after(
        &mut self,
        id: i64,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Vec<intent::Model> {
        let mut failed = vec![id];
        let mut dropped = Vec::new();
        while let Some(before) = failed.pop() {
            for slot in self.intents.values_mut() {
                let intent = &mut slot.row;
                if intent.after_id == Some(before) && !intent::is_final(&intent.state) {
                    intent.state = intent::DROPPED.to_owned();
                    intent.error = Some(format!("a step before it failed: {reason}"));
                    intent.updated_at = now;
                    failed.push(intent.id);
                    dropped.push(intent.clone());
                }
            }
        }
        dropped
    }

    /// A NIC that was to be added or removed is neither.
    pub(super) fn port_failed(&mut self, id: i64, now: DateTime<Utc>) {
        if let Some(slot) = self.ports.get_mut(&id)
            && slot.row.state == port::BUILD
        {
            slot.row.state = port::ERROR.to_owned();
            slot.row.updated_at = now;
        }
    }

    /// A removed server's NICs go, and their addresses: floating ones stay their project's.
    pub(super) fn release_ports_of(&mut self, server: i64, now: DateTime<Utc>) {
        let mine: Vec<i64> = self
            .ports
            .values()
            .filter(|slot| slot.row.server_id == Some(server))
            .map(|slot| slot.row.id)
            .collect();
        for port in mine {
            self.release(port, now);
        }
    }

    fn release(&mut self, port: i64, now: DateTime<Utc>) {
        if let Some(slot) = self.ports.get_mut(&port) {
            slot.row.deletion = port;
            slot.row.updated_at = now;
        }
        for slot in self.addresses.values_mut() {
            if slot.row.port_id != Some(port) {
                continue;
            }
            if slot.row.kind == address::FLOATING {
                slot.row.port_id = None;
                slot.row.updated_at = now;
            } else {
                self.freed.insert(slot.row.id);
            }
        }
    }

    /// Whether something is still to be done about a NIC: then Ganeti's list does not have the last word.
    fn is_wanted(&self, port: i64) -> bool {
        let mut rows = self.intents.values().map(|slot| &slot.row);
        rows.any(|intent| intent.port_id == Some(port) && !intent::is_final(&intent.state))
    }

    /// Whether a server's creation has not ended yet: then it may not be there yet.
    pub(super) fn is_being_made(&self, server: i64) -> bool {
        let mut rows = self.intents.values().map(|slot| &slot.row);
        rows.any(|intent| {
            intent.server_id == Some(server)
                && intent.step == Step::Create.as_str()
                && !intent::is_final(&intent.state)
        })
    }

    /// A server's NICs as Ganeti lists them: those it has are there, those it has not and nobody waits for are gone.
    pub(super) fn take_nics(&mut self, server: i64, nics: &[InstanceNic], now: DateTime<Utc>) {
        let mine: Vec<(i64, Option<String>)> = self
            .ports
            .values()
            .filter(|slot| slot.row.server_id == Some(server) && slot.row.deletion == 0)
            .map(|slot| (slot.row.id, slot.row.nic_name.clone()))
            .collect();
        for (id, name) in mine {
            let name = name.unwrap_or_else(|| Named::Port(id).name(&self.prefix));
            let listed = nics
                .iter()
                .enumerate()
                .find(|(_, nic)| nic.name.as_deref() == Some(&name));
            let Some((index, nic)) = listed else {
                if !self.is_wanted(id) {
                    self.release(id, now);
                }
                continue;
            };
            let Some(slot) = self.ports.get_mut(&id) else {
                continue;
            };
            let before = slot.row.clone();
            let row = &mut slot.row;
            row.state = port::ACTIVE.to_owned();
            row.nic_uuid = Some(nic.uuid.clone());
            row.nic_index = i32::try_from(index).ok();
            row.mac = nic.mac.to_ascii_lowercase();
            row.firewall_profile = profile(nic)
                .map(str::to_owned)
                .or(row.firewall_profile.take());
            if *row != before {
                row.updated_at = now;
            }
        }
    }
}

/// The intent's UUID in a job's reason: `snf:<uuid>`.
#[must_use]
pub fn token(reason: &str) -> Option<Uuid> {
    Uuid::try_parse(reason.strip_prefix(REASON)?).ok()
}

/// What our jobs' reasons begin with.
pub const REASON: &str = "snf:";
