//! What the agent counts, by whichever thread it happens on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::spool::Level;

/// Numbers that only rise, but for those that say so, since the agent started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Looks at everything.
    pub rounds: u64,
    /// Looks at single TAPs, after an event.
    pub looks: u64,
    /// Looks that could not be taken: neither kernel nor files answered.
    pub rounds_failed: u64,
    /// TAPs that were gone and whose remains were taken away.
    pub swept: u64,
    /// TAPs that were put right.
    pub restored: u64,
    /// Steps done, by kind.
    pub steps: BTreeMap<String, u64>,
    /// TAPs that could not be put right or swept, each time it was tried.
    pub failures: u64,
    /// Hooks that were understood.
    pub hooks: u64,
    /// Hooks that were refused, by reason.
    pub hooks_refused: BTreeMap<String, u64>,
    /// Hooks that were understood and could not be kept.
    pub hooks_lost: u64,
    /// Connections of others than root.
    pub strangers: u64,
    /// Times the kernel lost device events: everything was looked at instead.
    pub events_lost: u64,
    /// TAPs of the last look at everything, by how they stood behind it; rises and falls.
    pub taps: BTreeMap<String, u64>,
    /// When the last look at everything ended, milliseconds since 1970; 0: not yet.
    pub looked_at: u64,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// What kept it from being whole, each a sentence; empty when nothing did.
    pub problems: Vec<String>,
    /// What is published.
    #[serde(default)]
    pub publication: Publication,
}

/// What becomes of messages to the control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Whether there is a way out at all.
    pub configured: bool,
    /// Whether a connection stands; rises and falls, as all that is not a count.
    pub connected: bool,
    /// Connections made.
    pub connections: u64,
    /// Connections that failed, or broke.
    pub connection_errors: u64,
    /// Messages put on disk, by kind.
    pub spooled: BTreeMap<String, u64>,
    /// Messages taken out unsent: a newer one said the same.
    pub replaced: u64,
    /// Messages dropped because the spool was full, by kind.
    pub dropped: BTreeMap<String, u64>,
    /// Messages that could not be written to disk, by kind.
    pub lost: BTreeMap<String, u64>,
    /// Messages stored on the other side, by kind.
    pub published: BTreeMap<String, u64>,
    /// Messages that no queue took; they are sent again.
    pub returned: u64,
    /// Messages that were refused for now; they are sent again, but for reports.
    pub refused: u64,
    /// Messages about others' instances: never published.
    pub foreign: u64,
    /// Progress that was refused, by reason.
    pub progress_refused: BTreeMap<String, u64>,
    /// Messages that wait on disk.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// When the oldest of them was put there, milliseconds since 1970; 0: none waits.
    pub oldest: u64,
}

impl Publication {
    /// So much waits now.
    pub const fn waiting(&mut self, level: Level) {
        self.waiting = level.messages;
        self.waiting_bytes = level.bytes;
        self.oldest = level.oldest;
    }
}

/// The figures, shared.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Figures>);

impl Counters {
    /// The figures, for a moment.
    pub fn figures(&self) -> MutexGuard<'_, Figures> {
        // Nobody panics while holding it; and numbers stay numbers.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more under `label`.
pub fn more(counts: &mut BTreeMap<String, u64>, label: &str) {
    match counts.get_mut(label) {
        Some(count) => *count += 1,
        None => {
            counts.insert(label.to_owned(), 1);
        }
    }
}
