//! Bodies of the HTTPS transport: `POST /internal/events` on the controller, `GET /journal` on eventd.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Epoch, Heartbeat, Prefix, RoutingKey, Sequence};

/// Where a controller takes batches.
pub const EVENTS_PATH: &str = "/internal/events";
/// Where eventd answers with its journal.
pub const JOURNAL_PATH: &str = "/journal";

/// One message: what AMQP would carry as routing key and body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub sequence: Sequence,
    /// The key it would be published with.
    pub key: RoutingKey,
    /// The body.
    pub message: Box<RawValue>,
}

/// What is posted: messages of one prefix in rising order of their numbers, or a heartbeat alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch {
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's UUID; empty from a node agent that does not know it: only the master does.
    pub cluster_uuid: String,
    /// The journal's life.
    pub epoch: Epoch,
    /// Whose numbers these are.
    pub prefix: Prefix,
    /// The messages.
    pub records: Vec<Record>,
    /// How far the publisher is; at most once a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
}

/// The answer to a [`Batch`], status 200: all its messages up to this number are stored. A number below the batch's last
/// says that the rest was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The batch's epoch.
    pub epoch: Epoch,
    /// Highest number stored.
    pub sequence: Sequence,
}

/// Numbers `from` to `to` of which nothing is kept: newer messages stand for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// The first.
    pub from: Sequence,
    /// The last.
    pub to: Sequence,
}

/// The answer to `GET /journal?epoch=E&prefix=P&after=S`: with the records, every number from `after` + 1 to `to` is
/// either in `records` or in `superseded`, unless it is below `oldest`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// The journal's life.
    pub epoch: Epoch,
    /// Whose numbers these are.
    pub prefix: Prefix,
    /// Lowest number kept or known superseded; whatever was below is gone.
    pub oldest: Sequence,
    /// Highest number given.
    pub newest: Sequence,
    /// Up to which number this answer goes; below `newest` there is more to ask for.
    pub to: Sequence,
    /// The messages kept.
    pub records: Vec<Record>,
    /// The numbers that newer messages stand for.
    pub superseded: Vec<Superseded>,
}

/// The answer to a question about another epoch, status 409.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherEpoch {
    /// The journal's life now.
    pub epoch: Epoch,
}
