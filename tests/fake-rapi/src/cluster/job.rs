//! A job of one operation, and how Ganeti shows it.

use serde_json::{Map, Value, json};
use snf_events::JobStatus;

/// A moment of the cluster's clock: seconds and microseconds.
pub type Moment = (i64, u32);

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// Its operation's parameters, with `OP_ID`.
    pub input: Map<String, Value>,
    /// How far it is.
    pub status: JobStatus,
    /// What came of it.
    pub result: Value,
    /// Lines of its log.
    pub log: Vec<(Moment, String)>,
    /// When it was received.
    pub received: Moment,
    /// When it left the queue.
    pub started: Option<Moment>,
    /// When it got its locks.
    pub executed: Option<Moment>,
    /// When it ended.
    pub ended: Option<Moment>,
    /// Whether it is in the archive: not listed any more, but still told by its number.
    pub is_archived: bool,
}

impl Job {
    /// Its operation's code.
    #[must_use]
    pub fn opcode(&self) -> &str {
        self.input
            .get("OP_ID")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// What it locks: an instance or a network.
    #[must_use]
    pub fn lock(&self) -> Option<String> {
        let text = |key: &str| self.input.get(key).and_then(Value::as_str);
        let kind = if self.opcode().starts_with("OP_NETWORK") {
            "network"
        } else {
            "instance"
        };
        let name = text("instance_name")
            .or_else(|| text("network_name"))
            .or_else(|| text("name"))?;
        Some(format!("{kind} {name}"))
    }

    /// The reason its submitter gave.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let trail = self.input.get("reason")?.as_array()?;
        trail.iter().find_map(|entry| {
            let is_users = entry.get(0)?.as_str()? == "gnt:user";
            is_users.then(|| entry.get(1)?.as_str()).flatten()
        })
    }

    /// What it waits for: job and the ends it may have.
    #[must_use]
    pub fn depends(&self) -> Vec<(u64, Vec<String>)> {
        let list = self.input.get("depends").and_then(Value::as_array);
        let entry = |entry: &Value| {
            let ends = entry.get(1)?.as_array()?.iter();
            let ends = ends.filter_map(|end| end.as_str().map(str::to_owned));
            Some((entry.get(0)?.as_u64()?, ends.collect()))
        };
        list.into_iter().flatten().filter_map(entry).collect()
    }

    fn summary(&self) -> String {
        let code = self.opcode().trim_start_matches("OP_");
        let name = self.lock();
        let name = name.as_deref().and_then(|lock| lock.split(' ').nth(1));
        match name {
            Some(name) => format!("{code}({name})"),
            None => code.to_owned(),
        }
    }

    fn log_value(&self) -> Value {
        let lines = (1..).zip(&self.log);
        let lines =
            lines.map(|(serial, (at, line)): (u64, _)| json!([serial, at, "message", line]));
        Value::Array(lines.collect())
    }

    /// As `GET /2/jobs/N` shows it.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "ops": [self.input],
            "status": self.status,
            "summary": [self.summary()],
            "opstatus": [self.status],
            "opresult": [self.result],
            "oplog": [self.log_value()],
            "received_ts": self.received,
            "start_ts": self.started,
            "end_ts": self.ended,
        })
    }

    /// As its file has it.
    #[must_use]
    pub fn file(&self) -> Value {
        json!({
            "id": self.id,
            "ops": [{
                "input": self.input,
                "status": self.status,
                "result": self.result,
                "log": self.log_value(),
                "priority": 0,
                "start_timestamp": self.started,
                "exec_timestamp": self.executed,
                "end_timestamp": self.ended,
            }],
            "received_timestamp": self.received,
            "start_timestamp": self.started,
            "end_timestamp": self.ended,
            "livelock": self.started.map(|(at, _)| format!("/var/run/ganeti/livelocks/job_{:06}_{at}", self.id)),
            "process_id": self.started.map(|_| 1),
        })
    }
}
