//! Our services in a node, as their unit files say: the part of systemd that decides what a program is started as.
//!
//! Read are `ExecStartPre`, `ExecStart`, `User`, `Group`, `SupplementaryGroups`, `CapabilityBoundingSet`,
//! `AmbientCapabilities`, `NoNewPrivileges`, `WorkingDirectory`, `RuntimeDirectory`, `StateDirectory` and their modes, and `RestartSec`; what
//! restricts a program further (file system, system calls) is not applied here. `Environment` of drop-ins below
//! [`DROP_INS`] is read at each start. A service that ends is started again,
//! unless the file `/run/snf-lab/stopped/NAME` is there: making it stops the service, removing it starts it. The process
//! number of one that runs is in `/run/snf-lab/running/NAME`.

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, User, chown};

/// Services that are to be off, a file each, in a node.
pub(super) const STOPPED: &str = "/run/snf-lab/stopped";

/// The process numbers of services that run, a file each, in a node.
pub(super) const RUNNING: &str = "/run/snf-lab/running";

/// Where an operator adds to a unit: `NAME.service.d/ANY.conf`.
pub(super) const DROP_INS: &str = "/etc/systemd/system";

const LOOK: Duration = Duration::from_millis(50);
/// How long a service may take to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// The services of a node.
#[derive(Debug, Default)]
pub(super) struct Services(Vec<Service>);

#[derive(Debug)]
struct Service {
    name: String,
    unit: Unit,
    pid: Option<Pid>,
    /// When it was told to end.
    told: Option<Instant>,
    not_before: Instant,
}

impl Services {
    /// Reads the unit files.
    pub(super) fn find(units: &[String]) -> Result<Self> {
        fs::create_dir_all(STOPPED)?;
        fs::create_dir_all(RUNNING)?;
        let mut services = Vec::new();
        for path in units {
            let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
            let name = Path::new(path).file_stem().context("a unit has a name")?;
            services.push(Service {
                name: name.to_string_lossy().into_owned(),
                unit: Unit::parse(&text).with_context(|| format!("read {path}"))?,
                pid: None,
                told: None,
                not_before: Instant::now(),
            });
        }
        Ok(Self(services))
    }

    /// Collects what ends and keeps the services as they should be, for ever.
    pub(super) fn run(mut self) -> Result<Infallible> {
        loop {
            self.collect()?;
            self.tend();
            thread::sleep(LOOK);
        }
    }

    fn collect(&mut self) -> Result<()> {
        loop {
            let ended = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => status,
                Err(error) => return Err(error).context("wait for children"),
            };
            for service in &mut self.0 {
                if ended.pid().is_some() && ended.pid() == service.pid {
                    eprint_line(&format!("{} ended: {ended:?}", service.name));
                    service.pid = None;
                    service.told = None;
                    fs::remove_file(Path::new(RUNNING).join(&service.name))?;
                    service.not_before = Instant::now() + service.unit.restart;
                }
            }
        }
    }

    /// Starts and stops what has to be.
    pub(super) fn tend(&mut self) {
        for service in &mut self.0 {
            let wanted = !Path::new(STOPPED).join(&service.name).exists();
            match (wanted, service.pid) {
                (true, None) if Instant::now() >= service.not_before => {
                    if let Err(error) = service.start() {
                        eprint_line(&format!("{}: {error:#}", service.name));
                        service.not_before = Instant::now() + service.unit.restart.max(LOOK * 10);
                    }
                }
                (false, Some(pid)) => service.end(pid),
                (true | false, None) | (true, Some(_)) => {}
            }
        }
    }
}

/// Into the lab's log.
#[expect(clippy::print_stderr, reason = "stderr is the lab's log")]
fn eprint_line(line: &str) {
    eprintln!("{line}");
}

impl Service {
    /// Asks it and all it has started to end, once; what is left after a while is killed.
    fn end(&mut self, pid: Pid) {
        let signal = match self.told {
            None => Signal::SIGTERM,
            Some(told) if told.elapsed() > PATIENCE => Signal::SIGKILL,
            Some(_) => return,
        };
        self.told.get_or_insert_with(Instant::now);
        // It may have ended just now; then it is collected at the next look.
        let _ = killpg(pid, signal);
    }

    fn start(&mut self) -> Result<()> {
        for (directory, mode) in &self.unit.directories {
            self.unit.make_directory(directory, *mode)?;
        }
        let log = format!("/var/log/{}.log", self.name);
        let log = File::options()
            .append(true)
            .create(true)
            .open(&log)
            .with_context(|| format!("open {log}"))?;
        for line in &self.unit.before {
            let status = self
                .unit
                .command(line)?
                .stdout(log.try_clone()?)
                .stderr(log.try_clone()?)
                .status()
                .with_context(|| format!("start {line}"))?;
            ensure!(status.success(), "{line}: {status}");
        }
        let child = self
            .unit
            .command(&self.unit.start)?
            .envs(added_environment(&self.name)?)
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", self.unit.start))?;
        self.pid = Some(Pid::from_raw(i32::try_from(child.id())?));
        let file = Path::new(RUNNING).join(&self.name);
        fs::write(&file, child.id().to_string())
            .with_context(|| format!("write {}", file.display()))?;
        Ok(())
    }
}

/// What drop-ins set in a service's environment: one variable a line, `Environment=NAME=value` or in double quotes.
fn added_environment(name: &str) -> Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    let Ok(entries) = fs::read_dir(format!("{DROP_INS}/{name}.service.d")) else {
        return Ok(variables);
    };
    for entry in entries {
        let text = fs::read_to_string(entry?.path())?;
        let set = text.lines().filter_map(|line| {
            let (variable, value) = line
                .strip_prefix("Environment=")?
                .trim()
                .trim_matches('"')
                .split_once('=')?;
            Some((variable.to_owned(), value.to_owned()))
        });
        variables.extend(set);
    }
    Ok(variables)
}

/// What a unit file says, as far as it is read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    before: Vec<String>,
    start: String,
    /// Words for setpriv.
    privileges: Vec<String>,
    user: Option<String>,
    working_directory: Option<String>,
    directories: Vec<(String, u32)>,
    restart: Duration,
}

impl Unit {
    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().map(str::trim);
        let keys = lines
            .filter(|line| !line.starts_with(['#', ';', '[']))
            .filter_map(|line| line.split_once('='));
        let mut unit = Self::default();
        let (mut group, mut groups, mut bounding, mut ambient) = (None, None, None, None);
        let (mut runtime, mut state) = (Vec::new(), Vec::new());
        let (mut runtime_mode, mut state_mode) = (0o755, 0o755);
        for (key, value) in keys {
            let value = value.trim();
            let words = || value.split_whitespace().map(ToOwned::to_owned);
            match key.trim() {
                "ExecStartPre" => unit.before.push(value.to_owned()),
                "ExecStart" => value.clone_into(&mut unit.start),
                "User" => unit.user = Some(value.to_owned()),
                "WorkingDirectory" => unit.working_directory = Some(value.to_owned()),
                "Group" => group = Some(value.to_owned()),
                "SupplementaryGroups" => groups = Some(value.replace(' ', ",")),
                "CapabilityBoundingSet" => bounding = Some(capabilities(value)),
                "AmbientCapabilities" => ambient = Some(capabilities(value)),
                "NoNewPrivileges" if value == "yes" || value == "true" => {
                    unit.privileges.push("--no-new-privs".to_owned());
                }
                "RuntimeDirectory" => runtime.extend(words().map(|word| format!("/run/{word}"))),
                "StateDirectory" => state.extend(words().map(|word| format!("/var/lib/{word}"))),
                "RuntimeDirectoryMode" => runtime_mode = u32::from_str_radix(value, 8)?,
                "StateDirectoryMode" => state_mode = u32::from_str_radix(value, 8)?,
                "RestartSec" => unit.restart = seconds(value)?,
                _ => {}
            }
        }
        ensure!(!unit.start.is_empty(), "no ExecStart");
        unit.directories
            .extend(runtime.into_iter().map(|one| (one, runtime_mode)));
        unit.directories
            .extend(state.into_iter().map(|one| (one, state_mode)));
        if let Some(user) = &unit.user {
            unit.privileges.push(format!("--reuid={user}"));
            let group = group.as_ref().unwrap_or(user);
            unit.privileges.push(format!("--regid={group}"));
            unit.privileges.push(match groups {
                Some(groups) => format!("--groups={groups}"),
                None => "--init-groups".to_owned(),
            });
        }
        if let Some(bounding) = bounding {
            unit.privileges
                .push(format!("--bounding-set=-all{bounding}"));
        }
        if let Some(ambient) = ambient {
            unit.privileges.push(format!("--inh-caps=-all{ambient}"));
            unit.privileges
                .push(format!("--ambient-caps=-all{ambient}"));
        }
        Ok(unit)
    }

    fn command(&self, line: &str) -> Result<Command> {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(&self.privileges).args(line.split_whitespace());
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8");
        if let Some(name) = &self.user {
            let user = User::from_name(name)?.with_context(|| format!("no user {name}"))?;
            command.env("USER", name).env("HOME", user.dir);
        }
        command
            .current_dir(self.working_directory.as_deref().unwrap_or("/"))
            .stdin(Stdio::null());
        Ok(command)
    }

    fn make_directory(&self, directory: &str, mode: u32) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("create {directory}"))?;
        fs::set_permissions(
            directory,
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )?;
        if let Some(name) = &self.user {
            let user = User::from_name(name)?.with_context(|| format!("no user {name}"))?;
            chown(directory, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }
}

/// `CAP_NET_ADMIN CAP_NET_RAW` as setpriv has it, to be added to none: `,+net_admin,+net_raw`.
fn capabilities(value: &str) -> String {
    let names = value
        .split_whitespace()
        .filter_map(|name| name.strip_prefix("CAP_"));
    names
        .map(|name| format!(",+{}", name.to_lowercase()))
        .collect()
}

/// A span as unit files have it, in milliseconds or seconds.
fn seconds(value: &str) -> Result<Duration> {
    if let Some(number) = value.strip_suffix("ms") {
        return Ok(Duration::from_millis(number.parse()?));
    }
    let number = value.strip_suffix('s').unwrap_or(value);
    Ok(Duration::from_secs(number.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_says_who_a_program_is_started_as() {
        let text = "[Unit]\n# User=nobody\n[Service]\nUser=snf\nGroup=gnt-daemons\nExecStartPre=/a check\n\
            ExecStart=/a run --x\nCapabilityBoundingSet=CAP_NET_RAW CAP_CHOWN\nAmbientCapabilities=CAP_NET_RAW\n\
            NoNewPrivileges=yes\nRuntimeDirectory=a b\nStateDirectory=c\nStateDirectoryMode=0700\nRestartSec=200ms\n";
        let unit = Unit::parse(text).unwrap();
        assert_eq!(unit.before, ["/a check"]);
        assert_eq!(unit.start, "/a run --x");
        assert_eq!(
            unit.privileges,
            [
                "--no-new-privs",
                "--reuid=snf",
                "--regid=gnt-daemons",
                "--init-groups",
                "--bounding-set=-all,+net_raw,+chown",
                "--inh-caps=-all,+net_raw",
                "--ambient-caps=-all,+net_raw",
            ]
        );
        let directories = [("/run/a", 0o755), ("/run/b", 0o755), ("/var/lib/c", 0o700)];
        assert_eq!(
            unit.directories,
            directories.map(|(name, mode)| (name.to_owned(), mode))
        );
        assert_eq!(unit.restart, Duration::from_millis(200));
    }

    #[test]
    fn a_unit_that_starts_nothing_is_refused() {
        assert!(Unit::parse("[Service]\nUser=root\n").is_err());
    }
}
