//! When each TAP gets its next unsolicited router advertisement (RFC 4861 §6.2.4 to §6.2.6). Pure: the time and the
//! randomness are arguments.
//!
//! ```text
//!              insert                  due: sent                     due: sent, third
//!   (unknown) ───────► soon ─────────────────────► ≤ 16 s, twice ────────────────────► min…max interval ─┐
//!                        ▲                                                                  ▲            │ due: sent
//!                        └── insert again (the binding changed)                             └────────────┘
//!   solicited, in any state: now, or 3 s after the last one
//! ```
//!
//! A TAP is rescheduled when it is handed out, before anything is sent: one that cannot be sent to keeps no other from
//! its turn, and gets its own again.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZero;
use std::time::{Duration, Instant};

/// How many initial advertisements follow each other closely (MAX_INITIAL_RTR_ADVERTISEMENTS, §10).
const INITIAL_ADVERTISEMENTS: u8 = 3;
/// How closely, at most (MAX_INITIAL_RTR_ADVERT_INTERVAL).
const INITIAL_INTERVAL_MAX: Duration = Duration::from_secs(16);
/// The least time between two advertisements to all nodes (MIN_DELAY_BETWEEN_RAS).
const DELAY_BETWEEN_MIN: Duration = Duration::from_secs(3);
/// The first one comes within this time, so that those of a whole host do not come at one instant.
const FIRST_DELAY_MAX: Duration = Duration::from_millis(500);

/// The schedule of all TAPs' unsolicited advertisements, by interface index.
#[derive(Debug)]
pub struct Advertiser {
    /// MinRtrAdvInterval and MaxRtrAdvInterval.
    interval: (Duration, Duration),
    /// What its moments count from: in nanoseconds, half the memory of an `Instant`.
    epoch: Instant,
    taps: HashMap<u32, Tap>,
    /// Every TAP once, by the time it is due.
    queue: BTreeSet<(Moment, u32)>,
}

/// Nanoseconds since the epoch.
type Moment = u64;

#[derive(Debug, Clone, Copy)]
struct Tap {
    due: Moment,
    /// When it was last handed out.
    last: Option<NonZero<Moment>>,
    /// How many were handed out since it was inserted, up to the initial ones.
    sent: u8,
}

impl Advertiser {
    /// No TAPs yet. `max_interval`: MaxRtrAdvInterval; MinRtrAdvInterval is a third of it, at least 3 s (§6.2.1).
    /// `epoch`: any instant before all that it is told.
    #[must_use]
    pub fn new(max_interval: Duration, epoch: Instant) -> Self {
        Self {
            interval: interval(max_interval),
            epoch,
            taps: HashMap::new(),
            queue: BTreeSet::new(),
        }
    }

    /// Another MaxRtrAdvInterval, from each TAP's next advertisement on.
    pub fn set_max_interval(&mut self, max_interval: Duration) {
        self.interval = interval(max_interval);
    }

    /// Schedules a TAP's first advertisement soon; of one that is known, the next, as if it were the first: what it
    /// advertises has changed. `random`: any number, each as likely as the other.
    pub fn insert(&mut self, ifindex: u32, now: Instant, random: u32) {
        let last = self.taps.get(&ifindex).and_then(|tap| tap.last);
        let soon = self.moment(now + share(FIRST_DELAY_MAX, random));
        self.schedule(
            ifindex,
            Tap {
                due: after(last, soon),
                last,
                sent: 0,
            },
        );
    }

    /// Forgets a TAP.
    pub fn remove(&mut self, ifindex: u32) {
        if let Some(tap) = self.taps.remove(&ifindex) {
            self.queue.remove(&(tap.due, ifindex));
        }
    }

    /// A solicitation that only an advertisement to all nodes answers: the next one is moved forward to now, or to 3 s
    /// after the last. Unknown TAPs are left alone.
    pub fn solicited(&mut self, ifindex: u32, now: Instant) {
        if let Some(tap) = self.taps.get(&ifindex).copied() {
            let due = after(tap.last, self.moment(now)).min(tap.due);
            self.schedule(ifindex, Tap { due, ..tap });
        }
    }

    /// Appends to `taps` those whose advertisement is due, the longest due first, at most `limit`, and schedules the next
    /// of each. Those over the limit stay due. `random` yields any number, each as likely as the other.
    pub fn due(
        &mut self,
        now: Instant,
        limit: usize,
        mut random: impl FnMut() -> u32,
        taps: &mut Vec<u32>,
    ) {
        let moment = self.moment(now);
        for _ in 0..limit {
            let Some((_, ifindex)) = self
                .queue
                .first()
                .copied()
                .filter(|(due, _)| *due <= moment)
            else {
                return;
            };
            taps.push(ifindex);
            let sent = self.taps.get(&ifindex).map_or(0, |tap| tap.sent);
            let sent = sent.saturating_add(1).min(INITIAL_ADVERTISEMENTS);
            let (min, max) = self.interval;
            let mut wait = min + share(max.saturating_sub(min), random());
            if sent < INITIAL_ADVERTISEMENTS {
                wait = wait.min(INITIAL_INTERVAL_MAX);
            }
            self.schedule(
                ifindex,
                Tap {
                    due: self.moment(now + wait),
                    last: NonZero::new(moment),
                    sent,
                },
            );
        }
    }

    /// When `due` has something to hand out next; `None` without TAPs.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let (due, _) = self.queue.first()?;
        Some(self.epoch + Duration::from_nanos(*due))
    }

    /// How many TAPs are scheduled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taps.len()
    }

    /// True without TAPs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    fn moment(&self, instant: Instant) -> Moment {
        let elapsed = instant.saturating_duration_since(self.epoch);
        Moment::try_from(elapsed.as_nanos()).unwrap_or(Moment::MAX)
    }

    fn schedule(&mut self, ifindex: u32, tap: Tap) {
        if let Some(before) = self.taps.insert(ifindex, tap) {
            self.queue.remove(&(before.due, ifindex));
        }
        self.queue.insert((tap.due, ifindex));
    }
}

/// MinRtrAdvInterval and MaxRtrAdvInterval (§6.2.1).
fn interval(max: Duration) -> (Duration, Duration) {
    let min = (max / 3).max(DELAY_BETWEEN_MIN).min(max);
    (min, max)
}

/// `wanted`, but not sooner than 3 s after the last one.
fn after(last: Option<NonZero<Moment>>, wanted: Moment) -> Moment {
    const DELAY: Moment = DELAY_BETWEEN_MIN.as_nanos() as Moment;
    last.map_or(wanted, |last| wanted.max(last.get() + DELAY))
}

/// The part of `whole` that `random` is of all 32-bit numbers.
fn share(whole: Duration, random: u32) -> Duration {
    whole.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
