//! Golden answers: a packet and a binding in, a decision and a frame out, as text.
//!
//! Each file in `frames/` is one case. What is given comes first: prose, then the sections `binding`, `packet` and, where
//! the defaults do not do, `configuration` (TOML) and `attachment` (`routed`, `bridged`). What is expected follows:
//! `decision` and, if there is an answer, `frame`. `UPDATE_GOLDEN=1 cargo test -p nfdhcpd --test answers` writes what is
//! expected anew: read the difference before you commit it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "answers/case.rs"]
mod case;
#[path = "answers/frame_text.rs"]
mod frame_text;

use std::fs;
use std::path::{Path, PathBuf};

use case::Case;
use nfdhcpd::responder::{self, Decision};
use nfdhcpd::wire::Frame;

/// One test per case, and the list that says which files are in use.
macro_rules! cases {
    ($($name:ident)*) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*
    };
}

cases! {
    dhcpv4_bootp
    dhcpv4_bootreply
    dhcpv4_decline
    dhcpv4_discover_dhclient
    dhcpv4_discover_dhcpcd_rapid_commit
    dhcpv4_discover_ipxe
    dhcpv4_discover_networkd_lone_address
    dhcpv4_discover_udhcpc
    dhcpv4_discover_uefi_http
    dhcpv4_discover_windows
    dhcpv4_fqdn
    dhcpv4_inform_windows
    dhcpv4_ipv6_only
    dhcpv4_no_address
    dhcpv4_overload
    dhcpv4_partial_checksum
    dhcpv4_private
    dhcpv4_rebind_after_change
    dhcpv4_reboot_wrong_address
    dhcpv4_release
    dhcpv4_renew
    dhcpv4_request_other_server
    dhcpv4_request_selecting
    dhcpv4_spoofed_chaddr
    dhcpv4_spoofed_source
    dhcpv4_wrong_checksum
    dhcpv6_confirm
    dhcpv6_confirm_wrong_address
    dhcpv6_decline
    dhcpv6_information_request
    dhcpv6_mode_none
    dhcpv6_partial_checksum
    dhcpv6_rebind
    dhcpv6_relay_forward
    dhcpv6_release
    dhcpv6_renew_after_change
    dhcpv6_renew_dhclient
    dhcpv6_renew_other_server
    dhcpv6_renew_unicast
    dhcpv6_renew_unknown_ia
    dhcpv6_request_dhclient
    dhcpv6_request_three_ias
    dhcpv6_solicit_dhclient
    dhcpv6_solicit_dhcpcd_rapid_commit
    dhcpv6_solicit_ipxe
    dhcpv6_solicit_networkd
    dhcpv6_solicit_stateless
    dhcpv6_solicit_uefi_http
    dhcpv6_solicit_with_server_id
    dhcpv6_wrong_checksum
    ns_bridged_gateway
    ns_bridged_gateway_of_the_lan
    ns_bridged_neighbor
    ns_gateway
    ns_multicast_target
    ns_neighbor_ndisc6
    ns_option_length_0
    ns_other_network
    ns_probe_gateway
    ns_probe_own_dhcpv6
    ns_probe_own_link_local
    ns_probe_own_temporary
    ns_router_unreachability
    rs_bridged
    rs_bridged_gateway6_mac
    rs_bridged_router_is_host
    rs_hop_limit
    rs_linux
    rs_linux_stable_privacy
    rs_mode_none
    rs_no_subnet6
    rs_prefix_48
    rs_private
    rs_rdisc6
    rs_stateful
    rs_stateless_everything
    rs_unspecified
    rs_unspecified_with_hardware_address
}

#[test]
fn every_file_is_a_case() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .expect("tests/frames can be read")
        .map(|entry| {
            entry
                .expect("its entries too")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    files.sort();
    let mut cases: Vec<String> = CASES.iter().map(|name| format!("{name}.txt")).collect();
    cases.sort();
    assert_eq!(
        files, cases,
        "files in tests/frames, cases in tests/answers.rs"
    );
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frames")
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test run")]
fn is_update() -> bool {
    std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1")
}

fn check(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).unwrap_or_default();
    let (given, expected) = match text.find("--- decision\n") {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
    };
    let actual = answer(&Case::parse(given));
    if is_update() {
        fs::write(&path, format!("{given}{actual}")).expect("the case can be written");
    } else {
        assert!(
            actual == expected,
            "{name}: expected\n{expected}\nbut it is\n{actual}"
        );
    }
}

/// The expected part of a case, as it is.
fn answer(case: &Case) -> String {
    let mut out = Frame::new();
    let decision = responder::answer(&case.served, &case.inbound(), &mut out);
    let mut text = format!("--- decision\n{decision:?}\n");
    if matches!(decision, Decision::Reply(_)) {
        text += &format!("--- frame\n{}", frame_text::describe(out.as_slice()));
    }
    text
}
