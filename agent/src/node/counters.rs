//! What the agent counts, by whichever thread it happens on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

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
