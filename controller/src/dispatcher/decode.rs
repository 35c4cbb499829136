//! A delivery → what it says, of one of our clusters. Pure. Whoever may write to the broker may say anything: a message
//! counts only for the cluster whose credential it came with.

use snf_events::message::{Message, NetworkStatus, OpStatus, Operation};
use snf_events::{Prefix, Sequence};

use serde::Deserialize;
use snf_events::agent::{NetStatus, PROGRESS, Progress};

use super::{Delivery, Sender};
use crate::db::entity::backend;
use crate::rapi::naming::Named;

/// `type` of a hook's word.
const NET_STATUS: &str = "ganeti-net-status";
/// `type` of a node's report.
const NODE_REPORT: &str = "node-report";

/// What a message says, and of which cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The cluster's row.
    pub backend: i64,
    /// What.
    pub subject: Subject,
    /// Where it stands in its publisher's journal.
    pub heard: Option<Heard>,
}

/// Where a message stands in its publisher's journal, or how far a heartbeat says that it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    /// The journal's life.
    pub epoch: String,
    /// The number sent before it, and its own; a heartbeat covers nothing.
    pub covers: Option<(i64, i64)>,
    /// The node and version that a heartbeat names.
    pub from: Option<(String, String)>,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// An operation on an instance.
    Instance(Box<OpStatus>),
    /// An operation on a network.
    Network(Box<NetworkStatus>),
    /// Something of an instance may have changed.
    Doubt(String),
    /// So much of an instance's image is deployed.
    Progress {
        /// The instance.
        instance: String,
        /// Percent, 0 to 100.
        percent: i32,
    },
    /// Nothing that is kept in rows here: a heartbeat, a node's report, or the cluster's own parameters.
    Heard,
}

/// Reads a delivery.
///
/// # Errors
/// Why it can never be taken in.
pub fn decode(
    delivery: &Delivery,
    clusters: &[backend::Model],
    prefix: &Prefix,
) -> Result<Event, String> {
    let sender = delivery.sender.ok_or("its sender is nobody that we know")?;
    let cluster = clusters
        .iter()
        .find(|cluster| cluster.id == sender.backend())
        .ok_or("its sender is no cluster of ours any more")?;
    if let Some(event) = of_a_node(&delivery.body, cluster) {
        return event;
    }
    let message = Message::decode(&delivery.body)
        .map_err(|error| format!("not a message that we know: {error}"))?;
    if let Sender::Node(_) = sender {
        return Err(String::from(
            "its sender, a node's agent, may not tell of operations",
        ));
    }
    let (name, uuid) = match &message {
        Message::Heartbeat(heartbeat) => (&heartbeat.cluster, &heartbeat.cluster_uuid),
        Message::Op(OpStatus { operation, .. })
        | Message::Network(NetworkStatus { operation, .. }) => of(operation),
        Message::Cluster(message) => of(&message.operation),
    };
    if uuid.is_none() || *uuid != cluster.cluster_uuid {
        let uuid = uuid.as_deref().unwrap_or("none");
        return Err(format!(
            "it speaks of the cluster {name} ({uuid}), and its sender is {}",
            cluster.name
        ));
    }
    let heard = heard(&message, prefix);
    let subject = match message {
        Message::Op(message) => Subject::Instance(Box::new(message)),
        Message::Network(message) if prefix.owns(&message.network) => {
            Subject::Network(Box::new(message))
        }
        Message::Network(_) | Message::Cluster(_) | Message::Heartbeat(_) => Subject::Heard,
    };
    Ok(Event {
        backend: cluster.id,
        subject,
        heard,
    })
}

/// What a node's agent tells; `None`: it is not one of its messages.
fn of_a_node(body: &[u8], cluster: &backend::Model) -> Option<Result<Event, String>> {
    let kind = serde_json::from_slice::<Kind>(body).ok()?.kind;
    let subject = if PROGRESS.contains(&kind.as_str()) {
        Progress::decode(body)
            .map(|progress| progress_of(&progress))
            .map_err(|error| error.to_string())
    } else if kind == NET_STATUS {
        match serde_json::from_slice::<NetStatus>(body) {
            Err(error) => Err(format!("not a {NET_STATUS}: {error}")),
            Ok(status)
                if status
                    .origin
                    .cluster_uuid
                    .as_ref()
                    .is_some_and(|uuid| Some(uuid) != cluster.cluster_uuid.as_ref()) =>
            {
                Err(format!(
                    "it speaks of another cluster than its sender, {}",
                    cluster.name
                ))
            }
            Ok(status) => Ok(Subject::Doubt(status.instance)),
        }
    } else if kind == NODE_REPORT {
        Ok(Subject::Heard)
    } else {
        return None;
    };
    Some(subject.map(|subject| Event {
        backend: cluster.id,
        subject,
        heard: None,
    }))
}

/// The `type` of a message, whatever else it has.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

/// The furthest of what was read and written, as a whole number of percent.
fn progress_of(progress: &Progress) -> Subject {
    let percent = progress.percent().unwrap_or(0.0).clamp(0.0, 100.0);
    Subject::Progress {
        instance: progress.instance().to_owned(),
        // Clamped above.
        percent: percent as i32,
    }
}

/// Where it stands, if it is one of our stream's.
fn heard(message: &Message, prefix: &Prefix) -> Option<Heard> {
    if let Message::Heartbeat(heartbeat) = message {
        return Some(Heard {
            epoch: heartbeat.epoch.to_string(),
            covers: None,
            from: Some((heartbeat.node.clone(), heartbeat.version.clone())),
        });
    }
    let place = message.operation()?.place.as_ref()?;
    let number = |sequence: Sequence| i64::try_from(sequence.0).ok();
    let covers = number(place.previous).zip(number(place.sequence));
    (place.prefix == *prefix).then(|| Heard {
        epoch: place.epoch.to_string(),
        covers,
        from: None,
    })
}

const fn of(operation: &Operation) -> (&String, &Option<String>) {
    (&operation.cluster, &operation.cluster_uuid)
}

/// The number of the network that a message is about.
#[must_use]
pub fn network_number(message: &NetworkStatus) -> Option<i64> {
    let (prefix, _) = message.network.split_once('-')?;
    let prefix: Prefix = format!("{prefix}-").parse().ok()?;
    match Named::parse(&message.network, &prefix)? {
        Named::Network(id) => Some(id),
        Named::Server(_) | Named::Port(_) => None,
    }
}
