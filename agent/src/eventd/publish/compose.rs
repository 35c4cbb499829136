//! Bodies as they are sent: what the journal has, and what only the publisher knows.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ifup::apply::chain;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use snf_events::message::{InstanceDisk, InstanceNic, Missing, Place};
use snf_events::{JobStatus, Message, NaturalKey, OpCode, Sequence};

use crate::eventd::counters::Counters;
use crate::eventd::journal::View;
use crate::eventd::journal::record::Record;
use crate::eventd::luxi::{self, Found, LuxiError, QuerySocket, Wanted};
use crate::eventd::scribe::unix_milliseconds;
use crate::transport::{Outgoing, Ticket};

/// After an answer that took too long, Ganeti is left alone for so many milliseconds: events do not wait for it.
const RESPITE: u64 = 10_000;

/// Makes bodies.
#[derive(Debug, Clone)]
pub struct Composer {
    /// The cluster's name.
    pub cluster: String,
    /// Its UUID.
    pub cluster_uuid: String,
    /// Who knows the instances.
    pub socket: QuerySocket,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Until when Ganeti is left alone.
    pub respite: Arc<AtomicU64>,
}

/// A record with what goes with its body.
#[derive(Debug)]
pub struct Composed {
    /// The record.
    pub record: Record,
    /// Further members of the body, as JSON, each behind a comma.
    details: Vec<u8>,
}

/// What of a body says what goes with it; the rest is not read: bodies are only added to.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    instance: Option<Cow<'a, str>>,
    operation: OpCode,
    status: JobStatus,
    #[serde(borrow, default)]
    instance_uuid: Option<Cow<'a, str>>,
}

/// The members of an instance's details, as `OpStatus` has them.
#[derive(Serialize, Default)]
struct Attached<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_nics: Option<&'a [InstanceNic]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_disks: Option<&'a [InstanceDisk]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_hvparams: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_uuid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_no: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Missing>,
}

/// The members that say where an event stands.
#[derive(Serialize)]
struct Standing<'a> {
    cluster_uuid: &'a str,
    #[serde(flatten)]
    place: Place,
}

impl Composer {
    /// Records with what their instances are now. The last step is [`Composer::finish`].
    ///
    /// A record that holds no message is left out: nothing writes such a one.
    pub async fn compose_all(&self, records: Vec<Record>) -> Vec<Composed> {
        let mut asked = Vec::with_capacity(records.len());
        let mut names = Vec::new();
        for record in records {
            match Asked::of(&record.body) {
                Ok(about) => {
                    names.extend(about.as_ref().map(|about| about.instance.clone()));
                    asked.push((record, about));
                }
                Err(error) => tracing::error!(%error, "a record of the journal holds no message"),
            }
        }
        names.sort_unstable();
        names.dedup();
        let found = match names.as_slice() {
            [] => None,
            names => self.ask(names).await,
        };
        let composed = asked.into_iter().map(|(record, about)| match about {
            None => Composed {
                record,
                details: Vec::new(),
            },
            Some(about) => self.attach(record, &about, found.as_ref()),
        });
        composed.collect()
    }

    /// A record's body, but for its instance's details: for whoever closes a gap later, they would be too new anyway.
    #[must_use]
    pub fn without_details(&self, record: Record, view: &View) -> Option<Vec<u8>> {
        Asked::of(&record.body).ok()?;
        let previous = Sequence(record.sequence.0 - 1);
        let details = Vec::new();
        let composed = Composed { record, details };
        Some(self.finish(composed, previous, view).body)
    }

    async fn ask(&self, names: &[String]) -> Option<Found> {
        if unix_milliseconds() < self.respite.load(Ordering::Relaxed) {
            return None;
        }
        match self.socket.instances(names).await {
            Ok(found) => Some(found),
            Err(error) => {
                tracing::warn!(
                    "events go without their instances' details: {}",
                    chain(&error)
                );
                if let LuxiError::TooSlow { .. } = error {
                    let until = unix_milliseconds() + RESPITE;
                    self.respite.store(until, Ordering::Relaxed);
                }
                None
            }
        }
    }

    fn attach(&self, mut record: Record, about: &Asked, found: Option<&Found>) -> Composed {
        let details = match found.and_then(|found| found.get(&about.instance)) {
            Some(Some(details)) => Ok(details),
            Some(None) => Err(Missing::Absent),
            None => {
                self.counters.attachments_unavailable.more();
                Err(Missing::Unavailable)
            }
        };
        let attached = match details {
            Err(missing) => Attached {
                info: Some(missing),
                ..Attached::default()
            },
            // The job was submitted for another instance of this name: the body is made anew.
            Ok(details)
                if about
                    .uuid
                    .as_ref()
                    .is_some_and(|uuid| *uuid != details.uuid) =>
            {
                if let Ok(Message::Op(mut message)) = Message::decode(&record.body) {
                    luxi::attach(&mut message, about.wanted, Ok(details));
                    record.body = Message::Op(message).encode();
                }
                Attached::default()
            }
            Ok(details) => {
                let all = about.wanted == Wanted::All;
                Attached {
                    instance_nics: all.then_some(&details.nics),
                    instance_disks: all.then_some(&details.disks),
                    instance_hvparams: all.then_some(&details.hvparams),
                    instance_uuid: about.uuid.is_none().then_some(&details.uuid),
                    serial_no: Some(details.serial_no),
                    info: None,
                }
            }
        };
        Composed {
            record,
            details: members(&attached),
        }
    }

    /// Adds where the event stands.
    #[must_use]
    pub fn finish(&self, composed: Composed, previous: Sequence, view: &View) -> Outgoing {
        let Composed { record, details } = composed;
        let epoch = view.epoch().clone();
        let place = members(&Standing {
            cluster_uuid: &self.cluster_uuid,
            place: Place {
                epoch: epoch.clone(),
                prefix: record.subject.prefix.clone(),
                sequence: record.sequence,
                previous,
            },
        });
        let mut body = record.body;
        // The object's end.
        body.pop();
        body.reserve_exact(details.len() + place.len() + 1);
        body.extend(details);
        body.extend(place);
        body.push(b'}');
        let id = NaturalKey {
            cluster_uuid: self.cluster_uuid.clone(),
            job: record.subject.job,
            received: record.subject.received,
            op_index: record.subject.op_index,
            status: record.status,
        };
        Outgoing {
            ticket: Ticket(record.number.0),
            epoch,
            sequence: record.sequence,
            prefix: record.subject.prefix,
            key: record.key,
            id: id.to_string(),
            body,
            mandatory: true,
        }
    }
}

/// An object's members, each behind a comma.
fn members(object: &impl Serialize) -> Vec<u8> {
    // Texts and numbers: nothing in it that JSON cannot hold.
    let mut bytes = serde_json::to_vec(object).unwrap_or_default();
    bytes.pop();
    match bytes.as_mut_slice() {
        [first, _, ..] => *first = b',',
        _ => bytes.clear(),
    }
    bytes
}

/// What is asked of an event's instance.
struct Asked {
    instance: String,
    wanted: Wanted,
    /// The instance's UUID, where the body has one.
    uuid: Option<String>,
}

impl Asked {
    /// Nothing is asked for events of other types, and while an operation is not over.
    fn of(body: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        let head: Head<'_> = serde_json::from_slice(body)?;
        let wanted = luxi::wanted(&head.operation, head.status);
        let (Some(instance), Some(wanted)) = (head.instance, wanted) else {
            return Ok(None);
        };
        Ok((head.kind == OP_STATUS).then(|| Self {
            instance: instance.into_owned(),
            wanted,
            uuid: head.instance_uuid.map(Cow::into_owned),
        }))
    }
}

/// `type` of [`Message::Op`].
const OP_STATUS: &str = "ganeti-op-status";
