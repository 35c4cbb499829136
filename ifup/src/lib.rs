//! snf-ifup: wires one TAP of a Ganeti VM. The modules in the order a NIC's trip meets them.
//!
//! Core (no IO, no clock, no environment, no logging): [`call`], [`config`], [`request`], [`facts`], [`element`],
//! [`record`], [`plan`], [`step`]. Shell: [`host`] reads, [`apply`] changes, by way of [`netlink`], [`nft`], [`sysctl`],
//! [`mod@file`] and [`announce`].

pub mod call;
pub mod config;
pub mod request;

pub mod facts;
pub mod host;

pub mod element;
pub mod plan;
pub mod record;
pub mod step;

pub mod announce;
pub mod apply;
pub mod file;
pub mod lock;
pub mod netlink;
pub mod nft;
pub mod sysctl;
