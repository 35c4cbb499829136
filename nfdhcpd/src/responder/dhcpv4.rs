//! DHCPv4 for one fixed address (RFC 2131).

use nfdhcpd_binding::Binding;

use super::{Decision, Ignored, Served, Settings};
use crate::wire::{Frame, Inbound};

/// What a VM is leased, its options encoded.
#[derive(Debug)]
pub struct Lease;

impl Lease {
    /// `None` when the binding has no IPv4 address.
    #[must_use]
    pub fn new(_binding: &Binding, _settings: &Settings) -> Option<Self> {
        None
    }
}

pub(super) fn answer(
    _served: &Served,
    _packet: &Inbound<'_>,
    _out: &mut Frame,
) -> Result<Decision, Ignored> {
    Err(Ignored::NoAddress)
}
