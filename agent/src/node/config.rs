//! snf-agent's configuration: a TOML file → [`Config`], whose values are checked. Every key has a default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::config::{Checker, ConfigError};

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
        ] {
            assert!(
                packaged.contains(&format!("\n{key} = ")),
                "{key} is missing"
            );
        }
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused_by_name() {
        for (text, names) in [
            ("intervall = 3", "intervall"),
            ("interval = 0", "interval = \"0\""),
            ("state = \"x\"", "state = \"x\""),
            ("metrics = \"9548\"", "metrics = \"9548\""),
        ] {
            let error = checked(text).unwrap_err().to_string();
            assert!(error.contains(names), "{text}: {error}");
        }
    }
}
