//! What is on its way: events sent and not settled, and those to be sent again; how far all before is through.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use snf_events::{Prefix, Sequence};
use tokio::time::Instant;

use super::compose::Composer;
use super::{PAUSE_MAX, WINDOW};
use crate::eventd::counters::Counters;
use crate::eventd::journal::View;
use crate::eventd::journal::read::Reader;
use crate::eventd::journal::record::{Number, Record};
use crate::transport::{Outcome, Outgoing};

/// Events read, and composed, at once.
const BATCH: usize = 64;

/// The first pause before an event is sent again.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Open {
    record: Record,
    standing: Standing,
    attempts: u32,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    Sent { at: Instant },
    Waits { until: Instant },
}

/// All that is not through.
#[derive(Debug)]
pub(super) struct Window {
    view: View,
    counters: Arc<Counters>,
    reader: Reader,
    /// Up to here the journal was read.
    read: Number,
    open: BTreeMap<Number, Open>,
    sent: usize,
    /// What was read and is above the cursor, in order.
    passed: VecDeque<(Number, Prefix, Sequence)>,
    /// The cursor of each stream.
    cursors: BTreeMap<Prefix, Sequence>,
    /// The number sent last in each stream.
    previous: BTreeMap<Prefix, Sequence>,
    /// True until the topology was looked after since the last return.
    returned: bool,
}

impl Window {
    pub(super) fn new(view: View, counters: Arc<Counters>) -> Self {
        let read = view.mark().acknowledged;
        let cursors = view.acknowledged().clone();
        Self {
            reader: Reader::new(&view, read),
            view,
            counters,
            read,
            open: BTreeMap::new(),
            sent: 0,
            passed: VecDeque::new(),
            previous: cursors.clone(),
            cursors,
            returned: false,
        }
    }

    /// After a connection broke: everything that is not through is to be sent again.
    pub(super) fn start_again(&mut self) {
        self.read = self.through();
        self.reader = Reader::new(&self.view, self.read);
        self.open.clear();
        self.sent = 0;
        self.passed.clear();
        self.previous = self.cursors.clone();
    }

    /// Up to here everything is acknowledged or superseded.
    fn through(&self) -> Number {
        let first = self.open.keys().next();
        first.map_or(self.read, |first| Number(first.0 - 1))
    }

    pub(super) fn cursor(&self, prefix: &Prefix) -> Sequence {
        self.cursors.get(prefix).copied().unwrap_or_default()
    }

    pub(super) fn backlog(&self) -> u64 {
        let committed = self.view.committed().borrow().number;
        committed.0.saturating_sub(self.through().0)
    }

    /// True when something was sent that is not settled.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent > 0
    }

    /// When the oldest was sent that is not settled.
    pub(super) fn oldest_sent(&self) -> Option<Instant> {
        let sent = self.open.values().filter_map(|open| match open.standing {
            Standing::Sent { at } => Some(at),
            Standing::Waits { .. } => None,
        });
        // They are sent in order, but for the few that are sent again.
        sent.take(2).min()
    }

    /// When the next is to be sent again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        if self.open.len() == self.sent {
            return None;
        }
        let waits = self.open.values().filter_map(|open| match open.standing {
            Standing::Waits { until } => Some(until),
            Standing::Sent { .. } => None,
        });
        waits.min()
    }

    /// True once after an event was returned.
    pub(super) fn returned_anew(&mut self) -> bool {
        std::mem::take(&mut self.returned)
    }

    /// What became of an event.
    pub(super) fn settle(&mut self, number: Number, outcome: Outcome) {
        let Some(open) = self.open.get_mut(&number) else {
            return;
        };
        if let Standing::Sent { .. } = open.standing {
            self.sent -= 1;
        }
        match outcome {
            Outcome::Stored => {
                self.open.remove(&number);
                self.counters.acknowledged.more();
                return;
            }
            Outcome::Returned => {
                self.counters.returned.more();
                if open.attempts == 0 {
                    tracing::error!(key = %open.record.key, "no queue takes events with this key; they wait");
                }
                self.returned = true;
            }
            Outcome::Refused => {
                self.counters.refused.more();
            }
        }
        let pause = PAUSE * 2_u32.saturating_pow(open.attempts.min(10));
        open.attempts += 1;
        open.standing = Standing::Waits {
            until: Instant::now() + pause.min(PAUSE_MAX),
        };
    }

    /// The next events to send; nothing when there is no room, or nothing to send.
    pub(super) async fn next_batch(&mut self, composer: &Composer) -> Option<Vec<Outgoing>> {
        let now = Instant::now();
        let mut records = Vec::new();
        if self.open.len() > self.sent {
            let due = self.open.iter().filter(
                |(_, open)| matches!(open.standing, Standing::Waits { until } if until <= now),
            );
            let room = WINDOW.saturating_sub(self.sent).min(BATCH);
            let due: Vec<Number> = due.map(|(number, _)| *number).take(room).collect();
            for number in due {
                records.extend(self.again(number));
            }
        }
        let room = WINDOW
            .saturating_sub(self.sent + records.len())
            .min(BATCH)
            .min((2 * WINDOW).saturating_sub(self.open.len()));
        self.read(room, &mut records);
        if records.is_empty() {
            return None;
        }
        for record in &records {
            let open = Open {
                record: record.clone(),
                standing: Standing::Sent { at: now },
                attempts: self.attempts(record.number),
            };
            self.open.insert(record.number, open);
            self.sent += 1;
        }
        let mut outgoing = Vec::with_capacity(records.len());
        for (record, message) in composer.compose_all(records).await {
            let prefix = &record.subject.prefix;
            let previous = self.previous.entry(prefix.clone()).or_default();
            let before = if record.sequence > *previous {
                std::mem::replace(previous, record.sequence)
            } else {
                // Sent again.
                Sequence(record.sequence.0 - 1)
            };
            outgoing.push(composer.finish(record, message, before, &self.view));
        }
        Some(outgoing)
    }

    fn attempts(&self, number: Number) -> u32 {
        self.open.get(&number).map_or(0, |open| open.attempts)
    }

    /// One that is to be sent again; nothing when a newer one stands for it.
    fn again(&mut self, number: Number) -> Option<Record> {
        let open = self.open.get(&number)?;
        if self.view.is_superseded(&open.record) {
            self.open.remove(&number);
            self.counters.superseded.more();
            return None;
        }
        Some(open.record.clone())
    }

    fn read(&mut self, room: usize, records: &mut Vec<Record>) {
        let committed = self.view.committed().borrow().number;
        let end = records.len() + room;
        while records.len() < end && self.read < committed {
            match self.reader.next(committed) {
                Ok(Some(record)) => {
                    self.read = record.number;
                    self.passed.push_back((
                        record.number,
                        record.subject.prefix.clone(),
                        record.sequence,
                    ));
                    if self.view.is_superseded(&record) {
                        self.counters.superseded.more();
                    } else {
                        records.push(record);
                    }
                }
                // What is left was superseded.
                Ok(None) => self.read = committed,
                Err(error) => {
                    tracing::error!(%error, "read the journal");
                    self.counters.journal_errors.more();
                    return;
                }
            }
        }
    }

    /// Keeps the cursor, and tells the counters how far it is.
    pub(super) async fn report(&mut self) {
        let through = self.through();
        while let Some((number, ..)) = self.passed.front()
            && *number <= through
        {
            if let Some((_, prefix, sequence)) = self.passed.pop_front() {
                self.cursors.insert(prefix, sequence);
            }
        }
        let backlog = self.backlog();
        self.counters.backlog.set(backlog);
        let oldest = match self.open.values().next() {
            Some(open) => open.record.written,
            None if backlog > 0 => {
                let committed = self.view.committed().borrow().number;
                let next = Reader::new(&self.view, through).next(committed);
                next.ok().flatten().map_or(0, |record| record.written)
            }
            None => 0,
        };
        self.counters.oldest_written.set(oldest);
        if through > self.view.mark().acknowledged {
            let view = self.view.clone();
            let kept = tokio::task::spawn_blocking(move || view.acknowledge(through)).await;
            if let Ok(Err(error)) = kept {
                tracing::error!(%error, "keep the cursor");
                self.counters.journal_errors.more();
            }
        }
    }
}
