//! A network, and how Ganeti shows it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Cluster;

/// A network.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// IPv4 prefix.
    pub network: String,
    /// IPv4 router.
    pub gateway: Option<String>,
    /// IPv6 prefix.
    pub network6: Option<String>,
    /// IPv6 router.
    pub gateway6: Option<String>,
    /// First octets of its NICs' hardware addresses.
    pub mac_prefix: Option<String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Node groups it is connected to: mode and link.
    pub groups: BTreeMap<String, (String, String)>,
    /// Rises with each change.
    pub serial_no: u64,
    /// When it was made.
    pub created: f64,
}

impl Network {
    /// As `GET /2/networks/NAME` shows it.
    #[must_use]
    pub fn shown(&self, cluster: &Cluster) -> Value {
        let on_it = |name: &&super::Instance| {
            let mut nics = name.nics.iter();
            nics.any(|nic| nic.network.as_ref() == Some(&self.name))
        };
        let instances: Vec<&String> = cluster
            .instances
            .values()
            .filter(on_it)
            .map(|each| &each.name)
            .collect();
        let groups: Vec<Value> = self
            .groups
            .iter()
            .map(|(group, (mode, link))| json!([group, mode, link, ""]))
            .collect();
        json!({
            "name": self.name,
            "uuid": self.uuid,
            "network": self.network,
            "gateway": self.gateway,
            "network6": self.network6,
            "gateway6": self.gateway6,
            "mac_prefix": self.mac_prefix,
            "tags": self.tags,
            "group_list": groups,
            "inst_list": instances,
            "free_count": 0,
            "reserved_count": 0,
            "map": "",
            "external_reservations": "",
            "serial_no": self.serial_no,
            "ctime": self.created,
            "mtime": self.created,
        })
    }
}
