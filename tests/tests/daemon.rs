//! nfdhcpd as a daemon: what it may do, how it takes a new configuration, and that its state is right under load.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dhcproto::v4::MessageType;
use nfdhcpd_binding::MacAddr;
use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::frame::{Message, build, dhcpv4, lease_time, read};
use system_tests::host::{CONFIGURATION as PATH, Host};
use system_tests::served::{Attachment, CONFIGURATION, MAC, Served, binding};
use system_tests::tap::Tap;
use system_tests::wait::{SOON, until};
use system_tests::world::in_world;

/// `CAP_NET_ADMIN` and `CAP_NET_RAW` (linux/capability.h).
const KEPT: u64 = 1 << 12 | 1 << 13;

#[test]
fn every_thread_keeps_two_capabilities_and_runs_as_its_own_user() {
    in_world(&[], |world| {
        let scene = Served::new(world, Attachment::Bridged, "")?;
        let tasks = format!("/proc/{}/task", scene.nfdhcpd.program.pid());
        let mut threads = 0;
        for task in fs::read_dir(&tasks)? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            let field = |name: &str| {
                let value = status
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                value
                    .map(str::trim)
                    .with_context(|| format!("no {name} in:\n{status}"))
            };
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                let held = u64::from_str_radix(field(set)?, 16)?;
                ensure!(
                    held & !KEPT == 0,
                    "{set} is {held:x}: more than {KEPT:x}\n{status}"
                );
            }
            ensure!(
                u64::from_str_radix(field("CapEff")?, 16)? == KEPT,
                "lacks what it needs"
            );
            let users: BTreeSet<_> = field("Uid")?.split_whitespace().collect();
            ensure!(!users.contains("0"), "runs as root:\n{status}");
            threads += 1;
        }
        ensure!(threads > 0, "no threads in {tasks}");
        Ok(())
    });
}

/// Asks once; the lease that is offered.
fn offered_lease(tap: &Tap, mac: MacAddr, xid: u32) -> Result<u32> {
    tap.send(&build::discover(mac, xid)?)?;
    tap.expect("DHCPOFFER", SOON, |frame| {
        let offer = dhcpv4(frame, MessageType::Offer)?;
        lease_time(&offer).filter(|_| offer.xid() == xid)
    })
}

#[test]
fn a_reload_takes_the_new_configuration_and_loses_no_packet() {
    in_world(&[], |world| {
        let rate = "[rate]\nper_second = 100000\nburst = 100000\n\
                    kernel_per_second = 100000\nkernel_burst = 100000\n";
        let configuration = |lease| format!("user = \"nobody\"\n{rate}[dhcpv4]\nlease = {lease}\n");
        let scene = Served::configured(world, Attachment::Bridged, "", &configuration(1000))?;
        scene.client.wire.unplug()?;
        ensure!(offered_lease(&scene.tap, MAC, 1)? == 1000);
        for (round, lease) in (2000..2010).enumerate() {
            scene.host.namespace.write(PATH, &configuration(lease))?;
            scene.nfdhcpd.reload()?;
            // Every question in the meantime is answered, by the old lease or the new.
            let mut number = 0;
            until("the new lease is in force", SOON, || {
                number += 1;
                let xid = u32::try_from(round * 10_000 + number + 2)?;
                let told = offered_lease(&scene.tap, MAC, xid)?;
                ensure!(
                    told == lease || told == lease - 1 || round == 0,
                    "lease of {told}"
                );
                Ok(told == lease)
            })?;
        }
        scene.nothing_leaked()
    });
}

#[test]
fn a_bad_configuration_on_reload_is_refused_and_the_old_one_stays() {
    in_world(&[], |world| {
        let configuration = "user = \"nobody\"\n[dhcpv4]\nlease = 1000\n";
        let mut scene = Served::configured(world, Attachment::Bridged, "", configuration)?;
        scene.client.wire.unplug()?;
        scene.host.namespace.write(PATH, "[dhcpv4]\nlease = 5\n")?;
        scene.nfdhcpd.reload()?;
        let said = scene.nfdhcpd.program.says("dhcpv4.lease", SOON)?;
        ensure!(said.contains("60"), "the reason is missing:\n{said}");
        ensure!(scene.nfdhcpd.program.is_running()?);
        ensure!(offered_lease(&scene.tap, MAC, 2)? == 1000);
        Ok(())
    });
}

#[test]
fn a_bad_binding_leaves_the_last_good_one_in_force_and_show_says_why() {
    in_world(&[], |world| {
        let scene = Served::new(world, Attachment::Bridged, "")?;
        scene.client.wire.unplug()?;
        scene.host.bind("tap0", &binding("IP=10.77.0.300"))?;
        scene.nfdhcpd.shows("tap0", "standing", "refused")?;
        let shown = scene.nfdhcpd.ctl(&["show", "tap0"])?;
        ensure!(
            shown.contains("IP=10.77.0.300"),
            "show does not say why:\n{shown}"
        );
        offered_lease(&scene.tap, MAC, 3).map(|_| ())
    });
}

#[test]
fn it_ends_well_when_asked_to() {
    in_world(&[], |world| {
        let mut scene = Served::new(world, Attachment::Bridged, "")?;
        let status = scene.nfdhcpd.program.stop(Signal::SIGTERM)?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    });
}

/// Each TAP asks once, all before the first answer is read: no answer is lost, and none is another's.
fn a_thousand_taps_are_served_at_once(attachment: Attachment) {
    in_world(&[], |world| {
        const TAPS: usize = 1000; // a bridge takes 1,023 ports
        let host = Host::new(world, "host")?;
        let (lan, attached) = match attachment {
            Attachment::Bridged => (host.bridge("br0")?, "master br0 up"),
            Attachment::Routed => (host.uplink("up1")?, "up"),
        };
        let mut taps = Vec::new();
        let mut batch = String::new();
        for number in 0..TAPS {
            let name = format!("t{number}");
            taps.push(host.tap(&name)?);
            batch.push_str(&format!("link set {name} group 1 {attached}\n"));
            host.bind(&name, &numbered_binding(number))?;
        }
        host.namespace.write("/run/batch", &batch)?;
        host.namespace.ip("-batch /run/batch")?;
        if attachment == Attachment::Bridged {
            host.wait_until_all_forward(TAPS + 1)?;
        }
        let nfdhcpd = host.nfdhcpd(CONFIGURATION)?;
        until("all bindings are in force", SOON, || {
            let rows = nfdhcpd.ctl_json(&["list"])?;
            let rows = rows.as_array().context("list is a list")?;
            let in_force = |row: &&Value| row.get("standing") == Some(&"in force".into());
            Ok(rows.iter().filter(in_force).count() == TAPS)
        })?;
        for (number, tap) in taps.iter().enumerate() {
            let mac = numbered_mac(number);
            tap.send(&build::discover(mac, u32::try_from(number)?)?)?;
            tap.send(&build::router_solicitation(mac)?)?;
        }
        for (number, tap) in taps.iter().enumerate() {
            let mut offers = Vec::new();
            let mut advertised = false;
            let both = tap.expect("offer and advertisement", SOON, |frame| {
                let message = read(frame)?;
                if let Message::Dhcpv4(offer) = &message {
                    offers.push((offer.xid(), offer.yiaddr()));
                }
                // Advertisements to all come when they come.
                let to_it_alone = frame.get(..6) == Some(&numbered_mac(number).octets()[..]);
                advertised |= to_it_alone && matches!(message, Message::RouterAdvertisement(_));
                (advertised && !offers.is_empty()).then_some(())
            });
            both.with_context(|| format!("offers {offers:?}, advertised: {advertised}"))?;
            let own = (u32::try_from(number)?, numbered_address(number));
            ensure!(offers == [own], "{} got {offers:?}", tap.name());
        }
        let figures = nfdhcpd.ctl_json(&["stats"])?;
        for reason in ["offer", "router_advertisement"] {
            let rows = figures.get("packets").and_then(Value::as_array);
            let mut rows = rows.context("packets")?.iter();
            let row = rows.find(|row| row.get("reason") == Some(&reason.into()));
            let count = row.and_then(|row| row.get("count")?.as_u64());
            ensure!(count == Some(TAPS as u64), "{reason}: {count:?}");
        }
        let leaked = lan.drain(Duration::from_millis(300))?;
        let dhcp = |frame: &Vec<u8>| matches!(read(frame), Some(Message::Dhcpv4(_)));
        ensure!(!leaked.iter().any(dhcp), "a request left the host");
        // All at once: closed one by one, each would wait for a grace period of the kernel's.
        host.namespace.ip("link delete group 1").map(|_| ())
    });
}

#[test]
fn a_thousand_bridged_taps_are_served_at_once() {
    a_thousand_taps_are_served_at_once(Attachment::Bridged);
}

#[test]
fn a_thousand_routed_taps_are_served_at_once() {
    a_thousand_taps_are_served_at_once(Attachment::Routed);
}

fn numbered_mac(number: usize) -> MacAddr {
    let [.., high, low] = number.to_be_bytes();
    MacAddr([0xaa, 0, 0x77, 1, high, low])
}

fn numbered_address(number: usize) -> std::net::Ipv4Addr {
    let [.., high, low] = (number + 10).to_be_bytes();
    [10, 80, high, low].into()
}

fn numbered_binding(number: usize) -> String {
    let (mac, address) = (numbered_mac(number), numbered_address(number));
    binding(&format!(
        "MAC={mac}\nIP={address}\nSUBNET=10.80.0.0/16\nGATEWAY=10.80.0.1\nEUI64="
    ))
}
