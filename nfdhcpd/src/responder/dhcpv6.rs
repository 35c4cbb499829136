//! DHCPv6 for one fixed address (RFC 8415).

use nfdhcpd_binding::Binding;

use super::{Decision, Ignored, Served, Settings};
use crate::wire::{Frame, Inbound};

/// What a VM is told, its options encoded.
#[derive(Debug)]
pub struct Service;

impl Service {
    /// `None` when the mode says that nothing is answered.
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
