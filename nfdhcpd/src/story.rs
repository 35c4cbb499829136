//! What one TAP's VM asked and what it got: a fixed piece of memory, written by the packet threads without a lock.
//!
//! Each protocol keeps its last message, the last one that was answered, and the last one that was not; per outcome
//! there is a count.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nfdhcpd_binding::MacAddr;

use crate::asked::Asked;
use crate::outcome::Outcome;
use crate::wire::Protocol;

/// One TAP's story.
#[derive(Debug)]
pub struct Story {
    answered: [AtomicU64; 4],
    unanswered: [AtomicU64; 4],
    counts: [AtomicU32; Outcome::COUNT],
    spoofer: AtomicU64,
}

/// One message of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When, milliseconds of the clock the story is written by.
    pub at: u64,
    /// What was asked.
    pub asked: Asked,
    /// What became of it.
    pub outcome: Outcome,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            answered: Default::default(),
            unanswered: Default::default(),
            counts: [const { AtomicU32::new(0) }; Outcome::COUNT],
            spoofer: AtomicU64::new(0),
        }
    }
}

impl Story {
    /// Writes one message down.
    pub fn tell(&self, protocol: Protocol, event: Event, source: Option<MacAddr>) {
        let side = if event.outcome.is_reply() {
            &self.answered
        } else {
            &self.unanswered
        };
        if let Some(slot) = side.get(protocol.number()) {
            slot.store(pack(event), Ordering::Relaxed);
        }
        if let Some(count) = self.counts.get(usize::from(event.outcome.number())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if event.outcome.is_spoofed()
            && let Some(MacAddr([a, b, c, d, e, f])) = source
        {
            let packed = u64::from_be_bytes([1, 0, a, b, c, d, e, f]);
            self.spoofer.store(packed, Ordering::Relaxed);
        }
    }

    /// The last message of a protocol that was answered.
    #[must_use]
    pub fn answered(&self, protocol: Protocol) -> Option<Event> {
        last(&self.answered, protocol)
    }

    /// The last message of a protocol that was not.
    #[must_use]
    pub fn unanswered(&self, protocol: Protocol) -> Option<Event> {
        last(&self.unanswered, protocol)
    }

    /// Outcomes that happened, with how often.
    pub fn counts(&self) -> impl Iterator<Item = (Outcome, u32)> {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Outcome::all().zip(counts).filter(|(_, count)| *count > 0)
    }

    /// The last foreign hardware address that was refused.
    #[must_use]
    pub fn spoofer(&self) -> Option<MacAddr> {
        let [set, _, octets @ ..] = self.spoofer.load(Ordering::Relaxed).to_be_bytes();
        (set == 1).then_some(MacAddr(octets))
    }
}

fn last(side: &[AtomicU64; 4], protocol: Protocol) -> Option<Event> {
    unpack(
        protocol,
        side.get(protocol.number())?.load(Ordering::Relaxed),
    )
}

/// In one word, so that a reader never sees halves of two messages: 48 bits of time, message type, outcome + 1.
fn pack(event: Event) -> u64 {
    event.at << 16 | u64::from(event.asked.kind()) << 8 | u64::from(event.outcome.number() + 1)
}

fn unpack(protocol: Protocol, word: u64) -> Option<Event> {
    let [.., kind, outcome] = word.to_be_bytes();
    Some(Event {
        at: word >> 16,
        asked: Asked::from_kind(protocol, kind),
        outcome: Outcome::from_number(outcome.checked_sub(1)?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::responder::{Decision, Ignored, Reply};

    #[test]
    fn keeps_the_last_of_each_kind_and_counts_all() {
        let story = Story::default();
        assert_eq!(
            (story.answered(Protocol::Dhcpv4), story.spoofer()),
            (None, None)
        );
        let event = |at, kind, decision| Event {
            at,
            asked: Asked::from_kind(Protocol::Dhcpv4, kind),
            outcome: Outcome::from(decision),
        };
        let offered = event(7, 1, Decision::Reply(Reply::Offer));
        let spoofed = event(1 << 40, 3, Decision::Ignore(Ignored::Spoofed));
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        story.tell(Protocol::Dhcpv4, offered, Some(mac));
        assert_eq!(story.spoofer(), None);
        story.tell(Protocol::Dhcpv4, spoofed, Some(mac));
        story.tell(Protocol::Dhcpv4, spoofed, None);
        assert_eq!(story.answered(Protocol::Dhcpv4), Some(offered));
        assert_eq!(story.unanswered(Protocol::Dhcpv4), Some(spoofed));
        assert_eq!(story.unanswered(Protocol::Dhcpv6), None);
        assert_eq!(story.spoofer(), Some(mac));
        let counts: Vec<_> = story
            .counts()
            .map(|(outcome, n)| (outcome.label(), n))
            .collect();
        assert_eq!(counts, [("offer", 1), ("spoofed", 2)]);
    }
}
