//! Classless static routes, options 121 and 249 (RFC 3442).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nfdhcpd_binding::Route;

/// As a gateway: the destination is on the link.
const ON_LINK: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// The routes a VM is told, or none where the router option says it all.
///
/// A client that takes this option ignores the router option, so the default route is among them. A gateway outside
/// the subnet is made reachable by a route of its own, before those that need it. A private network has no default
/// route at all.
pub(super) fn classless(
    subnet: Ipv4Net,
    router: Option<Ipv4Addr>,
    routes: &[Route],
    private: bool,
) -> Vec<(Ipv4Net, Ipv4Addr)> {
    let given = routes.iter().filter_map(|route| match route {
        Route::V4 {
            destination,
            gateway,
        } => Some((*destination, *gateway)),
        Route::V6 { .. } => None,
    });
    let mut wanted: Vec<_> = given
        .filter(|(destination, _)| !private || destination.prefix_len() > 0)
        .collect();
    let says_default = wanted
        .iter()
        .any(|(destination, _)| destination.prefix_len() == 0);
    if let Some(router) = router
        && !says_default
        && (!wanted.is_empty() || !subnet.contains(&router))
    {
        wanted.push((Ipv4Net::default(), router));
    }

    let on_link: Vec<Ipv4Net> = wanted
        .iter()
        .filter(|(destination, gateway)| *gateway == ON_LINK && destination.prefix_len() > 0)
        .map(|(destination, _)| *destination)
        .chain([subnet])
        .collect();
    let mut all: Vec<(Ipv4Net, Ipv4Addr)> = Vec::with_capacity(wanted.len() + 1);
    for (_, gateway) in &wanted {
        let reachable = *gateway == ON_LINK || on_link.iter().any(|net| net.contains(gateway));
        let hop = (Ipv4Net::from(*gateway), ON_LINK);
        if !reachable && !all.contains(&hop) {
            all.push(hop);
        }
    }
    all.append(&mut wanted);
    all
}

/// The option's value: prefix length, the prefix's significant bytes, gateway, for each.
pub(super) fn encode(routes: &[(Ipv4Net, Ipv4Addr)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (destination, gateway) in routes {
        let significant = usize::from(destination.prefix_len().div_ceil(8));
        bytes.push(destination.prefix_len());
        bytes.extend(destination.network().octets().iter().take(significant));
        bytes.extend(gateway.octets());
    }
    bytes
}
