//! A real systemd as init of a host of its own: its root is an overlay over ours, its units are those it is given, its
//! network is the host's, and its control group one that we made and remove.
//!
//! Killed half-way it leaves that control group behind, empty; the next test that boots one sweeps it away.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::host::Host;
use crate::namespace::Namespace;
use crate::program::Program;
use crate::wait::{SOON, until};
use crate::world::{self, World};

/// The programs this needs beside the harness's own.
pub const TOOLS: &[&str] = &["systemd", "systemctl", "unshare", "nsenter"];

/// Where the units are, on the host and in systemd's root.
const UNITS: &str = "/run/units";

/// Units that ours names, and that stand for all that a real host starts besides.
const TARGETS: &[&str] = &[
    "basic",
    "multi-user",
    "network-pre",
    "shutdown",
    "sysinit",
    "ganeti",
];

/// Makes a control group ($0), and goes on in it as the parent of a new pid namespace's init.
const ENTER: &str = r#"
set -e
mkdir -p /tmp/cgroup
mount -t cgroup2 cgroup2 /tmp/cgroup
for left in /tmp/cgroup/snf-systemd-*; do
    if grep -q '^populated 0' "$left/cgroup.events" 2>/dev/null; then find "$left" -depth -type d -exec rmdir {} ';'; fi
done
mkdir "$0"
echo $$ > "$0/cgroup.procs"
exec unshare --cgroup --mount --pid --ipc --uts --fork --kill-child sh -c "$1" "$2"
"#;

/// Makes the root, with the programs under test (in folder $0) where their packages put them, and becomes systemd, which
/// would raise limits of the whole machine if it could.
const BOOT: &str = r#"
set -e
mkdir -p /tmp/systemd
mount -t tmpfs root /tmp/systemd
cd /tmp/systemd
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work root root
cd root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind /proc/sys/net proc/sys/net
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs run run
mount -t tmpfs dev dev
mkdir dev/pts dev/shm
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p run/units var/lib/nfdhcpd
cp /run/units/* run/units
for program in nfdhcpd snf-agent snf-ganeti-hook snf-ifup; do
    touch usr/sbin/$program
    mount --bind "$0/$program" usr/sbin/$program
done
systemd-sysusers --root="$PWD" /run/units/*.sysusers.conf
mkdir old
pivot_root . old
umount -l /old
exec env -i PATH="$PATH" container=test SYSTEMD_UNIT_PATH=/run/units \
    /lib/systemd/systemd --system --unit=multi-user.target
"#;

/// A running systemd. Dropping it kills it, and all that it runs.
#[derive(Debug)]
pub struct Systemd {
    namespace: Namespace,
    cgroup: String,
    /// The parent of `init`.
    program: Option<Program>,
    init: Pid,
}

impl Systemd {
    /// Boots one in the network of `host`, with the units (name, text) and our programs where their packages put them, and waits
    /// until it takes orders. A unit named `*.sysusers.conf` says which users there are.
    ///
    /// # Errors
    /// When the kernel refuses a mount or a control group, or systemd does not come up soon.
    pub fn boot(_world: &World, host: &Host, units: &[(&str, &str)]) -> Result<Self> {
        let namespace = host.namespace.clone();
        for (name, text) in units {
            namespace.write(&format!("{UNITS}/{name}"), text)?;
        }
        for name in TARGETS {
            namespace.write(&format!("{UNITS}/{name}.target"), "[Unit]\n")?;
        }
        // The number of the world's pid namespace: no two worlds have one at a time.
        let world = std::fs::read_link("/proc/self/ns/pid")?;
        let number: String = world
            .to_string_lossy()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        let cgroup = format!("/tmp/cgroup/snf-systemd-{number}");
        let mut command = namespace.command("sh");
        command.args(["-c", ENTER, &cgroup, BOOT]);
        command.arg(world::programs());
        let mut program = Program::start(&format!("{}-systemd", namespace.name()), command)?;
        let mut systemd = Self {
            namespace,
            cgroup,
            init: program.pid(),
            program: None,
        };
        until("systemd takes orders", SOON, || {
            if !program.is_running()? {
                bail!("it ended: {}", program.output()?);
            }
            let children = format!("/proc/{0}/task/{0}/children", program.pid());
            let Some(init) = std::fs::read_to_string(children)?.trim().parse().ok() else {
                return Ok(false);
            };
            systemd.init = Pid::from_raw(init);
            Ok(systemd.run("systemctl", &["list-jobs"]).is_ok())
        })
        .with_context(|| program.output().unwrap_or_default())?;
        systemd.program = Some(program);
        Ok(systemd)
    }

    /// Runs a program inside and returns what it printed.
    ///
    /// # Errors
    /// When it fails; its output is in the error.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = Command::new("nsenter")
            .args(["--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup"])
            .args(["--target", &self.init.to_string()])
            .arg(program)
            .args(arguments)
            .env("SYSTEMD_UNIT_PATH", UNITS)
            .output()
            .context("start nsenter")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {arguments:?}: {}\n{said}{errors}", output.status);
        }
        Ok(said)
    }

    /// Tells systemd to do something with a unit, and waits until it is done; its state is in the error.
    ///
    /// # Errors
    /// When it fails.
    pub fn order(&self, what: &str, unit: &str) -> Result<()> {
        self.run("systemctl", &[what, unit])
            .map(|_| ())
            .with_context(|| {
                let state = self.run("systemctl", &["status", "--full", "--no-pager", unit]);
                state.unwrap_or_else(|error| format!("{error:#}"))
            })
    }

    /// A property of a unit.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let value = self.run("systemctl", &["show", "--value", "--property", name, unit])?;
        Ok(value.trim().to_owned())
    }

    /// The main process of a service, as seen from the world.
    ///
    /// # Errors
    /// When it has none.
    pub fn main_process(&self, unit: &str) -> Result<Pid> {
        let inside = self.property(unit, "MainPID")?;
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            // A process may end while it is looked at.
            let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let numbers: Vec<_> = numbers.unwrap_or_default().split_whitespace().collect();
            if let [outside, .., last] = numbers[..]
                && last == inside
                && std::fs::read_link(path.join("ns/pid")).ok() == self.pid_namespace()
            {
                return Ok(Pid::from_raw(outside.parse()?));
            }
        }
        bail!("{unit} has no process {inside:?}")
    }

    fn pid_namespace(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/ns/pid", self.init)).ok()
    }

    /// Where a file of systemd's root is as seen from the world.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // What cannot be removed is empty soon, and the next one sweeps it away.
        if let Some(mut program) = self.program.take() {
            let _ = program.stop(Signal::SIGKILL);
        }
        let events = format!("{}/cgroup.events", self.cgroup);
        let _ = until("the control group is empty", SOON, || {
            let events = self.namespace.run("cat", &[&events])?;
            Ok(events.lines().any(|line| line == "populated 0"))
        });
        let remove = [
            &self.cgroup,
            "-depth",
            "-type",
            "d",
            "-exec",
            "rmdir",
            "{}",
            ";",
        ];
        let _ = self.namespace.run("find", &remove);
    }
}
