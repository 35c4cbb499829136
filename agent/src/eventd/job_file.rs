//! A file of Ganeti's job queue: `queue/job-N`, JSON, by luxid or by the job's own process (the key order differs).
//!
//! Pure. Only what events need is kept; of the log, its last line.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use snf_events::{JobId, JobStatus, OpCode, Timestamp};

/// A job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Its operations, which run one after the other.
    pub ops: Vec<Operation>,
    /// When it was submitted.
    #[serde(default, rename = "received_timestamp", deserialize_with = "moment")]
    pub received: Timestamp,
    /// When it ended.
    #[serde(default, rename = "end_timestamp")]
    pub end: Option<Timestamp>,
}

/// One operation of a job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Operation {
    /// Opcode and parameters; of others than creations only those that events are made from.
    #[serde(deserialize_with = "parameters")]
    pub input: Map<String, Value>,
    /// How far it is.
    pub status: JobStatus,
    /// What came of it.
    #[serde(default)]
    pub result: Value,
    /// Last line of its log.
    #[serde(default, rename = "log", deserialize_with = "last_line")]
    pub last_line: Option<String>,
    /// When it began to wait for locks.
    #[serde(default, rename = "start_timestamp")]
    pub start: Option<Timestamp>,
    /// When it had them.
    #[serde(default, rename = "exec_timestamp")]
    pub exec: Option<Timestamp>,
    /// When it ended; null when it was canceled before it ran.
    #[serde(default, rename = "end_timestamp")]
    pub end: Option<Timestamp>,
}

/// Why a file's content is no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No JSON, or not a job's.
    #[error("not a job: {0}")]
    Json(String),
    /// It is another job than its file's name says.
    #[error("the file of job {name} holds job {content}")]
    OtherJob {
        /// By the file's name.
        name: JobId,
        /// By its content.
        content: JobId,
    },
}

impl Job {
    /// True when nothing of it will change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.ops.iter().all(|op| op.status.is_final())
    }
}

impl Operation {
    /// Its opcode.
    #[must_use]
    pub fn code(&self) -> OpCode {
        OpCode::from(self.text("OP_ID").unwrap_or_default())
    }

    /// A parameter that is text, and not empty.
    #[must_use]
    pub fn text(&self, parameter: &str) -> Option<&str> {
        let text = self.input.get(parameter)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// The reason its submitter gave: the first `["gnt:user", text, ns]` of the trail.
    #[must_use]
    pub fn users_reason(&self) -> Option<&str> {
        let trail = self.input.get("reason")?.as_array()?;
        trail.iter().find_map(|step| {
            let is_users = step.get(0)?.as_str()? == "gnt:user";
            is_users.then(|| step.get(1)?.as_str()).flatten()
        })
    }
}

/// Reads the content of `job-<name>`.
///
/// # Errors
/// When it is no job, or another one.
pub fn parse(name: JobId, content: &[u8]) -> Result<Job, Malformed> {
    let job: Job =
        serde_json::from_slice(content).map_err(|error| Malformed::Json(error.to_string()))?;
    if job.id == name {
        Ok(job)
    } else {
        Err(Malformed::OtherJob {
            name,
            content: job.id,
        })
    }
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The parameters that events are made from, but for creations: of a failed one all are told.
const TOLD: [&str; 19] = [
    "OP_ID",
    "add_reserved_ips",
    "beparams",
    "disks",
    "dry_run",
    "gateway",
    "group_name",
    "hvparams",
    "instance_name",
    "instance_uuid",
    "instances",
    "kind",
    "name",
    "network",
    "network_name",
    "nics",
    "reason",
    "remove_reserved_ips",
    "tags",
];

/// Which of an operation's parameters are kept: the opcode may be the last of them.
fn parameters<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    struct Told;

    impl<'de> Visitor<'de> for Told {
        type Value = Map<String, Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an operation's input")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut told = Map::new();
            while let Some(Name(parameter)) = from.next_key()? {
                if TOLD.binary_search(&parameter.as_ref()).is_ok() {
                    told.insert(parameter.into_owned(), from.next_value()?);
                } else {
                    from.next_value::<IgnoredAny>()?;
                }
            }
            Ok(told)
        }
    }

    let input = <&RawValue>::deserialize(from)?.get();
    let mut of = serde_json::Deserializer::from_str(input);
    let read = if input.contains("\"OP_INSTANCE_CREATE\"") {
        Map::deserialize(&mut of)
    } else {
        of.deserialize_map(Told)
    };
    read.map_err(D::Error::custom)
}

/// `[[serial, [s, µs], type, text], …]`; a message that is no text is left out.
fn last_line<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    struct Lines;

    impl<'de> Visitor<'de> for Lines {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a log")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<Self::Value, A::Error> {
            type Line = (IgnoredAny, IgnoredAny, IgnoredAny, Value);
            let mut last = None;
            while let Some((.., text)) = lines.next_element::<Line>()? {
                last = Some(text);
            }
            Ok(last.and_then(|text| text.as_str().map(str::to_owned)))
        }
    }

    from.deserialize_any(Lines)
}

#[cfg(test)]
mod tests;
