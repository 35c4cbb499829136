//! What is measured: nfdhcpd or the floor, in a lab's namespace, on a CPU of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, io};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::cpu::{CpuTime, on_cpu};
use super::floor::Variant;
use super::lab::Lab;
use crate::host::CONFIGURATION;
use crate::program::Program;
use crate::world;

/// The generator's CPU.
pub(crate) const GENERATOR_CPU: usize = 0;
/// The server's CPU.
pub(crate) const SERVER_CPU: usize = 1;
/// How long a start may take before the benchmark gives up.
const READY: Duration = Duration::from_secs(30);
const NOTIFY: &str = "/run/notify";

/// Rates no load here reaches: the token buckets stand, but take nothing.
pub(crate) const UNLIMITED: &str = "user = \"nobody\"\n[rate]\nper_second = 1000000\nburst = 1000000\n\
    kernel_per_second = 1000000\nkernel_burst = 1000000\n";
/// As delivered.
pub(crate) const DEFAULTS: &str = "user = \"nobody\"\n";

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    notify: UnixDatagram,
    started: Instant,
}

impl Server {
    /// Starts the floor and waits until it has its queues.
    ///
    /// # Errors
    /// When it is not ready soon.
    pub(crate) fn floor(lab: &Lab, variant: Variant) -> Result<Self> {
        let own = env::current_exe().context("find the program itself")?;
        let name = own.file_name().context("the program has a name")?;
        let mut command = lab.host.namespace.command(world::programs().join(name));
        let variant = match variant {
            Variant::One => "one",
            Variant::Batch => "batch",
        };
        command.args(["be-the-floor", variant]);
        let mut server = Self::start(lab, "floor", command)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts nfdhcpd and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready soon; what it said is in the error.
    pub(crate) fn nfdhcpd(lab: &Lab, configuration: &str) -> Result<Self> {
        let mut server = Self::begin_nfdhcpd(lab, configuration)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts nfdhcpd.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn begin_nfdhcpd(lab: &Lab, configuration: &str) -> Result<Self> {
        lab.host.namespace.write(CONFIGURATION, configuration)?;
        let mut command = lab.host.program("nfdhcpd");
        command.args(["run", "--config", CONFIGURATION]);
        Self::start(lab, "nfdhcpd", command)
    }

    fn start(lab: &Lab, name: &str, mut command: Command) -> Result<Self> {
        let path = lab.host.namespace.path(NOTIFY);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let notify = UnixDatagram::bind(&path).context("bind the notification socket")?;
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        notify.set_read_timeout(Some(Duration::from_millis(200)))?;
        command.env("NOTIFY_SOCKET", NOTIFY);
        let started = Instant::now();
        let program = on_cpu(SERVER_CPU, || Program::start(name, command))?;
        Ok(Self {
            program,
            notify,
            started,
        })
    }

    /// Waits for `READY=1` and tells how long after the start it came.
    ///
    /// # Errors
    /// When it does not come, or the program ends; what it said is in the error.
    pub(crate) fn wait_until_ready(&mut self) -> Result<Duration> {
        let mut room = [0; 4096];
        while self.started.elapsed() < READY {
            let length = self.notify.recv(&mut room).unwrap_or(0);
            let elapsed = self.started.elapsed();
            let text = String::from_utf8_lossy(room.get(..length).unwrap_or_default());
            if text.lines().any(|line| line == "READY=1") {
                return Ok(elapsed);
            }
            if !self.program.is_running()? {
                break;
            }
        }
        bail!(
            "not ready; it said:\n{}",
            self.program.output().unwrap_or_default()
        )
    }

    /// CPU time of all its threads so far.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn cpu(&self) -> Result<CpuTime> {
        CpuTime::of(self.program.pid())
            .with_context(|| format!("it said:\n{}", self.program.output().unwrap_or_default()))
    }

    /// A line of `/proc/PID/status` in KiB, as `RssAnon`.
    ///
    /// # Errors
    /// When it is gone or there is no such line.
    pub(crate) fn kibibytes(&self, key: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.program.pid()))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number
            .with_context(|| format!("{key} in /proc/PID/status"))?
            .parse()?)
    }

    /// Kills it as a crash would and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub(crate) fn crash(mut self) -> Result<()> {
        self.program.stop(Signal::SIGKILL)?;
        Ok(())
    }

    /// Kills it; `reap` has to follow.
    ///
    /// # Errors
    /// When it is gone already.
    pub(crate) fn kill(&self) -> Result<()> {
        self.program.signal(Signal::SIGKILL)
    }

    /// What it said.
    pub(crate) fn output(&self) -> String {
        self.program.output().unwrap_or_default()
    }
}

/// Tells the one who started us that we are ready, as systemd's sd_notify(3) does.
///
/// # Errors
/// When the socket named in the environment does not take it.
pub(crate) fn say_ready() -> Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let socket = UnixDatagram::unbound().context("notification socket")?;
    socket
        .send_to(b"READY=1", &path)
        .context("say that we are ready")?;
    Ok(())
}
