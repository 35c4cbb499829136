//! Ganeti's variables → [`Request`]: what one NIC is to be. Second step of a NIC's trip.
//!
//! The variables come from the cluster's configuration, that is from users: every value is checked here, once, and what
//! does not parse is refused with the variable, the value and what would be right. An empty value counts as absent, as
//! Ganeti writes `VLAN=` and `TAGS=`.

mod name;
mod tags;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};
use nfdhcpd_binding::{DomainName, MacAddr};

use crate::config::TagWords;

pub use name::{IfName, IfNameError};
pub use tags::{GuestSettings, InstanceTags, NetworkTags};

/// The variables of a call, by name.
pub type Variables = BTreeMap<String, String>;

/// One NIC as Ganeti describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `INTERFACE`
    pub tap: IfName,
    /// `INSTANCE`: the instance's name; what the VM is told as its own unless a tag says otherwise.
    pub instance: DomainName,
    /// `MAC`: the VM's hardware address.
    pub mac: MacAddr,
    /// `IP`
    pub ip: Option<Ipv4Addr>,
    /// `MODE` with `LINK` or `BRIDGE`
    pub mode: NicMode,
    /// `NETWORK_*`, when `NETWORK_NAME` is set.
    pub network: Option<Network>,
    /// `TAGS` as given.
    pub tags: Vec<String>,
    /// What `TAGS` say about this NIC.
    pub instance_tags: InstanceTags,
    /// `MIGRATION_PHASE`
    pub migration: Option<MigrationPhase>,
}

/// How the NIC is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicMode {
    /// Port of a bridge.
    Bridged {
        /// `BRIDGE`, else `LINK`
        bridge: IfName,
    },
    /// Routed by way of a table of its network.
    Routed {
        /// `LINK`
        table: TableRef,
    },
}

/// `LINK` of a routed NIC: a routing table by number or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableRef {
    /// 1 to 4294967295 but 255, the kernel's own.
    Number(u32),
    /// A name out of `rt_tables`.
    Name(String),
}

/// The network a NIC is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// `NETWORK_NAME`
    pub name: String,
    /// `NETWORK_SUBNET`; host bits clear.
    pub subnet: Option<Ipv4Net>,
    /// `NETWORK_GATEWAY`
    pub gateway: Option<Ipv4Addr>,
    /// `NETWORK_SUBNET6`; host bits clear.
    pub subnet6: Option<Ipv6Net>,
    /// `NETWORK_GATEWAY6`
    pub gateway6: Option<Ipv6Addr>,
    /// `NETWORK_MAC_PREFIX`: three bytes.
    pub mac_prefix: Option<[u8; 3]>,
    /// `NETWORK_TAGS`
    pub tags: NetworkTags,
}

/// Which side of a migration's transfer this call is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPhase {
    /// Before: the VM still runs on the source; nothing may be announced.
    Pre,
    /// After: the VM is here.
    Post,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A variable that must be there is not.
    #[error("{variable} is not set: {expected}")]
    Missing {
        /// Its name.
        variable: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// A variable's value is wrong.
    #[error("{variable}={value:?}: {expected}")]
    Value {
        /// Its name.
        variable: &'static str,
        /// The value, cut to 80 characters.
        value: String,
        /// What would be right.
        expected: String,
    },
}

impl RequestError {
    fn value(variable: &'static str, value: &str, expected: impl fmt::Display) -> Self {
        let value = value.chars().take(80).collect();
        Self::Value {
            variable,
            value,
            expected: expected.to_string(),
        }
    }
}

impl Request {
    /// Reads and checks the variables.
    ///
    /// # Errors
    /// The first variable, in the order of the fields, that is missing, does not parse, or asks for what is not served:
    /// another mode, a VLAN, a tag.
    pub fn from_variables(variables: &Variables, words: &TagWords) -> Result<Self, RequestError> {
        let given = Given(variables);
        let tap = given.required("INTERFACE", "must be the TAP's name")?;
        let instance: DomainName = given.required("INSTANCE", "must be the instance's name")?;
        let mac: MacAddr = given.required("MAC", "must be the NIC's hardware address")?;
        if mac.is_multicast() || mac.octets() == [0; 6] {
            let expected = "must be a unicast hardware address: an even first byte, not all zero";
            return Err(RequestError::value("MAC", &mac.to_string(), expected));
        }
        let ip = given.parsed("IP", "must be an IPv4 address")?;
        if let Some(ip) = ip.filter(|ip| !is_host_address(*ip)) {
            let expected = "must be an IPv4 unicast address other than 0.0.0.0 and 127.0.0.0/8";
            return Err(RequestError::value("IP", &ip.to_string(), expected));
        }
        let mode = mode(&given)?;
        let network = network(&given, words)?;
        if let Some(network) = &network {
            check_services(&network.tags, &mode, words)?;
        }
        let nic = ["INTERFACE_INDEX", "INTERFACE_NAME", "INTERFACE_UUID"];
        let nic: Vec<&str> = nic
            .into_iter()
            .filter_map(|name| given.text(name))
            .collect();
        let tags = given.text("TAGS").unwrap_or_default();
        Ok(Self {
            tap,
            instance,
            mac,
            ip,
            mode,
            network,
            tags: tags.split_whitespace().map(str::to_owned).collect(),
            instance_tags: tags::instance_tags(tags, &nic, words)?,
            migration: migration(&given)?,
        })
    }

    /// The `INTERFACE` alone: enough to take a NIC down when nothing else is known.
    ///
    /// # Errors
    /// Missing or no interface's name.
    pub fn tap_of(variables: &Variables) -> Result<IfName, RequestError> {
        Given(variables).required("INTERFACE", "must be the TAP's name")
    }
}

fn mode(given: &Given<'_>) -> Result<NicMode, RequestError> {
    let mode = match given.text("MODE") {
        None => {
            return Err(RequestError::Missing {
                variable: "MODE",
                expected: MODES,
            });
        }
        Some("bridged") => {
            let link = given.parsed("LINK", "must be the bridge's name")?;
            let bridge = given
                .parsed("BRIDGE", "must be the bridge's name")?
                .or(link);
            let missing = RequestError::Missing {
                variable: "LINK",
                expected: "must be the bridge's name",
            };
            NicMode::Bridged {
                bridge: bridge.ok_or(missing)?,
            }
        }
        Some("routed") => NicMode::Routed {
            table: given.required("LINK", "must be a routing table")?,
        },
        Some(other) => return Err(RequestError::value("MODE", other, MODES)),
    };
    match given.text("VLAN") {
        None => Ok(mode),
        Some(vlan) => {
            let expected = "VLANs are not served yet: only NICs without one come up";
            Err(RequestError::value("VLAN", vlan, expected))
        }
    }
}

const MODES: &str = "must be bridged or routed; openvswitch and ext are not served yet";

fn network(given: &Given<'_>, words: &TagWords) -> Result<Option<Network>, RequestError> {
    let Some(name) = given.text("NETWORK_NAME") else {
        return Ok(None);
    };
    let subnet: Option<Ipv4Net> = given.parsed(
        "NETWORK_SUBNET",
        "must be an IPv4 prefix, as in 10.0.0.0/24",
    )?;
    let subnet6: Option<Ipv6Net> = given.parsed(
        "NETWORK_SUBNET6",
        "must be an IPv6 prefix, as in 2001:db8::/64",
    )?;
    Ok(Some(Network {
        name: name.to_owned(),
        subnet: subnet.map(|net| net.trunc()),
        gateway: given.parsed("NETWORK_GATEWAY", "must be an IPv4 address")?,
        subnet6: subnet6.map(|net| net.trunc()),
        gateway6: given.parsed("NETWORK_GATEWAY6", "must be an IPv6 address")?,
        mac_prefix: mac_prefix(given)?,
        tags: tags::network_tags(given.text("NETWORK_TAGS").unwrap_or_default(), words)?,
    }))
}

/// A service whose tag does not fit the mode would silently not be there.
fn check_services(
    tags: &NetworkTags,
    mode: &NicMode,
    words: &TagWords,
) -> Result<(), RequestError> {
    match mode {
        NicMode::Bridged { .. } if tags.ip_less_routed => Err(RequestError::value(
            "NETWORK_TAGS",
            &words.ip_less_routed,
            "goes with MODE=routed only, this NIC is bridged",
        )),
        NicMode::Routed { .. } if tags.private_filtered => Err(RequestError::value(
            "NETWORK_TAGS",
            &words.private_filtered,
            "goes with MODE=bridged only, this NIC is routed",
        )),
        NicMode::Bridged { .. } | NicMode::Routed { .. } => Ok(()),
    }
}

fn mac_prefix(given: &Given<'_>) -> Result<Option<[u8; 3]>, RequestError> {
    let Some(text) = given.text("NETWORK_MAC_PREFIX") else {
        return Ok(None);
    };
    let mac: Option<MacAddr> = format!("{text}:00:00:00").parse().ok();
    match mac.map(MacAddr::octets) {
        Some([a, b, c, ..]) => Ok(Some([a, b, c])),
        None => {
            let expected = "must be three bytes, as in aa:00:77";
            Err(RequestError::value("NETWORK_MAC_PREFIX", text, expected))
        }
    }
}

fn migration(given: &Given<'_>) -> Result<Option<MigrationPhase>, RequestError> {
    match given.text("MIGRATION_PHASE") {
        None => Ok(None),
        Some("pre") => Ok(Some(MigrationPhase::Pre)),
        Some("post") => Ok(Some(MigrationPhase::Post)),
        Some(other) => Err(RequestError::value(
            "MIGRATION_PHASE",
            other,
            "must be pre or post",
        )),
    }
}

fn is_host_address(ip: Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.octets()[0] >= 240)
}

struct Given<'a>(&'a Variables);

impl<'a> Given<'a> {
    fn text(&self, variable: &str) -> Option<&'a str> {
        self.0
            .get(variable)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn parsed<T: FromStr>(
        &self,
        variable: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, RequestError>
    where
        T::Err: fmt::Display,
    {
        let Some(text) = self.text(variable) else {
            return Ok(None);
        };
        let parsed = text.parse().map_err(|error: T::Err| {
            RequestError::value(variable, text, format_args!("{expected} ({error})"))
        });
        parsed.map(Some)
    }

    fn required<T: FromStr>(
        &self,
        variable: &'static str,
        expected: &'static str,
    ) -> Result<T, RequestError>
    where
        T::Err: fmt::Display,
    {
        self.parsed(variable, expected)?
            .ok_or(RequestError::Missing { variable, expected })
    }
}

/// Why a text names no routing table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableRefError {
    /// 0 and 255 (local) are the kernel's.
    #[error("0 and 255 are the kernel's own")]
    Reserved,
    /// Over 32 bits.
    #[error("no table has such a number: 1 to 4294967295")]
    Number,
    /// Not a name `rt_tables` could hold.
    #[error("not a name of a table: letters, digits, '-', '_' and '.'")]
    Name,
}

impl FromStr for TableRef {
    type Err = TableRefError;

    fn from_str(text: &str) -> Result<Self, TableRefError> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.parse().map_err(|_| TableRefError::Number)? {
                0 | 255 => Err(TableRefError::Reserved),
                number => Ok(Self::Number(number)),
            };
        }
        let sound = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        match text {
            "local" | "unspec" | "all" => Err(TableRefError::Reserved),
            _ if text.is_empty() || text.len() > 64 || !text.bytes().all(sound) => {
                Err(TableRefError::Name)
            }
            _ => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests;
