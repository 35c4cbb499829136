//! What a VM is leased: the address, who gives it, and the options.

use std::net::{IpAddr, Ipv4Addr};

use dhcproto::Name;
use dhcproto::v4::DhcpOption;
use ipnet::Ipv4Net;
use nfdhcpd_binding::{Binding, DomainName, MacAddr};

use super::super::Settings;
use super::boot::BootFiles;
use super::options::{OptionSet, raw};
use super::{fqdn, routes};
use crate::wire::dhcpv4::code;

/// A lease without end (RFC 2131 §3.3).
const INFINITE: u32 = u32::MAX;
/// Below it T1, T2 and the lease time would run together.
const LEASE_MIN: u32 = 60;
/// An IPv6-only host waits at least this long (RFC 8925 §3.4).
const V6ONLY_WAIT_MIN: u32 = 300;
/// Ethernet's.
const MTU_MAX: u16 = 1500;
/// IP and UDP header and the shortest BOOTP message: no answer is smaller.
const DATAGRAM_FLOOR: u16 = 28 + 300;
/// The server identifier where the network names no other host: the same everywhere, and no VM's address (RFC 3927
/// keeps the first 256 of the prefix free).
const NOBODY: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);

/// What a VM is leased, its options encoded.
#[derive(Debug)]
pub struct Lease {
    /// The address; `yiaddr`.
    pub(super) address: Ipv4Addr,
    /// Option 54 and the IP source of every answer.
    pub(super) server_identifier: Ipv4Addr,
    /// `siaddr`; 0.0.0.0 = none.
    pub(super) next_server: Ipv4Addr,
    /// The Ethernet source of every answer.
    pub(super) router_mac: MacAddr,
    /// The largest IP datagram the VM's link carries, bytes.
    pub(super) datagram_max: u16,
    /// An ACK answers a DISCOVER that asks for it.
    pub(super) rapid_commit: bool,
    /// All options but those of one message.
    pub(super) options: OptionSet,
    /// The codes of `OPT<n>`: sent whether asked for or not.
    pub(super) unasked: Box<[u8]>,
    /// The VM's full name, for option 81.
    pub(super) fqdn: Option<Box<str>>,
    /// What network boot is told.
    pub(super) boot: Option<Box<BootFiles>>,
}

impl Lease {
    /// `None` when the binding has no IPv4 address.
    #[must_use]
    pub fn new(binding: &Binding, settings: &Settings) -> Option<Self> {
        let address = binding.ip?;
        let domain = binding.domain.as_ref().or(settings.domain.as_ref());
        let mut options = Vec::new();
        push_network(&mut options, binding, address);
        push_times(&mut options, binding.lease.unwrap_or(settings.dhcpv4.lease));
        push_names(&mut options, binding, settings, domain);
        push_boot(&mut options, binding);
        if let Some(wait) = binding.v6only_wait {
            // dhcproto 0.15 has its number wrong: 106.
            let wait = wait.max(V6ONLY_WAIT_MIN).to_be_bytes();
            options.push(raw(code::IPV6_ONLY_PREFERRED, wait.to_vec()));
        }
        if let Some(uri) = &binding.captive_portal {
            options.push(DhcpOption::CaptivePortal(uri.clone()));
        }
        let given = &binding.raw_options;
        options.extend(
            given
                .iter()
                .map(|option| raw(option.code, option.value.clone())),
        );
        Some(Self {
            address,
            server_identifier: server_identifier(binding, address, settings.dhcpv4.server_ip),
            next_server: binding.boot.server.unwrap_or(Ipv4Addr::UNSPECIFIED),
            router_mac: settings.router_mac,
            datagram_max: binding
                .mtu
                .unwrap_or(MTU_MAX)
                .clamp(DATAGRAM_FLOOR, MTU_MAX),
            rapid_commit: settings.dhcpv4.rapid_commit,
            options: OptionSet::encode(options),
            unasked: given.iter().map(|option| option.code).collect(),
            fqdn: fqdn::full_name(binding.hostname.as_ref(), domain),
            boot: BootFiles::new(&binding.boot).map(Box::new),
        })
    }

    /// Bytes of memory it takes, without what the allocator adds.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>()
            + self.options.footprint()
            + self.unasked.len()
            + self.fqdn.as_ref().map_or(0, |name| name.len())
    }

    /// The address given.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Who gives it: option 54.
    #[must_use]
    pub const fn server_identifier(&self) -> Ipv4Addr {
        self.server_identifier
    }
}

/// Binding, configuration, gateway, then the first host of the subnet: it follows from the network, so that it is the
/// same on the host a VM migrates to. Never the VM itself.
fn server_identifier(
    binding: &Binding,
    address: Ipv4Addr,
    configured: Option<Ipv4Addr>,
) -> Ipv4Addr {
    let named = [binding.server_ip, configured, binding.gateway];
    let hosts = binding
        .subnet
        .into_iter()
        .flat_map(|subnet| subnet.hosts().take(2));
    named
        .into_iter()
        .flatten()
        .chain(hosts)
        .find(|server| *server != address)
        .unwrap_or(NOBODY)
}

/// Mask, broadcast address, routers, routes, MTU.
fn push_network(options: &mut Vec<DhcpOption>, binding: &Binding, address: Ipv4Addr) {
    // An address without a subnet is alone on its link.
    let subnet = binding.subnet.unwrap_or_else(|| Ipv4Net::from(address));
    options.push(DhcpOption::SubnetMask(subnet.netmask()));
    // RFC 3021: two addresses leave none for broadcast.
    if subnet.prefix_len() < 31 {
        options.push(DhcpOption::BroadcastAddr(subnet.broadcast()));
    }
    let router = binding.gateway.filter(|_| !binding.private);
    options.extend(router.map(|router| DhcpOption::Router(vec![router])));
    let routes = routes::classless(subnet, router, &binding.routes, binding.private);
    if !routes.is_empty() {
        options.push(raw(code::MS_CLASSLESS_ROUTES, routes::encode(&routes)));
        options.push(DhcpOption::ClasslessStaticRoute(routes));
    }
    options.extend(binding.mtu.map(DhcpOption::InterfaceMtu));
}

/// Lease time, T1 and T2 (RFC 2131 §4.4.5); a lease without end is not renewed.
fn push_times(options: &mut Vec<DhcpOption>, lease: u32) {
    let lease = lease.max(LEASE_MIN);
    options.push(DhcpOption::AddressLeaseTime(lease));
    if lease != INFINITE {
        options.push(DhcpOption::Renewal(lease / 2));
        options.push(DhcpOption::Rebinding(lease - lease.div_ceil(8)));
    }
}

/// Host name, domain, search list, name servers, time servers.
fn push_names(
    options: &mut Vec<DhcpOption>,
    binding: &Binding,
    settings: &Settings,
    domain: Option<&DomainName>,
) {
    let hostname = binding.hostname.as_ref();
    options.extend(hostname.map(|name| DhcpOption::Hostname(name.to_string())));
    options.extend(domain.map(|name| DhcpOption::DomainName(name.to_string())));
    let search = binding
        .domain_search
        .as_ref()
        .unwrap_or(&settings.domain_search);
    if !search.is_empty() {
        options.push(DhcpOption::DomainSearch(
            search.iter().filter_map(name).collect(),
        ));
    }
    let nameservers = ipv4(
        binding
            .nameservers
            .as_ref()
            .unwrap_or(&settings.nameservers),
    );
    if !nameservers.is_empty() {
        options.push(DhcpOption::DomainNameServer(nameservers));
    }
    let ntp = ipv4(binding.ntp.as_ref().unwrap_or(&settings.ntp));
    if !ntp.is_empty() {
        options.push(DhcpOption::NtpServers(ntp));
    }
}

/// What of network boot is the same for every client; the boot file is not.
fn push_boot(options: &mut Vec<DhcpOption>, binding: &Binding) {
    let boot = &binding.boot;
    let server = boot
        .server_name
        .clone()
        .or_else(|| boot.server.map(|ip| ip.to_string()));
    options.extend(server.map(|name| DhcpOption::TFTPServerName(name.into_bytes())));
    if !boot.tftp_servers.is_empty() {
        let octets = boot
            .tftp_servers
            .iter()
            .flat_map(Ipv4Addr::octets)
            .collect();
        options.push(raw(code::TFTP_SERVERS, octets));
    }
    let prefix = boot.prefix.clone();
    options.extend(prefix.map(|prefix| raw(code::PATH_PREFIX, prefix.into_bytes())));
}

fn ipv4(addresses: &[IpAddr]) -> Vec<Ipv4Addr> {
    let of = |address: &IpAddr| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    };
    addresses.iter().filter_map(of).collect()
}

/// dhcproto's name; a `DomainName` is always one.
fn name(domain: &DomainName) -> Option<Name> {
    let mut name = Name::from_labels(domain.labels().map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}
