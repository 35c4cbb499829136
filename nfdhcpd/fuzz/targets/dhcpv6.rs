//! A DHCPv6 message under libFuzzer.
#![no_main]

#[path = "../checks/dhcpv6.rs"]
mod dhcpv6;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dhcpv6::check(bytes));
