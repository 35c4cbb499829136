//! What the controller does, on each of its databases: real servers, started here, with a database of its own for each test.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests start servers, read the clock, and fail by panicking"
)]

mod catalog;
mod cloud;
mod databases;
mod document;
mod doubts;
mod events;
mod fixture;
mod frame;
mod identity;
mod intake;
mod manage;
mod networks;
mod outbox;
mod schema;
mod served;
mod servers;
mod stock;
