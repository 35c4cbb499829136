//! Typed constants, as rules compare with them and sets hold them.
//!
//! The type numbers are nft's own (`enum datatypes` of its sources): the kernel only keeps them, `nft list` prints the
//! elements by them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The name of a network device: 1 to 15 bytes, no `/`, no `:`, no white space (`dev_valid_name` of the kernel).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfName([u8; 16]);

/// Why a text is not the name of a network device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be a device's name: 1 to 15 bytes without '/', ':' and white space are")]
pub struct IfNameError(String);

impl IfName {
    /// The kind of a bridge, which has the shape of a name ([`Field::IifKind`](crate::Field::IifKind)).
    pub const KIND_BRIDGE: Self = Self(*b"bridge\0\0\0\0\0\0\0\0\0\0");

    /// The name as the kernel compares it: padded with zeros to 16 bytes.
    #[must_use]
    pub const fn padded(&self) -> &[u8; 16] {
        &self.0
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        // Made from a `str` at a zero byte's boundary, so always UTF-8; a name read from the kernel was checked.
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl FromStr for IfName {
    type Err = IfNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |byte: u8| {
            matches!(byte, 0 | b'/' | b':') || byte.is_ascii_whitespace() || byte == 0x0b
        };
        if matches!(text, "" | "." | "..") || text.bytes().any(refused) {
            return Err(IfNameError(text.to_owned()));
        }
        let mut padded = [0; 16];
        match padded.get_mut(..text.len()) {
            Some(slot) if text.len() < 16 => slot.copy_from_slice(text.as_bytes()),
            _ => return Err(IfNameError(text.to_owned())),
        }
        Ok(Self(padded))
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// The type of a set's key, of a part of it, or of a map's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum DataType {
    /// Where to go on: verdict maps. Only as the value type of a map.
    Verdict,
    /// Number of a layer 3 protocol as netfilter counts (`meta nfproto`).
    NfProto,
    /// Plain 32-bit number in host byte order (hashes).
    Number,
    /// IPv4 address.
    Ipv4Addr,
    /// IPv6 address.
    Ipv6Addr,
    /// Hardware address.
    EtherAddr,
    /// Ethernet protocol number.
    EtherType,
    /// ARP operation.
    ArpOp,
    /// IP protocol number.
    InetProto,
    /// TCP or UDP port.
    InetService,
    /// Type of an ICMP message.
    IcmpType,
    /// Packet mark.
    Mark,
    /// Interface index.
    IfIndex,
    /// Interface name.
    IfName,
    /// To whom the frame came: host, broadcast, …
    PktType,
    /// Type of an ICMPv6 message.
    Icmpv6Type,
}

impl DataType {
    /// nft's number of the type.
    pub(crate) const fn number(self) -> u32 {
        match self {
            // The kernel knows this one by a number of its own (`NFT_DATA_VERDICT`); nft's is only for printing.
            Self::Verdict => 1,
            Self::NfProto => 2,
            Self::Number => 4,
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::EtherAddr => 9,
            Self::EtherType => 10,
            Self::ArpOp => 11,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::IcmpType => 14,
            Self::Mark => 19,
            Self::IfIndex => 20,
            Self::Icmpv6Type => 29,
            Self::PktType => 31,
            Self::IfName => 41,
        }
    }

    /// nft's number for the byte order of its values: 1 is the host's, 2 is big-endian.
    pub(crate) const fn byte_order(self) -> u32 {
        match self {
            Self::Verdict | Self::Number | Self::Mark | Self::IfIndex | Self::IfName => 1,
            Self::NfProto
            | Self::Ipv4Addr
            | Self::Ipv6Addr
            | Self::EtherAddr
            | Self::EtherType
            | Self::ArpOp
            | Self::InetProto
            | Self::InetService
            | Self::IcmpType
            | Self::PktType
            | Self::Icmpv6Type => 2,
        }
    }

    /// Length of a value in bytes.
    #[must_use]
    pub const fn length(self) -> u32 {
        match self {
            Self::NfProto | Self::InetProto | Self::IcmpType | Self::PktType | Self::Icmpv6Type => {
                1
            }
            Self::EtherType | Self::ArpOp | Self::InetService => 2,
            Self::Verdict | Self::Number | Self::Ipv4Addr | Self::Mark | Self::IfIndex => 4,
            Self::EtherAddr => 6,
            Self::Ipv6Addr | Self::IfName => 16,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verdict => "verdict",
            Self::NfProto => "nf_proto",
            Self::Number => "integer",
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::EtherAddr => "ether_addr",
            Self::EtherType => "ether_type",
            Self::ArpOp => "arp_op",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::IcmpType => "icmp_type",
            Self::Mark => "mark",
            Self::IfIndex => "iface_index",
            Self::IfName => "ifname",
            Self::PktType => "pkt_type",
            Self::Icmpv6Type => "icmpv6_type",
        })
    }
}

/// To whom a frame came (`include/uapi/linux/if_packet.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum PktType {
    /// To this host.
    Host,
    /// To all.
    Broadcast,
    /// To a group.
    Multicast,
    /// To someone else.
    Other,
}

/// A constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Value {
    /// Layer 3 protocol as netfilter counts: 2 is IPv4, 10 is IPv6.
    NfProto(u8),
    /// Plain number.
    Number(u32),
    /// IPv4 address.
    Ipv4(Ipv4Addr),
    /// IPv6 address.
    Ipv6(Ipv6Addr),
    /// Hardware address.
    Ether([u8; 6]),
    /// Ethernet protocol number.
    EtherType(u16),
    /// ARP operation: 1 request, 2 reply.
    ArpOp(u16),
    /// IP protocol number.
    InetProto(u8),
    /// TCP or UDP port.
    Port(u16),
    /// Type of an ICMP message.
    IcmpType(u8),
    /// Packet mark.
    Mark(u32),
    /// Interface index.
    IfIndex(u32),
    /// Interface name.
    IfName(IfName),
    /// To whom the frame came.
    PktType(PktType),
    /// Type of an ICMPv6 message.
    Icmpv6Type(u8),
}

impl Value {
    /// The type whose value this is.
    #[must_use]
    pub const fn data_type(&self) -> DataType {
        match self {
            Self::NfProto(_) => DataType::NfProto,
            Self::Number(_) => DataType::Number,
            Self::Ipv4(_) => DataType::Ipv4Addr,
            Self::Ipv6(_) => DataType::Ipv6Addr,
            Self::Ether(_) => DataType::EtherAddr,
            Self::EtherType(_) => DataType::EtherType,
            Self::ArpOp(_) => DataType::ArpOp,
            Self::InetProto(_) => DataType::InetProto,
            Self::Port(_) => DataType::InetService,
            Self::IcmpType(_) => DataType::IcmpType,
            Self::Mark(_) => DataType::Mark,
            Self::IfIndex(_) => DataType::IfIndex,
            Self::IfName(_) => DataType::IfName,
            Self::PktType(_) => DataType::PktType,
            Self::Icmpv6Type(_) => DataType::Icmpv6Type,
        }
    }

    /// Appends the value as it stands in a register.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::NfProto(byte)
            | Self::InetProto(byte)
            | Self::IcmpType(byte)
            | Self::Icmpv6Type(byte) => buffer.push(*byte),
            Self::PktType(kind) => buffer.push(*kind as u8),
            Self::EtherType(number) | Self::ArpOp(number) | Self::Port(number) => {
                buffer.extend_from_slice(&number.to_be_bytes());
            }
            // Numbers that the kernel computes itself stand in host byte order.
            Self::Number(number) | Self::Mark(number) | Self::IfIndex(number) => {
                buffer.extend_from_slice(&number.to_ne_bytes());
            }
            Self::Ipv4(address) => buffer.extend_from_slice(&address.octets()),
            Self::Ipv6(address) => buffer.extend_from_slice(&address.octets()),
            Self::Ether(octets) => buffer.extend_from_slice(octets),
            Self::IfName(name) => buffer.extend_from_slice(name.padded()),
        }
    }

    /// The value as it stands in a register.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        self.write(&mut bytes);
        bytes
    }

    /// Reads a value of `data_type` from a register's bytes; `None` for the wrong length or a verdict.
    #[must_use]
    pub fn read(data_type: DataType, bytes: &[u8]) -> Option<Self> {
        let one = || match bytes {
            [byte] => Some(*byte),
            _ => None,
        };
        let two = || <[u8; 2]>::try_from(bytes).ok().map(u16::from_be_bytes);
        let host = || <[u8; 4]>::try_from(bytes).ok().map(u32::from_ne_bytes);
        Some(match data_type {
            DataType::Verdict => return None,
            DataType::NfProto => Self::NfProto(one()?),
            DataType::Number => Self::Number(host()?),
            DataType::Ipv4Addr => Self::Ipv4(<[u8; 4]>::try_from(bytes).ok()?.into()),
            DataType::Ipv6Addr => Self::Ipv6(<[u8; 16]>::try_from(bytes).ok()?.into()),
            DataType::EtherAddr => Self::Ether(bytes.try_into().ok()?),
            DataType::EtherType => Self::EtherType(two()?),
            DataType::ArpOp => Self::ArpOp(two()?),
            DataType::InetProto => Self::InetProto(one()?),
            DataType::InetService => Self::Port(two()?),
            DataType::IcmpType => Self::IcmpType(one()?),
            DataType::Mark => Self::Mark(host()?),
            DataType::IfIndex => Self::IfIndex(host()?),
            DataType::IfName => {
                let text = bytes.split(|byte| *byte == 0).next()?;
                Self::IfName(std::str::from_utf8(text).ok()?.parse().ok()?)
            }
            DataType::PktType => Self::PktType(match one()? {
                0 => PktType::Host,
                1 => PktType::Broadcast,
                2 => PktType::Multicast,
                _ => PktType::Other,
            }),
            DataType::Icmpv6Type => Self::Icmpv6Type(one()?),
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NfProto(2) => f.write_str("ipv4"),
            Self::NfProto(10) => f.write_str("ipv6"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Ipv4(address) => write!(f, "{address}"),
            Self::Ipv6(address) => write!(f, "{address}"),
            Self::Ether([a, b, c, d, e, g]) => {
                write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Self::EtherType(0x0800) => f.write_str("ip"),
            Self::EtherType(0x0806) => f.write_str("arp"),
            Self::EtherType(0x86dd) => f.write_str("ip6"),
            Self::EtherType(0x8100) => f.write_str("8021q"),
            Self::EtherType(0x88a8) => f.write_str("8021ad"),
            Self::EtherType(number) => write!(f, "0x{number:04x}"),
            Self::ArpOp(1) => f.write_str("request"),
            Self::ArpOp(2) => f.write_str("reply"),
            Self::InetProto(1) => f.write_str("icmp"),
            Self::InetProto(6) => f.write_str("tcp"),
            Self::InetProto(17) => f.write_str("udp"),
            Self::InetProto(58) => f.write_str("ipv6-icmp"),
            Self::Icmpv6Type(133) => f.write_str("nd-router-solicit"),
            Self::Icmpv6Type(134) => f.write_str("nd-router-advert"),
            Self::Icmpv6Type(135) => f.write_str("nd-neighbor-solicit"),
            Self::Icmpv6Type(136) => f.write_str("nd-neighbor-advert"),
            Self::Icmpv6Type(137) => f.write_str("nd-redirect"),
            Self::NfProto(number)
            | Self::InetProto(number)
            | Self::IcmpType(number)
            | Self::Icmpv6Type(number) => write!(f, "{number}"),
            Self::ArpOp(number) | Self::Port(number) => write!(f, "{number}"),
            Self::Mark(number) => write!(f, "0x{number:08x}"),
            Self::IfIndex(number) => write!(f, "{number}"),
            Self::IfName(name) => write!(f, "{name:?}"),
            Self::PktType(kind) => f.write_str(match kind {
                PktType::Host => "host",
                PktType::Broadcast => "broadcast",
                PktType::Multicast => "multicast",
                PktType::Other => "other",
            }),
        }
    }
}
