//! Single threads of a running program: which there are, and one of them stopped as if it hung.

use std::fs;
use std::marker::PhantomData;

use anyhow::{Context, Result};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// The threads of a program whose name begins with `prefix`.
///
/// # Errors
/// When the program is gone.
pub fn named(program: Pid, prefix: &str) -> Result<Vec<Pid>> {
    let tasks = format!("/proc/{program}/task");
    let mut found = Vec::new();
    for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm"))?.starts_with(prefix) {
            let number = task.file_name().to_string_lossy().parse()?;
            found.push(Pid::from_raw(number));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A thread that does nothing, while its program's other threads run. It goes on when this is dropped.
#[derive(Debug)]
pub struct Hung {
    thread: Pid,
    /// Only the thread that stopped it may let it go on.
    _here: PhantomData<*const ()>,
}

impl Hung {
    /// Stops a thread, whatever it is doing.
    ///
    /// # Errors
    /// When it is gone, or is traced by somebody else.
    pub fn stop(thread: Pid) -> Result<Self> {
        ptrace::seize(thread, ptrace::Options::empty())
            .with_context(|| format!("trace thread {thread}"))?;
        let hung = Self {
            thread,
            _here: PhantomData,
        };
        ptrace::interrupt(thread).with_context(|| format!("stop thread {thread}"))?;
        waitpid(thread, Some(WaitPidFlag::__WALL))
            .with_context(|| format!("wait until thread {thread} stands"))?;
        Ok(hung)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // It may have been killed meanwhile: then its end is all there is to take.
        if ptrace::detach(self.thread, None).is_err() {
            let _ = waitpid(self.thread, Some(WaitPidFlag::__WALL));
        }
    }
}
