//! Waiting for facts, with a bound: nothing here passes or fails by luck of timing.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a fact may take on a busy machine before its absence counts as a failure.
pub const SOON: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(10);

/// Asks `look` until it finds something.
///
/// # Errors
/// When `bound` has passed, naming `fact`, or the first error of `look`.
pub fn for_fact<T>(
    fact: &str,
    bound: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > bound {
            bail!("waited {bound:?} in vain for: {fact}");
        }
        thread::sleep(PAUSE);
    }
}

/// Asks `holds` until it says yes.
///
/// # Errors
/// As [`for_fact`].
pub fn until(fact: &str, bound: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    for_fact(fact, bound, || Ok(holds()?.then_some(())))
}
