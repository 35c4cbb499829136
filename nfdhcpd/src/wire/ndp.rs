//! Router and neighbour discovery messages (RFC 4861), read and written.

mod advertisement;

use std::net::Ipv6Addr;

use nfdhcpd_binding::MacAddr;

use super::Frame;
use super::ip::{Ipv6Packet, Malformed};

pub use advertisement::{Prefix, RouterAdvertisement, cease, push_succession};

/// ICMPv6 type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// ICMPv6 type of a router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// ICMPv6 type of a neighbour solicitation.
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbour advertisement.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;

/// ff02::1, all nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of a link (RFC 4291 §2.7.1).
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// What neighbour discovery demands: the packet was not forwarded.
const HOP_LIMIT: u8 = 255;

/// A router solicitation (§4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterSolicitation {
    /// Who asks; `::` when it has no address yet.
    pub source: Ipv6Addr,
}

impl RouterSolicitation {
    /// Reads from the IPv6 header on. `verify`: the checksum must match.
    ///
    /// # Errors
    /// Whatever §6.1.1 says a router must discard for.
    pub fn read(bytes: &[u8], verify: bool) -> Result<Self, Malformed> {
        let packet = Ipv6Packet::read(bytes)?;
        let body = read_body(&packet, ROUTER_SOLICITATION, verify)?;
        let (_reserved, options) = body.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
        check_options(options, packet.source)?;
        Ok(Self {
            source: packet.source,
        })
    }
}

/// A neighbour solicitation (§4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborSolicitation {
    /// Who asks; `::` when it probes whether the target is in use (RFC 4862 §5.4.2).
    pub source: Ipv6Addr,
    /// Whose hardware address it asks for.
    pub target: Ipv6Addr,
}

impl NeighborSolicitation {
    /// Reads from the IPv6 header on. `verify`: the checksum must match.
    ///
    /// # Errors
    /// Whatever §7.1.1 says a node must discard for.
    pub fn read(bytes: &[u8], verify: bool) -> Result<Self, Malformed> {
        let packet = Ipv6Packet::read(bytes)?;
        let body = read_body(&packet, NEIGHBOR_SOLICITATION, verify)?;
        let (_reserved, body) = body.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
        let (target, options) = body.split_first_chunk::<16>().ok_or(Malformed::Truncated)?;
        let target = Ipv6Addr::from(*target);
        if target.is_multicast() || target.is_unspecified() {
            return Err(Malformed::Message);
        }
        if packet.source.is_unspecified() && !is_solicited_node(packet.destination) {
            return Err(Malformed::Message);
        }
        check_options(options, packet.source)?;
        Ok(Self {
            source: packet.source,
            target,
        })
    }

    /// The probe of a node that wants the target for itself.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.source.is_unspecified()
    }
}

/// The body of the expected message, behind type, code and checksum.
fn read_body<'a>(packet: &Ipv6Packet<'a>, kind: u8, verify: bool) -> Result<&'a [u8], Malformed> {
    if packet.hop_limit != HOP_LIMIT || packet.source.is_multicast() {
        return Err(Malformed::Message);
    }
    let message = packet.icmpv6(verify)?;
    if message.kind != kind || message.code != 0 {
        return Err(Malformed::Message);
    }
    Ok(message.body)
}

/// Every option is at least one unit of 8 bytes and ends within the message; who has no address names no hardware
/// address (§6.1.1, §7.1.1).
fn check_options(mut options: &[u8], source: Ipv6Addr) -> Result<(), Malformed> {
    while !options.is_empty() {
        let [kind, units] = *options.first_chunk::<2>().ok_or(Malformed::Truncated)?;
        if units == 0 || (kind == SOURCE_LINK_LAYER && source.is_unspecified()) {
            return Err(Malformed::Message);
        }
        options = options
            .get(usize::from(units) * 8..)
            .ok_or(Malformed::Truncated)?;
    }
    Ok(())
}

/// ff02::1:ff00:0/104 (RFC 4291 §2.7.1).
fn is_solicited_node(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xff02, 0, 0, 0, 0, 1, high, _] if high >> 8 == 0xff)
}

/// A neighbour advertisement's own fields (§4.4); the target's hardware address is always named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborAdvertisement {
    /// The target is a router.
    pub router: bool,
    /// Answers a solicitation from an address.
    pub solicited: bool,
    /// May replace a hardware address the VM knows.
    pub override_: bool,
    /// Whose hardware address it is.
    pub target: Ipv6Addr,
    /// The hardware address.
    pub mac: MacAddr,
}

impl NeighborAdvertisement {
    /// Appends what follows the ICMPv6 header. False when it does not fit.
    #[must_use]
    pub fn push(&self, out: &mut Frame) -> bool {
        let flags = u8::from(self.router) << 7
            | u8::from(self.solicited) << 6
            | u8::from(self.override_) << 5;
        out.push(&[flags, 0, 0, 0])
            && out.push(&self.target.octets())
            && out.push(&[TARGET_LINK_LAYER, 1])
            && out.push(&self.mac.octets())
    }
}

#[cfg(test)]
mod tests;
