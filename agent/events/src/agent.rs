//! The bodies of node agents' messages: NICs as a hook saw them, progress of an image's deployment, a node's report.
//!
//! Each type has an order of its own: an epoch is one life of one agent, of one type, and ends with it. Its numbers only
//! rise; they may have holes, which stand for nothing: what was superseded or dropped is not to be asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Epoch, Prefix, Sequence, Timestamp};

/// Who sends, and as which message of its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The node's name in Ganeti.
    pub node: String,
    /// The cluster's name, when the node is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The cluster's UUID, when it is known: on the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uuid: Option<String>,
    /// One life of the agent.
    pub epoch: Epoch,
    /// Whose numbers these are.
    pub prefix: Prefix,
    /// The number.
    pub sequence: Sequence,
}

/// `ganeti-net-status`: an instance's NICs after an operation, as a hook was told. A marker of doubt: whoever gets it
/// reads the instance anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetStatus {
    /// The instance's name.
    pub instance: String,
    /// Its NICs; the place is the NIC's index.
    pub nics: Vec<NetNic>,
    /// Added: the hook, as `instance-modify`.
    pub hook: String,
    /// Added: when it spoke, by the master's clock.
    pub event_time: Timestamp,
    /// Added: who sends.
    #[serde(flatten)]
    pub origin: Origin,
}

/// One NIC of a [`NetStatus`]; what is not known is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetNic {
    /// IPv4 address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Bridge or routing table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// EUI-64 of the hardware address in its network's IPv6 prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// Profile of a `synnefo:network:<nic>:<profile>` tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firewall: Option<String>,
    /// Added: `bridged`, `routed`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Added: the NIC's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Added: its UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Added: its network's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// The types that are progress: the first is the original's of 2011, the others come from the image helper.
pub const PROGRESS: [&str; 6] = [
    "ganeti-create-progress",
    "image-copy-progress",
    "image-helper",
    "image-info",
    "image-warning",
    "image-error",
];

/// Longest text of a progress message, bytes.
pub const PROGRESS_MAX: usize = 64 << 10;

/// Progress of an image's deployment: an object with `type`, `instance` and `event_time`, and whatever the helper wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Progress(Map<String, Value>);

/// Why an object is no progress message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProgress {
    /// No JSON, or no object.
    #[error("not a JSON object")]
    NoObject,
    /// Longer than [`PROGRESS_MAX`].
    #[error("longer than {PROGRESS_MAX} bytes")]
    TooLong,
    /// Its `type` is none of [`PROGRESS`].
    #[error("no type of progress: {0:?}")]
    Type(String),
    /// It does not say whose it is, or when.
    #[error("without {0}")]
    Without(&'static str),
}

impl Progress {
    /// How much of an image was read and written, percent: rounded to two decimals.
    #[must_use]
    pub fn of_copy(instance: &str, at: Timestamp, read: Option<f64>, written: Option<f64>) -> Self {
        let mut fields = Map::new();
        fields.insert("type".to_owned(), "ganeti-create-progress".into());
        for (name, percent) in [("rprogress", read), ("wprogress", written)] {
            if let Some(percent) = percent {
                let rounded = (percent * 100.0).round() / 100.0;
                fields.insert(name.to_owned(), rounded.into());
            }
        }
        Self::stamped(fields, instance, at)
    }

    /// A helper's object, as a message about `instance` at `at`.
    ///
    /// # Errors
    /// When its type is not one that is forwarded.
    pub fn of_helper(
        fields: Map<String, Value>,
        instance: &str,
        at: Timestamp,
    ) -> Result<Self, NoProgress> {
        let stamped = Self::stamped(fields, instance, at);
        stamped.check()?;
        Ok(stamped)
    }

    fn stamped(mut fields: Map<String, Value>, instance: &str, at: Timestamp) -> Self {
        fields.insert("instance".to_owned(), instance.into());
        let (seconds, microseconds) = at.into();
        let at = Value::from(vec![Value::from(seconds), Value::from(microseconds)]);
        fields.insert("event_time".to_owned(), at);
        Self(fields)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// See [`NoProgress`].
    pub fn decode(text: &[u8]) -> Result<Self, NoProgress> {
        if text.len() > PROGRESS_MAX {
            return Err(NoProgress::TooLong);
        }
        let read: Self = serde_json::from_slice(text).map_err(|_| NoProgress::NoObject)?;
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), NoProgress> {
        let kind = self.0.get("type").and_then(Value::as_str);
        let Some(kind) = kind else {
            return Err(NoProgress::Without("type"));
        };
        if !PROGRESS.contains(&kind) {
            let shown = kind.chars().take(80).collect();
            return Err(NoProgress::Type(shown));
        }
        if !self.0.get("instance").is_some_and(Value::is_string) {
            return Err(NoProgress::Without("instance"));
        }
        let at = self.0.get("event_time");
        let at = at.map(|at| serde_json::from_value::<Timestamp>(at.clone()));
        if !matches!(at, Some(Ok(_))) {
            return Err(NoProgress::Without("event_time"));
        }
        Ok(())
    }

    /// One of [`PROGRESS`].
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("type")
    }

    /// The instance's name.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.text("instance")
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// How far it is, percent; it may be above 100. `None`: it does not say.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        let fields = ["progress", "wprogress", "rprogress"].iter();
        let said = fields.filter_map(|name| self.0.get(*name).and_then(Value::as_f64));
        said.reduce(f64::max)
    }

    /// A newer one of the same type says all that this one does: a percentage.
    #[must_use]
    pub fn is_superseded_by_newer(&self) -> bool {
        matches!(
            self.kind(),
            "ganeti-create-progress" | "image-copy-progress"
        )
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // A map with text for keys.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Its bytes with the sender, whatever it said of that itself.
    #[must_use]
    pub fn encode_from(mut self, origin: &Origin) -> Vec<u8> {
        for added in [
            "node",
            "cluster",
            "cluster_uuid",
            "epoch",
            "prefix",
            "sequence",
        ] {
            self.0.remove(added);
        }
        if let Ok(Value::Object(origin)) = serde_json::to_value(origin) {
            self.0.extend(origin);
        }
        self.encode()
    }
}

/// `node-report`: a host and the NICs on it that are the prefix's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// When it was written, by the node's clock.
    pub event_time: Timestamp,
    /// Who sends.
    #[serde(flatten)]
    pub origin: Origin,
    /// The agent's version.
    pub version: String,
    /// Seconds between two reports.
    pub interval: u64,
    /// Whether the node is the master.
    pub master: bool,
    /// The host.
    pub host: Host,
    /// The TAPs of the prefix's instances.
    pub taps: Vec<Tap>,
    /// How many TAPs are others'.
    pub other_taps: u64,
}

/// A host; what it does not tell is 0 or not there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// The kernel's release.
    pub kernel: String,
    /// UUID of this boot.
    pub boot_id: String,
    /// Seconds since it booted.
    pub uptime: u64,
    /// Processors in use.
    pub cpus: u64,
    /// Processes that run or wait for a disk: mean of 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Memory, bytes.
    pub memory: Memory,
    /// File systems of Ganeti's directories, by directory.
    pub disks: BTreeMap<String, Disk>,
    /// Bridges.
    pub bridges: Vec<String>,
}

/// A host's memory, bytes (`/proc/meminfo`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// All.
    pub total: u64,
    /// In no use.
    pub free: u64,
    /// What programs could have.
    pub available: u64,
    /// Swap space.
    pub swap_total: u64,
    /// Swap space in no use.
    pub swap_free: u64,
}

/// A file system, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// All.
    pub total: u64,
    /// What programs could have.
    pub available: u64,
}

/// One TAP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tap {
    /// Its name.
    pub tap: String,
    /// Whose it is.
    pub instance: String,
    /// Which of the instance's NICs, by the running instance's order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The NIC's hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// How it stood when it was looked at last: a word of `snf-agent status`.
    pub standing: String,
    /// What passed, as the VM sees it; not there when the device is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Traffic>,
    /// What nfdhcpd tells of it, when its VM has trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<DhcpTrouble>,
}

/// What passed a NIC since the device was made, **as the VM sees it**: `rx` is what the VM received, so what the kernel
/// counts as sent to the TAP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes to the VM.
    pub rx_bytes: u64,
    /// Packets to the VM.
    pub rx_packets: u64,
    /// Errors on the way to the VM.
    pub rx_errors: u64,
    /// Packets to the VM that were dropped.
    pub rx_dropped: u64,
    /// Bytes from the VM.
    pub tx_bytes: u64,
    /// Packets from the VM.
    pub tx_packets: u64,
    /// Errors on the way from the VM.
    pub tx_errors: u64,
    /// Packets from the VM that were dropped.
    pub tx_dropped: u64,
}

/// Why a VM did not get what it asked of nfdhcpd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DhcpTrouble {
    /// How the binding stands: `in force`, `waiting`, `stale`, `refused`.
    pub standing: String,
    /// The reasons, each a sentence.
    pub why: Vec<String>,
    /// The last messages of each protocol, as `nfdhcpd ctl show --json` has them.
    pub last: Value,
}

/// A node agent's message that has a shape of its own, told apart by `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AgentMessage {
    /// NICs as a hook saw them.
    #[serde(rename = "ganeti-net-status")]
    Net(NetStatus),
    /// A node's report.
    #[serde(rename = "node-report")]
    Report(Box<NodeReport>),
}

impl AgentMessage {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is no JSON, or no message of these types.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// The body's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Strings, finite numbers and maps with text for keys.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
