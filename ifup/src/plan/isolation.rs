//! Which elements of the constant rule set (`nft.rs`) a NIC gets.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::element::Element;
use crate::request::{Network, Request};

/// `private-filtered`: the TAP sends from its own hardware address only, and hears only its network's prefix; without
/// `NETWORK_MAC_PREFIX`, the first 20 bits of its own address.
pub(super) fn private(request: &Request, network: &Network) -> Vec<Element> {
    let tap = &request.tap;
    let prefix = match network.mac_prefix {
        Some(prefix) => Element::network(tap, prefix),
        None => Element::own_prefix(tap, request.mac),
    };
    vec![
        Element::Source(tap.clone(), request.mac),
        prefix,
        Element::Filtered(tap.clone()),
    ]
}

/// A routed NIC: the TAP sends from its own addresses only, and is asked for its hardware address in the gateway's name.
pub(super) fn routed(
    request: &Request,
    address6: Option<Ipv6Addr>,
    gateway: Option<Ipv4Addr>,
) -> Vec<Element> {
    let tap = &request.tap;
    let mut elements = Vec::new();
    elements.extend(request.ip.map(|ip| Element::Source4(tap.clone(), ip)));
    elements.extend(address6.map(|ip| Element::Source6(tap.clone(), ip)));
    elements.push(Element::Routed(tap.clone()));
    elements.extend(gateway.map(|ip| Element::Gateway(tap.clone(), ip)));
    elements
}
