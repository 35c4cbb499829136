//! A packet thread: one queue, and the whole trip of its packets, from the queue to the verdict.
//!
//! Each queue has a thread of its own that waits in the very call that takes packets: nothing stands between a packet
//! and its answer, and no protocol waits for another. What is told of a packet is told when its answer is on its way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwap;
use nfdhcpd_binding::MacAddr;
use tokio::sync::mpsc;

use crate::asked::Asked;
use crate::clock::Clock;
use crate::config::Absent;
use crate::counters::Counters;
use crate::outcome::Outcome;
use crate::policer::{Bucket, Policy};
use crate::ports::{Port, Ports};
use crate::queue::{BATCH, Packet, Queue, QueueError, Wait};
use crate::responder::{Decision, Ignored, Reply, answer, ndp};
use crate::rules::plan::Mark;
use crate::story::Event;
use crate::tap::{Outbox, Tap};
use crate::trace::Tracer;
use crate::wire::{Frame, Protocol};

/// How a queued packet names its TAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// By its mark: our rules set it. A packet of a TAP without a binding is dropped.
    Mark(Mark),
    /// By the device it came in on: the rules are the operator's. A packet of a TAP without a binding has this fate.
    Device(Absent),
}

/// What a packet thread tells the rest of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The TAP's VM solicited an advertisement that can only go to all nodes.
    Advertise {
        /// The TAP's interface index.
        tap: u32,
    },
    /// The VM found its address in use by somebody else.
    Declined {
        /// The TAP's interface index.
        tap: u32,
    },
}

/// What all packet threads share.
#[derive(Debug)]
pub struct Shared {
    /// Who is served what.
    pub ports: ArcSwap<Ports>,
    /// Where frames go out.
    pub tap: Tap,
    /// How a packet names its TAP.
    pub key: Key,
    /// The clock of buckets and stories.
    pub clock: Clock,
    /// Who watches a TAP.
    pub tracer: Tracer,
    /// To the rest of the daemon; what does not fit is lost.
    pub notices: mpsc::Sender<Notice>,
    /// How many solicitations are passed on, of all VMs together.
    pub passing: Bucket,
    /// The threads are to end once they have answered what waits; to be seen, each is woken.
    pub stop: AtomicBool,
}

/// One packet thread's own things.
#[derive(Debug)]
pub struct PacketThread {
    queue: Queue,
    outbox: Outbox,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
}

/// Looks at an empty queue after a lone packet: together about 3 µs, as long as going to sleep.
const LOOKS: usize = 8;

/// Batches taken after the order to end, so that what already waits is answered.
const LAST_BATCHES: usize = 256;

impl PacketThread {
    /// A thread's things; it takes packets once it runs.
    #[must_use]
    pub fn new(queue: Queue, shared: Arc<Shared>) -> Self {
        // Of router solicitations, an answer and what is passed on.
        let frames = if queue.protocol() == Protocol::RouterSolicitation {
            2
        } else {
            1
        };
        Self {
            queue,
            outbox: Outbox::new(frames * BATCH),
            shared,
            counters: Arc::default(),
        }
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The queue it takes packets from.
    #[must_use]
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Answers packets until told to stop; then what still waits is answered.
    ///
    /// # Errors
    /// When the queue is lost.
    pub fn run(&mut self) -> Result<(), QueueError> {
        let mut alone = false;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let mut taken = if alone { self.look()? } else { 0 };
            if taken == 0 {
                taken = self.batch(Wait::ForOne)?;
            }
            alone = taken == 1;
            self.counters.beats.add(1);
        }
        for _ in 0..LAST_BATCHES {
            if self.batch(Wait::Not)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Looks a few times for the next packet before the thread goes to sleep. Where packets come one by one and close
    /// behind each other, going to sleep and being woken takes longer than the answer; on a virtual machine, whose
    /// processor stops meanwhile, several times as long.
    fn look(&mut self) -> Result<usize, QueueError> {
        for _ in 0..LOOKS {
            let taken = self.batch(Wait::Not)?;
            if taken > 0 {
                return Ok(taken);
            }
        }
        Ok(0)
    }

    /// One batch: taken, answered, sent, told of, judged. How many messages it was.
    fn batch(&mut self, wait: Wait) -> Result<usize, QueueError> {
        let Self {
            queue,
            outbox,
            shared,
            counters,
        } = self;
        let protocol = queue.protocol();
        let mut batch = match queue.receive(wait) {
            Ok(batch) => batch,
            Err(QueueError::Overrun { .. }) => {
                counters.overruns.add(1);
                return Ok(0);
            }
            Err(error) => return Err(error),
        };
        let taken = batch.len();
        if taken == 0 {
            return Ok(0);
        }
        let now = shared.clock.nanoseconds();
        let ports = shared.ports.load();
        let mut answered = [const { None }; BATCH];
        for (place, slot) in answered.iter_mut().enumerate().take(taken) {
            let Some(packet) = batch.packet(place) else {
                continue;
            };
            let id = packet.id;
            let told = take(shared, &ports, &packet, now, outbox);
            if told.outcome.passes() {
                batch.accept(id);
            }
            *slot = Some(told);
        }
        counters.sent(shared.tap.send(outbox));
        let sent = shared.clock.nanoseconds();
        let mut packets = 0;
        for told in answered.iter().flatten() {
            packets += 1;
            counters.packet(protocol, told.outcome);
            if let Some(port) = told.port {
                tell(shared, port, told, now, sent);
            }
        }
        counters.strange.add(batch.strange());
        if packets > 0 {
            counters.batch(packets, sent.saturating_sub(now));
        }
        if batch.finish().is_err() {
            counters.verdict_errors.add(1);
        }
        Ok(taken)
    }
}

/// What there is to tell of a packet.
struct Told<'p> {
    port: Option<&'p Port>,
    asked: Asked,
    source: Option<MacAddr>,
    outcome: Outcome,
}

/// One packet: whose is it, and what is the answer.
fn take<'p>(
    shared: &Shared,
    ports: &'p Ports,
    packet: &Packet<'_>,
    now: u64,
    outbox: &mut Outbox,
) -> Told<'p> {
    let inbound = &packet.inbound;
    let port = tap_of(shared.key, packet).and_then(|tap| ports.find(tap));
    let outcome = match port {
        Some(port) if port.record.bucket.take(now, ports.policy) => {
            decide(shared, port, packet, now, outbox)
        }
        Some(_) => Outcome::from(Decision::Ignore(Ignored::RateLimited)),
        None if shared.key == Key::Device(Absent::Pass) => Outcome::from(Decision::NotOurs),
        None => Outcome::from(Decision::Ignore(Ignored::NoBinding)),
    };
    Told {
        port: port.map(Arc::as_ref),
        asked: Asked::read(inbound.protocol, inbound.payload),
        source: inbound.source,
        outcome,
    }
}

/// Tells the TAP's story, the rest of the daemon and who watches. `taken` and `sent`: when the batch was taken and
/// its answers had left.
fn tell(shared: &Shared, port: &Port, told: &Told<'_>, taken: u64, sent: u64) {
    let Told {
        asked,
        source,
        outcome,
        ..
    } = *told;
    let event = Event {
        at: taken / 1_000_000,
        asked,
        outcome,
    };
    port.record.story.tell(asked.protocol(), event, source);
    if outcome == Outcome::from(Decision::Advertise) {
        if !port.record.advertise.swap(true, Ordering::Relaxed) {
            let _ = shared.notices.try_send(Notice::Advertise { tap: port.tap });
        }
    } else if outcome.is_decline() {
        report_decline(shared, port, taken);
    }
    if shared.tracer.watches(port.tap) {
        let took = sent.saturating_sub(taken);
        shared.tracer.tell(port.tap, event, source, took);
    }
    tracing::trace!(ifindex = port.tap, asked = %asked, outcome = %outcome, "packet");
}

fn tap_of(key: Key, packet: &Packet<'_>) -> Option<u32> {
    match key {
        Key::Mark(mark) => mark.ifindex(packet.mark),
        Key::Device(_) => packet.physical_in_device.or(packet.in_device),
    }
}

/// The answer, put into the outbox.
fn decide(
    shared: &Shared,
    port: &Port,
    packet: &Packet<'_>,
    now: u64,
    outbox: &mut Outbox,
) -> Outcome {
    let outcome = put_answer(outbox, port.tap, |frame| {
        answer(&port.served, &packet.inbound, frame)
    });
    if packet.inbound.protocol == Protocol::RouterSolicitation
        && SOLICITED.map(Outcome::from).contains(&outcome)
        && let Some(frame) = outbox.vacant()
        && let Ok(Some(bridge)) = catch_unwind(AssertUnwindSafe(|| {
            ndp::pass_on(&port.served, &packet.inbound, frame)
        }))
        && is_first(&port.record.passed_on, now, PASSING_PAUSE)
        && shared.passing.take(now, PASSING)
    {
        outbox.put(bridge);
    }
    outcome
}

/// What may become of a router solicitation that the network's routers are to see too.
const SOLICITED: [Decision; 3] = [
    Decision::Reply(Reply::RouterAdvertisement),
    Decision::Advertise,
    Decision::Ignore(Ignored::NoAddress),
];

/// Seconds between two solicitations of one VM that are passed on. A host sends its own 4 s apart (RFC 4861 §10).
const PASSING_PAUSE: u32 = 1;

/// Of all VMs together: a bridge copies each to all its ports, so that those of a thousand VMs at once would be a million
/// frames. The routers' answer is one for all VMs, or one of many answers.
const PASSING: Policy = Policy::new(100, 100);

/// Has `answer` write a frame for a TAP. A panic costs this packet its answer and nothing else.
fn put_answer(
    outbox: &mut Outbox,
    tap: u32,
    answer: impl FnOnce(&mut Frame) -> Decision,
) -> Outcome {
    let Some(frame) = outbox.vacant() else {
        return Outcome::from(Decision::Ignore(Ignored::TooLarge)); // a batch is never larger than the outbox
    };
    let Ok(decision) = catch_unwind(AssertUnwindSafe(|| answer(frame))) else {
        return Outcome::PANICKED;
    };
    if matches!(decision, Decision::Reply(_)) {
        outbox.put(tap);
    }
    Outcome::from(decision)
}

/// Otherwise one packet could end the daemon.
const _: () = assert!(cfg!(panic = "unwind"), "build with panic = \"unwind\"");

/// Seconds between two reports of one VM's declines.
const DECLINE_PAUSE: u32 = 60;

/// Whether nothing happened within so many seconds before `now`, in nanoseconds; then it happens now. `last`: when it
/// last did, in seconds and one, 0 for never.
fn is_first(last: &AtomicU32, now: u64, pause: u32) -> bool {
    let now = u32::try_from(now / 1_000_000_000 + 1).unwrap_or(u32::MAX);
    let before = last.load(Ordering::Relaxed);
    let first = before == 0 || now.saturating_sub(before) > pause;
    if first {
        last.store(now, Ordering::Relaxed);
    }
    first
}

#[cold]
fn report_decline(shared: &Shared, port: &Port, now: u64) {
    if is_first(&port.record.decline_reported, now, DECLINE_PAUSE) {
        let _ = shared.notices.try_send(Notice::Declined { tap: port.tap });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_while_answering_costs_that_packet_its_answer_and_nothing_else() {
        let mut outbox = Outbox::new(2);
        let reply = |_: &mut Frame| Decision::Reply(Reply::Offer);
        assert_eq!(put_answer(&mut outbox, 1, reply).label(), "offer");
        for _ in 0..3 {
            let outcome = put_answer(&mut outbox, 2, |frame| {
                frame.clear();
                panic!("a defect that a packet has found");
            });
            assert_eq!(outcome, Outcome::PANICKED);
            assert_eq!(outbox.len(), 1, "nothing is sent to its TAP");
        }
        assert_eq!(put_answer(&mut outbox, 3, reply).label(), "offer");
        assert_eq!(outbox.len(), 2, "the next packet has its place");
    }
}
