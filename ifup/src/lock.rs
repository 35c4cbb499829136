//! One call at a time for each TAP: Ganeti may start a NIC while the `down` of its predecessor still waits.
//!
//! Locks are bytes of one file, so that nothing is left of them: the byte's offset is a hash of what is locked. Two TAPs
//! with the same hash wait for each other, no more.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};

use crate::request::IfName;

/// A held lock; dropping it, or the end of the process, lets go.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// What is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Changing what stands for the TAP.
    Change,
    /// Waiting for the TAP to go away.
    Wait,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be opened.
    #[error("open {path}")]
    Open {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another call for the TAP goes on and on.
    #[error("{tap}: another call for this TAP has not ended for {} s", LONGEST.as_secs())]
    Busy {
        /// The TAP.
        tap: IfName,
    },
}

const LONGEST: Duration = Duration::from_secs(30);
const NAP: Duration = Duration::from_millis(5);

impl Lock {
    /// Takes the lock, waiting up to 30 seconds.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(run_dir: &Path, tap: &IfName, purpose: Purpose) -> Result<Self, LockError> {
        let mut left = LONGEST;
        loop {
            if let Some(lock) = Self::try_take(run_dir, tap, purpose)? {
                return Ok(lock);
            }
            left = left
                .checked_sub(NAP)
                .ok_or_else(|| LockError::Busy { tap: tap.clone() })?;
            std::thread::sleep(NAP);
        }
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    /// [`LockError::Open`]
    pub fn try_take(
        run_dir: &Path,
        tap: &IfName,
        purpose: Purpose,
    ) -> Result<Option<Self>, LockError> {
        let path = run_dir.join("lock");
        let failed = |source| LockError::Open {
            path: path.clone(),
            source,
        };
        if !run_dir.exists() {
            fs::create_dir_all(run_dir).map_err(failed)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let region = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: offset(tap, purpose),
            l_len: 1,
            l_pid: 0,
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&region)) {
            Ok(_) => Ok(Some(Self(file))),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(None),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}

/// FNV-1a of the name, the lowest bit says what for.
fn offset(tap: &IfName, purpose: Purpose) -> i64 {
    let hash = tap
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let bit = u64::from(purpose == Purpose::Wait);
    i64::try_from((hash >> 2) << 1 | bit).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tap_is_one_at_a_time_and_others_do_not_wait() {
        let directory = tempfile::tempdir().unwrap();
        let run_dir = directory.path().join("run");
        let (tap0, tap1): (IfName, IfName) = ("tap0".parse().unwrap(), "tap1".parse().unwrap());
        let held = Lock::take(&run_dir, &tap0, Purpose::Change).unwrap();
        let again = || Lock::try_take(&run_dir, &tap0, Purpose::Change).unwrap();
        assert!(again().is_none());
        assert!(
            Lock::try_take(&run_dir, &tap1, Purpose::Change)
                .unwrap()
                .is_some()
        );
        assert!(
            Lock::try_take(&run_dir, &tap0, Purpose::Wait)
                .unwrap()
                .is_some()
        );
        drop(held);
        assert!(again().is_some());
    }
}
