//! snf-agent's configuration: a TOML file → [`Config`], whose values are checked. Every key has a default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use snf_events::Prefix;

use super::spool::Limits;
use crate::config::{Checker, ConfigError};
use crate::transport::settings::{AmqpTable, HttpsTable, Way};

/// Where the configuration is looked for; it need not be there.
pub const DEFAULT_PATH: &str = "/etc/snf/snf-agent.toml";

/// All that the agent wants to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Time between two looks at everything.
    pub interval: Duration,
    /// Where what the hooks said is kept.
    pub state: PathBuf,
    /// Ganeti's run directory.
    pub ganeti_run: PathBuf,
    /// nfdhcpd's control socket.
    pub nfdhcpd: PathBuf,
    /// Address of `/metrics` and `/health`.
    pub metrics: Option<SocketAddr>,
    /// How this host wires its NICs: snf-ifup's own configuration, but that nothing is announced: a NIC that is put right was
    /// here all along.
    pub ifup: ifup::config::Config,
    /// What is published, and how; `None`: nothing is.
    pub publication: Option<Publication>,
}

/// What is published, and how.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Whose instances are told of.
    pub prefixes: Vec<Prefix>,
    /// This node's name in Ganeti; `None`: found by the host's name.
    pub node: Option<String>,
    /// Directory of Ganeti's ssconf files.
    pub ssconf: PathBuf,
    /// Time between two reports; `None`: there are none.
    pub report: Option<Duration>,
    /// How much waits at most.
    pub spool: Limits,
    /// The way out.
    pub way: Way,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    interval: u64,
    state: PathBuf,
    ganeti_run: PathBuf,
    nfdhcpd: PathBuf,
    ifup: PathBuf,
    metrics: String,
    transport: String,
    prefixes: Vec<String>,
    node: String,
    ganeti_ssconf: PathBuf,
    report: u64,
    spool: SpoolTable,
    amqp: AmqpTable,
    https: HttpsTable,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SpoolTable {
    messages: u64,
    bytes: u64,
}

impl Default for SpoolTable {
    fn default() -> Self {
        Self {
            messages: 10_000,
            bytes: 32 << 20,
        }
    }
}

impl Default for File {
    fn default() -> Self {
        Self {
            interval: 30,
            state: "/var/lib/snf-agent".into(),
            ganeti_run: "/run/ganeti".into(),
            nfdhcpd: "/run/nfdhcpd/ctl.sock".into(),
            ifup: ifup::config::PATH.into(),
            metrics: String::new(),
            transport: String::new(),
            prefixes: vec![String::from("snf-")],
            node: String::new(),
            ganeti_ssconf: "/var/lib/ganeti".into(),
            report: 60,
            spool: SpoolTable::default(),
            amqp: AmqpTable::default(),
            https: HttpsTable::default(),
        }
    }
}

impl Config {
    /// Reads the configuration and snf-ifup's. Without `path`, the default's, which need not be there.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let named = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = read(named, path.is_some())?;
        let file: File = Checker(named).toml(&text)?;
        let ifup = read(&file.ifup, false)?;
        file.check(named, &ifup)
    }
}

fn read(path: &Path, must_exist: bool) -> Result<String, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            Ok(String::new())
        }
        Err(source) => Err(ConfigError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

impl File {
    fn check(self, path: &Path, ifup: &str) -> Result<Config, ConfigError> {
        let checker = Checker(path);
        for (key, value) in [
            ("state", &self.state),
            ("ganeti_run", &self.ganeti_run),
            ("nfdhcpd", &self.nfdhcpd),
            ("ifup", &self.ifup),
            ("ganeti_ssconf", &self.ganeti_ssconf),
        ] {
            if !value.is_absolute() {
                let value = value.display().to_string();
                return Err(checker.value(key, &value, "must begin with /"));
            }
        }
        if !(1..=3600).contains(&self.interval) {
            let value = self.interval.to_string();
            return Err(checker.value("interval", &value, "must be 1 to 3600 seconds"));
        }
        let way = match self.transport.as_str() {
            "" => None,
            "amqp" => Some(Way::Amqp(self.amqp.check(checker)?)),
            "https" => Some(Way::Https(self.https.check(checker)?)),
            other => {
                let reason = "must be \"amqp\", \"https\", or empty";
                return Err(checker.value("transport", other, reason));
            }
        };
        if self.report > 86_400 {
            let value = self.report.to_string();
            return Err(checker.value("report", &value, "must be 0 to 86400 seconds"));
        }
        let messages = checker.at_least("spool.messages", self.spool.messages, 1)?;
        let spool = Limits {
            messages: usize::try_from(messages).unwrap_or(usize::MAX),
            bytes: checker.at_least("spool.bytes", self.spool.bytes, 256 << 10)?,
        };
        let prefixes = checker.prefixes(&self.prefixes)?;
        let publication = way.map(|way| Publication {
            prefixes,
            node: (!self.node.is_empty()).then_some(self.node),
            ssconf: self.ganeti_ssconf,
            report: (self.report > 0).then(|| Duration::from_secs(self.report)),
            spool,
            way,
        });
        let parsed = ifup::config::Config::parse(ifup);
        let parsed = parsed.map_err(|source| ConfigError::Ifup {
            path: self.ifup.clone(),
            source,
        })?;
        Ok(Config {
            interval: Duration::from_secs(self.interval),
            state: self.state,
            ganeti_run: self.ganeti_run,
            nfdhcpd: self.nfdhcpd,
            metrics: checker.address("metrics", &self.metrics)?,
            publication,
            ifup: ifup::config::Config {
                announce: false,
                ..parsed
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Config, ConfigError> {
        let path = Path::new("x.toml");
        Checker(path).toml::<File>(text)?.check(path, "")
    }

    /// The file we install says every key, with its default.
    #[test]
    fn the_packaged_file_is_the_default() {
        let packaged = include_str!("../../../packaging/snf-agent.toml");
        let shown = |text| format!("{:?}", checked(text).unwrap());
        assert_eq!(shown(packaged), shown(""));
        for key in [
            "interval",
            "state",
            "ganeti_run",
            "nfdhcpd",
            "ifup",
            "metrics",
            "transport",
            "prefixes",
            "node",
            "ganeti_ssconf",
            "report",
            "messages",
            "bytes",
            "hosts",
            "password_file",
            "ca",
            "patience",
            "url",
            "token_file",
        ] {
            assert!(
                packaged.contains(&format!("\n{key} = ")),
                "{key} is missing"
            );
        }
    }

    /// Without a way out nothing is published, and that is the default: a host needs no control plane.
    #[test]
    fn what_is_published_needs_a_way_out() {
        assert!(checked("").unwrap().publication.is_none());
        let text = "transport = \"amqp\"\nreport = 0\n[amqp]\nhosts = [\"amqp://a:b@c\"]";
        let publication = checked(text).unwrap().publication.unwrap();
        assert_eq!(publication.report, None);
        assert_eq!(publication.prefixes, ["snf-".parse().unwrap()]);
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused_by_name() {
        for (text, names) in [
            ("intervall = 3", "intervall"),
            ("interval = 0", "interval = \"0\""),
            ("state = \"x\"", "state = \"x\""),
            ("metrics = \"9548\"", "metrics = \"9548\""),
            ("transport = \"smtp\"", "transport = \"smtp\""),
            ("transport = \"amqp\"\n[amqp]\nhosts = []", "amqp.hosts"),
            ("prefixes = []", "prefixes"),
            ("report = 100000", "report"),
            ("[spool]\nbytes = 1", "spool.bytes"),
        ] {
            let error = checked(text).unwrap_err().to_string();
            assert!(error.contains(names), "{text}: {error}");
        }
    }
}
