//! Starting the first process of a pid namespace, which outlives whoever starts it.
//!
//! It tells its number, waits for the word to go on, and tells what it is when it stands. Later it may be told to stay:
//! until then the end of whoever started it is its own.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// The namespaces of every first process, beside its pid namespace.
pub(super) const EVERYTHING: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC);

/// A first process, waiting for the word to go on.
#[derive(Debug)]
pub(super) struct Born {
    /// Its number, for those who see the `/proc` that it was told of.
    pub(super) pid: i32,
    words: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Born {
    /// Lets it go on, and waits for what it says of itself.
    ///
    /// # Errors
    /// When it ends instead.
    pub(super) fn go(mut self) -> Result<(Tie, String)> {
        writeln!(self.words, "{GO}").context("let it go on")?;
        let mut answer = String::new();
        self.said.read_line(&mut answer)?;
        ensure!(!answer.is_empty(), "it ended while it came up");
        Ok((Tie(self.words), answer.trim().to_owned()))
    }
}

/// What ties a first process that heeds it to whoever started it.
#[derive(Debug)]
pub(super) struct Tie(ChildStdin);

impl Tie {
    /// Unties.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn stay(mut self) -> Result<()> {
        writeln!(self.0, "{STAY}").context("tell the lab to stay")
    }
}

const GO: &str = "go";
const STAY: &str = "stay";

/// Starts `command` as init of a new pid namespace and of other new namespaces; stderr goes to the end of `log`.
///
/// # Errors
/// When the kernel refuses, or the process ends before it has told its number.
pub(super) fn start(mut command: Command, kinds: CloneFlags, log: &Path) -> Result<Born> {
    let log = File::options()
        .append(true)
        .create(true)
        .open(log)
        .with_context(|| format!("open {}", log.display()))?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log);
    detach(&mut command, kinds);
    let mut child = command.spawn().context("make namespaces")?;
    let words = child.stdin.take().context("the process has a stdin")?;
    let said = child.stdout.take().context("the process has a stdout")?;
    // This is the one between; it has ended.
    child.wait()?;
    let mut said = BufReader::new(said);
    let mut line = String::new();
    said.read_line(&mut line)?;
    ensure!(!line.is_empty(), "the first process ended at once");
    let pid = line.trim().parse().context("read its number")?;
    Ok(Born { pid, words, said })
}

#[expect(
    unsafe_code,
    reason = "namespaces have to be entered between fork and exec"
)]
fn detach(command: &mut Command, kinds: CloneFlags) {
    // SAFETY: `become_first` only makes system calls; the child has one thread.
    unsafe {
        command.pre_exec(move || become_first(kinds));
    }
}

/// Between fork and exec: a session of its own, new namespaces, and the child goes on as the first in them.
#[expect(unsafe_code, reason = "fork and exit between fork and exec")]
fn become_first(kinds: CloneFlags) -> io::Result<()> {
    nix::unistd::setsid()?;
    unshare(kinds | CloneFlags::CLONE_NEWPID)?;
    // SAFETY: the calling process has one thread; both sides only make system calls.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        // SAFETY: ends this process, which has nothing of its own.
        _ => unsafe { libc::_exit(0) },
    }
}

/// In the new process: tells its number, as `proc` shows it, and waits for the word to go on.
///
/// # Errors
/// When nobody listens.
pub(super) fn announce(proc: &Path) -> Result<i32> {
    let own = fs::read_link(proc.join("self"))
        .with_context(|| format!("read {}/self", proc.display()))?;
    let own = own.to_string_lossy().into_owned();
    say(&own)?;
    ensure!(heard()? == GO, "who started us has ended");
    own.parse().context("read our own number")
}

/// Waits for the word to stay, and tells whether it came.
pub(super) fn may_stay() -> bool {
    heard().is_ok_and(|word| word == STAY)
}

fn heard() -> Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Says a line to whoever started this process.
///
/// # Errors
/// When nobody listens.
pub(super) fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush().context("speak to who started us")
}
