//! The identity associations of an answer: who gets the address, who is refused and how.

use std::net::Ipv6Addr;

use super::{Lease, Service, fits};
use crate::responder::Ignored;
use crate::wire::Frame;
use crate::wire::dhcpv6::{Ia, IaKind, Message, Status, push_address, push_ia, push_status};

/// Solicit and Request: the address to the first IA_NA. True when one got it.
///
/// `hints`: addresses in the message are but hints (a Solicit's); otherwise one that is not right for the link is told
/// so (§18.3.2).
pub(super) fn assign(
    service: &Service,
    message: &Message<'_>,
    hints: bool,
    out: &mut Frame,
) -> Result<bool, Ignored> {
    let mut free = service.lease;
    for ia in message.ias() {
        let misplaced = || {
            let mut claimed = ia.addresses().filter(|claimed| !claimed.is_unspecified());
            !hints && claimed.any(|claimed| service.on_link(claimed) == Some(false))
        };
        match (ia.kind, free) {
            (IaKind::PrefixDelegation, _) => refuse(&ia, Status::NoPrefixAvail, out)?,
            (IaKind::NonTemporary, _) if misplaced() => refuse(&ia, Status::NotOnLink, out)?,
            (IaKind::NonTemporary, Some(lease)) => {
                grant(&ia, lease, false, out)?;
                free = None;
            }
            (IaKind::NonTemporary, None) | (IaKind::Temporary, _) => {
                refuse(&ia, Status::NoAddrsAvail, out)?;
            }
        }
    }
    Ok(service.lease.is_some() && free.is_none())
}

/// Renew and Rebind: the address stays with the IA_NA that holds it, else it goes to the first. True when one has it.
pub(super) fn extend(
    service: &Service,
    message: &Message<'_>,
    rebind: bool,
    out: &mut Frame,
) -> Result<bool, Ignored> {
    let held = service.lease.and_then(|lease| {
        let holds = |ia: Ia<'_>| is_held(&ia, lease.address);
        let is_na = |ia: Ia<'_>| ia.kind == IaKind::NonTemporary;
        let owner = message.ias().position(holds);
        let owner = owner.or_else(|| message.ias().position(is_na))?;
        Some((owner, lease))
    });
    for (place, ia) in message.ias().enumerate() {
        let is_na = ia.kind == IaKind::NonTemporary;
        let mut misplaced = ia
            .addresses()
            .filter(|claimed| service.on_link(*claimed) == Some(false));
        match held {
            Some((owner, lease)) if owner == place => grant(&ia, lease, true, out)?,
            // §18.3.5: not known, and not right for the link.
            _ if is_na && rebind && misplaced.next().is_some() => withdraw(&ia, out)?,
            // An IA without addresses asks for one (§18.2.4).
            _ if is_na && ia.addresses().next().is_none() => {
                refuse(&ia, Status::NoAddrsAvail, out)?;
            }
            _ => refuse(&ia, Status::NoBinding, out)?,
        }
    }
    Ok(held.is_some())
}

/// Release and Decline: names those that do not hold the address.
pub(super) fn give_up(
    service: &Service,
    message: &Message<'_>,
    out: &mut Frame,
) -> Result<(), Ignored> {
    for ia in message.ias() {
        let known = service
            .lease
            .is_some_and(|lease| is_held(&ia, lease.address));
        if !known {
            refuse(&ia, Status::NoBinding, out)?;
        }
    }
    Ok(())
}

/// Confirm: whether all addresses are right for this VM's link. `None` when there are none, or nothing is known.
pub(super) fn confirms(service: &Service, message: &Message<'_>) -> Option<bool> {
    let mut claimed = message.ias().flat_map(|ia| ia.addresses()).peekable();
    claimed.peek()?;
    match (service.lease, service.prefix) {
        (Some(lease), _) => Some(claimed.all(|address| address == lease.address)),
        (None, Some(prefix)) => Some(claimed.all(|address| prefix.contains(&address))),
        (None, None) => None,
    }
}

fn is_held(ia: &Ia<'_>, address: Ipv6Addr) -> bool {
    ia.kind == IaKind::NonTemporary && ia.addresses().any(|held| held == address)
}

/// The address with its lifetimes; `settle`: and those the IA holds wrongly, with none.
fn grant(ia: &Ia<'_>, lease: Lease, settle: bool, out: &mut Frame) -> Result<(), Ignored> {
    fits(push_ia(out, ia, lease.times(), |out| {
        push_address(out, lease.address, lease.preferred, lease.valid)
            && ia
                .addresses()
                .filter(|held| settle && *held != lease.address)
                .all(|held| push_address(out, held, 0, 0))
    }))
}

/// All the IA holds, with no lifetime.
fn withdraw(ia: &Ia<'_>, out: &mut Frame) -> Result<(), Ignored> {
    fits(push_ia(out, ia, (0, 0), |out| {
        ia.addresses().all(|held| push_address(out, held, 0, 0))
    }))
}

fn refuse(ia: &Ia<'_>, status: Status, out: &mut Frame) -> Result<(), Ignored> {
    fits(push_ia(out, ia, (0, 0), |out| push_status(out, status)))
}
