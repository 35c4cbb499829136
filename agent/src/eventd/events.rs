//! What a job's operations mean to the control plane.
//!
//! Pure. Every operation of a job counts, by the subject of its opcode: an instance, a network, the cluster's
//! parameters, tags of an instance. What belongs to no deployment of ours is foreign. Secrets do not leave: parameters
//! of operating systems (`osparams…`) are never taken over.

use serde_json::{Map, Value, json};
use snf_events::message::{ClusterStatus, NetworkStatus, OpStatus, Operation};
use snf_events::routing::Kind;
use snf_events::{JobStatus, Message, OpCode, Prefix, RoutingKey, Subject, Timestamp};

use super::job_file::{self, Job};

/// Largest part of a job that is taken over whole, as JSON, in bytes: results of queries can be of any size.
const PART_MAX: usize = 64 << 10;

/// What is said, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Whose it is.
    pub prefix: Prefix,
    /// What it is published with.
    pub key: RoutingKey,
    /// Which of the job's operations it is about.
    pub op_index: u32,
    /// How far that is.
    pub status: JobStatus,
    /// The body, but for what only the publisher knows.
    pub message: Message,
}

/// All that is to be said of some operations of a job.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// The events, in the operations' order.
    pub events: Vec<Event>,
    /// How many operations were on others' instances and networks.
    pub foreign: u64,
    /// True when a job asks for a heartbeat, as the original's status check does.
    pub heartbeat: bool,
}

/// Whose and where: what a job file does not say.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// The deployments.
    pub prefixes: &'a [Prefix],
    /// When the file was written, for jobs without any time.
    pub written: Timestamp,
}

/// The events of the operations `which` of a job.
#[must_use]
pub fn from_job(job: &Job, which: &[usize], context: Context<'_>) -> Found {
    let mut found = Found::default();
    for index in which {
        if let (Some(op), Ok(number)) = (job.ops.get(*index), u32::try_from(*index)) {
            let op = Subjected {
                job,
                op,
                index: number,
                context,
            };
            op.add_to(&mut found);
        }
    }
    found
}

struct Subjected<'a> {
    job: &'a Job,
    op: &'a job_file::Operation,
    index: u32,
    context: Context<'a>,
}

impl Subjected<'_> {
    fn add_to(&self, found: &mut Found) {
        let code = self.op.code();
        match code.subject() {
            Subject::Instance => {
                if let Some(name) = self.instance() {
                    self.about(found, Kind::Op, name, || self.op_status(name));
                }
            }
            Subject::Network => {
                if let Some(name) = self.op.text("network_name") {
                    self.about(found, Kind::Network, name, || self.network_status(name));
                }
            }
            Subject::Cluster if code == OpCode::ClusterSetParams => {
                // Everybody's: a number in each deployment's stream.
                for prefix in self.context.prefixes {
                    let operation = self.operation();
                    let message = Message::Cluster(ClusterStatus { operation });
                    found
                        .events
                        .push(self.event(prefix, Kind::Cluster, message));
                }
            }
            Subject::Tags => match self.op.text("kind") {
                Some("instance") if self.op.status.is_final() => {
                    if let Some(name) = self.op.text("name") {
                        self.about(found, Kind::Op, name, || self.op_status(name));
                    }
                }
                Some("cluster") => found.heartbeat |= self.asks_for_heartbeat(&code),
                _ => {}
            },
            Subject::Cluster | Subject::Other => {}
        }
    }

    fn about(&self, found: &mut Found, kind: Kind, name: &str, message: impl FnOnce() -> Message) {
        match self.context.prefixes.iter().find(|p| p.owns(name)) {
            Some(prefix) => found.events.push(self.event(prefix, kind, message())),
            None => found.foreign += 1,
        }
    }

    fn event(&self, prefix: &Prefix, kind: Kind, message: Message) -> Event {
        Event {
            prefix: prefix.clone(),
            key: kind.key(prefix),
            op_index: self.index,
            status: self.op.status,
            message,
        }
    }

    /// `instance_name`, or the only one of `instances`.
    fn instance(&self) -> Option<&str> {
        self.op.text("instance_name").or_else(|| {
            match self.op.input.get("instances")?.as_array()?.as_slice() {
                [Value::String(only)] if !only.is_empty() => Some(only.as_str()),
                _ => None,
            }
        })
    }

    fn asks_for_heartbeat(&self, code: &OpCode) -> bool {
        let first = self
            .op
            .input
            .get("tags")
            .and_then(|tags| tags.get(0)?.as_str());
        *code == OpCode::TagsSet
            && self.op.status == JobStatus::Waiting
            && self.op.input.get("dry_run") == Some(&Value::Bool(true))
            && first.is_some_and(|tag| tag.starts_with("snf:eventd:heartbeat"))
    }

    fn op_status(&self, instance: &str) -> Message {
        let mut operation = self.operation();
        let mut job_fields = self.job_fields();
        if !fits(&job_fields) {
            job_fields = json!({});
            operation.truncated.push(String::from("job_fields"));
        }
        Message::Op(OpStatus {
            instance: instance.to_owned(),
            operation,
            job_fields,
            tags: self.tags(),
            instance_nics: None,
            instance_disks: None,
            instance_hvparams: None,
            instance_uuid: self.op.text("instance_uuid").map(str::to_owned),
            serial_no: None,
            info: None,
        })
    }

    fn network_status(&self, network: &str) -> Message {
        let part = |parameter: &str| self.op.input.get(parameter).cloned();
        Message::Network(NetworkStatus {
            network: network.to_owned(),
            operation: self.operation(),
            job_fields: json!({
                "subnet": part("network"),
                "gateway": part("gateway"),
                "add_reserved_ips": part("add_reserved_ips"),
                "remove_reserved_ips": part("remove_reserved_ips"),
                "group_name": part("group_name"),
            }),
        })
    }

    fn operation(&self) -> Operation {
        let mut truncated = Vec::new();
        let mut result = self.op.result.clone();
        if !fits(&result) {
            result = Value::Null;
            truncated.push(String::from("result"));
        }
        let end = self.op.end.or(self.job.end);
        Operation {
            operation: self.op.code(),
            status: self.op.status,
            job: self.job.id,
            event_time: self.event_time(),
            logmsg: self.op.last_line.as_deref().map(bounded),
            cluster: self.context.cluster.to_owned(),
            result,
            cluster_uuid: None,
            received_timestamp: Some(self.job.received),
            op_index: self.index,
            end_timestamp: end.filter(|_| self.op.status.is_final()),
            reason: self.op.users_reason().map(bounded),
            truncated,
            place: None,
        }
    }

    /// When the operation came so far. A job canceled while queued has an end, and its operations have none.
    fn event_time(&self) -> Timestamp {
        let own = match self.op.status {
            JobStatus::Queued => Some(self.job.received).filter(|at| *at != Timestamp::default()),
            JobStatus::Waiting | JobStatus::Canceling => self.op.start,
            JobStatus::Running => self.op.exec,
            JobStatus::Canceled | JobStatus::Success | JobStatus::Error => self.op.end,
        };
        own.or(self.job.end).unwrap_or(self.context.written)
    }

    fn tags(&self) -> Vec<String> {
        let given = self.op.input.get("tags").and_then(Value::as_array);
        let texts = given.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    fn job_fields(&self) -> Value {
        let input = &self.op.input;
        let code = self.op.code();
        let creates = code == OpCode::InstanceCreate;
        if creates && self.op.status == JobStatus::Error {
            Value::Object(without_secrets(input))
        } else if creates || code == OpCode::InstanceSetParams {
            json!({
                "nics": input.get("nics"),
                "disks": input.get("disks"),
                "hvparams": input.get("hvparams"),
                "beparams": input.get("beparams"),
            })
        } else if code == OpCode::InstanceSnapshot {
            json!({ "disks": self.snapshots() })
        } else if code.subject() == Subject::Tags {
            json!({ "dry_run": input.get("dry_run") })
        } else {
            json!({})
        }
    }

    /// The disks asked for; the submitter's reason, JSON in a text, goes with the first.
    fn snapshots(&self) -> Value {
        let mut disks = self.op.input.get("disks").cloned().unwrap_or_default();
        if let (Some(info), Some(Value::Object(first))) = (
            self.op.users_reason(),
            disks.get_mut(0).and_then(|disk| disk.get_mut(1)),
        ) {
            first.insert(String::from("snapshot_info"), Value::from(info));
        }
        disks
    }
}

/// The input of a failed creation, for whoever wants to send it again.
fn without_secrets(input: &Map<String, Value>) -> Map<String, Value> {
    let kept = input
        .iter()
        .filter(|(parameter, _)| !parameter.starts_with("osparams"));
    kept.map(|(parameter, value)| (parameter.clone(), value.clone()))
        .collect()
}

/// Whether a part is small enough to be taken over.
fn fits(part: &Value) -> bool {
    struct Room(usize);

    impl std::io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(std::io::ErrorKind::OutOfMemory)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    match part {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(_) | Value::Array(_) | Value::Object(_) => {
            serde_json::to_writer(Room(PART_MAX), part).is_ok()
        }
    }
}

/// A line of text, cut where it is too long.
fn bounded(text: &str) -> String {
    text.chars().take(PART_MAX / 4).collect()
}

#[cfg(test)]
mod tests;
