//! A bridged NIC: the TAP is a port of `LINK`.

use nfdhcpd_binding::MacAddr;

use super::{Setting, Wiring, binding, isolation};
use crate::facts::Link;
use crate::request::{IfName, Request};

pub(super) fn wiring(request: &Request, bridge: &IfName, link: &Link) -> Wiring {
    let tap = request.tap.as_str();
    let network = request.network.as_ref();
    let served = network.filter(|network| network.tags.nfdhcpd);
    let filtered = network.filter(|network| network.tags.private_filtered);
    Wiring {
        elements: filtered.map_or_else(Vec::new, |network| isolation::private(request, network)),
        address: port_address(request.mac),
        mtu: Some(link.mtu),
        master: Some(bridge.clone()),
        // The host takes no part in the VM's link: it has no address there, neither solicits nor reports, and keeps no routes
        // that a host with a thousand such NICs would walk for the next one.
        sysctls: vec![Setting::new("ipv6/conf", tap, "disable_ipv6", "1")],
        shared_sysctls: Vec::new(),
        expected_sysctls: Vec::new(),
        rules: Vec::new(),
        routes: Vec::new(),
        proxies: Vec::new(),
        binding: served.map(|network| binding::of_network(request, network, bridge)),
        announcements: Vec::new(),
        warnings: request.instance_tags.warnings.clone(),
    }
}

/// A bridge takes the lowest of its ports' addresses: with `fe` in front a TAP's is never that, so the bridge keeps its
/// uplink's when VMs come and go. It must not be the VM's own either, or the bridge would keep the VM's frames.
fn port_address(mac: MacAddr) -> MacAddr {
    let [first, b, c, d, e, f] = mac.octets();
    if first == 0xfe {
        MacAddr([0xfe, b ^ 0x80, c, d, e, f])
    } else {
        MacAddr([0xfe, b, c, d, e, f])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_never_has_the_address_of_its_vm() {
        for (vm, port) in [
            ("aa:00:77:51:ad:bc", "fe:00:77:51:ad:bc"),
            ("fe:00:77:51:ad:bc", "fe:80:77:51:ad:bc"),
        ] {
            assert_eq!(port_address(vm.parse().unwrap()).to_string(), port);
        }
    }
}
