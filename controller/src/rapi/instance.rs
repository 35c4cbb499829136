//! `GET /2/instances/NAME` → what is read of it (`rlib2.I_FIELDS` of Ganeti 3.0). Pure.

use serde::Deserialize;
use snf_events::message::InstanceNic;

/// An instance, as Ganeti has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Number of its configuration.
    pub serial_no: u64,
    /// Its primary node.
    pub pnode: Option<String>,
    /// Whether it runs; null while its node does not tell.
    pub oper_state: Option<bool>,
    /// `up`, `down` or `offline`: what was asked for last.
    pub admin_state: String,
    /// Backend parameters, with the cluster's defaults filled in.
    pub beparams: BackendParameters,
    /// Tags, in no order.
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(rename = "nic.names", default)]
    names: Vec<Option<String>>,
    #[serde(rename = "nic.macs", default)]
    macs: Vec<String>,
    #[serde(rename = "nic.ips", default)]
    ips: Vec<Option<String>>,
    #[serde(rename = "nic.modes", default)]
    modes: Vec<String>,
    #[serde(rename = "nic.links", default)]
    links: Vec<Option<String>>,
    #[serde(rename = "nic.uuids", default)]
    uuids: Vec<String>,
    #[serde(rename = "nic.networks.names", default)]
    networks: Vec<Option<String>>,
}

/// `beparams`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct BackendParameters {
    /// Virtual processors.
    pub vcpus: Option<i32>,
    /// Memory, MiB.
    pub maxmem: Option<i32>,
}

impl Instance {
    /// Its NICs, in order, with the firewall profiles that its tags give them.
    #[must_use]
    pub fn nics(&self) -> Vec<InstanceNic> {
        let at = |texts: &[Option<String>], index: usize| texts.get(index).cloned().flatten();
        let nics = self.macs.iter().enumerate().map(|(index, mac)| {
            let (name, uuid) = (at(&self.names, index), self.uuids.get(index).cloned());
            let uuid = uuid.unwrap_or_default();
            InstanceNic {
                firewall: self.profile(index, name.as_deref(), &uuid),
                network: at(&self.networks, index),
                ip: at(&self.ips, index),
                mac: mac.clone(),
                mode: self.modes.get(index).cloned().unwrap_or_default(),
                link: at(&self.links, index).unwrap_or_default(),
                name,
                uuid,
            }
        });
        nics.collect()
    }

    /// Of several tags for one NIC the first in order counts.
    fn profile(&self, index: usize, name: Option<&str>, uuid: &str) -> Option<String> {
        let index = index.to_string();
        let mut said: Vec<&str> = self
            .tags
            .iter()
            .filter_map(|tag| {
                let (nic, profile) = tag.strip_prefix("synnefo:network:")?.split_once(':')?;
                let is_its = nic == index || Some(nic) == name || nic == uuid;
                is_its.then_some(profile)
            })
            .collect();
        said.sort_unstable();
        said.first().map(|profile| (*profile).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rapi_answers_is_read() {
        let text = r#"{"name": "snf-1", "uuid": "u", "serial_no": 4, "pnode": "node1.gnt.test", "oper_state": true,
            "admin_state": "up", "status": "running", "beparams": {"vcpus": 2, "maxmem": 512, "minmem": 512},
            "tags": ["synnefo:network:0:unprotected", "x", "synnefo:network:snf-nic-9:limited"],
            "nic.names": ["snf-nic-7", null], "nic.macs": ["aa:00:01:00:00:07", "aa:00:01:00:00:08"],
            "nic.ips": ["192.0.2.7", null], "nic.modes": ["bridged", "bridged"], "nic.links": ["br0", "br1"],
            "nic.uuids": ["n7", "n8"], "nic.networks": ["x", null], "nic.networks.names": ["snf-net-1", null]}"#;
        let instance: Instance = serde_json::from_str(text).unwrap();
        let nics = instance.nics();
        assert_eq!(nics.len(), 2);
        assert_eq!(nics[0].name.as_deref(), Some("snf-nic-7"));
        assert_eq!(nics[0].network.as_deref(), Some("snf-net-1"));
        assert_eq!(nics[0].firewall.as_deref(), Some("unprotected"));
        assert_eq!(
            (nics[1].ip.as_deref(), nics[1].firewall.as_deref()),
            (None, None)
        );
        assert_eq!(instance.beparams.vcpus, Some(2));
    }
}
