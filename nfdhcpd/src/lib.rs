//! nfdhcpd: answers DHCPv4, DHCPv6, router and neighbour solicitations of a host's VMs, at their TAPs.
//!
//! The modules in the order a packet meets them: `packets` is the thread, `queue` takes the packet from the kernel,
//! `ports` finds what its TAP is served, `policer` counts it against the TAP's rate, `wire` reads its bytes,
//! `responder` decides and writes the answer, `tap` sends it, `story` and `counters` keep what became of it.
//!
//! Around them: `daemon` is the loop of everything else; `serving` brings files (`watch`) and devices (`netlink`)
//! through the table of `bindings` to the ports; `advertiser` keeps the time of the advertisements that nobody asked
//! for; `ctl` and `metrics` tell what goes on.

pub mod advertiser;
pub mod allocator;
pub mod asked;
pub mod bindings;
pub mod claims;
pub mod clock;
pub mod config;
pub mod counters;
pub mod ctl;
pub mod daemon;
pub mod explain;
pub mod import;
pub mod link;
pub mod metrics;
pub mod netlink;
pub mod outcome;
pub mod packets;
pub mod policer;
pub mod ports;
pub mod privileges;
pub mod queue;
pub mod redirect;
pub mod responder;
pub mod rules;
pub mod serving;
pub mod story;
pub mod tap;
pub mod trace;
pub mod watch;
pub mod wire;
