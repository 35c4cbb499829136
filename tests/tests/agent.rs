//! snf-agent on a node: what the hooks say is kept, what is left of TAPs that are gone is taken away, what drifted is put
//! right, and the story is told. Ganeti's runtime files are as `hv_kvm` 3.0 writes them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use system_tests::ganeti::{BRIDGED, ROUTED};
use system_tests::host::Host;
use system_tests::notifications::Notifications;
use system_tests::program::Program;
use system_tests::served::CONFIGURATION;
use system_tests::tap::Tap;
use system_tests::wait::{self, SOON};
use system_tests::world::{World, in_world, programs};

const CONFIG: &str = "/etc/snf/snf-agent.toml";
/// A look by the clock comes every second.
const EVERY_SECOND: &str = "interval = 1\nmetrics = \"127.0.0.1:9548\"\n";
/// None comes while a test runs: what is done was started by an event.
const NEVER: &str = "interval = 3600\n";

const BRIDGED_INSTANCE: &str = "bridged.example.org";
const ROUTED_INSTANCE: &str = "routed.example.org";

/// A node with both kinds of networks and snf-ifup installed.
struct Node {
    host: Host,
    _uplinks: [Tap; 2],
}

impl Node {
    fn new(world: &World) -> Result<Self> {
        let host = Host::new(world, "node")?;
        let bridge = host.bridge("br0")?;
        let uplink = host.uplink("eth1")?;
        host.routed_network("eth1")?;
        host.install_ifup()?;
        Ok(Self {
            host,
            _uplinks: [bridge, uplink],
        })
    }

    /// Ganeti starts an instance with one NIC: TAP, script, then the files about it.
    fn start(&self, nic: &[(&str, &str)]) -> Result<Tap> {
        let tap = self.host.tap(of(nic, "INTERFACE"))?;
        self.host.ifup(nic, &[])?;
        self.runtime(nic)?;
        Ok(tap)
    }

    /// Writes what `hv_kvm` writes about a running instance.
    fn runtime(&self, nic: &[(&str, &str)]) -> Result<()> {
        let tags: Vec<&str> = of(nic, "NETWORK_TAGS").split(' ').collect();
        let instance = of(nic, "INSTANCE");
        let mut netinfo = json!({
            "name": of(nic, "NETWORK_NAME"), "uuid": of(nic, "NETWORK_UUID"), "serial_no": 1, "tags": tags,
            "network": of(nic, "NETWORK_SUBNET"), "gateway": of(nic, "NETWORK_GATEWAY"),
            "network6": of(nic, "NETWORK_SUBNET6"), "gateway6": of(nic, "NETWORK_GATEWAY6"),
            "mac_prefix": of(nic, "NETWORK_MAC_PREFIX"),
        });
        if let Some(netinfo) = netinfo.as_object_mut() {
            netinfo.retain(|_, value| value != "");
        }
        let nics = json!([{
            "mac": of(nic, "MAC"), "ip": of(nic, "IP"), "uuid": of(nic, "INTERFACE_UUID"),
            "network": of(nic, "NETWORK_UUID"),
            "nicparams": {"mode": of(nic, "MODE"), "link": of(nic, "LINK"), "vlan": ""},
            "netinfo": netinfo,
        }]);
        let base = "/run/ganeti/kvm-hypervisor";
        let runtime = json!([["qemu"], nics, {"acpi": true}, []]).to_string();
        let write = |path: String, text: &str| self.host.namespace.write(&path, text);
        write(format!("{base}/conf/{instance}.runtime"), &runtime)?;
        write(format!("{base}/nic/{instance}/0"), of(nic, "INTERFACE"))
    }

    /// Ganeti removes an instance's files.
    fn forget(&self, instance: &str) -> Result<()> {
        let base = self.host.namespace.path("/run/ganeti/kvm-hypervisor");
        fs::remove_file(base.join(format!("conf/{instance}.runtime")))?;
        Ok(fs::remove_dir_all(base.join(format!("nic/{instance}")))?)
    }

    /// Starts the agent and waits until it has looked at everything.
    fn agent(&self, configuration: &str) -> Result<Program> {
        self.host.namespace.write(CONFIG, configuration)?;
        let notifications = Notifications::listen(&self.host.namespace)?;
        let mut command = self.host.program("snf-agent");
        command
            .arg("run")
            .env("NOTIFY_SOCKET", notifications.socket());
        let agent = Program::start("snf-agent", command)?;
        notifications
            .line("READY=1", SOON)
            .with_context(|| agent.output().unwrap_or_default())?;
        Ok(agent)
    }

    fn ask(&self, words: &[&str]) -> Result<String> {
        self.host.namespace.run(programs().join("snf-agent"), words)
    }

    fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.ask(&[words, &["--json"]].concat())?;
        serde_json::from_str(&text).context(text)
    }

    /// Runs the hook with a recorded environment of another instance's name.
    fn hook(&self, instance: &str, changes: &[(&str, &str)]) -> Result<()> {
        let recorded = include_str!("../../agent/tests/hooks/instance-modify-post.env");
        let mut command = self.host.program("snf-ganeti-hook");
        command.env_clear();
        for (name, value) in recorded.lines().filter_map(|line| line.split_once('=')) {
            command.env(name, value.replace("k1.gnt.test", instance));
        }
        command.envs(changes.iter().copied());
        ensure!(command.status()?.success());
        Ok(())
    }

    fn figure(&self, name: &str) -> Result<u64> {
        let status = self.json(&["status"])?;
        let figure = status.get("agent").and_then(|agent| agent.get(name));
        Ok(figure.and_then(Value::as_u64).unwrap_or_default())
    }

    /// The whole state of the host, but for what moves by itself and our own files.
    fn state(&self) -> Result<Vec<(String, String)>> {
        let of = &self.host.namespace;
        let mut state = Vec::new();
        for what in [
            "rule",
            "-6 rule",
            "route show table all proto static",
            "-6 route show table all proto static",
            "-6 neigh show proxy",
        ] {
            state.push((what.to_owned(), of.ip(what)?));
        }
        state.push(("nft".to_owned(), of.run("nft", &["list", "ruleset"])?));
        for directory in ["/run/snf-ifup/taps", "/var/lib/nfdhcpd"] {
            let list = "ls -A \"$0\" 2>/dev/null && cat \"$0\"/* 2>/dev/null || true";
            state.push((
                directory.to_owned(),
                of.run("sh", &["-c", list, directory])?,
            ));
        }
        Ok(state)
    }

    /// Waits until the host is as it was; the counters in the rules may have counted.
    fn is_again(&self, before: &[(String, String)]) -> Result<()> {
        let same = || -> Result<bool> {
            let now = self.state()?;
            Ok(now
                .iter()
                .zip(before)
                .all(|((_, now), (_, was))| uncounted(now) == uncounted(was)))
        };
        wait::until("the host is as it was", SOON, same).with_context(|| {
            let now = self.state().unwrap_or_default();
            let differ = now
                .iter()
                .zip(before)
                .filter(|((_, now), (_, was))| uncounted(now) != uncounted(was));
            let differ: Vec<String> = differ
                .map(|((what, now), (_, was))| format!("{what}\n--- was\n{was}\n--- is\n{now}"))
                .collect();
            differ.join("\n")
        })
    }
}

fn uncounted(text: &str) -> String {
    let mut after_count = false;
    let words = text.split_whitespace().map(|word| {
        let shown = if after_count { "N" } else { word };
        after_count = ["packets", "bytes"].contains(&word);
        shown
    });
    words.collect::<Vec<&str>>().join(" ")
}

fn of<'a>(nic: &[(&str, &'a str)], variable: &str) -> &'a str {
    nic.iter()
        .find(|(name, _)| *name == variable)
        .map_or("", |(_, value)| *value)
}

#[test]
fn what_hooks_say_reaches_the_story_and_survives_a_restart() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let _tap = node.start(BRIDGED)?;
        let mut agent = node.agent(NEVER)?;
        node.hook(
            BRIDGED_INSTANCE,
            &[("GANETI_POST_INSTANCE_TAGS", "synnefo:hostname:web1 front")],
        )?;
        wait::until("the tag's host name is in the binding", SOON, || {
            let binding = node.host.namespace.read("/var/lib/nfdhcpd/tap0")?;
            Ok(binding.contains("HOSTNAME=web1\n"))
        })?;
        let told = node.json(&["explain", BRIDGED_INSTANCE])?;
        ensure!(
            told[0]["hooks"]["tags"] == json!(["front", "synnefo:hostname:web1"]),
            "{told}"
        );
        ensure!(told[0]["standing"] == "sound", "{told}");
        ensure!(agent.stop(Signal::SIGTERM)?.success());
        let mut agent = node.agent(NEVER)?;
        let text = node.ask(&["explain", BRIDGED_INSTANCE])?;
        ensure!(text.contains("tags: front synnefo:hostname:web1"), "{text}");
        node.hook(
            BRIDGED_INSTANCE,
            &[("GANETI_HOOKS_PATH", "instance-remove")],
        )?;
        wait::until("the agent has forgotten the instance", SOON, || {
            Ok(node.json(&["explain", BRIDGED_INSTANCE])?[0]["hooks"].is_null())
        })?;
        // A killed agent's socket is in nobody's way.
        agent.signal(Signal::SIGKILL)?;
        agent.wait(SOON)?;
        node.agent(NEVER).map(drop)
    });
}

#[test]
fn malformed_hooks_are_refused_with_their_reason_and_counted() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let agent = node.agent(NEVER)?;
        for (changes, reason) in [
            (
                ("GANETI_POST_INSTANCE_NIC_COUNT", "9"),
                "GANETI_POST_INSTANCE_NIC2_MAC is not set",
            ),
            (("GANETI_HOOKS_PHASE", "pre"), "GANETI_HOOKS_PHASE=\"pre\""),
            (
                ("GANETI_INSTANCE_NAME", "../../etc/x"),
                "not an instance's name",
            ),
        ] {
            node.hook("a.example.org", &[changes])?;
            agent.says(reason, SOON)?;
        }
        let status = node.json(&["status"])?;
        ensure!(
            status["agent"]["hooks_refused"]
                == json!({"malformed": 1, "missing": 1, "not_ours": 1}),
            "{status}"
        );
        let mut stranger = node.host.namespace.command("setpriv");
        stranger.args(["--reuid=65534", "--clear-groups"]);
        stranger
            .arg(programs().join("snf-agent"))
            .args(["status", "--json"]);
        let told = stranger.output()?;
        ensure!(
            !String::from_utf8_lossy(&told.stdout).contains("rounds"),
            "{told:?}"
        );
        Ok(())
    });
}

/// Ganeti to 3.1 tells nobody that a NIC is gone.
#[test]
fn nothing_is_left_of_taps_that_are_gone() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        // A first NIC makes the constant tables, which stay.
        drop(node.start(BRIDGED)?);
        node.forget(BRIDGED_INSTANCE)?;
        let agent = node.agent(NEVER)?;
        wait::until(
            "the first is swept",
            SOON,
            || Ok(node.figure("swept")? == 1),
        )?;
        // Another's: a binding made by hand, an element of a table of the operator's, a rule.
        node.host.bind("foreign0", "MAC=aa:00:00:00:00:01\n")?;
        node.host.namespace.ip("rule add iif foreign0 lookup 79")?;
        let before = node.state()?;
        let bridged = node.start(BRIDGED)?;
        let routed = node.start(ROUTED)?;
        ensure!(node.state()? != before, "two NICs leave no trace");
        drop(bridged);
        node.forget(BRIDGED_INSTANCE)?;
        // QEMU crashed: Ganeti's files are still there.
        drop(routed);
        node.is_again(&before)?;
        let said = agent.says("swept", SOON)?;
        ensure!(
            said.contains("ip rule del") || said.contains("rule"),
            "{said}"
        );
        wait::until("both are counted", SOON, || Ok(node.figure("swept")? == 3))?;
        ensure!(node.json(&["tap", "tap0"])?["standing"] == "no_record");
        Ok(())
    });
}

#[test]
fn what_was_left_while_the_agent_was_away_is_swept_at_its_start() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        drop(node.start(ROUTED)?);
        let plan = node.ask(&["reconcile", "--dry-run"])?;
        ensure!(plan.starts_with("# tap1 -: gone"), "{plan}");
        let by_ifup = {
            let mut command = node.host.program("snf-ifup");
            command.args(["down", "--dry-run"]).env("INTERFACE", "tap1");
            String::from_utf8(command.output()?.stdout)?
        };
        ensure!(
            plan.ends_with(&by_ifup) && !by_ifup.is_empty(),
            "{plan}\n{by_ifup}"
        );
        ensure!(
            !node
                .host
                .namespace
                .read("/run/snf-ifup/taps/tap1")?
                .is_empty(),
            "a dry run changes nothing"
        );
        let _agent = node.agent(NEVER)?;
        ensure!(
            node.host
                .namespace
                .read("/run/snf-ifup/taps/tap1")?
                .is_empty()
        );
        ensure!(!node.host.namespace.ip("rule")?.contains("tap1"));
        ensure!(node.ask(&["reconcile", "--dry-run"])?.is_empty());
        Ok(())
    });
}

/// Ganeti starts it again at once, on another TAP: what the first left is not what the second needs.
#[test]
fn a_nic_that_came_back_on_another_tap_keeps_its_address() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        drop(node.start(ROUTED)?);
        let again = node.host.tap("tap2")?;
        node.host.ifup(ROUTED, &[("INTERFACE", "tap2")])?;
        let proxies = || node.host.namespace.ip("-6 neigh show proxy");
        let before = proxies()?;
        ensure!(before.contains("2001:db8:79:"), "{before}");
        let agent = node.agent(NEVER)?;
        agent.says("rm /run/snf-ifup/taps/tap1", SOON)?;
        ensure!(proxies()? == before, "{}", agent.output()?);
        drop(again);
        wait::until("the last one takes it away", SOON, || {
            Ok(proxies()?.is_empty())
        })
    });
}

/// Each drift by itself, and the host as it was within a look.
#[test]
fn what_drifted_is_put_right() {
    in_world(&["nft", "curl"], |world| {
        let node = Node::new(world)?;
        let _taps = [node.start(BRIDGED)?, node.start(ROUTED)?];
        let before = node.state()?;
        let agent = node.agent(EVERY_SECOND)?;
        ensure!(node.figure("restored")? == 0, "{}", agent.output()?);
        for (drift, restored) in [
            ("nft flush ruleset", 2),
            ("nft flush chain inet snf check_source", 1),
            ("nft delete element bridge snf filtered '{ tap0 }'", 1),
            ("nft delete element arp snf gateway '{ tap1 }'", 1),
            ("ip link set tap0 nomaster", 1),
            ("ip link set tap0 address 02:00:00:00:00:99", 1),
            ("ip link set tap1 down", 1),
            ("rm /var/lib/nfdhcpd/tap0", 1),
            ("echo IP=10.77.0.99 >> /var/lib/nfdhcpd/tap0", 1),
            ("ip rule del iif tap1", 1),
            ("ip route flush dev tap1 table rt79", 1),
            (
                "ip -6 neigh flush proxy; ip -6 neigh del proxy 2001:db8:79:0:a800:ff:fe63:bc42 dev eth1",
                1,
            ),
            ("echo 0 > /proc/sys/net/ipv4/conf/tap1/proxy_arp", 1),
        ] {
            let count = node.figure("restored")?;
            // Some of these say that part of it was not there.
            let _ = node.host.namespace.run("sh", &["-c", drift]);
            wait::until(&format!("{drift:?} is put right"), SOON, || {
                Ok(node.figure("restored")? >= count + restored)
            })
            .with_context(|| agent.output().unwrap_or_default())?;
            node.is_again(&before).with_context(|| drift.to_owned())?;
        }
        let link = node.host.namespace.ip("link show tap0")?;
        ensure!(
            link.contains("master br0") && link.contains("fe:00:77:51:ad:bc"),
            "{link}"
        );
        let metrics = || {
            let of = &node.host.namespace;
            of.run("curl", &["-s", "http://127.0.0.1:9548/metrics"])
        };
        wait::until("both are sound at the next look", SOON, || {
            Ok(metrics()?.contains("snf_agent_taps{standing=\"sound\"} 2\n"))
        })?;
        let metrics = metrics()?;
        ensure!(
            metrics.contains("snf_agent_steps_total{kind=\"binding\"} 2\n"),
            "{metrics}"
        );
        let health = node
            .host
            .namespace
            .run("curl", &["-s", "http://127.0.0.1:9548/health"])?;
        ensure!(health == "well\n", "{health}");
        Ok(())
    });
}

/// What an event tells of is put right at once.
#[test]
fn a_tap_that_left_its_bridge_is_back_before_the_next_look() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let _tap = node.start(BRIDGED)?;
        let _agent = node.agent(NEVER)?;
        node.host.namespace.ip("link set tap0 nomaster")?;
        wait::until("tap0 is a port of br0", SOON, || {
            Ok(node
                .host
                .namespace
                .ip("link show tap0")?
                .contains("master br0"))
        })?;
        ensure!(node.figure("rounds")? == 1);
        Ok(())
    });
}

#[test]
fn what_is_not_ours_is_left_alone() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        // Another script's TAP, though Ganeti names it.
        let _foreign = node.host.bridged_tap("tap0", "br0")?;
        node.runtime(BRIDGED)?;
        let _agent = node.agent(EVERY_SECOND)?;
        node.host.namespace.ip("link set tap0 nomaster")?;
        let rounds = node.figure("rounds")?;
        wait::until("two looks went by", SOON, || {
            Ok(node.figure("rounds")? >= rounds + 2)
        })?;
        ensure!(!node.host.namespace.ip("link show tap0")?.contains("master"));
        let told = node.ask(&["tap", "tap0"])?;
        ensure!(
            told.contains("snf-ifup has no record of this device"),
            "{told}"
        );
        // Ours, but of an instance that Ganeti's files do not name.
        let _ours = node.start(ROUTED)?;
        node.forget(ROUTED_INSTANCE)?;
        node.host.namespace.run("rm", &["/var/lib/nfdhcpd/tap1"])?;
        let told = node.json(&["tap", "tap1"])?;
        ensure!(told["standing"] == "no_nic", "{told}");
        ensure!(node.figure("restored")? == 0);
        Ok(())
    });
}

/// A call of snf-ifup that holds the TAP's lock is not interfered with; what cannot be put right is told once.
#[test]
fn a_bridge_that_is_missing_is_told_once_and_counted() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let _tap = node.start(BRIDGED)?;
        let agent = node.agent(EVERY_SECOND)?;
        node.host.namespace.ip("link del br0")?;
        agent.says("LINK=br0: there is no such bridge", SOON)?;
        wait::until("it was tried again", SOON, || {
            Ok(node.figure("failures")? >= 3)
        })?;
        ensure!(
            agent.output()?.matches("there is no such bridge").count() == 1,
            "{}",
            agent.output()?
        );
        let text = node.ask(&["status"])?;
        ensure!(
            text.contains("failed") && text.contains("no such bridge"),
            "{text}"
        );
        node.host.namespace.ip("link add br0 type bridge")?;
        node.host.namespace.ip("link set br0 up")?;
        wait::until("tap0 is a port of br0", SOON, || {
            Ok(node
                .host
                .namespace
                .ip("link show tap0")?
                .contains("master br0"))
        })
    });
}

#[test]
fn the_story_says_what_nfdhcpd_answered() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let nfdhcpd = node.host.nfdhcpd(CONFIGURATION)?;
        let _tap = node.start(BRIDGED)?;
        nfdhcpd.serves("tap0")?;
        let told = node.ask(&["explain", BRIDGED_INSTANCE])?;
        for part in [
            "tap0 of bridged.example.org: sound",
            "NETWORK_NAME        netbr",
            "port of br0, up, in use",
            "  element  stands  bridge snf filtered { \"tap0\" }",
            "  binding  stands  aa:00:77:51:ad:bc",
            "nothing to do",
            "binding in force",
        ] {
            ensure!(told.contains(part), "{part:?} is not in:\n{told}");
        }
        node.host.namespace.run("nft", &["flush", "ruleset"])?;
        let told = node.ask(&["tap", "tap0"])?;
        ensure!(told.contains("MISSING  bridge snf filtered"), "{told}");
        ensure!(
            told.contains("drifted") && told.contains("MISSING"),
            "{told}"
        );
        println!("{told}\n{}", node.ask(&["status"])?);
        Ok(())
    });
}

#[test]
fn a_wrong_configuration_is_refused_with_its_key() {
    in_world(&[], |world| {
        let node = Node::new(world)?;
        node.host.namespace.write(CONFIG, "intervall = 5\n")?;
        let mut command = node.host.program("snf-agent");
        let output = command.arg("check-config").output()?;
        ensure!(output.status.code() == Some(64), "{output:?}");
        ensure!(
            String::from_utf8_lossy(&output.stderr).contains("intervall"),
            "{output:?}"
        );
        node.host.namespace.write(CONFIG, "")?;
        node.ask(&["check-config"]).map(drop)
    });
}

/// Room for a burst: not a bound of the product.
#[test]
fn many_taps_that_go_at_once_are_all_swept() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let _agent = node.agent(NEVER)?;
        let taps: Result<Vec<Tap>> = (10..40)
            .map(|number| {
                let tap = node.host.tap(&format!("tap{number}"))?;
                let mac = format!("aa:00:77:51:00:{number:02x}");
                let name = format!("tap{number}");
                node.host
                    .ifup(BRIDGED, &[("INTERFACE", &name), ("MAC", &mac)])?;
                Ok(tap)
            })
            .collect();
        drop(taps?);
        wait::until("no record is left", Duration::from_secs(30), || {
            Ok(
                fs::read_dir(node.host.namespace.path("/run/snf-ifup/taps"))?
                    .next()
                    .is_none(),
            )
        })?;
        let rules = node.host.namespace.run("nft", &["list", "ruleset"])?;
        ensure!(
            !rules.contains("tap1") && !rules.contains("tap3"),
            "{rules}"
        );
        Ok(())
    });
}
