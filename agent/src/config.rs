//! What the daemons' configurations share: why one cannot be used, and checks that name file, key and value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use snf_events::Prefix;
use snf_events::routing::NoPrefix;

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
        /// Why not.
        reason: String,
    },
    /// snf-ifup's configuration cannot be used.
    #[error("{}", path.display())]
    Ifup {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ifup::config::ConfigError,
    },
}

/// Names the file in every complaint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checker<'a>(pub(crate) &'a Path);

impl Checker<'_> {
    /// Reads a file's text as `File`.
    pub(crate) fn toml<File: serde::de::DeserializeOwned>(
        self,
        text: &str,
    ) -> Result<File, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Toml {
            path: self.0.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })
    }

    pub(crate) fn value(
        self,
        key: &'static str,
        value: &str,
        reason: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Value {
            path: self.0.to_owned(),
            key,
            value: value.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn at_least(
        self,
        key: &'static str,
        value: u64,
        least: u64,
    ) -> Result<u64, ConfigError> {
        if value >= least {
            Ok(value)
        } else {
            let reason = format!("must be at least {least}");
            Err(self.value(key, &value.to_string(), reason))
        }
    }

    pub(crate) fn seconds(self, key: &'static str, value: u64) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(self.at_least(key, value, 1)?))
    }

    pub(crate) fn address(
        self,
        key: &'static str,
        text: &str,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text.parse();
        parsed.map(Some).map_err(|_| {
            let reason = "must be an address and a port, as in 127.0.0.1:9548, or empty";
            self.value(key, text, reason)
        })
    }

    pub(crate) fn optional_file(
        self,
        key: &'static str,
        path: &Path,
    ) -> Result<Option<String>, ConfigError> {
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        self.file(key, path).map(Some)
    }

    pub(crate) fn file(self, key: &'static str, path: &Path) -> Result<String, ConfigError> {
        std::fs::read_to_string(path)
            .map_err(|error| self.value(key, &path.display().to_string(), error.to_string()))
    }

    /// `prefixes`: at least one, none twice.
    pub(crate) fn prefixes(self, texts: &[String]) -> Result<Vec<Prefix>, ConfigError> {
        let mut prefixes = Vec::new();
        for text in texts {
            let prefix = text
                .parse()
                .map_err(|error: NoPrefix| self.value("prefixes", text, error.to_string()))?;
            if prefixes.contains(&prefix) {
                return Err(self.value("prefixes", text, "given twice"));
            }
            prefixes.push(prefix);
        }
        if prefixes.is_empty() {
            return Err(self.value("prefixes", "[]", "at least one is needed"));
        }
        Ok(prefixes)
    }
}
