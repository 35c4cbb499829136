//! A routed NIC: the VM's addresses are host routes to its TAP in the table of its network.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::{Setting, Wiring, binding, isolation};
use crate::config::Config;
use crate::facts::{Family, Route, Rule, Table, Uplink};
use crate::record::Proxy;
use crate::request::Request;
use crate::step::Announcement;

/// What the network or, without one, its table says.
struct Surroundings {
    gateway: Option<Ipv4Addr>,
    subnet6: Option<Ipv6Net>,
}

pub(super) fn wiring(request: &Request, table: &Table, config: &Config) -> Wiring {
    let around = match &request.network {
        Some(network) => Surroundings {
            gateway: network.gateway,
            subnet6: network.subnet6,
        },
        None => Surroundings {
            gateway: table.gateway,
            subnet6: table.subnet6,
        },
    };
    let mut wiring = base(request, config);
    wiring.binding = match &request.network {
        None => Some(binding::of_table(request, table)),
        Some(network) if network.tags.nfdhcpd => {
            Some(binding::of_network(request, network, &request.tap))
        }
        Some(_) => None,
    };
    if request
        .network
        .as_ref()
        .is_none_or(|network| network.tags.ip_less_routed)
    {
        route(&mut wiring, request, table, &around, config);
    } else {
        let word = &config.tags.ip_less_routed;
        wiring.warnings.push(format!(
            "NETWORK_TAGS: no {word}: nothing is routed to the NIC"
        ));
    }
    wiring
}

/// The TAP has the router's address on every host, and a link-local one from it, without asking whether it is free:
/// nobody else but the VM is on the link. Nothing the VM advertises configures the host.
fn base(request: &Request, config: &Config) -> Wiring {
    let tap = request.tap.as_str();
    let own = |layer, name, value| Setting::new(layer, tap, name, value);
    Wiring {
        elements: Vec::new(),
        address: config.router_mac,
        mtu: None,
        master: None,
        sysctls: vec![
            own("ipv6/conf", "addr_gen_mode", "0"),
            own("ipv6/conf", "accept_dad", "0"),
            own("ipv6/conf", "dad_transmits", "0"),
            own("ipv6/conf", "accept_ra", "0"),
            own("ipv6/conf", "disable_ipv6", "0"),
        ],
        shared_sysctls: Vec::new(),
        expected_sysctls: Vec::new(),
        rules: Vec::new(),
        routes: Vec::new(),
        proxies: Vec::new(),
        binding: None,
        announcements: Vec::new(),
        warnings: request.instance_tags.warnings.clone(),
    }
}

fn route(
    wiring: &mut Wiring,
    request: &Request,
    table: &Table,
    around: &Surroundings,
    config: &Config,
) {
    let address6 = around.subnet6.and_then(|subnet| request.mac.eui64(subnet));
    let gateway = around.gateway.filter(|_| request.ip.is_some());
    wiring.elements = isolation::routed(request, address6, gateway);
    if let Some(ip) = request.ip {
        path(wiring, request, table, config, Family::V4, ip.into());
        route4(wiring, request, table, ip);
    }
    if let Some(address) = address6 {
        path(wiring, request, table, config, Family::V6, address.into());
        route6(wiring, request, table, address);
    }
    if let Some(subnet6) = around.subnet6.filter(|subnet| subnet.prefix_len() != 64) {
        let warning =
            format!("IPv6 prefix {subnet6} is not a /64: no IPv6 address is routed to the NIC");
        wiring.warnings.push(warning);
    }
}

/// Packets from the TAP look in the network's table; packets for the address go to the TAP.
fn path(
    wiring: &mut Wiring,
    request: &Request,
    table: &Table,
    config: &Config,
    family: Family,
    address: std::net::IpAddr,
) {
    let tap = request.tap.clone();
    let priority = config.rule_priority;
    wiring.rules.push(Rule {
        family,
        tap: tap.clone(),
        table: table.id,
        priority,
    });
    wiring.routes.push(Route {
        destination: IpNet::from(address),
        tap,
        table: table.id,
    });
}

/// The host answers the VM's ARP for everybody, at once: the kernel's default is to wait up to 0.8 s.
fn route4(wiring: &mut Wiring, request: &Request, table: &Table, ip: Ipv4Addr) {
    let tap = request.tap.as_str();
    wiring.sysctls.extend([
        Setting::new("ipv4/conf", tap, "forwarding", "1"),
        Setting::new("ipv4/conf", tap, "proxy_arp", "1"),
        Setting::new("ipv4/neigh", tap, "proxy_delay", "0"),
    ]);
    let Some(uplink) = &table.uplink else {
        wiring.warnings.push(format!(
            "table {} has no IPv4 default route: nothing is announced",
            table.id
        ));
        return;
    };
    wiring.expected_sysctls.push(Setting::new(
        "ipv4/conf",
        uplink.name.as_str(),
        "forwarding",
        "1",
    ));
    if let Some(from) = uplink.address {
        wiring.announcements.push(Announcement::Arp {
            uplink: uplink.name.clone(),
            index: uplink.index,
            from,
            address: ip,
        });
    }
}

/// On the uplink the kernel answers for the VM's address; on the TAP nfdhcpd does for everybody's.
fn route6(wiring: &mut Wiring, request: &Request, table: &Table, address: Ipv6Addr) {
    let tap = request.tap.as_str();
    wiring.sysctls.extend([
        Setting::new("ipv6/conf", tap, "forwarding", "1"),
        Setting::new("ipv6/conf", tap, "proxy_ndp", "0"),
    ]);
    wiring
        .expected_sysctls
        .push(Setting::new("ipv6/conf", "all", "forwarding", "1"));
    let Some(uplink) = &table.uplink6 else {
        let warning = format!(
            "table {} has no IPv6 default route: no neighbour finds the NIC",
            table.id
        );
        wiring.warnings.push(warning);
        return;
    };
    let name = uplink.name.as_str();
    wiring
        .shared_sysctls
        .push(Setting::new("ipv6/conf", name, "proxy_ndp", "1"));
    wiring.proxies.push(Proxy {
        address,
        uplink: uplink.name.clone(),
    });
    wiring.announcements.extend(neighbour(uplink, address));
}

fn neighbour(uplink: &Uplink, address: Ipv6Addr) -> Option<Announcement> {
    Some(Announcement::Neighbour {
        uplink: uplink.name.clone(),
        index: uplink.index,
        from: uplink.address?,
        source: uplink.link_local.unwrap_or(address),
        address,
    })
}
