//! The order rule: what wins, what is in doubt, and that it is a semilattice.

use proptest::prelude::*;

use super::*;

fn ended(job: u64, at: i64, state: u8) -> Ended<u8> {
    Ended {
        place: QueuePlace {
            job: JobId(job),
            op_index: 0,
        },
        at: (at, 0).into(),
        state: Some(state),
    }
}

fn all(operations: &[Ended<u8>]) -> Option<RunMarks<u8>> {
    let (first, rest) = operations.split_first()?;
    let first = RunMarks::first(*first);
    Some(rest.iter().fold(first, |marks, ended| marks.see(*ended)))
}

/// Operations as a queue has them: one end and one state for each place; some fail half-way.
fn operations() -> impl Strategy<Value = Vec<Ended<u8>>> {
    prop::collection::btree_map(0..12_u64, (0..12_i64, 0..4_u8), 1..8).prop_map(|queue| {
        let each = queue.into_iter();
        let failed = |state| state == 0;
        each.map(|(job, (at, state))| Ended {
            state: (!failed(state)).then_some(state),
            ..ended(job, at, state)
        })
        .collect()
    })
}

#[test]
fn the_last_in_both_orders_wins_and_between_them_nobody() {
    let start = RunMarks::first(ended(6013, 600, 1));
    assert_eq!(start.see(ended(6014, 700, 2)).state, Some(2));
    assert_eq!(start.see(ended(6012, 500, 2)).state, Some(1));
    // A node ten minutes ahead: the earlier job ended "after" the later one.
    let apart = start.see(ended(6014, 100, 2));
    assert!(apart.is_doubtful());
    assert!(apart.see(ended(6012, 50, 3)).is_doubtful());
    assert_eq!(apart.see(ended(6015, 601, 3)).state, Some(3));
}

#[test]
fn operations_of_one_job_follow_each_other() {
    let mut second = ended(7, 10, 2);
    second.place.op_index = 1;
    let marks = RunMarks::first(second).see(ended(7, 10, 1));
    assert_eq!(marks.state, Some(2));
}

#[test]
fn configurations_go_by_the_serial_number_of_the_same_instance() {
    assert_eq!(configuration(None, ("a", 1)), Configuration::Newer);
    assert_eq!(
        configuration(Some(("a", 1)), ("a", 2)),
        Configuration::Newer
    );
    assert_eq!(
        configuration(Some(("a", 2)), ("a", 2)),
        Configuration::Known
    );
    assert_eq!(
        configuration(Some(("a", 3)), ("a", 2)),
        Configuration::Known
    );
    let other = configuration(Some(("a", 3)), ("b", 9));
    assert_eq!(other, Configuration::AnotherInstance);
}

proptest! {
    #[test]
    fn any_order_any_number_of_times_is_the_same(
        (orderly, shuffled) in operations().prop_flat_map(|operations| {
            let tripled: Vec<_> = operations.iter().cycle().take(operations.len() * 3).copied().collect();
            (Just(operations), Just(tripled).prop_shuffle())
        }),
    ) {
        prop_assert_eq!(all(&orderly), all(&shuffled));
    }

    #[test]
    fn joining_is_commutative_associative_and_idempotent(
        (operations, cut, other) in operations().prop_flat_map(|operations| {
            let count = operations.len();
            (Just(operations), 0..=count, 0..=count)
        }),
    ) {
        let (low, high) = (cut.min(other), cut.max(other));
        let parts = [&operations[..low], &operations[low..high], &operations[high..]];
        let known: Vec<_> = parts.into_iter().filter_map(all).collect();
        let whole = all(&operations).unwrap();
        prop_assert_eq!(known.iter().copied().reduce(RunMarks::join).unwrap(), whole);
        prop_assert_eq!(known.iter().rev().copied().reduce(RunMarks::join).unwrap(), whole);
        prop_assert_eq!(whole.join(whole), whole);
    }

    #[test]
    fn marks_only_rise(operations in operations(), news in (0..12_u64, 0..12_i64, 0..4_u8)) {
        let before = all(&operations).unwrap();
        let after = before.see(ended(news.0, news.1, news.2));
        prop_assert!(after.place >= before.place && after.at >= before.at);
    }
}
