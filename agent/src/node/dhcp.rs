//! What nfdhcpd tells of VMs that have trouble with it, over its control socket.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use snf_events::agent::DhcpTrouble;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer, bytes: ten thousand TAPs' rows.
const ANSWER_MAX: u64 = 8 << 20;
/// Most TAPs whose trouble is told at once.
const TROUBLED_MAX: usize = 64;

/// Remembers how much was not answered before.
#[derive(Debug, Default)]
pub struct Listener {
    ignored: BTreeMap<String, u64>,
}

/// A row of `nfdhcpd ctl list --json`, as far as it is read.
#[derive(Debug, Deserialize)]
struct Row {
    tap: String,
    standing: String,
    ignored: u64,
}

/// `nfdhcpd ctl show --json`, as far as it is read.
#[derive(Debug, Deserialize)]
struct Show {
    standing: String,
    #[serde(default)]
    why: Vec<String>,
    #[serde(default)]
    last: Value,
}

impl Listener {
    /// The TAPs of which nfdhcpd has something to say that is not well: their binding is not in force, or something was left
    /// unanswered since this was asked last. Nothing when nfdhcpd does not answer.
    pub async fn troubled(&mut self, socket: &Path) -> BTreeMap<String, DhcpTrouble> {
        let mut troubled = BTreeMap::new();
        let rows: Vec<Row> = match ask(socket, "{\"ask\":\"list\"}\n").await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::debug!(%error, "nfdhcpd does not answer");
                return troubled;
            }
        };
        let before = std::mem::take(&mut self.ignored);
        for Row {
            tap,
            standing,
            ignored,
        } in rows
        {
            let was = before.get(&tap).copied().unwrap_or_default();
            self.ignored.insert(tap.clone(), ignored);
            let is_well = standing == "in force" && ignored <= was;
            if is_well || troubled.len() >= TROUBLED_MAX {
                continue;
            }
            let question = format!("{}\n", serde_json::json!({"ask": "show", "tap": tap}));
            let show: Show = match ask(socket, &question).await {
                Ok(show) => show,
                Err(_) => continue,
            };
            // What was left unanswered on purpose is no trouble.
            if show.why.is_empty() && show.standing == "in force" {
                continue;
            }
            let trouble = DhcpTrouble {
                standing: show.standing,
                why: show.why,
                last: show.last,
            };
            troubled.insert(tap, trouble);
        }
        troubled
    }
}

async fn ask<T: serde::de::DeserializeOwned>(socket: &Path, question: &str) -> io::Result<T> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(question.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        Ok(serde_json::from_slice(&answer)?)
    };
    let asked = timeout(PATIENCE, asked).await;
    asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
