//! DHCPv4 as a VM speaks it (RFC 2131): DISCOVER and REQUEST out, OFFER, ACK and NAK in.

use std::net::Ipv4Addr;

use super::{ETHERNET, GATEWAY, IPV4, UDP, VNET_HEADER, Vm, at, ethernet, finish_udp4, udp4};

/// Where the BOOTP message starts in a frame, the virtio header not counted.
pub(crate) const BOOTP: usize = ETHERNET + IPV4 + UDP;
/// The fixed part of the message and the magic cookie.
const FIXED: usize = 240;
/// Shortest message (RFC 1542 §2.1).
const SHORTEST: usize = 300;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];

/// What a VM hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Option 53.
    pub(crate) kind: u8,
    pub(crate) xid: u32,
    /// yiaddr.
    pub(crate) address: Ipv4Addr,
    /// Option 54.
    pub(crate) server: Ipv4Addr,
}

/// DHCPOFFER.
pub(crate) const OFFER: u8 = 2;
/// DHCPACK.
pub(crate) const ACK: u8 = 5;
/// DHCPNAK.
pub(crate) const NAK: u8 = 6;

/// DHCPDISCOVER, 342 bytes of Ethernet.
pub(crate) fn discover(vm: Vm, xid: u32, out: &mut Vec<u8>) {
    message(vm, xid, 1, None, out);
}

/// DHCPREQUEST in state SELECTING.
pub(crate) fn request(vm: Vm, xid: u32, server: Ipv4Addr, out: &mut Vec<u8>) {
    message(vm, xid, 3, Some(server), out);
}

fn message(vm: Vm, xid: u32, kind: u8, server: Option<Ipv4Addr>, out: &mut Vec<u8>) {
    ethernet(out, [0xff; 6], vm.mac(), 0x0800);
    udp4(out, (Ipv4Addr::UNSPECIFIED, 68), (Ipv4Addr::BROADCAST, 67));
    out.extend_from_slice(&[1, 1, 6, 0]);
    out.extend_from_slice(&xid.to_be_bytes());
    out.extend_from_slice(&[0; 20]);
    out.extend_from_slice(&vm.mac());
    out.resize(out.len() + 202, 0);
    out.extend_from_slice(&COOKIE);
    out.extend_from_slice(&[53, 1, kind]);
    if let Some(server) = server {
        out.extend_from_slice(&[54, 4]);
        out.extend_from_slice(&server.octets());
        out.extend_from_slice(&[50, 4]);
        out.extend_from_slice(&vm.ip().octets());
    }
    // What dhclient asks for.
    out.extend_from_slice(&[
        55, 13, 1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42, 255,
    ]);
    out.resize(VNET_HEADER + BOOTP + SHORTEST, 0);
    finish_udp4(out);
}

/// Reads an answer; `frame` starts at Ethernet. `None` when it is none to this VM.
pub(crate) fn read(vm: Vm, frame: &[u8]) -> Option<Heard> {
    if at(frame, 12)? != [0x08, 0x00] || frame.get(ETHERNET + 9)? != &17 {
        return None;
    }
    if at(frame, ETHERNET + IPV4 + 2)? != 68u16.to_be_bytes() {
        return None;
    }
    let bootp = frame.get(BOOTP..)?;
    if bootp.first()? != &2 || at(bootp, 28)? != vm.mac() || at(bootp, 236)? != COOKIE {
        return None;
    }
    let mut heard = Heard {
        kind: 0,
        xid: u32::from_be_bytes(at(bootp, 4)?),
        address: Ipv4Addr::from(at::<4>(bootp, 16)?),
        server: Ipv4Addr::UNSPECIFIED,
    };
    let mut options = bootp.get(FIXED..)?;
    while let [code, rest @ ..] = options {
        if *code == 255 {
            break;
        }
        if *code == 0 {
            options = rest;
            continue;
        }
        let (length, rest) = rest.split_first()?;
        let value = rest.get(..usize::from(*length))?;
        match code {
            53 => heard.kind = *value.first()?,
            54 => heard.server = Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?),
            _ => {}
        }
        options = rest.get(usize::from(*length)..)?;
    }
    Some(heard)
}

/// An OFFER with the options any server sends: the floor's canned answer. No UDP checksum (RFC 768 allows it), so that
/// only the message type, xid, yiaddr and chaddr differ from one answer to the next.
pub(crate) fn canned_offer(out: &mut Vec<u8>) {
    let vm = Vm(0);
    ethernet(out, vm.mac(), super::GATEWAY6_MAC, 0x0800);
    udp4(out, (GATEWAY, 67), (Ipv4Addr::BROADCAST, 68));
    out.extend_from_slice(&[2, 1, 6, 0]);
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(&vm.mac());
    out.resize(out.len() + 202, 0);
    out.extend_from_slice(&COOKIE);
    out.extend_from_slice(&[53, 1, OFFER, 54, 4]);
    out.extend_from_slice(&GATEWAY.octets());
    out.extend_from_slice(&[51, 4, 0, 0, 0x0e, 0x10, 1, 4, 255, 255, 0, 0, 3, 4]);
    out.extend_from_slice(&GATEWAY.octets());
    out.extend_from_slice(&[6, 4]);
    out.extend_from_slice(&GATEWAY.octets());
    out.push(255);
    out.resize(VNET_HEADER + BOOTP + SHORTEST, 0);
    finish_udp4(out);
    super::put16(out, VNET_HEADER + ETHERNET + IPV4 + 6, 0);
}

/// Where option 53's value stands in the canned answer, from Ethernet on.
pub(crate) const CANNED_KIND: usize = BOOTP + FIXED + 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canned_offer_is_read_as_an_offer() {
        let mut frame = Vec::new();
        canned_offer(&mut frame);
        frame.drain(..VNET_HEADER);
        assert_eq!(frame.len(), 342);
        let heard = read(Vm(0), &frame);
        let offer = Heard {
            kind: OFFER,
            xid: 0,
            address: [0, 0, 0, 0].into(),
            server: GATEWAY,
        };
        assert_eq!(heard, Some(offer));
        frame[CANNED_KIND] = ACK;
        assert_eq!(read(Vm(0), &frame).map(|heard| heard.kind), Some(ACK));
        assert_eq!(read(Vm(1), &frame), None, "another VM's");
    }

    #[test]
    fn a_discover_is_as_long_as_any() {
        let mut frame = Vec::new();
        discover(Vm(3), 1, &mut frame);
        assert_eq!(frame.len(), VNET_HEADER + 342);
        request(Vm(3), 1, GATEWAY, &mut frame);
        assert_eq!(frame.len(), VNET_HEADER + 342);
    }
}
