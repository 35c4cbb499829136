//! A node with snf-agent: instances come and go on it as Ganeti makes them. The runtime files are as `hv_kvm` 3.0 writes
//! them.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::host::{BINDINGS, Host};
use crate::notifications::Notifications;
use crate::program::Program;
use crate::tap::Tap;
use crate::wait::{self, SOON};
use crate::world::{World, programs};

/// Where the agent's configuration is on a node.
pub const CONFIG: &str = "/etc/snf/snf-agent.toml";
/// A look by the clock comes every second.
pub const EVERY_SECOND: &str = "interval = 1\nmetrics = \"127.0.0.1:9548\"\n";
/// None comes while a test runs: what is done was started by an event.
pub const NEVER: &str = "interval = 3600\n";

/// A node with both kinds of networks and snf-ifup installed.
#[derive(Debug)]
pub struct Node {
    /// Its network and files.
    pub host: Host,
    _uplinks: [Tap; 2],
}

impl Node {
    /// Makes it.
    ///
    /// # Errors
    /// When a part cannot be made.
    pub fn new(world: &World) -> Result<Self> {
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
    ///
    /// # Errors
    /// When the script fails.
    pub fn start(&self, nic: &[(&str, &str)]) -> Result<Tap> {
        let tap = self.host.tap(of(nic, "INTERFACE"))?;
        self.host.ifup(nic, &[])?;
        self.runtime(nic)?;
        Ok(tap)
    }

    /// Writes what `hv_kvm` writes about a running instance.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn runtime(&self, nic: &[(&str, &str)]) -> Result<()> {
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
    ///
    /// # Errors
    /// When there are none.
    pub fn forget(&self, instance: &str) -> Result<()> {
        let base = self.host.namespace.path("/run/ganeti/kvm-hypervisor");
        fs::remove_file(base.join(format!("conf/{instance}.runtime")))?;
        Ok(fs::remove_dir_all(base.join(format!("nic/{instance}")))?)
    }

    /// Starts the agent and waits until it has looked at everything.
    ///
    /// # Errors
    /// When it is not ready soon; what it said is in the error.
    pub fn agent(&self, configuration: &str) -> Result<Program> {
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

    /// What `snf-agent` prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        self.host.namespace.run(programs().join("snf-agent"), words)
    }

    /// What `snf-agent` prints with `--json`.
    ///
    /// # Errors
    /// When it fails or that is no JSON.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.ask(&[words, &["--json"]].concat())?;
        serde_json::from_str(&text).context(text)
    }

    /// Runs the hook after an instance with this one NIC was modified; `changes` replace variables.
    ///
    /// # Errors
    /// When it fails.
    pub fn hook(&self, nic: &[(&str, &str)], changes: &[(&str, &str)]) -> Result<()> {
        let recorded = include_str!("../../agent/tests/hooks/instance-modify-post.env");
        let mut command = self.host.program("snf-ganeti-hook");
        command.env_clear();
        let variables = recorded.lines().filter_map(|line| line.split_once('='));
        for (name, value) in variables.filter(|(name, _)| !name.contains("_NIC")) {
            command.env(name, value.replace("k1.gnt.test", of(nic, "INSTANCE")));
        }
        for phase in ["", "POST_"] {
            let name = |rest: &str| format!("GANETI_{phase}INSTANCE_{rest}");
            command.env(name("NIC_COUNT"), "1");
            command.env(name("TAGS"), of(nic, "TAGS"));
            command.env(name("NIC0_UUID"), of(nic, "INTERFACE_UUID"));
            for (variable, value) in nic {
                let of_nic = ["BRIDGE", "IP", "LINK", "MAC", "MODE", "VLAN"].contains(variable);
                if of_nic || variable.starts_with("NETWORK_") {
                    command.env(name(&format!("NIC0_{variable}")), value);
                }
            }
        }
        command.envs(changes.iter().copied());
        ensure!(command.status()?.success());
        Ok(())
    }

    /// Waits until a TAP is a port of a bridge.
    ///
    /// # Errors
    /// When it is not soon.
    pub fn is_port(&self, tap: &str, bridge: &str) -> Result<()> {
        wait::until(&format!("{tap} is a port of {bridge}"), SOON, || {
            let link = self.host.namespace.ip(&format!("link show {tap}"))?;
            Ok(link.contains(&format!("master {bridge}")))
        })
    }

    /// Waits until a TAP's binding holds this text.
    ///
    /// # Errors
    /// When it does not soon; the binding is in the error.
    pub fn is_bound(&self, tap: &str, text: &str) -> Result<()> {
        let binding = || self.host.namespace.read(&format!("{BINDINGS}/{tap}"));
        let what = format!("{tap}'s binding holds {text:?}");
        wait::until(&what, SOON, || Ok(binding()?.contains(text)))
            .with_context(|| binding().unwrap_or_default())
    }

    /// One of the running agent's figures; 0 when it does not answer.
    ///
    /// # Errors
    /// When `snf-agent` fails.
    pub fn figure(&self, name: &str) -> Result<u64> {
        let status = self.json(&["status"])?;
        let figure = status.get("agent").and_then(|agent| agent.get(name));
        Ok(figure.and_then(Value::as_u64).unwrap_or_default())
    }

    /// The whole state of the host, but for what moves by itself and our own files.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn state(&self) -> Result<Vec<(String, String)>> {
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
    ///
    /// # Errors
    /// When it is not soon; what differs is in the error.
    pub fn is_again(&self, before: &[(String, String)]) -> Result<()> {
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
