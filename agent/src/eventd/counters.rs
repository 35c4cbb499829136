//! What is counted, by whichever thread it happens on.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn more(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of eventd's.
#[derive(Debug, Default)]
pub struct Counters {
    /// Job files read.
    pub files_read: Counter,
    /// Files that are no job.
    pub files_malformed: Counter,
    /// Files that are too large.
    pub files_too_large: Counter,
    /// Files that could not be read.
    pub files_unreadable: Counter,
    /// Unfinished jobs whose file is nowhere.
    pub jobs_vanished: Counter,
    /// Times inotify lost events.
    pub hints_lost: Counter,
    /// Times all was listed.
    pub lists: Counter,
    /// Times the directory could not be listed.
    pub lists_failed: Counter,
    /// Jobs that a list found changed, without a hint.
    pub found_by_list: Counter,
    /// Operations on others' instances and networks.
    pub foreign: Counter,
    /// Events journaled.
    pub journaled: Counter,
    /// Times the journal could not be written.
    pub journal_errors: Counter,
    /// Events acknowledged.
    pub acknowledged: Counter,
    /// Events for which a newer one stood before they were sent.
    pub superseded: Counter,
    /// Events returned: no queue took them.
    pub returned: Counter,
    /// Events refused by the broker or the controller.
    pub refused: Counter,
    /// Connections made.
    pub connections: Counter,
    /// Connections that failed, or broke.
    pub connection_errors: Counter,
    /// Heartbeats sent.
    pub heartbeats: Counter,
    /// Events whose instance's details could not be had.
    pub attachments_unavailable: Counter,
    /// Beats of the thread that reads and journals.
    pub beats: Counter,

    /// Live jobs, at the last list.
    pub live_jobs: Level,
    /// Jobs known.
    pub known_jobs: Level,
    /// Bytes of the journal.
    pub journal_bytes: Level,
    /// Events journaled and not acknowledged.
    pub backlog: Level,
    /// Milliseconds since 1970 when the oldest of them was journaled; 0 when there is none.
    pub oldest_written: Level,
    /// 1 while a connection stands.
    pub connected: Level,
    /// 1 on the master.
    pub master: Level,
    /// Unix milliseconds of the last whole list.
    pub listed_at: Level,
}
