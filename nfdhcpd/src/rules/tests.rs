//! The pure parts: marks, and which elements change.

use proptest::prelude::*;
use snf_nft::Operation;

use super::plan::{Mark, Queueing, Settings, tables};
use super::tap::{Elements, changes, elements};
use super::{BridgePort, Protocols, ServedTap};
use crate::config::{Absent, Queues, Rate};

const SETTINGS: Settings = Settings {
    queues: Queues {
        dhcpv4: 42,
        rs: 43,
        ns: 44,
        dhcpv6: 45,
        shards: 1,
        length: 1000,
    },
    rate: Rate {
        per_second: 50,
        burst: 100,
    },
    on_absent: Absent::Drop,
    mark: Mark::DEFAULT,
};

fn bridged(ifindex: u32) -> ServedTap {
    ServedTap {
        name: "tap0".parse().unwrap(),
        ifindex,
        port: Some(BridgePort {
            bridge: "br0".parse().unwrap(),
            bridge_ifindex: 3,
            mac: "fe:00:00:00:00:01".parse().unwrap(),
        }),
        protocols: Protocols::ALL,
        ns_targets: ["fe80::1".parse().unwrap()].into(),
    }
}

fn elements_of(tap: &ServedTap) -> Elements {
    let mut out = Elements::new();
    elements(tap, Mark::DEFAULT, &mut out);
    out
}

fn lines(operations: &[Operation]) -> Vec<String> {
    operations.iter().map(ToString::to_string).collect()
}

proptest! {
    #[test]
    fn a_mark_names_its_interface(base: u32, ifindex: u32, other: u32) {
        if let Some(mark) = Mark::new(base) {
            if let Some(marked) = mark.of(ifindex) {
                prop_assert_eq!(mark.ifindex(marked), Some(ifindex));
            }
            if let Some(found) = mark.ifindex(other) {
                prop_assert_eq!(mark.of(found), Some(other));
            }
        }
    }
}

#[test]
fn a_marks_pattern_leaves_room_for_the_index() {
    assert_eq!(Mark::new(0), None);
    assert_eq!(Mark::new(0x0080_0000), None);
    let mark = Mark::new(0x0500_0000).unwrap();
    assert_eq!(mark.mask(), 0xff00_0000);
    assert_eq!(mark.of(0x0100_0000), None);
    assert_eq!(mark.ifindex(0x4500_0001), None);
    assert_eq!(Mark::new(0x4000_0000), Some(Mark::DEFAULT));
    assert_eq!(Mark::DEFAULT.mask(), 0xc000_0000);
    assert_eq!(Mark::DEFAULT.ifindex(0x8000_0007), None);
}

#[test]
fn a_new_tap_is_one_addition_per_map() {
    let added = changes(&Elements::new(), &elements_of(&bridged(7)));
    assert_eq!(
        lines(&added),
        [
            "add element bridge nfdhcpd dhcpv4 { \"tap0\" : 0x40000007 }",
            "add element bridge nfdhcpd dhcpv6 { \"tap0\" : 0x40000007 }",
            "add element bridge nfdhcpd ns { \"tap0\" . fe80::1 : 0x40000007 }",
            "add element bridge nfdhcpd rs { \"tap0\" : 0x40000007 }",
            "add element bridge nfdhcpd tap_mac { \"tap0\" : fe:00:00:00:00:01 }",
            "add element inet nfdhcpd dhcpv4 { \"tap0\" : 0x40000007 }",
            "add element inet nfdhcpd dhcpv6 { \"tap0\" : 0x40000007 }",
            "add element inet nfdhcpd ns { \"tap0\" : 0x40000007 }",
            "add element inet nfdhcpd rs { \"tap0\" : 0x40000007 }",
        ]
    );
}

#[test]
fn only_what_differs_is_changed() {
    let before = bridged(7);
    assert_eq!(changes(&elements_of(&before), &elements_of(&before)), []);
    let after = ServedTap {
        ns_targets: ["2001:db8::1".parse().unwrap()].into(),
        ..bridged(7)
    };
    assert_eq!(
        lines(&changes(&elements_of(&before), &elements_of(&after))),
        [
            "delete element bridge nfdhcpd ns { \"tap0\" . fe80::1 }",
            "add element bridge nfdhcpd ns { \"tap0\" . 2001:db8::1 : 0x40000007 }",
        ]
    );
    // Every element of a TAP that comes anew names the new device.
    let again = changes(&elements_of(&before), &elements_of(&bridged(8)));
    assert_eq!(
        lines(&again)
            .iter()
            .filter(|line| line.contains("0x40000008"))
            .count(),
        8
    );
    let gone = changes(&elements_of(&before), &Elements::new());
    assert!(
        lines(&gone)
            .iter()
            .all(|line| line.starts_with("delete element "))
    );
    assert_eq!(gone.len(), 9);
}

#[test]
fn protocols_that_are_not_served_have_no_elements() {
    let protocols = Protocols {
        dhcpv4: true,
        ..Protocols::default()
    };
    let tap = ServedTap {
        protocols,
        ns_targets: Box::default(),
        port: None,
        ..bridged(7)
    };
    assert_eq!(
        lines(&changes(&Elements::new(), &elements_of(&tap))),
        [
            "add element bridge nfdhcpd dhcpv4 { \"tap0\" : 0x40000007 }",
            "add element inet nfdhcpd dhcpv4 { \"tap0\" : 0x40000007 }",
        ]
    );
}

#[test]
fn the_rules_are_these() {
    let plans = tables(&SETTINGS, Queueing::Native);
    let rules: String = plans
        .iter()
        .flat_map(super::plan::TablePlan::operations)
        .map(|operation| format!("{operation}\n"))
        .collect();
    // Written by `UPDATE_GOLDEN=1 cargo test -p nfdhcpd the_rules_are_these`.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules/rules.nft");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &rules).unwrap();
    }
    assert_eq!(rules, std::fs::read_to_string(path).unwrap());
}
