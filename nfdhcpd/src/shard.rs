//! A packet thread: the whole trip, from the queue to the verdict.
//!
//! Each shard has one queue of each protocol and takes one bounded batch of each in turn, so that no protocol starves
//! another. It waits only when a turn found nothing more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use tokio::sync::mpsc;

use crate::asked::Asked;
use crate::clock::Clock;
use crate::config::Absent;
use crate::counters::Counters;
use crate::outcome::Outcome;
use crate::ports::{Port, Ports};
use crate::queue::{BATCH, Packet, Queue, QueueError};
use crate::responder::{Decision, Ignored, answer};
use crate::rules::plan::Mark;
use crate::story::Event;
use crate::tap::{Outbox, Tap};
use crate::trace::Tracer;

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
    /// Readable when the threads are to end.
    pub stop: EventFd,
}

/// One packet thread's own things.
#[derive(Debug)]
pub struct Shard {
    queues: Vec<Queue>,
    epoll: Epoll,
    outbox: Outbox,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
}

/// Why a packet thread ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Waiting failed.
    #[error("wait for packets")]
    Wait(#[source] Errno),
    /// A queue is lost.
    #[error(transparent)]
    Queue(QueueError),
}

/// Milliseconds of waiting after which the thread shows that it lives.
const BEAT: u16 = 500;

/// Turns given to the queues after the order to end, so that what already waits is answered.
const LAST_TURNS: usize = 256;

const STOP: u64 = u64::MAX;

impl Shard {
    /// A thread's things; it takes packets once it runs.
    ///
    /// # Errors
    /// When the kernel refuses an epoll.
    pub fn new(
        queues: Vec<Queue>,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
    ) -> Result<Self, ShardError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(ShardError::Wait)?;
        for (place, queue) in (0u64..).zip(&queues) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, place);
            epoll.add(queue, event).map_err(ShardError::Wait)?;
        }
        let stop = EpollEvent::new(EpollFlags::EPOLLIN, STOP);
        epoll.add(&shared.stop, stop).map_err(ShardError::Wait)?;
        Ok(Self {
            queues,
            epoll,
            outbox: Outbox::new(BATCH),
            shared,
            counters,
        })
    }

    /// Answers packets until told to stop; then what still waits is answered.
    ///
    /// # Errors
    /// When waiting fails or a queue is lost.
    pub fn run(&mut self) -> Result<(), ShardError> {
        let mut ready = [EpollEvent::empty(); 8];
        loop {
            let count = match self.epoll.wait(&mut ready, EpollTimeout::from(BEAT)) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(ShardError::Wait(errno)),
            };
            self.counters.beats.add(1);
            for event in ready.iter().take(count) {
                if event.data() == STOP {
                    return self.finish();
                }
                self.turn(event.data() as usize)?;
            }
        }
    }

    fn finish(&mut self) -> Result<(), ShardError> {
        for _ in 0..LAST_TURNS {
            let mut taken = 0;
            for place in 0..self.queues.len() {
                taken += self.turn(place)?;
            }
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    /// One batch of one queue: taken, answered, sent, judged. How many packets it was.
    fn turn(&mut self, place: usize) -> Result<usize, ShardError> {
        let Self {
            queues,
            outbox,
            shared,
            counters,
            ..
        } = self;
        let Some(queue) = queues.get_mut(place) else {
            return Ok(0);
        };
        let protocol = queue.protocol();
        let mut batch = match queue.receive() {
            Ok(batch) => batch,
            Err(QueueError::Overrun { .. }) => {
                counters.overruns.add(1);
                return Ok(0);
            }
            Err(error) => return Err(ShardError::Queue(error)),
        };
        let taken = batch.len();
        if taken == 0 {
            return Ok(0);
        }
        let start = shared.clock.nanoseconds();
        let ports = shared.ports.load();
        for place in 0..taken {
            let Some(packet) = batch.packet(place) else {
                counters.strange.add(1);
                continue;
            };
            let id = packet.id;
            let outcome = take(shared, &ports, &packet, start, outbox);
            counters.packet(protocol, outcome);
            if outcome.passes() {
                batch.accept(id);
            }
        }
        counters.sent(shared.tap.send(outbox));
        if batch.finish().is_err() {
            counters.verdict_errors.add(1);
        }
        counters.batch(
            taken as u64,
            shared.clock.nanoseconds().saturating_sub(start),
        );
        Ok(taken)
    }
}

/// One packet: whose is it, what is the answer, what is told of it.
fn take(
    shared: &Shared,
    ports: &Ports,
    packet: &Packet<'_>,
    now: u64,
    outbox: &mut Outbox,
) -> Outcome {
    let tap = tap_of(shared.key, packet);
    let Some(port) = tap.and_then(|tap| ports.find(tap)) else {
        let passes = shared.key == Key::Device(Absent::Pass);
        return Outcome::from(if passes {
            Decision::NotOurs
        } else {
            Decision::Ignore(Ignored::NoBinding)
        });
    };
    let inbound = &packet.inbound;
    let outcome = if port.record.bucket.take(now, ports.policy) {
        decide(port, packet, outbox)
    } else {
        Outcome::from(Decision::Ignore(Ignored::RateLimited))
    };
    let asked = Asked::read(inbound.protocol, inbound.payload);
    let event = Event {
        at: now / 1_000_000,
        asked,
        outcome,
    };
    port.record
        .story
        .tell(inbound.protocol, event, inbound.source);
    if outcome == Outcome::from(Decision::Advertise) {
        if !port.record.advertise.swap(true, Ordering::Relaxed) {
            let _ = shared.notices.try_send(Notice::Advertise { tap: port.tap });
        }
    } else if outcome.is_decline() {
        report_decline(shared, port, now);
    }
    if shared.tracer.watches(port.tap) {
        let taken = shared.clock.nanoseconds().saturating_sub(now);
        shared.tracer.tell(port.tap, event, inbound.source, taken);
    }
    tracing::trace!(ifindex = port.tap, asked = %event.asked, outcome = %outcome, "packet");
    outcome
}

fn tap_of(key: Key, packet: &Packet<'_>) -> Option<u32> {
    match key {
        Key::Mark(mark) => mark.ifindex(packet.mark),
        Key::Device(_) => packet.physical_in_device.or(packet.in_device),
    }
}

/// The answer, put into the outbox. A panic costs this packet its answer and nothing else.
fn decide(port: &Port, packet: &Packet<'_>, outbox: &mut Outbox) -> Outcome {
    let Some(frame) = outbox.vacant() else {
        return Outcome::from(Decision::Ignore(Ignored::TooLarge)); // a batch is never larger than the outbox
    };
    let answered = catch_unwind(AssertUnwindSafe(|| {
        answer(&port.served, &packet.inbound, frame)
    }));
    let Ok(decision) = answered else {
        return Outcome::PANICKED;
    };
    if matches!(decision, Decision::Reply(_)) {
        outbox.put(port.tap);
    }
    Outcome::from(decision)
}

/// Nanoseconds between two reports of one VM's declines.
const DECLINE_PAUSE: u64 = 60_000_000_000;

#[cold]
fn report_decline(shared: &Shared, port: &Port, now: u64) {
    let last = port.record.decline_reported.load(Ordering::Relaxed);
    if last == 0 || now.saturating_sub(last) > DECLINE_PAUSE {
        port.record
            .decline_reported
            .store(now.max(1), Ordering::Relaxed);
        let _ = shared.notices.try_send(Notice::Declined { tap: port.tap });
    }
}
