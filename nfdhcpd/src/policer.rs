//! A TAP's token bucket: one VM that floods must not take the others' turn.
//!
//! Kept as one number, the time at which the bucket will be full again (the generic cell rate algorithm), so that
//! threads share it without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Rate;

/// A rate, in the bucket's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Nanoseconds one packet costs.
    cost: u64,
    /// Nanoseconds the bucket may be behind being full.
    depth: u64,
}

impl Policy {
    /// So many packets per second, and as many as `burst` at once; 0 counts as 1.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let cost = 1_000_000_000 / at_least_one(per_second);
        Self {
            cost,
            depth: cost * at_least_one(burst),
        }
    }
}

const fn at_least_one(number: u32) -> u64 {
    if number == 0 { 1 } else { number as u64 }
}

impl From<Rate> for Policy {
    fn from(rate: Rate) -> Self {
        Self::new(rate.per_second, rate.burst)
    }
}

/// One TAP's bucket; full at first.
#[derive(Debug, Default)]
pub struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes a token at `now`, in nanoseconds of any clock that does not go back. False: there is none.
    pub fn take(&self, now: u64, policy: Policy) -> bool {
        self.full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let after = full_at.max(now) + policy.cost;
                (after <= now + policy.depth).then_some(after)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn taken(bucket: &Bucket, now: u64, policy: Policy) -> u32 {
        let mut count = 0;
        while bucket.take(now, policy) {
            count += 1;
        }
        count
    }

    #[test]
    fn gives_the_burst_then_the_rate() {
        let policy = Policy::from(Rate {
            per_second: 100,
            burst: 200,
        });
        let bucket = Bucket::default();
        assert_eq!(taken(&bucket, 5 * SECOND, policy), 200);
        assert_eq!(taken(&bucket, 6 * SECOND, policy), 100);
        assert_eq!(taken(&bucket, 6 * SECOND + SECOND / 100 - 1, policy), 0);
        assert_eq!(taken(&bucket, 6 * SECOND + SECOND / 100, policy), 1);
        assert_eq!(taken(&bucket, 3600 * SECOND, policy), 200);
    }

    #[test]
    fn threads_together_get_no_more_than_one() {
        let policy = Policy::from(Rate {
            per_second: 1,
            burst: 1000,
        });
        let bucket = Bucket::default();
        let all: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| taken(&bucket, SECOND, policy)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(all, 1000);
    }
}
