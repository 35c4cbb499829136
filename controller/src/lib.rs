//! The control plane of clouds on Ganeti: API, database, dispatcher, reconciliation.
//!
//! Modules in the order of a request's trip.

pub mod lifecycle;
pub mod order;
pub mod rapi;
