//! One entry of `ROUTES`: `PREFIX@GATEWAY`; gateway `0.0.0.0` or `::` says on-link.

use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A route the VM is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// DHCPv4 options 121 and 249 (RFC 3442).
    V4 {
        /// Where to; host bits clear.
        destination: Ipv4Net,
        /// By which router; 0.0.0.0 = on-link.
        gateway: Ipv4Addr,
    },
    /// Route information option (RFC 4191): the router is the one that advertises.
    V6 {
        /// Where to; host bits clear.
        destination: Ipv6Net,
        /// `::`, or the router's address as a note to the reader: an RA cannot name another router.
        gateway: Ipv6Addr,
    },
}
