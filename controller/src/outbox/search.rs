//! Looking for an intent's jobs by their reason, among all that are above a number, archived ones too.

use snf_events::JobId;

use crate::rapi::{Job, Rapi, RapiError};

/// Jobs that are looked at in one go.
const STRIDE: u64 = 100;
/// Numbers without a job after which there are no more.
const EDGE: u64 = 3;

/// A search that may be long, in pieces.
#[derive(Debug)]
pub(super) struct Search {
    next: u64,
    /// The highest that is listed; archived ones may be above.
    listed: Option<u64>,
    missing: u64,
    /// What was found, in order.
    pub(super) found: Vec<Job>,
}

impl Search {
    pub(super) const fn above(highest: JobId) -> Self {
        Self {
            next: highest.0.saturating_add(1),
            listed: None,
            missing: 0,
            found: Vec::new(),
        }
    }

    /// Looks at the next jobs; true: at all.
    pub(super) async fn go_on(&mut self, rapi: &Rapi, reason: &str) -> Result<bool, RapiError> {
        let listed = match self.listed {
            Some(listed) => listed,
            None => {
                let jobs = rapi.jobs().await?;
                let highest = jobs.into_iter().max().map_or(0, |job| job.0);
                *self.listed.insert(highest)
            }
        };
        for _ in 0..STRIDE {
            if self.next > listed && self.missing >= EDGE {
                return Ok(true);
            }
            match rapi.job(JobId(self.next)).await? {
                Some(job) if job.has_reason(reason) => {
                    self.missing = 0;
                    self.found.push(job);
                }
                Some(_) => self.missing = 0,
                None if self.next > listed => self.missing += 1,
                None => {}
            }
            self.next += 1;
        }
        Ok(false)
    }
}
