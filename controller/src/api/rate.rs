//! How many may come in a time: token buckets, one for each of many keys. Pure, but for a lock.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Keys that are kept before the full buckets among them, which say nothing, are dropped.
const MANY: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Instant,
}

/// A bucket for each key.
#[derive(Debug)]
pub struct Buckets<K> {
    per_second: f64,
    burst: f64,
    levels: Mutex<HashMap<K, Level>>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Buckets that hold `burst` and gain `per_second`.
    #[must_use]
    pub fn new(per_second: f64, burst: f64) -> Self {
        Self {
            per_second,
            burst,
            levels: Mutex::default(),
        }
    }

    fn level(&self, level: Option<&Level>, now: Instant) -> f64 {
        let Some(level) = level else {
            return self.burst;
        };
        let gained = now.duration_since(level.at).as_secs_f64() * self.per_second;
        (level.tokens + gained).min(self.burst)
    }

    /// Takes one; where there is none, tells when there will be.
    pub fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = self.level(levels.get(&key), now);
        if tokens < 1.0 {
            return Err(self.wait(tokens));
        }
        if levels.len() >= MANY && !levels.contains_key(&key) {
            levels.retain(|_, level| self.level(Some(level), now) < self.burst);
        }
        let level = Level {
            tokens: tokens - 1.0,
            at: now,
        };
        levels.insert(key, level);
        Ok(())
    }

    /// As [`Self::take`], and takes nothing.
    pub fn look(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = self.level(levels.get(key), now);
        if tokens < 1.0 {
            return Err(self.wait(tokens));
        }
        Ok(())
    }

    fn wait(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64((1.0 - tokens) / self.per_second)
    }
}

/// Seconds, as `Retry-After` has them: never too few.
#[must_use]
pub fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What is limited.
#[derive(Debug)]
pub struct Rates {
    /// Requests of each token.
    pub requests: Buckets<i64>,
    /// Failed logins of each user from each address.
    pub failures: Buckets<(String, String)>,
    /// Failed logins from each address.
    pub sources: Buckets<String>,
}

impl Rates {
    /// Requests as it is configured; of failed logins five, then one a minute; thirty from an address, then one in ten
    /// seconds.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self {
            requests: Buckets::new(f64::from(per_second), f64::from(burst)),
            failures: Buckets::new(1.0 / 60.0, 5.0),
            sources: Buckets::new(0.1, 30.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let buckets = Buckets::new(2.0, 3.0);
        let now = Instant::now();
        for _ in 0..3 {
            buckets.take("a", now).unwrap();
        }
        assert_eq!(buckets.take("a", now), Err(Duration::from_millis(500)));
        buckets.take("b", now).unwrap();
        let later = now + Duration::from_millis(500);
        assert_eq!(buckets.look(&"a", later), Ok(()));
        assert_eq!(buckets.look(&"a", later), Ok(()));
        buckets.take("a", later).unwrap();
        assert_eq!(buckets.take("a", later), Err(Duration::from_millis(500)));
        let much_later = now + Duration::from_secs(60);
        for _ in 0..3 {
            buckets.take("a", much_later).unwrap();
        }
        assert!(buckets.take("a", much_later).is_err());
        assert_eq!(seconds(Duration::from_millis(500)), 1);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
    }

    #[test]
    fn what_says_nothing_is_forgotten() {
        let buckets = Buckets::new(1.0, 1.0);
        let now = Instant::now();
        for key in 0..MANY {
            buckets.take(key, now).unwrap();
        }
        buckets.take(MANY, now + Duration::from_secs(2)).unwrap();
        assert_eq!(buckets.levels.lock().unwrap().len(), 1);
    }
}
