//! What must hold between the keys of one binding.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::{Binding, Route};

/// The key at fault and why, when two keys contradict each other.
pub(crate) fn contradiction(binding: &Binding) -> Option<(&'static str, String)> {
    contradiction4(binding).or_else(|| contradiction6(binding))
}

fn contradiction4(binding: &Binding) -> Option<(&'static str, String)> {
    let Binding {
        ip,
        subnet,
        gateway,
        ..
    } = binding;
    if let (Some(ip), Some(subnet)) = (ip, subnet) {
        if !subnet.contains(ip) {
            return Some(("IP", format!("lies outside SUBNET {subnet}")));
        }
        if is_reserved(*ip, *subnet) {
            return Some(("IP", format!("is no host's in SUBNET {subnet}")));
        }
    }
    if let (Some(gateway), Some(subnet)) = (gateway, subnet)
        && is_reserved(*gateway, *subnet)
    {
        return Some(("GATEWAY", format!("is no host's in SUBNET {subnet}")));
    }
    let own = |other: &Option<Ipv4Addr>| ip.is_some() && ip == other;
    if own(gateway) {
        return Some(("GATEWAY", "is the VM's own address, IP".into()));
    }
    if own(&binding.server_ip) {
        return Some(("SERVER_IP", "is the VM's own address, IP".into()));
    }
    let routed_to_itself = |route: &Route| match route {
        Route::V4 { gateway, .. } => own(&Some(*gateway)),
        Route::V6 { .. } => false,
    };
    if binding.routes.iter().any(routed_to_itself) {
        return Some((
            "ROUTES",
            "has the VM's own address, IP, as a gateway".into(),
        ));
    }
    let extra =
        |ip: Option<Ipv4Addr>| ip.is_some_and(|ip| binding.extra_ips.contains(&IpAddr::V4(ip)));
    if extra(*gateway) {
        return Some(("EXTRA_IPS", "has GATEWAY in it".into()));
    }
    None
}

fn contradiction6(binding: &Binding) -> Option<(&'static str, String)> {
    let Binding {
        subnet6,
        gateway6,
        eui64,
        ip6,
        ..
    } = binding;
    for (key, own) in [("EUI64", eui64), ("IP6", ip6)] {
        let Some(own) = own else { continue };
        if let Some(subnet) = subnet6
            && !subnet.contains(own)
        {
            return Some((key, format!("lies outside SUBNET6 {subnet}")));
        }
        if gateway6.as_ref() == Some(own) {
            return Some(("GATEWAY6", format!("is the VM's own address, {key}")));
        }
    }
    if gateway6.is_some_and(|gateway| binding.extra_ips.contains(&IpAddr::V6(gateway))) {
        return Some(("EXTRA_IPS", "has GATEWAY6 in it".into()));
    }
    if binding.gateway6_mac == Some(binding.mac) {
        return Some(("GATEWAY6_MAC", "is the VM's own address, MAC".into()));
    }
    None
}

/// The network's or the broadcast address of a subnet that has them (RFC 3021: a /31 has none).
fn is_reserved(ip: Ipv4Addr, subnet: Ipv4Net) -> bool {
    subnet.prefix_len() < 31 && (ip == subnet.network() || ip == subnet.broadcast())
}
