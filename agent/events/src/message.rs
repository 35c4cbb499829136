//! The bodies of messages: the original's fields, and ours beside them. UTF-8 JSON; consumers ignore what they do not
//! know, and take every added field as absent when it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Epoch, JobId, JobStatus, NaturalKey, OpCode, Prefix, Sequence, Timestamp};

/// What all messages about an operation have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Ganeti's opcode.
    pub operation: OpCode,
    /// How far it is.
    pub status: JobStatus,
    /// The job.
    #[serde(rename = "jobId")]
    pub job: JobId,
    /// When it came so far, by the master's clock.
    pub event_time: Timestamp,
    /// Last line of its log.
    pub logmsg: Option<String>,
    /// The cluster's name.
    pub cluster: String,
    /// Its result, as the job file has it; null in place of one above the size limit (`truncated`).
    pub result: Value,

    /// Added: the cluster's UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uuid: Option<String>,
    /// Added: when Ganeti received the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_timestamp: Option<Timestamp>,
    /// Added: which of the job's operations, from 0.
    #[serde(default)]
    pub op_index: u32,
    /// Added: when it ended; what run states are ordered by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_timestamp: Option<Timestamp>,
    /// Added: the reason its submitter gave (`?reason=` of RAPI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Added: which fields were left out as too large.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<String>,
    /// Added: where it stands in the publisher's journal.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// Where a message stands in a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The journal's life.
    pub epoch: Epoch,
    /// Whose numbers these are.
    pub prefix: Prefix,
    /// The number.
    pub sequence: Sequence,
    /// The number of the message published before this one: those between were superseded, not lost.
    pub previous: Sequence,
}

impl Operation {
    /// What makes the event this event; nothing when a publisher of the original sent it.
    #[must_use]
    pub fn natural_key(&self) -> Option<NaturalKey> {
        Some(NaturalKey {
            cluster_uuid: self.cluster_uuid.clone()?,
            job: self.job,
            received: self.received_timestamp?,
            op_index: self.op_index,
            status: self.status,
        })
    }
}

/// `ganeti-op-status`: an operation on an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpStatus {
    /// The instance's name.
    pub instance: String,
    /// What all operations have.
    #[serde(flatten)]
    pub operation: Operation,
    /// Parts of the operation's input, by opcode; an object.
    pub job_fields: Value,
    /// Tags given in the input.
    pub tags: Vec<String>,
    /// The instance's NICs, when attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_nics: Option<Vec<InstanceNic>>,
    /// Its disks, when attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_disks: Option<Vec<InstanceDisk>>,
    /// Boot order and CD image, when attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_hvparams: Option<Value>,
    /// Added: the instance's UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_uuid: Option<String>,
    /// Added: Ganeti's number of the instance's configuration, read after the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_no: Option<u64>,
    /// Added: why nothing is attached that should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Missing>,
}

/// Why an instance's details are not attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Ganeti did not answer in time.
    Unavailable,
    /// Ganeti has no such instance (any more).
    Absent,
}

/// One NIC of an instance, as Ganeti has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceNic {
    /// Its name, `snf-nic-7`.
    pub name: Option<String>,
    /// Its network's name.
    pub network: Option<String>,
    /// Its IPv4 address.
    pub ip: Option<String>,
    /// Its hardware address.
    pub mac: String,
    /// `bridged`, `routed`, …
    pub mode: String,
    /// Bridge or routing table.
    pub link: String,
    /// Its UUID.
    pub uuid: String,
    /// Profile of a `synnefo:network:<nic>:<profile>` tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<String>,
}

/// One disk of an instance, as Ganeti has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceDisk {
    /// Its name, `snf-vol-9`.
    pub name: Option<String>,
    /// Size in MiB.
    pub size: u64,
    /// Its UUID.
    pub uuid: String,
}

/// `ganeti-network-status`: an operation on a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// The network's name.
    pub network: String,
    /// What all operations have.
    #[serde(flatten)]
    pub operation: Operation,
    /// `subnet, gateway, add_reserved_ips, remove_reserved_ips, group_name` of the input.
    pub job_fields: Value,
}

/// `ganeti-cluster-status`: the cluster's parameters were to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// What all operations have.
    #[serde(flatten)]
    pub operation: Operation,
}

/// `eventd-heartbeat`: the publisher lives, and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The cluster's name.
    pub cluster: String,
    /// Always `OP_TAGS_SET`: the original's heartbeat was a job that set a tag.
    pub operation: OpCode,
    /// Always `waiting`, as the original's.
    pub status: JobStatus,
    /// Always 0: no job.
    #[serde(rename = "jobId")]
    pub job: JobId,
    /// When it was sent, by the publisher's clock.
    pub event_time: Timestamp,
    /// Always null.
    pub logmsg: Option<String>,
    /// Always null.
    pub result: Value,
    /// Added: the cluster's UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uuid: Option<String>,
    /// Added: the publisher's node.
    pub node: String,
    /// Added: the publisher's version.
    pub version: String,
    /// Added: whether the node is the master; false in a master's last one.
    pub master: bool,
    /// Added: the journal's life.
    pub epoch: Epoch,
    /// Added: how far each prefix is.
    pub streams: Vec<StreamState>,
    /// Added: seconds since the oldest event was journaled that is not acknowledged; 0 when all are.
    pub lag_seconds: f64,
}

/// How far the publication of one prefix is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The prefix.
    pub prefix: Prefix,
    /// Highest number given.
    pub sequence: Sequence,
    /// All up to this number are acknowledged.
    pub cursor: Sequence,
}

/// Any message of eventd, told apart by `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Message {
    /// An operation on an instance.
    #[serde(rename = "ganeti-op-status")]
    Op(OpStatus),
    /// An operation on a network.
    #[serde(rename = "ganeti-network-status")]
    Network(NetworkStatus),
    /// The cluster's parameters.
    #[serde(rename = "ganeti-cluster-status")]
    Cluster(ClusterStatus),
    /// The publisher lives.
    #[serde(rename = "eventd-heartbeat")]
    Heartbeat(Heartbeat),
}

impl Message {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is no JSON, or no message of a type known here.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// The body's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Strings, numbers and maps with text for keys: nothing in it that JSON cannot hold.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The operation it is about; a heartbeat is about none.
    #[must_use]
    pub fn operation(&self) -> Option<&Operation> {
        match self {
            Self::Op(OpStatus { operation, .. })
            | Self::Network(NetworkStatus { operation, .. })
            | Self::Cluster(ClusterStatus { operation }) => Some(operation),
            Self::Heartbeat(_) => None,
        }
    }

    /// As [`Message::operation`].
    #[must_use]
    pub fn operation_mut(&mut self) -> Option<&mut Operation> {
        match self {
            Self::Op(OpStatus { operation, .. })
            | Self::Network(NetworkStatus { operation, .. })
            | Self::Cluster(ClusterStatus { operation }) => Some(operation),
            Self::Heartbeat(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
