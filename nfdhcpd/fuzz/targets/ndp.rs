//! A solicitation under libFuzzer.
#![no_main]

#[path = "../checks/ndp.rs"]
mod ndp;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ndp::check(bytes));
