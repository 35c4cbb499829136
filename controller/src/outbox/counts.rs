//! What became of intents, counted.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// See the module.
#[derive(Debug, Default)]
pub struct Counts {
    /// Submitted.
    pub submitted: Counter,
    /// Found after an uncertain submission.
    pub found: Counter,
    /// Refused for good.
    pub refused: Counter,
    /// Put off, as a cluster took no jobs.
    pub put_off: Counter,
    /// Submitted without an answer that tells whether there is a job.
    pub uncertain: Counter,
    /// Held too long: another worker has it.
    pub lost: Counter,
    /// Second jobs of an intent.
    pub duplicates: Counter,
}

impl Counts {
    /// Puts them among the figures.
    pub fn register(&self, registry: &mut Registry) {
        let all = [
            ("submitted", "Intents submitted", &self.submitted),
            (
                "found",
                "Jobs found again after an uncertain submission",
                &self.found,
            ),
            ("refused", "Intents that Ganeti refused", &self.refused),
            (
                "put_off",
                "Submissions put off as a cluster took no jobs",
                &self.put_off,
            ),
            (
                "uncertain",
                "Submissions without a usable answer",
                &self.uncertain,
            ),
            ("lost", "Intents that were held too long", &self.lost),
            ("duplicates", "Second jobs of an intent", &self.duplicates),
        ];
        for (name, help, counter) in all {
            registry.register(format!("outbox_{name}"), help, counter.clone());
        }
    }
}
