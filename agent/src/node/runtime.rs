//! Ganeti's runtime file of a KVM instance → its NICs, as variables for snf-ifup.
//!
//! `kvm-hypervisor/conf/NAME.runtime` is a JSON array of command, NICs, hypervisor parameters and disks, as
//! `hv_kvm._SaveKVMRuntime` writes it: what the running instance has, whatever was configured since. Only the NICs are read.

use ifup::request::{IfName, Variables};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A NIC, as `objects.NIC.ToDict` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Nic {
    /// Hardware address.
    pub mac: String,
    /// IPv4 address.
    #[serde(default)]
    pub ip: Option<String>,
    /// Its name, when it was given one.
    #[serde(default)]
    pub name: Option<String>,
    /// Its UUID.
    #[serde(default)]
    pub uuid: Option<String>,
    /// UUID of its network.
    #[serde(default)]
    pub network: Option<String>,
    /// How it is attached.
    pub nicparams: NicParameters,
    /// Its network.
    #[serde(default)]
    pub netinfo: Option<Network>,
}

/// `nicparams`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NicParameters {
    /// `bridged`, `routed`, …
    pub mode: String,
    /// Bridge or routing table.
    #[serde(default)]
    pub link: Option<String>,
    /// VLAN.
    #[serde(default)]
    pub vlan: Option<String>,
}

/// A network, as `objects.Network.ToDict` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its UUID.
    #[serde(default)]
    pub uuid: Option<String>,
    /// IPv4 prefix.
    #[serde(default)]
    pub network: Option<String>,
    /// IPv4 router.
    #[serde(default)]
    pub gateway: Option<String>,
    /// IPv6 prefix.
    #[serde(default)]
    pub network6: Option<String>,
    /// IPv6 router.
    #[serde(default)]
    pub gateway6: Option<String>,
    /// First three bytes of its hardware addresses.
    #[serde(default)]
    pub mac_prefix: Option<String>,
    /// Its tags when the NIC was made, in no order.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Why a runtime file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No JSON, or not of this shape.
    #[error("not a runtime file of Ganeti's KVM")]
    Json(#[from] serde_json::Error),
    /// Shorter than command and NICs.
    #[error("not a runtime file of Ganeti's KVM: no list of NICs")]
    NoNics,
}

/// The NICs of a runtime file, in Ganeti's order.
///
/// # Errors
/// See [`RuntimeError`].
pub fn nics(text: &str) -> Result<Vec<Nic>, RuntimeError> {
    let parts: Vec<&RawValue> = serde_json::from_str(text)?;
    let nics = parts.get(1).ok_or(RuntimeError::NoNics)?;
    Ok(serde_json::from_str(nics.get())?)
}

impl Nic {
    /// What Ganeti would tell snf-ifup (`hv_base.ConfigureNIC`).
    #[must_use]
    pub fn variables(
        &self,
        instance: &str,
        index: usize,
        tap: &IfName,
        tags: &[String],
    ) -> Variables {
        let mut variables = Variables::new();
        let mut set = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                variables.insert(name.to_owned(), value.to_owned());
            }
        };
        let parameters = &self.nicparams;
        set("INSTANCE", Some(instance));
        set("INTERFACE", Some(tap.as_str()));
        set("INTERFACE_INDEX", Some(&index.to_string()));
        set("INTERFACE_NAME", self.name.as_deref());
        set("INTERFACE_UUID", self.uuid.as_deref());
        set("MAC", Some(&self.mac));
        set("IP", self.ip.as_deref());
        set("MODE", Some(&parameters.mode));
        set("LINK", parameters.link.as_deref());
        set("VLAN", parameters.vlan.as_deref());
        set("TAGS", Some(&tags.join(" ")));
        if let Some(network) = self.netinfo.as_ref().filter(|_| self.network.is_some()) {
            set("NETWORK_NAME", Some(&network.name));
            set("NETWORK_UUID", network.uuid.as_deref());
            set("NETWORK_SUBNET", network.network.as_deref());
            set("NETWORK_GATEWAY", network.gateway.as_deref());
            set("NETWORK_SUBNET6", network.network6.as_deref());
            set("NETWORK_GATEWAY6", network.gateway6.as_deref());
            set("NETWORK_MAC_PREFIX", network.mac_prefix.as_deref());
            set("NETWORK_TAGS", Some(&network.tags.join(" ")));
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNTIME: &str = r#"[["/usr/bin/qemu", "-name", "k1"], [{"mac": "aa:00:77:51:ad:bc", "ip": "10.77.0.2",
        "network": "2eb2", "nicparams": {"mode": "bridged", "link": "br0", "vlan": ""},
        "netinfo": {"name": "netbr", "serial_no": 1, "mac_prefix": "aa:00:77", "network": "10.77.0.0/24",
            "gateway": "10.77.0.1", "tags": ["nfdhcpd"], "uuid": "2eb2", "reservations": "1100", "ctime": 1.5},
        "uuid": "ff70", "hvinfo": {"driver": "virtio-net-pci"}}], {"acpi": true}, []]"#;

    #[test]
    fn a_runtime_file_says_what_ifup_is_told() {
        let nics = nics(RUNTIME).unwrap();
        let variables = nics[0].variables("k1.gnt.test", 0, &"tap0".parse().unwrap(), &[]);
        for (name, value) in [
            ("INSTANCE", "k1.gnt.test"),
            ("INTERFACE", "tap0"),
            ("INTERFACE_INDEX", "0"),
            ("IP", "10.77.0.2"),
            ("MODE", "bridged"),
            ("LINK", "br0"),
            ("NETWORK_NAME", "netbr"),
            ("NETWORK_MAC_PREFIX", "aa:00:77"),
            ("NETWORK_TAGS", "nfdhcpd"),
        ] {
            assert_eq!(
                variables.get(name).map(String::as_str),
                Some(value),
                "{name}"
            );
        }
        assert_eq!(variables.get("NETWORK_SUBNET6"), None);
    }

    #[test]
    fn other_files_are_refused() {
        for text in ["", "{}", "[]", "[[]]", "[[], [{}]]", "[[], {}]"] {
            assert!(nics(text).is_err(), "{text}");
        }
    }
}
