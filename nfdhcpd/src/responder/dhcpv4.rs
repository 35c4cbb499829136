//! DHCPv4 for one fixed address (RFC 2131): which message is answered, with what, and where the answer goes.
//!
//! The port says who asks, so there is no lease database: the address is the binding's or none. What the VM sends is
//! compared with it, never taken over.

mod boot;
mod fqdn;
mod lease;
mod options;
mod routes;

use std::net::Ipv4Addr;

use dhcproto::v4::{MessageType, Opcode};
use nfdhcpd_binding::MacAddr;

pub use lease::Lease;

use super::{Decision, Ignored, Reply, Served};
use crate::wire::dhcpv4::{
    BROADCAST, CLIENT_PORT, DATAGRAM_MIN, Envelope, Fixed, Message, Request, SERVER_PORT, code,
};
use crate::wire::ip::{Link, Udp4};
use crate::wire::{Frame, Inbound};

/// Option 56 of a NAK.
const NAK_TEXT: &[u8] = b"not the address of this port";

/// Answers one datagram.
pub(super) fn answer(
    served: &Served,
    packet: &Inbound<'_>,
    out: &mut Frame,
) -> Result<Decision, Ignored> {
    let datagram = Udp4::read(packet.payload, packet.verify_checksum)?;
    if datagram.destination_port != SERVER_PORT {
        return Ok(Decision::NotOurs);
    }
    let lease = served.dhcpv4.as_ref().ok_or(Ignored::NoAddress)?;
    let request = Request::read(datagram.payload)?;
    if request.opcode != Opcode::BootRequest {
        return Err(Ignored::FromServer);
    }
    if request.chaddr != served.mac && !served.mac_spoof {
        return Err(Ignored::Spoofed);
    }

    let reply = decide(&request, lease)?;
    let relay = packet.source.unwrap_or(request.chaddr);
    let destination = Destination::of(reply, &request, lease.address, datagram.source, relay);
    write(reply, &request, lease, destination, out).ok_or(Ignored::TooLarge)?;
    Ok(Decision::Reply(reply))
}

/// Which message answers a request (RFC 2131 §4.3).
fn decide(request: &Request<'_>, lease: &Lease) -> Result<Reply, Ignored> {
    let for_us = request
        .server_identifier
        .is_none_or(|server| server == lease.server_identifier);
    match request.message_type {
        // RFC 4039 §3.1: an ACK at once, if both sides want it.
        Some(MessageType::Discover) if request.rapid_commit && lease.rapid_commit => Ok(Reply::Ack),
        Some(MessageType::Discover) => Ok(Reply::Offer),
        Some(MessageType::Request) if for_us => decide_request(request, lease.address),
        Some(MessageType::Inform) => Ok(Reply::InformAck),
        Some(MessageType::Decline) if for_us => Err(Ignored::Decline),
        Some(MessageType::Release) if for_us => Err(Ignored::Release),
        Some(MessageType::Request | MessageType::Decline | MessageType::Release) => {
            Err(Ignored::OtherServer)
        }
        Some(MessageType::Offer | MessageType::Ack | MessageType::Nak) => Err(Ignored::FromServer),
        // None is BOOTP.
        None
        | Some(
            MessageType::ForceRenew
            | MessageType::LeaseQuery
            | MessageType::LeaseUnassigned
            | MessageType::LeaseUnknown
            | MessageType::LeaseActive
            | MessageType::BulkLeaseQuery
            | MessageType::LeaseQueryDone
            | MessageType::ActiveLeaseQuery
            | MessageType::LeaseQueryStatus
            | MessageType::Tls
            | MessageType::Unknown(_),
        ) => Err(Ignored::UnknownType),
    }
}

/// SELECTING and INIT-REBOOT name the address in option 50, RENEWING and REBINDING in `ciaddr` (RFC 2131 §4.3.2). We
/// know all about the port, so a wrong one gets a NAK in each of the states.
fn decide_request(request: &Request<'_>, address: Ipv4Addr) -> Result<Reply, Ignored> {
    let has = (!request.ciaddr.is_unspecified()).then_some(request.ciaddr);
    if request.requested_address.is_none() && has.is_none() {
        return Err(Ignored::Malformed);
    }
    let right = |claimed: Option<Ipv4Addr>| claimed.is_none_or(|claimed| claimed == address);
    Ok(if right(request.requested_address) && right(has) {
        Reply::Ack
    } else {
        Reply::Nak
    })
}

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Destination {
    mac: MacAddr,
    ip: Ipv4Addr,
    port: u16,
}

impl Destination {
    /// RFC 2131 §4.1; for an INFORM §4.3.5. `source`: the request's IP source; `relay`: its Ethernet source.
    fn of(
        reply: Reply,
        request: &Request<'_>,
        yiaddr: Ipv4Addr,
        source: Ipv4Addr,
        relay: MacAddr,
    ) -> Self {
        let unicast = |ip| Self {
            mac: request.chaddr,
            ip,
            port: CLIENT_PORT,
        };
        let everyone = Self {
            mac: MacAddr::BROADCAST,
            ip: Ipv4Addr::BROADCAST,
            port: CLIENT_PORT,
        };
        let has_address = !request.ciaddr.is_unspecified();
        if reply == Reply::InformAck {
            // A client that forgot ciaddr, as some do, is where it sends from.
            return if has_address {
                unicast(request.ciaddr)
            } else if source.is_unspecified() {
                everyone
            } else {
                unicast(source)
            };
        }
        if !request.giaddr.is_unspecified() {
            return Self {
                mac: relay,
                ip: request.giaddr,
                port: SERVER_PORT,
            };
        }
        if reply == Reply::Nak {
            return everyone;
        }
        if has_address {
            return unicast(request.ciaddr);
        }
        if request.flags & BROADCAST != 0 {
            everyone
        } else {
            unicast(yiaddr)
        }
    }
}

/// Writes the reply; `None` when it does not fit.
fn write(
    reply: Reply,
    request: &Request<'_>,
    lease: &Lease,
    destination: Destination,
    out: &mut Frame,
) -> Option<()> {
    let takes = request
        .max_message_size
        .unwrap_or(DATAGRAM_MIN)
        .max(DATAGRAM_MIN);
    let envelope = Envelope {
        link: Link {
            source: lease.router_mac,
            destination: destination.mac,
        },
        source: (lease.server_identifier, SERVER_PORT),
        destination: (destination.ip, destination.port),
        datagram_max: takes.min(lease.datagram_max),
    };
    let message_type = match reply {
        Reply::Offer => MessageType::Offer,
        Reply::Nak => MessageType::Nak,
        Reply::Ack
        | Reply::InformAck
        | Reply::Advertise6
        | Reply::Reply6
        | Reply::InformationReply6
        | Reply::Refusal6
        | Reply::ReleaseReply6
        | Reply::DeclineReply6
        | Reply::RouterAdvertisement
        | Reply::NeighborAdvertisement => MessageType::Ack,
    };
    let fixed = fixed_fields(reply, request, lease);
    let mut message = Message::begin(out, &envelope, message_type, &fixed, request.relay_agent)?;
    let mut fits = message.option(code::SERVER_IDENTIFIER, &lease.server_identifier.octets());
    if reply == Reply::Nak {
        fits &= message.option(code::MESSAGE, NAK_TEXT);
        // RFC 6842 §3: in every reply.
        fits &= message.echo(code::CLIENT_IDENTIFIER, &request.client_identifier);
        return (fits && message.finish()).then_some(());
    }

    for times in [code::LEASE_TIME, code::RENEWAL_TIME, code::REBINDING_TIME] {
        if reply == Reply::InformAck {
            message.withhold(times);
        } else if let Some(encoded) = lease.options.get(times) {
            fits &= message.encoded(times, encoded);
        }
    }
    fits &= message.echo(code::CLIENT_IDENTIFIER, &request.client_identifier);
    fits &= message.echo(code::CLIENT_MACHINE, &request.machine);
    if reply == Reply::Ack && request.message_type == Some(MessageType::Discover) {
        fits &= message.option(code::RAPID_COMMIT, &[]);
    }
    if !fits {
        return None;
    }
    // Where the binding gives one of these, its word counts.
    for given in [code::VENDOR_CLASS, code::CLIENT_FQDN] {
        if let Some(encoded) = lease.options.get(given) {
            message.encoded(given, encoded);
        }
    }
    let boot_file = boot::write(&mut message, request, lease.boot.as_deref());
    fqdn::write(&mut message, &request.fqdn, lease.fqdn.as_deref());
    write_requested(&mut message, request, lease, boot_file);
    message.finish().then_some(())
}

/// RFC 2131 table 3.
fn fixed_fields(reply: Reply, request: &Request<'_>, lease: &Lease) -> Fixed {
    let none = Ipv4Addr::UNSPECIFIED;
    let is_nak = reply == Reply::Nak;
    let gives = matches!(reply, Reply::Offer | Reply::Ack);
    // A NAK through a relay: the relay is to broadcast it (RFC 2131 §4.3.2).
    let relayed_nak = is_nak && !request.giaddr.is_unspecified();
    // An OFFER's is 0; so is that of an ACK to a DISCOVER, which is an OFFER and more.
    let keeps_ciaddr = matches!(reply, Reply::Ack | Reply::InformAck)
        && request.message_type != Some(MessageType::Discover);
    Fixed {
        xid: request.xid,
        flags: request.flags | if relayed_nak { BROADCAST } else { 0 },
        ciaddr: if keeps_ciaddr { request.ciaddr } else { none },
        yiaddr: if gives { lease.address } else { none },
        siaddr: if is_nak { none } else { lease.next_server },
        giaddr: request.giaddr,
        chaddr: request.chaddr,
    }
}

/// The parameters the client asks for, in its order, then those the binding gives unasked. A client without a list
/// gets all that may be sent unasked. What does not fit is left out (RFC 2131 §4.3.1).
fn write_requested(
    message: &mut Message<'_, '_>,
    request: &Request<'_>,
    lease: &Lease,
    boot_file: Option<&[u8]>,
) {
    let mut write = |option: u8| {
        if option == code::BOOT_FILE_NAME {
            boot_file.map(|file| message.option(option, file));
        } else if let Some(encoded) = lease.options.get(option) {
            message.encoded(option, encoded);
        }
    };
    if request.parameters.is_present() {
        for option in request.parameters.bytes() {
            // The mask goes before the router (RFC 2132 §3.3).
            if option == code::ROUTER && lease.options.get(option).is_some() {
                write(code::SUBNET_MASK);
            }
            write(option);
        }
    } else {
        // An IPv6-only host says so (RFC 8925 §3.3); a Windows that knows 249 lists it.
        let unasked = |option: &u8| {
            !matches!(
                *option,
                code::IPV6_ONLY_PREFERRED | code::MS_CLASSLESS_ROUTES
            )
        };
        lease.options.codes().filter(unasked).for_each(&mut write);
        write(code::BOOT_FILE_NAME);
    }
    lease.unasked.iter().copied().for_each(write);
}

#[cfg(test)]
mod tests;
