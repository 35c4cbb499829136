//! snf-ganeti-eventd, run in a namespace as its unit would.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::luxi;
use crate::namespace::Namespace;
use crate::notifications::Notifications;
use crate::program::Program;
use crate::wait;
use crate::world;

/// Where its configuration is.
const CONFIGURATION: &str = "/etc/snf/snf-ganeti-eventd.toml";
/// Where it keeps its journal.
pub const STATE: &str = "/var/lib/snf-ganeti-eventd";
/// Where it serves its metrics.
const METRICS: &str = "127.0.0.1:9548";

/// A running eventd. Dropping it kills it.
#[derive(Debug)]
pub struct Eventd {
    namespace: Namespace,
    /// The daemon itself.
    pub program: Program,
}

/// A configuration for the broker at `amqp`, with what a test wants besides: top-level keys, then tables.
#[must_use]
pub fn configuration(amqp: &str, keys: &str, tables: &str) -> String {
    format!(
        "node = \"{}\"\nmetrics = \"{METRICS}\"\n{keys}\n\
         [ganeti]\nquery_socket = \"{}\"\nquery_timeout_ms = 500\nlist_interval = 1\n\
         [amqp]\nhosts = [\"{amqp}\"]\npatience = 3\n{tables}\n",
        crate::job_queue::NODE,
        luxi::SOCKET,
    )
}

impl Eventd {
    /// Starts it and waits until it says that it is ready: everything that is in the queue is journaled then.
    ///
    /// # Errors
    /// When it is not ready soon; what it said is in the error.
    pub fn start(namespace: &Namespace, configuration: &str) -> Result<Self> {
        let manager = Notifications::listen(namespace)?;
        let mut eventd = Self::start_unready(namespace, configuration)?;
        let program = &mut eventd.program;
        let ready = manager.told(wait::SOON, |told| {
            ensure!(program.is_running()?, "eventd ended");
            Ok(told.lines().any(|line| line == "READY=1"))
        });
        ready.with_context(|| format!("eventd said:\n{}", program.output().unwrap_or_default()))?;
        Ok(eventd)
    }

    /// Starts it, and waits for nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_unready(namespace: &Namespace, configuration: &str) -> Result<Self> {
        // Not by a program inside, which would take time: killing it is timed to moments of its start, too.
        let path = namespace.path(CONFIGURATION);
        if fs::read_to_string(&path).ok().as_deref() != Some(configuration) {
            namespace.write(CONFIGURATION, configuration)?;
        }
        let mut command = namespace.command(world::programs().join("snf-ganeti-eventd"));
        command
            .args(["run", "--config", CONFIGURATION])
            .args(["--log", "debug,lapin=off,hyper=info"])
            .env("NOTIFY_SOCKET", "/run/notify");
        let program = Program::start(&format!("{}-eventd", namespace.name()), command)?;
        Ok(Self {
            namespace: namespace.clone(),
            program,
        })
    }

    /// Ends it as systemd does, and waits for it.
    ///
    /// # Errors
    /// When it does not end well and soon.
    pub fn stop(mut self) -> Result<()> {
        self.program.signal(Signal::SIGTERM)?;
        self.program.success(wait::SOON)?;
        Ok(())
    }

    /// Kills it, as a power cut would.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(mut self) -> Result<()> {
        self.program.signal(Signal::SIGKILL)?;
        self.program.wait(wait::SOON)?;
        Ok(())
    }

    /// Asks for a page of its metrics' address: status and body.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        get(&self.namespace, METRICS, path, "")
    }

    /// A figure of its metrics, by its name with labels, as `snf_eventd_published_total{outcome="returned"}`.
    ///
    /// # Errors
    /// When it does not answer, or has no such figure.
    pub fn figure(&self, name: &str) -> Result<f64> {
        let (_, text) = self.get("/metrics")?;
        let figures: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .collect();
        let value = figures
            .get(name)
            .with_context(|| format!("no {name} in:\n{text}"))?;
        Ok(value.parse()?)
    }

    /// Waits until a figure is what it should be.
    ///
    /// # Errors
    /// When it is not soon.
    pub fn shows(&self, name: &str, holds: impl Fn(f64) -> bool) -> Result<()> {
        let mut last = None;
        wait::until(&format!("a figure of eventd: {name}"), wait::SOON, || {
            // It may be about to listen.
            last = self.figure(name).ok();
            Ok(last.is_some_and(&holds))
        })
        .with_context(|| format!("{name} is {last:?}"))
    }
}

/// Asks a server in the namespace over plain HTTP: status and body.
///
/// # Errors
/// When there is no answer.
pub fn get(
    namespace: &Namespace,
    address: &str,
    path: &str,
    headers: &str,
) -> Result<(u16, String)> {
    namespace.inside(|| ask(address, path, headers))
}

/// The same, from the network this thread is in.
///
/// # Errors
/// When there is no answer.
pub fn ask(address: &str, path: &str, headers: &str) -> Result<(u16, String)> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(wait::SOON))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .context("an answer has a head")?;
    let status = head.split(' ').nth(1).context("an answer has a status")?;
    Ok((status.parse()?, body.to_owned()))
}
