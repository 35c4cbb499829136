//! Frames for tests that speak for a VM themselves.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use dhcproto::{Encodable, v4, v6};
use nfdhcpd_binding::MacAddr;
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::util::{ipv4_checksum, ipv6_checksum};

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Where the UDP header of a frame of [`udp4`] begins.
pub const UDP_IN_IPV4: u16 = 34;
/// Where in a UDP header the checksum is.
pub const UDP_CHECKSUM: u16 = 6;

/// The multicast address of all nodes.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The multicast address of all routers.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The multicast address of DHCPv6 servers.
pub const ALL_DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// The link-local address formed from a hardware address.
#[must_use]
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    let mut address = [0; 16];
    address[..2].copy_from_slice(&[0xfe, 0x80]);
    address[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    address.into()
}

/// The hardware address of an IPv6 multicast group (RFC 2464 §7).
#[must_use]
pub fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// Two stations or groups, and their ports where the protocol has some.
#[derive(Debug, Clone, Copy)]
pub struct Between<A> {
    /// The sender's hardware address.
    pub from_mac: MacAddr,
    /// The receiver's hardware address.
    pub to_mac: MacAddr,
    /// The sender's address.
    pub from: A,
    /// The receiver's address.
    pub to: A,
}

fn ethernet(from: MacAddr, to: MacAddr, kind: u16, payload: &[u8]) -> Vec<u8> {
    [
        &to.octets()[..],
        &from.octets(),
        &kind.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// A UDP datagram over IPv4 with all checksums.
///
/// # Errors
/// When the payload is too long for a datagram.
pub fn udp4(between: Between<Ipv4Addr>, ports: (u16, u16), payload: &[u8]) -> Result<Vec<u8>> {
    let mut udp = udp_header(ports, payload)?;
    let (from, to) = (between.from, between.to);
    let sum = ipv4_checksum(&udp, 3, &[], &from, &to, IpNextHeaderProtocols::Udp);
    put(&mut udp, 6, nonzero(sum))?;
    let length = u16::try_from(20 + udp.len())?.to_be_bytes();
    let mut ip = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0];
    ip.extend(from.octets());
    ip.extend(to.octets());
    let sum = pnet_packet::util::checksum(&ip, 5);
    put(&mut ip, 10, sum)?;
    ip.extend(udp);
    Ok(ethernet(between.from_mac, between.to_mac, 0x0800, &ip))
}

/// A UDP datagram over IPv6 with its checksum.
///
/// # Errors
/// When the payload is too long for a datagram.
pub fn udp6(between: Between<Ipv6Addr>, ports: (u16, u16), payload: &[u8]) -> Result<Vec<u8>> {
    let mut udp = udp_header(ports, payload)?;
    let (from, to) = (between.from, between.to);
    let sum = ipv6_checksum(&udp, 3, &[], &from, &to, IpNextHeaderProtocols::Udp);
    put(&mut udp, 6, nonzero(sum))?;
    ipv6(between, 17, 64, &udp)
}

/// An ICMPv6 message (type, code, two bytes of checksum, body) with its checksum filled in and hop limit 255.
///
/// # Errors
/// When the message is too long.
pub fn icmp6(between: Between<Ipv6Addr>, mut message: Vec<u8>) -> Result<Vec<u8>> {
    let (from, to) = (between.from, between.to);
    let sum = ipv6_checksum(&message, 1, &[], &from, &to, IpNextHeaderProtocols::Icmpv6);
    put(&mut message, 2, sum)?;
    ipv6(between, 58, 255, &message)
}

fn ipv6(between: Between<Ipv6Addr>, next: u8, hops: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(payload.len())?.to_be_bytes();
    let mut ip = vec![0x60, 0, 0, 0, length[0], length[1], next, hops];
    ip.extend(between.from.octets());
    ip.extend(between.to.octets());
    ip.extend(payload);
    Ok(ethernet(between.from_mac, between.to_mac, 0x86dd, &ip))
}

fn udp_header(ports: (u16, u16), payload: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(8 + payload.len())?;
    let mut udp = Vec::new();
    for field in [ports.0, ports.1, length, 0] {
        udp.extend(field.to_be_bytes());
    }
    udp.extend(payload);
    Ok(udp)
}

fn put(bytes: &mut [u8], at: usize, value: u16) -> Result<()> {
    let place = bytes
        .get_mut(at..at + 2)
        .context("too short for its checksum")?;
    place.copy_from_slice(&value.to_be_bytes());
    Ok(())
}

/// A sum of 0 is sent as its other form (RFC 768).
fn nonzero(sum: u16) -> u16 {
    if sum == 0 { 0xffff } else { sum }
}

/// A DHCPv4 message of a client that has no address yet, broadcast.
///
/// # Errors
/// When a value is too long for its option.
pub fn dhcpv4(mac: MacAddr, xid: u32, options: Vec<v4::DhcpOption>) -> Result<Vec<u8>> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = v4::Message::new_with_id(xid, none, none, none, none, &mac.octets());
    for option in options {
        message.opts_mut().insert(option);
    }
    let between = Between {
        from_mac: mac,
        to_mac: MacAddr::BROADCAST,
        from: none,
        to: Ipv4Addr::BROADCAST,
    };
    udp4(between, (68, 67), &message.to_vec()?)
}

/// A DHCPDISCOVER.
///
/// # Errors
/// Never, in practice: nothing in it varies in length.
pub fn discover(mac: MacAddr, xid: u32) -> Result<Vec<u8>> {
    dhcpv4(
        mac,
        xid,
        vec![v4::DhcpOption::MessageType(v4::MessageType::Discover)],
    )
}

/// A DHCPv6 message to all servers, from the link-local address.
///
/// # Errors
/// When a value is too long for its option.
pub fn dhcpv6(
    mac: MacAddr,
    kind: v6::MessageType,
    options: Vec<v6::DhcpOption>,
) -> Result<Vec<u8>> {
    let mut message = v6::Message::new_with_id(kind, [1, 2, 3]);
    for option in options {
        message.opts_mut().insert(option);
    }
    udp6(
        to_group(mac, ALL_DHCP_SERVERS),
        (546, 547),
        &message.to_vec()?,
    )
}

/// A router solicitation from the link-local address.
///
/// # Errors
/// Never, in practice.
pub fn router_solicitation(mac: MacAddr) -> Result<Vec<u8>> {
    let mut message = vec![133, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    message.extend(mac.octets());
    icmp6(to_group(mac, ALL_ROUTERS), message)
}

/// A router advertisement to all nodes, with nothing but the router's lifetime in seconds.
///
/// # Errors
/// Never, in practice.
pub fn router_advertisement(mac: MacAddr, lifetime: u16) -> Result<Vec<u8>> {
    let [high, low] = lifetime.to_be_bytes();
    let mut message = vec![134, 0, 0, 0, 64, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    message.extend(mac.octets());
    icmp6(to_group(mac, ALL_NODES), message)
}

/// A neighbour solicitation for `target`, to its solicited-node group.
///
/// # Errors
/// Never, in practice.
pub fn neighbor_solicitation(mac: MacAddr, target: Ipv6Addr) -> Result<Vec<u8>> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(mac.octets());
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    );
    icmp6(to_group(mac, group), message)
}

fn to_group(mac: MacAddr, group: Ipv6Addr) -> Between<Ipv6Addr> {
    Between {
        from_mac: mac,
        to_mac: group_mac(group),
        from: link_local(mac),
        to: group,
    }
}
