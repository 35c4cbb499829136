//! Ethernet, IP, UDP and ICMPv6 headers: reading those a VM sent, writing those it gets.
//!
//! Reading starts at the IP header (RFC 791, RFC 8200) and yields the payload of one transport header (RFC 768,
//! RFC 4443), cut to the lengths the headers state. Fragments are refused: no client of these protocols sends them, and
//! a fragment shows only part of what it carries (RFC 6980 for neighbour discovery). IPv6 extension headers are walked,
//! at most `EXTENSION_HEADERS_MAX` of them.
//!
//! Writing is `begin_…`, the payload pushed by the caller, then `finish`, which fills in lengths and checksums.

use std::net::{Ipv4Addr, Ipv6Addr};

use nfdhcpd_binding::MacAddr;

use super::Frame;

/// Length of an Ethernet header.
pub const ETHERNET_HEADER: usize = 14;
/// Length of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Length of an IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// Length of a UDP header.
pub const UDP_HEADER: usize = 8;

/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// EtherType of IPv6, as it stands in a frame.
pub const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const EXTENSION_HEADERS_MAX: usize = 8;
/// Time to live of our UDP: it goes to the next host only, but clients behind a bridge of their own exist.
const TTL: u8 = 64;
/// What neighbour discovery demands (RFC 4861 §6.1.2).
const HOP_LIMIT_ND: u8 = 255;

/// Why bytes are not a packet we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// Ends before the headers do, or before the length they state.
    #[error("is cut short")]
    Truncated,
    /// A length field that cannot be.
    #[error("states an impossible length")]
    Length,
    /// Not the IP version of its queue.
    #[error("is of another IP version")]
    Version,
    /// Part of a fragmented packet.
    #[error("is a fragment")]
    Fragment,
    /// Another transport protocol, or extension headers without end.
    #[error("carries another protocol")]
    Protocol,
    /// A checksum that does not match.
    #[error("has a wrong checksum")]
    Checksum,
    /// The message inside is not well-formed.
    #[error("carries a message that is not well-formed")]
    Message,
}

/// An IPv4 packet with a UDP datagram in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp4<'a> {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// What the datagram carries.
    pub payload: &'a [u8],
}

impl<'a> Udp4<'a> {
    /// Reads from the IP header on. `verify`: the UDP checksum must match (0 says that there is none, RFC 768); the
    /// header's own checksum always must.
    ///
    /// # Errors
    /// Says what is wrong with the bytes.
    pub fn read(bytes: &'a [u8], verify: bool) -> Result<Self, Malformed> {
        let fixed = bytes
            .first_chunk::<IPV4_HEADER>()
            .ok_or(Malformed::Truncated)?;
        if fixed[0] >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let header_len = usize::from(fixed[0] & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if header_len < IPV4_HEADER || total_len < header_len {
            return Err(Malformed::Length);
        }
        let packet = bytes.get(..total_len).ok_or(Malformed::Truncated)?;
        let (header, transport) = packet
            .split_at_checked(header_len)
            .ok_or(Malformed::Length)?;
        if fold(sum(header)) != 0xffff {
            return Err(Malformed::Checksum);
        }
        // More fragments, or an offset.
        if u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0 {
            return Err(Malformed::Fragment);
        }
        if fixed[9] != UDP {
            return Err(Malformed::Protocol);
        }
        let source = Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]);
        let destination = Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]);
        let udp = UdpHeader::read(transport)?;
        if verify && udp.checksum != 0 {
            let pseudo = pseudo4(source, destination, udp.len);
            if fold(pseudo + sum(udp.whole)) != 0xffff {
                return Err(Malformed::Checksum);
            }
        }
        Ok(Self {
            source,
            destination,
            source_port: udp.source_port,
            destination_port: udp.destination_port,
            payload: udp.payload,
        })
    }
}

/// An IPv6 packet, its extension headers passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Packet<'a> {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Hop limit; neighbour discovery demands 255.
    pub hop_limit: u8,
    /// Protocol number of the transport header.
    pub protocol: u8,
    /// The transport header and all behind it, to the length the IPv6 header states.
    pub transport: &'a [u8],
}

impl<'a> Ipv6Packet<'a> {
    /// Reads from the IPv6 header on, through extension headers, to the transport header.
    ///
    /// # Errors
    /// Says what is wrong with the bytes.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (fixed, rest) = bytes
            .split_first_chunk::<IPV6_HEADER>()
            .ok_or(Malformed::Truncated)?;
        if fixed[0] >> 4 != 6 {
            return Err(Malformed::Version);
        }
        let payload_len = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        let mut transport = rest.get(..payload_len).ok_or(Malformed::Truncated)?;
        let mut protocol = fixed[6];
        for _ in 0..EXTENSION_HEADERS_MAX {
            match protocol {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                    let [next, units] =
                        *transport.first_chunk::<2>().ok_or(Malformed::Truncated)?;
                    let len = (usize::from(units) + 1) * 8;
                    transport = transport.get(len..).ok_or(Malformed::Truncated)?;
                    protocol = next;
                }
                FRAGMENT => return Err(Malformed::Fragment),
                _ => break,
            }
        }
        Ok(Self {
            source: address6(fixed, 8),
            destination: address6(fixed, 24),
            hop_limit: fixed[7],
            protocol,
            transport,
        })
    }

    /// The UDP datagram inside. `verify`: its checksum must match; IPv6 knows no datagram without one (RFC 8200 §8.1).
    ///
    /// # Errors
    /// Another protocol, a length that cannot be, a checksum that does not match.
    pub fn udp(&self, verify: bool) -> Result<Udp6<'a>, Malformed> {
        if self.protocol != UDP {
            return Err(Malformed::Protocol);
        }
        let udp = UdpHeader::read(self.transport)?;
        if verify {
            let pseudo = pseudo6(self.source, self.destination, UDP, udp.whole.len());
            if udp.checksum == 0 || fold(pseudo + sum(udp.whole)) != 0xffff {
                return Err(Malformed::Checksum);
            }
        }
        Ok(Udp6 {
            source_port: udp.source_port,
            destination_port: udp.destination_port,
            payload: udp.payload,
        })
    }

    /// The ICMPv6 message inside. `verify`: its checksum must match (RFC 4443 §2.3).
    ///
    /// # Errors
    /// Another protocol, a message without its header, a checksum that does not match.
    pub fn icmpv6(&self, verify: bool) -> Result<Icmpv6<'a>, Malformed> {
        if self.protocol != ICMPV6 {
            return Err(Malformed::Protocol);
        }
        let ([kind, code, _, _], body) = self
            .transport
            .split_first_chunk::<4>()
            .ok_or(Malformed::Truncated)?;
        if verify {
            let pseudo = pseudo6(self.source, self.destination, ICMPV6, self.transport.len());
            if fold(pseudo + sum(self.transport)) != 0xffff {
                return Err(Malformed::Checksum);
            }
        }
        Ok(Icmpv6 {
            kind: *kind,
            code: *code,
            body,
        })
    }
}

/// A UDP datagram in an IPv6 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp6<'a> {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// What the datagram carries.
    pub payload: &'a [u8],
}

/// An ICMPv6 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmpv6<'a> {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// What follows type, code and checksum.
    pub body: &'a [u8],
}

struct UdpHeader<'a> {
    source_port: u16,
    destination_port: u16,
    len: u16,
    checksum: u16,
    whole: &'a [u8],
    payload: &'a [u8],
}

impl<'a> UdpHeader<'a> {
    fn read(transport: &'a [u8]) -> Result<Self, Malformed> {
        let header = transport
            .first_chunk::<UDP_HEADER>()
            .ok_or(Malformed::Truncated)?;
        let len = u16::from_be_bytes([header[4], header[5]]);
        if usize::from(len) < UDP_HEADER {
            return Err(Malformed::Length);
        }
        let whole = transport
            .get(..usize::from(len))
            .ok_or(Malformed::Truncated)?;
        Ok(Self {
            source_port: u16::from_be_bytes([header[0], header[1]]),
            destination_port: u16::from_be_bytes([header[2], header[3]]),
            len,
            checksum: u16::from_be_bytes([header[6], header[7]]),
            whole,
            payload: whole.get(UDP_HEADER..).unwrap_or_default(),
        })
    }
}

/// The Ethernet addresses of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whom it comes from.
    pub source: MacAddr,
    /// Whom it goes to.
    pub destination: MacAddr,
}

/// Starts a frame: Ethernet, IPv4 and UDP headers; `out` is cleared first. False when they do not fit, which an empty
/// frame rules out.
#[must_use]
pub fn begin_udp4(
    out: &mut Frame,
    link: Link,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
) -> bool {
    let mut head = [0; ETHERNET_HEADER + IPV4_HEADER + UDP_HEADER];
    put(&mut head, 0, &link.destination.octets());
    put(&mut head, 6, &link.source.octets());
    put(&mut head, 12, &ETHERTYPE_IPV4);
    // An atomic datagram: identification 0, don't fragment (RFC 6864 §4.1).
    put(&mut head, 14, &[0x45, 0, 0, 0, 0, 0, 0x40, 0, TTL, UDP]);
    put(&mut head, 26, &source.0.octets());
    put(&mut head, 30, &destination.0.octets());
    put(&mut head, 34, &source.1.to_be_bytes());
    put(&mut head, 36, &destination.1.to_be_bytes());
    out.clear();
    out.push(&head)
}

/// Starts a frame: Ethernet, IPv6 and UDP headers; `out` is cleared first.
#[must_use]
pub fn begin_udp6(
    out: &mut Frame,
    link: Link,
    source: (Ipv6Addr, u16),
    destination: (Ipv6Addr, u16),
) -> bool {
    let ports = [source.1.to_be_bytes(), destination.1.to_be_bytes()];
    begin_ipv6(out, link, source.0, destination.0, UDP, TTL)
        && out.push(ports.as_flattened())
        && out.push(&[0; 4])
}

/// Starts a frame: Ethernet and IPv6 headers, hop limit 255, and an ICMPv6 header of type `kind`, code 0, which the
/// caller's body follows; `out` is cleared first.
#[must_use]
pub fn begin_icmpv6(
    out: &mut Frame,
    link: Link,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    kind: u8,
) -> bool {
    begin_ipv6(out, link, source, destination, ICMPV6, HOP_LIMIT_ND) && out.push(&[kind, 0, 0, 0])
}

fn begin_ipv6(
    out: &mut Frame,
    link: Link,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: u8,
    hop_limit: u8,
) -> bool {
    let mut head = [0; ETHERNET_HEADER + IPV6_HEADER];
    put(&mut head, 0, &link.destination.octets());
    put(&mut head, 6, &link.source.octets());
    put(&mut head, 12, &ETHERTYPE_IPV6);
    put(&mut head, 14, &[0x60, 0, 0, 0, 0, 0, protocol, hop_limit]);
    put(&mut head, 22, &source.octets());
    put(&mut head, 38, &destination.octets());
    out.clear();
    out.push(&head)
}

/// Fills in the lengths and checksums of a frame that one of the `begin_…` started. False when it is none of theirs.
#[must_use]
pub fn finish(out: &mut Frame) -> bool {
    let Some((ethernet, packet)) = out
        .as_mut_slice()
        .split_first_chunk_mut::<ETHERNET_HEADER>()
    else {
        return false;
    };
    if ethernet[12..] == ETHERTYPE_IPV4 {
        finish_udp4(packet)
    } else {
        finish_ipv6(packet)
    }
}

fn finish_udp4(packet: &mut [u8]) -> bool {
    let Ok(total_len) = u16::try_from(packet.len()) else {
        return false;
    };
    let Some((header, transport)) = packet.split_first_chunk_mut::<IPV4_HEADER>() else {
        return false;
    };
    put(header, 2, &total_len.to_be_bytes());
    put(header, 10, &[0, 0]);
    let header_checksum = !fold(sum(header));
    put(header, 10, &header_checksum.to_be_bytes());

    let Ok(len) = u16::try_from(transport.len()) else {
        return false;
    };
    // Source and destination lie side by side at the header's end.
    let pseudo = sum(&header[12..]) + u64::from(UDP) + u64::from(len);
    fill_udp(transport, len, pseudo)
}

fn finish_ipv6(packet: &mut [u8]) -> bool {
    let Some((header, transport)) = packet.split_first_chunk_mut::<IPV6_HEADER>() else {
        return false;
    };
    let Ok(len) = u16::try_from(transport.len()) else {
        return false;
    };
    put(header, 4, &len.to_be_bytes());
    let pseudo = sum(&header[8..]) + u64::from(header[6]) + u64::from(len);
    match header[6] {
        UDP => fill_udp(transport, len, pseudo),
        ICMPV6 => {
            put(transport, 2, &[0, 0]);
            let checksum = !fold(pseudo + sum(transport));
            put(transport, 2, &checksum.to_be_bytes());
            true
        }
        _ => false,
    }
}

fn fill_udp(transport: &mut [u8], len: u16, pseudo: u64) -> bool {
    if transport.len() < UDP_HEADER {
        return false;
    }
    put(transport, 4, &len.to_be_bytes());
    put(transport, 6, &[0, 0]);
    // 0 would say that there is none (RFC 768).
    let checksum = match !fold(pseudo + sum(transport)) {
        0 => 0xffff,
        other => other,
    };
    put(transport, 6, &checksum.to_be_bytes());
    true
}

/// The Ethernet address of a multicast IPv6 address (RFC 2464 §7).
#[must_use]
pub const fn multicast_mac(address: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = address.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// The solicited-node multicast address of an address (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., b, c, d] = address.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        u16::from_be_bytes([0xff, b]),
        u16::from_be_bytes([c, d]),
    )
}

fn address6(header: &[u8; IPV6_HEADER], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    if let Some(bytes) = header.get(at..at + 16) {
        octets.copy_from_slice(bytes);
    }
    Ipv6Addr::from(octets)
}

/// Overwrites bytes at a place; what does not fit whole is not written.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(room) = bytes.get_mut(at..at.saturating_add(value.len())) {
        room.copy_from_slice(value);
    }
}

/// Sum of the 16-bit words (RFC 1071), four bytes at a step: 32-bit carries fold away as 16-bit ones do. An odd last
/// byte is the high half of a word.
fn sum(bytes: &[u8]) -> u64 {
    let (quads, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = quads
        .iter()
        .map(|quad| u64::from(u32::from_be_bytes(*quad)))
        .sum();
    let (pairs, last) = rest.as_chunks::<2>();
    total += pairs
        .iter()
        .map(|pair| u64::from(u16::from_be_bytes(*pair)))
        .sum::<u64>();
    total + last.iter().map(|byte| u64::from(*byte) << 8).sum::<u64>()
}

/// The one's complement sum in 16 bits.
fn fold(mut total: u64) -> u16 {
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    // Below 2^16 after the loop.
    u16::try_from(total).unwrap_or(u16::MAX)
}

fn pseudo4(source: Ipv4Addr, destination: Ipv4Addr, len: u16) -> u64 {
    sum(&source.octets()) + sum(&destination.octets()) + u64::from(UDP) + u64::from(len)
}

fn pseudo6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, len: usize) -> u64 {
    // A packet's length fits 16 bits.
    let len = u64::try_from(len).unwrap_or_default();
    sum(&source.octets()) + sum(&destination.octets()) + u64::from(protocol) + len
}

#[cfg(test)]
mod tests;
