//! What is known of each job: how far its operations were when last journaled, and which file was read.
//!
//! Pure. An operation's status only rises; a status that is not higher than the known one is no news, so that what is
//! journaled never falls.

use std::collections::{BTreeMap, BTreeSet};

use snf_events::{JobId, JobStatus, Timestamp};

use super::job_file::Job;
use super::queue_dir::Stamp;

/// Jobs may be written a little out of order of their numbers, and archived at once: so far below the highest number
/// seen the archive is looked at again.
const SLACK: u64 = 1000;

/// A job that was unfinished and whose file is nowhere is looked for in so many lists.
const SEARCHES: u8 = 3;

/// Everything known.
#[derive(Debug, Default)]
pub struct Seen {
    jobs: BTreeMap<JobId, Known>,
    highest: Option<JobId>,
    complained: BTreeSet<JobId>,
}

#[derive(Debug, Clone)]
struct Known {
    received: Timestamp,
    /// By operation; `None` where nothing was journaled.
    statuses: Vec<Option<JobStatus>>,
    /// The file that was read; `None` when all we have is the journal.
    stamp: Option<Stamp>,
    /// True when the file says that all operations are final.
    settled: bool,
    /// Lists in which its file was nowhere.
    missed: u8,
}

impl Seen {
    /// Takes over what the journal says of an operation.
    pub fn recall(&mut self, job: JobId, received: Timestamp, op_index: u32, status: JobStatus) {
        let known = self.jobs.entry(job).or_insert_with(|| Known::new(received));
        if known.received != received {
            *known = Known::new(received);
        }
        known.raise(op_index as usize, status);
        self.highest = self.highest.max(Some(job));
    }

    /// True when this very file was read already.
    #[must_use]
    pub fn has_read(&self, job: JobId, stamp: Stamp) -> bool {
        self.jobs
            .get(&job)
            .is_some_and(|known| known.stamp == Some(stamp))
    }

    /// True when a job's file needs no look any more, wherever it is.
    #[must_use]
    pub fn is_settled(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|known| known.settled)
    }

    /// Highest number seen.
    #[must_use]
    pub fn highest(&self) -> Option<JobId> {
        self.highest
    }

    /// From which number on the archive is to be looked at, besides the unfinished ones.
    #[must_use]
    pub fn low_water(&self) -> JobId {
        self.highest.map_or(JobId(0), Self::low_water_below)
    }

    /// As [`Seen::low_water`], with `listed` as the highest number seen.
    #[must_use]
    pub fn low_water_below(listed: JobId) -> JobId {
        JobId(listed.0.saturating_sub(SLACK))
    }

    /// True the first time a job's file is complained of.
    pub fn complain(&mut self, job: JobId) -> bool {
        self.complained.insert(job)
    }

    /// The operations of which `job` says something new.
    #[must_use]
    pub fn news(&self, job: &Job) -> Vec<usize> {
        let known = self
            .jobs
            .get(&job.id)
            .filter(|known| known.received == job.received);
        let is_news = |(index, status): (usize, JobStatus)| {
            let before = known.and_then(|known| *known.statuses.get(index)?);
            before
                .is_none_or(|before| status.rank() > before.rank())
                .then_some(index)
        };
        let statuses = job.ops.iter().map(|op| op.status);
        statuses.enumerate().filter_map(is_news).collect()
    }

    /// Remembers what `job` says, once it is journaled.
    pub fn remember(&mut self, job: &Job, stamp: Stamp) {
        let known = self
            .jobs
            .entry(job.id)
            .or_insert_with(|| Known::new(job.received));
        if known.received != job.received {
            *known = Known::new(job.received);
        }
        for (index, op) in job.ops.iter().enumerate() {
            known.raise(index, op.status);
        }
        known.stamp = Some(stamp);
        known.settled = job.is_final();
        known.missed = 0;
        self.highest = self.highest.max(Some(job.id));
    }

    /// Remembers a file that is no job, so that it is complained of once.
    pub fn remember_malformed(&mut self, job: JobId, stamp: Stamp) {
        let known = self
            .jobs
            .entry(job)
            .or_insert_with(|| Known::new(Timestamp::default()));
        known.stamp = Some(stamp);
        known.missed = 0;
        self.highest = self.highest.max(Some(job));
    }

    /// Jobs that are not finished, as far as is known, and not in `live`: their files may be in the archive.
    #[must_use]
    pub fn unfinished_but(&self, live: &BTreeSet<JobId>) -> Vec<JobId> {
        let open = self.jobs.iter().filter(|(job, known)| {
            !known.settled && known.missed < SEARCHES && !live.contains(job)
        });
        open.map(|(job, _)| *job).collect()
    }

    /// Notes that an unfinished job's file was nowhere; true when it is given up.
    pub fn missed(&mut self, job: JobId) -> bool {
        self.jobs.get_mut(&job).is_some_and(|known| {
            known.missed += 1;
            known.missed == SEARCHES
        })
    }

    /// Forgets finished jobs that are neither in `live` nor near the highest number.
    pub fn prune(&mut self, live: &BTreeSet<JobId>) {
        let low = self.low_water();
        self.complained.retain(|job| live.contains(job));
        self.jobs.retain(|job, known| {
            *job >= low || live.contains(job) || !(known.settled || known.missed >= SEARCHES)
        });
    }

    /// How many jobs are known.
    #[must_use]
    pub fn count(&self) -> usize {
        self.jobs.len()
    }
}

impl Known {
    fn new(received: Timestamp) -> Self {
        Self {
            received,
            statuses: Vec::new(),
            stamp: None,
            settled: false,
            missed: 0,
        }
    }

    fn raise(&mut self, index: usize, status: JobStatus) {
        if self.statuses.len() <= index {
            self.statuses.resize(index + 1, None);
        }
        if let Some(place) = self.statuses.get_mut(index)
            && place.is_none_or(|before| status.rank() > before.rank())
        {
            *place = Some(status);
        }
    }
}

#[cfg(test)]
mod tests;
