//! LUXI, the protocol of Ganeti's local sockets, as far as luxid's query socket is asked: the cluster's UUID, and the
//! details of instances. Answers come from the configuration in memory, without locks and without asking nodes.
//!
//! A request is one JSON object `{"method", "args"}`, an answer `{"success", "result"}`, each ended by a byte 3
//! (`lib/luxi.py`, `lib/rpc/transport.py` of Ganeti 3.0).

mod instance;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub use instance::{Details, Wanted, attach, wanted};

/// Ends each message.
const END: u8 = 3;

/// Longest answer that is read.
const ANSWER_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LuxiError {
    /// The socket is not there, or closes.
    #[error("ask {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{} did not answer in {}ms", path.display(), bound.as_millis())]
    TooSlow {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        bound: Duration,
    },
    /// The answer is none.
    #[error("luxid's answer makes no sense: {0}")]
    Strange(String),
    /// Ganeti refuses.
    #[error("Ganeti refuses: {0}")]
    Refused(Value),
}

#[derive(Deserialize)]
struct Answer {
    success: bool,
    #[serde(default)]
    result: Value,
}

/// The query socket.
#[derive(Debug, Clone)]
pub struct QuerySocket {
    /// Where it is.
    pub path: PathBuf,
    /// How long an answer may take.
    pub bound: Duration,
}

/// What is known of an instance that was asked for.
pub type Found = BTreeMap<String, Option<Details>>;

impl QuerySocket {
    /// The cluster's UUID.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn cluster_uuid(&self) -> Result<String, LuxiError> {
        let result = self.ask("QueryClusterInfo", json!([])).await?;
        let uuid = result.get("uuid").and_then(Value::as_str);
        uuid.map(str::to_owned)
            .ok_or_else(|| LuxiError::Strange(String::from("no uuid in the cluster's information")))
    }

    /// The details of instances; `None` for one that Ganeti does not have.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn instances(&self, names: &[String]) -> Result<Found, LuxiError> {
        match self.query(names).await {
            // One unknown name fails the whole question: one by one, then.
            Err(LuxiError::Refused(_)) if names.len() > 1 => {
                let mut found = Found::new();
                for name in names {
                    found.extend(self.instance(name).await?);
                }
                Ok(found)
            }
            Err(LuxiError::Refused(reason)) if is_unknown(&reason) => {
                Ok(names.iter().map(|name| (name.clone(), None)).collect())
            }
            other => other,
        }
    }

    async fn instance(&self, name: &String) -> Result<Found, LuxiError> {
        match self.query(std::slice::from_ref(name)).await {
            Err(LuxiError::Refused(reason)) if is_unknown(&reason) => {
                Ok(Found::from([(name.clone(), None)]))
            }
            other => other,
        }
    }

    async fn query(&self, names: &[String]) -> Result<Found, LuxiError> {
        let any: Vec<Value> = names
            .iter()
            .map(|name| json!(["=", "name", name]))
            .collect();
        let filter = [vec![json!("|")], any].concat();
        let result = self
            .ask("Query", json!(["instance", instance::FIELDS, filter]))
            .await?;
        let mut found: Found = names.iter().map(|name| (name.clone(), None)).collect();
        for (name, details) in instance::read(&result).map_err(LuxiError::Strange)? {
            // Ganeti completes names; what was not asked for by its whole name is another instance.
            if let Some(place) = found.get_mut(&name) {
                *place = Some(details);
            }
        }
        Ok(found)
    }

    async fn ask(&self, method: &str, arguments: Value) -> Result<Value, LuxiError> {
        let mut request = json!({"method": method, "args": arguments})
            .to_string()
            .into_bytes();
        request.push(END);
        let answer = tokio::time::timeout(self.bound, self.exchange(&request)).await;
        let answer = answer.map_err(|_| LuxiError::TooSlow {
            path: self.path.clone(),
            bound: self.bound,
        })?;
        let answer = answer.map_err(|source| LuxiError::Io {
            path: self.path.clone(),
            source,
        })?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|error| LuxiError::Strange(error.to_string()))?;
        if answer.success {
            Ok(answer.result)
        } else {
            Err(LuxiError::Refused(answer.result))
        }
    }

    async fn exchange(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.path).await?;
        stream.write_all(request).await?;
        let mut answer = Vec::with_capacity(4096);
        loop {
            let before = answer.len();
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let new = answer.get(before..).unwrap_or_default();
            if let Some(end) = new.iter().position(|byte| *byte == END) {
                answer.truncate(before + end);
                return Ok(answer);
            }
            if answer.len() > ANSWER_MAX {
                return Err(io::Error::other("the answer has no end"));
            }
        }
    }
}

/// `["OpPrereqError", ["Instance name x not found", "unknown_entity"]]`.
fn is_unknown(reason: &Value) -> bool {
    reason.get(1).and_then(|what| what.get(1)?.as_str()) == Some("unknown_entity")
}

#[cfg(test)]
mod tests;
