//! Ganeti's own record of what it did: the job files of the master, live and archived, read anew by this and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Lab, Place, layout};
use crate::{eventd, wait};

/// Where the jobs are.
const QUEUE: &str = "/var/lib/ganeti/queue";

/// An operation of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// The job's number.
    pub job: u64,
    /// Which of its operations.
    pub index: u64,
    /// What it does: `OP_INSTANCE_CREATE`.
    pub opcode: String,
    /// How far it is.
    pub status: String,
    /// The instance or network it is on.
    pub on: Option<String>,
    /// When Ganeti received the job.
    pub received: Value,
    /// When the operation ended, or its job where Ganeti wrote no end of the operation's own.
    pub end: Value,
    /// What came of it.
    pub result: Value,
}

impl Operation {
    /// Whether it has ended.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.status.as_str(), "success" | "error" | "canceled")
    }

    /// Whether it is on an instance or network of ours, or on the cluster's parameters.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match &self.on {
            Some(on) => on.starts_with(layout::PREFIX),
            None => self.opcode == "OP_CLUSTER_SET_PARAMS",
        }
    }
}

impl Lab {
    /// All operations of all jobs, in their order.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub fn record(&self) -> Result<Vec<Operation>> {
        let queue = self.master()?.path(QUEUE);
        let mut folders = vec![queue.clone()];
        for shelf in fs::read_dir(queue.join("archive")).context("list the archive")? {
            folders.push(shelf?.path());
        }
        let mut files: Vec<(u64, PathBuf)> = Vec::new();
        for folder in folders {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                files.extend(number(&path).map(|number| (number, path)));
            }
        }
        files.sort();
        let mut operations = Vec::new();
        for (job, path) in files {
            // Another may have been archived meanwhile.
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let text: Value = serde_json::from_str(&text).context("a job file is JSON")?;
            operations.extend(of_job(job, &text));
        }
        Ok(operations)
    }

    /// The record, once all jobs have ended.
    ///
    /// # Errors
    /// When one does not end.
    pub fn ended(&self) -> Result<Vec<Operation>> {
        wait::for_fact("all jobs have ended", super::COMMAND, || {
            // A file may be on its way into the archive.
            let record = self.record().unwrap_or_default();
            let ended = !record.is_empty() && record.iter().all(Operation::is_final);
            Ok(ended.then_some(record))
        })
    }

    /// The cluster's UUID.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn uuid(&self) -> Result<String> {
        let path = self.master()?.path("/var/lib/ganeti/config.data");
        let text: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        let uuid = text.pointer("/cluster/uuid").and_then(Value::as_str);
        uuid.map(str::to_owned).context("a cluster has a UUID")
    }
}

/// The number in a job file's name.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?
        .to_str()?
        .strip_prefix("job-")?
        .parse()
        .ok()
}

fn of_job(job: u64, text: &Value) -> Vec<Operation> {
    let of = |value: &Value, key: &str| value.get(key).cloned().unwrap_or_default();
    let operations = text.get("ops").and_then(Value::as_array);
    let operations = operations.into_iter().flatten().zip(0..);
    let read = operations.map(|(operation, index)| {
        let input = of(operation, "input");
        let word = |key: &str| input.get(key).and_then(Value::as_str).map(str::to_owned);
        // Tags of anything but instances are nobody's.
        let tagged = || word("name").filter(|_| word("kind").as_deref() == Some("instance"));
        let end = Some(of(operation, "end_timestamp")).filter(|end| !end.is_null());
        let end = end.unwrap_or_else(|| of(text, "end_timestamp"));
        Operation {
            job,
            index,
            opcode: word("OP_ID").unwrap_or_default(),
            status: operation
                .get("status")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            on: word("instance_name")
                .or_else(|| word("network_name"))
                .or_else(tagged),
            received: of(text, "received_timestamp"),
            end,
            result: of(operation, "result"),
        }
    });
    read.collect()
}

impl Place {
    /// Asks the node's eventd for a page of its metrics' address: status and body.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn eventd(&self, path: &str) -> Result<(u16, String)> {
        self.inside(|| eventd::ask(layout::EVENTD_METRICS, path, ""))
    }

    /// A figure of the node's eventd; none while it does not answer.
    #[must_use]
    pub fn eventd_figure(&self, name: &str) -> Option<f64> {
        let (_, text) = self.eventd("/metrics").ok()?;
        let mut figures = text.lines().filter_map(|line| line.rsplit_once(' '));
        let (_, value) = figures.find(|(figure, _)| *figure == name)?;
        value.parse().ok()
    }

    /// The journal of the node's eventd, all that is kept of the epoch in force: its name and its records.
    ///
    /// # Errors
    /// When the node is not the master, or eventd does not answer.
    pub fn journal(&self) -> Result<(String, Vec<Value>)> {
        let mut epoch = String::from("00000000-0000-0000-0000-000000000000");
        let mut records = Vec::new();
        let mut after = 0;
        loop {
            let prefix = layout::PREFIX;
            let path = format!("/journal?epoch={epoch}&prefix={prefix}&after={after}");
            let token = format!("Authorization: Bearer {}\r\n", layout::JOURNAL_TOKEN);
            let (status, body) =
                self.inside(|| eventd::ask(layout::EVENTD_JOURNAL, &path, &token))?;
            let page: Value = serde_json::from_str(&body)
                .with_context(|| format!("the journal: {status} {body}"))?;
            let named = page.get("epoch").and_then(Value::as_str);
            let named = named.with_context(|| format!("the journal: {status} {body}"))?;
            if status == 409 {
                // It tells which epoch is in force.
                named.clone_into(&mut epoch);
                records.clear();
                after = 0;
                continue;
            }
            let told = page.get("records").and_then(Value::as_array);
            records.extend(told.into_iter().flatten().cloned());
            let number = |key: &str| page.get(key).and_then(Value::as_u64).unwrap_or_default();
            if number("to") >= number("newest") {
                return Ok((epoch, records));
            }
            after = number("to");
        }
    }
}
