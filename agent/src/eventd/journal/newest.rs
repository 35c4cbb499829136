//! Which event of an operation is the newest: for those that may be superseded. A final one is the newest by itself, so
//! that an operation whose end is all that is journaled needs no entry: after an outage, that is nearly all of them.
//!
//! Pure.

use std::collections::HashMap;

use snf_events::JobStatus;

use super::record::{Number, Record, Subject};

/// The newest event of each operation of which the journal has an event that is not final.
#[derive(Debug, Clone, Default)]
pub(super) struct Newest(HashMap<Subject, Number>);

impl Newest {
    /// Takes the next event; true when one before it is superseded.
    pub(super) fn add(&mut self, subject: Subject, number: Number, status: JobStatus) -> bool {
        if !status.is_final() {
            return self.0.insert(subject, number).is_some();
        }
        match self.0.get_mut(&subject) {
            Some(newest) => {
                *newest = number;
                true
            }
            None => false,
        }
    }

    /// True when a newer event of its operation is known.
    pub(super) fn is_superseded(&self, record: &Record) -> bool {
        let newest = self.0.get(&record.subject);
        !record.status.is_final() && newest.is_some_and(|newest| *newest > record.number)
    }

    /// Forgets operations whose newest event is below `oldest`.
    pub(super) fn forget_below(&mut self, oldest: Number) {
        self.0.retain(|_, number| *number >= oldest);
        if self.0.capacity() > 4 * self.0.len() {
            self.0.shrink_to_fit();
        }
    }

    /// Forgets an operation of which nothing but its end is left.
    pub(super) fn forget(&mut self, subject: &Subject) {
        self.0.remove(subject);
    }
}
