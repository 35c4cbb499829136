//! Entering a place of a lab: all its namespaces, and its root by name.
//!
//! Whoever enters looks for the place's marker before anything else: a process number that was given to another
//! process meanwhile, or a root that is the machine's own, must not be written to.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::service::{RUNNING, STOPPED};
use crate::{namespace, program, wait};

/// The file that names a place: the lab's identifier and the place's name.
pub(super) const MARKER: &str = "/etc/snf-lab-place";

/// The exit status of a program that was not started because the marker is not there.
const NOT_THERE: i32 = 125;

/// Looks for the marker, which is `$0`, then becomes the program, by the place's own clock if it has one.
const CHECK: &str = "[ \"$(cat /etc/snf-lab-place 2>/dev/null)\" = \"$0\" ] || \
    { echo \"this is not the lab's place '$0'\" >&2; exit 125; }; \
    if [ -e /etc/snf-lab-clock ]; then . /etc/snf-lab-clock; fi; exec \"$@\"";

/// A node, or the switch.
#[derive(Debug, Clone)]
pub struct Place {
    name: String,
    pid: i32,
    marker: String,
}

impl Place {
    pub(super) fn new(name: &str, pid: i32, id: &str) -> Self {
        Self {
            name: name.to_owned(),
            pid,
            marker: format!("{id} {name}"),
        }
    }

    /// Its short name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of its first process, as those outside of the lab see it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A command that will run inside, with an environment of its own; it is killed when who waits for it is.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let root = format!("/proc/{}/root", self.pid);
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.pid));
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid"]);
        // Named: inside a chroot the mount namespace alone would lead to the machine's own root.
        command.args([
            format!("--root={root}"),
            format!("--wd={root}"),
            "--".to_owned(),
        ]);
        command.args(["/usr/bin/env", "-i", "HOME=/root", "LANG=C.UTF-8"]);
        command.arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin");
        let terminal = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
        command.arg(format!("TERM={terminal}"));
        command.args(["/usr/bin/setpriv", "--pdeathsig", "KILL"]);
        command.args(["/bin/sh", "-c", CHECK, &self.marker]);
        command.arg(program);
        command
    }

    /// Runs a command inside to its end and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be started or fails; its output is in the error.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null());
        let shown = format!("{}: {program} {}", self.name, arguments.join(" "));
        program::printed(command, &shown)
    }

    /// Runs a line of shell inside and returns what it printed.
    ///
    /// # Errors
    /// As [`Place::run`].
    pub fn shell(&self, line: &str) -> Result<String> {
        self.run("sh", &["-ec", line])
    }

    /// Writes a file inside, making its directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let mut child = self
            .command("sh")
            .args(["-c", "mkdir -p \"$(dirname \"$0\")\" && cat > \"$0\"", path])
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: write {path}", self.name))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        match child.wait()?.code() {
            Some(0) => Ok(()),
            Some(NOT_THERE) => bail!("{}: not entered", self.name),
            _ => bail!("{}: writing {path} failed", self.name),
        }
    }

    /// Runs `action` on a thread inside the place's network: sockets it opens belong there.
    ///
    /// # Errors
    /// When the network cannot be entered, or what `action` returns.
    pub fn inside<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/proc/{}/ns/net", self.pid);
        let net = File::open(&path).with_context(|| format!("open {path}"))?;
        namespace::inside_network(&net, &self.name, action)
    }

    /// Stops a service of ours, as `systemctl stop` would, and waits for its end.
    ///
    /// # Errors
    /// When it does not end soon.
    pub fn stop_service(&self, name: &str) -> Result<()> {
        self.write(&format!("{STOPPED}/{name}"), "")?;
        wait::until(&format!("{}: {name} ends", self.name), wait::SOON, || {
            Ok(self.service(name).is_none())
        })
    }

    /// Starts a service of ours that was stopped, and waits until it runs.
    ///
    /// # Errors
    /// When it does not run soon.
    pub fn start_service(&self, name: &str) -> Result<()> {
        self.run("rm", &["-f", &format!("{STOPPED}/{name}")])?;
        wait::until(&format!("{}: {name} runs", self.name), wait::SOON, || {
            Ok(self.service(name).is_some())
        })
    }

    /// Ends a service of ours as a crash would, all of it at once, and keeps it down.
    ///
    /// # Errors
    /// When it does not run, or cannot be ended.
    pub fn kill_service(&self, name: &str) -> Result<()> {
        let pid = self.service(name).context("the service runs")?;
        self.write(&format!("{STOPPED}/{name}"), "")?;
        self.run("kill", &["-KILL", &pid.to_string()])?;
        wait::until(&format!("{}: {name} ends", self.name), wait::SOON, || {
            Ok(self.service(name).is_none())
        })
    }

    /// The process number, in the place, of a service of ours that runs.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<u32> {
        let file = self.path(&format!("{RUNNING}/{name}"));
        fs::read_to_string(file).ok()?.parse().ok()
    }

    /// Where a file of this place is for those outside. For reading, and for sockets; links in the path that start with
    /// `/` lead elsewhere.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::can_run;

    #[test]
    fn what_is_not_the_place_is_not_written_to() {
        if !can_run(&["nsenter"]) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("written");
        // This process: its root is the machine's own.
        let own = i32::try_from(std::process::id()).unwrap();
        let place = Place::new("node1", own, "0123456789abcdef");
        let output = place.command("touch").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(NOT_THERE));
        assert!(String::from_utf8_lossy(&output.stderr).contains("not the lab's place"));
        assert!(place.write(&file.to_string_lossy(), "x").is_err());
        assert!(!file.exists());
    }
}
