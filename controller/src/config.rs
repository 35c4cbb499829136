//! The controller's configuration: a TOML file → [`Config`], whose values are checked. Every key may be missing.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use snf_events::Prefix;

/// Where the configuration is when the command line does not say.
pub const DEFAULT_PATH: &str = "/etc/snf/snf-controller.toml";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, has an unknown key or a value of another type.
    #[error("{}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Place and reason.
        reason: String,
    },
    /// A value cannot be used.
    #[error("{}: {key} = {value:?}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// The value.
        value: String,
        /// What would be right.
        reason: String,
    },
}

/// All that the controller wants to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the database is.
    pub database: Database,
    /// The file of the keys that secrets are sealed with.
    pub keys: PathBuf,
    /// What our instances' and networks' names begin with.
    pub prefix: Prefix,
    /// The API's address.
    pub api: Api,
    /// Address of `/metrics`, `/livez` and `/readyz`.
    pub metrics: Option<SocketAddr>,
    /// What a project may have, where nothing else is said.
    pub quota: Quota,
    /// What projects' own networks are on the nodes.
    pub networks: Networks,
    /// How long rows are kept that nobody asks for any more.
    pub retention: Retention,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub struct Database {
    /// `sqlite:…`, `postgres://…` or `mysql://…`.
    pub url: String,
    /// Connections at most.
    pub connections: u32,
}

/// How the API is reached.
#[derive(Debug, Clone)]
pub struct Api {
    /// Address it listens on, in plain HTTP unless `tls` says otherwise.
    pub listen: SocketAddr,
    /// What clients reach it by, without a slash at the end: the catalog's addresses begin with it.
    pub public_url: String,
    /// The catalog's region.
    pub region: String,
    /// Proxies in front of it: what they say of where a request came from is believed.
    pub proxies: Vec<IpAddr>,
    /// How long a token lives.
    pub token_life: Duration,
    /// Requests a second that a token may make in the long run.
    pub rate: u32,
    /// Requests that it may make at once.
    pub burst: u32,
}

/// What a project may have; -1: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Servers.
    pub instances: i64,
    /// Virtual processors.
    pub cores: i64,
    /// Memory, MiB.
    pub ram: i64,
    /// Disk, GiB.
    pub disk: i64,
    /// Floating addresses.
    pub floating_ips: i64,
    /// Networks.
    pub networks: i64,
    /// Key pairs of a user.
    pub key_pairs: i64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            instances: 10,
            cores: 20,
            ram: 51_200,
            disk: 1_000,
            floating_ips: 10,
            networks: 10,
            key_pairs: 100,
        }
    }
}

/// What a network that a project makes is on the nodes: a bridge that is there, on which networks are told apart by what
/// their hardware addresses begin with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Networks {
    /// `bridged` or `routed`.
    pub mode: String,
    /// Bridge or routing table.
    pub link: String,
    /// Ganeti tags, separated by spaces.
    pub tags: String,
}

impl Default for Networks {
    fn default() -> Self {
        Self {
            mode: String::from("bridged"),
            link: String::from("prv0"),
            tags: String::from("private-filtered"),
        }
    }
}

/// Days that rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Messages that were taken in: a copy that comes later would count again, so not less than Ganeti keeps its jobs.
    pub inbox: u32,
    /// Jobs.
    pub jobs: u32,
    /// Intents that are done.
    pub intents: u32,
    /// Servers, ports and networks that are gone.
    pub deleted: u32,
    /// Who did what.
    pub audit: u32,
    /// Messages that could not be taken in.
    pub dead_letters: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            inbox: 30,
            jobs: 90,
            intents: 90,
            deleted: 90,
            audit: 400,
            dead_letters: 90,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    database: FileDatabase,
    keys: PathBuf,
    prefix: String,
    api: FileApi,
    metrics: String,
    quota: Quota,
    networks: Networks,
    retention: Retention,
}

impl Default for File {
    fn default() -> Self {
        Self {
            database: FileDatabase::default(),
            keys: PathBuf::from("/var/lib/snf-controller/keys"),
            prefix: String::from("snf-"),
            api: FileApi::default(),
            metrics: String::new(),
            quota: Quota::default(),
            networks: Networks::default(),
            retention: Retention::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileDatabase {
    url: String,
    connections: u32,
}

impl Default for FileDatabase {
    fn default() -> Self {
        Self {
            url: String::from("sqlite:/var/lib/snf-controller/controller.db"),
            connections: 16,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileApi {
    listen: String,
    public_url: String,
    region: String,
    proxies: Vec<String>,
    token_hours: u32,
    rate: u32,
    burst: u32,
}

impl Default for FileApi {
    fn default() -> Self {
        Self {
            listen: String::from("127.0.0.1:8015"),
            public_url: String::new(),
            region: String::from("synnefo"),
            proxies: Vec::new(),
            token_hours: 24,
            rate: 20,
            burst: 200,
        }
    }
}

impl Config {
    /// Reads the file; without a path, the default one, which need not be there.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let place = path.unwrap_or(Path::new(DEFAULT_PATH));
        match std::fs::read_to_string(place) {
            Ok(text) => Self::parse(&text, place),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
                Self::parse("", place)
            }
            Err(source) => Err(ConfigError::Read {
                path: place.to_owned(),
                source,
            }),
        }
    }

    /// Reads a configuration's text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::Toml {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let wrong = |key, value: &str, reason: &str| ConfigError::Value {
            path: path.to_owned(),
            key,
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        let address = |key, text: &str| {
            let parsed: Result<SocketAddr, _> = text.parse();
            parsed.map_err(|_| wrong(key, text, "an address and a port, as in 127.0.0.1:8015"))
        };
        let prefix = file.prefix.parse();
        let prefix = prefix.map_err(|error| wrong("prefix", &file.prefix, &format!("{error}")))?;
        let listen = address("api.listen", &file.api.listen)?;
        let public_url = match file.api.public_url.trim_end_matches('/') {
            "" => format!("http://{listen}"),
            url if url.starts_with("http://") || url.starts_with("https://") => url.to_owned(),
            url => {
                return Err(wrong(
                    "api.public_url",
                    url,
                    "begins with https:// or http://",
                ));
            }
        };
        let proxies = file.api.proxies.iter().map(|text| {
            let parsed: Result<IpAddr, _> = text.parse();
            parsed.map_err(|_| wrong("api.proxies", text, "an address, as in 127.0.0.1"))
        });
        let proxies = proxies.collect::<Result<Vec<_>, _>>()?;
        let positive = |key, value: u32| match value {
            0 => Err(wrong(key, "0", "at least 1")),
            value => Ok(value),
        };
        let metrics = match file.metrics.as_str() {
            "" => None,
            text => Some(address("metrics", text)?),
        };
        if file.retention.inbox < 22 {
            let value = file.retention.inbox.to_string();
            let reason = "at least 22 days: Ganeti keeps archived jobs for 21";
            return Err(wrong("retention.inbox", &value, reason));
        }
        Ok(Self {
            database: Database {
                url: file.database.url,
                connections: positive("database.connections", file.database.connections)?,
            },
            keys: file.keys,
            prefix,
            api: Api {
                listen,
                public_url,
                region: file.api.region,
                proxies,
                token_life: Duration::from_secs(
                    3600 * u64::from(positive("api.token_hours", file.api.token_hours)?),
                ),
                rate: positive("api.rate", file.api.rate)?,
                burst: positive("api.burst", file.api.burst)?,
            },
            metrics,
            quota: file.quota,
            networks: file.networks,
            retention: file.retention,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("c.toml"))
    }

    #[test]
    fn nothing_need_be_said() {
        let config = parse("").unwrap();
        assert_eq!(config.api.public_url, "http://127.0.0.1:8015");
        assert_eq!(config.prefix.as_str(), "snf-");
        assert!(config.database.url.starts_with("sqlite:"));
        let config = parse("[api]\npublic_url = 'https://cloud.example.org/'").unwrap();
        assert_eq!(config.api.public_url, "https://cloud.example.org");
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_place() {
        for (text, told) in [
            ("databse.url = ''", "databse"),
            (
                "[api]\nlisten = 'here'",
                "c.toml: api.listen = \"here\": an address and a port",
            ),
            ("[api]\nrate = 0", "c.toml: api.rate = \"0\": at least 1"),
            ("prefix = 'snf'", "c.toml: prefix = \"snf\": "),
            (
                "[api]\npublic_url = 'cloud'",
                "c.toml: api.public_url = \"cloud\": begins with",
            ),
            ("metrics = '1'", "c.toml: metrics = \"1\": an address"),
            (
                "[retention]\ninbox = 7",
                "c.toml: retention.inbox = \"7\": at least 22",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
