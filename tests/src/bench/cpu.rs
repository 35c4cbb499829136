//! Which CPU a process runs on, how much of it it used (its CPU clock) and how long it waited for one
//! (`/proc/PID/task/*/schedstat`), nanoseconds.

use std::fs;
use std::ops::Sub;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Runs `action` with the calling thread on CPU `number`: programs it starts stay there.
///
/// On a machine with fewer CPUs the thread stays where it is.
///
/// # Errors
/// When the kernel refuses, or what `action` returns.
pub(crate) fn on_cpu<T>(number: usize, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).context("read the CPU affinity")?;
    let mut wanted = CpuSet::new();
    wanted.set(number)?;
    if sched_setaffinity(this, &wanted).is_err() {
        return action();
    }
    let outcome = action();
    sched_setaffinity(this, &before).context("restore the CPU affinity")?;
    outcome
}

/// What all threads of a process used and waited for, so far or between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    /// Nanoseconds on a CPU.
    pub(crate) run: u64,
    /// Nanoseconds runnable, but not running.
    pub(crate) wait: u64,
}

impl CpuTime {
    /// Of a process, all threads.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn of(pid: Pid) -> Result<Self> {
        let tasks = format!("/proc/{pid}/task");
        let mut wait = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("read {tasks}"))? {
            // A thread that ended since it was listed waits no more.
            wait += waited(&task?.path().join("schedstat"))?.unwrap_or(0);
        }
        let clock = clock_getcpuclockid(pid).with_context(|| format!("CPU clock of {pid}"))?;
        Ok(Self {
            run: read(clock)?,
            wait,
        })
    }

    /// Of the calling thread.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn of_this_thread() -> Result<Self> {
        let wait = waited(Path::new("/proc/thread-self/schedstat"))?.unwrap_or(0);
        Ok(Self {
            run: read(ClockId::CLOCK_THREAD_CPUTIME_ID)?,
            wait,
        })
    }
}

fn read(clock: ClockId) -> Result<u64> {
    let time = clock_gettime(clock).context("read a CPU clock")?;
    Ok(u64::try_from(time.tv_sec())? * 1_000_000_000 + u64::try_from(time.tv_nsec())?)
}

/// `None` when the thread is gone.
fn waited(path: &Path) -> Result<Option<u64>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("read {}", path.display()));
        }
    };
    let wait = parse(&text).with_context(|| format!("{}: {text}", path.display()))?;
    Ok(Some(wait))
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// "run wait timeslices": how long it waited. The first is as old as the last tick.
fn parse(text: &str) -> Option<u64> {
    text.split_whitespace().nth(1)?.parse().ok()
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        let run = self.run.saturating_sub(earlier.run);
        Self {
            run,
            wait: self.wait.saturating_sub(earlier.wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(parse("82944 68141 2\n"), Some(68141));
        assert_eq!(parse("82944"), None);
        let thread = CpuTime::of_this_thread().expect("own time");
        assert!(thread.run > 0);
        assert!(CpuTime::of(Pid::this()).expect("the process's time").run >= thread.run);
    }

    #[test]
    fn a_thread_moves_and_moves_back() {
        let before = sched_getaffinity(Pid::from_raw(0)).expect("affinity");
        let inside = on_cpu(0, || Ok(sched_getaffinity(Pid::from_raw(0))?)).expect("CPU 0");
        assert_eq!(
            (inside.is_set(0).ok(), inside.is_set(1).ok()),
            (Some(true), Some(false))
        );
        assert_eq!(
            sched_getaffinity(Pid::from_raw(0)).expect("affinity"),
            before
        );
    }
}
