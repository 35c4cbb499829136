//! `/etc/snf-ifup.toml` → [`Config`]. Every key has a default; see `ifup/docs/snf-ifup.md`.

use std::path::PathBuf;

use nfdhcpd_binding::MacAddr;
use serde::Deserialize;

/// Where the configuration is looked for; it need not be there.
pub const PATH: &str = "/etc/snf-ifup.toml";

/// How this host wires its NICs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// nfdhcpd's binding directory.
    pub binding_dir: PathBuf,
    /// Where records and the lock are; must not survive a reboot.
    pub run_dir: PathBuf,
    /// Hardware address of every routed TAP: the router's, as VMs see it; the same on all hosts.
    pub router_mac: MacAddr,
    /// Priority of the routing rules, 1 to 32765.
    pub rule_priority: u32,
    /// Whether neighbours are told where a routed NIC's addresses are.
    pub announce: bool,
    /// Seconds `down` waits in the background for a TAP that is still in use.
    pub down_wait: u64,
    /// The words that tags are recognised by.
    pub tags: TagWords,
}

/// The words of `NETWORK_TAGS` and `TAGS` that mean something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TagWords {
    /// nfdhcpd answers.
    pub nfdhcpd: String,
    /// The VM's addresses are routed to its TAP.
    pub ip_less_routed: String,
    /// Isolation by MAC prefix on a shared bridge.
    pub private_filtered: String,
    /// Words that ask for what is not served.
    pub refused: Vec<String>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, an unknown key, a value of the wrong type.
    #[error("parse the configuration")]
    Parse(#[source] Box<toml::de::Error>),
    /// A value out of its range.
    #[error("{key} = {value}: {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    binding_dir: PathBuf,
    run_dir: PathBuf,
    router_mac: String,
    rule_priority: u32,
    announce: bool,
    down_wait: u64,
    tags: TagWords,
}

impl Default for File {
    fn default() -> Self {
        Self {
            binding_dir: "/var/lib/nfdhcpd".into(),
            run_dir: "/run/snf-ifup".into(),
            router_mac: "cc:47:52:4e:45:54".into(),
            rule_priority: 30_000,
            announce: true,
            down_wait: 600,
            tags: TagWords::default(),
        }
    }
}

impl Default for TagWords {
    fn default() -> Self {
        Self {
            nfdhcpd: "nfdhcpd".into(),
            ip_less_routed: "ip-less-routed".into(),
            private_filtered: "private-filtered".into(),
            refused: ["masq", "disable_ipv4", "disable_ipv6"]
                .map(str::to_owned)
                .into(),
        }
    }
}

impl Config {
    /// Reads the text of a configuration file; the empty text gives the defaults.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File =
            toml::from_str(text).map_err(|error| ConfigError::Parse(Box::new(error)))?;
        file.try_into()
    }
}

impl TryFrom<File> for Config {
    type Error = ConfigError;

    fn try_from(file: File) -> Result<Self, ConfigError> {
        for (key, path) in [
            ("binding_dir", &file.binding_dir),
            ("run_dir", &file.run_dir),
        ] {
            if !path.is_absolute() {
                let value = format!("{path:?}");
                return Err(ConfigError::Value {
                    key,
                    value,
                    expected: "must begin with /",
                });
            }
        }
        let router_mac: Option<MacAddr> = file.router_mac.parse().ok();
        let Some(router_mac) = router_mac.filter(|mac| !mac.is_multicast()) else {
            return Err(ConfigError::Value {
                key: "router_mac",
                value: format!("{:?}", file.router_mac),
                expected: "must be a unicast hardware address, as in cc:47:52:4e:45:54",
            });
        };
        if !(1..=32_765).contains(&file.rule_priority) {
            return Err(ConfigError::Value {
                key: "rule_priority",
                value: file.rule_priority.to_string(),
                expected: "must be 1 to 32765: after table local, before table main",
            });
        }
        Ok(Self {
            binding_dir: file.binding_dir,
            run_dir: file.run_dir,
            router_mac,
            rule_priority: file.rule_priority,
            announce: file.announce,
            down_wait: file.down_wait,
            tags: file.tags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file we install says every key, with its default.
    #[test]
    fn the_packaged_file_is_the_default() {
        let packaged = include_str!("../../packaging/snf-ifup.toml");
        assert_eq!(Config::parse(packaged).unwrap(), Config::parse("").unwrap());
        let keys = [
            "binding_dir",
            "run_dir",
            "router_mac",
            "rule_priority",
            "announce",
            "down_wait",
        ];
        for key in keys
            .iter()
            .chain(&["nfdhcpd", "ip_less_routed", "private_filtered", "refused"])
        {
            assert!(
                packaged.contains(&format!("\n{key} = ")),
                "{key} is not in the packaged file"
            );
        }
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused_by_name() {
        for (text, names) in [
            ("bindings = \"/x\"", "bindings"),
            ("[tags]\nnfdhcp = \"x\"", "nfdhcp"),
            ("router_mac = \"01:00:5e:00:00:01\"", "router_mac"),
            ("rule_priority = 32766", "rule_priority = 32766"),
            ("run_dir = \"run\"", "run_dir"),
            ("announce = \"yes\"", "announce"),
        ] {
            let error = Config::parse(text).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let chain = format!("{error}: {}", source.unwrap_or_default());
            assert!(chain.contains(names), "{text}: {chain}");
        }
    }
}
