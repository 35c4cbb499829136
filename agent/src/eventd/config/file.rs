//! The configuration as it is written, and its defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Config, Ganeti, Pull};
use crate::config::{Checker, ConfigError};
use crate::eventd::journal::Limits;
use crate::transport::settings::{AmqpTable, HttpsTable, Way};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    prefixes: Vec<String>,
    node: String,
    state: PathBuf,
    metrics: String,
    transport: String,
    heartbeat: u64,
    ganeti: GanetiTable,
    journal: JournalTable,
    amqp: AmqpTable,
    https: HttpsTable,
    pull: PullTable,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GanetiTable {
    queue: PathBuf,
    ssconf: PathBuf,
    query_socket: PathBuf,
    query_timeout_ms: u64,
    list_interval: u64,
    job_file_max: u64,
    archive_depth: u64,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct JournalTable {
    segment: u64,
    compact: u64,
    keep: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PullTable {
    listen: String,
    token_sha256: String,
    certificate: PathBuf,
    key: PathBuf,
}

impl Default for File {
    fn default() -> Self {
        Self {
            prefixes: vec![String::from("snf-")],
            node: String::new(),
            state: "/var/lib/snf-ganeti-eventd".into(),
            metrics: String::new(),
            transport: String::from("amqp"),
            heartbeat: 10,
            ganeti: GanetiTable::default(),
            journal: JournalTable::default(),
            amqp: AmqpTable::default(),
            https: HttpsTable::default(),
            pull: PullTable::default(),
        }
    }
}

impl Default for GanetiTable {
    fn default() -> Self {
        Self {
            queue: "/var/lib/ganeti/queue".into(),
            ssconf: "/var/lib/ganeti".into(),
            query_socket: "/var/run/ganeti/socket/ganeti-query".into(),
            query_timeout_ms: 1000,
            list_interval: 60,
            job_file_max: 16 << 20,
            archive_depth: 10_000,
        }
    }
}

impl Default for JournalTable {
    fn default() -> Self {
        Self {
            segment: 8 << 20,
            compact: 32 << 20,
            keep: 10_000,
        }
    }
}

impl File {
    pub(super) fn check(self, path: &Path) -> Result<Config, ConfigError> {
        let checker = Checker(path);
        let prefixes = checker.prefixes(&self.prefixes)?;
        let transport = match self.transport.as_str() {
            "amqp" => Way::Amqp(self.amqp.check(checker)?),
            "https" => Way::Https(self.https.check(checker)?),
            other => {
                return Err(checker.value("transport", other, "must be \"amqp\" or \"https\""));
            }
        };
        Ok(Config {
            prefixes,
            node: (!self.node.is_empty()).then_some(self.node),
            state: self.state,
            metrics: checker.address("metrics", &self.metrics)?,
            heartbeat: checker.seconds("heartbeat", self.heartbeat)?,
            ganeti: Ganeti {
                queue: self.ganeti.queue,
                ssconf: self.ganeti.ssconf,
                query_socket: self.ganeti.query_socket,
                query_timeout: Duration::from_millis(checker.at_least(
                    "ganeti.query_timeout_ms",
                    self.ganeti.query_timeout_ms,
                    1,
                )?),
                list_interval: checker
                    .seconds("ganeti.list_interval", self.ganeti.list_interval)?,
                job_file_max: checker.at_least(
                    "ganeti.job_file_max",
                    self.ganeti.job_file_max,
                    1024,
                )?,
                archive_depth: self.ganeti.archive_depth,
            },
            limits: Limits {
                segment: checker.at_least("journal.segment", self.journal.segment, 4096)?,
                compact: checker.at_least("journal.compact", self.journal.compact, 4096)?,
                keep: self.journal.keep,
            },
            transport,
            pull: self.pull.check(checker)?,
        })
    }
}

impl PullTable {
    fn check(self, checker: Checker<'_>) -> Result<Option<Pull>, ConfigError> {
        let Some(listen) = checker.address("pull.listen", &self.listen)? else {
            return Ok(None);
        };
        let token = parse_digest(&self.token_sha256).ok_or_else(|| {
            let reason = "must be the token's SHA-256, 64 hexadecimal digits";
            checker.value("pull.token_sha256", &self.token_sha256, reason)
        })?;
        let has = |path: &PathBuf| !path.as_os_str().is_empty();
        let tls =
            (has(&self.certificate) || has(&self.key)).then_some((self.certificate, self.key));
        match &tls {
            Some((certificate, key)) => {
                checker.file("pull.certificate", certificate)?;
                checker.file("pull.key", key)?;
            }
            None if listen.ip().is_loopback() => {}
            None => {
                let reason = "without pull.certificate only a loopback address is served";
                return Err(checker.value("pull.listen", &self.listen, reason));
            }
        }
        Ok(Some(Pull { listen, token, tls }))
    }
}

fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let pairs = text.as_bytes().chunks(2);
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}
