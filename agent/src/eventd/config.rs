//! eventd's configuration: a TOML file → [`Config`], whose values are checked.

mod file;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use snf_events::Prefix;

use super::journal::Limits;
use crate::config::{Checker, ConfigError};
use crate::transport::settings::Way;
use file::File;

/// Where the configuration is when the command line does not say.
pub const DEFAULT_PATH: &str = "/etc/snf/snf-ganeti-eventd.toml";

/// All that eventd wants to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose instances and networks are published.
    pub prefixes: Vec<Prefix>,
    /// This node's name in Ganeti; `None`: found by the host's name.
    pub node: Option<String>,
    /// Where the journal is.
    pub state: PathBuf,
    /// Address of `/metrics` and `/health`.
    pub metrics: Option<SocketAddr>,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Where Ganeti keeps what.
    pub ganeti: Ganeti,
    /// How much is kept.
    pub limits: Limits,
    /// How events leave.
    pub transport: Way,
    /// Who may read the journal.
    pub pull: Option<Pull>,
}

/// Where Ganeti keeps what, and how it is asked.
#[derive(Debug, Clone)]
pub struct Ganeti {
    /// The job queue.
    pub queue: PathBuf,
    /// The ssconf files.
    pub ssconf: PathBuf,
    /// luxid's query socket.
    pub query_socket: PathBuf,
    /// How long an answer of it may take.
    pub query_timeout: Duration,
    /// Time between two lists of the queue.
    pub list_interval: Duration,
    /// Largest job file that is read.
    pub job_file_max: u64,
    /// With nothing known, how many archived jobs below the highest are looked at.
    pub archive_depth: u64,
}

/// `GET /journal`.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Address.
    pub listen: SocketAddr,
    /// SHA-256 of the token that is asked for.
    pub token: [u8; 32],
    /// Certificate and key, PEM; without them plain HTTP, on a loopback address only.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it, or a file it names, cannot be read or used.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Reads a configuration's text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File = Checker(path).toml(text)?;
        file.check(path)
    }
}

#[cfg(test)]
mod tests;
