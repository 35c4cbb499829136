//! Programs started inside a namespace: their output goes to a file that can be read while they run.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;
use crate::world;

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` with stdin closed and its output in a file of the world's log directory.
    ///
    /// # Errors
    /// When the log cannot be made or the program cannot be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = world::logs().join(format!("{number:03}-{name}"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("duplicate the log's descriptor")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// What the program has written so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn output(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The process's number, in the world's pid namespace.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Whether the process has not ended yet.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When `bound` passes first.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let fact = format!("{} ends", self.name);
        wait::for_fact(&fact, bound, || Ok(self.child.try_wait()?))
    }

    /// Waits for the end and that it was a success.
    ///
    /// # Errors
    /// When `bound` passes first or the exit status is not 0; the output is in the error.
    pub fn success(&mut self, bound: Duration) -> Result<String> {
        let status = self.wait(bound)?;
        let output = self.output()?;
        if !status.success() {
            bail!("{} ended with {status}:\n{output}", self.name);
        }
        Ok(output)
    }

    /// Sends `signal` and waits for the end.
    ///
    /// # Errors
    /// When the process does not end soon.
    pub fn stop(&mut self, signal: Signal) -> Result<ExitStatus> {
        if self.is_running()? {
            self.signal(signal)?;
        }
        self.wait(wait::SOON)
    }

    /// Waits until the output contains `text`.
    ///
    /// # Errors
    /// When `bound` passes first; the output is in the error.
    pub fn says(&self, text: &str, bound: Duration) -> Result<String> {
        wait::for_fact(&format!("{} says {text:?}", self.name), bound, || {
            let output = self.output()?;
            Ok(output.contains(text).then_some(output))
        })
        .with_context(|| format!("{} said:\n{}", self.name, self.output().unwrap_or_default()))
    }
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or fails; its output is in the error, under the name `shown`.
pub fn printed(mut command: Command, shown: &str) -> Result<String> {
    let output = command.output().with_context(|| shown.to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{shown}: {}\n{text}{errors}", output.status);
    }
    Ok(text)
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
