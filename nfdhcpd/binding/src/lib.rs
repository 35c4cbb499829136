//! The binding file: what a VM's TAP is to be served.
//!
//! `snf-ifup` (or any other program) writes one file per TAP into nfdhcpd's directory, named after the TAP; nfdhcpd
//! reads it. This crate owns the format and does no IO. The grammar, key by key, is in `nfdhcpd/docs/binding.md`.

mod boot;
mod check;
mod domain;
mod error;
mod file;
pub mod limits;
mod lines;
mod mac;
mod parse;
mod raw_option;
mod route;
mod tap_name;
#[cfg(test)]
mod tests;
mod values;
mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

pub use boot::{Boot, ClientArch};
pub use domain::{DomainName, DomainNameError};
pub use error::{BindingError, IgnoredLine, IgnoredReason, ValueError};
pub use file::BindingFile;
pub use mac::{MacAddr, MacAddrError};
pub use raw_option::RawOption;
pub use route::Route;
pub use tap_name::TapName;

/// What one TAP is served, read from its binding file.
///
/// Every field but `mac` may be missing: a binding without `ip` gets no DHCPv4 address, one without `subnet6` no router
/// advertisement. `FromStr` reads a text, `Display` writes it; the one undoes the other. Whole files: `read_bytes` and
/// `to_file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `MAC`: the VM's hardware address. The only key that must be there.
    pub mac: MacAddr,
    /// `INDEV`: the device the host sees the VM's packets come in on, a bridge or the TAP itself. `INDEV` equal to the
    /// file's name, or absent, says nothing about how the NIC is attached: the kernel does.
    pub indev: Option<String>,
    /// `LINK`: the bridge or routing table, kept for the writer, not used by nfdhcpd.
    pub link: Option<String>,
    /// `TAGS`: the instance's or the network's tags, kept for the writer, not used by nfdhcpd.
    pub tags: Vec<String>,
    /// `HOSTNAME`: DHCPv4 option 12 and the DHCPv6 FQDN (39).
    pub hostname: Option<DomainName>,

    /// `IP`: the VM's IPv4 address.
    pub ip: Option<Ipv4Addr>,
    /// `SUBNET`: the IPv4 prefix; host bits are cleared on reading.
    pub subnet: Option<Ipv4Net>,
    /// `GATEWAY`: the IPv4 router; may lie outside `SUBNET` (an on-link route is then sent with it).
    pub gateway: Option<Ipv4Addr>,
    /// `SERVER_IP`: DHCPv4 server identifier (54), when it is not to follow from the network.
    pub server_ip: Option<Ipv4Addr>,
    /// `LEASE`: seconds, 60 to 4294967295 (infinite).
    pub lease: Option<u32>,
    /// `V6ONLY_WAIT`: seconds for DHCPv4 option 108, at least 300.
    pub v6only_wait: Option<u32>,

    /// `SUBNET6`: the IPv6 prefix; host bits are cleared on reading.
    pub subnet6: Option<Ipv6Net>,
    /// `GATEWAY6`: the IPv6 router's address.
    pub gateway6: Option<Ipv6Addr>,
    /// `GATEWAY6_MAC`: the hardware address of a router that is not this host; announced and answered for in its name.
    pub gateway6_mac: Option<MacAddr>,
    /// `EUI64`: the address the VM forms from `SUBNET6` and its MAC; the VM's own, never answered for.
    pub eui64: Option<Ipv6Addr>,
    /// `IP6`: the address given by stateful DHCPv6.
    pub ip6: Option<Ipv6Addr>,
    /// `MODE6`: which kind of IPv6 configuration the VM is told to do.
    pub mode6: Option<Mode6>,

    /// `EXTRA_IPS`: further addresses of the VM; the VM's own, never answered for.
    pub extra_ips: Vec<IpAddr>,
    /// `NAMESERVERS`: both families; replaces the configuration's.
    pub nameservers: Option<Vec<IpAddr>>,
    /// `DOMAIN`: DHCPv4 option 15.
    pub domain: Option<DomainName>,
    /// `DOMAIN_SEARCH`: options 119, DHCPv6 24, DNSSL.
    pub domain_search: Option<Vec<DomainName>>,
    /// `ROUTES`: options 121 and 249, route information options.
    pub routes: Vec<Route>,
    /// `NTP`: both families; options 42, DHCPv6 31 and 56.
    pub ntp: Option<Vec<IpAddr>>,
    /// `MTU`: bytes, 68 to 65535; option 26, the RA's MTU option if at least 1280.
    pub mtu: Option<u16>,
    /// `CAPTIVE_PORTAL`: URI; options 114, DHCPv6 103, RA 37.
    pub captive_portal: Option<String>,
    /// `BOOT_*`: what network boot is told.
    pub boot: Boot,
    /// `OPT<n>`: DHCPv4 options given as they are.
    pub raw_options: Vec<RawOption>,

    /// `MACSPOOF`: the VM may send from other hardware addresses.
    pub mac_spoof: bool,
    /// `PRIVATE`: no router is announced, on either family.
    pub private: bool,
}

/// How the VM is told to configure IPv6 (RFC 4861 §4.2, flags A, O and M).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode6 {
    /// Nothing is answered on IPv6: the network's own router does it.
    None,
    /// A=1: the VM forms its address.
    Slaac,
    /// A=1, O=1: and asks DHCPv6 for the rest.
    Stateless,
    /// M=1, O=1, A=0: DHCPv6 gives `IP6`.
    Stateful,
}

impl Binding {
    /// A binding with nothing but the VM's hardware address.
    #[must_use]
    pub fn new(mac: MacAddr) -> Self {
        Self {
            mac,
            indev: None,
            link: None,
            tags: Vec::new(),
            hostname: None,
            ip: None,
            subnet: None,
            gateway: None,
            server_ip: None,
            lease: None,
            v6only_wait: None,
            subnet6: None,
            gateway6: None,
            gateway6_mac: None,
            eui64: None,
            ip6: None,
            mode6: None,
            extra_ips: Vec::new(),
            nameservers: None,
            domain: None,
            domain_search: None,
            routes: Vec::new(),
            ntp: None,
            mtu: None,
            captive_portal: None,
            boot: Boot::default(),
            raw_options: Vec::new(),
            mac_spoof: false,
            private: false,
        }
    }
}
