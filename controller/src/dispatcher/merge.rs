//! One operation of Ganeti's into the rows it concerns. Pure: rows in memory, which were locked and are written by others.
//!
//! It makes no difference in which order operations come, how often, or in how many batches: the run state goes by
//! [`crate::order`], the configuration by its serial number, a job's status by its rank, and removal is final.

use chrono::{DateTime, Utc};
use serde_json::Value;
use snf_events::message::{InstanceNic, Missing, NetworkStatus, OpStatus, Operation};
use snf_events::{JobStatus, OpCode, Timestamp};

use super::rows::{Key, Rows};
use crate::db::entity::{backend_network, intent, job, server};
use crate::lifecycle::{Effect, OperState, Task, effect};
use crate::order::{Configuration, Ended, QueuePlace, RunMarks, configuration};

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the rows.
    Applied,
    /// It was there already.
    Duplicate,
    /// It is kept as a job; what it is about is none of ours, or gone.
    Unknown,
    /// It cannot be taken in: why. It is kept for an operator.
    Dead(String),
}

/// Microseconds since 1970: how moments of Ganeti's clocks are kept.
#[must_use]
pub const fn microseconds(moment: Timestamp) -> i64 {
    moment
        .seconds
        .saturating_mul(1_000_000)
        .saturating_add(moment.microseconds as i64)
}

/// The way back from [`microseconds`].
#[must_use]
pub fn timestamp(microseconds: i64) -> Timestamp {
    let rest = u32::try_from(microseconds.rem_euclid(1_000_000)).unwrap_or_default();
    (microseconds.div_euclid(1_000_000), rest).into()
}

/// An operation on an instance.
pub fn instance(rows: &mut Rows, message: &OpStatus, backend: i64, now: DateTime<Utc>) -> Outcome {
    let operation = &message.operation;
    let server = rows.server_named(backend, &message.instance);
    let (key, intent) = match note(rows, operation, backend, now, |job| {
        job.server_id = server;
    }) {
        Ok(noted) => noted,
        Err(outcome) => return outcome,
    };
    if !operation.status.is_final() {
        return if server.is_some() {
            Outcome::Applied
        } else {
            Outcome::Unknown
        };
    }
    if let Some(intent) = intent {
        settle(rows, intent, operation, now);
    }
    let Some(server) = server.and_then(|id| rows.server(id)) else {
        return Outcome::Unknown;
    };
    run_state(server, message, &key, now);
    let (id, is_gone) = (server.id, server.oper_state == OperState::Deleted.as_str());
    configure(rows, message, id, now);
    if is_gone {
        rows.release_ports_of(id, now);
    }
    Outcome::Applied
}

/// An operation on a network of ours on one cluster.
pub fn network(
    rows: &mut Rows,
    message: &NetworkStatus,
    backend: i64,
    now: DateTime<Utc>,
) -> Outcome {
    let operation = &message.operation;
    let network = rows.network_named(&message.network);
    let (_, intent) = match note(rows, operation, backend, now, |job| {
        job.network_id = network;
    }) {
        Ok(noted) => noted,
        Err(outcome) => return outcome,
    };
    if !operation.status.is_final() {
        return Outcome::Applied;
    }
    if let Some(intent) = intent {
        settle(rows, intent, operation, now);
    }
    let there = network.and_then(|network| rows.backend_network(network, backend));
    let Some(there) = there else {
        return Outcome::Unknown;
    };
    if let Some(state) = network_state(&operation.operation, operation.status) {
        there.oper_state = state.to_owned();
        there.updated_at = now;
    }
    Outcome::Applied
}

/// A hook spoke of an instance: what is true is read from Ganeti.
pub fn doubtful(rows: &mut Rows, instance: &str, backend: i64, now: DateTime<Utc>) -> Outcome {
    let server = rows.server_named(backend, instance);
    let Some(server) = server.and_then(|id| rows.server(id)) else {
        return Outcome::Unknown;
    };
    doubt(server, now);
    Outcome::Applied
}

/// So much of a server's image is deployed, percent. It has its own column and never orders anything; it does not fall.
pub fn progress(
    rows: &mut Rows,
    instance: &str,
    backend: i64,
    percent: i32,
    now: DateTime<Utc>,
) -> Outcome {
    let server = rows.server_named(backend, instance);
    let Some(server) = server.and_then(|id| rows.server(id)) else {
        return Outcome::Unknown;
    };
    if server.oper_state == OperState::Build.as_str() && percent > server.progress {
        server.progress = percent;
        server.updated_at = now;
    }
    Outcome::Applied
}

/// What an operation leaves of a network on a cluster. It is ready for servers once it is connected.
fn network_state(opcode: &OpCode, status: JobStatus) -> Option<&'static str> {
    let succeeded = status == JobStatus::Success;
    if *opcode == OpCode::NetworkConnect && succeeded {
        Some(backend_network::ACTIVE)
    } else if *opcode == OpCode::NetworkAdd && !succeeded {
        Some(backend_network::ERROR)
    } else if matches!(opcode, OpCode::NetworkAdd | OpCode::NetworkDisconnect) && succeeded {
        Some(backend_network::PENDING)
    } else if *opcode == OpCode::NetworkRemove && succeeded {
        Some(backend_network::DELETED)
    } else {
        None
    }
}

/// Keeps the natural key and the job; tells the job's key and the intent it comes from.
fn note(
    rows: &mut Rows,
    operation: &Operation,
    backend: i64,
    now: DateTime<Utc>,
    about: impl FnOnce(&mut job::Model),
) -> Result<(Key, Option<i64>), Outcome> {
    let Some(received) = operation.received_timestamp else {
        return Err(Outcome::Dead(String::from(
            "no received_timestamp: it was not sent by snf-ganeti-eventd",
        )));
    };
    let Some(key) = Key::new(backend, operation.job, received, operation.op_index) else {
        return Err(Outcome::Dead(String::from(
            "jobId or op_index is out of range",
        )));
    };
    if !rows.is_new(&key, operation.status, now) {
        return Err(Outcome::Duplicate);
    }
    let intent = rows.intent_of(backend, operation);
    let job = rows.job(&key, now);
    let rank = |status: &str| status.parse().map_or(0, JobStatus::rank);
    if job.status.is_empty() || operation.status.rank() > rank(&job.status) {
        job.opcode = operation.operation.as_str().to_owned();
        job.status = operation.status.as_str().to_owned();
        job.log = operation.logmsg.clone().or(job.log.take());
        job.ended = ended(operation);
        job.intent_id = intent.or(job.intent_id);
        job.updated_at = now;
        about(job);
    }
    Ok((key, intent))
}

/// When it ended, by Ganeti's clock; a job that was cancelled in the queue has no other moment than the message's.
fn ended(operation: &Operation) -> Option<i64> {
    let end = operation.end_timestamp.unwrap_or(operation.event_time);
    operation.status.is_final().then(|| microseconds(end))
}

/// The intent that asked for it is done, or has failed, and with it those that wait for it.
fn settle(rows: &mut Rows, id: i64, operation: &Operation, now: DateTime<Utc>) {
    let Some(intent) = rows.intent(id) else {
        return;
    };
    if intent::is_final(&intent.state) {
        return;
    }
    intent.job_id = i64::try_from(operation.job.0).ok().or(intent.job_id);
    intent.updated_at = now;
    let step = intent.clone();
    if operation.status == JobStatus::Success {
        intent.state = intent::DONE.to_owned();
        done(rows, &step, now);
    } else {
        let reason = reason(operation);
        intent.state = intent::FAILED.to_owned();
        intent.error = Some(reason.clone());
        failed(rows, &step, &reason, now);
    }
}

/// A step has succeeded.
fn done(rows: &mut Rows, step: &intent::Model, now: DateTime<Utc>) {
    let Some(server) = step.server_id.and_then(|id| rows.server(id)) else {
        return;
    };
    if !step.is_last || server.task != step.task {
        return;
    }
    server.task = None;
    server.updated_at = now;
    let Some(flavor) = step.flavor_id else {
        return;
    };
    match step.task.as_deref().and_then(|task| task.parse().ok()) {
        Some(Task::Resize) => {
            server.former_flavor_id = Some(server.flavor_id);
            server.flavor_id = flavor;
        }
        Some(Task::ResizeStopped | Task::RevertResize) => {
            server.former_flavor_id = None;
            server.flavor_id = flavor;
        }
        Some(
            Task::Build
            | Task::Start
            | Task::Stop
            | Task::RebootSoft
            | Task::RebootHard
            | Task::Connect
            | Task::Disconnect
            | Task::Firewall
            | Task::Destroy,
        )
        | None => {}
    }
}

/// A step has failed, or was refused: its task ends, the steps behind it are not taken, and the server says why.
pub fn failed(rows: &mut Rows, step: &intent::Model, reason: &str, now: DateTime<Utc>) {
    let dropped = rows.drop_after(step.id, reason, now);
    let steps = || std::iter::once(step).chain(&dropped);
    for id in steps()
        .filter_map(|step| step.server_id)
        .collect::<Vec<_>>()
    {
        let Some(server) = rows.server(id) else {
            continue;
        };
        if server.task.is_some() && steps().any(|step| step.task == server.task) {
            let is_build = server.task.as_deref() == Some(Task::Build.as_str());
            server.task = None;
            server.fault_code = Some(500);
            server.fault_message = Some(reason.to_owned());
            server.fault_at = Some(now);
            server.updated_at = now;
            // It was never asked for, or refused: there is no instance, and no event will say so.
            if is_build
                && server.oper_state == OperState::Build.as_str()
                && server.run_job.is_none()
            {
                server.oper_state = OperState::Error.as_str().to_owned();
            }
        }
    }
    for id in steps().filter_map(|step| step.port_id).collect::<Vec<_>>() {
        rows.port_failed(id, now);
    }
}

/// Ganeti's words for a failure: the last text of `[error class, [texts…]]`, or the whole result.
fn reason(operation: &Operation) -> String {
    const MOST: usize = 1000;
    let text = match &operation.result {
        Value::Array(parts) => match parts.get(1) {
            Some(Value::Array(texts)) => texts.iter().find_map(Value::as_str).map(str::to_owned),
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        },
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    let text =
        text.unwrap_or_else(|| format!("Ganeti's job {} was {}", operation.job, operation.status));
    text.chars().take(MOST).collect()
}

/// Run state and removal.
fn run_state(server: &mut server::Model, message: &OpStatus, key: &Key, now: DateTime<Utc>) {
    let operation = &message.operation;
    // What was begun has a line of log, or left a configuration behind; what was not begun ended without a beginning.
    let executed = operation.status != JobStatus::Canceled || operation.logmsg.is_some();
    let state = match effect(&operation.operation, operation.status, executed) {
        Effect::None => return,
        Effect::Removed => {
            if server.deletion == 0 {
                remove(server, now);
            }
            return;
        }
        Effect::Leaves(state) => Some(state),
        Effect::Doubtful => None,
    };
    let Some(at) = ended(operation) else {
        return;
    };
    let seen = Ended {
        place: QueuePlace {
            job: operation.job,
            op_index: operation.op_index,
        },
        at: timestamp(at),
        state,
    };
    let known = marks(server);
    let marks = known.map_or(RunMarks::first(seen), |known| known.see(seen));
    if known != Some(marks) {
        write_marks(server, &marks, key, now);
    }
    if state == Some(OperState::Started) && server.launched_at.is_none() {
        server.launched_at = Some(now);
        server.progress = 100;
    }
    if state == Some(OperState::Error) && server.fault_message.is_none() {
        server.fault_code = Some(500);
        server.fault_message = Some(reason(operation));
        server.fault_at = Some(now);
    }
}

/// The marks a server's row keeps; `None`: nothing has ended yet.
fn marks(server: &server::Model) -> Option<RunMarks<OperState>> {
    let (Some(job), Some(op_index), Some(ended)) =
        (server.run_job, server.run_op_index, server.run_ended)
    else {
        return None;
    };
    let state = server.oper_state.parse().ok();
    Some(RunMarks {
        place: QueuePlace {
            job: snf_events::JobId(u64::try_from(job).unwrap_or_default()),
            op_index: u32::try_from(op_index).unwrap_or_default(),
        },
        at: timestamp(ended),
        state: state.filter(|_| server.doubtful_at.is_none()),
    })
}

fn write_marks(
    server: &mut server::Model,
    marks: &RunMarks<OperState>,
    key: &Key,
    now: DateTime<Utc>,
) {
    server.run_job = i64::try_from(marks.place.job.0).ok().or(Some(key.job));
    server.run_op_index = i32::try_from(marks.place.op_index).ok().or(Some(0));
    server.run_ended = Some(microseconds(marks.at));
    if server.deletion != 0 {
        // Removed is removed; the marks are kept, so that what is known does not depend on when it was told.
        return;
    }
    match marks.state {
        Some(state) => {
            server.oper_state = state.as_str().to_owned();
            server.doubtful_at = None;
        }
        None => server.doubtful_at = server.doubtful_at.or(Some(now)),
    }
    server.updated_at = now;
}

pub(super) fn remove(server: &mut server::Model, now: DateTime<Utc>) {
    server.oper_state = OperState::Deleted.as_str().to_owned();
    server.task = None;
    server.doubtful_at = None;
    server.deleted_at = Some(now);
    server.deletion = server.id;
    server.updated_at = now;
}

/// Configuration: NICs and size, each if Ganeti's is later than the one we have it from. Not every message has each of them.
fn configure(rows: &mut Rows, message: &OpStatus, id: i64, now: DateTime<Utc>) {
    let Some(server) = rows.server(id) else {
        return;
    };
    let (Some(uuid), Some(serial)) = (&message.instance_uuid, message.serial_no) else {
        // Ganeti did not tell in time. Of an instance that is gone, its removal tells.
        if message.info == Some(Missing::Unavailable) && changes_configuration(message) {
            doubt(server, now);
        }
        return;
    };
    let Ok(number) = i64::try_from(serial) else {
        return;
    };
    let known = server.instance_uuid.clone();
    let judged = |ours: Option<i64>| {
        let ours = known
            .as_deref()
            .zip(ours.and_then(|ours| u64::try_from(ours).ok()));
        configuration(ours, (uuid, serial))
    };
    match judged(server.serial_no) {
        Configuration::AnotherInstance => {
            doubt(server, now);
            return;
        }
        Configuration::Newer => {
            server.instance_uuid = Some(uuid.clone());
            server.serial_no = Some(number);
        }
        Configuration::Known => {}
    }
    if let Some((vcpus, ram)) = size(message)
        && judged(server.size_serial_no) == Configuration::Newer
    {
        server.size_serial_no = Some(number);
        server.vcpus = vcpus.unwrap_or(server.vcpus);
        server.ram = ram.unwrap_or(server.ram);
        server.updated_at = now;
    }
    if let Some(nics) = &message.instance_nics
        && judged(server.nics_serial_no) == Configuration::Newer
    {
        server.nics_serial_no = Some(number);
        rows.take_nics(id, nics, now);
    }
}

/// What is true of it is to be read from Ganeti.
fn doubt(server: &mut server::Model, now: DateTime<Utc>) {
    if server.deletion == 0 {
        server.doubtful_at = server.doubtful_at.or(Some(now));
    }
}

/// Whether an operation leaves another configuration than it found.
fn changes_configuration(message: &OpStatus) -> bool {
    matches!(
        message.operation.operation,
        OpCode::InstanceCreate | OpCode::InstanceSetParams | OpCode::InstanceGrowDisk
    ) && message.operation.status == JobStatus::Success
}

/// `vcpus` and `maxmem` of a size that was set.
fn size(message: &OpStatus) -> Option<(Option<i32>, Option<i32>)> {
    let succeeded = message.operation.status == JobStatus::Success;
    let is_change = message.operation.operation == OpCode::InstanceSetParams;
    let beparams = message
        .job_fields
        .get("beparams")
        .filter(|_| succeeded && is_change)?;
    let number = |key: &str| {
        let value = beparams.get(key)?;
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
        i32::try_from(number).ok().filter(|number| *number > 0)
    };
    Some((number("vcpus"), number("maxmem")))
}

/// A NIC's firewall profile, by the word of its tag.
#[must_use]
pub fn profile(nic: &InstanceNic) -> Option<&'static str> {
    match nic.firewall.as_deref()? {
        "protected" => Some("ENABLED"),
        "limited" => Some("PROTECTED"),
        "unprotected" => Some("DISABLED"),
        _ => None,
    }
}
