//! What the host is like, as far as one NIC is concerned: plain values, read by [`crate::host`], compared by the plan.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nfdhcpd_binding::MacAddr;

use crate::element::Element;
use crate::record::{Proxy, Record};
use crate::request::IfName;

/// Everything the plan is made from besides request and configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The TAP; `None` when there is no such device.
    pub tap: Option<Link>,
    /// The bridge of a bridged NIC; `None` when there is no such device.
    pub bridge: Option<Link>,
    /// The table of a routed NIC.
    pub table: Option<Table>,
    /// What stands of what the plan may want or remove.
    pub standing: Standing,
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Hardware address.
    pub address: MacAddr,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Up, and somebody holds the other end (of a TAP: QEMU).
    pub carrier: bool,
    /// Name of the bridge it is a port of.
    pub master: Option<IfName>,
    /// Whether it is a bridge itself.
    pub is_bridge: bool,
}

/// A routing table and the way out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Its number.
    pub id: u32,
    /// Next hop of the IPv4 default route.
    pub gateway: Option<Ipv4Addr>,
    /// Most specific prefix, of at most 31 bits and not the default route, that holds the NIC's IPv4 address.
    pub subnet: Option<Ipv4Net>,
    /// Device of the IPv4 default route.
    pub uplink: Option<Uplink>,
    /// Next hop of the IPv6 default route, when it is a global address.
    pub gateway6: Option<Ipv6Addr>,
    /// The first /64.
    pub subnet6: Option<Ipv6Net>,
    /// Device of the IPv6 default route.
    pub uplink6: Option<Uplink>,
}

/// The device that a network's other hosts are behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub name: IfName,
    /// Interface index.
    pub index: u32,
    /// Hardware address; `None` for devices that are not Ethernet.
    pub address: Option<MacAddr>,
    /// Its link-local IPv6 address.
    pub link_local: Option<Ipv6Addr>,
}

/// What stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether our nft tables are there, with the rules of this version.
    pub rules_installed: bool,
    /// Elements, of those the NIC wants and those its TAP's record names.
    pub elements: Vec<Element>,
    /// Proxy entries, of those the NIC wants and those that of all records its TAP's alone names.
    pub proxies: Vec<Proxy>,
    /// All routing rules with the TAP as input interface; `None` when they were not read: the list of a host with a
    /// thousand routed NICs is long, and a new device is better off without whatever its name's last NIC left there.
    pub rules: Option<Vec<Rule>>,
    /// All routes of protocol static out of the TAP.
    pub routes: Vec<Route>,
    /// Values under `/proc/sys`, of those the NIC wants; a missing file is missing here.
    pub sysctls: BTreeMap<String, String>,
    /// Text of the TAP's binding file.
    pub binding: Option<String>,
    /// The TAP's record.
    pub record: Option<Record>,
}

/// Address family of a routing rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// A routing rule for packets that come in by a TAP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Whose packets.
    pub family: Family,
    /// The TAP's name.
    pub tap: IfName,
    /// Where to look.
    pub table: u32,
    /// Place among the rules.
    pub priority: u32,
}

/// A host route to a TAP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The VM's address.
    pub destination: IpNet,
    /// The TAP's name.
    pub tap: IfName,
    /// The table it is in.
    pub table: u32,
}
