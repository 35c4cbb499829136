//! What the controller does, on each of its databases: real servers, started here, with a database of its own for each test.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests start servers, read the clock, and fail by panicking"
)]

mod databases;
mod frame;
mod schema;
mod served;
