//! What a rule can read of a packet: fields, and what is made of them before they are compared or looked up.

use std::fmt;

use crate::attribute::{nest, u32};
use crate::statement::expression;
use crate::uapi::*;
use crate::value::{DataType, Value};

/// A field of a packet or of what the kernel knows about it. A field of a header holds nonsense when the packet has
/// another header there: a rule first tests the protocol ([`Field::EtherType`], [`Field::Protocol`], [`Field::L4Proto`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Field {
    /// `iif`: index of the device the packet came in by.
    Iif,
    /// `iifname`: its name.
    IifName,
    /// `meta iifkind`: kind of the device the packet came in by, padded as a name is: `bridge`, `vlan`; no match for a
    /// device without one, as hardware is (Linux 5.1).
    IifKind,
    /// `oifname`: name of the device the packet leaves by.
    OifName,
    /// `meta mark`
    Mark,
    /// `meta nfproto`: layer 3 protocol, for chains of family inet.
    NfProto,
    /// `meta l4proto`: transport protocol, behind IPv6 extension headers too; no match for what is not IP.
    L4Proto,
    /// `meta protocol`: Ethernet protocol of the packet, below any VLAN tag.
    Protocol,
    /// `meta pkttype`
    PktType,
    /// `ether saddr`
    EtherSaddr,
    /// `ether daddr`
    EtherDaddr,
    /// `ether type`: of the frame as sent: 8021q for a tagged one.
    EtherType,
    /// `ip saddr`
    IpSaddr,
    /// `ip daddr`
    IpDaddr,
    /// `ip6 saddr`
    Ip6Saddr,
    /// `ip6 daddr`
    Ip6Daddr,
    /// `arp operation`
    ArpOperation,
    /// `arp saddr ether`
    ArpSaddrEther,
    /// `arp saddr ip`
    ArpSaddrIp,
    /// `arp daddr ip`
    ArpDaddrIp,
    /// `th sport`: source port of UDP, TCP, …
    ThSport,
    /// `th dport`: destination port.
    ThDport,
    /// `icmp type`
    IcmpType,
    /// `icmpv6 type`
    Icmpv6Type,
    /// `icmpv6 taddr`: target address of a neighbour solicitation or advertisement (nft before 1.0.9: `@th,64,128`).
    NdTarget,
}

/// Where a field is taken from.
enum Place {
    Meta(libc::c_int),
    Payload { base: libc::c_int, offset: u32 },
}

const LINK: libc::c_int = libc::NFT_PAYLOAD_LL_HEADER;
const NETWORK: libc::c_int = libc::NFT_PAYLOAD_NETWORK_HEADER;
const TRANSPORT: libc::c_int = libc::NFT_PAYLOAD_TRANSPORT_HEADER;

impl Field {
    /// The type of its values.
    #[must_use]
    pub const fn data_type(self) -> DataType {
        self.row().1
    }

    const fn row(self) -> (Place, DataType, &'static str) {
        const fn at(base: libc::c_int, offset: u32) -> Place {
            Place::Payload { base, offset }
        }
        match self {
            Self::Iif => (Place::Meta(libc::NFT_META_IIF), DataType::IfIndex, "iif"),
            Self::IifName => (
                Place::Meta(libc::NFT_META_IIFNAME),
                DataType::IfName,
                "iifname",
            ),
            Self::IifKind => (
                Place::Meta(NFT_META_IIFKIND),
                DataType::IfName,
                "meta iifkind",
            ),
            Self::OifName => (
                Place::Meta(libc::NFT_META_OIFNAME),
                DataType::IfName,
                "oifname",
            ),
            Self::Mark => (
                Place::Meta(libc::NFT_META_MARK),
                DataType::Mark,
                "meta mark",
            ),
            Self::NfProto => (
                Place::Meta(libc::NFT_META_NFPROTO),
                DataType::NfProto,
                "meta nfproto",
            ),
            Self::L4Proto => (
                Place::Meta(libc::NFT_META_L4PROTO),
                DataType::InetProto,
                "meta l4proto",
            ),
            Self::Protocol => (
                Place::Meta(libc::NFT_META_PROTOCOL),
                DataType::EtherType,
                "meta protocol",
            ),
            Self::PktType => (
                Place::Meta(libc::NFT_META_PKTTYPE),
                DataType::PktType,
                "meta pkttype",
            ),
            Self::EtherDaddr => (at(LINK, 0), DataType::EtherAddr, "ether daddr"),
            Self::EtherSaddr => (at(LINK, 6), DataType::EtherAddr, "ether saddr"),
            Self::EtherType => (at(LINK, 12), DataType::EtherType, "ether type"),
            Self::IpSaddr => (at(NETWORK, 12), DataType::Ipv4Addr, "ip saddr"),
            Self::IpDaddr => (at(NETWORK, 16), DataType::Ipv4Addr, "ip daddr"),
            Self::Ip6Saddr => (at(NETWORK, 8), DataType::Ipv6Addr, "ip6 saddr"),
            Self::Ip6Daddr => (at(NETWORK, 24), DataType::Ipv6Addr, "ip6 daddr"),
            Self::ArpOperation => (at(NETWORK, 6), DataType::ArpOp, "arp operation"),
            Self::ArpSaddrEther => (at(NETWORK, 8), DataType::EtherAddr, "arp saddr ether"),
            Self::ArpSaddrIp => (at(NETWORK, 14), DataType::Ipv4Addr, "arp saddr ip"),
            Self::ArpDaddrIp => (at(NETWORK, 24), DataType::Ipv4Addr, "arp daddr ip"),
            Self::ThSport => (at(TRANSPORT, 0), DataType::InetService, "th sport"),
            Self::ThDport => (at(TRANSPORT, 2), DataType::InetService, "th dport"),
            Self::IcmpType => (at(TRANSPORT, 0), DataType::IcmpType, "icmp type"),
            Self::Icmpv6Type => (at(TRANSPORT, 0), DataType::Icmpv6Type, "icmpv6 type"),
            Self::NdTarget => (at(TRANSPORT, 8), DataType::Ipv6Addr, "icmpv6 taddr"),
        }
    }

    /// Appends the expression that loads the field into `register`.
    pub(crate) fn load(self, buffer: &mut Vec<u8>, register: u32) {
        let (place, data_type, _) = self.row();
        match place {
            Place::Meta(key) => expression(buffer, "meta", |buffer| {
                u32(buffer, NFTA_META_DREG, register);
                u32(buffer, NFTA_META_KEY, key as u32);
            }),
            Place::Payload { base, offset } => expression(buffer, "payload", |buffer| {
                u32(buffer, NFTA_PAYLOAD_DREG, register);
                u32(buffer, NFTA_PAYLOAD_BASE, base as u32);
                u32(buffer, NFTA_PAYLOAD_OFFSET, offset);
                u32(buffer, NFTA_PAYLOAD_LEN, data_type.length());
            }),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().2)
    }
}

/// What is compared, or looked up in a set: a field or something made of fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selector {
    /// The field as it is.
    Field(Field),
    /// The field's bits that are set in the mask, a value of the field's type.
    Masked(Field, Value),
    /// Several fields one after the other: the key of a concatenated set.
    Concat(Vec<Field>),
    /// Two fields, of the second the bits that are set in the mask, a value of that field's type.
    ConcatMasked(Field, Field, Value),
    /// Jenkins' hash of the field, modulo a number.
    Jhash {
        /// What is hashed.
        of: Field,
        /// The hash is below this.
        modulus: u32,
        /// Rules with the same seed hash alike.
        seed: u32,
    },
    /// Whether the frame carries a VLAN tag that names a VLAN, `vlan id`: 0 for a priority tag. Test
    /// [`Field::EtherType`] for 8021q or 8021ad first.
    VlanId,
}

impl From<Field> for Selector {
    fn from(field: Field) -> Self {
        Self::Field(field)
    }
}

impl Selector {
    /// Appends the expressions that leave the selector's value in `NFT_REG_1`.
    pub(crate) fn load(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Field(field) => field.load(buffer, REGISTER),
            Self::Masked(field, mask) => {
                field.load(buffer, REGISTER);
                bitwise(
                    buffer,
                    REGISTER,
                    &mask.bytes(),
                    &vec![0; mask.bytes().len()],
                );
            }
            Self::Concat(fields) => {
                let mut register = libc::NFT_REG32_00 as u32;
                for field in fields {
                    field.load(buffer, register);
                    register += field.data_type().length().div_ceil(4);
                }
            }
            Self::ConcatMasked(first, second, mask) => {
                let register = libc::NFT_REG32_00 as u32;
                first.load(buffer, register);
                let register = register + first.data_type().length().div_ceil(4);
                second.load(buffer, register);
                let mask = mask.bytes();
                bitwise(buffer, register, &mask, &vec![0; mask.len()]);
            }
            Self::Jhash { of, modulus, seed } => {
                let second = libc::NFT_REG_2 as u32;
                of.load(buffer, second);
                expression(buffer, "hash", |buffer| {
                    u32(buffer, NFTA_HASH_SREG, second);
                    u32(buffer, NFTA_HASH_DREG, REGISTER);
                    u32(buffer, NFTA_HASH_LEN, of.data_type().length());
                    u32(buffer, NFTA_HASH_MODULUS, *modulus);
                    u32(buffer, NFTA_HASH_SEED, *seed);
                    u32(buffer, NFTA_HASH_TYPE, 0);
                });
            }
            Self::VlanId => {
                expression(buffer, "payload", |buffer| {
                    u32(buffer, NFTA_PAYLOAD_DREG, REGISTER);
                    u32(buffer, NFTA_PAYLOAD_BASE, LINK as u32);
                    u32(buffer, NFTA_PAYLOAD_OFFSET, 14);
                    u32(buffer, NFTA_PAYLOAD_LEN, 2);
                });
                bitwise(buffer, REGISTER, &[0x0f, 0xff], &[0, 0]);
            }
        }
    }

    /// The types of the parts of the selector's value.
    #[must_use]
    pub fn data_types(&self) -> Vec<DataType> {
        match self {
            Self::Field(field) | Self::Masked(field, _) => vec![field.data_type()],
            Self::Concat(fields) => fields.iter().map(|field| field.data_type()).collect(),
            Self::ConcatMasked(first, second, _) => vec![first.data_type(), second.data_type()],
            Self::Jhash { .. } => vec![DataType::Number],
            Self::VlanId => vec![DataType::EtherType],
        }
    }
}

/// The register that every selector's value is left in.
pub(crate) const REGISTER: u32 = libc::NFT_REG_1 as u32;

/// Appends `register = (register & mask) ^ xor`.
pub(crate) fn bitwise(buffer: &mut Vec<u8>, register: u32, mask: &[u8], xor: &[u8]) {
    expression(buffer, "bitwise", |buffer| {
        u32(buffer, NFTA_BITWISE_SREG, register);
        u32(buffer, NFTA_BITWISE_DREG, register);
        u32(
            buffer,
            NFTA_BITWISE_LEN,
            u32::try_from(mask.len()).unwrap_or(u32::MAX),
        );
        nest(buffer, NFTA_BITWISE_MASK, |b| {
            crate::attribute::bytes(b, NFTA_DATA_VALUE, mask);
        });
        nest(buffer, NFTA_BITWISE_XOR, |b| {
            crate::attribute::bytes(b, NFTA_DATA_VALUE, xor);
        });
    });
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => write!(f, "{field}"),
            Self::Masked(field, mask) => write!(f, "{field} & {mask}"),
            Self::Concat(fields) => {
                for (index, field) in fields.iter().enumerate() {
                    let dot = if index == 0 { "" } else { " . " };
                    write!(f, "{dot}{field}")?;
                }
                Ok(())
            }
            Self::ConcatMasked(first, second, mask) => write!(f, "{first} . {second} & {mask}"),
            Self::Jhash { of, modulus, seed } => {
                write!(f, "jhash {of} mod {modulus} seed {seed:#x}")
            }
            Self::VlanId => f.write_str("vlan id"),
        }
    }
}
