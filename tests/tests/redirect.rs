//! The managed redirect on the kernel: which packets of which devices reach which queue, and which the LAN.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "redirect/listener.rs"]
mod listener;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use dhcproto::v6::MessageType;
use listener::{Listener, Queued};
use nfdhcpd::config::{Absent, Queues, Rate};
use nfdhcpd::rules::plan::{Mark, Settings};
use nfdhcpd::rules::{BridgePort, Protocols, Redirect, ServedTap, TapChange, remove, show};
use nfdhcpd_binding::MacAddr;
use system_tests::frame::build::{self, Between};
use system_tests::host::Host;
use system_tests::tap::Tap;
use system_tests::wait::SOON;
use system_tests::world::{World, in_world};

const VM: MacAddr = MacAddr([0xaa, 0, 0x77, 0, 0, 1]);
const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const NEIGHBOR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

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
        per_second: 1000,
        burst: 1000,
    },
    on_absent: Absent::Drop,
    mark: Mark::DEFAULT,
};

/// A host with a bridge, the LAN behind it, and two VMs' TAPs in it.
struct Bridged {
    host: Host,
    lan: Tap,
    served: Tap,
    other: Tap,
}

impl Bridged {
    fn new(world: &World) -> Result<Self> {
        let host = Host::new(world, "host")?;
        // The kernel itself says nothing on these wires.
        for conf in ["all", "default"] {
            for parameter in ["accept_dad", "router_solicitations"] {
                host.namespace
                    .sysctl(&format!("net/ipv6/conf/{conf}/{parameter}"), "0")?;
            }
        }
        let lan = host.bridge("br0")?;
        let served = host.bridged_tap("tap0", "br0")?;
        let other = host.bridged_tap("tap1", "br0")?;
        Ok(Self {
            host,
            lan,
            served,
            other,
        })
    }

    fn tap(&self, name: &str) -> Result<ServedTap> {
        served(&self.host, name, Some("br0"))
    }

    fn install(&self, settings: Settings) -> Result<Redirect> {
        let tap = self.tap("tap0")?;
        install(&self.host, settings, [tap])
    }

    /// The same with the redirect in place for its first TAP, and somebody who listens on the queues.
    fn redirected(world: &World) -> Result<(Self, Redirect, Listener)> {
        let net = Self::new(world)?;
        let listener = listener(&net.host)?;
        let redirect = net.install(SETTINGS)?;
        Ok((net, redirect, listener))
    }

    /// Has `from` send the frames and then one that no rule is about; all that reaches `to` before that one.
    fn reaching(from: &Tap, to: &Tap, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        for frame in frames {
            from.send(frame)?;
        }
        let last = [&[0xff; 6][..], &VM.octets(), &[0x88, 0xb5], &[0; 46]].concat();
        from.send(&last)?;
        let mut seen = Vec::new();
        to.expect("the last frame", SOON, |frame| {
            if frame == last {
                return Some(());
            }
            if frame.get(6..12) == Some(&VM.octets()[..]) {
                seen.push(frame.to_vec());
            }
            None
        })?;
        Ok(seen)
    }

    /// The frames of the served VM that get to the LAN.
    fn leaked(&self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        Self::reaching(&self.served, &self.lan, frames)
    }
}

fn served(host: &Host, name: &str, bridge: Option<&str>) -> Result<ServedTap> {
    let port = match bridge {
        None => None,
        Some(bridge) => Some(BridgePort {
            bridge: bridge.parse()?,
            bridge_ifindex: u32::try_from(host.ifindex(bridge)?)?,
            mac: mac(host, name)?,
        }),
    };
    Ok(ServedTap {
        name: name.parse()?,
        ifindex: u32::try_from(host.ifindex(name)?)?,
        port,
        protocols: Protocols::ALL,
        ns_targets: [TARGET].into(),
    })
}

fn mac(host: &Host, device: &str) -> Result<MacAddr> {
    let links = host.namespace.ip_json(&format!("link show dev {device}"))?;
    Ok(links[0]["address"]
        .as_str()
        .context("an address")?
        .parse()?)
}

fn install(
    host: &Host,
    settings: Settings,
    taps: impl IntoIterator<Item = ServedTap> + Send,
) -> Result<Redirect> {
    host.namespace.inside(|| {
        let (redirect, troubles) = Redirect::install(settings, taps)?;
        ensure!(troubles.is_empty(), "{troubles:?}");
        Ok(redirect)
    })
}

fn listener(host: &Host) -> Result<Listener> {
    Listener::open(&host.namespace, 42..46)
}

/// One request of each protocol, as a VM broadcasts them.
fn requests() -> Vec<Vec<u8>> {
    vec![
        build::discover(VM, 7).unwrap(),
        build::router_solicitation(VM).unwrap(),
        build::neighbor_solicitation(VM, TARGET).unwrap(),
        build::dhcpv6(VM, MessageType::Solicit, Vec::new()).unwrap(),
    ]
}

fn renew(to_mac: MacAddr) -> Vec<u8> {
    let between = Between {
        from_mac: VM,
        to_mac,
        from: Ipv4Addr::new(10, 0, 0, 2),
        to: Ipv4Addr::new(10, 0, 0, 1),
    };
    build::udp4(between, (68, 67), &[1; 300]).unwrap()
}

/// Queue and mark of each packet.
fn places(packets: &[Queued]) -> Vec<(u16, u32)> {
    packets
        .iter()
        .map(|packet| (packet.queue, packet.mark))
        .collect()
}

/// All four, in their queues, marked.
fn all_four(tap: &ServedTap) -> Vec<(u16, u32)> {
    (42..46)
        .map(|queue| (queue, 0x4000_0000 | tap.ifindex))
        .collect()
}

#[test]
fn a_bridged_taps_requests_reach_the_queues_and_nobody_else_however_the_bridge_is_set() {
    in_world(&[], |world| {
        let net = Bridged::new(world)?;
        let listener = listener(&net.host)?;
        let tap = net.tap("tap0")?;
        for global in ["0", "1"] {
            for of_bridge in ["0", "1"] {
                for disabled in ["0", "1"] {
                    let case =
                        format!("sysctl {global}, flag {of_bridge}, disable_ipv6 {disabled}");
                    let namespace = &net.host.namespace;
                    for family in ["ip", "ip6"] {
                        let parameter = format!("net/bridge/bridge-nf-call-{family}tables");
                        namespace.sysctl(&parameter, global)?;
                    }
                    namespace.ip(&format!(
                        "link set br0 type bridge nf_call_iptables {of_bridge} nf_call_ip6tables {of_bridge}"
                    ))?;
                    namespace.sysctl("net/ipv6/conf/br0/disable_ipv6", disabled)?;
                    let redirect = net.install(SETTINGS)?;
                    for (who, reached) in [("LAN", &net.lan), ("other VM", &net.other)] {
                        let leaked = Bridged::reaching(&net.served, reached, &requests())?;
                        ensure!(
                            leaked.is_empty(),
                            "{case}: the {who} has seen {leaked:02x?}"
                        );
                        let queued = places(&listener.drain()?);
                        ensure!(queued == all_four(&tap), "{case}: {queued:x?}");
                    }
                    drop(redirect);
                    namespace.inside(|| Ok(remove()?))?;
                    let flag = namespace.ip_json("-d link show dev br0")?[0]["linkinfo"]["info_data"]
                        ["nf_call_ip6tables"]
                        .as_u64();
                    ensure!(
                        flag == Some(of_bridge.parse()?),
                        "{case}: flag left at {flag:?}"
                    );
                }
            }
        }
        Ok(())
    });
}

#[test]
fn frames_of_unserved_ports_and_of_the_lan_are_untouched() {
    in_world(&[], |world| {
        let (net, _redirect, listener) = Bridged::redirected(world)?;
        let sent = requests();
        for (from, to) in [
            (&net.other, &net.lan),
            (&net.lan, &net.other),
            (&net.lan, &net.served),
        ] {
            let seen = Bridged::reaching(from, to, &sent)?;
            ensure!(
                seen == sent,
                "{} to {}: {seen:02x?}",
                from.name(),
                to.name()
            );
        }
        ensure!(listener.drain()?.is_empty());
        Ok(())
    });
}

#[test]
fn a_bridged_vms_other_frames_are_untouched() {
    in_world(&[], |world| {
        let (net, _redirect, listener) = Bridged::redirected(world)?;
        let between = |to| Between {
            from_mac: VM,
            to_mac: MacAddr::BROADCAST,
            from: Ipv4Addr::new(10, 0, 0, 2),
            to,
        };
        let discover = build::discover(VM, 7)?;
        let in_vlan = [&discover[..12], &[0x81, 0, 0, 5], &discover[12..]].concat();
        let sent = vec![
            build::neighbor_solicitation(VM, NEIGHBOR)?,
            build::udp4(between(Ipv4Addr::BROADCAST), (67, 68), b"a server's")?,
            build::udp4(between(Ipv4Addr::BROADCAST), (68, 53), b"a question")?,
            in_vlan,
        ];
        let seen = net.leaked(&sent)?;
        ensure!(seen == sent, "{seen:02x?}");
        ensure!(listener.drain()?.is_empty());
        Ok(())
    });
}

#[test]
fn requests_in_other_dress_are_taken_too() {
    in_world(&[], |world| {
        let (net, _redirect, listener) = Bridged::redirected(world)?;
        let foreign = MacAddr([0x02, 0x99, 0x99, 0x99, 0x99, 0x99]);
        let discover = build::discover(VM, 7)?;
        // With an IPv4 option (router alert) before the UDP header.
        let mut with_option = discover.clone();
        with_option[14] = 0x46;
        with_option.splice(34..34, [0x94, 4, 0, 0]);
        let length = u16::try_from(with_option.len() - 14)?;
        with_option[16..18].copy_from_slice(&length.to_be_bytes());
        let sum = pnet_packet::util::checksum(&with_option[14..38], 5);
        with_option[24..26].copy_from_slice(&sum.to_be_bytes());
        // With a priority tag, which names no VLAN.
        let with_priority = [&discover[..12], &[0x81, 0, 0xe0, 0], &discover[12..]].concat();
        // Behind a hop-by-hop options header.
        let mut solicitation = build::router_solicitation(VM)?;
        solicitation[20] = 0;
        let length = u16::from_be_bytes([solicitation[18], solicitation[19]]) + 8;
        solicitation[18..20].copy_from_slice(&length.to_be_bytes());
        solicitation.splice(54..54, [58, 0, 1, 4, 0, 0, 0, 0]);
        let sent = [
            (42, renew(foreign)),
            (42, renew(mac(&net.host, "br0")?)),
            (42, with_option),
            (42, with_priority),
            (43, solicitation),
        ];
        let frames: Vec<_> = sent.iter().map(|(_, frame)| frame.clone()).collect();
        let leaked = net.leaked(&frames)?;
        ensure!(leaked.is_empty(), "{leaked:02x?}");
        let queues: Vec<_> = listener
            .drain()?
            .iter()
            .map(|packet| packet.queue)
            .collect();
        ensure!(queues == sent.map(|(queue, _)| queue), "{queues:?}");
        Ok(())
    });
}

#[test]
fn a_routed_taps_requests_reach_the_queues() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let (tap, other) = (host.routed_tap("tap0")?, host.routed_tap("tap1")?);
        let listener = listener(&host)?;
        let served = served(&host, "tap0", None)?;
        let expected = all_four(&served);
        let _redirect = install(&host, SETTINGS, [served])?;
        for frame in requests() {
            tap.send(&frame)?;
            other.send(&frame)?;
        }
        let queued = places(&listener.drain()?);
        ensure!(queued == expected, "{queued:x?}");
        // A routed VM's solicitations are all for its host.
        tap.send(&build::neighbor_solicitation(VM, NEIGHBOR)?)?;
        let queued = places(&listener.drain()?);
        ensure!(queued == [expected[2]], "{queued:x?}");
        Ok(())
    });
}

#[test]
fn rules_outlive_the_daemon_and_a_second_start_changes_nothing() {
    in_world(&["nft"], |world| {
        let net = Bridged::new(world)?;
        let rules = || net.host.namespace.run("nft", &["-s", "list", "ruleset"]);
        let redirect = net.install(SETTINGS)?;
        let before = rules()?;
        let heard = listener(&net.host)?;
        ensure!(net.leaked(&requests())?.is_empty());
        ensure!(heard.drain()?.len() == 4);
        // As kill -9 leaves them: no listener, no socket of ours.
        drop(heard);
        drop(redirect);
        let leaked = net.leaked(&requests())?;
        ensure!(leaked.is_empty(), "{leaked:02x?}");
        ensure!(
            without_rates(&rules()?) == without_rates(&before),
            "{}",
            rules()?
        );

        let _redirect = net.install(SETTINGS)?;
        ensure!(
            without_rates(&rules()?) == without_rates(&before),
            "{}",
            rules()?
        );
        let heard = listener(&net.host)?;
        ensure!(net.leaked(&requests())?.is_empty());
        ensure!(heard.drain()?.len() == 4);
        Ok(())
    });
}

/// A ruleset without the policers' elements.
fn without_rates(rules: &str) -> String {
    rules
        .split("\n\n")
        .filter(|part| !part.contains("rate_"))
        .collect()
}

#[test]
fn with_pass_requests_go_on_once_the_daemon_is_gone() {
    in_world(&["nft"], |world| {
        let net = Bridged::new(world)?;
        let settings = Settings {
            on_absent: Absent::Pass,
            ..SETTINGS
        };
        // What an earlier run with another setting has left makes place.
        drop(net.install(SETTINGS)?);
        let redirect = net.install(settings)?;
        let heard = listener(&net.host)?;
        ensure!(net.leaked(&requests())?.is_empty());
        ensure!(heard.drain()?.len() == 4);
        let owned = net.host.namespace.inside(|| Ok(remove()))?.unwrap_err();
        ensure!(format!("{owned}").contains("another process"), "{owned}");
        drop(heard);
        drop(redirect);
        let seen = net.leaked(&requests())?;
        ensure!(seen == requests(), "{seen:02x?}");
        ensure!(
            net.host
                .namespace
                .run("nft", &["list", "ruleset"])?
                .is_empty()
        );
        Ok(())
    });
}

#[test]
fn no_request_slips_through_while_the_rules_are_written_anew() {
    in_world(&[], |world| {
        let net = Bridged::new(world)?;
        drop(net.install(SETTINGS)?);
        // As a start over the rules of an earlier run, and then changes of all that a configuration can change.
        let mut redirect = net.install(SETTINGS)?;
        let queues = Queues {
            shards: 2,
            dhcpv4: 46,
            ..SETTINGS.queues
        };
        let sharded = Settings { queues, ..SETTINGS };
        let done = AtomicBool::new(false);
        let sent = std::thread::scope(|scope| -> Result<u64> {
            let sender = scope.spawn(|| -> Result<u64> {
                let mut sent = 0;
                while !done.load(Ordering::Relaxed) {
                    net.served.send(&build::discover(VM, 7)?)?;
                    sent += 1;
                }
                Ok(sent)
            });
            let outcome = (0..100).try_for_each(|round| -> Result<()> {
                Ok(redirect.change_settings(if round % 2 == 0 { sharded } else { SETTINGS })?)
            });
            done.store(true, Ordering::Relaxed);
            let sent = sender.join().unwrap()?;
            outcome.map(|()| sent)
        })?;
        ensure!(sent > 100, "only {sent} requests were sent meanwhile");
        let leaked = net.leaked(&[])?;
        ensure!(
            leaked.is_empty(),
            "{} of {sent} requests on the LAN",
            leaked.len()
        );
        Ok(())
    });
}

#[test]
fn a_flood_is_policed_and_harms_nobody_else() {
    in_world(&[], |world| {
        let net = Bridged::new(world)?;
        let routed = net.host.routed_tap("tap2")?;
        let rate = Rate {
            per_second: 1,
            burst: 10,
        };
        let taps = [
            net.tap("tap0")?,
            net.tap("tap1")?,
            served(&net.host, "tap2", None)?,
        ];
        let mut redirect = install(&net.host, Settings { rate, ..SETTINGS }, taps)?;
        let listener = listener(&net.host)?;
        for flooder in [&net.served, &routed] {
            for _ in 0..1000 {
                flooder.send(&build::discover(VM, 7)?)?;
            }
            let queued = listener.drain()?.len();
            ensure!((10..100).contains(&queued), "{}: {queued}", flooder.name());
            net.other.send(&build::discover(VM, 7)?)?;
            ensure!(listener.drain()?.len() == 1, "another TAP");
            flooder.send(&build::router_solicitation(VM)?)?;
            ensure!(
                listener.drain()?.len() == 1,
                "another protocol of the same TAP"
            );
        }
        let policed = net.host.namespace.inside(|| Ok(redirect.policed()?))?;
        let counts = policed.map(|(_, packets)| packets);
        ensure!(
            (1800..=1980).contains(&counts[0]) && counts[1..] == [0; 3],
            "{counts:?}"
        );
        Ok(())
    });
}

#[test]
fn a_taps_packets_keep_to_one_shard_and_the_taps_spread() {
    in_world(&[], |world| {
        let host = Host::new(world, "host")?;
        let queues = Queues {
            dhcpv4: 100,
            rs: 200,
            ns: 300,
            dhcpv6: 400,
            shards: 4,
            length: 1000,
        };
        let mut taps = Vec::new();
        for number in 0..32 {
            taps.push(host.routed_tap(&format!("tap{number}"))?);
        }
        let served: Vec<_> = taps
            .iter()
            .map(|tap| served(&host, tap.name(), None))
            .collect::<Result<_>>()?;
        let _redirect = install(&host, Settings { queues, ..SETTINGS }, served)?;
        let all = [100, 200, 300, 400]
            .into_iter()
            .flat_map(|first| first..first + 4);
        let listener = Listener::open(&host.namespace, all)?;
        let mut used = [0; 4];
        for tap in &taps {
            for _ in 0..2 {
                for frame in requests() {
                    tap.send(&frame)?;
                }
            }
            let queues: Vec<_> = listener
                .drain()?
                .iter()
                .map(|packet| packet.queue)
                .collect();
            let shard = queues[0] - 100;
            let expected: Vec<_> = [100, 200, 300, 400].map(|first| first + shard).repeat(2);
            ensure!(queues == expected, "{}: {queues:?}", tap.name());
            used[usize::from(shard)] += 1;
        }
        ensure!(used.iter().all(|taps| *taps > 0), "{used:?}");
        Ok(())
    });
}

#[test]
fn a_tap_that_is_waited_for_never_leaks_a_request() {
    in_world(&[], |world| {
        let net = Bridged::new(world)?;
        let name = "t@p-9.\"x";
        let waiting = ServedTap {
            name: name.parse()?,
            ifindex: 0,
            port: None,
            protocols: Protocols::ALL,
            ns_targets: [TARGET].into(),
        };
        let mut redirect = install(&net.host, SETTINGS, [waiting])?;
        let listener = listener(&net.host)?;
        let tap = net.host.bridged_tap(name, "br0")?;
        let leaked = Bridged::reaching(&tap, &net.lan, &requests())?;
        ensure!(leaked.is_empty(), "{leaked:02x?}");
        ensure!(listener.drain()?.is_empty());
        let now = net.tap(name)?;
        let expected = all_four(&now);
        net.host
            .namespace
            .inside(|| Ok(redirect.apply([TapChange::Serve(now)])?))?;
        let leaked = Bridged::reaching(&tap, &net.lan, &requests())?;
        ensure!(leaked.is_empty(), "{leaked:02x?}");
        let queued = places(&listener.drain()?);
        ensure!(queued == expected, "{queued:x?}");

        net.host
            .namespace
            .inside(|| Ok(redirect.apply([TapChange::Withdraw(name.parse()?)])?))?;
        let seen = Bridged::reaching(&tap, &net.lan, &requests())?;
        ensure!(seen == requests(), "{seen:02x?}");
        Ok(())
    });
}

#[test]
fn rules_that_others_removed_are_mended() {
    in_world(&["nft"], |world| {
        let (net, mut redirect, listener) = Bridged::redirected(world)?;
        let mut check = || net.host.namespace.inside(|| Ok(redirect.check()?.0));
        let nft = |words: &str| {
            net.host
                .namespace
                .run("nft", &words.split(' ').collect::<Vec<_>>())
        };
        ensure!(!check()?);
        nft("add table inet theirs")?;
        ensure!(!check()?, "somebody else's table is no matter");
        for harm in [
            "flush ruleset",
            "delete table bridge nfdhcpd",
            "flush chain inet nfdhcpd prerouting",
            "flush map bridge nfdhcpd dhcpv4",
            "delete element bridge nfdhcpd tap_mac { \"tap0\" }",
        ] {
            nft(harm)?;
            ensure!(check()?, "{harm}: not seen");
            ensure!(!check()?, "{harm}: not mended");
            let leaked = net.leaked(&requests())?;
            ensure!(leaked.is_empty(), "{harm}: {leaked:02x?}");
            ensure!(listener.drain()?.len() == 4, "{harm}: not taken");
        }
        Ok(())
    });
}

#[test]
fn the_rules_can_be_shown_and_removed() {
    in_world(&["nft"], |world| {
        let net = Bridged::new(world)?;
        let shown = || net.host.namespace.inside(|| Ok(show(&SETTINGS)?));
        ensure!(
            shown()?.contains("table bridge nfdhcpd { # not in the kernel"),
            "{}",
            shown()?
        );
        drop(net.install(SETTINGS)?);
        let text = shown()?;
        let mark = format!(
            "\"tap0\" : 0x{:08x}",
            0x4000_0000 | net.host.ifindex("tap0")?
        );
        for part in [
            "table inet nfdhcpd { # in the kernel",
            &mark,
            "queue num 42",
            "meta iifkind \"bridge\"",
        ] {
            ensure!(text.contains(part), "no {part} in:\n{text}");
        }
        ensure!(!text.contains("the kernel has"), "{text}");
        net.host
            .namespace
            .run("nft", &["flush", "chain", "inet", "nfdhcpd", "prerouting"])?;
        ensure!(
            shown()?.contains("chain prerouting { # the kernel has 0 of 2 rules"),
            "{}",
            shown()?
        );
        for _ in 0..2 {
            net.host.namespace.inside(|| Ok(remove()?))?;
            ensure!(
                net.host
                    .namespace
                    .run("nft", &["list", "ruleset"])?
                    .is_empty()
            );
        }
        Ok(())
    });
}
