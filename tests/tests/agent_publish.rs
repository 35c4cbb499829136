//! What a node's agent tells the control plane: what hooks and the progress monitor say, and its own reports, at a real broker;
//! and what must not arrive, or must not be lost.
//!
//! One broker, which takes seconds to start, for all scenes.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use nfdhcpd_binding::MacAddr;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use system_tests::broker::{self, Broker, Delivered};
use system_tests::eventd::get;
use system_tests::frame::build;
use system_tests::ganeti::{BRIDGED, BRIDGED_MAC};
use system_tests::host::Host;
use system_tests::job_queue::{CLUSTER, JobQueue, NODE};
use system_tests::luxi::{CLUSTER_UUID, Luxid};
use system_tests::notifications::Notifications;
use system_tests::program::Program;
use system_tests::served::CONFIGURATION;
use system_tests::wait::{self, SOON};
use system_tests::world::in_world;

const CONFIG: &str = "/etc/snf/snf-agent.toml";
const METRICS: &str = "127.0.0.1:9547";

/// A node that is in a cluster, with a broker beside it.
struct Node {
    host: Host,
    broker: Broker,
    ganeti: JobQueue,
    _luxid: Luxid,
}

/// A configuration with what a scene wants besides: top-level keys, then tables.
fn configuration(keys: &str, tables: &str) -> String {
    format!(
        "interval = 1\nmetrics = \"{METRICS}\"\nnode = \"{NODE}\"\ntransport = \"amqp\"\n{keys}\n{tables}\n\
         [amqp]\nhosts = [\"amqp://agent:p%2Fw@127.0.0.1:5672\"]\npatience = 3\n"
    )
}

impl Node {
    fn agent(&self, keys: &str, tables: &str) -> Result<Program> {
        self.host
            .namespace
            .write(CONFIG, &configuration(keys, tables))?;
        let notifications = Notifications::listen(&self.host.namespace)?;
        let mut command = self.host.program("snf-agent");
        command
            .args(["run", "--log", "debug,lapin=off"])
            .env("NOTIFY_SOCKET", notifications.socket());
        let agent = Program::start("snf-agent", command)?;
        notifications
            .line("READY=1", SOON)
            .with_context(|| agent.output().unwrap_or_default())?;
        Ok(agent)
    }

    /// Runs the hook with a recorded environment of another instance's name.
    fn hook(&self, hook: &str, instance: &str, changes: &[(&str, &str)]) -> Result<()> {
        let recorded = include_str!("../../agent/tests/hooks/instance-modify-post.env");
        let mut command = self.host.program("snf-ganeti-hook");
        command.env_clear();
        for (name, value) in recorded.lines().filter_map(|line| line.split_once('=')) {
            command.env(name, value.replace("k1.gnt.test", instance));
        }
        command.env("GANETI_HOOKS_PATH", hook);
        command.envs(changes.iter().copied());
        ensure!(command.status()?.success());
        Ok(())
    }

    /// A figure of the running agent; 0 where it has none of that name yet.
    fn figure(&self, name: &str) -> Result<f64> {
        let (_, text) = get(&self.host.namespace, METRICS, "/metrics", "")?;
        let figures = text.lines().filter_map(|line| line.rsplit_once(' '));
        let mut values = figures.filter(|(of, _)| *of == name);
        Ok(values.next().map_or(Ok(0.0), |(_, value)| value.parse())?)
    }

    fn shows(&self, name: &str, holds: impl Fn(f64) -> bool) -> Result<()> {
        let mut last = None;
        wait::until(&format!("a figure of the agent: {name}"), SOON, || {
            last = self.figure(name).ok();
            Ok(last.is_some_and(&holds))
        })
        .with_context(|| format!("{name} is {last:?}"))
    }

    /// Takes messages until `count` have come; more are a failure.
    fn arrive(&self, queue: &str, count: usize) -> Result<Vec<Delivered>> {
        let mut come = Vec::new();
        let waited = wait::until(&format!("{count} messages in {queue}"), SOON * 2, || {
            come.extend(self.broker.take(queue)?);
            Ok(come.len() >= count)
        });
        waited.with_context(|| format!("{come:?}"))?;
        ensure!(come.len() == count, "{count} messages, not {come:?}");
        Ok(come)
    }
}

fn at<'a>(body: &'a Value, pointer: &str) -> &'a Value {
    body.pointer(pointer).unwrap_or(&Value::Null)
}

fn text(text: &Option<lapin::types::ShortString>) -> Option<String> {
    text.as_ref().map(ToString::to_string)
}

fn instances(messages: &[Delivered]) -> Vec<String> {
    let each = messages.iter().map(|message| {
        let instance = message.body.get("instance").and_then(Value::as_str);
        instance.unwrap_or_default().to_owned()
    });
    let mut names: Vec<String> = each.collect();
    names.sort();
    names
}

#[test]
fn what_a_node_has_to_tell_arrives() {
    in_world(&[broker::NEEDS, "nft"], |world| {
        let host = Host::new(world, "node")?;
        let broker = Broker::start(&host.namespace)?;
        broker.declare("snf-")?;
        broker.ctl(&["add_user", "agent", "p/w"])?;
        broker.ctl(&["set_permissions", "agent", "^$", "^ganeti$", "^$"])?;
        let mut node = Node {
            ganeti: JobQueue::new(&host.namespace)?,
            _luxid: Luxid::start(&host.namespace)?,
            broker,
            host,
        };
        node.ganeti.set_master(NODE)?;
        let agent = node.agent("report = 0", "")?;
        shapes(&node).with_context(|| agent.output().unwrap_or_default())?;
        one_node_speaks_for_all(&node).with_context(|| agent.output().unwrap_or_default())?;
        the_queue_is_missing(&node).with_context(|| agent.output().unwrap_or_default())?;
        progress(&node).with_context(|| agent.output().unwrap_or_default())?;
        let agent = the_broker_is_down_and_the_agent_killed(&mut node, agent)?;
        drop(agent);
        reports(&node)?;
        a_full_spool(&mut node)
    });
}

/// A hook's words, whole.
fn shapes(node: &Node) -> Result<()> {
    let tags = "synnefo:network:0:protected synnefo:network:hot0:limited";
    node.hook(
        "instance-modify",
        "snf-42",
        &[("GANETI_POST_INSTANCE_TAGS", tags)],
    )?;
    let come = node.arrive("snf-events-net", 1)?;
    let message = come.first().context("a message")?;
    let body = &message.body;
    let epoch = body.pointer("/epoch").context("an epoch")?;
    let expected = json!({
        "type": "ganeti-net-status", "instance": "snf-42", "hook": "instance-modify",
        "nics": [
            {
                "ip": "10.77.0.2", "mac": "aa:00:77:51:ad:bc", "link": "br0", "mode": "bridged", "network": "netbr",
                "ipv6": "2001:db8:77:0:a800:77ff:fe51:adbc", "firewall": "protected",
                "uuid": "ff7053d8-b2ff-464a-8f68-c9da6aa35a20",
            },
            {
                "ip": "10.78.0.2", "mac": "aa:00:00:fc:bf:3a", "link": "rt_tbl", "mode": "routed", "network": "netrt",
                "name": "hot0", "firewall": "limited", "uuid": "b02b885f-3031-40ab-a73c-5cdc34e9df08",
            },
        ],
        "event_time": body.pointer("/event_time"), "node": NODE, "cluster": CLUSTER, "cluster_uuid": CLUSTER_UUID,
        "epoch": epoch, "prefix": "snf-", "sequence": 1,
    });
    ensure!(*body == expected, "{body} is not {expected}");
    ensure!(message.key == "ganeti.snf.event.net", "{}", message.key);
    let properties = &message.properties;
    ensure!(*properties.delivery_mode() == Some(2), "persistent");
    let said = [
        text(properties.app_id()),
        text(properties.user_id()),
        text(properties.content_type()),
        text(properties.message_id()),
    ];
    let id = format!("{}/snf/1", epoch.as_str().unwrap_or_default());
    let wanted = ["snf-agent", "agent", "application/json", &id].map(|word| Some(word.to_owned()));
    ensure!(said == wanted, "{said:?}");
    // What leaves NICs as they are says nothing, and others' instances are none of the control plane's business.
    for (hook, instance) in [
        ("instance-stop", "snf-42"),
        ("instance-remove", "snf-42"),
        ("instance-start", "vm.example.org"),
        ("instance-start", "snf-43"),
    ] {
        node.hook(hook, instance, &[])?;
        // One after another: what is behind them arrives last.
        let hooks = if instance == "snf-43" { 5.0 } else { 0.0 };
        node.shows("snf_agent_hooks_total", |count| count >= hooks)?;
    }
    node.shows("snf_agent_foreign_total", |count| count == 1.0)?;
    let come = node.arrive("snf-events-net", 1)?;
    ensure!(instances(&come) == ["snf-43"], "{come:?}");
    ensure!(node.figure("snf_agent_spooled_total{kind=\"net\"}")? == 2.0);
    node.shows("snf_agent_waiting", |count| count == 0.0)
}

/// A hook runs on the master and on the instance's nodes: the master alone tells, and who becomes master later does not
/// repeat what was said before.
fn one_node_speaks_for_all(node: &Node) -> Result<()> {
    let hooks = node.figure("snf_agent_hooks_total")?;
    node.ganeti.set_master("node2.gnt.test")?;
    node.hook("instance-start", "snf-50", &[])?;
    node.shows("snf_agent_hooks_total", |count| count == hooks + 1.0)?;
    node.ganeti.set_master(NODE)?;
    node.hook("instance-start", "snf-51", &[])?;
    let come = node.arrive("snf-events-net", 1)?;
    ensure!(instances(&come) == ["snf-51"], "{come:?}");
    Ok(())
}

/// It waits; progress, which nobody need take, does not.
fn the_queue_is_missing(node: &Node) -> Result<()> {
    node.broker.delete("snf-events-net")?;
    node.hook("instance-start", "snf-60", &[])?;
    node.shows("snf_agent_returned_total", |count| count >= 1.0)?;
    node.broker.delete("snf-events-progress")?;
    monitor(node, &["snf-60"], b"{\"type\":\"image-info\"}")?;
    node.shows("snf_agent_published_total{kind=\"progress\"}", |count| {
        count == 1.0
    })?;
    node.broker.declare("snf-")?;
    let come = node.arrive("snf-events-net", 1)?;
    ensure!(instances(&come) == ["snf-60"], "{come:?}");
    Ok(())
}

/// Runs the progress monitor; what it said on stderr.
fn monitor(node: &Node, words: &[&str], stdin: &[u8]) -> Result<String> {
    let mut command = node.host.program("snf-progress-monitor");
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("start the monitor")?;
    let mut pipe = child.stdin.take().context("a pipe")?;
    let bytes = stdin.to_vec();
    // It reads to the end whatever it reads.
    let writer = std::thread::spawn(move || pipe.write_all(&bytes));
    let output = child.wait_with_output()?;
    writer
        .join()
        .map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(said)
}

fn progress(node: &Node) -> Result<()> {
    // Two megabytes are copied, by a command that then waits to be looked at.
    let script = "head -c 2000000 /dev/zero > /tmp/image; exec sleep 4";
    monitor(
        node,
        &["-i", "snf-70", "-w", "1000000", "sh", "-c", script],
        b"",
    )?;
    let mut of_copy = Vec::new();
    wait::until("the copy has ended", SOON, || {
        of_copy.extend(node.broker.take("snf-events-progress")?);
        let last = of_copy.last().and_then(|last| last.body.get("wprogress"));
        Ok(last == Some(&json!(100.0)) && of_copy.len() >= 2)
    })
    .with_context(|| format!("{of_copy:?}"))?;
    for message in &of_copy {
        let body = &message.body;
        ensure!(
            *at(body, "/type") == "ganeti-create-progress" && *at(body, "/instance") == "snf-70",
            "{body}"
        );
        ensure!(
            body.get("rprogress").is_none() && *at(body, "/node") == NODE,
            "{body}"
        );
    }
    // A helper that is honest, broken and hostile by turns.
    let mut stdin = br#"{"type":"image-copy-progress","progress":12.5,"total":"x"}{"type":"image-helper","subtype":"task-start",
        "task":"FixPartitionTable","instance":"snf-1","sequence":99}"#
        .to_vec();
    stdin.extend(b"\n\x1b[2Jnoise\xff\xfe {\"type\": \"ganeti-op-status\", \"status\": \"success\"} {oops}\n[1,2]\n");
    stdin.extend(b"{".repeat(300_000));
    stdin.extend(b"\n{\"type\":\"image-info\",\"messages\":\"");
    stdin.extend(b"x".repeat(200_000));
    stdin.extend(b"\"}\n{\"type\":\"image-error\",\"messages\":[\"the end\"],\"stderr\":\"\\u001b[2J\"}{\"type\":");
    let said = monitor(node, &["snf-71"], &stdin)?;
    ensure!(
        said.lines().all(|line| line.starts_with("[MONITOR] ")),
        "{said}"
    );
    ensure!(
        !said.contains('\u{1b}') && said.contains("ganeti-op-status"),
        "{said}"
    );
    let come = node.arrive("snf-events-progress", 3)?;
    let bodies: Vec<Value> = come
        .iter()
        .map(|message| {
            let mut body = message.body.clone();
            if let Some(fields) = body.as_object_mut() {
                for added in [
                    "event_time",
                    "node",
                    "cluster",
                    "cluster_uuid",
                    "epoch",
                    "prefix",
                ] {
                    fields.remove(added);
                }
                fields.remove("sequence");
            }
            body
        })
        .collect();
    let expected = [
        json!({"type": "image-copy-progress", "instance": "snf-71", "progress": 12.5, "total": "x"}),
        json!({"type": "image-helper", "instance": "snf-71", "subtype": "task-start", "task": "FixPartitionTable"}),
        json!({"type": "image-error", "instance": "snf-71", "messages": ["the end"], "stderr": "\u{1b}[2J"}),
    ];
    ensure!(bodies == expected, "{bodies:?}");
    let key = come.first().map(|message| message.key.as_str());
    ensure!(key == Some("ganeti.snf.event.progress"), "{key:?}");
    // Another's is counted and goes nowhere.
    let foreign = node.figure("snf_agent_foreign_total")?;
    monitor(node, &["vm.example.org"], b"{\"type\":\"image-info\"}")?;
    node.shows("snf_agent_foreign_total", |count| count == foreign + 1.0)
}

/// Everything that was said meanwhile arrives: the newest of each instance, with the life and number it was given.
fn the_broker_is_down_and_the_agent_killed(node: &mut Node, agent: Program) -> Result<Program> {
    let mut agent = agent;
    node.broker.kill()?;
    let spooled = node.figure("snf_agent_spooled_total{kind=\"net\"}")?;
    for (count, (instance, ip)) in [
        ("snf-80", "10.77.0.80"),
        ("snf-81", "10.77.0.81"),
        ("snf-80", "10.77.0.82"),
    ]
    .into_iter()
    .enumerate()
    {
        node.hook(
            "instance-modify",
            instance,
            &[("GANETI_POST_INSTANCE_NIC0_IP", ip)],
        )?;
        let so_many = spooled + count as f64 + 1.0;
        node.shows("snf_agent_spooled_total{kind=\"net\"}", |now| {
            now == so_many
        })?;
    }
    monitor(node, &["snf-80"], b"{\"type\":\"image-error\"}")?;
    node.shows("snf_agent_waiting", |count| count == 3.0)?;
    agent.signal(Signal::SIGKILL)?;
    agent.wait(SOON)?;
    let agent = node.agent("report = 0", "")?;
    node.shows("snf_agent_waiting", |count| count == 3.0)?;
    node.shows("snf_agent_connection_errors_total", |count| count >= 1.0)?;
    let (status, health) = get(&node.host.namespace, METRICS, "/health", "")?;
    ensure!(
        status == 503 && health.contains("control plane"),
        "{health}"
    );
    node.broker.again()?;
    let come = node
        .arrive("snf-events-net", 2)
        .with_context(|| agent.output().unwrap_or_default())?;
    let told: Vec<(&Value, &Value)> = come
        .iter()
        .map(|message| {
            (
                at(&message.body, "/instance"),
                at(&message.body, "/nics/0/ip"),
            )
        })
        .collect();
    ensure!(
        told == [
            (&json!("snf-81"), &json!("10.77.0.81")),
            (&json!("snf-80"), &json!("10.77.0.82"))
        ],
        "{come:?}"
    );
    node.arrive("snf-events-progress", 1)?;
    node.shows("snf_agent_waiting", |count| count == 0.0)?;
    Ok(agent)
}

/// The host, and the TAPs of our instances with the kernel's counters as the VM sees them.
fn reports(node: &Node) -> Result<()> {
    let host = &node.host;
    let _uplink = host.bridge("br0")?;
    host.install_ifup()?;
    let ours = host.tap("tap0")?;
    host.ifup(BRIDGED, &[("INSTANCE", "snf-90")])?;
    let _other = host.tap("tap1")?;
    let changes = [
        ("INTERFACE", "tap1"),
        ("MAC", "aa:00:77:00:00:01"),
        ("IP", "10.77.0.3"),
    ];
    host.ifup(BRIDGED, &changes)?;
    runtime(node, "snf-90", "tap0", "aa:00:77:51:ad:bc")?;
    runtime(node, "bridged.example.org", "tap1", "aa:00:77:00:00:01")?;
    let nfdhcpd = host.nfdhcpd(CONFIGURATION)?;
    nfdhcpd.serves("tap0")?;
    let agent = node.agent("report = 1", "")?;
    let mut told = Vec::new();
    let of_tap = |message: &Delivered, what: &str| {
        let found = message.body.pointer(&format!("/taps/0/{what}"));
        found.cloned().unwrap_or_default()
    };
    wait::until("a report of the TAP", SOON, || {
        told.extend(node.broker.take("snf-events-node")?);
        Ok(told.iter().any(|told| of_tap(told, "standing") == "sound"))
    })
    .with_context(|| format!("{told:?}\n{}", agent.output().unwrap_or_default()))?;
    // The VM asks for another: the frame is its own, the client's address in it is not.
    let mut frame = build::discover(MacAddr([2, 0, 0, 0, 0, 9]), 18)?;
    frame.splice(6..12, BRIDGED_MAC.octets());
    ours.send(&frame)?;
    let mut message = None;
    wait::until("a report of its trouble", SOON, || {
        let news = node.broker.take("snf-events-node")?;
        message = news
            .into_iter()
            .find(|told| of_tap(told, "dhcp/why/0").is_string());
        Ok(message.is_some())
    })
    .with_context(|| nfdhcpd.ctl(&["show", "tap0"]).unwrap_or_default())?;
    let message = message.context("a report")?;
    let (why, last) = (of_tap(&message, "dhcp/why"), of_tap(&message, "dhcp/last"));
    ensure!(
        why.to_string().contains("DHCPDISCOVER") && !last.to_string().is_empty(),
        "{why} {last}"
    );
    let body = &message.body;
    ensure!(
        message.key == "ganeti.snf.event.node" && *at(body, "/type") == "node-report",
        "{body}"
    );
    let tap = at(body, "/taps/0");
    ensure!(
        *at(tap, "/tap") == "tap0"
            && *at(tap, "/instance") == "snf-90"
            && *at(tap, "/index") == 0
            && *at(tap, "/mac") == "aa:00:77:51:ad:bc",
        "{tap}"
    );
    ensure!(
        at(body, "/taps").as_array().map(Vec::len) == Some(1) && *at(body, "/other_taps") == 1,
        "{body}"
    );
    // Nothing moves any more: the next report has the kernel's numbers of now, from the other side.
    host.namespace.ip("link set tap0 nomaster")?;
    let kernel = |direction: &str, what: &str| -> Result<u64> {
        let path = format!("/sys/class/net/tap0/statistics/{direction}_{what}");
        Ok(host.namespace.run("cat", &[&path])?.trim().parse()?)
    };
    wait::until("a report with the kernel's numbers", SOON, || {
        let Some(report) = node.broker.take("snf-events-node")?.pop() else {
            return Ok(false);
        };
        let counters = at(&report.body, "/taps/0/counters");
        let mut all = true;
        for (vm, kernel_side) in [("rx", "tx"), ("tx", "rx")] {
            for what in ["bytes", "packets", "errors", "dropped"] {
                all &= *at(counters, &format!("/{vm}_{what}")) == kernel(kernel_side, what)?;
            }
        }
        Ok(all && at(counters, "/tx_bytes").as_u64() >= Some(60))
    })?;
    let series = "snf_agent_tap_tx_packets_total{tap=\"tap0\",instance=\"snf-90\"}";
    ensure!(node.figure(series)? >= 1.0, "{series}");
    let kernel_release = host.namespace.run("uname", &["-r"])?;
    ensure!(*at(body, "/host/kernel") == kernel_release.trim(), "{body}");
    ensure!(
        *at(body, "/host/bridges") == json!(["br0"])
            && at(body, "/host/memory/total").as_u64() > Some(0),
        "{body}"
    );
    ensure!(
        *at(body, "/master") == true && *at(body, "/node") == NODE && *at(body, "/interval") == 1,
        "{body}"
    );
    ensure!(
        at(body, "/host/disks/~1var~1lib~1ganeti/total").as_u64() > Some(0),
        "{body}"
    );
    // Nothing of it waits on disk.
    ensure!(node.figure("snf_agent_waiting")? == 0.0);
    Ok(())
}

/// What `hv_kvm` writes about a running instance with one NIC, as far as it is read.
fn runtime(node: &Node, instance: &str, tap: &str, mac: &str) -> Result<()> {
    let nics = json!([{
        "mac": mac, "ip": if tap == "tap0" { "10.77.0.2" } else { "10.77.0.3" },
        "network": "2eb2d251-135d-4540-88ac-679ea0674d7f", "uuid": "ff7053d8-b2ff-464a-8f68-c9da6aa35a20",
        "nicparams": {"mode": "bridged", "link": "br0", "vlan": ""},
        "netinfo": {
            "name": "netbr", "uuid": "2eb2d251-135d-4540-88ac-679ea0674d7f", "network": "10.77.0.0/24",
            "gateway": "10.77.0.1", "network6": "2001:db8:77::/64", "gateway6": "2001:db8:77::1",
            "mac_prefix": "aa:00:77", "tags": ["private-filtered", "nfdhcpd"],
        },
    }]);
    let base = "/run/ganeti/kvm-hypervisor";
    let text = json!([["qemu"], nics, {"acpi": true}, []]).to_string();
    let namespace = &node.host.namespace;
    namespace.write(&format!("{base}/conf/{instance}.runtime"), &text)?;
    namespace.write(&format!("{base}/nic/{instance}/0"), tap)
}

/// Progress is dropped first, and counted; what hooks say stays, and the agent does its work.
fn a_full_spool(node: &mut Node) -> Result<()> {
    node.broker.kill()?;
    let agent = node.agent("report = 0", "[spool]\nmessages = 5")?;
    let lines: String = (0..20)
        .map(|n| format!("{{\"type\":\"image-warning\",\"messages\":\"{n}\"}}\n"))
        .collect();
    monitor(node, &["snf-95"], lines.as_bytes())?;
    node.shows("snf_agent_dropped_total{kind=\"progress\"}", |count| {
        count == 15.0
    })?;
    for instance in ["snf-91", "snf-92", "snf-93"] {
        node.hook("instance-start", instance, &[])?;
    }
    node.shows("snf_agent_dropped_total{kind=\"progress\"}", |count| {
        count == 18.0
    })?;
    ensure!(node.figure("snf_agent_dropped_total{kind=\"net\"}")? == 0.0);
    agent.says("the spool is full", SOON)?;
    let spool = node.host.namespace.path("/var/lib/snf-agent/spool");
    ensure!(fs::read_dir(spool)?.count() == 5, "five files");
    let rounds = node.figure("snf_agent_rounds_total")?;
    node.shows("snf_agent_rounds_total", |count| count > rounds)?;
    node.broker.again()?;
    let come = node.arrive("snf-events-net", 3)?;
    ensure!(
        instances(&come) == ["snf-91", "snf-92", "snf-93"],
        "{come:?}"
    );
    node.arrive("snf-events-progress", 2)?;
    Ok(())
}
