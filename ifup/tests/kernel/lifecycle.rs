//! Up and down, again and again, in every order Ganeti may call them in.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ifup::apply::{Perform, StepError, apply};
use ifup::config::Config;
use ifup::host::Host;
use ifup::plan;
use ifup::request::Request;
use ifup::step::Step;

use crate::namespace::{Nic, SNF_IFUP, Tap, assert_same, in_namespace, ip, nft, snapshot, until};

/// Another NIC of each kind stands, so that the tables are there and something could be hurt.
fn others() -> (Tap, Tap) {
    let taps = (Tap::open("other0"), Tap::open("other1"));
    Nic::bridged("other0", 200).run("up");
    Nic::routed("other1", 201).run("up");
    taps
}

#[test]
fn up_twice_and_down_twice_leave_what_was_before() {
    in_namespace(|| {
        let _others = others();
        for nic in [
            Nic::bridged("tap0", 2),
            Nic::routed("tap0", 2),
            Nic::routed("tap0", 2).with("NETWORK_NAME", ""),
            Nic::bridged("tap0", 2).with("NETWORK_NAME", ""),
        ] {
            let before = snapshot("tap0");
            ip("tuntap add tap0 mode tap");
            nic.run("up");
            let up = snapshot("");
            assert_ne!(before, snapshot("tap0"));
            assert_eq!(
                nic.run("--dry-run up"),
                "",
                "a second call has nothing to do"
            );
            nic.run("up");
            assert_same(&up, &snapshot(""), "the NIC as it is up");
            nic.run("down");
            assert_same(&before, &snapshot("tap0"), "without the NIC");
            assert_eq!(nic.run("--dry-run down"), "");
            nic.run("down");
            assert_same(&before, &snapshot("tap0"), "without the NIC");
            ip("link del tap0");
            assert_same(&before, &snapshot("tap0"), "without the NIC");
        }
    });
}

/// A host whose step number `fails` cannot be done.
struct FailsAt {
    host: Host,
    fails: usize,
    done: usize,
}

impl Perform for FailsAt {
    fn perform(&mut self, step: &Step) -> Result<(), StepError> {
        self.done += 1;
        if self.done == self.fails {
            Err(StepError::OnPurpose)
        } else {
            self.host.perform(step)
        }
    }
}

#[test]
fn a_failure_at_any_step_leaves_what_was_before() {
    in_namespace(|| {
        let _others = others();
        let config = Config::parse("").unwrap();
        for nic in [Nic::bridged("tap0", 2), Nic::routed("tap0", 2)] {
            ip("tuntap add tap0 mode tap");
            let before = snapshot("");
            let request = Request::from_variables(&nic.variables(), &config.tags).unwrap();
            for fails in 1.. {
                let mut host = Host::open().unwrap();
                let facts = host.facts(&request, &config).unwrap();
                let plan = plan::up(&request, &facts, &config).unwrap();
                assert!(plan.changes().len() > 5);
                if fails > plan.changes().len() {
                    break;
                }
                let mut host = FailsAt {
                    host,
                    fails,
                    done: 0,
                };
                let error = apply(&mut host, plan.changes()).unwrap_err();
                assert!(error.left.is_empty(), "{error}");
                assert_same(&before, &snapshot(""), &error.step.to_string());
            }
            ip("link del tap0");
        }
    });
}

/// Whatever the reason, the job's error ends in one line that says all of it, and the TAP is down.
#[test]
fn a_refusal_is_one_line_and_changes_nothing() {
    in_namespace(|| {
        let _tap = Tap::open("tap0");
        let before = snapshot("");
        for (nic, code, says) in [
            (
                Nic::bridged("tap0", 2)
                    .with("LINK", "")
                    .with("BRIDGE", "br9"),
                1,
                "br9",
            ),
            (
                Nic::bridged("tap0", 2).with("BRIDGE", "eth1"),
                1,
                "is not a bridge",
            ),
            (Nic::bridged("tap9", 2), 1, "tap9"),
            (
                Nic::routed("tap0", 2).with("LINK", "rt80"),
                1,
                "/etc/iproute2/rt_tables",
            ),
            (
                Nic::bridged("tap0", 2).with("MODE", "openvswitch"),
                1,
                "openvswitch",
            ),
            (Nic::bridged("tap0", 2).with("ACTION", "down"), 0, ""),
        ] {
            let words = if code == 0 { "" } else { "up" };
            let output = nic.call(words);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{error}");
            assert!(
                error.lines().last().unwrap_or_default().contains(says),
                "{error}"
            );
            assert_same(&before, &snapshot(""), &error);
        }
        assert_eq!(Nic::bridged("tap0", 2).call("").status.code(), Some(64));
        assert_eq!(
            Nic::bridged("tap0", 2).call("sideways").status.code(),
            Some(64)
        );
        assert_eq!(
            Nic::bridged("tap0", 2)
                .call("--config /absent up")
                .status
                .code(),
            Some(64)
        );
    });
}

/// Ganeti runs the script under its own names, without arguments, with umask 077.
#[test]
fn under_ganetis_names_and_umask_the_binding_is_for_all_to_read() {
    in_namespace(|| {
        let _tap = Tap::open("tap0");
        let nic = Nic::routed("tap0", 2);
        for (name, is_up) in [
            ("kvm-vif-bridge", true),
            ("kvm-ifdown-custom", false),
            ("up", true),
        ] {
            let path = format!("/run/{name}");
            std::os::unix::fs::symlink(SNF_IFUP, &path).unwrap();
            let output = nic.command(&path, "").output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            if is_up {
                let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
                assert_eq!(mode("/var/lib/nfdhcpd/tap0"), 0o644);
                assert_eq!(mode("/var/lib/nfdhcpd"), 0o755);
            }
        }
    });
}

/// Ganeti to 3.1 never says down: the name comes again with another NIC.
#[test]
fn a_reused_name_keeps_nothing_of_its_predecessor() {
    in_namespace(|| {
        let before = {
            let _tap = Tap::open("tap0");
            Nic::routed("tap0", 2).run("up");
            Nic::routed("tap0", 2).run("down --now");
            snapshot("tap0")
        };
        let tap = Tap::open("tap0");
        Nic::routed("tap0", 2).run("up");
        drop(tap);
        let tap = Tap::open("tap0");
        Nic::routed("tap0", 3).run("up");
        let stands = snapshot("");
        for old in ["10.79.0.2\"", "10.79.0.2/32", "ff:fe00:2\""] {
            assert!(!stands.contains(old), "{old} still stands: {stands}");
        }
        drop(tap);
        let tap = Tap::open("tap0");
        Nic::bridged("tap0", 4).run("up");
        assert!(!ip("rule").contains("tap0"));
        assert!(!nft("list table inet snf").contains("tap0"));
        drop(tap);
        Nic::bridged("tap0", 4).run("down");
        assert_same(&before, &snapshot("tap0"), "without the NIC");
    });
}

/// Ganeti starts an instance on another TAP before it says that the first one goes down.
#[test]
fn an_address_that_moved_to_another_tap_is_answered_for_until_that_goes() {
    in_namespace(|| {
        let _others = others();
        let before = snapshot("tap");
        let proxies = || ip("-6 neigh show proxy");
        let (first, second) = (Tap::open("tap0"), Tap::open("tap1"));
        Nic::routed("tap0", 2).run("up");
        let with = proxies();
        assert_ne!(with, "");
        Nic::routed("tap1", 2).run("up");
        drop(first);
        let plan = Nic::routed("tap0", 2).run("--dry-run down");
        assert!(!plan.contains("neigh del"), "{plan}");
        Nic::routed("tap0", 2).run("down");
        assert_eq!(proxies(), with, "tap1 has the address");
        // The name comes again for another address.
        let first = Tap::open("tap0");
        Nic::routed("tap0", 2).run("up");
        Nic::routed("tap0", 3).run("up");
        let now = proxies();
        assert!(with.lines().all(|line| now.contains(line)), "{now}");
        drop(first);
        Nic::routed("tap0", 3).run("down");
        drop(second);
        Nic::routed("tap1", 2).run("down");
        assert_same(&before, &snapshot("tap"), "without either NIC");
    });
}

/// `down` comes with the guest still running (ACPI power-down, every 5 s): it keeps its network until it is gone.
#[test]
fn down_of_a_running_guest_waits_until_it_is_gone() {
    in_namespace(|| {
        let _others = others();
        let before = snapshot("tap0");
        for nic in [Nic::bridged("tap0", 2), Nic::routed("tap0", 2)] {
            let tap = Tap::open("tap0");
            nic.run("up");
            let up = snapshot("");
            for _ in 0..3 {
                nic.run("down");
            }
            assert_same(&up, &snapshot(""), "the NIC as it is up");
            drop(tap);
            until("the TAP and its record are gone", || {
                let left = |path: &str| std::path::Path::new(path).exists();
                !left("/proc/sys/net/ipv4/conf/tap0") && !left("/run/snf-ifup/taps/tap0")
            });
            assert_same(&before, &snapshot("tap0"), "after the guest is gone");
        }
    });
}

/// A start-up of the node: many NICs at once, none of the tables there yet.
#[test]
fn many_at_once_on_a_fresh_host() {
    in_namespace(|| {
        let taps: Vec<String> = (10..26).map(|n| format!("tap{n}")).collect();
        let _held: Vec<Tap> = taps.iter().map(|tap| Tap::open(tap)).collect();
        let nic = |n: usize| {
            let number = u8::try_from(n + 10).unwrap();
            if n.is_multiple_of(2) {
                Nic::bridged(&taps[n], number)
            } else {
                Nic::routed(&taps[n], number)
            }
        };
        let calls: Vec<_> = (0..taps.len())
            .map(|n| nic(n).command(SNF_IFUP, "up").spawn().unwrap())
            .collect();
        for mut call in calls {
            assert!(call.wait().unwrap().success());
        }
        for n in 0..taps.len() {
            assert_eq!(nic(n).run("--dry-run up"), "");
        }
        let rules = nft("list ruleset")
            .lines()
            .filter(|line| line.contains("drop"))
            .count();
        assert_eq!(rules, 3, "the rules are as many as with one NIC");
    });
}
