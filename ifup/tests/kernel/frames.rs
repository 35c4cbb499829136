//! Frames as VMs and their neighbours send them.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet_packet::arp::{ArpOperation, ArpPacket};
use pnet_packet::ipv4::checksum;
use pnet_packet::{ethernet::EthernetPacket, ipv4::MutableIpv4Packet};

/// Ethernet header and payload.
pub(crate) fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [to, from].concat();
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    // The shortest frame an Ethernet carries.
    frame.resize(frame.len().max(60), 0);
    frame
}

/// An IPv4 packet of protocol 253 (RFC 3692: experiments) with one word of payload.
pub(crate) fn ipv4(from: Ipv4Addr, to: Ipv4Addr, word: u32) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 253, 0, 0];
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend(word.to_be_bytes());
    let mut packet = MutableIpv4Packet::new(&mut bytes).unwrap();
    let sum = checksum(&packet.to_immutable());
    packet.set_checksum(sum);
    bytes
}

/// The same on IPv6.
pub(crate) fn ipv6(from: Ipv6Addr, to: Ipv6Addr, word: u32) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 4, 253, 64];
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend(word.to_be_bytes());
    bytes
}

/// ARP for IPv4 over Ethernet.
pub(crate) fn arp(operation: u16, from: ([u8; 6], Ipv4Addr), to: ([u8; 6], Ipv4Addr)) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4];
    bytes.extend(operation.to_be_bytes());
    bytes.extend(from.0);
    bytes.extend(from.1.octets());
    bytes.extend(to.0);
    bytes.extend(to.1.octets());
    bytes
}

/// Operation, sender and target of an ARP frame.
pub(crate) fn read_arp(frame: &[u8]) -> Option<(u16, Ipv4Addr, Ipv4Addr)> {
    let is_arp = EthernetPacket::new(frame)?.get_ethertype().0 == 0x0806;
    let arp = ArpPacket::new(frame.get(14..)?).filter(|_| is_arp)?;
    let ArpOperation(operation) = arp.get_operation();
    Some((
        operation,
        arp.get_sender_proto_addr(),
        arp.get_target_proto_addr(),
    ))
}

/// Whether the word is in the frame.
pub(crate) fn holds(frame: &[u8], word: u32) -> bool {
    frame.windows(4).any(|bytes| bytes == word.to_be_bytes())
}
