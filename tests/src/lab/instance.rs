//! A VM of the lab's cluster: a real one, run by KVM's hypervisor code under emulation, with the harness's guest in it.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::layout::{self, Network, OS};
use super::{Lab, Place};
use crate::{guest, wait};

/// Where Ganeti keeps what belongs to running VMs, on a node.
const RUNTIME: &str = "/run/ganeti/kvm-hypervisor";

/// What runs an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hypervisor {
    /// QEMU, by emulation.
    Kvm,
    /// Nothing: Ganeti takes its word for it. No script is called for its NICs.
    Fake,
}

/// An instance.
#[derive(Debug)]
pub struct Instance<'a> {
    lab: &'a Lab,
    name: String,
}

impl<'a> Instance<'a> {
    /// Creates and starts one on `node`, with a NIC on each of `networks`, addresses out of their pools.
    ///
    /// # Errors
    /// When the job fails.
    pub fn add(
        lab: &'a Lab,
        name: &str,
        hypervisor: Hypervisor,
        node: &Place,
        networks: &[Network],
    ) -> Result<Self> {
        let name = layout::full_name(name);
        let hypervisor = match hypervisor {
            Hypervisor::Kvm => "kvm",
            Hypervisor::Fake => "fake",
        };
        let node = layout::full_name(node.name());
        let mut words = vec!["add", "-t", "diskless", "-H", hypervisor, "-o", OS];
        words.extend([
            "-B",
            "memory=128M,vcpus=1",
            "--no-name-check",
            "--no-ip-check",
        ]);
        let nics: Vec<_> = networks
            .iter()
            .enumerate()
            .map(|(index, network)| format!("--net={index}:ip=pool,network={}", network.name))
            .collect();
        words.extend(nics.iter().map(String::as_str));
        words.extend(["-n", &node, &name]);
        lab.master()?.run("gnt-instance", &words)?;
        Ok(Self { lab, name })
    }

    /// Its full name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What Ganeti says of it in the field `field`.
    ///
    /// # Errors
    /// When the query fails.
    pub fn field(&self, field: &str) -> Result<String> {
        let words = ["list", "--no-headers", "-o", field, &self.name];
        let answer = self.lab.master()?.run("gnt-instance", &words)?;
        Ok(answer.trim().to_owned())
    }

    /// The node it runs on.
    ///
    /// # Errors
    /// When the query fails.
    pub fn node(&self) -> Result<Place> {
        let full = self.field("pnode")?;
        let name = full.split('.').next().unwrap_or_default();
        self.lab.place(name)
    }

    /// The IPv4 addresses of its NICs.
    ///
    /// # Errors
    /// When the query fails.
    pub fn addresses(&self) -> Result<Vec<String>> {
        let told = self.field("nic.ips")?;
        Ok(told.split(',').map(ToOwned::to_owned).collect())
    }

    /// The names of its TAPs, on the node it runs on.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn taps(&self) -> Result<Vec<String>> {
        let line = format!(
            "cd {RUNTIME}/nic/{} && for nic in *; do cat $nic; echo; done",
            self.name
        );
        let told = self.node()?.shell(&line)?;
        Ok(told.split_whitespace().map(ToOwned::to_owned).collect())
    }

    /// Migrates it, running, to `target`.
    ///
    /// # Errors
    /// When the job fails, or it does not run on `target` then.
    pub fn migrate(&self, target: &Place) -> Result<()> {
        let full = layout::full_name(target.name());
        self.act(&["migrate", "-f", "-n", &full])?;
        let (node, status) = (self.field("pnode")?, self.field("status")?);
        ensure!(
            node == full && status == "running",
            "{} is {status} on {node}, not running on {full}",
            self.name
        );
        Ok(())
    }

    /// Stops it at once.
    ///
    /// # Errors
    /// When the job fails.
    pub fn stop(&self) -> Result<()> {
        self.act(&["stop", "--timeout=0"])
    }

    /// Presses its power button, and waits until it is off.
    ///
    /// # Errors
    /// When the job fails.
    pub fn shut_down(&self) -> Result<()> {
        self.act(&["stop", "--timeout=120"])
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the job fails.
    pub fn start(&self) -> Result<()> {
        self.act(&["start"])
    }

    /// Removes it.
    ///
    /// # Errors
    /// When the job fails.
    pub fn remove(self) -> Result<()> {
        self.act(&["remove", "-f", "--shutdown-timeout=0"])
    }

    /// Gives it a tag. No hook hears of that.
    ///
    /// # Errors
    /// When the job fails.
    pub fn tag(&self, tag: &str) -> Result<()> {
        let words = ["add-tags", &self.name, tag];
        self.lab.master()?.run("gnt-instance", &words).map(|_| ())
    }

    /// Runs `gnt-instance` with `words` and its name.
    ///
    /// # Errors
    /// When the job fails, or cannot be submitted.
    pub fn act(&self, words: &[&str]) -> Result<()> {
        let words = [words, &[self.name.as_str()]].concat();
        self.lab.master()?.run("gnt-instance", &words).map(|_| ())
    }

    /// Listens to its serial console, from now on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn console(&self) -> Result<Console> {
        let socket = format!("{RUNTIME}/ctrl/{}.serial", self.name);
        let path = self.node()?.path(&socket);
        let mut stream =
            UnixStream::connect(&path).with_context(|| format!("open {}", path.display()))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            let mut room = [0; 4096];
            // It ends with QEMU.
            while let Ok(length @ 1..) = stream.read(&mut room) {
                let text = room.get(..length).unwrap_or_default();
                heard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(text);
            }
        });
        Ok(Console { said })
    }
}

/// What a guest says on its console.
#[derive(Debug)]
pub struct Console {
    said: Arc<Mutex<Vec<u8>>>,
}

impl Console {
    /// All of it.
    #[must_use]
    pub fn output(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Waits until the guest has told a fact for which `wanted` holds.
    ///
    /// # Errors
    /// When it has not within `bound`; its console is in the error.
    pub fn tells(
        &self,
        name: &str,
        bound: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        wait::for_fact(&format!("the guest tells {name}"), bound, || {
            Ok(guest::told(&self.output(), name).filter(|value| wanted(value)))
        })
        .with_context(|| format!("its console:\n{}", self.output()))
    }
}

/// Pings that go on until they are counted.
#[derive(Debug)]
pub struct Pings {
    child: Child,
    shown: String,
}

impl Pings {
    /// Begins to ping `address` from `place`, ten times a second.
    ///
    /// # Errors
    /// When ping cannot be started.
    pub fn begin(place: &Place, address: &str) -> Result<Self> {
        // The end of stdin ends it: a signal would reach who entered the place, not ping.
        let line = "ping -q -i 0.1 \"$0\" & cat >/dev/null; kill -INT $!; wait $! || true";
        let child = place
            .command("sh")
            .args(["-c", line, address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start ping")?;
        Ok(Self {
            child,
            shown: format!("{}: ping {address}", place.name()),
        })
    }

    /// Ends it and tells how many were sent and how many answered.
    ///
    /// # Errors
    /// When ping does not tell.
    pub fn count(mut self) -> Result<(u32, u32)> {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text
            .lines()
            .find(|line| line.contains("packets transmitted"));
        let numbers = line.and_then(|line| {
            let mut counts = line
                .split(", ")
                .map(|part| part.split(' ').next()?.parse().ok());
            Some((counts.next()??, counts.next()??))
        });
        numbers.with_context(|| format!("{}: no count in {text:?}", self.shown))
    }
}
