//! Bodies as they are sent: what the journal has, and what only the publisher knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ifup::apply::chain;
use snf_events::message::{Missing, Place};
use snf_events::{Message, Sequence};

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

impl Composer {
    /// The messages of records, with what their instances are now. The last step is [`Composer::finish`].
    ///
    /// A record that holds no message is left out: nothing writes such a one.
    pub async fn compose_all(&self, records: Vec<Record>) -> Vec<(Record, Message)> {
        let mut messages = Vec::with_capacity(records.len());
        let mut names = Vec::new();
        for record in records {
            match Message::decode(&record.body) {
                Ok(message) => {
                    if let Some(wanted) = Asked::of(&message) {
                        names.push(wanted.instance.to_owned());
                    }
                    messages.push((record, message));
                }
                Err(error) => tracing::error!(%error, "a record of the journal holds no message"),
            }
        }
        if names.is_empty() {
            return messages;
        }
        names.sort_unstable();
        names.dedup();
        let found = self.ask(&names).await;
        for (_, message) in &mut messages {
            self.attach(message, found.as_ref());
        }
        messages
    }

    /// A record's body, but for its instance's details: for whoever closes a gap later, they would be too new anyway.
    #[must_use]
    pub fn without_details(&self, record: Record, view: &View) -> Option<Vec<u8>> {
        let message = Message::decode(&record.body).ok()?;
        let previous = Sequence(record.sequence.0 - 1);
        Some(self.finish(record, message, previous, view).body)
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

    fn attach(&self, message: &mut Message, found: Option<&Found>) {
        let Some(Asked { wanted, .. }) = Asked::of(message) else {
            return;
        };
        let Message::Op(message) = message else {
            return;
        };
        let details = match found.and_then(|found| found.get(&message.instance)) {
            Some(Some(details)) => Ok(details),
            Some(None) => Err(Missing::Absent),
            None => {
                self.counters.attachments_unavailable.more();
                Err(Missing::Unavailable)
            }
        };
        luxi::attach(message, wanted, details);
    }

    /// Adds where the event stands, and makes bytes of it.
    #[must_use]
    pub fn finish(
        &self,
        record: Record,
        mut message: Message,
        previous: Sequence,
        view: &View,
    ) -> Outgoing {
        let mut id = String::new();
        if let Some(operation) = message.operation_mut() {
            operation.cluster_uuid = Some(self.cluster_uuid.clone());
            operation.place = Some(Place {
                epoch: view.epoch().clone(),
                prefix: record.subject.prefix.clone(),
                sequence: record.sequence,
                previous,
            });
            id = operation
                .natural_key()
                .map_or_else(String::new, |key| key.to_string());
        }
        Outgoing {
            ticket: Ticket(record.number.0),
            epoch: view.epoch().clone(),
            sequence: record.sequence,
            prefix: record.subject.prefix,
            key: record.key,
            id,
            body: message.encode(),
            mandatory: true,
        }
    }
}

struct Asked<'a> {
    instance: &'a str,
    wanted: Wanted,
}

impl<'a> Asked<'a> {
    fn of(message: &'a Message) -> Option<Self> {
        let Message::Op(message) = message else {
            return None;
        };
        Some(Self {
            instance: &message.instance,
            wanted: luxi::wanted(message)?,
        })
    }
}
