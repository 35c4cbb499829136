//! A command that copies an image: it is run, and told how far it is, by what the kernel says it read and wrote.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpid, getppid};
use snf_events::Progress;

use super::{Speaker, echo, now};

/// Time between two looks.
pub const PERIOD: Duration = Duration::from_secs(3);

/// Signals that the command gets as well: who ends us means it.
const PASSED_ON: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// What is to be read and written in all, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// Read.
    pub read: Option<u64>,
    /// Written.
    pub written: Option<u64>,
}

/// Runs `command` for `instance`; whether it succeeded. It gets SIGHUP when we die before it.
///
/// # Errors
/// It cannot be started or waited for.
pub fn run(
    instance: &str,
    expected: Expected,
    command: &[OsString],
    speaker: &mut Speaker,
) -> io::Result<bool> {
    let mut signals = SigSet::from_iter(PASSED_ON);
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut child = start(command)?;
    let status = watch(&mut child, &signals, instance, expected, speaker)?;
    if status.success() {
        let whole = |of: Option<u64>| of.map(|_| 100.0);
        let (read, written) = (whole(expected.read), whole(expected.written));
        speaker.tell(&Progress::of_copy(instance, now(), read, written));
    } else {
        echo(&format!("the command failed: {status}"));
    }
    Ok(status.success())
}

#[expect(
    unsafe_code,
    reason = "the child says what it wants when its parent dies"
)]
#[expect(
    clippy::disallowed_methods,
    reason = "running the command is what the program is for"
)]
fn start(command: &[OsString]) -> io::Result<Child> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("no command"))?;
    let parent = getpid();
    let mut command = Command::new(program);
    command.args(arguments);
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGHUP)?;
            // Dead already: nobody will tell.
            if getppid() == parent {
                Ok(())
            } else {
                Err(Errno::ESRCH.into())
            }
        });
    }
    command.spawn()
}

#[expect(clippy::disallowed_methods, reason = "the period's clock")]
fn watch(
    child: &mut Child,
    signals: &SignalFd,
    instance: &str,
    expected: Expected,
    speaker: &mut Speaker,
) -> io::Result<std::process::ExitStatus> {
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let mut next = Instant::now() + PERIOD;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            if let Some((read, written)) = measured(pid) {
                let (read, written) = (
                    percent(read, expected.read),
                    percent(written, expected.written),
                );
                speaker.tell(&Progress::of_copy(instance, now(), read, written));
            }
            next = Instant::now() + PERIOD;
            continue;
        }
        let left = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        let mut ends = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ends, PollTimeout::from(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        while let Some(signal) = signals.read_signal()? {
            let signal = i32::try_from(signal.ssi_signo).unwrap_or_default();
            if let Some(signal) = PASSED_ON.into_iter().find(|known| *known as i32 == signal) {
                // It has not been waited for: the number is still its own.
                let _ = kill(pid, signal);
            }
        }
    }
}

fn percent(done: u64, of: Option<u64>) -> Option<f64> {
    Some(done as f64 / of? as f64 * 100.0)
}

/// Bytes that a process read and wrote; nothing when it has ended.
fn measured(pid: Pid) -> Option<(u64, u64)> {
    parse(&fs::read_to_string(format!("/proc/{pid}/io")).ok()?)
}

fn parse(text: &str) -> Option<(u64, u64)> {
    let of = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
    };
    Some((of("rchar")?, of("wchar")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(
            parse("rchar: 323934931\nwchar: 323929600\nsyscr: 1\n"),
            Some((323_934_931, 323_929_600))
        );
        assert_eq!(parse("rchar: 1\n"), None);
        assert_eq!(
            percent(1, Some(3)).map(|percent| percent.round()),
            Some(33.0)
        );
        assert_eq!(percent(1, None), None);
    }
}
