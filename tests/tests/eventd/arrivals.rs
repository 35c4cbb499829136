//! What arrived at the broker, compared with what was in the queue.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use snf_events::JobStatus;
use system_tests::broker::{Broker, Delivered};
use system_tests::job_queue::JobQueue;
use system_tests::wait;

/// A broker's address, for guest.
pub(crate) const URI: &str = "amqp://guest:guest@127.0.0.1:5672";

/// Job, operation and status.
pub(crate) type State = (u64, u64, String);

/// The state a message is about.
pub(crate) fn state(message: &Delivered) -> State {
    let number = |key: &str| message.body.get(key).and_then(Value::as_u64);
    let status = message.body.get("status").and_then(Value::as_str);
    (
        number("jobId").unwrap_or(u64::MAX),
        number("op_index").unwrap_or(0),
        status.unwrap_or_default().to_owned(),
    )
}

/// All that came out of a queue.
#[derive(Debug)]
pub(crate) struct Arrivals {
    queue: String,
    /// In the order of arrival.
    pub(crate) messages: Vec<Delivered>,
}

impl Arrivals {
    pub(crate) fn of(queue: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            messages: Vec::new(),
        }
    }

    /// Takes what is there.
    pub(crate) fn take(&mut self, broker: &Broker) -> Result<()> {
        self.messages.extend(broker.take(&self.queue)?);
        Ok(())
    }

    /// Takes until everything of `expected` has come.
    pub(crate) fn until(&mut self, broker: &Broker, expected: &BTreeSet<State>) -> Result<()> {
        let fact = format!("{} states in {}", expected.len(), self.queue);
        let waited = wait::until(&fact, wait::SOON * 2, || {
            self.take(broker)?;
            Ok(self.missing(expected).is_empty())
        });
        waited.with_context(|| format!("missing: {:?}", self.missing(expected)))
    }

    fn missing(&self, expected: &BTreeSet<State>) -> BTreeSet<State> {
        let come: BTreeSet<State> = self.messages.iter().map(state).collect();
        expected.difference(&come).cloned().collect()
    }

    /// Takes until the last state of every operation of ours has come, and sees that nothing else did: nothing of
    /// others, no state that falls, no two messages of one number that differ.
    pub(crate) fn equal(&mut self, broker: &Broker, queue: &JobQueue, prefix: &str) -> Result<()> {
        self.until(broker, &queue.ends(prefix))?;
        let mut highest: BTreeMap<(u64, u64), u8> = BTreeMap::new();
        let mut numbers: BTreeMap<(String, u64), State> = BTreeMap::new();
        for message in &self.messages {
            let (job, index, status) = state(message);
            let of = message.body.get("instance").or(message.body.get("network"));
            let of = of.and_then(Value::as_str).unwrap_or(prefix);
            ensure!(of.starts_with(prefix), "not ours: {}", message.body);
            let rank = status.parse::<JobStatus>()?.rank();
            let before = highest.insert((job, index), rank).unwrap_or(0);
            ensure!(
                rank >= before,
                "job {job} operation {index} fell to {status}"
            );
            let epoch = message.body.get("epoch").and_then(Value::as_str);
            let sequence = message.body.get("sequence").and_then(Value::as_u64);
            let (Some(epoch), Some(sequence)) = (epoch, sequence) else {
                anyhow::bail!("without a number: {}", message.body);
            };
            let this = (job, index, status);
            let other = numbers.insert((epoch.to_owned(), sequence), this.clone());
            ensure!(
                other.is_none_or(|other| other == this),
                "number {sequence} of {epoch} was given twice"
            );
        }
        Ok(())
    }
}
