//! The configuration as it is written, and its defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use serde::Deserialize;

use super::{Amqp, Config, ConfigError, Ganeti, Https, Pull, Transport, Url};
use crate::eventd::journal::Limits;

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

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AmqpTable {
    hosts: Vec<String>,
    password_file: PathBuf,
    ca: PathBuf,
    patience: u64,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HttpsTable {
    url: String,
    token_file: PathBuf,
    ca: PathBuf,
    patience: u64,
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

impl Default for AmqpTable {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            password_file: PathBuf::new(),
            ca: PathBuf::new(),
            patience: 30,
        }
    }
}

impl Default for HttpsTable {
    fn default() -> Self {
        Self {
            url: String::new(),
            token_file: PathBuf::new(),
            ca: PathBuf::new(),
            patience: 30,
        }
    }
}

/// Names the file in every complaint.
struct Checker<'a>(&'a Path);

impl File {
    pub(super) fn check(self, path: &Path) -> Result<Config, ConfigError> {
        let checker = Checker(path);
        let mut prefixes = Vec::new();
        for text in &self.prefixes {
            let prefix = text
                .parse()
                .map_err(|error: snf_events::routing::NoPrefix| {
                    checker.value("prefixes", text, error.to_string())
                })?;
            if prefixes.contains(&prefix) {
                return Err(checker.value("prefixes", text, "given twice"));
            }
            prefixes.push(prefix);
        }
        if prefixes.is_empty() {
            return Err(checker.value("prefixes", "[]", "at least one is needed"));
        }
        let transport = match self.transport.as_str() {
            "amqp" => Transport::Amqp(self.amqp.check(&checker)?),
            "https" => Transport::Https(self.https.check(&checker)?),
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
            pull: self.pull.check(&checker)?,
        })
    }
}

impl AmqpTable {
    fn check(self, checker: &Checker<'_>) -> Result<Amqp, ConfigError> {
        let authority = checker.optional_file("amqp.ca", &self.ca)?;
        let password = checker.optional_file("amqp.password_file", &self.password_file)?;
        let mut hosts = Vec::new();
        for text in &self.hosts {
            // A password is not repeated in a complaint.
            let shown = text.rsplit('@').next().unwrap_or_default();
            let mut uri: AMQPUri = text
                .parse()
                .map_err(|reason: String| checker.value("amqp.hosts", shown, reason))?;
            if let Some(password) = &password {
                uri.authority.userinfo.password = password.trim_end().to_owned();
            }
            if uri.scheme == AMQPScheme::AMQPS && authority.is_none() {
                let reason = "amqps:// needs amqp.ca, the authority that signed its certificate";
                return Err(checker.value("amqp.hosts", shown, reason));
            }
            hosts.push(uri);
        }
        if hosts.is_empty() {
            return Err(checker.value("amqp.hosts", "[]", "at least one is needed"));
        }
        Ok(Amqp {
            hosts,
            authority,
            patience: checker.seconds("amqp.patience", self.patience)?,
        })
    }
}

impl HttpsTable {
    fn check(self, checker: &Checker<'_>) -> Result<Https, ConfigError> {
        let url =
            parse_url(&self.url).map_err(|reason| checker.value("https.url", &self.url, reason))?;
        let authority = checker.optional_file("https.ca", &self.ca)?;
        if url.tls && authority.is_none() {
            let reason = "needs https.ca, the authority that signed its certificate";
            return Err(checker.value("https.url", &self.url, reason));
        }
        checker.file("https.token_file", &self.token_file)?;
        Ok(Https {
            url,
            token: self.token_file,
            authority,
            patience: checker.seconds("https.patience", self.patience)?,
        })
    }
}

impl PullTable {
    fn check(self, checker: &Checker<'_>) -> Result<Option<Pull>, ConfigError> {
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

impl Checker<'_> {
    fn value(&self, key: &'static str, value: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            path: self.0.to_owned(),
            key,
            value: value.to_owned(),
            reason: reason.into(),
        }
    }

    fn at_least(&self, key: &'static str, value: u64, least: u64) -> Result<u64, ConfigError> {
        if value >= least {
            Ok(value)
        } else {
            let reason = format!("must be at least {least}");
            Err(self.value(key, &value.to_string(), reason))
        }
    }

    fn seconds(&self, key: &'static str, value: u64) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(self.at_least(key, value, 1)?))
    }

    fn address(&self, key: &'static str, text: &str) -> Result<Option<SocketAddr>, ConfigError> {
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text.parse();
        parsed.map(Some).map_err(|_| {
            self.value(
                key,
                text,
                "must be an address and a port, as in 127.0.0.1:9548",
            )
        })
    }

    fn optional_file(&self, key: &'static str, path: &Path) -> Result<Option<String>, ConfigError> {
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        self.file(key, path).map(Some)
    }

    fn file(&self, key: &'static str, path: &Path) -> Result<String, ConfigError> {
        std::fs::read_to_string(path)
            .map_err(|error| self.value(key, &path.display().to_string(), error.to_string()))
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("must begin with https:// or, on a loopback address, http://")?;
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(String::from("must begin with https:// or http://")),
    };
    let (authority, base) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
            (host, port)
        }
        _ => (authority, if tls { 443 } else { 80 }),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains('@') {
        return Err(String::from("names no host"));
    }
    let is_loopback = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if !tls && !is_loopback {
        return Err(String::from(
            "without TLS only a loopback address is used: the token would be read on the way",
        ));
    }
    Ok(Url {
        tls,
        host: host.to_owned(),
        port,
        base: base.trim_end_matches('/').to_owned(),
    })
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
