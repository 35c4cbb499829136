//! The ways out in a configuration: the tables `[amqp]` and `[https]`, the same for both daemons.

use std::path::PathBuf;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use serde::Deserialize;

use crate::config::{Checker, ConfigError};

/// How messages leave.
#[derive(Debug, Clone)]
pub enum Way {
    /// To a broker.
    Amqp(Amqp),
    /// To the controller.
    Https(Https),
}

/// The brokers.
#[derive(Debug, Clone)]
pub struct Amqp {
    /// Tried in turn.
    pub hosts: Vec<AMQPUri>,
    /// PEM of the authority that signed the brokers' certificates.
    pub authority: Option<String>,
    /// How long a confirm, or a connection, may take.
    pub patience: Duration,
}

/// The controller.
#[derive(Debug, Clone)]
pub struct Https {
    /// Where it is: scheme, host, port.
    pub url: Url,
    /// The token's file.
    pub token: PathBuf,
    /// PEM of the authority that signed its certificate.
    pub authority: Option<String>,
    /// How long an answer may take.
    pub patience: Duration,
}

/// An HTTP or HTTPS address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What paths begin with: nothing, or `/…` without a slash at the end.
    pub base: String,
}

/// `[amqp]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AmqpTable {
    hosts: Vec<String>,
    password_file: PathBuf,
    ca: PathBuf,
    patience: u64,
}

/// `[https]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpsTable {
    url: String,
    token_file: PathBuf,
    ca: PathBuf,
    patience: u64,
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

impl AmqpTable {
    pub(crate) fn check(self, checker: Checker<'_>) -> Result<Amqp, ConfigError> {
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
    pub(crate) fn check(self, checker: Checker<'_>) -> Result<Https, ConfigError> {
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
