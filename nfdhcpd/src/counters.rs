//! What one packet thread counts. It alone writes, others read: no locked instruction on the packet's path.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::outcome::Outcome;
use crate::tap::Sent;
use crate::wire::Protocol;

/// A number that one thread counts up and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts up; for the one thread that writes.
    pub fn add(&self, count: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Relaxed,
        );
    }

    /// The count.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency histogram, microseconds.
pub const LATENCY_BOUNDS: [u64; 12] = [
    10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000,
];

/// One thread's counts.
#[derive(Debug, Default)]
pub struct Counters {
    outcomes: [[Counter; Outcome::COUNT]; 4],
    /// Times the kernel found the queue's socket buffer full.
    pub overruns: Counter,
    /// Messages of a queue that are no packet.
    pub strange: Counter,
    /// Batches whose verdict the kernel did not take.
    pub verdict_errors: Counter,
    /// Batches.
    pub batches: Counter,
    /// Frames sent.
    pub frames: Counter,
    /// Frames a TAP had no room for.
    pub taps_full: Counter,
    /// Frames for a TAP that is down or gone.
    pub taps_gone: Counter,
    /// Frames refused for another reason.
    pub send_errors: Counter,
    /// Times the thread was awake: it lives while this moves.
    pub beats: Counter,
    latency: [Counter; LATENCY_BOUNDS.len() + 1],
    latency_sum: Counter,
}

impl Counters {
    /// Counts a packet.
    pub fn packet(&self, protocol: Protocol, outcome: Outcome) {
        let row = self.outcomes.get(protocol.number());
        if let Some(counter) = row.and_then(|row| row.get(usize::from(outcome.number()))) {
            counter.add(1);
        }
    }

    /// Counts what became of frames.
    pub fn sent(&self, sent: Sent) {
        self.frames.add(sent.sent as u64);
        if sent.full + sent.gone + sent.failed > 0 {
            self.taps_full.add(sent.full as u64);
            self.taps_gone.add(sent.gone as u64);
            self.send_errors.add(sent.failed as u64);
        }
    }

    /// Counts a batch: all its packets took `nanoseconds` from being taken until their answers had left.
    pub fn batch(&self, packets: u64, nanoseconds: u64) {
        self.batches.add(1);
        let bucket = LATENCY_BOUNDS
            .iter()
            .position(|bound| nanoseconds <= bound * 1000);
        if let Some(counter) = self.latency.get(bucket.unwrap_or(LATENCY_BOUNDS.len())) {
            counter.add(packets);
        }
        self.latency_sum.add(packets.saturating_mul(nanoseconds));
    }

    /// Packets of one protocol with one outcome.
    #[must_use]
    pub fn packets(&self, protocol: Protocol, outcome: Outcome) -> u64 {
        let row = self.outcomes.get(protocol.number());
        row.and_then(|row| row.get(usize::from(outcome.number())))
            .map_or(0, Counter::value)
    }

    /// Packets in each bucket of the latency histogram, the last without bound.
    pub fn latency(&self) -> impl Iterator<Item = u64> {
        self.latency.iter().map(Counter::value)
    }

    /// Sum of all latencies, nanoseconds.
    #[must_use]
    pub fn latency_sum(&self) -> u64 {
        self.latency_sum.value()
    }
}
