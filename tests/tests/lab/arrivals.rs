//! What arrived at the broker, held against Ganeti's own record.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use snf_events::JobStatus;
use system_tests::broker::Delivered;
use system_tests::lab::layout::{PREFIX, PUBLISHER};
use system_tests::lab::record::Operation;
use system_tests::lab::{COMMAND, Lab};
use system_tests::wait;

/// Where what comes of jobs arrives.
const QUEUES: [&str; 3] = ["snf-events-op", "snf-events-network", "snf-events-cluster"];

/// Job, operation and status.
pub(crate) type State = (u64, u64, String);

/// The state that a record of ours ended in.
fn ends(record: &[Operation]) -> BTreeSet<State> {
    let ours = record.iter().filter(|one| one.is_ours() && one.is_final());
    ours.map(|one| (one.job, one.index, one.status.clone()))
        .collect()
}

/// The state that a message is about.
pub(crate) fn state(body: &Value) -> State {
    let number = |key: &str| body.get(key).and_then(Value::as_u64).unwrap_or(u64::MAX);
    let status = body.get("status").and_then(Value::as_str);
    let status = status.unwrap_or_default().to_owned();
    (number("jobId"), number("op_index"), status)
}

/// All that came, in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub(crate) messages: Vec<Delivered>,
}

impl Arrivals {
    fn take(&mut self, lab: &Lab) -> Result<()> {
        for queue in QUEUES {
            self.messages.extend(lab.take(queue)?);
        }
        Ok(())
    }

    /// Waits until all jobs have ended and their last states have come, and holds every message against Ganeti's record.
    /// Returns that record.
    pub(crate) fn equal(&mut self, lab: &Lab) -> Result<Vec<Operation>> {
        let record = lab.ended()?;
        let mut missing = ends(&record);
        let all = wait::until("all last states of ours arrive", COMMAND, || {
            self.take(lab)?;
            for message in &self.messages {
                missing.remove(&state(&message.body));
            }
            Ok(missing.is_empty())
        });
        all.with_context(|| format!("missing: {missing:?}\n{}", logs(lab)))?;
        let uuid = lab.uuid()?;
        let mut ranks = BTreeMap::new();
        for message in &self.messages {
            as_recorded(message, &record, &uuid)
                .and_then(|()| risen(&message.body, &mut ranks))
                .with_context(|| format!("{} {}", message.key, message.body))?;
        }
        Ok(record)
    }

    /// How many of a record's last states have come at all.
    pub(crate) fn count(record: &[Operation]) -> usize {
        ends(record).len()
    }

    /// The epochs of the messages, in the order of their first.
    pub(crate) fn epochs(&self) -> Vec<String> {
        let mut epochs: Vec<String> = Vec::new();
        for message in &self.messages {
            let epoch = message.body.get("epoch").and_then(Value::as_str);
            let epoch = epoch.unwrap_or_default();
            if !epochs.iter().any(|known| known == epoch) {
                epochs.push(epoch.to_owned());
            }
        }
        epochs
    }
}

/// The master's journal has the last state of every operation that Ganeti's record has.
pub(crate) fn journal_equals(lab: &Lab, record: &[Operation]) -> Result<()> {
    let (_, records) = lab.master()?.journal()?;
    let messages = records.iter().filter_map(|record| record.get("message"));
    let journaled: BTreeSet<State> = messages.map(state).filter(is_final).collect();
    let recorded = ends(record);
    let missing: Vec<_> = recorded.difference(&journaled).collect();
    let more: Vec<_> = journaled.difference(&recorded).collect();
    ensure!(
        missing.is_empty() && more.is_empty(),
        "not in the journal: {missing:?}; only there: {more:?}"
    );
    Ok(())
}

fn is_final((_, _, status): &State) -> bool {
    matches!(status.as_str(), "success" | "error" | "canceled")
}

/// What a message says is what Ganeti's record says, and it is about something of ours.
fn as_recorded(message: &Delivered, record: &[Operation], uuid: &str) -> Result<()> {
    let of = |key: &str| message.body.get(key).cloned().unwrap_or_default();
    let (job, index, status) = state(&message.body);
    let recorded = record
        .iter()
        .find(|one| (one.job, one.index) == (job, index));
    let recorded = recorded.context("Ganeti has no such operation")?;
    ensure!(recorded.is_ours(), "not ours: {recorded:?}");
    let on = message.body.get("instance").or(message.body.get("network"));
    let on = on.and_then(Value::as_str).map(str::to_owned);
    ensure!(on == recorded.on, "it is on {:?}", recorded.on);
    ensure!(on.is_none_or(|on| on.starts_with(PREFIX)), "not ours");
    ensure!(of("operation") == recorded.opcode, "{}", recorded.opcode);
    ensure!(of("cluster_uuid") == uuid, "the cluster is {uuid}");
    ensure!(
        of("received_timestamp") == recorded.received,
        "received at {}",
        recorded.received
    );
    let user = message
        .properties
        .user_id()
        .as_ref()
        .map(ToString::to_string);
    ensure!(user.as_deref() == Some(PUBLISHER), "from {user:?}");
    let key = natural_key(recorded, uuid, &status);
    let id = message.properties.message_id().as_ref();
    ensure!(id.is_some_and(|id| id.as_str() == key), "not {key}: {id:?}");
    if is_final(&state(&message.body)) {
        ensure!(status == recorded.status, "it ended as {}", recorded.status);
        ensure!(of("end_timestamp") == recorded.end, "at {}", recorded.end);
        ensure!(of("result") == recorded.result, "with {}", recorded.result);
    }
    Ok(())
}

fn natural_key(recorded: &Operation, uuid: &str, status: &str) -> String {
    let part = |index: usize| {
        let part = recorded.received.get(index).and_then(Value::as_u64);
        part.unwrap_or_default()
    };
    let (job, index) = (recorded.job, recorded.index);
    format!("{uuid}/{job}/{}.{:06}/{index}/{status}", part(0), part(1))
}

/// The status of an operation does not fall from message to message.
fn risen(body: &Value, ranks: &mut BTreeMap<(u64, u64), u8>) -> Result<()> {
    let (job, index, status) = state(body);
    let rank = status.parse::<JobStatus>()?.rank();
    let before = ranks.insert((job, index), rank).unwrap_or(0);
    ensure!(rank >= before, "it fell");
    Ok(())
}

/// What the nodes' eventds said.
pub(crate) fn logs(lab: &Lab) -> String {
    let log = |node: &system_tests::lab::Place| {
        let said = node.run("tail", &["-n30", "/var/log/snf-ganeti-eventd.log"]);
        format!("{}:\n{}", node.name(), said.unwrap_or_default())
    };
    lab.nodes().iter().map(log).collect()
}
