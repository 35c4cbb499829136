//! DHCPv6 as a VM speaks it (RFC 8415): Solicit, Request, Information-request out, Advertise and Reply in.

use std::net::Ipv6Addr;

use super::{ETHERNET, GATEWAY6_MAC, IPV6, UDP, Vm, at, ethernet, finish6, group_mac, ipv6, udp6};

/// All_DHCP_Relay_Agents_and_Servers.
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// Where the message starts in a frame, the virtio header not counted.
const MESSAGE: usize = ETHERNET + IPV6 + UDP;

/// Advertise.
pub(crate) const ADVERTISE: u8 = 2;
/// Reply.
pub(crate) const REPLY: u8 = 7;

/// What a VM hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard<'a> {
    pub(crate) kind: u8,
    /// Transaction identifier, 24 bits.
    pub(crate) xid: u32,
    /// Of the first IA Address option.
    pub(crate) address: Option<Ipv6Addr>,
    /// The server's DUID.
    pub(crate) server: &'a [u8],
}

/// Solicit with one IA_NA.
pub(crate) fn solicit(vm: Vm, xid: u32, out: &mut Vec<u8>) {
    head(vm, xid, 1, out);
    out.extend_from_slice(&[0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    finish6(out, 17);
}

/// Request for the address the binding gives.
pub(crate) fn request(vm: Vm, xid: u32, server: &[u8], out: &mut Vec<u8>) {
    head(vm, xid, 3, out);
    let length = u16::try_from(server.len()).unwrap_or(0);
    out.extend_from_slice(&[0, 2]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(server);
    out.extend_from_slice(&[0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24]);
    out.extend_from_slice(&vm.ip6().octets());
    out.extend_from_slice(&[0; 8]);
    finish6(out, 17);
}

/// Information-request.
pub(crate) fn information_request(vm: Vm, xid: u32, out: &mut Vec<u8>) {
    head(vm, xid, 11, out);
    finish6(out, 17);
}

/// Headers, type, client identifier (DUID-LL), elapsed time, and a request for name servers and search list.
fn head(vm: Vm, xid: u32, kind: u8, out: &mut Vec<u8>) {
    ethernet(out, group_mac(SERVERS), vm.mac(), 0x86dd);
    ipv6(out, vm.link_local(), SERVERS, 17, 1);
    udp6(out, 546, 547);
    let [_, a, b, c] = xid.to_be_bytes();
    out.extend_from_slice(&[kind, a, b, c, 0, 1, 0, 10, 0, 3, 0, 1]);
    out.extend_from_slice(&vm.mac());
    out.extend_from_slice(&[0, 8, 0, 2, 0, 0, 0, 6, 0, 4, 0, 23, 0, 24]);
}

/// Reads an answer; `frame` starts at Ethernet. `None` when it is none to this VM.
pub(crate) fn read(vm: Vm, frame: &[u8]) -> Option<Heard<'_>> {
    if at(frame, 12)? != [0x86, 0xdd] || frame.get(ETHERNET + 6)? != &17 {
        return None;
    }
    if at(frame, ETHERNET + IPV6 + 2)? != 546u16.to_be_bytes() {
        return None;
    }
    let message = frame.get(MESSAGE..)?;
    let [kind, a, b, c] = at(message, 0)?;
    let xid = u32::from_be_bytes([0, a, b, c]);
    let mut heard = Heard {
        kind,
        xid,
        address: None,
        server: &[],
    };
    let mut to_us = false;
    for (code, value) in Options(message.get(4..)?) {
        match code {
            1 => to_us = value.get(4..)? == vm.mac(),
            2 => heard.server = value,
            3 => {
                let inside = Options(value.get(12..)?);
                heard.address = inside
                    .filter(|(code, _)| *code == 5)
                    .find_map(|(_, value)| at::<16>(value, 0).map(Ipv6Addr::from));
            }
            _ => {}
        }
    }
    to_us.then_some(heard)
}

/// Options one after another: code, value.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let code = u16::from_be_bytes(at(self.0, 0)?);
        let length = usize::from(u16::from_be_bytes(at(self.0, 2)?));
        let value = self.0.get(4..4 + length)?;
        self.0 = self.0.get(4 + length..)?;
        Some((code, value))
    }
}

/// Places in the canned answers, from Ethernet on.
pub(crate) mod canned {
    use super::MESSAGE;

    /// Message type, transaction identifier behind it.
    pub(crate) const KIND: usize = MESSAGE;
    /// The hardware address inside the client identifier.
    pub(crate) const CLIENT: usize = MESSAGE + 4 + 8;
    /// The address inside the IA_NA.
    pub(crate) const ADDRESS: usize = MESSAGE + 4 + 14 + 14 + 20 + 16 + 4;
}

/// An Advertise or Reply: client and server identifier, name server and, if asked, an IA_NA. The floor's canned answer;
/// the checksum is filled in again by the floor, after the patches.
pub(crate) fn canned_answer(with_address: bool, out: &mut Vec<u8>) {
    let vm = Vm(0);
    ethernet(out, vm.mac(), GATEWAY6_MAC, 0x86dd);
    ipv6(
        out,
        super::ndp::router_link_local(),
        vm.link_local(),
        17,
        64,
    );
    udp6(out, 547, 546);
    out.extend_from_slice(&[ADVERTISE, 0, 0, 0, 0, 1, 0, 10, 0, 3, 0, 1]);
    out.extend_from_slice(&vm.mac());
    out.extend_from_slice(&[0, 2, 0, 10, 0, 3, 0, 1]);
    out.extend_from_slice(&GATEWAY6_MAC);
    out.extend_from_slice(&[0, 23, 0, 16]);
    out.extend_from_slice(&super::GATEWAY6.octets());
    if with_address {
        out.extend_from_slice(&[0, 3, 0, 40, 0, 0, 0, 1]);
        out.extend_from_slice(&[0, 0, 7, 8, 0, 0, 11, 64, 0, 5, 0, 24]);
        out.extend_from_slice(&vm.ip6().octets());
        out.extend_from_slice(&[0, 0, 14, 16, 0, 0, 28, 32]);
    }
    finish6(out, 17);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::frames::VNET_HEADER;

    #[test]
    fn the_canned_advertise_is_read_as_one() {
        let mut frame = Vec::new();
        canned_answer(true, &mut frame);
        frame.drain(..VNET_HEADER);
        let heard = read(Vm(0), &frame).expect("an answer");
        assert_eq!((heard.kind, heard.address), (ADVERTISE, Some(Vm(0).ip6())));
        assert_eq!(frame[canned::KIND], ADVERTISE);
        assert_eq!(frame[canned::CLIENT..][..6], Vm(0).mac());
        assert_eq!(frame[canned::ADDRESS..][..16], Vm(0).ip6().octets());
        assert_eq!(read(Vm(1), &frame), None, "another VM's");
    }

    #[test]
    fn the_canned_reply_to_an_information_request_has_no_address() {
        let mut frame = Vec::new();
        canned_answer(false, &mut frame);
        frame.drain(..VNET_HEADER);
        assert_eq!(read(Vm(0), &frame).map(|heard| heard.address), Some(None));
    }
}
