//! A synthetic job queue: files written as Ganeti writes them, and a record of what was in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::namespace::Namespace;

/// Ganeti's data directory, as the programs under test see it.
pub const GANETI: &str = "/var/lib/ganeti";
/// The cluster's name.
pub const CLUSTER: &str = "cluster.gnt.test";
/// The node the programs under test run on.
pub const NODE: &str = "node1.gnt.test";

/// The queue of one node.
#[derive(Debug)]
pub struct JobQueue {
    directory: PathBuf,
    ganeti: PathBuf,
    written: u64,
    /// The last state of each operation that was written: job, index, opcode, subject, status.
    record: BTreeMap<(u64, usize), Recorded>,
}

/// A job's file that is written and not in its place yet.
#[derive(Debug)]
pub struct Aside {
    temporary: PathBuf,
    place: PathBuf,
}

impl Aside {
    /// Renames it onto `job-N`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn put(self) -> Result<()> {
        Ok(fs::rename(self.temporary, self.place)?)
    }
}

/// What a job file said of an operation at last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its opcode.
    pub opcode: String,
    /// Instance or network it is on.
    pub on: String,
    /// How far it is.
    pub status: String,
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Op {
    input: Map<String, Value>,
    status: String,
    result: Value,
    log: Vec<String>,
}

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// When it was received, seconds since 1970.
    pub received: i64,
    /// Its operations.
    pub ops: Vec<Op>,
}

impl Op {
    /// An operation that is queued; `input` is an object.
    #[must_use]
    pub fn new(opcode: &str, input: &Value) -> Self {
        let mut input = input.as_object().cloned().unwrap_or_default();
        input.insert(String::from("OP_ID"), opcode.into());
        Self {
            input,
            status: String::from("queued"),
            result: Value::Null,
            log: Vec::new(),
        }
    }

    /// An operation on an instance.
    #[must_use]
    pub fn on(instance: &str, opcode: &str) -> Self {
        Self::new(opcode, &json!({ "instance_name": instance }))
    }

    /// With another status.
    #[must_use]
    pub fn at(mut self, status: &str) -> Self {
        status.clone_into(&mut self.status);
        self
    }

    /// With a result.
    #[must_use]
    pub fn with_result(mut self, result: Value) -> Self {
        self.result = result;
        self
    }

    /// With one more line in its log.
    #[must_use]
    pub fn log(mut self, line: &str) -> Self {
        self.log.push(line.to_owned());
        self
    }

    fn subject(&self) -> String {
        let text = |key: &str| self.input.get(key)?.as_str().map(str::to_owned);
        text("instance_name")
            .or_else(|| text("network_name"))
            .or_else(|| text("name"))
            .unwrap_or_default()
    }

    fn json(&self, received: i64) -> Value {
        let time = |rank: i64, reached: bool| match reached {
            true => json!([received + rank, 250_000 + rank]),
            false => Value::Null,
        };
        let rank = match self.status.as_str() {
            "queued" => 0,
            "waiting" | "canceling" => 1,
            "running" => 2,
            _ => 3,
        };
        let log: Vec<Value> = (1..)
            .zip(&self.log)
            .map(|(serial, line)| json!([serial, [received + 1, serial], "message", line]))
            .collect();
        json!({
            "input": self.input, "status": self.status, "result": self.result, "log": log, "priority": 0,
            "start_timestamp": time(1, rank >= 1), "exec_timestamp": time(2, rank >= 2), "end_timestamp": time(3, rank == 3),
        })
    }
}

impl Job {
    /// A job of one operation.
    #[must_use]
    pub fn of(id: u64, op: Op) -> Self {
        Self {
            id,
            received: 1_795_000_000 + i64::try_from(id).unwrap_or(0),
            ops: vec![op],
        }
    }

    /// With all operations at another status.
    #[must_use]
    pub fn at(mut self, status: &str) -> Self {
        self.ops = self.ops.into_iter().map(|op| op.at(status)).collect();
        self
    }

    /// The file's content.
    #[must_use]
    pub fn text(&self) -> String {
        let ops: Vec<Value> = self.ops.iter().map(|op| op.json(self.received)).collect();
        let is_final = |op: &Op| matches!(op.status.as_str(), "success" | "error" | "canceled");
        let end = self
            .ops
            .iter()
            .all(is_final)
            .then(|| json!([self.received + 3, 0]));
        json!({
            "id": self.id, "ops": ops, "received_timestamp": [self.received, 72_006], "start_timestamp": null,
            "end_timestamp": end, "livelock": "/var/run/ganeti/livelocks/job", "process_id": 1,
        })
        .to_string()
    }
}

impl JobQueue {
    /// An empty queue in the namespace, whose node is the master.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn new(namespace: &Namespace) -> Result<Self> {
        let ganeti = namespace.path(GANETI);
        let queue = Self {
            directory: ganeti.join("queue"),
            ganeti,
            written: 0,
            record: BTreeMap::new(),
        };
        fs::create_dir_all(queue.directory.join("archive")).context("make the queue directory")?;
        queue.ssconf("cluster_name", CLUSTER)?;
        queue.ssconf("node_list", "node1.gnt.test\nnode2.gnt.test")?;
        queue.set_master(NODE)?;
        Ok(queue)
    }

    /// Names the master.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_master(&self, node: &str) -> Result<()> {
        self.ssconf("master_node", node)
    }

    fn ssconf(&self, name: &str, text: &str) -> Result<()> {
        let new = self.ganeti.join("ssconf.new");
        fs::write(&new, format!("{text}\n"))?;
        fs::rename(new, self.ganeti.join(format!("ssconf_{name}")))?;
        Ok(())
    }

    /// Where the queue is, from outside the namespace.
    #[must_use]
    pub fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// Writes a job's file as its process does: a temporary file, renamed onto `job-N`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, job: &Job) -> Result<()> {
        for (index, op) in job.ops.iter().enumerate() {
            let recorded = Recorded {
                opcode: op
                    .input
                    .get("OP_ID")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                on: op.subject(),
                status: op.status.clone(),
            };
            self.record.insert((job.id, index), recorded);
        }
        self.write_bytes(job.id, job.text().as_bytes())
    }

    /// Writes any bytes as a job's file, and records nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_bytes(&mut self, id: u64, bytes: &[u8]) -> Result<()> {
        self.lay_aside(id, bytes)?.put()
    }

    /// Writes a job's temporary file only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn lay_aside(&mut self, id: u64, bytes: &[u8]) -> Result<Aside> {
        self.written += 1;
        let temporary = self
            .directory
            .join(format!("job-{id}x{:07}.new", self.written));
        fs::write(&temporary, bytes)?;
        Ok(Aside {
            temporary,
            place: self.directory.join(format!("job-{id}")),
        })
    }

    /// Moves a job's file into the archive.
    ///
    /// # Errors
    /// When it is not there.
    pub fn archive(&self, id: u64) -> Result<()> {
        let shelf = self
            .directory
            .join("archive")
            .join((id / 10_000).to_string());
        fs::create_dir_all(&shelf)?;
        let name = format!("job-{id}");
        fs::rename(self.directory.join(&name), shelf.join(&name))
            .with_context(|| format!("archive {name}"))
    }

    /// The last state of each operation on something whose name begins with `prefix`: job, index, status.
    #[must_use]
    pub fn ends(&self, prefix: &str) -> BTreeSet<(u64, u64, String)> {
        let ours = self
            .record
            .iter()
            .filter(|(_, recorded)| recorded.on.starts_with(prefix));
        ours.map(|((job, index), recorded)| (*job, *index as u64, recorded.status.clone()))
            .collect()
    }
}
