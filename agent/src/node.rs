//! snf-agent: keeps a node's NICs as snf-ifup made them, and takes away what is left of those that are gone.
//!
//! In reading order, which is a drift's trip: [`socket`] takes what the hooks say, [`environment`] reads it, [`store`]
//! keeps it; [`observe`] reads what Ganeti ([`runtime`]) and snf-ifup left on the node; [`reconcile`] judges each TAP
//! (pure), by what the instance runs with and by what is [`configured`]; [`round`] plans by way of the `ifup` library and applies. [`links`] hears of devices, [`daemon`] is
//! everything's owner, [`story`] and [`report`] tell people.
//!
//! The control plane is told, too: [`outbox`] makes messages of what hooks ([`net_status`]) and the progress monitor say,
//! [`spool`] keeps them on disk, [`publish`] sends them, and by the clock a report of the host ([`inventory`]), its [`taps`]
//! and what nfdhcpd tells of them ([`dhcp`]). [`membership`] knows who we are in the cluster.

pub mod config;
pub mod configured;
pub mod counters;
pub mod daemon;
pub mod dhcp;
pub mod environment;
pub mod inventory;
pub mod links;
pub mod membership;
pub mod metrics;
pub mod net_status;
pub mod observe;
pub mod outbox;
pub mod publish;
pub mod reconcile;
pub mod report;
pub mod round;
pub mod runtime;
pub mod socket;
pub mod spool;
pub mod store;
pub mod story;
pub mod taps;
