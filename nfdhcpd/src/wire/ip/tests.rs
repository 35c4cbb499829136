//! Headers written are headers read; what is not sound is refused. The oracle is `pnet_packet`.

use pnet_packet::Packet;
use pnet_packet::icmpv6::{self, Icmpv6Packet};
use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::ipv6::Ipv6Packet as OracleIpv6Packet;
use pnet_packet::udp::{self, UdpPacket};
use proptest::prelude::*;

use super::*;

const VM: MacAddr = MacAddr([0xaa, 0, 0, 1, 2, 3]);
const ROUTER: MacAddr = MacAddr([0xfe, 0, 0, 9, 9, 9]);
const LINK: Link = Link {
    source: ROUTER,
    destination: VM,
};
const A4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);
const A6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0xffff, 0, 0, 0x1234);

fn udp4(payload: &[u8]) -> Frame {
    let mut frame = Frame::new();
    assert!(begin_udp4(&mut frame, LINK, (A4, 67), (B4, 68)));
    assert!(frame.push(payload));
    assert!(finish(&mut frame));
    frame
}

fn udp6(payload: &[u8]) -> Frame {
    let mut frame = Frame::new();
    assert!(begin_udp6(&mut frame, LINK, (A6, 547), (B6, 546)));
    assert!(frame.push(payload));
    assert!(finish(&mut frame));
    frame
}

fn packet(frame: &Frame) -> Vec<u8> {
    frame.as_slice()[ETHERNET_HEADER..].to_vec()
}

/// Sets the IPv4 header's checksum anew after a change.
fn mend(bytes: &mut [u8]) {
    bytes[10..12].fill(0);
    let checksum = !fold(sum(&bytes[..20]));
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// RFC 1071 §3, the example.
#[test]
fn sum_is_that_of_the_rfc() {
    assert_eq!(
        fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])),
        0xddf2
    );
    assert_eq!(fold(sum(&[0x12])), 0x1200);
}

#[test]
fn ethernet_header_is_destination_source_type() {
    let frame = udp4(b"x");
    assert_eq!(frame.as_slice()[..6], VM.octets());
    assert_eq!(frame.as_slice()[6..12], ROUTER.octets());
    assert_eq!(frame.as_slice()[12..14], [0x08, 0x00]);
    assert_eq!(udp6(b"x").as_slice()[12..14], [0x86, 0xdd]);
}

#[test]
fn multicast_addresses_map_to_their_macs() {
    let target: Ipv6Addr = "2001:db8::1234:5678".parse().unwrap();
    let group = solicited_node(target);
    assert_eq!(group, "ff02::1:ff34:5678".parse::<Ipv6Addr>().unwrap());
    assert_eq!(multicast_mac(group).to_string(), "33:33:ff:34:56:78");
}

#[test]
fn fragments_are_refused() {
    for (high, low) in [(0x20, 0), (0, 1), (0x1f, 0xff)] {
        let mut bytes = packet(&udp4(b"abcd"));
        bytes[6] = high;
        bytes[7] = low;
        mend(&mut bytes);
        assert_eq!(Udp4::read(&bytes, true), Err(Malformed::Fragment));
    }
    let mut bytes = packet(&udp6(b"abcd"));
    bytes.splice(40..40, [17, 0, 0, 0, 0, 0, 0, 1]);
    bytes[5] += 8;
    bytes[6] = 44;
    assert_eq!(Ipv6Packet::read(&bytes), Err(Malformed::Fragment));
}

#[test]
fn extension_headers_are_walked_but_not_without_end() {
    let plain = packet(&udp6(b"abcd"));
    let with = |count: usize| {
        let mut bytes = plain.clone();
        for index in 0..count {
            let next = if index == 0 { UDP } else { DESTINATION_OPTIONS };
            bytes.splice(40..40, [next, 0, 1, 4, 0, 0, 0, 0]);
            bytes[5] += 8;
            bytes[6] = DESTINATION_OPTIONS;
        }
        bytes
    };
    for count in 0..=EXTENSION_HEADERS_MAX {
        let bytes = with(count);
        let udp = Ipv6Packet::read(&bytes).unwrap().udp(true).unwrap();
        assert_eq!(udp.payload, b"abcd", "{count} headers");
    }
    let bytes = with(EXTENSION_HEADERS_MAX + 1);
    assert_eq!(
        Ipv6Packet::read(&bytes).unwrap().udp(true),
        Err(Malformed::Protocol)
    );
}

#[test]
fn an_extension_header_longer_than_the_packet_is_refused() {
    let mut bytes = packet(&udp6(b"abcd"));
    bytes[6] = HOP_BY_HOP;
    bytes[41] = 0xff;
    assert_eq!(Ipv6Packet::read(&bytes), Err(Malformed::Truncated));
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    let good = packet(&udp4(b"abcd"));
    let refusal = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        mend(&mut bytes);
        Udp4::read(&bytes, false).unwrap_err()
    };
    assert_eq!(refusal(0, 0x44), Malformed::Length, "header of 16 bytes");
    assert_eq!(refusal(0, 0x65), Malformed::Version);
    assert_eq!(refusal(3, 19), Malformed::Length, "shorter than its header");
    assert_eq!(
        refusal(3, 33),
        Malformed::Truncated,
        "longer than the bytes"
    );
    assert_eq!(refusal(9, 6), Malformed::Protocol);
    assert_eq!(
        refusal(25, 7),
        Malformed::Length,
        "datagram shorter than its header"
    );
    assert_eq!(
        refusal(25, 13),
        Malformed::Truncated,
        "datagram longer than the packet"
    );
}

#[test]
fn padding_behind_the_packet_is_not_payload() {
    let mut bytes = packet(&udp4(b"abcd"));
    bytes.extend([0xee; 30]);
    assert_eq!(Udp4::read(&bytes, true).unwrap().payload, b"abcd");
    let mut bytes = packet(&udp6(b"abcd"));
    bytes.extend([0xee; 30]);
    assert_eq!(
        Ipv6Packet::read(&bytes).unwrap().udp(true).unwrap().payload,
        b"abcd"
    );
}

/// A virtio guest leaves the checksum to its host: only the pseudo header's sum is there.
#[test]
fn partial_checksums_are_read_when_not_to_be_verified() {
    let mut bytes = packet(&udp4(b"abcd"));
    bytes[26..28].copy_from_slice(&fold(pseudo4(A4, B4, 12)).to_be_bytes());
    assert_eq!(Udp4::read(&bytes, true), Err(Malformed::Checksum));
    assert_eq!(Udp4::read(&bytes, false).unwrap().payload, b"abcd");
}

#[test]
fn a_datagram_without_checksum_is_sound_on_ipv4_only() {
    let mut bytes = packet(&udp4(b"abcd"));
    bytes[26..28].fill(0);
    assert!(Udp4::read(&bytes, true).is_ok());
    let mut bytes = packet(&udp6(b"abcd"));
    bytes[46..48].fill(0);
    assert_eq!(
        Ipv6Packet::read(&bytes).unwrap().udp(true),
        Err(Malformed::Checksum)
    );
}

/// RFC 768: a checksum that comes out as 0 is sent as ones, for 0 says that there is none.
#[test]
fn a_checksum_is_never_sent_as_zero() {
    for build in [udp4, udp6] {
        let frame = build(&[0, 0]);
        let at = frame.as_slice().len() - 4;
        // The sum's complement as payload makes the sum 0xffff.
        let payload = [frame.as_slice()[at], frame.as_slice()[at + 1]];
        let frame = build(&payload);
        assert_eq!(frame.as_slice()[at..at + 2], [0xff, 0xff]);
    }
}

#[test]
fn a_wrong_header_checksum_is_refused_always() {
    let mut bytes = packet(&udp4(b"abcd"));
    bytes[8] ^= 1;
    assert_eq!(Udp4::read(&bytes, false), Err(Malformed::Checksum));
}

proptest! {
    #[test]
    fn udp4_is_what_the_oracle_reads(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        let frame = udp4(&payload);
        let bytes = packet(&frame);
        let ip = Ipv4Packet::new(&bytes).unwrap();
        prop_assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
        prop_assert_eq!(usize::from(ip.get_total_length()), bytes.len());
        let datagram = UdpPacket::new(ip.payload()).unwrap();
        let oracle = udp::ipv4_checksum(&datagram, &A4, &B4);
        prop_assert_eq!(datagram.get_checksum(), if oracle == 0 { 0xffff } else { oracle });
        let read = Udp4::read(&bytes, true).unwrap();
        let wanted = Udp4 {
            source: A4,
            destination: B4,
            source_port: 67,
            destination_port: 68,
            payload: &payload,
        };
        prop_assert_eq!(read, wanted);
    }

    #[test]
    fn udp6_is_what_the_oracle_reads(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        let frame = udp6(&payload);
        let bytes = packet(&frame);
        let ip = OracleIpv6Packet::new(&bytes).unwrap();
        let datagram = UdpPacket::new(ip.payload()).unwrap();
        let oracle = udp::ipv6_checksum(&datagram, &A6, &B6);
        prop_assert_eq!(datagram.get_checksum(), if oracle == 0 { 0xffff } else { oracle });
        let read = Ipv6Packet::read(&bytes).unwrap();
        prop_assert_eq!((read.source, read.destination), (A6, B6));
        prop_assert_eq!(read.udp(true).unwrap().payload, payload);
        prop_assert_eq!(read.icmpv6(true), Err(Malformed::Protocol));
    }

    #[test]
    fn icmpv6_is_what_the_oracle_reads(body in prop::collection::vec(any::<u8>(), 4..300)) {
        let mut frame = Frame::new();
        prop_assert!(begin_icmpv6(&mut frame, LINK, A6, B6, 134));
        prop_assert!(frame.push(&body));
        prop_assert!(finish(&mut frame));
        let bytes = packet(&frame);
        let ip = OracleIpv6Packet::new(&bytes).unwrap();
        prop_assert_eq!(ip.get_hop_limit(), 255);
        let message = Icmpv6Packet::new(ip.payload()).unwrap();
        prop_assert_eq!(message.get_checksum(), icmpv6::checksum(&message, &A6, &B6));
        let read = Ipv6Packet::read(&bytes).unwrap().icmpv6(true).unwrap();
        prop_assert_eq!(read, Icmpv6 { kind: 134, code: 0, body: &body });
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Udp4::read(&bytes, true);
        let _ = Udp4::read(&bytes, false);
        if let Ok(packet) = Ipv6Packet::read(&bytes) {
            let _ = packet.udp(true);
            let _ = packet.icmpv6(false);
        }
    }

    /// Damage in a sound packet: most of what a fuzzer reaches by chance only.
    #[test]
    fn damaged_packets_are_read_or_refused(at in 0usize..60, value: u8, keep in 0usize..80) {
        for mut bytes in [packet(&udp4(&[7; 24])), packet(&udp6(&[7; 24]))] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(keep);
            let _ = Udp4::read(&bytes, true);
            let _ = Ipv6Packet::read(&bytes).map(|packet| packet.udp(false));
        }
    }
}
