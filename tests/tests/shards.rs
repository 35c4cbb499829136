//! More than one shard: the TAPs share the queues and threads out among themselves, and each is served as by one.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use dhcproto::v4::{self, DhcpOption, MessageType};
use dhcproto::v6;
use nfdhcpd_binding::MacAddr;
use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::frame::{Message, build, dhcpv4, read};
use system_tests::host::{Host, Nfdhcpd};
use system_tests::served::{MAC, binding};
use system_tests::tap::Tap;
use system_tests::wait::{SOON, until};
use system_tests::world::in_world;

/// Of each protocol, what [`Vm::exchange`] asks, and the reasons its answers are counted under.
const COUNTED: [(&str, &str); 5] = [
    ("dhcpv4", "offer"),
    ("dhcpv4", "ack"),
    ("rs", "router_advertisement"),
    ("ns", "neighbor_advertisement"),
    ("dhcpv6", "information_reply6"),
];

/// The first queue of each protocol.
const FIRST: [u16; 4] = [100, 200, 300, 400];

struct Vm {
    tap: Tap,
    mac: MacAddr,
    ip: Ipv4Addr,
}

impl Vm {
    /// The VM's NIC, routed or in `br0`, and its binding.
    fn new(host: &Host, number: u8, bridged: bool) -> Result<Self> {
        let name = format!("tap{number}");
        let tap = if bridged {
            host.bridged_tap(&name, "br0")?
        } else {
            host.routed_tap(&name)?
        };
        let mac = MacAddr([0xaa, 0, 0x77, 0, 0, number]);
        let ip = Ipv4Addr::new(10, 77, 0, 10 + number);
        let changes = format!("MAC={mac}\nIP={ip}\nMODE6=stateless\nEUI64=");
        host.bind(&name, &binding(&changes))?;
        Ok(Self { tap, mac, ip })
    }

    /// One exchange of each protocol, DHCPv4's with its four messages, and nothing asked twice.
    fn exchange(&self) -> Result<()> {
        let asked = |kind| vec![DhcpOption::MessageType(kind)];
        let offer = self.ask_dhcpv4(asked(MessageType::Discover), MessageType::Offer)?;
        let mut request = asked(MessageType::Request);
        request.push(DhcpOption::RequestedIpAddress(self.ip));
        let server = offer.opts().get(v4::OptionCode::ServerIdentifier).cloned();
        request.push(server.context("an offer names its server")?);
        self.ask_dhcpv4(request, MessageType::Ack)?;
        self.ask(&build::router_solicitation(self.mac)?, |answer| {
            matches!(answer, Message::RouterAdvertisement(_))
        })?;
        let gateway = "2001:db8:77::1".parse()?;
        let solicitation = build::neighbor_solicitation(self.mac, gateway)?;
        self.ask(
            &solicitation,
            |answer| matches!(answer, Message::NeighborAdvertisement { target } if *target == gateway),
        )?;
        let identifier = [&[0, 3, 0, 1], &self.mac.octets()[..]].concat();
        let question = build::dhcpv6(
            self.mac,
            v6::MessageType::InformationRequest,
            vec![v6::DhcpOption::ClientId(identifier)],
        )?;
        self.ask(&question, |answer| {
            matches!(answer, Message::Dhcpv6(reply) if reply.msg_type() == v6::MessageType::Reply)
        })
    }

    fn ask_dhcpv4(&self, options: Vec<DhcpOption>, kind: MessageType) -> Result<v4::Message> {
        self.tap.send(&build::dhcpv4(self.mac, 7, options)?)?;
        let answer = self
            .tap
            .expect(&format!("DHCPv4 {kind:?}"), SOON, |frame| {
                dhcpv4(frame, kind)
            })?;
        ensure!(
            answer.yiaddr() == self.ip,
            "{}: {answer:?}",
            self.tap.name()
        );
        Ok(answer)
    }

    /// What comes must be to this VM alone: advertisements to all come when they come.
    fn ask(&self, question: &[u8], is_answer: impl Fn(&Message) -> bool) -> Result<()> {
        self.tap.send(question)?;
        let asked = read(question).context("a question of ours")?;
        self.tap
            .expect(&format!("answer to {asked}"), SOON, |frame| {
                let to_us = frame.get(..6) == Some(&self.mac.octets()[..]);
                (to_us && is_answer(&read(frame)?)).then_some(())
            })
    }
}

/// Packets that each queue has had, as the kernel counts them.
fn queued(host: &Host) -> Result<BTreeMap<u16, u64>> {
    let text = host
        .namespace
        .run("cat", &["/proc/net/netfilter/nfnetlink_queue"])?;
    let row = |line: &str| -> Option<(u16, u64)> {
        // Number, port, waiting, mode, range, two drops, packets so far.
        let mut columns = line.split_whitespace();
        Some((columns.next()?.parse().ok()?, columns.nth(6)?.parse().ok()?))
    };
    let rows = text
        .lines()
        .map(|line| row(line).with_context(|| line.to_owned()));
    rows.collect()
}

/// The shard that has had the packets of one exchange, and no other.
fn shard_of(before: &BTreeMap<u16, u64>, after: &BTreeMap<u16, u64>, shards: u16) -> Result<u16> {
    let moved = |first: u16| -> Vec<(u16, u64)> {
        (0..shards)
            .filter_map(|shard| {
                let count = |figures: &BTreeMap<u16, u64>| figures.get(&(first + shard)).copied();
                let packets = count(after)? - count(before).unwrap_or_default();
                (packets > 0).then_some((shard, packets))
            })
            .collect()
    };
    let all = FIRST.map(moved);
    let shard = all[0].first().map(|(shard, _)| *shard);
    let shard = shard.context("no queue of DHCPv4 had a packet")?;
    let expected = [2, 1, 1, 1].map(|packets| vec![(shard, packets)]);
    ensure!(
        all == expected,
        "shard and packets of each protocol: {all:?}"
    );
    Ok(shard)
}

/// All that was taken is counted, under what it was answered with.
fn adds_up(daemon: &Nfdhcpd, exchanges: u64) -> Result<()> {
    let figures = daemon.ctl_json(&["stats"])?;
    let rows = |key: &str| figures.get(key).and_then(Value::as_array).cloned();
    let field = |row: &Value, key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
    for row in rows("packets").context("packets")? {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let counted = COUNTED.contains(&(text("protocol"), text("reason")));
        let expected = if counted { exchanges } else { 0 };
        ensure!(field(&row, "count") == expected, "{row}, not {expected}");
    }
    for row in rows("queues").context("queues")? {
        for key in ["waiting", "dropped_full", "dropped_socket"] {
            ensure!(field(&row, key) == 0, "{row}");
        }
    }
    for row in [rows("queue_errors"), rows("frame_errors"), rows("policed")]
        .into_iter()
        .flatten()
        .flatten()
    {
        ensure!(field(&row, "count") == 0, "{row}");
    }
    Ok(())
}

/// As many queues as the shards have, each in the rules, and the rules as the kernel has them.
fn rules_are_right(host: &Host, shards: u16) -> Result<()> {
    let nfdhcpd = system_tests::world::programs().join("nfdhcpd");
    let shown = host.namespace.run(nfdhcpd, &["rules", "show"])?;
    for difference in ["not in the kernel", "the kernel has", "the kernel lacks"] {
        ensure!(!shown.contains(difference), "{shown}");
    }
    for queue in FIRST.into_iter().flat_map(|first| first..first + shards) {
        ensure!(
            shown.contains(&format!("queue num {queue}")),
            "no {queue}:\n{shown}"
        );
    }
    Ok(())
}

fn serves_by_shards(shards: u16) {
    in_world(&[], |world| {
        const VMS: u8 = 32;
        let host = Host::new(world, "host")?;
        let _uplink = host.bridge("br0")?;
        let vms: Vec<_> = (0..VMS)
            .map(|number| Vm::new(&host, number, number % 2 == 0))
            .collect::<Result<_>>()?;
        let [v4, rs, ns, v6] = FIRST;
        let queues = format!("dhcpv4 = {v4}\nrs = {rs}\nns = {ns}\ndhcpv6 = {v6}");
        let configuration =
            format!("user = 'nobody'\nrouter = 'host'\n[queues]\nshards = {shards}\n{queues}\n");
        let mut first_time = None;
        for round in ["first", "after kill -9"] {
            let mut daemon = host.nfdhcpd(&configuration)?;
            for vm in &vms {
                daemon.serves(vm.tap.name())?;
            }
            rules_are_right(&host, shards)?;
            let mut placed = Vec::new();
            for vm in &vms {
                let before = queued(&host)?;
                ensure!(
                    before.len() == FIRST.len() * usize::from(shards),
                    "{before:?}"
                );
                vm.exchange()
                    .with_context(|| format!("{} {round}", vm.tap.name()))?;
                let shard = shard_of(&before, &queued(&host)?, shards);
                placed.push(shard.with_context(|| vm.tap.name().to_owned())?);
            }
            adds_up(&daemon, u64::from(VMS))?;
            for shard in 0..shards {
                ensure!(
                    placed.contains(&shard),
                    "{round}: no TAP is at {shard}: {placed:?}"
                );
            }
            let before = first_time.get_or_insert_with(|| placed.clone());
            ensure!(
                *before == placed,
                "after kill -9 the TAPs moved: {before:?} {placed:?}"
            );
            // All at once.
            std::thread::scope(|scope| {
                let asking: Vec<_> = vms.iter().map(|vm| scope.spawn(|| vm.exchange())).collect();
                asking.into_iter().try_for_each(|vm| {
                    vm.join()
                        .map_err(|_| anyhow::anyhow!("a VM's thread panicked"))?
                })
            })?;
            adds_up(&daemon, 2 * u64::from(VMS))?;
            daemon.program.stop(Signal::SIGKILL)?;
        }
        Ok(())
    });
}

#[test]
fn two_shards_serve_all_taps_each_its_own_also_when_killed() {
    serves_by_shards(2);
}

#[test]
fn four_shards_serve_all_taps_each_its_own_also_when_killed() {
    serves_by_shards(4);
}

/// Nothing but our own rules keeps a TAP's packets on one thread: with an operator's, two threads share a bucket.
#[test]
fn one_tap_on_two_threads_has_one_rate_and_every_packet_is_counted() {
    in_world(&["iptables"], |world| {
        const EACH: u64 = 500;
        let host = Host::new(world, "host")?;
        for (from, queue) in [("0.0.0.0", 40), ("10.77.0.2", 41)] {
            let words = format!(
                "-w -t raw -A PREROUTING -i tap+ -s {from}/32 -p udp --dport 67 -j NFQUEUE --queue-num {queue}"
            );
            host.namespace
                .run("iptables", &words.split(' ').collect::<Vec<_>>())?;
        }
        let tap = host.routed_tap("tap0")?;
        let daemon = host.nfdhcpd(
            "rules = 'external'\nuser = 'nobody'\n\
             [queues]\nshards = 2\ndhcpv4 = 40\nrs = 42\nns = 44\ndhcpv6 = 46\n\
             [rate]\nper_second = 1\nburst = 100\n",
        )?;
        host.bind("tap0", &binding(""))?;
        daemon.serves("tap0")?;
        let discover = build::discover(MAC, 7)?;
        let renewal = renewal()?;
        // First one by one: afterwards one thread may take all that the rate allows.
        for (request, answer) in [
            (&discover, MessageType::Offer),
            (&renewal, MessageType::Ack),
        ] {
            tap.send(request)?;
            tap.expect("its answer", SOON, |frame| {
                dhcpv4(frame, answer).map(|_| ())
            })?;
        }
        for _ in 1..EACH {
            tap.send(&discover)?;
            tap.send(&renewal)?;
        }
        until("all packets are counted", SOON, || {
            let figures = daemon.ctl_json(&["stats"])?;
            let rows = figures.get("packets").and_then(Value::as_array).cloned();
            let counts: BTreeMap<_, _> = rows
                .unwrap_or_default()
                .iter()
                .filter_map(|row| {
                    let count = row.get("count")?.as_u64().filter(|count| *count > 0)?;
                    Some((row.get("reason")?.as_str()?.to_owned(), count))
                })
                .collect();
            let limited = counts.get("rate_limited").copied().unwrap_or_default();
            let total: u64 = counts.values().sum();
            if total < 2 * EACH {
                return Ok(false);
            }
            let passed = total - limited;
            // The burst, and what a second or some more have added.
            ensure!(
                total == 2 * EACH && (100..150).contains(&passed),
                "{counts:?}"
            );
            Ok(true)
        })?;
        let queues = queued(&host)?;
        ensure!(
            queues.get(&40) == Some(&EACH) && queues.get(&41) == Some(&EACH),
            "{queues:?}"
        );
        Ok(())
    });
}

/// Of the address the VM has, to its server (RFC 2131 §4.3.2).
fn renewal() -> Result<Vec<u8>> {
    use dhcproto::Encodable;
    let (none, own) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 77, 0, 2));
    let mut message = v4::Message::new_with_id(7, own, none, none, none, &MAC.octets());
    let kind = DhcpOption::MessageType(MessageType::Request);
    message.opts_mut().insert(kind);
    let between = build::Between {
        from_mac: MAC,
        to_mac: MacAddr::BROADCAST,
        from: own,
        to: Ipv4Addr::BROADCAST,
    };
    build::udp4(between, (68, 67), &message.to_vec()?)
}
