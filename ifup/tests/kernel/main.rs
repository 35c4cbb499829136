//! The real program on the real kernel: each test in a network and mount namespace of its own, with the `ip` and `nft`
//! programs as witnesses and real frames through real TAPs.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, print what they skip, run the programs they test and bound their waits"
)]

mod announcements;
mod frames;
mod isolation;
mod lifecycle;
mod namespace;
mod routed;
