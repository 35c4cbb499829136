//! `nfdhcpd ctl trace`: the packets of one TAP, as they are answered.
//!
//! Costs a packet thread one load while nobody watches.

use std::sync::atomic::{AtomicU32, Ordering};

use nfdhcpd_binding::MacAddr;
use tokio::sync::broadcast;

use crate::story::Event;

/// One packet of a watched TAP.
#[derive(Debug, Clone, Copy)]
pub struct Traced {
    /// The TAP's interface index.
    pub tap: u32,
    /// What was asked and what became of it.
    pub event: Event,
    /// Ethernet source.
    pub source: Option<MacAddr>,
    /// Nanoseconds from the batch being taken to the packet being answered.
    pub taken: u64,
}

/// Who watches.
#[derive(Debug)]
pub struct Tracer {
    watched: AtomicU32,
    watchers: broadcast::Sender<Traced>,
}

/// No TAP has this interface index.
const NOBODY: u32 = 0;

/// Several TAPs are watched: each watcher looks for its own.
const SEVERAL: u32 = u32::MAX;

impl Default for Tracer {
    fn default() -> Self {
        Self {
            watched: AtomicU32::new(NOBODY),
            watchers: broadcast::Sender::new(64),
        }
    }
}

impl Tracer {
    /// True when the TAP's packets are to be told.
    pub fn watches(&self, tap: u32) -> bool {
        let watched = self.watched.load(Ordering::Relaxed);
        watched != NOBODY && (watched == tap || watched == SEVERAL)
    }

    /// Tells a packet.
    #[cold]
    pub fn tell(&self, tap: u32, event: Event, source: Option<MacAddr>, taken: u64) {
        if self
            .watchers
            .send(Traced {
                tap,
                event,
                source,
                taken,
            })
            .is_err()
        {
            self.watched.store(NOBODY, Ordering::Relaxed);
        }
    }

    /// Watches a TAP: its packets come, among others'. Those a slow watcher misses are lost.
    pub fn watch(&self, tap: u32) -> broadcast::Receiver<Traced> {
        let receiver = self.watchers.subscribe();
        let alone = self.watchers.receiver_count() == 1;
        let watched = self.watched.load(Ordering::Relaxed);
        let now = if alone || watched == tap {
            tap
        } else {
            SEVERAL
        };
        self.watched.store(now, Ordering::Relaxed);
        receiver
    }
}
