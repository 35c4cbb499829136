//! The configuration file's text: its keys, their shapes and their defaults.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::rules::plan::Mark;

/// The file as written. Every key may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// Directory of binding files.
    pub bindings: PathBuf,
    /// Directory of the control socket and of the record of claims; emptied by a reboot.
    pub runtime: PathBuf,
    /// The user the daemon becomes; empty = it stays root without root's capabilities.
    pub user: String,
    /// `address:port` the metrics are served on; empty = not served.
    pub metrics: String,
    /// `managed` or `external`.
    pub rules: String,
    /// `drop` or `pass`: what becomes of served TAPs' requests while the daemon is absent (managed rules).
    pub on_absent: String,
    /// `drop` or `pass`: what becomes of queued packets of a TAP without a binding (external rules).
    pub unserved: String,
    /// Pattern of the packet marks that name TAPs (managed rules); at least its 24 low bits are 0.
    pub mark: u32,
    /// Hardware address of the router every VM sees.
    pub router_mac: String,
    /// `network` or `host`: who routes for bridged NICs.
    pub router: String,
    /// Name servers, both families.
    pub nameservers: Vec<IpAddr>,
    /// Domain name; empty = none.
    pub domain: String,
    /// Search list.
    pub domain_search: Vec<String>,
    /// NTP servers, both families.
    pub ntp: Vec<IpAddr>,
    /// `[queues]`.
    pub queues: QueuesFile,
    /// `[rate]`.
    pub rate: RateFile,
    /// `[dhcpv4]`.
    pub dhcpv4: Dhcpv4File,
    /// `[dhcpv6]`.
    pub dhcpv6: Dhcpv6File,
    /// `[ra]`.
    pub ra: RaFile,
}

/// `[queues]`: NFQUEUE numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueuesFile {
    /// First queue of DHCPv4.
    pub dhcpv4: u16,
    /// First queue of router solicitations.
    pub rs: u16,
    /// First queue of neighbour solicitations.
    pub ns: u16,
    /// First queue of DHCPv6.
    pub dhcpv6: u16,
    /// Queues per protocol, a contiguous range from the first; each shard has a thread.
    pub shards: u16,
    /// Packets a queue holds before the kernel drops.
    pub length: u32,
}

/// `[rate]`: what one TAP may ask, over all protocols.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateFile {
    /// Packets per second.
    pub per_second: u32,
    /// Packets at once.
    pub burst: u32,
    /// Packets per second per protocol the kernel lets into the queue (managed rules).
    pub kernel_per_second: u32,
    /// Packets at once per protocol the kernel lets into the queue (managed rules).
    pub kernel_burst: u32,
}

/// `[dhcpv4]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dhcpv4File {
    /// Server identifier; empty = follows from the network.
    pub server_ip: String,
    /// Lease, seconds.
    pub lease: u32,
    /// Rapid commit (RFC 4039).
    pub rapid_commit: bool,
}

/// `[dhcpv6]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dhcpv6File {
    /// Server DUID, hexadecimal; empty = DUID-LL of `router_mac`.
    pub server_duid: String,
    /// Preferred lifetime, seconds.
    pub preferred_lifetime: u32,
    /// Valid lifetime, seconds.
    pub valid_lifetime: u32,
    /// Option 32, seconds.
    pub information_refresh: u32,
    /// Option 82, seconds; 0 = not sent.
    pub sol_max_rt: u32,
    /// Option 83, seconds; 0 = not sent.
    pub inf_max_rt: u32,
    /// Whether a SOLICIT without an address to give is answered NoAddrsAvail.
    pub answer_stateless_solicit: bool,
}

/// `[ra]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaFile {
    /// MaxRtrAdvInterval, seconds.
    pub max_interval: u32,
    /// Router lifetime, seconds.
    pub router_lifetime: u16,
    /// Preferred lifetime of the prefix, seconds.
    pub prefix_preferred: u32,
    /// Valid lifetime of the prefix, seconds.
    pub prefix_valid: u32,
    /// `none`, `slaac`, `stateless` or `stateful`.
    pub mode6: String,
}

impl Default for File {
    fn default() -> Self {
        Self {
            bindings: PathBuf::from("/var/lib/nfdhcpd"),
            runtime: PathBuf::from("/run/nfdhcpd"),
            user: String::from("nfdhcpd"),
            metrics: String::new(),
            rules: String::from("managed"),
            on_absent: String::from("drop"),
            unserved: String::from("pass"),
            mark: Mark::DEFAULT.base(),
            router_mac: String::from("cc:47:52:4e:45:54"),
            router: String::from("network"),
            nameservers: Vec::new(),
            domain: String::new(),
            domain_search: Vec::new(),
            ntp: Vec::new(),
            queues: QueuesFile {
                dhcpv4: 42,
                rs: 43,
                ns: 44,
                dhcpv6: 45,
                shards: 1,
                length: 8192,
            },
            rate: RateFile {
                per_second: 100,
                burst: 200,
                kernel_per_second: 100,
                kernel_burst: 200,
            },
            dhcpv4: Dhcpv4File {
                server_ip: String::new(),
                lease: 86400,
                rapid_commit: true,
            },
            dhcpv6: Dhcpv6File {
                server_duid: String::new(),
                preferred_lifetime: 43200,
                valid_lifetime: 86400,
                information_refresh: 86400,
                sol_max_rt: 0,
                inf_max_rt: 0,
                answer_stateless_solicit: true,
            },
            ra: RaFile {
                max_interval: 600,
                router_lifetime: 1800,
                prefix_preferred: 604_800,
                prefix_valid: 2_592_000,
                mode6: String::from("slaac"),
            },
        }
    }
}

macro_rules! section_defaults {
    ($($section:ident: $type:ty),*) => {$(
        impl Default for $type {
            fn default() -> Self {
                File::default().$section
            }
        }
    )*};
}
section_defaults!(queues: QueuesFile, rate: RateFile, dhcpv4: Dhcpv4File, dhcpv6: Dhcpv6File, ra: RaFile);
