//! What is on its way: events sent and not settled, and those to be sent again; how far all before is through.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use snf_events::{Prefix, Sequence};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::compose::{Composed, Composer};
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
    /// Its message is being made, or waits for room.
    Composed,
    Sent {
        at: Instant,
    },
    Waits {
        until: Instant,
    },
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
    /// The cursor that was last told to be kept.
    kept: Number,
    /// The call that keeps it.
    keeping: Option<JoinHandle<()>>,
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
            kept: read,
            keeping: None,
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
            Standing::Composed | Standing::Waits { .. } => None,
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
            Standing::Composed | Standing::Sent { .. } => None,
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

    /// The next events to compose, a batch: Ganeti is asked once for all. Nothing when there is nothing to send.
    pub(super) fn next_batch(&mut self) -> Option<Vec<Record>> {
        let now = Instant::now();
        let mut records = Vec::new();
        if self.open.len() > self.sent {
            let due = self.open.iter().filter(
                |(_, open)| matches!(open.standing, Standing::Waits { until } if until <= now),
            );
            let due: Vec<Number> = due.map(|(number, _)| *number).take(BATCH).collect();
            for number in due {
                records.extend(self.again(number));
            }
        }
        let room = BATCH
            .saturating_sub(records.len())
            .min((2 * WINDOW).saturating_sub(self.open.len()));
        self.read(room, &mut records);
        if records.is_empty() {
            return None;
        }
        for record in &records {
            let open = Open {
                record: record.clone(),
                standing: Standing::Composed,
                attempts: self.attempts(record.number),
            };
            self.open.insert(record.number, open);
        }
        Some(records)
    }

    /// True when one more may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.sent < WINDOW
    }

    /// Notes that an event is being sent.
    pub(super) fn sends(&mut self, number: Number) {
        if let Some(open) = self.open.get_mut(&number) {
            open.standing = Standing::Sent { at: Instant::now() };
            self.sent += 1;
        }
    }

    /// Makes a batch that was composed ready to be sent.
    pub(super) fn finish(&mut self, composed: Vec<Composed>, composer: &Composer) -> Vec<Outgoing> {
        let mut outgoing = Vec::with_capacity(composed.len());
        for composed in composed {
            let record = &composed.record;
            let prefix = &record.subject.prefix;
            let previous = self.previous.entry(prefix.clone()).or_default();
            let before = if record.sequence > *previous {
                std::mem::replace(previous, record.sequence)
            } else {
                // Sent again.
                Sequence(record.sequence.0 - 1)
            };
            outgoing.push(composer.finish(composed, before, &self.view));
        }
        outgoing
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

    /// Tells the counters how far the cursor is, and has it kept: publication does not wait for the disk. What is not kept
    /// by then is at the next call.
    pub(super) fn report(&mut self) {
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
        let is_kept = self.keeping.as_ref().is_none_or(JoinHandle::is_finished);
        if is_kept && through > self.kept {
            self.kept = through;
            let (view, counters) = (self.view.clone(), Arc::clone(&self.counters));
            self.keeping = Some(tokio::task::spawn_blocking(move || {
                if let Err(error) = view.acknowledge(through) {
                    tracing::error!(%error, "keep the cursor");
                    counters.journal_errors.more();
                }
            }));
        }
    }

    /// As [`Window::report`], and the cursor is kept then.
    pub(super) async fn report_and_keep(&mut self) {
        for _ in 0..2 {
            // One that was under way first; a panic in it was told.
            if let Some(keeping) = self.keeping.take() {
                let _ = keeping.await;
            }
            self.report();
        }
        if let Some(keeping) = self.keeping.take() {
            let _ = keeping.await;
        }
    }
}
