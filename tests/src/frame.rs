//! Frames as they pass a TAP, and what they say: for timelines and for tests that look at the wire.
//!
//! Only for frames of programs we started; the options are read by `dhcproto`, which hostile bytes may upset.

pub mod build;

use std::fmt;
use std::net::Ipv6Addr;
use std::time::SystemTime;

use dhcproto::{Decodable, Decoder, v4, v6};
use pnet_packet::Packet;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::udp::UdpPacket;

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the VM to the host.
    Asked,
    /// From the host to the VM.
    Answered,
}

/// A frame that passed.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When.
    pub at: SystemTime,
    /// Which way.
    pub direction: Direction,
    /// Whether its transport checksum was still to be filled in.
    pub partial_checksum: bool,
    /// The frame, from the Ethernet destination on.
    pub bytes: Vec<u8>,
}

/// What a frame says, as far as it is our business.
#[derive(Debug, Clone)]
pub enum Message {
    /// DHCPv4.
    Dhcpv4(Box<v4::Message>),
    /// DHCPv6.
    Dhcpv6(Box<v6::Message>),
    /// Router solicitation.
    RouterSolicitation,
    /// Router advertisement.
    RouterAdvertisement(RouterAdvertisement),
    /// Neighbour solicitation.
    NeighborSolicitation {
        /// Whose address is asked for.
        target: Ipv6Addr,
        /// From the unspecified address: is the address free?
        duplicate_detection: bool,
    },
    /// Neighbour advertisement.
    NeighborAdvertisement {
        /// Whose address is told.
        target: Ipv6Addr,
    },
}

/// A router advertisement (RFC 4861 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// Who sent it.
    pub source: Ipv6Addr,
    /// Seconds the sender is a default router; 0 = it is none.
    pub router_lifetime: u16,
    /// M: addresses by DHCPv6.
    pub managed: bool,
    /// O: the rest by DHCPv6.
    pub other: bool,
    /// The options, type and body (without type and length).
    pub options: Vec<(u8, Vec<u8>)>,
}

impl RouterAdvertisement {
    /// The prefixes (option 3) with whether hosts form addresses in them.
    #[must_use]
    pub fn prefixes(&self) -> Vec<(Ipv6Addr, u8, bool)> {
        let read = |(code, body): &(u8, Vec<u8>)| {
            let prefix: [u8; 16] = body.get(14..30)?.try_into().ok()?;
            (*code == 3).then_some((prefix.into(), *body.first()?, body.get(1)? & 0x40 != 0))
        };
        self.options.iter().filter_map(read).collect()
    }

    /// The name servers (option 25).
    #[must_use]
    pub fn name_servers(&self) -> Vec<Ipv6Addr> {
        let options = self.options.iter().filter(|(code, _)| *code == 25);
        options
            .filter_map(|(_, body)| body.get(6..))
            .flat_map(|addresses| addresses.as_chunks::<16>().0)
            .map(|bytes| Ipv6Addr::from(*bytes))
            .collect()
    }

    /// The MTU (option 5).
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        let (_, body) = self.options.iter().find(|(code, _)| *code == 5)?;
        Some(u32::from_be_bytes(body.get(2..6)?.try_into().ok()?))
    }
}

/// What a frame says; `None` for what is not our business.
#[must_use]
pub fn read(frame: &[u8]) -> Option<Message> {
    let ethernet = EthernetPacket::new(frame)?;
    match ethernet.get_ethertype() {
        EtherTypes::Ipv4 => {
            let ip = Ipv4Packet::new(ethernet.payload())?;
            if ip.get_next_level_protocol() != IpNextHeaderProtocols::Udp {
                return None;
            }
            let udp = UdpPacket::new(ip.payload())?;
            let ports = [udp.get_source(), udp.get_destination()];
            if !ports.contains(&67) {
                return None;
            }
            let message = v4::Message::decode(&mut Decoder::new(udp.payload())).ok()?;
            Some(Message::Dhcpv4(Box::new(message)))
        }
        EtherTypes::Ipv6 => read_ipv6(&Ipv6Packet::new(ethernet.payload())?),
        _ => None,
    }
}

fn read_ipv6(ip: &Ipv6Packet<'_>) -> Option<Message> {
    match ip.get_next_header() {
        IpNextHeaderProtocols::Udp => {
            let udp = UdpPacket::new(ip.payload())?;
            if ![udp.get_source(), udp.get_destination()].contains(&547) {
                return None;
            }
            let message = v6::Message::decode(&mut Decoder::new(udp.payload())).ok()?;
            Some(Message::Dhcpv6(Box::new(message)))
        }
        IpNextHeaderProtocols::Icmpv6 => read_icmpv6(ip),
        _ => None,
    }
}

fn read_icmpv6(ip: &Ipv6Packet<'_>) -> Option<Message> {
    let body = ip.payload();
    let target = || Some(Ipv6Addr::from(<[u8; 16]>::try_from(body.get(8..24)?).ok()?));
    match Icmpv6Packet::new(body)?.get_icmpv6_type() {
        Icmpv6Types::RouterSolicit => Some(Message::RouterSolicitation),
        Icmpv6Types::RouterAdvert => {
            let flags = *body.get(5)?;
            let mut options = Vec::new();
            let mut rest = body.get(16..)?;
            while let [code, units, ..] = *rest {
                let (option, after) = rest.split_at_checked(usize::from(units.max(1)) * 8)?;
                options.push((code, option.get(2..)?.to_vec()));
                rest = after;
            }
            Some(Message::RouterAdvertisement(RouterAdvertisement {
                source: ip.get_source(),
                router_lifetime: u16::from_be_bytes(body.get(6..8)?.try_into().ok()?),
                managed: flags & 0x80 != 0,
                other: flags & 0x40 != 0,
                options,
            }))
        }
        Icmpv6Types::NeighborSolicit => Some(Message::NeighborSolicitation {
            target: target()?,
            duplicate_detection: ip.get_source().is_unspecified(),
        }),
        Icmpv6Types::NeighborAdvert => Some(Message::NeighborAdvertisement { target: target()? }),
        _ => None,
    }
}

/// The kind of a DHCPv4 message (option 53).
#[must_use]
pub fn dhcpv4_type(message: &v4::Message) -> Option<v4::MessageType> {
    match message.opts().get(v4::OptionCode::MessageType) {
        Some(v4::DhcpOption::MessageType(kind)) => Some(*kind),
        _ => None,
    }
}

/// The DHCPv4 message of a kind that a frame carries; `None` if it carries another, or none.
#[must_use]
pub fn dhcpv4(frame: &[u8], kind: v4::MessageType) -> Option<v4::Message> {
    let Message::Dhcpv4(message) = read(frame)? else {
        return None;
    };
    (dhcpv4_type(&message) == Some(kind)).then_some(*message)
}

/// The lease a DHCPv4 message names (option 51), seconds.
#[must_use]
pub fn lease_time(message: &v4::Message) -> Option<u32> {
    match message.opts().get(v4::OptionCode::AddressLeaseTime) {
        Some(v4::DhcpOption::AddressLeaseTime(seconds)) => Some(*seconds),
        _ => None,
    }
}

/// One line for a timeline.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcpv4(message) => {
                match dhcpv4_type(message) {
                    Some(kind) => write!(f, "DHCP{}", format!("{kind:?}").to_uppercase())?,
                    None => f.write_str("BOOTP")?,
                }
                if !message.yiaddr().is_unspecified() {
                    write!(f, " {}", message.yiaddr())?;
                }
                if let Some(v4::DhcpOption::RequestedIpAddress(address)) =
                    message.opts().get(v4::OptionCode::RequestedIpAddress)
                {
                    write!(f, " for {address}")?;
                }
                if let Some(seconds) = lease_time(message) {
                    write!(f, " lease {seconds} s")?;
                }
                if let Some(v4::DhcpOption::Router(routers)) =
                    message.opts().get(v4::OptionCode::Router)
                {
                    write!(f, " router {routers:?}")?;
                }
                Ok(())
            }
            Self::Dhcpv6(message) => {
                write!(
                    f,
                    "DHCPv6 {}",
                    format!("{:?}", message.msg_type()).to_uppercase()
                )
            }
            Self::RouterSolicitation => f.write_str("router solicitation"),
            Self::RouterAdvertisement(advertised) => {
                f.write_str("router advertisement")?;
                for (prefix, length, _) in advertised.prefixes() {
                    write!(f, " prefix {prefix}/{length}")?;
                }
                match advertised.router_lifetime {
                    0 => f.write_str(", no default router"),
                    seconds => {
                        write!(f, ", default router {} for {seconds} s", advertised.source)
                    }
                }
            }
            Self::NeighborSolicitation {
                target,
                duplicate_detection: true,
            } => {
                write!(f, "neighbour solicitation: is {target} free?")
            }
            Self::NeighborSolicitation { target, .. } => {
                write!(f, "neighbour solicitation: who has {target}?")
            }
            Self::NeighborAdvertisement { target } => {
                write!(f, "neighbour advertisement: I have {target}")
            }
        }
    }
}
