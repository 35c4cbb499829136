//! Medians, ranges and percentiles.

use serde::Serialize;

/// The middle of several rounds, and how far they were apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
        })
    }
}

/// Latencies, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    /// Takes nanoseconds in any order.
    pub(crate) fn new(mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        Self(nanoseconds)
    }

    /// Microseconds that `percent` of all stay under; 0 of nothing.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank, of at most some millions"
        )]
        let rank = (last as f64 * percent / 100.0).round() as usize;
        self.0
            .get(rank)
            .map_or(0.0, |nanoseconds| micros(*nanoseconds))
    }
}

/// Nanoseconds as microseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "52 bits of nanoseconds are 52 days"
)]
pub(crate) fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(
            spread,
            Some(Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(
            Spread::of([1.0, 2.0]).map(|spread| spread.median),
            Some(1.5)
        );
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn percentiles_of_a_hundred() {
        let latencies = Latencies::new((1..=101).rev().map(|number| number * 1000).collect());
        assert_eq!(latencies.percentile(50.0), 51.0);
        assert_eq!(latencies.percentile(99.0), 100.0);
        assert_eq!(latencies.percentile(100.0), 101.0);
        assert_eq!(Latencies::default().percentile(50.0), 0.0);
    }
}
