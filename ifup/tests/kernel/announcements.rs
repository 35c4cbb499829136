//! Who is told where a NIC's addresses are, how often, and by whom.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::frames::{ethernet, holds, read_arp};
use crate::namespace::{Capture, Nic, SNF_IFUP, Tap, in_namespace, until};

const IP: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);

fn is_advertisement(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd])
        && frame.get(54) == Some(&136)
        && frame.get(58).is_some_and(|flags| flags & 0x20 != 0)
        && frame.get(66..78) == Some(&[0, 0x79, 0, 0, 0xa8, 0, 0, 0xff, 0xfe, 0, 0, 2][..])
}

/// The processes of this namespace that run the program.
fn children() -> Vec<PathBuf> {
    let network =
        |process: &str| fs::metadata(format!("/proc/{process}/ns/net")).map(|ns| ns.ino());
    let own = network("thread-self").unwrap();
    let program = fs::canonicalize(SNF_IFUP).unwrap();
    let entries = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    entries
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|name| fs::read_link(format!("/proc/{name}/exe")).is_ok_and(|exe| exe == program))
        .filter(|name| network(name).is_ok_and(|ns| ns == own))
        .map(|name| PathBuf::from("/proc").join(name))
        .collect()
}

#[test]
fn a_routed_nic_is_announced_three_times_in_every_form() {
    in_namespace(|| {
        let _tap = Tap::open("tap0");
        let far = Capture::on("far1");
        Nic::routed("tap0", 2).run("up");
        let (mut requests, mut replies, mut advertisements) = (0, 0, 0);
        far.receive_until("three announcements in three forms", |frame| {
            requests += usize::from(read_arp(frame) == Some((1, IP, IP)));
            replies += usize::from(read_arp(frame) == Some((2, IP, IP)));
            advertisements += usize::from(is_advertisement(frame));
            requests >= 3 && replies >= 3 && advertisements >= 3
        });
        until("the child has ended", || children().is_empty());
        assert_eq!((requests, replies, advertisements), (3, 3, 3));
    });
}

/// Ganeti waits until its pipes are closed; the child that repeats must not hold them, and has nothing to do without the
/// TAP.
#[test]
fn the_child_holds_nothing_and_ends_with_the_tap() {
    in_namespace(|| {
        let tap = Tap::open("tap0");
        // Reads the pipes to their end.
        Nic::routed("tap0", 2).run("up");
        let children_of = children();
        let child = children_of
            .first()
            .expect("a child repeats the announcements");
        // It closes what it has of ours in its own time: Ganeti's pipes first.
        until("the child holds nothing but its socket", || {
            let held = fs::read_dir(child.join("fd")).unwrap();
            let held = held.map(|held| fs::read_link(held.unwrap().path()).unwrap());
            held.map(|held| held.to_string_lossy().into_owned())
                .all(|held| held == "/dev/null" || held.starts_with("socket:"))
        });
        drop(tap);
        until("the child has ended", || children().is_empty());
    });
}

#[test]
fn nothing_is_announced_before_a_migration_nor_for_a_bridged_nic() {
    in_namespace(|| {
        let far1 = Capture::on("far1");
        let far0 = Capture::on("far0");
        let taps = [Tap::open("tap0"), Tap::open("tap1"), Tap::open("tap2")];
        Nic::routed("tap0", 2)
            .with("MIGRATION_PHASE", "pre")
            .run("up");
        Nic::bridged("tap1", 3).run("up");
        assert!(children().is_empty());
        // Then one that is announced: whatever came before it would have been seen.
        Nic::routed("tap2", 9)
            .with("MIGRATION_PHASE", "post")
            .run("up");
        let last = Ipv4Addr::new(10, 79, 0, 9);
        let is_last = |frame: &[u8]| read_arp(frame) == Some((2, last, last));
        let seen = far1.receive_until("the announcement after a migration", is_last);
        assert!(
            !seen
                .iter()
                .any(|frame| read_arp(frame).is_some_and(|(_, from, _)| from == IP))
        );
        let own = ethernet(
            [0xff; 6],
            [0xaa, 0, 0x77, 0, 0, 3],
            0x88b5,
            &0x600d_0001_u32.to_be_bytes(),
        );
        taps[1].send(&own);
        let seen = far0.receive_until("the VM's own frame", |frame| holds(frame, 0x600d_0001));
        assert!(!seen.iter().any(|frame| read_arp(frame).is_some()));
    });
}
