//! Bytes: what came from a VM, as the kernel handed it over, and the frame that goes back. A packet's second step.
//!
//! Everything here is written by a VM that may be hostile: reading never panics, never allocates, and is bounded.

pub mod dhcpv4;
pub mod dhcpv6;
pub mod ip;
pub mod ndp;

use nfdhcpd_binding::MacAddr;

/// The four protocols, each with a queue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// UDP to port 67 (RFC 2131).
    Dhcpv4,
    /// ICMPv6 type 133 (RFC 4861 §4.1).
    RouterSolicitation,
    /// ICMPv6 type 135 (RFC 4861 §4.3).
    NeighborSolicitation,
    /// UDP to port 547 (RFC 8415).
    Dhcpv6,
}

/// One packet of a VM, from its IP header on.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// Which queue it came from.
    pub protocol: Protocol,
    /// The Ethernet source (NFQA_HWADDR), when the kernel gave one.
    pub source: Option<MacAddr>,
    /// The transport checksum is to be verified. False when the kernel vouches for it (no NFQA_SKB_CSUM_NOTVERIFIED), or
    /// says that it is not filled in yet (a virtio guest's partial checksum, NFQA_SKB_CSUMNOTREADY).
    pub verify_checksum: bool,
    /// IP header and all behind it, perhaps cut to the copy range.
    pub payload: &'a [u8],
}

/// Largest frame sent: Ethernet header and 1500 bytes.
pub const FRAME_MAX: usize = 14 + 1500;

/// A frame to a VM, from its Ethernet header on, in a buffer that is used again.
#[derive(Clone)]
pub struct Frame {
    bytes: [u8; FRAME_MAX],
    len: usize,
}

impl Frame {
    /// No bytes yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; FRAME_MAX],
            len: 0,
        }
    }

    /// Forgets the bytes.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets the bytes behind the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends; false, and nothing appended, when they do not fit.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let end = self.len.saturating_add(bytes.len());
        match self.bytes.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len = end;
                true
            }
            None => false,
        }
    }

    /// What was appended.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The same, to fill in lengths and checksums afterwards.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}
