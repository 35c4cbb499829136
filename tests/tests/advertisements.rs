//! Unsolicited router advertisements on real TAPs: when they begin, and how they end.

use std::time::Duration;

use anyhow::{Result, ensure};
use nfdhcpd_binding::MacAddr;
use nix::sys::signal::Signal;
use system_tests::frame::{Message, RouterAdvertisement, build, read};
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

const VM: MacAddr = MacAddr([0xaa, 0, 0x77, 0, 0, 1]);
const LAN_ROUTER: MacAddr = MacAddr([0, 0x1b, 0x21, 9, 9, 9]);

/// What nfdhcpd advertises on it names no router: that of the network must not be found only when it next advertises.
#[test]
fn a_bridged_vm_finds_the_router_of_its_network_at_once() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let lan = host.bridge("br0")?;
        let tap = host.bridged_tap("tap0", "br0")?;
        let daemon = host.nfdhcpd(CONFIGURATION)?;
        host.bind("tap0", BINDING)?;
        daemon.serves("tap0")?;
        let solicitation = build::router_solicitation(VM)?;
        tap.send(&solicitation)?;
        lan.expect("the VM's solicitation", SOON, |frame| {
            (frame == solicitation).then_some(())
        })?;
        lan.send(&build::router_advertisement(LAN_ROUTER, 1800)?)?;
        let (mut prefix, mut router) = (false, false);
        tap.expect("both advertisements", SOON, |frame| {
            let to_it = frame.get(..6) == Some(&VM.octets()[..]);
            let advertised = advertisement(frame)?;
            prefix |= to_it && advertised.router_lifetime == 0 && !advertised.prefixes().is_empty();
            router |= advertised.router_lifetime == 1800;
            (prefix && router).then_some(())
        })
    });
}

#[test]
fn a_vm_whose_router_is_the_host_asks_nobody_else() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let lan = host.bridge("br0")?;
        let tap = host.bridged_tap("tap0", "br0")?;
        let daemon = host.nfdhcpd("user = ''\nrouter = \"host\"")?;
        host.bind("tap0", BINDING)?;
        daemon.serves("tap0")?;
        let solicitation = build::router_solicitation(VM)?;
        tap.send(&solicitation)?;
        tap.expect("an answer to it alone", SOON, |frame| {
            let to_it = frame.get(..6) == Some(&VM.octets()[..]);
            advertisement(frame)
                .filter(|ra| to_it && ra.router_lifetime > 0)
                .map(|_| ())
        })?;
        // What follows it on the LAN came behind it: the bridge keeps the order.
        tap.send(&build::neighbor_solicitation(
            VM,
            "2001:db8:77::9".parse()?,
        )?)?;
        lan.expect("what the VM sent next", SOON, |frame| match read(frame)? {
            Message::NeighborSolicitation { .. } => Some(Ok(())),
            Message::RouterSolicitation => Some(Err("a solicitation left the host")),
            Message::Dhcpv4(_)
            | Message::Dhcpv6(_)
            | Message::RouterAdvertisement(_)
            | Message::NeighborAdvertisement { .. } => None,
        })?
        .map_err(anyhow::Error::msg)
    });
}
