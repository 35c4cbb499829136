//! DHCPv6 for one fixed address (RFC 8415).
//!
//! Who asks is known from the device its packet came in on and, unless the binding says otherwise, from its Ethernet
//! source; never from its IPv6 source, which need not be formed from its hardware address. No lease is kept: the
//! address is the binding's, in every answer. What that means where the RFC speaks of bindings:
//!
//! * The address goes to the first IA_NA of a Solicit or Request; any other gets NoAddrsAvail.
//! * In a Renew or Rebind it stays with the IA_NA that holds it. If none does, the first IA_NA gets it, and whatever
//!   address it holds comes back with lifetime 0: the binding changed, and the VM moves over in one exchange.
//! * An IA_NA in a Release or Decline is known if it holds the address.
//! * A Confirm is right only about the address itself: others of its prefix belong to other VMs. Without an address in
//!   the binding the prefix decides.
//!
//! Temporary addresses and delegated prefixes are never given. A binding with `IP6` is served in every mode but `none`:
//! `MODE6` is what the router advertisement tells the VM to do, and a boot ROM asks whether it was told to or not.

mod ia;
mod options;

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use nfdhcpd_binding::{Binding, MacAddr, Mode6};

use super::{Decision, Ignored, Reply, Served, Settings};
use crate::wire::dhcpv6::{
    CLIENT_PORT, INFINITY, IaKind, Message, MessageType, SERVER_PORT, Status, code, push_option,
    push_status,
};
use crate::wire::ip::{Ipv6Packet, Link, begin_udp6, finish};
use crate::wire::{Frame, Inbound};

use options::ServerOptions;

/// What a VM is told, its options encoded.
#[derive(Debug)]
pub struct Service {
    /// Whom the answers come from: the router's hardware address, and its link-local address.
    mac: MacAddr,
    lease: Option<Lease>,
    prefix: Option<Ipv6Net>,
    answer_stateless_solicit: bool,
    options: ServerOptions,
}

/// The fixed address.
#[derive(Debug, Clone, Copy)]
struct Lease {
    address: Ipv6Addr,
    preferred: u32,
    valid: u32,
}

impl Lease {
    /// T1 and T2: 0.5 and 0.8 of the preferred lifetime (§21.4), infinite if that is.
    fn times(self) -> (u32, u32) {
        if self.preferred == INFINITY {
            return (INFINITY, INFINITY);
        }
        (
            self.preferred / 2,
            self.preferred / 5 * 4 + self.preferred % 5 * 4 / 5,
        )
    }
}

impl Service {
    /// `None` when the mode leaves IPv6 to the network's own router.
    #[must_use]
    pub fn new(binding: &Binding, settings: &Settings) -> Option<Self> {
        if binding.mode6.unwrap_or(settings.ra.mode6) == Mode6::None {
            return None;
        }
        let valid = settings.dhcpv6.valid_lifetime;
        Some(Self {
            mac: settings.router_mac,
            lease: binding.ip6.map(|address| Lease {
                address,
                preferred: settings.dhcpv6.preferred_lifetime.min(valid),
                valid,
            }),
            prefix: binding.subnet6,
            answer_stateless_solicit: settings.dhcpv6.answer_stateless_solicit,
            options: ServerOptions::new(binding, settings),
        })
    }

    /// Whether an address may be the VM's: it is the lease's, or of the network's prefix. `None` when nothing is known.
    fn on_link(&self, address: Ipv6Addr) -> Option<bool> {
        match (self.lease, self.prefix) {
            (Some(lease), _) if lease.address == address => Some(true),
            (_, Some(prefix)) => Some(prefix.contains(&address)),
            (Some(_), None) => Some(false),
            (None, None) => None,
        }
    }
}

pub(super) fn answer(
    served: &Served,
    packet: &Inbound<'_>,
    out: &mut Frame,
) -> Result<Decision, Ignored> {
    let Some(service) = &served.dhcpv6 else {
        return Ok(Decision::NotOurs);
    };
    let ip = Ipv6Packet::read(packet.payload).map_err(|_| Ignored::Malformed)?;
    let udp = ip
        .udp(packet.verify_checksum)
        .map_err(|_| Ignored::Malformed)?;
    if udp.destination_port != SERVER_PORT {
        return Ok(Decision::NotOurs);
    }
    // Nobody can be answered at such an address.
    if ip.source.is_unspecified() || ip.source.is_multicast() || ip.source.is_loopback() {
        return Err(Ignored::Malformed);
    }
    let kind = udp.payload.first().ok_or(Ignored::Malformed)?;
    let kind = MessageType::from_number(*kind).ok_or(Ignored::UnknownType)?;
    let link = Link {
        source: service.mac,
        destination: packet.source.unwrap_or(served.mac),
    };
    // §18.3.10: to the address and the hardware address it came from, to the client's port.
    let source = (service.mac.link_local(), SERVER_PORT);
    if !begin_udp6(out, link, source, (ip.source, CLIENT_PORT)) {
        return Err(Ignored::TooLarge);
    }
    let exchange = Exchange {
        service,
        kind,
        payload: udp.payload,
        unicast: !ip.destination.is_multicast(),
    };
    let reply = exchange.answer(out)?;
    if finish(out) {
        Ok(Decision::Reply(reply))
    } else {
        Err(Ignored::TooLarge)
    }
}

/// One message and what it is answered from.
struct Exchange<'a> {
    service: &'a Service,
    kind: MessageType,
    payload: &'a [u8],
    /// Sent to a server's own address.
    unicast: bool,
}

/// What §16 asks of the server identifier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ServerId {
    Ours,
    Absent,
    OursIfPresent,
}

impl<'a> Exchange<'a> {
    fn answer(&self, out: &mut Frame) -> Result<Reply, Ignored> {
        match self.kind {
            MessageType::Solicit => self.solicit(out),
            MessageType::Request => self.request(out),
            MessageType::Confirm => self.confirm(out),
            MessageType::Renew | MessageType::Rebind => self.extend(out),
            MessageType::Release => self.give_up(Reply::ReleaseReply6, out),
            MessageType::Decline => self.give_up(Reply::DeclineReply6, out),
            MessageType::InformationRequest => self.inform(out),
            MessageType::Advertise | MessageType::Reply | MessageType::Reconfigure => {
                Err(Ignored::FromServer)
            }
            // A VM is no relay agent of ours.
            MessageType::RelayForward | MessageType::RelayReply => Err(Ignored::UnknownType),
        }
    }

    /// §18.3.1, §18.3.9: the address, at once if the client will take it so.
    fn solicit(&self, out: &mut Frame) -> Result<Reply, Ignored> {
        let message = self.read(ServerId::Absent)?;
        let wants = |kind| message.ias().any(|ia| ia.kind == kind);
        let gives = self.service.lease.is_some() && wants(IaKind::NonTemporary);
        if !gives && !self.service.answer_stateless_solicit {
            return Err(Ignored::NoAddress);
        }
        let rapid = gives && message.options.first(code::RAPID_COMMIT).is_some();
        let kind = if rapid {
            MessageType::Reply
        } else {
            MessageType::Advertise
        };
        self.begin(kind, &message, out)?;
        if rapid {
            fits(push_option(out, code::RAPID_COMMIT, &[]))?;
        } else if gives {
            // There is no other server at a TAP: the client need not wait for one (§18.2.1).
            fits(push_option(out, code::PREFERENCE, &[255]))?;
        } else if wants(IaKind::NonTemporary) || wants(IaKind::Temporary) {
            // RFC 8415 wants this in each IA, RFC 3315 §17.2.2 here: clients of both ages are content with both.
            fits(push_status(out, Status::NoAddrsAvail))?;
        }
        ia::assign(self.service, &message, true, out)?;
        self.service.options.push(&message, false, out);
        Ok(match (gives, rapid) {
            (false, _) => Reply::Refusal6,
            (true, true) => Reply::Reply6,
            (true, false) => Reply::Advertise6,
        })
    }

    /// §18.3.2.
    fn request(&self, out: &mut Frame) -> Result<Reply, Ignored> {
        let message = self.read(ServerId::Ours)?;
        if self.unicast {
            return self.use_multicast(&message, out);
        }
        self.begin(MessageType::Reply, &message, out)?;
        let given = ia::assign(self.service, &message, false, out)?;
        self.service.options.push(&message, false, out);
        Ok(if given {
            Reply::Reply6
        } else {
            Reply::Refusal6
        })
    }

    /// §18.3.3.
    fn confirm(&self, out: &mut Frame) -> Result<Reply, Ignored> {
        let message = self.read(ServerId::Absent)?;
        let right = ia::confirms(self.service, &message).ok_or(Ignored::NoOpinion)?;
        self.begin(MessageType::Reply, &message, out)?;
        let (status, reply) = if right {
            (Status::Success, Reply::Reply6)
        } else {
            (Status::NotOnLink, Reply::Refusal6)
        };
        fits(push_status(out, status))?;
        Ok(reply)
    }

    /// Renew, §18.3.4, and Rebind, §18.3.5.
    fn extend(&self, out: &mut Frame) -> Result<Reply, Ignored> {
        let rebind = self.kind == MessageType::Rebind;
        let message = self.read(if rebind {
            ServerId::Absent
        } else {
            ServerId::Ours
        })?;
        if self.unicast {
            return self.use_multicast(&message, out);
        }
        if rebind && self.service.lease.is_none() && self.service.prefix.is_none() {
            return Err(Ignored::NoOpinion);
        }
        self.begin(MessageType::Reply, &message, out)?;
        let given = ia::extend(self.service, &message, rebind, out)?;
        self.service.options.push(&message, false, out);
        Ok(if given {
            Reply::Reply6
        } else {
            Reply::Refusal6
        })
    }

    /// Release, §18.3.7, and Decline, §18.3.8: the binding stays as it is.
    fn give_up(&self, reply: Reply, out: &mut Frame) -> Result<Reply, Ignored> {
        let message = self.read(ServerId::Ours)?;
        if self.unicast {
            return self.use_multicast(&message, out);
        }
        self.begin(MessageType::Reply, &message, out)?;
        fits(push_status(out, Status::Success))?;
        ia::give_up(self.service, &message, out)?;
        Ok(reply)
    }

    /// §18.3.6.
    fn inform(&self, out: &mut Frame) -> Result<Reply, Ignored> {
        let message = self.read(ServerId::OursIfPresent)?;
        // §16.12.
        if message.ias().next().is_some() {
            return Err(Ignored::Malformed);
        }
        self.begin(MessageType::Reply, &message, out)?;
        self.service.options.push(&message, true, out);
        Ok(Reply::InformationReply6)
    }

    /// §18.4: we never said that we may be spoken to alone.
    fn use_multicast(&self, message: &Message<'_>, out: &mut Frame) -> Result<Reply, Ignored> {
        self.begin(MessageType::Reply, message, out)?;
        fits(push_status(out, Status::UseMulticast))?;
        Ok(Reply::Refusal6)
    }

    /// The message, if its identifiers and its destination are as §16 demands of its type.
    fn read(&self, server_id: ServerId) -> Result<Message<'a>, Ignored> {
        // A message for no server in particular goes to all of them; others are told so, §18.4.
        if self.unicast && server_id != ServerId::Ours {
            return Err(Ignored::NotMulticast);
        }
        let message = Message::read(self.payload).map_err(|_| Ignored::Malformed)?;
        let given = message.options.first(code::SERVER_ID);
        match (server_id, given) {
            (ServerId::Absent, Some(_)) | (ServerId::Ours, None) => {
                return Err(Ignored::Identifier);
            }
            (ServerId::Ours | ServerId::OursIfPresent, Some(id)) => {
                if id != self.service.options.server_id() {
                    return Err(Ignored::OtherServer);
                }
            }
            (ServerId::Absent | ServerId::OursIfPresent, None) => {}
        }
        let client_id = message.options.first(code::CLIENT_ID);
        if client_id.is_none() && self.kind != MessageType::InformationRequest {
            return Err(Ignored::Identifier);
        }
        Ok(message)
    }

    /// The header and both identifiers, the client's as it came.
    fn begin(
        &self,
        kind: MessageType,
        message: &Message<'_>,
        out: &mut Frame,
    ) -> Result<(), Ignored> {
        fits(out.push(&[kind.number()]) && out.push(&message.transaction))?;
        if let Some(id) = message.options.first(code::CLIENT_ID) {
            fits(push_option(out, code::CLIENT_ID, id))?;
        }
        fits(push_option(
            out,
            code::SERVER_ID,
            self.service.options.server_id(),
        ))
    }
}

const fn fits(pushed: bool) -> Result<(), Ignored> {
    if pushed {
        Ok(())
    } else {
        Err(Ignored::TooLarge)
    }
}

#[cfg(test)]
mod tests;
