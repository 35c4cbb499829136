//! nfdhcpd: answers DHCPv4, DHCPv6, router and neighbour solicitations of a host's VMs, at their TAPs.
//!
//! The modules in the order a packet meets them: `queue` takes it from the kernel, `bindings` finds what its TAP is
//! served, `wire` reads its bytes, `responder` decides and writes the answer, `tap` sends it; `daemon` is the loop.
//! `advertiser` keeps the time of the advertisements that nobody asked for.

pub mod advertiser;
pub mod config;
pub mod import;
pub mod responder;
pub mod rules;
pub mod wire;
