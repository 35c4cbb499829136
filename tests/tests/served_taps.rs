//! The redirect: what a served TAP asks reaches nfdhcpd and nobody else, whatever becomes of nfdhcpd.

use std::time::Duration;

use anyhow::{Result, ensure};
use dhcproto::v4::MessageType;
use dhcproto::v6;
use nfdhcpd_binding::MacAddr;
use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::frame::{Direction, Message, build, dhcpv4, read};
use system_tests::host::{Host, Nfdhcpd};
use system_tests::served::{Attachment, HOST_IS_ROUTER, MAC, Served, binding};
use system_tests::tap::Tap;
use system_tests::wait::SOON;
use system_tests::world::{World, in_world};

/// Long enough for a frame to cross a bridge on a busy machine, when it must not.
const QUIET: Duration = Duration::from_millis(500);

fn everything_a_vm_asks() -> Result<Vec<Vec<u8>>> {
    let client_id = v6::DhcpOption::ClientId(vec![0, 3, 0, 1, 0xaa, 0, 0x77, 0x51, 0xad, 0xbc]);
    Ok(vec![
        build::discover(MAC, 7)?,
        build::router_solicitation(MAC)?,
        build::dhcpv6(MAC, v6::MessageType::Solicit, vec![client_id])?,
    ])
}

fn ask_all(tap: &Tap) -> Result<()> {
    for frame in everything_a_vm_asks()? {
        tap.send(&frame)?;
    }
    Ok(())
}

/// Waits for the answer to [`build::discover`].
fn is_offered(tap: &Tap) -> Result<()> {
    tap.expect("DHCPOFFER", SOON, |frame| {
        dhcpv4(frame, MessageType::Offer).map(|_| ())
    })
}

/// Asks as the VM of the hardware address, once, and waits for the answer.
fn asks_and_is_offered(tap: &Tap, mac: MacAddr) -> Result<()> {
    tap.send(&build::discover(mac, 8)?)?;
    is_offered(tap)
}

/// The scene of tests that speak for the VM themselves.
fn without_client(world: &World) -> Result<Served> {
    let scene = Served::configured(world, Attachment::Bridged, "", HOST_IS_ROUTER)?;
    scene.client.wire.unplug()?;
    Ok(scene)
}

/// A host with a bridge and nfdhcpd, and no TAP yet.
struct Empty {
    nfdhcpd: Nfdhcpd,
    uplink: Tap,
    host: Host,
}

impl Empty {
    fn new(world: &World) -> Result<Self> {
        let host = Host::new(world, "host")?;
        Ok(Self {
            uplink: host.bridge("br0")?,
            nfdhcpd: host.nfdhcpd(HOST_IS_ROUTER)?,
            host,
        })
    }

    fn bind(&self, tap: &str, changes: &str) -> Result<()> {
        self.host.bind(tap, &binding(changes))?;
        self.nfdhcpd.serves(tap)
    }
}

#[test]
fn nothing_a_vm_asks_leaves_the_host_while_nfdhcpd_is_stopped_killed_or_gone() {
    in_world(&["nft"], |world| {
        let mut scene = without_client(world)?;
        let tap = scene.tap.clone();
        let seen = scene.router.wire.record().len();
        scene.nfdhcpd.program.signal(Signal::SIGSTOP)?;
        ask_all(&tap)?;
        scene.nfdhcpd.program.signal(Signal::SIGCONT)?;
        is_offered(&tap)?;
        scene.nfdhcpd.program.stop(Signal::SIGKILL)?;
        ask_all(&tap)?;
        scene.nfdhcpd = scene.host.nfdhcpd(HOST_IS_ROUTER)?;
        scene.nfdhcpd.serves("tap0")?;
        scene.nfdhcpd.program.stop(Signal::SIGTERM)?;
        ask_all(&tap)?;
        // A frame of the same VM that is none of nfdhcpd's business shows that the bridge carries frames at all.
        let other = udp_to_all(MAC)?;
        tap.send(&other)?;
        scene
            .router
            .wire
            .carries_frame("a datagram that is not ours", SOON, &other)?;
        scene.nothing_leaked()?;
        ensure!(scene.router.wire.record().len() > seen);
        Ok(())
    });
}

fn udp_to_all(mac: MacAddr) -> Result<Vec<u8>> {
    let between = build::Between {
        from_mac: mac,
        to_mac: MacAddr::BROADCAST,
        from: [10, 77, 0, 2].into(),
        to: [10, 77, 0, 255].into(),
    };
    build::udp4(between, (4000, 4000), b"to whom it may concern")
}

#[test]
fn killed_and_started_again_it_answers_with_the_same_rules() {
    in_world(&["nft"], |world| {
        let mut scene = without_client(world)?;
        let rules = |host: &Host| {
            // Without what packets have put into the policers' sets.
            let text = host.namespace.run("nft", &["-s", "list", "ruleset"])?;
            let lines = text.lines().map(str::trim);
            let lines = lines.filter(|line| !line.contains("limit rate"));
            anyhow::Ok(lines.map(str::to_owned).collect::<Vec<_>>())
        };
        let before = rules(&scene.host)?;
        ensure!(!before.is_empty(), "there are no rules");
        for _ in 0..3 {
            scene.nfdhcpd.program.stop(Signal::SIGKILL)?;
            scene.nfdhcpd = scene.host.nfdhcpd(HOST_IS_ROUTER)?;
            scene.nfdhcpd.serves("tap0")?;
            asks_and_is_offered(&scene.tap, MAC)?;
            let after = rules(&scene.host)?;
            ensure!(before == after, "before:\n{before:#?}\nafter:\n{after:#?}");
        }
        scene.nothing_leaked()
    });
}

#[test]
fn a_tap_without_a_binding_is_let_alone() {
    in_world(&[], |world| {
        let scene = Served::new(world, Attachment::Bridged, "")?;
        let other = MacAddr([0xaa, 0, 0x77, 0, 0, 9]);
        let unserved = scene.host.bridged_tap("tap9", "br0")?;
        for frame in [
            build::discover(other, 9)?,
            build::router_solicitation(other)?,
        ] {
            unserved.send(&frame)?;
            scene
                .router
                .wire
                .carries_frame("what an unserved TAP asks", SOON, &frame)?;
        }
        let answers = unserved.drain(QUIET)?;
        let messages: Vec<_> = answers.iter().filter_map(|frame| read(frame)).collect();
        let offered = |message: &Message| matches!(message, Message::Dhcpv4(_));
        ensure!(
            !messages.iter().any(offered),
            "an unserved TAP was answered"
        );
        Ok(())
    });
}

#[test]
fn a_removed_binding_sets_its_tap_free() {
    in_world(&[], |world| {
        let scene = without_client(world)?;
        scene.host.unbind("tap0")?;
        scene.nfdhcpd.shows("tap0", "standing", "none")?;
        let frame = build::discover(MAC, 10)?;
        scene.tap.send(&frame)?;
        scene
            .router
            .wire
            .carries_frame("what the TAP asks", SOON, &frame)
    });
}

#[test]
fn with_on_absent_pass_requests_go_on_once_nfdhcpd_is_gone() {
    in_world(&[], |world| {
        let configuration = format!("on_absent = \"pass\"\n{HOST_IS_ROUTER}");
        let mut scene = Served::configured(world, Attachment::Bridged, "", &configuration)?;
        scene.client.wire.unplug()?;
        asks_and_is_offered(&scene.tap, MAC)?;
        scene.nothing_leaked()?;
        scene.nfdhcpd.program.stop(Signal::SIGKILL)?;
        let frame = build::discover(MAC, 12)?;
        scene.tap.send(&frame)?;
        scene
            .router
            .wire
            .carries_frame("what the TAP asks", SOON, &frame)
    });
}

#[test]
fn rules_remove_takes_the_redirect_away() {
    in_world(&["nft"], |world| {
        let mut scene = Served::new(world, Attachment::Bridged, "")?;
        scene.nfdhcpd.program.stop(Signal::SIGTERM)?;
        let nfdhcpd = system_tests::world::programs().join("nfdhcpd");
        let shown = scene.host.namespace.run(&nfdhcpd, &["rules", "show"])?;
        ensure!(shown.contains("tap0"), "the rules name no tap0:\n{shown}");
        scene.host.namespace.run(&nfdhcpd, &["rules", "remove"])?;
        let rules = scene.host.namespace.run("nft", &["list", "ruleset"])?;
        ensure!(rules.trim().is_empty(), "left behind:\n{rules}");
        Ok(())
    });
}

#[test]
fn a_renewal_to_the_routers_hardware_address_is_answered_by_the_host() {
    in_world(&[], |world| {
        let scene = without_client(world)?;
        let mut frame = build::discover(MAC, 13)?;
        let router = system_tests::served::ROUTER_MAC.octets();
        frame.splice(..6, router);
        scene.tap.send(&frame)?;
        is_offered(&scene.tap)?;
        scene.nothing_leaked()
    });
}

#[test]
fn a_frame_with_a_partial_checksum_is_answered() {
    in_world(&[], |world| {
        for attachment in [Attachment::Bridged, Attachment::Routed] {
            let scene = Served::new(world, attachment, "")?;
            scene.client.wire.unplug()?;
            let mut frame = build::discover(MAC, 14)?;
            // As the guest's driver leaves it: the sum of the pseudo-header only.
            let at = usize::from(build::UDP_IN_IPV4 + build::UDP_CHECKSUM);
            let length = u32::try_from(frame.len() - usize::from(build::UDP_IN_IPV4))?;
            let sum = 0xffff + 0xffff + 17 + length; // 255.255.255.255 from 0.0.0.0
            let folded = u16::try_from((sum & 0xffff) + (sum >> 16))?;
            frame.splice(at..at + 2, folded.to_be_bytes());
            scene
                .tap
                .send_partial(&frame, build::UDP_IN_IPV4, build::UDP_CHECKSUM)?;
            is_offered(&scene.tap)?;
            scene.nothing_leaked()?;
        }
        Ok(())
    });
}

#[test]
fn a_bridge_without_ipv6_serves_ipv6_all_the_same() {
    in_world(&[], |world| {
        let net = Empty::new(world)?;
        net.host
            .namespace
            .sysctl("net/ipv6/conf/br0/disable_ipv6", "1")?;
        let tap = net.host.bridged_tap("tap0", "br0")?;
        net.bind("tap0", "")?;
        tap.send(&build::router_solicitation(MAC)?)?;
        tap.expect("router advertisement", SOON, |frame| {
            matches!(read(frame)?, Message::RouterAdvertisement(_)).then_some(())
        })?;
        let leaked = net.uplink.drain(QUIET)?;
        let own = |frame: &Vec<u8>| frame.get(6..12) == Some(&MAC.octets()[..]);
        ensure!(!leaked.iter().any(own), "the solicitation left the host");
        Ok(())
    });
}

#[test]
fn a_new_vm_on_a_used_taps_name_gets_nothing_of_its_predecessors() {
    in_world(&[], |world| {
        let net = Empty::new(world)?;
        let first = net.host.bridged_tap("tap0", "br0")?;
        net.bind("tap0", "")?;
        drop(first);
        let second = net.host.bridged_tap("tap0", "br0")?;
        net.nfdhcpd.shows("tap0", "standing", "stale")?;
        second.send(&build::discover(MAC, 15)?)?;
        let answers = second.drain(QUIET)?;
        let offered = |frame: &Vec<u8>| matches!(read(frame), Some(Message::Dhcpv4(_)));
        ensure!(
            !answers.iter().any(offered),
            "the new VM got its predecessor's address"
        );
        net.bind("tap0", "")?;
        asks_and_is_offered(&second, MAC)
    });
}

#[test]
fn a_binding_may_come_before_its_tap() {
    in_world(&[], |world| {
        let net = Empty::new(world)?;
        net.host.bind("tap0", &binding(""))?;
        net.nfdhcpd.shows("tap0", "standing", "waiting")?;
        let tap = net.host.bridged_tap("tap0", "br0")?;
        net.nfdhcpd.serves("tap0")?;
        asks_and_is_offered(&tap, MAC)
    });
}

#[test]
fn a_flooding_neighbour_costs_others_nothing() {
    in_world(&[], |world| {
        let net = Empty::new(world)?;
        let mut taps = Vec::new();
        for number in 0..4_u8 {
            let name = format!("tap{number}");
            let tap = net.host.bridged_tap(&name, "br0")?;
            let mac = MacAddr([0xaa, 0, 0x77, 0, 0, number]);
            let address = 10 + number;
            net.bind(&name, &format!("MAC={mac}\nIP=10.77.0.{address}\nEUI64="))?;
            taps.push((tap, mac));
        }
        let Some(((flooder, foul), others)) = taps.split_first() else {
            return Ok(());
        };
        let frames = [
            build::discover(*foul, 1)?,
            build::neighbor_solicitation(*foul, "2001:db8:77::1".parse()?)?,
        ];
        for _ in 0..20 {
            for _ in 0..500 {
                for frame in &frames {
                    flooder.send(frame)?;
                }
            }
            for (tap, mac) in others {
                asks_and_is_offered(tap, *mac)?;
            }
        }
        let figures = net.nfdhcpd.ctl_json(&["stats"])?;
        let policed = figures.pointer("/policed/0/count").and_then(Value::as_u64);
        ensure!(policed > Some(0), "the flood met no policer: {figures}");
        Ok(())
    });
}

#[test]
fn a_vm_is_told_by_name_what_passed_where() {
    in_world(&[], |world| {
        let scene = without_client(world)?;
        let spoofer = MacAddr([2, 0, 0, 0, 0, 9]);
        scene.tap.send(&build::discover(spoofer, 18)?)?;
        asks_and_is_offered(&scene.tap, MAC)?;
        let shown = scene.nfdhcpd.ctl(&["show", "tap0"])?;
        ensure!(
            shown.contains("02:00:00:00:00:09"),
            "show does not name the spoofer:\n{shown}"
        );
        let asked = scene.router.wire.record();
        ensure!(
            asked
                .iter()
                .all(|frame| frame.direction != Direction::Answered
                    || !matches!(read(&frame.bytes), Some(Message::Dhcpv4(_))))
        );
        Ok(())
    });
}
