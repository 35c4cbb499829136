//! The frames of the benchmark's VMs: who each VM is, Ethernet, IP and UDP around its messages, checksums.

pub(crate) mod dhcpv4;
pub(crate) mod dhcpv6;
pub(crate) mod ndp;

use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of `struct virtio_net_hdr` in front of every frame of a TAP opened with IFF_VNET_HDR.
pub(crate) const VNET_HEADER: usize = 10;
/// Ethernet header.
pub(crate) const ETHERNET: usize = 14;
/// IPv4 header without options.
pub(crate) const IPV4: usize = 20;
/// IPv6 header.
pub(crate) const IPV6: usize = 40;
/// UDP header.
pub(crate) const UDP: usize = 8;

/// The router of the benchmark's network.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The IPv4 network.
pub(crate) const SUBNET: &str = "10.77.0.0/16";
/// The IPv6 router's address.
pub(crate) const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);
/// The IPv6 network's first address.
pub(crate) const PREFIX6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 0);
/// The IPv6 router's hardware address.
pub(crate) const GATEWAY6_MAC: [u8; 6] = [0x02, 0, 0, 0x77, 0, 1];

/// One VM, known by the number of its TAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vm(pub(crate) u32);

impl Vm {
    /// `52:54:00` and the number.
    pub(crate) fn mac(self) -> [u8; 6] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [0x52, 0x54, 0, a, b, c]
    }

    /// The VM whose hardware address this is.
    pub(crate) fn of_mac(mac: [u8; 6]) -> Self {
        let [_, _, _, a, b, c] = mac;
        Self(u32::from_be_bytes([0, a, b, c]))
    }

    /// The address its binding gives it.
    pub(crate) fn ip(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(GATEWAY) + 255 + (self.0 / 250) * 256 + self.0 % 250 + 1)
    }

    /// The address its binding gives it by DHCPv6.
    pub(crate) fn ip6(self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(PREFIX6) + (1 << 48) + u128::from(self.0))
    }

    /// Formed from the hardware address (RFC 4291 appendix A).
    pub(crate) fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac();
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
}

/// Sum of 16-bit words, not folded (RFC 1071).
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    let mut total = 0u64;
    for word in words.by_ref() {
        if let Ok(word) = <[u8; 4]>::try_from(word) {
            let word = u64::from(u32::from_be_bytes(word));
            total += (word >> 16) + (word & 0xffff);
        }
    }
    for (place, byte) in words.remainder().iter().enumerate() {
        total += u64::from(*byte) << if place % 2 == 0 { 8 } else { 0 };
    }
    total
}

/// The checksum of a sum.
pub(crate) fn fold(mut total: u64) -> u16 {
    while total >> 16 != 0 {
        total = (total >> 16) + (total & 0xffff);
    }
    !u16::try_from(total).unwrap_or(u16::MAX)
}

/// A UDP checksum of 0 is sent as all ones: 0 would say that there is none (RFC 768, RFC 8200 §8.1).
const fn transmitted(checksum: u16) -> u16 {
    if checksum == 0 { u16::MAX } else { checksum }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = out.get_mut(at..at + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}

/// Writes a number's low 16 bits.
pub(crate) fn put16(out: &mut [u8], at: usize, value: usize) {
    let [.., high, low] = value.to_be_bytes();
    put(out, at, &[high, low]);
}

/// Starts a frame: an empty virtio header, Ethernet.
pub(crate) fn ethernet(out: &mut Vec<u8>, to: [u8; 6], from: [u8; 6], ethertype: u16) {
    out.clear();
    out.extend_from_slice(&[0; VNET_HEADER]);
    out.extend_from_slice(&to);
    out.extend_from_slice(&from);
    out.extend_from_slice(&ethertype.to_be_bytes());
}

/// IPv4 and UDP headers; lengths and checksums come with `finish_udp4`.
pub(crate) fn udp4(out: &mut Vec<u8>, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) {
    out.extend_from_slice(&[0x45, 0x10, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
    out.extend_from_slice(&from.0.octets());
    out.extend_from_slice(&to.0.octets());
    out.extend_from_slice(&from.1.to_be_bytes());
    out.extend_from_slice(&to.1.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// Fills in what depends on the length and the bytes.
pub(crate) fn finish_udp4(out: &mut [u8]) {
    let ip = VNET_HEADER + ETHERNET;
    let udp = ip + IPV4;
    let (total, datagram) = (out.len() - ip, out.len() - udp);
    put16(out, ip + 2, total);
    let header = fold(sum(out.get(ip..udp).unwrap_or_default()));
    put(out, ip + 10, &header.to_be_bytes());
    put16(out, udp + 4, datagram);
    let pseudo = sum(out.get(ip + 12..udp).unwrap_or_default()) + 17 + datagram as u64;
    let checksum = fold(pseudo + sum(out.get(udp..).unwrap_or_default()));
    put(out, udp + 6, &transmitted(checksum).to_be_bytes());
}

/// IPv6 header.
pub(crate) fn ipv6(out: &mut Vec<u8>, from: Ipv6Addr, to: Ipv6Addr, next: u8, hops: u8) {
    out.extend_from_slice(&[0x60, 0, 0, 0, 0, 0, next, hops]);
    out.extend_from_slice(&from.octets());
    out.extend_from_slice(&to.octets());
}

/// UDP header, on IPv6.
pub(crate) fn udp6(out: &mut Vec<u8>, from: u16, to: u16) {
    out.extend_from_slice(&from.to_be_bytes());
    out.extend_from_slice(&to.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// Fills in what depends on the length and the bytes; `next` is 17 (UDP) or 58 (ICMPv6).
pub(crate) fn finish6(out: &mut [u8], next: u8) {
    let ip = VNET_HEADER + ETHERNET;
    let upper = ip + IPV6;
    let length = out.len() - upper;
    put16(out, ip + 4, length);
    if next == 17 {
        put16(out, upper + 4, length);
    }
    let pseudo = sum(out.get(ip + 8..upper).unwrap_or_default()) + length as u64;
    let checksum = fold(pseudo + u64::from(next) + sum(out.get(upper..).unwrap_or_default()));
    if next == 17 {
        put(out, upper + 6, &transmitted(checksum).to_be_bytes());
    } else {
        put(out, upper + 2, &checksum.to_be_bytes());
    }
}

/// `33:33` and the last four bytes of a group (RFC 2464 §7).
pub(crate) fn group_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// The bytes at a place, when they are there.
pub(crate) fn at<const N: usize>(bytes: &[u8], place: usize) -> Option<[u8; N]> {
    bytes.get(place..place + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vm_has_addresses_of_its_own_inside_the_networks() {
        let mut seen = std::collections::HashSet::new();
        for number in 0..10_000 {
            let vm = Vm(number);
            assert_eq!(Vm::of_mac(vm.mac()), vm);
            let [a, b, _, last] = vm.ip().octets();
            assert_eq!([a, b], [10, 77]);
            assert!((1..=250).contains(&last));
            assert_eq!(vm.ip6().segments()[..4], PREFIX6.segments()[..4]);
            assert!(seen.insert((vm.ip(), vm.ip6(), vm.link_local())));
        }
        assert_eq!(Vm(0).ip(), Ipv4Addr::new(10, 77, 1, 1));
        assert_eq!(Vm(999).ip(), Ipv4Addr::new(10, 77, 4, 250));
        assert_eq!(Vm(1).link_local().to_string(), "fe80::5054:ff:fe00:1");
    }

    #[test]
    fn a_message_with_its_checksum_sums_to_nothing() {
        let mut out = Vec::new();
        dhcpv4::discover(Vm(7), 0x1234_5678, &mut out);
        let frame = &out[VNET_HEADER + ETHERNET..];
        assert_eq!(fold(sum(&frame[..IPV4])), 0);
        let udp = &frame[IPV4..];
        assert_eq!(
            fold(sum(&frame[12..IPV4]) + 17 + udp.len() as u64 + sum(udp)),
            0
        );
        // Among so many one sums to 0 by itself.
        for xid in 0..1 << 17 {
            dhcpv6::information_request(Vm(7), xid, &mut out);
            let udp = &out[VNET_HEADER + ETHERNET + IPV6..];
            assert_ne!(udp[6..8], [0, 0], "{xid:x}");
        }
        ndp::neighbor_solicitation(Vm(7), &mut out);
        let frame = &out[VNET_HEADER + ETHERNET..];
        let upper = &frame[IPV6..];
        assert_eq!(
            fold(sum(&frame[8..IPV6]) + 58 + upper.len() as u64 + sum(upper)),
            0
        );
    }
}
