//! What is missing of a publisher's journal. Pure.
//!
//! Each message says its number in its stream and the number sent before it: what lies between was superseded, not lost. So a
//! message covers the numbers after `previous` up to its own, and what nobody covers is a gap. Messages may come in any
//! order, and more than once.

/// What was taken in of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// The highest number covered.
    pub highest: i64,
    /// Ranges below it that are not, in rising order; both ends included.
    pub gaps: Vec<(i64, i64)>,
}

impl Taken {
    /// A message came: it covers `previous + 1` to `sequence`.
    pub fn cover(&mut self, previous: i64, sequence: i64) {
        if previous < 0 || sequence <= previous {
            return;
        }
        let first = previous + 1;
        if first > self.highest + 1 {
            self.gaps.push((self.highest + 1, previous));
        }
        let covered = self.gaps.drain(..).flat_map(|(from, to)| {
            let below = (from, to.min(previous));
            let above = (from.max(sequence.saturating_add(1)), to);
            [below, above]
        });
        self.gaps = covered.filter(|(from, to)| from <= to).collect();
        self.highest = self.highest.max(sequence);
    }

    /// All numbers up to this one are covered.
    #[must_use]
    pub fn contiguous(&self) -> i64 {
        self.gaps.first().map_or(self.highest, |(from, _)| from - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_not_sent_is_no_gap_and_what_did_not_come_is_one() {
        let mut taken = Taken::default();
        taken.cover(0, 1);
        taken.cover(1, 4);
        assert_eq!((taken.contiguous(), &taken.gaps[..]), (4, &[][..]));
        taken.cover(6, 9);
        assert_eq!((taken.contiguous(), &taken.gaps[..]), (4, &[(5, 6)][..]));
        taken.cover(5, 6);
        assert_eq!(taken.gaps, [(5, 5)]);
        taken.cover(4, 5);
        assert_eq!(taken.contiguous(), 9);
    }

    #[test]
    fn numbers_that_nobody_gives_cover_nothing() {
        let mut taken = Taken::default();
        taken.cover(5, 5);
        taken.cover(7, 3);
        taken.cover(-9, -3);
        taken.cover(i64::MAX, i64::MAX);
        assert_eq!(taken, Taken::default());
    }

    proptest! {
        #[test]
        fn any_order_covers_the_same(
            (sent, kept) in prop::collection::btree_set(1..30_i64, 1..12)
                .prop_flat_map(|sent| {
                    let sent: Vec<i64> = sent.into_iter().collect();
                    let count = sent.len();
                    (Just(sent), prop::collection::vec(0..count, 1..24))
                }),
        ) {
            // Each message's predecessor is the one sent before it.
            let message = |at: usize| (if at == 0 { 0 } else { sent[at - 1] }, sent[at]);
            let mut taken = Taken::default();
            for at in &kept {
                let (previous, sequence) = message(*at);
                taken.cover(previous, sequence);
            }
            let covered: BTreeSet<i64> = kept.iter()
                .flat_map(|at| { let (previous, sequence) = message(*at); previous + 1..=sequence })
                .collect();
            let highest = *covered.last().unwrap();
            let missing: BTreeSet<i64> = (1..=highest).filter(|number| !covered.contains(number)).collect();
            let gaps: BTreeSet<i64> = taken.gaps.iter().flat_map(|(from, to)| *from..=*to).collect();
            prop_assert_eq!(taken.highest, highest);
            prop_assert_eq!(gaps, missing);
            prop_assert!(taken.gaps.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }
}
