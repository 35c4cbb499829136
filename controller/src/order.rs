//! Which of two things Ganeti did came later, when no clock can be trusted alone. Pure.
//!
//! Messages about a server come in any order, more than once, and from two masters whose clocks may be minutes apart. So a
//! server's run state remembers two marks, the highest place in the job queue and the latest end of an operation that were
//! seen, and who set both of them. As long as it is one operation, that operation was the last. When the marks are of two
//! operations, the order cannot be told from messages: the server is *doubtful*, and what is true is read from Ganeti.
//! Marks only rise, so it makes no difference in which order messages arrive, or how often ([`RunMarks::see`] is a
//! semilattice's join).

use snf_events::{JobId, Timestamp};

/// Where an operation stands in a cluster's job queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueuePlace {
    /// The job.
    pub job: JobId,
    /// Which of the job's operations, from 0.
    pub op_index: u32,
}

/// An operation that ended, and is able to change the run state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ended<S> {
    /// Where it stood in the queue.
    pub place: QueuePlace,
    /// When it ended, by the clock of the master it ended on.
    pub at: Timestamp,
    /// The run state it left; `None`: it failed half-way, and nobody can tell.
    pub state: Option<S>,
}

/// What is known of a server's run state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunMarks<S> {
    /// Highest place seen.
    pub place: QueuePlace,
    /// Latest end seen.
    pub at: Timestamp,
    /// The state that the operation which set both marks left; `None`: there is none such, or it could not tell: doubtful.
    pub state: Option<S>,
}

impl<S: Copy + Ord> RunMarks<S> {
    /// After the first operation.
    #[must_use]
    pub const fn first(ended: Ended<S>) -> Self {
        let Ended { place, at, state } = ended;
        Self { place, at, state }
    }

    /// Takes in one operation.
    #[must_use]
    pub fn see(self, ended: Ended<S>) -> Self {
        self.join(Self::first(ended))
    }

    /// What is known when both are known.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let place = self.place.max(other.place);
        let at = self.at.max(other.at);
        let holders = [self, other]
            .into_iter()
            .filter(|marks| marks.place == place && marks.at == at);
        // One operation leaves one state: two holders can only be the same, or one of them be in doubt.
        let state = holders.filter_map(|marks| marks.state).max();
        Self { place, at, state }
    }

    /// Whether the order of what was seen cannot be told.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        self.state.is_none()
    }
}

/// What an instance's configuration, as an event or a reading of Ganeti has it, is to the one we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configuration {
    /// Later than ours: it is taken over.
    Newer,
    /// The same, or earlier.
    Known,
    /// Of another instance under the same name: which of them is there now, only Ganeti can tell.
    AnotherInstance,
}

/// Compares `(instance_uuid, serial_no)` of a configuration with ours: Ganeti raises an instance's `serial_no` with each
/// change of its configuration, though not when it reboots.
#[must_use]
pub fn configuration(ours: Option<(&str, u64)>, theirs: (&str, u64)) -> Configuration {
    match ours {
        None => Configuration::Newer,
        Some((uuid, _)) if uuid != theirs.0 => Configuration::AnotherInstance,
        Some((_, serial)) if theirs.1 > serial => Configuration::Newer,
        Some(_) => Configuration::Known,
    }
}

#[cfg(test)]
mod tests;
