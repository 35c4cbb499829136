//! A DHCPv4 request under libFuzzer.
#![no_main]

#[path = "../checks/dhcpv4.rs"]
mod dhcpv4;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dhcpv4::check(bytes));
