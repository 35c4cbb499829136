//! Router advertisements and neighbour advertisements (RFC 4861).

use std::net::Ipv6Addr;

use nfdhcpd_binding::Binding;

use super::{Attachment, Decision, Ignored, Served, Settings};
use crate::wire::{Frame, Inbound};

/// What a VM is advertised, encoded, and whose addresses are answered for.
#[derive(Debug)]
pub struct Router;

impl Router {
    /// `None` without `SUBNET6`, or when the mode says that nothing is answered.
    #[must_use]
    pub fn new(_binding: &Binding, _attachment: Attachment, _settings: &Settings) -> Option<Self> {
        None
    }

    /// The addresses answered for on a bridged NIC (the router's own); empty when neighbours are left alone. The
    /// redirect takes only solicitations for these from a bridge.
    pub fn bridged_targets(&self) -> impl Iterator<Item = Ipv6Addr> {
        std::iter::empty()
    }
}

/// Writes the unsolicited advertisement of a TAP; `last`: the router ceases (lifetime 0, RFC 4861 §6.2.5).
/// False when the TAP is advertised nothing.
#[must_use]
pub fn advertise(_served: &Served, _last: bool, _out: &mut Frame) -> bool {
    false
}

pub(super) fn answer_rs(
    _served: &Served,
    _packet: &Inbound<'_>,
    _out: &mut Frame,
) -> Result<Decision, Ignored> {
    Err(Ignored::NoAddress)
}

pub(super) fn answer_ns(
    _served: &Served,
    _packet: &Inbound<'_>,
    _out: &mut Frame,
) -> Result<Decision, Ignored> {
    Err(Ignored::NoAddress)
}
