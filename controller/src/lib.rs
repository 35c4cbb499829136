//! The control plane of clouds on Ganeti: API, database, outbox, dispatcher, reconciliation.

pub mod allocation;
pub mod api;
pub mod backends;
pub mod bootstrap;
pub mod cloud;
pub mod config;
pub mod db;
pub mod deeds;
pub mod dispatcher;
pub mod doubts;
pub mod floating_ips;
pub mod lifecycle;
pub mod metrics;
pub mod networks;
pub mod order;
pub mod outbox;
pub mod outcome;
pub mod ports;
pub mod quota;
pub mod rapi;
pub mod seal;
pub mod secret;
pub mod servers;
pub mod service;
pub mod ssh_key;
pub mod subnets;
