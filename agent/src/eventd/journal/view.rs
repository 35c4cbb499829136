//! What everybody but the writer has of a journal.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use snf_events::{Epoch, Prefix, Sequence};
use tokio::sync::watch;

use super::cursor::{Cursor, Mark};
use super::newest::Newest;
use super::record::{Number, Record};
use super::{Committed, JournalError, read};

/// What readers have of a journal's epoch; they keep it while the writer may already be in the next.
#[derive(Debug, Clone)]
pub struct View(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) epoch: Epoch,
    pub(super) directory: PathBuf,
    pub(super) committed: watch::Sender<Committed>,
    pub(super) newest: Mutex<Newest>,
    pub(super) cursor: Mutex<(Cursor, Mark)>,
    /// Rises when files are merged; held meanwhile.
    pub(super) generation: Mutex<u64>,
    /// The last acknowledged number of each stream, when the journal was opened.
    pub(super) acknowledged: BTreeMap<Prefix, Sequence>,
}

impl View {
    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.0.epoch
    }

    /// How far the journal is, and whenever it grows.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Committed> {
        self.0.committed.subscribe()
    }

    /// The last acknowledged number of each stream, when the journal was opened.
    #[must_use]
    pub fn acknowledged(&self) -> &BTreeMap<Prefix, Sequence> {
        &self.0.acknowledged
    }

    /// How far publication is, as it was last kept.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.lock_cursor().1
    }

    /// Keeps how far publication is.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn acknowledge(&self, number: Number) -> io::Result<()> {
        self.keep(|mark| mark.acknowledged = number)
    }

    /// Keeps which job was the highest when all was listed.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn listed(&self, job: snf_events::JobId) -> io::Result<()> {
        self.keep(|mark| mark.listed = job)
    }

    fn keep(&self, change: impl FnOnce(&mut Mark)) -> io::Result<()> {
        let (cursor, kept) = &mut *self.lock_cursor();
        let mut mark = *kept;
        change(&mut mark);
        if mark != *kept {
            cursor.write(mark)?;
            *kept = mark;
        }
        Ok(())
    }

    /// True when a newer event stands for this one: nobody needs to be told any more. A final one is the newest of its
    /// operation.
    #[must_use]
    pub fn is_superseded(&self, record: &Record) -> bool {
        !record.status.is_final() && self.newest().is_superseded(record)
    }

    pub(super) fn newest(&self) -> MutexGuard<'_, Newest> {
        self.0.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_cursor(&self) -> MutexGuard<'_, (Cursor, Mark)> {
        self.0.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn each_newest(
        &self,
        mut take: impl FnMut(Record) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut all = read::Reader::salvage(self);
        let end = self.0.committed.borrow().number;
        while let Some(record) = all
            .next(end)
            .map_err(JournalError::io("read", &self.0.directory))?
        {
            if !self.is_superseded(&record) {
                take(record)?;
            }
        }
        Ok(())
    }
}
