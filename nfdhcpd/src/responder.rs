//! What is answered. A packet's third step, and all of it pure: facts and settings in, a decision out.

pub mod dhcpv4;
pub mod dhcpv6;
pub mod ndp;

use std::net::{IpAddr, Ipv4Addr};

use nfdhcpd_binding::{Binding, DomainName, MacAddr, Mode6};

use crate::wire::ip::Malformed;
use crate::wire::{Frame, Inbound, Protocol};

/// What of the configuration the answers depend on; the binding's own keys win over each.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The router's hardware address: source of every answer, and from it the router's link-local address. The same on
    /// every host, so that a VM that migrates keeps its router. Equal to the TAP's own address on routed NICs.
    pub router_mac: MacAddr,
    /// True: this host is the router of bridged NICs too, under `router_mac`.
    pub router_is_host: bool,
    /// Name servers, both families.
    pub nameservers: Vec<IpAddr>,
    /// Domain name, option 15.
    pub domain: Option<DomainName>,
    /// Search list; empty = none.
    pub domain_search: Vec<DomainName>,
    /// NTP servers, both families.
    pub ntp: Vec<IpAddr>,
    /// DHCPv4.
    pub dhcpv4: Dhcpv4Settings,
    /// DHCPv6.
    pub dhcpv6: Dhcpv6Settings,
    /// Router advertisements.
    pub ra: RaSettings,
}

/// DHCPv4's part of the settings.
#[derive(Debug, Clone)]
pub struct Dhcpv4Settings {
    /// Server identifier (54); `None` = the binding's gateway, else the first address of its subnet that is not the VM's.
    pub server_ip: Option<Ipv4Addr>,
    /// Lease time, seconds; T1 and T2 are 1/2 and 7/8 of it (RFC 2131 §4.4.5).
    pub lease: u32,
    /// Answer a DISCOVER that asks for rapid commit (RFC 4039) with an ACK.
    pub rapid_commit: bool,
}

/// DHCPv6's part of the settings.
#[derive(Debug, Clone)]
pub struct Dhcpv6Settings {
    /// Server DUID; `None` = DUID-LL of `router_mac` (RFC 8415 §11.4).
    pub server_duid: Option<Vec<u8>>,
    /// Preferred lifetime of an address, seconds.
    pub preferred_lifetime: u32,
    /// Valid lifetime of an address, seconds.
    pub valid_lifetime: u32,
    /// Option 32, seconds, at least 600.
    pub information_refresh: u32,
    /// Options 82, seconds, 60 to 86400; `None` = not sent.
    pub sol_max_rt: Option<u32>,
    /// Option 83, seconds, 60 to 86400; `None` = not sent.
    pub inf_max_rt: Option<u32>,
    /// Answer a SOLICIT of a NIC that has no address to give: `true` NoAddrsAvail (RFC 8415 §18.3.9), `false` silence.
    pub answer_stateless_solicit: bool,
}

/// Router advertisements' part of the settings.
#[derive(Debug, Clone)]
pub struct RaSettings {
    /// MaxRtrAdvInterval, seconds, 4 to 1800 (RFC 4861 §6.2.1); MinRtrAdvInterval is a third of it, at least 3.
    pub max_interval: u32,
    /// Router lifetime, seconds: 0, or `max_interval` to 65535 (RFC 8319).
    pub router_lifetime: u16,
    /// Preferred lifetime of the prefix, seconds.
    pub prefix_preferred: u32,
    /// Valid lifetime of the prefix, seconds.
    pub prefix_valid: u32,
    /// What a binding without `MODE6` gets.
    pub mode6: Mode6,
}

/// How the kernel has the TAP attached; decides which router is announced and whose neighbours are answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// The host routes the VM's packets.
    Routed,
    /// The TAP is a port of a bridge.
    Bridged {
        /// The bridge's interface index.
        bridge: u32,
    },
}

/// Everything an answer to one TAP needs, encoded once when its binding comes into force.
#[derive(Debug)]
pub struct Served {
    /// The VM's hardware address.
    pub mac: MacAddr,
    /// The VM may send from other hardware addresses.
    pub mac_spoof: bool,
    /// DHCPv4; `None` when the binding has no IPv4 address.
    pub dhcpv4: Option<dhcpv4::Lease>,
    /// DHCPv6; `None` when the mode leaves IPv6 to the network's own router: its packets are not ours.
    pub dhcpv6: Option<dhcpv6::Service>,
    /// Router and neighbour discovery; `None` likewise.
    pub ndp: Option<ndp::Router>,
}

impl Served {
    /// Encodes a binding.
    #[must_use]
    pub fn new(binding: &Binding, attachment: Attachment, settings: &Settings) -> Self {
        Self {
            mac: binding.mac,
            mac_spoof: binding.mac_spoof,
            dhcpv4: dhcpv4::Lease::new(binding, settings),
            dhcpv6: dhcpv6::Service::new(binding, settings),
            ndp: ndp::Router::new(binding, attachment, settings),
        }
    }
}

/// What becomes of a packet: exactly one verdict follows from it, and a frame if it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The frame goes to the VM, the packet is dropped.
    Reply(Reply),
    /// A router solicitation that can only be answered to all nodes: the advertiser sends, at its own pace
    /// (RFC 4861 §6.2.6), and the packet is dropped.
    Advertise,
    /// No answer; the packet is dropped.
    Ignore(Ignored),
    /// Not for us: the packet goes on.
    NotOurs,
}

/// Which message was answered; log field and metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    /// DHCPOFFER.
    Offer,
    /// DHCPACK to a REQUEST, or to a DISCOVER with rapid commit.
    Ack,
    /// DHCPACK to an INFORM.
    InformAck,
    /// DHCPNAK.
    Nak,
    /// DHCPv6 Advertise of the address.
    Advertise6,
    /// DHCPv6 Reply with the address, or one that says a Confirm's addresses are right.
    Reply6,
    /// DHCPv6 Reply to an Information-request.
    InformationReply6,
    /// DHCPv6 Advertise or Reply whose status refuses: NoAddrsAvail, NoBinding, NotOnLink, UseMulticast.
    Refusal6,
    /// DHCPv6 Reply to a Release.
    ReleaseReply6,
    /// DHCPv6 Reply to a Decline: the VM found its address in use by somebody else.
    DeclineReply6,
    /// Router advertisement to one host.
    RouterAdvertisement,
    /// Neighbour advertisement.
    NeighborAdvertisement,
}

/// Why there is no answer; log field and metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// Not a well-formed message of its protocol.
    Malformed,
    /// From a hardware address that is not the binding's.
    Spoofed,
    /// The TAP has no binding in force.
    NoBinding,
    /// The binding has no address or prefix of this family.
    NoAddress,
    /// The message is for another server.
    OtherServer,
    /// A message only servers send.
    FromServer,
    /// A type of message nobody answers.
    UnknownType,
    /// DHCPRELEASE: noted.
    Release,
    /// DHCPDECLINE: the VM found its address in use by somebody else.
    Decline,
    /// A DHCPv6 message without an identifier the message must have, or with one it must not have.
    Identifier,
    /// A DHCPv6 message sent to one server's address that must go to all of them (RFC 8415 §16).
    NotMulticast,
    /// A DHCPv6 Confirm or Rebind about addresses nothing is known of.
    NoOpinion,
    /// A solicitation for the VM's own address, or one that is not for us to answer for.
    NotProxied,
    /// Over the TAP's rate.
    RateLimited,
    /// The answer does not fit a frame.
    TooLarge,
}

impl From<Malformed> for Ignored {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Answers one packet of a TAP. `out` holds the frame when the decision is `Reply`.
///
/// A packet from a hardware address other than the binding's is ignored unless the binding allows it.
#[must_use]
pub fn answer(served: &Served, packet: &Inbound<'_>, out: &mut Frame) -> Decision {
    if let Some(source) = packet.source
        && source != served.mac
        && !served.mac_spoof
    {
        return Decision::Ignore(Ignored::Spoofed);
    }
    out.clear();
    let outcome = match packet.protocol {
        Protocol::Dhcpv4 => dhcpv4::answer(served, packet, out),
        Protocol::Dhcpv6 => dhcpv6::answer(served, packet, out),
        Protocol::RouterSolicitation => ndp::answer_rs(served, packet, out),
        Protocol::NeighborSolicitation => ndp::answer_ns(served, packet, out),
    };
    outcome.unwrap_or_else(Decision::Ignore)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Settings;
    use crate::config::Config;

    /// What a configuration file with these lines says: what the tests of each protocol start from.
    pub(super) fn configured(text: &str) -> Settings {
        let config = Config::parse(text, Path::new("nfdhcpd.toml"));
        config.unwrap().settings
    }
}
