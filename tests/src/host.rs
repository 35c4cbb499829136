//! A Ganeti node: a namespace in which nfdhcpd and snf-ifup run, with bridges, uplinks and TAPs.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::namespace::Namespace;
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
            let text = self
                .namespace
                .run("bridge", &["-j", "link", "show", "dev", port])?;
            let ports: Vec<Value> = serde_json::from_str(&text)?;
            Ok(ports
                .iter()
                .any(|port| port.get("state").and_then(Value::as_str) == Some("forwarding")))
        })
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

    /// Runs snf-ifup with Ganeti's environment and nothing else, as `program_name` in `argv[0]`.
    ///
    /// # Errors
    /// When it fails; its output, which Ganeti would copy into the job, is in the error.
    pub fn ifup(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<String> {
        let mut command = self.program("snf-ifup");
        command.args(arguments).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/sbin:/usr/sbin");
        command.env("HOME", "/root").env("LC_ALL", "C");
        command.envs(environment.iter().copied());
        let mut program = Program::start("snf-ifup", command)?;
        program.success(wait::SOON)
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
    pub fn nfdhcpd(&self, configuration: &str) -> Result<Nfdhcpd<'_>> {
        self.namespace.write(CONFIGURATION, configuration)?;
        let notify = self.namespace.path("/run/notify");
        // A socket of a daemon that was here before may be left.
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify).context("bind the notification socket")?;
        fs::set_permissions(&notify, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut command = self.program("nfdhcpd");
        command
            .args(["--config", CONFIGURATION])
            .env("NOTIFY_SOCKET", "/run/notify");
        let mut program = Program::start(&format!("{}-nfdhcpd", self.namespace.name()), command)?;
        let ready = wait::until("nfdhcpd is ready", wait::SOON, || {
            let mut room = [0; 4096];
            let length = socket.recv(&mut room).unwrap_or(0);
            let text = String::from_utf8_lossy(room.get(..length).unwrap_or_default());
            anyhow::ensure!(program.is_running()?, "nfdhcpd ended");
            Ok(text.lines().any(|line| line == "READY=1"))
        });
        ready
            .with_context(|| format!("nfdhcpd said:\n{}", program.output().unwrap_or_default()))?;
        Ok(Nfdhcpd {
            host: self,
            program,
            _notify: socket,
        })
    }
}

/// A running nfdhcpd. Dropping it kills it.
#[derive(Debug)]
pub struct Nfdhcpd<'a> {
    host: &'a Host,
    /// The daemon itself.
    pub program: Program,
    _notify: UnixDatagram,
}

impl Nfdhcpd<'_> {
    /// Runs `nfdhcpd ctl` and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let mut words = vec!["ctl"];
        words.extend(arguments);
        self.host
            .namespace
            .run(world::programs().join("nfdhcpd"), &words)
    }

    /// Asks the daemon to read configuration and bindings again.
    ///
    /// # Errors
    /// When it is gone.
    pub fn reload(&self) -> Result<()> {
        self.program.signal(Signal::SIGHUP)
    }
}
