//! The defects of the original that lay in its loop, its queues and its watch: none of them is ours. The numbers are
//! those of the list of defects; what lies in an answer's bytes is tested where answers are made.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use dhcproto::v4;
use nfdhcpd_binding::MacAddr;
use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::frame::build::{self, Between};
use system_tests::frame::{Message, dhcpv4, read};
use system_tests::host::{BINDINGS, Host, Nfdhcpd};
use system_tests::tap::Tap;
use system_tests::wait::{SOON, until};
use system_tests::world::in_world;

const MANAGED: &str = "user = ''\n[ra]\nmax_interval = 4\nrouter_lifetime = 30\n[rate]\nper_second = 100000\n\
                       burst = 100000\nkernel_per_second = 100000\nkernel_burst = 100000";

fn vm(number: u8) -> MacAddr {
    MacAddr([0xaa, 0, 0x77, 0, 0, number])
}

fn binding(number: u8) -> String {
    format!(
        "MAC={}\nIP=10.0.0.{number}\nSUBNET=10.0.0.0/24\nGATEWAY=10.0.0.254\nSUBNET6=2001:db8:77::/64\n",
        vm(number)
    )
}

/// The TAP's VM is offered the address of `number`.
fn is_offered(tap: &Tap, number: u8) -> Result<()> {
    tap.send(&build::discover(vm(number), 7)?)?;
    tap.expect("DHCPOFFER", SOON, |frame| offer(frame, number))
}

fn offer(frame: &[u8], number: u8) -> Option<()> {
    let offer = dhcpv4(frame, v4::MessageType::Offer)?;
    (offer.yiaddr().octets() == [10, 0, 0, number]).then_some(())
}

/// `ctl show`, as JSON.
fn show(daemon: &Nfdhcpd, tap: &str) -> Result<Value> {
    Ok(serde_json::from_str(
        &daemon.ctl(&["--json", "show", tap])?,
    )?)
}

fn stands(daemon: &Nfdhcpd, tap: &str, standing: &str) -> Result<()> {
    until(&format!("{tap} is {standing}"), SOON, || {
        Ok(show(daemon, tap)?["standing"] == standing)
    })
}

fn figures(daemon: &Nfdhcpd) -> Result<Value> {
    Ok(serde_json::from_str(&daemon.ctl(&["--json", "stats"])?)?)
}

/// Packets taken so far, whatever became of them.
fn taken(daemon: &Nfdhcpd) -> Result<u64> {
    let figures = figures(daemon)?;
    let rows = figures["packets"].as_array().cloned().unwrap_or_default();
    Ok(rows.iter().filter_map(|row| row["count"].as_u64()).sum())
}

/// No packet waits in the kernel for its verdict.
fn all_judged(daemon: &Nfdhcpd) -> Result<()> {
    until("every packet has its verdict", SOON, || {
        let figures = figures(daemon)?;
        let queues = figures["queues"].as_array().cloned().unwrap_or_default();
        ensure!(queues.len() == 4, "{queues:?}");
        Ok(queues.iter().all(|queue| queue["waiting"] == 0))
    })
}

/// What the original left without a verdict, and more of the kind.
fn strange_packets(mac: MacAddr) -> Result<Vec<Vec<u8>>> {
    let to_all = Between {
        from_mac: mac,
        to_mac: MacAddr::BROADCAST,
        from: std::net::Ipv4Addr::UNSPECIFIED,
        to: std::net::Ipv4Addr::BROADCAST,
    };
    let target = build::link_local(mac);
    let mut probe = vec![135, 0, 0, 0, 0, 0, 0, 0];
    probe.extend(target.octets());
    let [.., a, b, c] = target.octets();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c].into();
    let duplicate_detection = Between {
        from_mac: mac,
        to_mac: build::group_mac(group),
        from: std::net::Ipv6Addr::UNSPECIFIED,
        to: group,
    };
    let solicitation = Between {
        to: build::ALL_ROUTERS,
        ..duplicate_detection
    };
    Ok(vec![
        build::icmp6(duplicate_detection, probe)?,
        build::icmp6(solicitation, vec![133, 0, 0, 0, 0, 0, 0, 0])?,
        build::icmp6(solicitation, vec![133, 1, 0, 0, 0, 0, 0, 0])?,
        build::icmp6(duplicate_detection, vec![135, 0, 0, 0, 0, 0, 0, 0])?,
        build::udp4(to_all, (1234, 67), b"not from a client's port")?,
        build::udp4(to_all, (68, 67), &[])?,
        build::udp6(
            Between {
                to: build::ALL_DHCP_SERVERS,
                ..duplicate_detection
            },
            (546, 547),
            &[],
        )?,
    ])
}

/// Every packet gets a verdict, whatever is in it: the original's queue was full for the whole host after 5000 probes.
#[test]
fn b1_every_packet_gets_its_verdict() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let tap = host.routed_tap("tap0")?;
        host.bind("tap0", &binding(1))?;
        let daemon = host.nfdhcpd(MANAGED)?;
        stands(&daemon, "tap0", "in force")?;
        let strange = strange_packets(vm(1))?;
        let before = taken(&daemon)?;
        for frame in &strange {
            tap.send(frame)?;
        }
        let sent = strange.len() as u64;
        until("all were taken", SOON, || {
            Ok(taken(&daemon)? >= before + sent)
        })?;
        all_judged(&daemon)?;
        is_offered(&tap, 1)
    });
}

/// The same of a TAP without a binding, whose packets the operator's rules bring.
#[test]
fn b1_packets_of_unserved_taps_get_theirs_too() {
    in_world(&["iptables", "ip6tables"], |world| {
        let host = Host::new(world, "host")?;
        let (served, other) = (host.routed_tap("tap0")?, host.routed_tap("tap1")?);
        queue_by_iptables(&host, "-i tap+")?;
        host.bind("tap0", &binding(1))?;
        let daemon = host.nfdhcpd("rules = 'external'\nuser = ''")?;
        let strange = strange_packets(vm(9))?;
        let before = taken(&daemon)?;
        for frame in &strange {
            other.send(frame)?;
        }
        let sent = strange.len() as u64;
        until("all were taken", SOON, || {
            Ok(taken(&daemon)? >= before + sent)
        })?;
        all_judged(&daemon)?;
        is_offered(&served, 1)
    });
}

fn queue_by_iptables(host: &Host, from: &str) -> Result<()> {
    for (program, what, queue) in [
        ("iptables", "-p udp --dport 67", 42),
        (
            "ip6tables",
            "-p icmpv6 --icmpv6-type router-solicitation",
            43,
        ),
        (
            "ip6tables",
            "-p icmpv6 --icmpv6-type neighbour-solicitation",
            44,
        ),
        ("ip6tables", "-p udp --dport 547", 45),
    ] {
        let words =
            format!("-w -t mangle -A PREROUTING {from} {what} -j NFQUEUE --queue-num {queue}");
        host.namespace
            .run(program, &words.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

/// The original's advertisements ended for all at the first TAP that was down.
#[test]
fn b3_a_dead_tap_keeps_no_advertisement_from_others() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let mut taps = Vec::new();
        for number in 1..=20 {
            let name = format!("tap{number}");
            let tap = host.tap(&name)?;
            if number % 2 == 0 {
                host.namespace.ip(&format!("link set {name} up"))?;
            }
            host.bind(&name, &binding(number))?;
            taps.push(tap);
        }
        let daemon = host.nfdhcpd(MANAGED)?;
        // Twice each: the first round is not the last.
        for round in ["first", "second"] {
            for tap in taps.iter().skip(1).step_by(2) {
                tap.expect(&format!("{round} router advertisement"), SOON, |frame| {
                    matches!(read(frame)?, Message::RouterAdvertisement(_)).then_some(())
                })?;
            }
        }
        ensure!(figures(&daemon)?["advertisement_errors"].as_u64() >= Some(10));
        Ok(())
    });
}

/// A VM that floods one queue kept the original from all others.
#[test]
fn b4_a_flood_keeps_nobody_from_an_answer() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let (flooding, other) = (host.routed_tap("tap1")?, host.routed_tap("tap2")?);
        host.bind("tap1", &binding(1))?;
        host.bind("tap2", &binding(2))?;
        let daemon = host.nfdhcpd("user = ''")?;
        let over = AtomicBool::new(false);
        let flood = build::discover(vm(1), 1)?;
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // A TAP that is full takes no more for a moment.
                    let _ = flooding.send(&flood);
                }
            });
            let served = (|| {
                until("the flood is over the rate", SOON, || {
                    let figures = figures(&daemon)?;
                    let policed = figures["policed"].as_array();
                    let mut rows = policed.into_iter().flatten();
                    Ok(rows.any(|row| row["count"].as_u64() > Some(0)))
                })?;
                for _ in 0..20 {
                    is_offered(&other, 2)?;
                    other.send(&build::router_solicitation(vm(2))?)?;
                    other.expect("router advertisement", SOON, |frame| {
                        matches!(read(frame)?, Message::RouterAdvertisement(_)).then_some(())
                    })?;
                }
                // The host itself still does what it is asked.
                host.bind("tap2", &binding(3))?;
                until("the new binding is in force", SOON, || {
                    Ok(show(&daemon, "tap2")?["ip"] == "10.0.0.3")
                })
            })();
            over.store(true, Ordering::Relaxed);
            served
        })
    });
}

/// The original's sockets, one a TAP, were offered every frame of every VM.
#[test]
fn b11_one_packet_socket_that_no_frame_visits() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let _taps = (host.routed_tap("tap1")?, host.routed_tap("tap2")?);
        host.bind("tap1", &binding(1))?;
        host.bind("tap2", &binding(2))?;
        let daemon = host.nfdhcpd(MANAGED)?;
        stands(&daemon, "tap2", "in force")?;
        let pid = daemon.program.pid();
        let sockets = fs::read_to_string(format!("/proc/{pid}/net/packet"))?;
        let rows: Vec<Vec<&str>> = sockets
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect())
            .collect();
        // Columns: sk RefCnt Type Proto Iface R Rmem User Inode.
        ensure!(rows.len() == 1, "{sockets}");
        ensure!(rows[0].get(3..5) == Some(&["0000", "0"][..]), "{sockets}");
        Ok(())
    });
}

#[test]
fn b17_files_moved_in_moved_away_and_written_in_place_are_seen() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let tap = host.routed_tap("tap0")?;
        let daemon = host.nfdhcpd(MANAGED)?;
        host.bind("tap0", &binding(1))?;
        stands(&daemon, "tap0", "in force")?;
        is_offered(&tap, 1)?;
        let file = host.namespace.path(&format!("{BINDINGS}/tap0"));
        fs::rename(&file, host.namespace.path("/tmp/tap0"))?;
        stands(&daemon, "tap0", "none")?;
        // Truncate, then write, as the original's scripts do.
        fs::write(&file, binding(2))?;
        stands(&daemon, "tap0", "in force")?;
        is_offered(&tap, 2)?;
        // Hidden files and editors' are no bindings.
        for name in [".tap1", "tap1~", ".tap1.swp"] {
            fs::write(
                host.namespace.path(&format!("{BINDINGS}/{name}")),
                binding(3),
            )?;
        }
        fs::remove_file(&file)?;
        stands(&daemon, "tap0", "none")?;
        let list: Value = serde_json::from_str(&daemon.ctl(&["--json", "list"])?)?;
        ensure!(list.as_array().is_some_and(Vec::is_empty), "{list}");
        Ok(())
    });
}

#[test]
fn b17_a_binding_may_come_before_its_tap() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let daemon = host.nfdhcpd(MANAGED)?;
        host.bind("tap0", &binding(1))?;
        stands(&daemon, "tap0", "waiting")?;
        let tap = host.routed_tap("tap0")?;
        stands(&daemon, "tap0", "in force")?;
        is_offered(&tap, 1)
    });
}

/// Names are reused: the next VM on it is another.
#[test]
fn b17_a_recreated_tap_is_served_nothing_until_its_own_binding_is_written() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let daemon = host.nfdhcpd(MANAGED)?;
        let first = host.routed_tap("tap0")?;
        host.bind("tap0", &binding(1))?;
        is_offered_once(&daemon, &first, 1)?;
        drop(first);
        let second = host.routed_tap("tap0")?;
        stands(&daemon, "tap0", "stale")?;
        let why = show(&daemon, "tap0")?["why"].to_string();
        ensure!(why.contains("written for an earlier device"), "{why}");
        host.bind("tap0", &binding(2))?;
        is_offered_once(&daemon, &second, 2)
    });
}

fn is_offered_once(daemon: &Nfdhcpd, tap: &Tap, number: u8) -> Result<()> {
    stands(daemon, tap.name(), "in force")?;
    is_offered(tap, number)
}

/// Nor does a restart forget whose a binding was, be it by `kill -9`.
#[test]
fn b17_a_restart_gives_no_vm_its_predecessors_binding() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let kept = host.routed_tap("tap1")?;
        let first = host.routed_tap("tap0")?;
        host.bind("tap0", &binding(2))?;
        host.bind("tap1", &binding(1))?;
        let mut daemon = host.nfdhcpd(MANAGED)?;
        is_offered_once(&daemon, &first, 2)?;
        daemon.program.stop(Signal::SIGKILL)?;
        drop(daemon);
        drop(first);
        let _second = host.routed_tap("tap0")?;
        let daemon = host.nfdhcpd(MANAGED)?;
        is_offered_once(&daemon, &kept, 1)?;
        stands(&daemon, "tap0", "stale")
    });
}

/// When events are lost the directory is read anew; the original then forgot nothing.
#[test]
fn b17_an_overflow_forgets_what_is_gone_and_learns_what_is_new() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let (_tap0, tap1) = (host.routed_tap("tap0")?, host.routed_tap("tap1")?);
        let daemon = host.nfdhcpd(MANAGED)?;
        host.bind("tap0", &binding(1))?;
        stands(&daemon, "tap0", "in force")?;
        daemon.program.signal(Signal::SIGSTOP)?;
        let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?
            .trim()
            .parse()?;
        let noise = ["a", "b"].map(|name| host.namespace.path(&format!("{BINDINGS}/{name}")));
        for _ in 0..=limit / 2 {
            for path in &noise {
                fs::write(path, "")?;
            }
        }
        for path in &noise {
            fs::remove_file(path)?;
        }
        host.unbind("tap0")?;
        host.bind("tap1", &binding(2))?;
        daemon.program.signal(Signal::SIGCONT)?;
        stands(&daemon, "tap0", "none")?;
        is_offered_once(&daemon, &tap1, 2)?;
        let overruns = figures(&daemon)?["overruns"][0].clone();
        ensure!(
            overruns["label"] == "directory" && overruns["count"].as_u64() > Some(0),
            "{overruns}"
        );
        Ok(())
    });
}

/// The original took queue 0 for a missing one.
#[test]
fn b18_queue_zero_answers() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let tap = host.routed_tap("tap0")?;
        host.bind("tap0", &binding(1))?;
        let daemon = host.nfdhcpd(&format!("{MANAGED}\n[queues]\ndhcpv4 = 0"))?;
        is_offered_once(&daemon, &tap, 1)
    });
}

/// What becomes of the requests of a TAP without a binding is the operator's to say; the original let them all pass.
#[test]
fn b19_an_unserved_taps_requests_have_the_fate_that_is_configured() {
    in_world(&["iptables", "ip6tables"], |world| {
        let host = Host::new(world, "host")?;
        host.namespace
            .sysctl("net/bridge/bridge-nf-call-iptables", "1")?;
        let lan = host.bridge("br0")?;
        let tap = host.bridged_tap("tap0", "br0")?;
        queue_by_iptables(&host, "-m physdev --physdev-in tap+")?;
        for (unserved, passes) in [("pass", true), ("drop", false)] {
            let mut daemon = host.nfdhcpd(&format!(
                "rules = 'external'\nunserved = '{unserved}'\nuser = ''"
            ))?;
            let before = taken(&daemon)?;
            let discover = build::discover(vm(9), 7)?;
            tap.send(&discover)?;
            until("it was taken", SOON, || Ok(taken(&daemon)? > before))?;
            // A frame no rule is about, behind it: what has not come by then does not come.
            let last = [&[0xff; 6][..], &vm(9).octets(), &[0x88, 0xb5], &[0; 46]].concat();
            tap.send(&last)?;
            let mut seen = false;
            lan.expect("the last frame", SOON, |frame| {
                seen |= frame == discover;
                (frame == last).then_some(())
            })?;
            ensure!(
                seen == passes,
                "unserved = {unserved}: the LAN has seen it: {seen}"
            );
            daemon.program.stop(Signal::SIGTERM)?;
        }
        Ok(())
    });
}
