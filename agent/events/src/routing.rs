//! Prefixes, routing keys, and the names of exchange and queues.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The one exchange: topic, durable.
pub const EXCHANGE: &str = "ganeti";

/// What the names of a deployment's instances and networks begin with, dash included: `snf-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(Arc<str>);

/// The text cannot be a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no prefix: 1 to 32 letters, digits or '_', then one '-', as in \"snf-\"")]
pub struct NoPrefix(String);

impl Prefix {
    /// As it is configured, with the dash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part of routing keys and queue names: without the dash.
    #[must_use]
    pub fn word(&self) -> &str {
        self.0.strip_suffix('-').unwrap_or(&self.0)
    }

    /// Whether an instance or network of this name is the deployment's.
    #[must_use]
    pub fn owns(&self, name: &str) -> bool {
        name.starts_with(&*self.0)
    }
}

impl FromStr for Prefix {
    type Err = NoPrefix;

    fn from_str(text: &str) -> Result<Self, NoPrefix> {
        let word = text.strip_suffix('-').unwrap_or_default();
        let fits = word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if fits && (1..=32).contains(&word.len()) {
            Ok(Self(text.into()))
        } else {
            Err(NoPrefix(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Prefix {
    type Error = NoPrefix;

    fn try_from(text: String) -> Result<Self, NoPrefix> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0.as_ref().to_owned()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of events a deployment has a queue for: `<p>-events-<kind>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Operations on instances.
    Op,
    /// Operations on networks.
    Network,
    /// Progress of an image's deployment.
    Progress,
    /// NICs a hook saw.
    Net,
    /// The cluster's own parameters.
    Cluster,
    /// Reports of node agents.
    Node,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Op,
        Self::Network,
        Self::Progress,
        Self::Net,
        Self::Cluster,
        Self::Node,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Op => "op",
            Self::Network => "network",
            Self::Progress => "progress",
            Self::Net => "net",
            Self::Cluster => "cluster",
            Self::Node => "node",
        }
    }

    /// The deployment's queue for it.
    #[must_use]
    pub fn queue(self, prefix: &Prefix) -> String {
        format!("{}-events-{}", prefix.word(), self.word())
    }

    /// The key it is published with; the cluster's is the same for all deployments.
    #[must_use]
    pub fn key(self, prefix: &Prefix) -> RoutingKey {
        match self {
            Self::Cluster => RoutingKey(format!("ganeti.event.{}", self.word())),
            Self::Op | Self::Network | Self::Progress | Self::Net | Self::Node => {
                RoutingKey(format!("ganeti.{}.event.{}", prefix.word(), self.word()))
            }
        }
    }
}

/// What a message is published with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoutingKey(String);

impl RoutingKey {
    /// The key of heartbeats.
    #[must_use]
    pub fn heartbeat() -> Self {
        Self(String::from("eventd.heartbeat"))
    }

    /// A key that was stored.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_queues_of_a_prefix() {
        let prefix: Prefix = "snf-".parse().unwrap();
        let key = |kind: Kind| kind.key(&prefix).to_string();
        assert_eq!(key(Kind::Op), "ganeti.snf.event.op");
        assert_eq!(key(Kind::Network), "ganeti.snf.event.network");
        assert_eq!(key(Kind::Progress), "ganeti.snf.event.progress");
        assert_eq!(key(Kind::Net), "ganeti.snf.event.net");
        assert_eq!(key(Kind::Node), "ganeti.snf.event.node");
        assert_eq!(key(Kind::Cluster), "ganeti.event.cluster");
        assert_eq!(RoutingKey::heartbeat().as_str(), "eventd.heartbeat");
        assert_eq!(Kind::Op.queue(&prefix), "snf-events-op");
        assert!(prefix.owns("snf-42"));
        assert!(!prefix.owns("snf"));
        assert!(!prefix.owns("other-42"));
    }

    #[test]
    fn what_would_break_a_key_is_no_prefix() {
        for wrong in ["", "-", "snf", "a-b-", "a.b-", "*-", "#-", " -"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }
}
