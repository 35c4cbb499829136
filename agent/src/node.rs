//! snf-agent: keeps a node's NICs as snf-ifup made them, and takes away what is left of those that are gone.
//!
//! In reading order, which is a drift's trip: [`socket`] takes what the hooks say, [`environment`] reads it, [`store`]
//! keeps it; [`observe`] reads what Ganeti ([`runtime`]) and snf-ifup left on the node; [`reconcile`] judges each TAP
//! (pure), by what the instance runs with and by what is [`configured`]; [`round`] plans by way of the `ifup` library and applies. [`links`] hears of devices, [`daemon`] is
//! everything's owner, [`story`] and [`report`] tell people.

pub mod config;
pub mod configured;
pub mod counters;
pub mod daemon;
pub mod environment;
pub mod links;
pub mod metrics;
pub mod observe;
pub mod reconcile;
pub mod report;
pub mod round;
pub mod runtime;
pub mod socket;
pub mod store;
pub mod story;
