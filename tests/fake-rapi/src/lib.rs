//! A Ganeti 3.0 cluster's remote API without a cluster, for tests of who speaks to it.
//!
//! It keeps state: a job goes through its life, changes what there is, or fails in Ganeti's words. What it answers is held to
//! the real one by [`conformance`], a transcript that both must pass.

pub mod certificate;
pub mod client;
pub mod cluster;
pub mod conformance;
pub mod fault;
mod queue_directory;
mod routes;
pub mod server;

pub use fault::{Accept, Fault, Reply};
pub use server::{FakeRapi, Options, Recorded};
