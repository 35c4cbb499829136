//! The binding file's text under libFuzzer.
#![no_main]

#[path = "../checks/binding.rs"]
mod binding;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| binding::check(bytes));
