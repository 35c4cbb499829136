//! Neighbour discovery as a VM speaks it (RFC 4861): router and neighbour solicitations out, advertisements in.

use std::net::Ipv6Addr;

use super::{
    ETHERNET, GATEWAY6, GATEWAY6_MAC, IPV6, PREFIX6, Vm, at, ethernet, finish6, group_mac, ipv6,
};

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ICMP: usize = ETHERNET + IPV6;

/// Router solicitation with the source's link-layer address.
pub(crate) fn router_solicitation(vm: Vm, out: &mut Vec<u8>) {
    ethernet(out, group_mac(ALL_ROUTERS), vm.mac(), 0x86dd);
    ipv6(out, vm.link_local(), ALL_ROUTERS, 58, 255);
    out.extend_from_slice(&[133, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    out.extend_from_slice(&vm.mac());
    finish6(out, 58);
}

/// Neighbour solicitation for the network's router.
pub(crate) fn neighbor_solicitation(vm: Vm, out: &mut Vec<u8>) {
    let [.., a, b, c] = GATEWAY6.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    ethernet(out, group_mac(group), vm.mac(), 0x86dd);
    ipv6(out, vm.link_local(), group, 58, 255);
    out.extend_from_slice(&[135, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&GATEWAY6.octets());
    out.extend_from_slice(&[1, 1]);
    out.extend_from_slice(&vm.mac());
    finish6(out, 58);
}

/// The prefix of a router advertisement's first prefix information option; `frame` starts at Ethernet.
pub(crate) fn read_router(frame: &[u8]) -> Option<Ipv6Addr> {
    let message = icmp(frame, 134)?;
    let mut options = message.get(16..)?;
    while let [code, length, ..] = options {
        if *code == 3 {
            return at::<16>(options, 16).map(Ipv6Addr::from);
        }
        options = options.get(8 * usize::from((*length).max(1))..)?;
    }
    None
}

/// The target of a neighbour advertisement.
pub(crate) fn read_neighbor(frame: &[u8]) -> Option<Ipv6Addr> {
    at::<16>(icmp(frame, 136)?, 8).map(Ipv6Addr::from)
}

fn icmp(frame: &[u8], kind: u8) -> Option<&[u8]> {
    if at(frame, 12)? != [0x86, 0xdd] || frame.get(ETHERNET + 6)? != &58 {
        return None;
    }
    let message = frame.get(ICMP..)?;
    (message.first()? == &kind).then_some(message)
}

/// The router's link-local address, from its hardware address.
pub(crate) fn router_link_local() -> Ipv6Addr {
    let [a, b, c, d, e, f] = GATEWAY6_MAC;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

/// A router advertisement with prefix, MTU, name server and the router's link-layer address; the floor's canned answer.
pub(crate) fn canned_router(out: &mut Vec<u8>) {
    ethernet(out, Vm(0).mac(), GATEWAY6_MAC, 0x86dd);
    ipv6(out, router_link_local(), Vm(0).link_local(), 58, 255);
    out.extend_from_slice(&[134, 0, 0, 0, 64, 0xc0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&[1, 1]);
    out.extend_from_slice(&GATEWAY6_MAC);
    out.extend_from_slice(&[5, 1, 0, 0, 0, 0, 0x05, 0xdc]);
    out.extend_from_slice(&[3, 4, 64, 0x80, 0, 0, 28, 32, 0, 0, 14, 16, 0, 0, 0, 0]);
    out.extend_from_slice(&PREFIX6.octets());
    out.extend_from_slice(&[25, 3, 0, 0, 0, 0, 7, 8]);
    out.extend_from_slice(&GATEWAY6.octets());
    finish6(out, 58);
}

/// A neighbour advertisement for the router; the floor's canned answer.
pub(crate) fn canned_neighbor(out: &mut Vec<u8>) {
    ethernet(out, Vm(0).mac(), GATEWAY6_MAC, 0x86dd);
    ipv6(out, router_link_local(), Vm(0).link_local(), 58, 255);
    out.extend_from_slice(&[136, 0, 0, 0, 0xc0, 0, 0, 0]);
    out.extend_from_slice(&GATEWAY6.octets());
    out.extend_from_slice(&[2, 1]);
    out.extend_from_slice(&GATEWAY6_MAC);
    finish6(out, 58);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::frames::VNET_HEADER;

    #[test]
    fn the_canned_advertisements_are_read_as_such() {
        let mut frame = Vec::new();
        canned_router(&mut frame);
        assert_eq!(read_router(&frame[VNET_HEADER..]), Some(PREFIX6));
        assert_eq!(read_neighbor(&frame[VNET_HEADER..]), None);
        canned_neighbor(&mut frame);
        assert_eq!(read_neighbor(&frame[VNET_HEADER..]), Some(GATEWAY6));
        assert_eq!(read_router(&frame[VNET_HEADER..]), None);
    }
}
