//! An instance, and how Ganeti shows it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Cluster;

/// A NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its name.
    pub name: Option<String>,
    /// Its UUID.
    pub uuid: String,
    /// Its IPv4 address.
    pub ip: Option<String>,
    /// Its hardware address.
    pub mac: String,
    /// Its network's name.
    pub network: Option<String>,
    /// `bridged`, `routed`, `openvswitch`.
    pub mode: String,
    /// Bridge or table.
    pub link: String,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its name.
    pub name: Option<String>,
    /// Its UUID.
    pub uuid: String,
    /// MiB.
    pub size: u64,
}

/// An instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Rises with each change of its configuration.
    pub serial_no: u64,
    /// Whether it is to run.
    pub is_up: bool,
    /// Whether it runs.
    pub is_running: bool,
    /// `os+variant`
    pub os: String,
    /// `kvm`, …
    pub hypervisor: String,
    /// How it is stored.
    pub disk_template: String,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// Its NICs.
    pub nics: Vec<Nic>,
    /// `vcpus`, `minmem`, `maxmem`, …
    pub beparams: Map<String, Value>,
    /// Those of its own.
    pub hvparams: Map<String, Value>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Its primary node.
    pub primary: String,
    /// When it was made.
    pub created: f64,
    /// When its configuration changed.
    pub changed: f64,
}

impl Instance {
    /// Its configuration changed.
    pub(super) fn touch(&mut self, now: f64) {
        self.serial_no += 1;
        self.changed = now;
    }

    pub(super) fn number(&self, parameter: &str) -> u64 {
        let value = self.beparams.get(parameter).and_then(Value::as_u64);
        value.unwrap_or_default()
    }

    pub(super) fn memory_in_use(&self) -> u64 {
        if self.is_running {
            self.number("maxmem")
        } else {
            0
        }
    }

    pub(super) fn disk_in_use(&self) -> u64 {
        self.disks.iter().map(|disk| disk.size).sum()
    }

    const fn status(&self) -> &'static str {
        match (self.is_up, self.is_running) {
            (true, true) => "running",
            (true, false) => "ERROR_down",
            (false, true) => "ERROR_up",
            (false, false) => "ADMIN_down",
        }
    }

    /// As `GET /2/instances/NAME` shows it.
    #[must_use]
    pub fn shown(&self, cluster: &Cluster) -> Value {
        let of_nics =
            |pick: &dyn Fn(&Nic) -> Value| -> Vec<Value> { self.nics.iter().map(pick).collect() };
        let network_uuid = |nic: &Nic| {
            let network = cluster.networks.get(nic.network.as_ref()?);
            network.map(|network| network.uuid.clone())
        };
        let mut beparams = self.beparams.clone();
        beparams.insert(String::from("memory"), json!(self.number("maxmem")));
        let is_running = self.is_running;
        json!({
            "name": self.name,
            "uuid": self.uuid,
            "serial_no": self.serial_no,
            "ctime": self.created,
            "mtime": self.changed,
            "tags": self.tags,
            "admin_state": if self.is_up { "up" } else { "down" },
            "oper_state": self.is_running,
            "status": self.status(),
            "os": self.os,
            "pnode": self.primary,
            "snodes": [],
            "disk_template": self.disk_template,
            "network_port": 11_000,
            "nic.ips": of_nics(&|nic| json!(nic.ip)),
            "nic.macs": of_nics(&|nic| json!(nic.mac)),
            "nic.modes": of_nics(&|nic| json!(nic.mode)),
            "nic.links": of_nics(&|nic| json!(nic.link)),
            "nic.bridges": of_nics(&|nic| match nic.mode.as_str() {
                "bridged" => json!(nic.link),
                _ => Value::Null,
            }),
            "nic.uuids": of_nics(&|nic| json!(nic.uuid)),
            "nic.names": of_nics(&|nic| json!(nic.name)),
            "nic.networks": of_nics(&|nic| json!(network_uuid(nic))),
            "nic.networks.names": of_nics(&|nic| json!(nic.network)),
            "disk.sizes": self.disks.iter().map(|disk| disk.size).collect::<Vec<_>>(),
            "disk.uuids": self.disks.iter().map(|disk| &disk.uuid).collect::<Vec<_>>(),
            "disk.names": self.disks.iter().map(|disk| &disk.name).collect::<Vec<_>>(),
            "disk.spindles": self.disks.iter().map(|_| Value::Null).collect::<Vec<_>>(),
            "disk_usage": self.disk_in_use(),
            "beparams": beparams,
            "custom_beparams": self.beparams,
            "hvparams": self.hvparams,
            "custom_hvparams": self.hvparams,
            "custom_nicparams": of_nics(&|_| json!({})),
            "oper_ram": is_running.then(|| self.number("maxmem")),
            "oper_vcpus": is_running.then(|| self.number("vcpus")),
        })
    }
}
