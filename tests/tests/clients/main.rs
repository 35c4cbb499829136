//! Real DHCP and SLAAC clients behind a TAP: each gets what its binding says, bridged and routed, keeps it by renewing,
//! loses it when the binding says something else, and gives it back.

mod dhclient;
mod dhcpcd;
mod networkd;
mod slaac;
mod udhcpc;
