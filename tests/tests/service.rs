//! nfdhcpd as a service: what it tells its manager, and how a real systemd runs the unit that is shipped.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dhcproto::v4::MessageType;
use nix::sys::signal::Signal;
use system_tests::frame::{build, dhcpv4, lease_time};
use system_tests::host::{BINDINGS, CONFIGURATION as PATH, Host};
use system_tests::served::{CONFIGURATION, MAC, binding};
use system_tests::systemd::{self, Systemd};
use system_tests::tap::Tap;
use system_tests::thread::{Hung, named};
use system_tests::wait::{SOON, until};
use system_tests::world::{World, in_world};

/// What systemd gives a service with `WatchdogSec=10s`.
const WATCHED: &[(&str, &str)] = &[("WATCHDOG_USEC", "10000000")];

/// What the unit gives a hung daemon.
const WATCHDOG: Duration = Duration::from_secs(10);

/// How long a VM waits for an answer before it asks again.
const ANSWER: Duration = Duration::from_secs(1);

/// How the names of the threads that answer packets begin.
const PACKET_THREADS: &str = "queue-";

#[test]
fn the_service_manager_is_told_of_start_reload_and_end() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let (mut daemon, notifications) = host.notifying_nfdhcpd(CONFIGURATION, &[])?;
        notifications.line("STATUS=0 TAPs are served", SOON)?;
        let _tap = host.routed_tap("tap0")?;
        host.bind("tap0", &binding(""))?;
        notifications.line("STATUS=1 TAPs are served", SOON)?;

        let before = monotonic_microseconds()?;
        daemon.reload()?;
        let told = notifications.line("RELOADING=1", SOON)?;
        let moment = told
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse().ok());
        let moment: i64 = moment.with_context(|| format!("no moment beside it: {told}"))?;
        ensure!(
            (before..=monotonic_microseconds()?).contains(&moment),
            "not the moment of the reload, which came after {before}: {told}"
        );
        notifications.line("READY=1", SOON)?;
        // One that is refused is over as well.
        host.namespace.write(PATH, "no configuration")?;
        daemon.reload()?;
        notifications.line("RELOADING=1", SOON)?;
        notifications.line("READY=1", SOON)?;

        daemon.program.signal(Signal::SIGTERM)?;
        notifications.line("STOPPING=1", SOON)?;
        daemon.program.success(SOON)?;
        Ok(())
    });
}

fn monotonic_microseconds() -> Result<i64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000)
}

/// The loop that speaks to the manager lives on when a packet thread hangs: it must not say that all is well.
#[test]
fn the_watchdog_is_fed_only_while_every_packet_thread_lives() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let _tap = host.routed_tap("tap0")?;
        let configuration =
            format!("{CONFIGURATION}[queues]\nshards=2\ndhcpv4=40\nrs=42\nns=44\ndhcpv6=46\n");
        let (daemon, notifications) = host.notifying_nfdhcpd(&configuration, WATCHED)?;
        let threads = named(daemon.program.pid(), PACKET_THREADS)?;
        ensure!(threads.len() > 1, "packet threads: {threads:?}");
        for thread in [threads[0], threads[threads.len() - 1]] {
            notifications.line("WATCHDOG=1", SOON)?;
            let hung = Hung::stop(thread)?;
            // The loop tells how many TAPs are served where it feeds the watchdog, right before. By the second time it
            // has seen that the thread stands.
            for round in 0..4 {
                let served = usize::from(round % 2 == 0);
                if served == 1 {
                    host.bind("tap0", &binding(""))?;
                } else {
                    host.unbind("tap0")?;
                }
                let status = format!("STATUS={served} TAPs are served");
                notifications.told(SOON, |told| {
                    ensure!(
                        round < 2 || !told.contains("WATCHDOG"),
                        "fed while thread {thread} hangs"
                    );
                    Ok(told.trim() == status)
                })?;
            }
            drop(hung);
        }
        notifications.line("WATCHDOG=1", SOON)?;
        Ok(())
    });
}

#[test]
fn without_a_watchdog_none_is_fed() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        // That of the manager's other child, as sd_watchdog_enabled(3) has it.
        let other = [WATCHED, &[("WATCHDOG_PID", "1")]].concat();
        for environment in [&[][..], &other] {
            let (_daemon, notifications) = host.notifying_nfdhcpd(CONFIGURATION, environment)?;
            let told = |status: &str| {
                notifications.told(SOON, |told| {
                    ensure!(!told.contains("WATCHDOG"), "fed: {told}");
                    Ok(told.trim() == status)
                })
            };
            let _tap = host.routed_tap("tap0")?;
            for _ in 0..2 {
                host.bind("tap0", &binding(""))?;
                told("STATUS=1 TAPs are served")?;
                host.unbind("tap0")?;
                told("STATUS=0 TAPs are served")?;
            }
        }
        Ok(())
    });
}

/// The unit, and the user it wants, as they are shipped.
const UNITS: &[(&str, &str)] = &[
    (
        SERVICE,
        include_str!("../../packaging/systemd/nfdhcpd.service"),
    ),
    (
        "nfdhcpd.sysusers.conf",
        include_str!("../../packaging/systemd/nfdhcpd.sysusers.conf"),
    ),
];
const SERVICE: &str = "nfdhcpd.service";

/// A host whose init is systemd, with the service started, and a VM that is served.
struct Booted {
    systemd: Systemd,
    tap: Tap,
}

impl Booted {
    fn new(world: &World, configuration: &str) -> Result<Self> {
        let host = Host::new(world, "host")?;
        let tap = host.routed_tap("tap0")?;
        let systemd = Systemd::boot(world, &host, UNITS)?;
        let booted = Self { systemd, tap };
        booted.write(PATH, configuration)?;
        booted.systemd.order("start", SERVICE)?;
        booted.write(&format!("{BINDINGS}/tap0"), &binding(""))?;
        Ok(booted)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.systemd.path(path);
        fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// The VM asks until it is offered a lease of so many seconds.
    fn is_offered(&self, lease: u32) -> Result<()> {
        until(&format!("a lease of {lease} s is offered"), SOON, || {
            self.tap.send(&build::discover(MAC, 7)?)?;
            let offer = |frame: &[u8]| lease_time(&dhcpv4(frame, MessageType::Offer)?);
            let offered = self.tap.expect("DHCPOFFER", ANSWER, offer);
            Ok(offered.is_ok_and(|seconds| seconds == lease))
        })
        .with_context(|| {
            let state = ["status", "--full", "--no-pager", SERVICE];
            let state = self.systemd.run("systemctl", &state);
            state.unwrap_or_else(|error| format!("{error:#}"))
        })
    }

    fn is(&self, property: &str, value: &str) -> Result<()> {
        until(&format!("{property} is {value}"), WATCHDOG + SOON, || {
            Ok(self.systemd.property(SERVICE, property)? == value)
        })
        .with_context(|| format!("it is {:?}", self.systemd.property(SERVICE, property)))
    }
}

fn configuration(lease: u32) -> String {
    format!("[dhcpv4]\nlease = {lease}\n")
}

#[test]
fn systemd_starts_reloads_and_stops_the_unit() {
    in_world(systemd::TOOLS, |world| {
        let host = Booted::new(world, &configuration(1000))?;
        host.is("ActiveState", "active")?;
        host.is_offered(1000)?;
        host.is("StatusText", "1 TAPs are served")?;

        host.write(PATH, &configuration(2000))?;
        host.systemd.order("reload", SERVICE)?;
        host.is_offered(2000)?;
        host.is("NRestarts", "0")?;

        host.systemd.order("stop", SERVICE)?;
        host.is("Result", "success")?;
        host.is("ActiveState", "inactive")?;
        let rules = host.systemd.run("nfdhcpd", &["rules", "show"])?;
        ensure!(rules.contains("tap0"), "the redirect is gone:\n{rules}");

        host.systemd.order("start", SERVICE)?;
        host.is_offered(2000)
    });
}

#[test]
fn systemd_starts_it_again_however_often_it_is_killed() {
    in_world(systemd::TOOLS, |world| {
        let host = Booted::new(world, &configuration(1000))?;
        // More often in short time than systemd takes of a unit that sets no limit of its own.
        for restarts in 1..=7 {
            host.systemd
                .run("systemctl", &["kill", "--signal=KILL", SERVICE])?;
            host.is("NRestarts", &restarts.to_string())?;
            host.is("ActiveState", "active")?;
        }
        host.is_offered(1000)
    });
}

#[test]
fn systemd_starts_it_anew_when_a_packet_thread_hangs() {
    in_world(systemd::TOOLS, |world| {
        let host = Booted::new(world, &configuration(1000))?;
        host.is_offered(1000)?;
        let first = host.systemd.main_process(SERVICE)?;
        let threads = named(first, PACKET_THREADS)?;
        let hung = Hung::stop(*threads.first().context("a packet thread")?)?;
        host.is("SubState", "stop-watchdog")?;
        drop(hung); // a traced thread is not gone before its tracer lets it go
        host.is("NRestarts", "1")?;
        host.is("ActiveState", "active")?;
        ensure!(host.systemd.main_process(SERVICE)? != first);
        host.is_offered(1000)
    });
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    in_world(&[systemd::TOOLS, &["systemd-analyze"]].concat(), |world| {
        let host = Host::new(world, "host")?;
        let systemd = Systemd::boot(world, &host, UNITS)?;
        let unit = format!("/run/units/{SERVICE}");
        let said = systemd.run("systemd-analyze", &["verify", "--man=no", &unit])?;
        ensure!(said.trim().is_empty(), "{said}");
        // Tenths: with what it has to have, and no more, it is at 33 of 100 ("OK").
        let security = ["security", "--offline=true", "--threshold=35", &unit];
        systemd.run("systemd-analyze", &security)?;
        Ok(())
    });
}
