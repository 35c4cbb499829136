//! The journal: events on disk, before anything is published.
//!
//! A directory per epoch, named by the file `current`; in it, files of records ([`segment`]), and the `cursor`, up to
//! which all is acknowledged. Records are appended and made last together ([`Journal::commit`]); what is committed can
//! be read by others through a [`View`], while the one writer goes on. A damaged tail is cut off when the journal is
//! opened; damage before it, or a cursor beyond the end, starts a new epoch with what is left.

mod compact;
pub mod cursor;
mod epoch;
mod newest;
pub mod read;
pub mod record;
pub mod segment;
mod view;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use snf_events::{Epoch, JobStatus, Prefix, RoutingKey, Sequence};
use tokio::sync::watch;

use cursor::Cursor;
use epoch::{Found, new_epoch, read_epoch, read_state, sweep, write_state};
use newest::Newest;
use record::{Entry, Number, Record, Subject};
use view::Inner;
pub use view::View;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another program has it.
    #[error("the journal {} is in use by another program", path.display())]
    InUse {
        /// Its directory.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("{act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was written may not be on disk, and cannot be read back to find out.
    #[error("make {} last", path.display())]
    Sync {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl JournalError {
    fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { act, path, source }
    }
}

/// Sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A file is closed when it has so many bytes.
    pub segment: u64,
    /// The journal is compacted from so many bytes on.
    pub compact: u64,
    /// So many acknowledged events are kept, the newest.
    pub keep: usize,
}

/// What the file `current` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The epoch in force.
    pub epoch: Epoch,
    /// Whether it was begun, or is continued, as the master's.
    pub master: bool,
    /// The cluster it is of, once known.
    pub cluster_uuid: Option<String>,
}

/// How far the journal is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The last record that is on disk.
    pub number: Number,
    /// The last number given in each stream.
    pub streams: BTreeMap<Prefix, Sequence>,
}

/// What is new, for [`Journal::append`].
#[derive(Debug)]
pub struct News {
    /// What it is about.
    pub subject: Subject,
    /// How far that is.
    pub status: JobStatus,
    /// What it is published with.
    pub key: RoutingKey,
    /// The body.
    pub body: Vec<u8>,
    /// Now, milliseconds since 1970.
    pub written: u64,
}

/// The one writer.
#[derive(Debug)]
pub struct Journal {
    root: PathBuf,
    limits: Limits,
    state: State,
    view: View,
    file: File,
    path: PathBuf,
    /// Length of the open file, as far as it is committed.
    length: u64,
    /// Bytes of all files.
    total: u64,
    /// Bytes of all files after the last compaction.
    compacted: u64,
    /// Events in all files.
    records: u64,
    /// Events a compaction would leave out, but for those that are kept: superseded since the last one.
    superseded: u64,
    /// What was acknowledged at the last compaction.
    acknowledged: Number,
    end: Committed,
    waiting: Waiting,
    _lock: Flock<File>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    newest: Vec<(Subject, Number, JobStatus)>,
}

/// A known operation, as it was found when the journal was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// The operation.
    pub subject: Subject,
    /// How far it was.
    pub status: JobStatus,
}

/// A journal that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The writer.
    pub journal: Journal,
    /// Every operation it knows of.
    pub recalled: Vec<Recalled>,
    /// True when there was none, or a damaged one.
    pub anew: bool,
}

impl Journal {
    /// Opens the journal below `root`, or begins one.
    ///
    /// # Errors
    /// When another program has it, or the file system refuses.
    pub fn open(root: &Path, limits: Limits) -> Result<Opened, JournalError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(root)
            .map_err(JournalError::io("make", root))?;
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).map_err(JournalError::io("make", &lock_path))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|_| {
            JournalError::InUse {
                path: root.to_owned(),
            }
        })?;
        let state = read_state(root);
        let anew = state.is_none();
        let state = match state {
            Some(state) => state,
            None => State {
                epoch: new_epoch()?,
                master: false,
                cluster_uuid: None,
            },
        };
        let directory = root.join(state.epoch.as_str());
        fs::create_dir_all(&directory).map_err(JournalError::io("make", &directory))?;
        let (cursor, mark) =
            Cursor::open(&directory).map_err(JournalError::io("open the cursor of", &directory))?;
        let read = read_epoch(&directory, &state.epoch, mark.acknowledged)
            .map_err(JournalError::io("read", &directory))?;
        if anew {
            write_state(root, &state)?;
        }
        sweep(root, &state.epoch);
        let Found {
            last,
            streams,
            newest,
            records,
            statuses,
            acknowledged,
            lost,
        } = read;
        let first = Number(last.0 + 1);
        let path = segment::path(&directory, first);
        let file = new_segment(&directory, &path, &state.epoch)?;
        let end = Committed {
            number: last,
            streams,
        };
        let recalled = statuses
            .into_iter()
            .map(|(subject, status)| Recalled { subject, status })
            .collect();
        let lost = lost || mark.acknowledged > last;
        let mut journal = Self {
            root: root.to_owned(),
            limits,
            view: View(Arc::new(Inner {
                epoch: state.epoch.clone(),
                directory: directory.clone(),
                committed: watch::Sender::new(end.clone()),
                newest: Mutex::new(newest),
                cursor: Mutex::new((cursor, mark)),
                generation: Mutex::new(0),
                acknowledged,
            })),
            state,
            length: file_length(&file, &path)?,
            total: total(&directory),
            compacted: 0,
            records,
            // Not known: the first time all may be.
            superseded: records,
            acknowledged: Number(0),
            file,
            path,
            end,
            waiting: Waiting::default(),
            _lock: lock,
        };
        if lost {
            let state = journal.state.clone();
            journal.renew(state.master, state.cluster_uuid)?;
        }
        Ok(Opened {
            journal,
            recalled,
            anew: anew || lost,
        })
    }

    /// What readers have of it.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Its epoch and role.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.total + self.length
    }

    /// True while nothing was ever journaled in this epoch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.number == Number(0)
    }

    /// Keeps a role or a cluster's UUID that has changed without a new epoch.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn set_state(
        &mut self,
        master: bool,
        cluster_uuid: Option<String>,
    ) -> Result<(), JournalError> {
        let state = State {
            epoch: self.state.epoch.clone(),
            master,
            cluster_uuid,
        };
        if state != self.state {
            write_state(&self.root, &state)?;
            self.state = state;
        }
        Ok(())
    }

    /// Adds an event; it counts once it is committed.
    pub fn append(&mut self, news: News) {
        self.end.number = Number(self.end.number.0 + 1);
        let stream = self
            .end
            .streams
            .entry(news.subject.prefix.clone())
            .or_default();
        *stream = stream.next();
        let entry = Entry::Event(Record {
            number: self.end.number,
            sequence: *stream,
            subject: news.subject.clone(),
            status: news.status,
            written: news.written,
            key: news.key,
            body: news.body,
        });
        record::encode(&entry, &mut self.waiting.bytes);
        let last = (news.subject, self.end.number, news.status);
        self.waiting.newest.push(last);
    }

    /// Writes what was added, makes it last, and tells the readers.
    ///
    /// # Errors
    /// [`JournalError::Io`] when it could not be written: then nothing was, and what was added is forgotten.
    /// [`JournalError::Sync`] when nobody can tell what is on disk: the journal must be opened anew.
    pub fn commit(&mut self) -> Result<(), JournalError> {
        if self.waiting.newest.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        if let Err(source) = self.file.write_all(&waiting.bytes) {
            self.end = self.view.0.committed.borrow().clone();
            let undone = self.file.set_len(self.length).and_then(|()| {
                io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.length)).map(drop)
            });
            let path = self.path.clone();
            return Err(match undone {
                Ok(()) => JournalError::Io {
                    act: "write to",
                    path,
                    source,
                },
                Err(source) => JournalError::Sync { path, source },
            });
        }
        self.file.sync_data().map_err(|source| JournalError::Sync {
            path: self.path.clone(),
            source,
        })?;
        self.length += waiting.bytes.len() as u64;
        let mut newest = self.view.newest();
        for (subject, number, status) in waiting.newest {
            self.records += 1;
            self.superseded += u64::from(newest.add(subject, number, status));
        }
        drop(newest);
        self.view.0.committed.send_replace(self.end.clone());
        Ok(())
    }

    /// Closes a full file, and compacts a journal that has grown. Call it when nothing waits.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn tidy(&mut self) -> Result<(), JournalError> {
        if self.length < self.limits.segment && self.bytes() < self.limits.compact {
            return Ok(());
        }
        let grown = self.bytes() > self.limits.compact
            && self.bytes() > self.compacted * 3 / 2
            && self.left_out() > self.records / 4;
        if self.length >= self.limits.segment || grown {
            self.rotate()?;
        }
        if grown {
            let mark = self.view.mark();
            let inner = &*self.view.0;
            let left = compact::compact(
                &inner.directory,
                &inner.epoch,
                Number(self.end.number.0 + 1),
                &mut self.view.newest(),
                mark.acknowledged,
                self.limits.keep,
                &inner.generation,
            )
            .map_err(JournalError::io("compact", &inner.directory))?;
            self.total = total(&inner.directory);
            self.compacted = self.total;
            self.records = left;
            self.superseded = 0;
            self.acknowledged = mark.acknowledged;
        }
        Ok(())
    }

    /// How many events a compaction would leave out, at most: while all wait for the control plane, it would only copy.
    fn left_out(&self) -> u64 {
        let acknowledged = self.view.mark().acknowledged.0;
        let over = acknowledged.saturating_sub(self.acknowledged.0);
        over + self.superseded
    }

    /// Begins a new epoch with the newest state of every operation.
    ///
    /// # Errors
    /// When the file system refuses; the old epoch is in force then.
    pub fn renew(
        &mut self,
        master: bool,
        cluster_uuid: Option<String>,
    ) -> Result<(), JournalError> {
        let state = State {
            epoch: new_epoch()?,
            master,
            cluster_uuid,
        };
        let directory = self.root.join(state.epoch.as_str());
        fs::create_dir_all(&directory).map_err(JournalError::io("make", &directory))?;
        let io = |act: &'static str| JournalError::io(act, &directory);
        let (cursor, mark) = Cursor::open(&directory).map_err(io("open the cursor of"))?;
        let path = segment::path(&directory, Number(1));
        let file = new_segment(&directory, &path, &state.epoch)?;
        let old = self.view.clone();
        let before = std::mem::replace(&mut self.file, file);
        self.length = file_length(&self.file, &path)?;
        let old_path = std::mem::replace(&mut self.path, path);
        self.end = Committed::default();
        self.view = View(Arc::new(Inner {
            epoch: state.epoch.clone(),
            directory: directory.clone(),
            committed: watch::Sender::new(self.end.clone()),
            newest: Mutex::new(Newest::default()),
            cursor: Mutex::new((cursor, mark)),
            generation: Mutex::new(0),
            acknowledged: BTreeMap::new(),
        }));
        let moved = old
            .each_newest(|record| {
                self.append(News {
                    subject: record.subject,
                    status: record.status,
                    key: record.key,
                    body: record.body,
                    written: record.written,
                });
                if self.waiting.bytes.len() > 1 << 20 {
                    self.commit()?;
                }
                Ok(())
            })
            .and_then(|()| self.commit())
            .and_then(|()| write_state(&self.root, &state));
        if let Err(error) = moved {
            self.file = before;
            self.path = old_path;
            self.length = file_length(&self.file, &self.path)?;
            self.end = old.0.committed.borrow().clone();
            self.view = old;
            self.waiting = Waiting::default();
            return Err(error);
        }
        self.state = state;
        self.total = 0;
        self.compacted = 0;
        self.records = self.end.number.0;
        self.superseded = 0;
        self.acknowledged = Number(0);
        sweep(&self.root, &self.state.epoch);
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        let first = Number(self.end.number.0 + 1);
        let directory = &self.view.0.directory;
        let path = segment::path(directory, first);
        if path == self.path {
            return Ok(());
        }
        self.file = new_segment(directory, &path, &self.state.epoch)?;
        self.path = path;
        self.total += self.length;
        self.length = file_length(&self.file, &self.path)?;
        Ok(())
    }
}

fn new_segment(directory: &Path, path: &Path, epoch: &Epoch) -> Result<File, JournalError> {
    let made = segment::create(path, epoch)
        .and_then(|file| segment::sync_directory(directory).map(|()| file));
    made.map_err(JournalError::io("make", path))
}

fn file_length(file: &File, path: &Path) -> Result<u64, JournalError> {
    Ok(file
        .metadata()
        .map_err(JournalError::io("look at", path))?
        .len())
}

/// Bytes of a directory's files; what is added to the open one is counted apart.
fn total(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}

#[cfg(test)]
mod tests;
