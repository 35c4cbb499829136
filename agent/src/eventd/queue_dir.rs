//! Ganeti's queue directory: listing, reading, hearing of changes.
//!
//! A change is a file renamed onto `job-N`; temporary files are named `job-N…` too, so the whole name counts. Jobs that
//! ended are moved to `archive/<N div 10000>/job-N`. What is read was written by others: its size is bounded, and what
//! is no regular file is not opened.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchMask};
use snf_events::JobId;

/// Jobs per directory of the archive (`JOBS_PER_ARCHIVE_DIRECTORY`).
const JOBS_PER_DIRECTORY: u64 = 10_000;

/// A version of a file: another one has another stamp, since it is a new file under the old name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
        }
    }

    /// When it was written: seconds since 1970, microseconds.
    #[must_use]
    pub fn modified(&self) -> (i64, u32) {
        let (seconds, nanoseconds) = self.modified;
        (seconds, u32::try_from(nanoseconds / 1000).unwrap_or(0))
    }
}

/// Where a job's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// In the queue directory.
    Live,
    /// In the archive.
    Archive,
}

/// Why a job's file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is gone, which is normal: it was archived or removed.
    #[error("it is gone")]
    Gone,
    /// It is too large.
    #[error("it has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
        /// Which version it is.
        stamp: Stamp,
    },
    /// It is a directory, link, device or pipe.
    #[error("it is no regular file")]
    NoFile,
    /// The system refuses it.
    #[error("read it")]
    Read(#[source] io::Error),
}

/// What was heard since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Jobs whose files were renamed in.
    pub jobs: BTreeSet<JobId>,
    /// Something may have been missed: list.
    pub list: bool,
}

/// The directory.
#[derive(Debug)]
pub struct QueueDir {
    path: PathBuf,
    limit: u64,
    inotify: Inotify,
    watching: bool,
    room: Vec<u8>,
}

impl QueueDir {
    /// Takes the directory at `path`, of whose files at most `limit` bytes are read. It need not be there yet.
    ///
    /// # Errors
    /// When the kernel has no inotify instance left.
    pub fn new(path: PathBuf, limit: u64) -> io::Result<Self> {
        Ok(Self {
            path,
            limit,
            inotify: Inotify::init()?,
            watching: false,
            room: vec![0; 16 << 10],
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Readable when there are hints.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches the directory, unless that stands. Call it before listing: what changes in between is heard of.
    ///
    /// # Errors
    /// When the directory is not there or the kernel refuses the watch.
    pub fn watch(&mut self) -> io::Result<()> {
        if !self.watching {
            let mask = WatchMask::MOVED_TO
                | WatchMask::DELETE_SELF
                | WatchMask::MOVE_SELF
                | WatchMask::ONLYDIR;
            self.inotify.watches().add(&self.path, mask)?;
            self.watching = true;
        }
        Ok(())
    }

    /// What was heard since the last call; never waits.
    pub fn hints(&mut self) -> Hints {
        let mut hints = Hints::default();
        loop {
            match self.inotify.read_events(&mut self.room) {
                Ok(events) => {
                    let mut any = false;
                    for event in events {
                        any = true;
                        if event.mask.contains(EventMask::MOVED_TO) {
                            hints
                                .jobs
                                .extend(event.name.and_then(|name| job_of_name(name.to_str()?)));
                        } else {
                            // The queue overflowed, or the directory is another one now.
                            hints.list = true;
                            let gone =
                                EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED;
                            if event.mask.intersects(gone) {
                                self.watching = false;
                            }
                        }
                    }
                    if !any {
                        return hints;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return hints,
                Err(_) => {
                    hints.list = true;
                    return hints;
                }
            }
        }
    }

    /// The live jobs.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn live(&self) -> io::Result<BTreeSet<JobId>> {
        jobs_in(&self.path)
    }

    /// The archived jobs from `from` on.
    ///
    /// # Errors
    /// When the archive is there and cannot be read.
    pub fn archived(&self, from: JobId) -> io::Result<BTreeSet<JobId>> {
        let mut found = BTreeSet::new();
        for number in self.archive_directories()? {
            if number >= from.0 / JOBS_PER_DIRECTORY {
                found.extend(jobs_in(&self.archive().join(number.to_string()))?);
            }
        }
        Ok(found.split_off(&from))
    }

    /// The highest archived job.
    ///
    /// # Errors
    /// When the archive is there and cannot be read.
    pub fn highest_archived(&self) -> io::Result<Option<JobId>> {
        for number in self.archive_directories()?.into_iter().rev() {
            let jobs = jobs_in(&self.archive().join(number.to_string()))?;
            if let Some(highest) = jobs.last() {
                return Ok(Some(*highest));
            }
        }
        Ok(None)
    }

    /// Which version of a job's file there is.
    ///
    /// # Errors
    /// When there is none.
    pub fn stamp(&self, shelf: Shelf, job: JobId) -> Result<Stamp, Unreadable> {
        match fs::symlink_metadata(self.place(shelf, job)) {
            Ok(metadata) if metadata.is_file() => Ok(Stamp::of(&metadata)),
            Ok(_) => Err(Unreadable::NoFile),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Reads a job's file.
    ///
    /// # Errors
    /// When it is not there or not to be read.
    pub fn read(&self, shelf: Shelf, job: JobId) -> Result<(Vec<u8>, Stamp), Unreadable> {
        let file: File = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(self.place(shelf, job))
            .map_err(unreadable)?;
        let metadata = file.metadata().map_err(Unreadable::Read)?;
        if !metadata.is_file() {
            return Err(Unreadable::NoFile);
        }
        let stamp = Stamp::of(&metadata);
        let too_large = |size| Unreadable::TooLarge {
            size,
            limit: self.limit,
            stamp,
        };
        if stamp.size > self.limit {
            return Err(too_large(stamp.size));
        }
        let mut content = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0));
        let mut bounded = file.take(self.limit + 1);
        bounded
            .read_to_end(&mut content)
            .map_err(Unreadable::Read)?;
        if content.len() as u64 > self.limit {
            return Err(too_large(content.len() as u64));
        }
        Ok((content, stamp))
    }

    fn archive(&self) -> PathBuf {
        self.path.join("archive")
    }

    fn place(&self, shelf: Shelf, job: JobId) -> PathBuf {
        let name = format!("job-{job}");
        match shelf {
            Shelf::Live => self.path.join(name),
            Shelf::Archive => {
                let directory = (job.0 / JOBS_PER_DIRECTORY).to_string();
                self.archive().join(directory).join(name)
            }
        }
    }

    fn archive_directories(&self) -> io::Result<BTreeSet<u64>> {
        let entries = match fs::read_dir(self.archive()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(error),
        };
        let mut found = BTreeSet::new();
        for entry in entries {
            found.extend(entry?.file_name().to_str().and_then(number));
        }
        Ok(found)
    }
}

/// The job whose file is called `name`: `job-N`, N in plain decimal, and nothing else.
#[must_use]
pub fn job_of_name(name: &str) -> Option<JobId> {
    name.strip_prefix("job-").and_then(number).map(JobId)
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (plain && canonical).then(|| text.parse().ok()).flatten()
}

fn jobs_in(directory: &Path) -> io::Result<BTreeSet<JobId>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(entry?.file_name().to_str().and_then(job_of_name));
    }
    Ok(found.into_iter().collect())
}

fn unreadable(error: io::Error) -> Unreadable {
    if error.kind() == io::ErrorKind::NotFound {
        Unreadable::Gone
    } else if error.raw_os_error() == Some(libc::ELOOP) {
        Unreadable::NoFile
    } else {
        Unreadable::Read(error)
    }
}

#[cfg(test)]
mod tests;
