//! A Ganeti node: a namespace in which nfdhcpd and snf-ifup run, with bridges, uplinks and TAPs.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::namespace::Namespace;
use crate::notifications::Notifications;
use crate::program::Program;
use crate::tap::Tap;
use crate::wait;
use crate::world::{self, World};

/// Where bindings are on a host.
pub const BINDINGS: &str = "/var/lib/nfdhcpd";
/// Where the daemon's configuration is on a host.
pub const CONFIGURATION: &str = "/etc/nfdhcpd/nfdhcpd.toml";

/// A Ganeti node.
#[derive(Debug)]
pub struct Host {
    /// Its network and files.
    pub namespace: Namespace,
}

impl Host {
    /// A host with nothing in it but the binding directory.
    ///
    /// # Errors
    /// When the namespace cannot be made.
    pub fn new(world: &World, name: &str) -> Result<Self> {
        let namespace = world.namespace(name)?;
        fs::create_dir_all(namespace.path(BINDINGS))?;
        Ok(Self { namespace })
    }

    /// Makes a bridge that is up, and returns the far side of its uplink: what the physical network would see.
    ///
    /// # Errors
    /// When a device cannot be made.
    pub fn bridge(&self, name: &str) -> Result<Tap> {
        self.namespace.ip(&format!(
            "link add {name} type bridge stp_state 0 forward_delay 0"
        ))?;
        let uplink = Tap::open(&self.namespace, &format!("up-{name}"))?;
        self.namespace
            .ip(&format!("link set {} master {name} up", uplink.name()))?;
        self.namespace.ip(&format!("link set {name} up"))?;
        self.wait_until_forwarding(uplink.name())?;
        Ok(uplink)
    }

    /// Makes a device that is up and no port of a bridge, and returns its far side: the routed networks' uplink.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn uplink(&self, name: &str) -> Result<Tap> {
        self.routed_tap(name)
    }

    /// Makes a TAP, down and attached to nothing, as Ganeti does before it runs its script.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn tap(&self, name: &str) -> Result<Tap> {
        Tap::open(&self.namespace, name)
    }

    /// Makes a TAP that is up and a port of `bridge`, without any script.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn bridged_tap(&self, name: &str, bridge: &str) -> Result<Tap> {
        let tap = self.tap(name)?;
        self.namespace
            .ip(&format!("link set {name} master {bridge} up"))?;
        self.wait_until_forwarding(name)?;
        Ok(tap)
    }

    /// Makes a TAP that is up and attached to nothing, as in routed mode, without any script.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn routed_tap(&self, name: &str) -> Result<Tap> {
        let tap = self.tap(name)?;
        self.namespace.ip(&format!("link set {name} up"))?;
        Ok(tap)
    }

    /// Waits until the bridge lets a port's frames through.
    ///
    /// # Errors
    /// When it does not soon.
    pub fn wait_until_forwarding(&self, port: &str) -> Result<()> {
        wait::until(&format!("bridge port {port} forwards"), wait::SOON, || {
            Ok(self.forwarding(&["dev", port])? == 1)
        })
    }

    /// Waits until `count` ports of bridges let frames through.
    ///
    /// # Errors
    /// When they do not soon.
    pub fn wait_until_all_forward(&self, count: usize) -> Result<()> {
        wait::until(&format!("{count} bridge ports forward"), wait::SOON, || {
            Ok(self.forwarding(&[])? == count)
        })
    }

    fn forwarding(&self, which: &[&str]) -> Result<usize> {
        let text = self
            .namespace
            .run("bridge", &[&["-j", "link", "show"], which].concat())?;
        let ports: Vec<Value> = serde_json::from_str(&text)?;
        let state = |port: &Value| port.get("state") == Some(&"forwarding".into());
        Ok(ports.into_iter().filter(state).count())
    }

    /// The index of a device.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn ifindex(&self, device: &str) -> Result<u64> {
        let links = self.namespace.ip_json(&format!("link show dev {device}"))?;
        links
            .first()
            .and_then(|link| link.get("ifindex"))
            .and_then(Value::as_u64)
            .with_context(|| format!("ip tells the index of {device}"))
    }

    /// Puts a binding in place as snf-ifup does: written beside, renamed over.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn bind(&self, tap: &str, binding: &str) -> Result<()> {
        let hidden = self.namespace.path(&format!("{BINDINGS}/.{tap}"));
        fs::write(&hidden, binding)?;
        fs::rename(&hidden, self.namespace.path(&format!("{BINDINGS}/{tap}")))?;
        Ok(())
    }

    /// Removes a binding.
    ///
    /// # Errors
    /// When there is none.
    pub fn unbind(&self, tap: &str) -> Result<()> {
        Ok(fs::remove_file(
            self.namespace.path(&format!("{BINDINGS}/{tap}")),
        )?)
    }

    /// A command for one of the programs under test.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        self.namespace.command(world::programs().join(name))
    }

    /// Starts nfdhcpd with `configuration` and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it is not ready soon; what it said is in the error.
    pub fn nfdhcpd(&self, configuration: &str) -> Result<Nfdhcpd> {
        Ok(self.notifying_nfdhcpd(configuration, &[])?.0)
    }

    /// The same, with variables of its environment, and with what it tells its service manager from then on.
    ///
    /// # Errors
    /// As [`Host::nfdhcpd`].
    pub fn notifying_nfdhcpd(
        &self,
        configuration: &str,
        environment: &[(&str, &str)],
    ) -> Result<(Nfdhcpd, Notifications)> {
        self.namespace.write(CONFIGURATION, configuration)?;
        let notifications = Notifications::listen(&self.namespace)?;
        let mut command = self.program("nfdhcpd");
        command
            .args(["run", "--config", CONFIGURATION])
            .env("NOTIFY_SOCKET", notifications.socket())
            .envs(environment.iter().copied());
        let mut program = Program::start(&format!("{}-nfdhcpd", self.namespace.name()), command)?;
        let ready = notifications.told(wait::SOON, |told| {
            anyhow::ensure!(program.is_running()?, "nfdhcpd ended");
            Ok(told.lines().any(|line| line == "READY=1"))
        });
        ready
            .with_context(|| format!("nfdhcpd said:\n{}", program.output().unwrap_or_default()))?;
        let daemon = Nfdhcpd {
            namespace: self.namespace.clone(),
            program,
        };
        Ok((daemon, notifications))
    }
}

/// A running nfdhcpd. Dropping it kills it.
#[derive(Debug)]
pub struct Nfdhcpd {
    namespace: Namespace,
    /// The daemon itself.
    pub program: Program,
}

impl Nfdhcpd {
    /// Runs `nfdhcpd ctl` and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let mut words = vec!["ctl"];
        words.extend(arguments);
        self.namespace
            .run(world::programs().join("nfdhcpd"), &words)
    }

    /// Runs `nfdhcpd ctl --json` and reads its answer.
    ///
    /// # Errors
    /// When it fails or the answer is no JSON.
    pub fn ctl_json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ctl(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("read as JSON: {text}"))
    }

    /// Waits until a binding of the TAP is in force.
    ///
    /// # Errors
    /// When none is soon; what the daemon says of the TAP is in the error.
    pub fn serves(&self, tap: &str) -> Result<()> {
        self.shows(tap, "standing", "in force")
    }

    /// Waits until what the daemon shows of a TAP has `value` under `key`.
    ///
    /// # Errors
    /// When it has not soon; what the daemon says of the TAP is in the error.
    pub fn shows(&self, tap: &str, key: &str, value: &str) -> Result<()> {
        wait::until(
            &format!("nfdhcpd shows {key} {value:?} of {tap}"),
            wait::SOON,
            || {
                let shown = self.ctl_json(&["show", tap])?;
                Ok(shown.get(key).and_then(Value::as_str) == Some(value))
            },
        )
        .with_context(|| {
            self.ctl(&["show", tap])
                .unwrap_or_else(|error| format!("{error:#}"))
        })
    }

    /// Asks the daemon to read configuration and bindings again.
    ///
    /// # Errors
    /// When it is gone.
    pub fn reload(&self) -> Result<()> {
        self.program.signal(Signal::SIGHUP)
    }
}
