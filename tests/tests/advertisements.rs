//! Unsolicited router advertisements on real TAPs: when they begin, and how they end.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use system_tests::frame::{Message, RouterAdvertisement, read};
use system_tests::host::Host;
use system_tests::tap::Tap;
use system_tests::wait::SOON;
use system_tests::world::{in_world, programs};

const CONFIGURATION: &str = "user = ''";
const BINDING: &str = "MAC=aa:00:77:00:00:01\nSUBNET6=2001:db8:77::/64\n";

fn advertisement(frame: &[u8]) -> Option<RouterAdvertisement> {
    let Message::RouterAdvertisement(advertisement) = read(frame)? else {
        return None;
    };
    Some(advertisement)
}

fn expect(tap: &Tap, what: &str, wanted: impl Fn(&RouterAdvertisement) -> bool) -> Result<()> {
    tap.expect(what, SOON, |frame| {
        advertisement(frame).filter(&wanted).map(|_| ())
    })
}

#[test]
fn a_removed_binding_ends_with_a_last_advertisement() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let tap = host.routed_tap("tap0")?;
        let _daemon = host.nfdhcpd(CONFIGURATION)?;
        host.bind("tap0", BINDING)?;
        expect(&tap, "router advertisement", |ra| ra.router_lifetime > 0)?;
        host.unbind("tap0")?;
        expect(&tap, "last router advertisement", |ra| {
            ra.router_lifetime == 0
        })
    });
}

/// The next start goes on where this one stopped: a VM must not lose its router for a restart.
#[test]
fn a_stop_takes_no_router_away_and_the_rules_stay() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let tap = host.routed_tap("tap0")?;
        host.bind("tap0", BINDING)?;
        let mut daemon = host.nfdhcpd(CONFIGURATION)?;
        expect(&tap, "router advertisement", |ra| ra.router_lifetime > 0)?;
        let status = daemon.program.stop(Signal::SIGTERM)?;
        ensure!(status.success(), "{status}");
        let after = tap.drain(Duration::from_millis(100))?;
        let last = after.iter().filter_map(|frame| advertisement(frame));
        ensure!(last.clone().count() == 0, "{:?}", last.collect::<Vec<_>>());
        let rules = |what| {
            host.namespace
                .run(programs().join("nfdhcpd"), &["rules", what])
        };
        let shown = rules("show")?;
        ensure!(shown.contains("\"tap0\" :"), "{shown}");
        rules("remove")?;
        let shown = rules("show")?;
        ensure!(!shown.contains("tap0"), "{shown}");
        Ok(())
    });
}
