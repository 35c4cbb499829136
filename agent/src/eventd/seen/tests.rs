//! What is news, and what is not.

use proptest::prelude::*;
use serde_json::json;
use snf_events::JobStatus;

use super::*;
use crate::eventd::job_file;
use crate::eventd::queue_dir::{QueueDir, Shelf};

fn job(id: u64, received: i64, statuses: &[JobStatus]) -> Job {
    let ops: Vec<_> = statuses
        .iter()
        .map(|status| json!({"input": {"OP_ID": "OP_TEST_DUMMY"}, "status": status}))
        .collect();
    let text = json!({"id": id, "ops": ops, "received_timestamp": [received, 0]}).to_string();
    job_file::parse(JobId(id), text.as_bytes()).unwrap()
}

/// Stamps of different files.
fn stamps(count: usize) -> Vec<Stamp> {
    let directory = tempfile::tempdir().unwrap();
    let queue = QueueDir::new(directory.path().to_owned(), 1 << 20).unwrap();
    (0..count)
        .map(|n| {
            std::fs::write(directory.path().join("job-1"), vec![b'x'; n]).unwrap();
            queue.stamp(Shelf::Live, JobId(1)).unwrap()
        })
        .collect()
}

#[test]
fn only_a_higher_status_is_news() {
    use JobStatus::{Queued, Running, Success, Waiting};
    let stamp = stamps(1)[0];
    let mut seen = Seen::default();
    let first = job(7, 1, &[Running, Queued]);
    assert_eq!(seen.news(&first), [0, 1]);
    seen.remember(&first, stamp);
    assert!(seen.has_read(JobId(7), stamp));
    assert!(!seen.is_settled(JobId(7)));
    assert!(seen.news(&job(7, 1, &[Waiting, Queued])).is_empty());
    let second = job(7, 1, &[Success, Waiting]);
    assert_eq!(seen.news(&second), [0, 1]);
    seen.remember(&second, stamp);
    assert!(
        seen.news(&job(7, 1, &[JobStatus::Error, Waiting]))
            .is_empty()
    );
    // The number is used again: another job.
    assert_eq!(seen.news(&job(7, 2, &[Queued])), [0]);
}

#[test]
fn what_the_journal_knows_is_no_news() {
    let mut seen = Seen::default();
    seen.recall(JobId(7), (1, 0).into(), 1, JobStatus::Success);
    let found = job(7, 1, &[JobStatus::Success, JobStatus::Success]);
    assert_eq!(seen.news(&found), [0]);
    assert!(!seen.is_settled(JobId(7)));
}

#[test]
fn a_file_that_is_nowhere_is_given_up_after_three_lists() {
    let mut seen = Seen::default();
    seen.recall(JobId(7), (1, 0).into(), 0, JobStatus::Running);
    let none = BTreeSet::new();
    for last in [false, false, true] {
        assert_eq!(seen.unfinished_but(&none), [JobId(7)]);
        assert_eq!(seen.missed(JobId(7)), last);
    }
    assert!(seen.unfinished_but(&none).is_empty());
}

#[test]
fn old_settled_jobs_are_forgotten_unless_they_are_live() {
    let stamp = stamps(1)[0];
    let mut seen = Seen::default();
    for id in [1, 2, 3, 5000] {
        seen.remember(&job(id, 1, &[JobStatus::Success]), stamp);
    }
    seen.recall(JobId(4), (1, 0).into(), 0, JobStatus::Running);
    seen.prune(&BTreeSet::from([JobId(2)]));
    let known: Vec<bool> = [1, 2, 3, 5000]
        .map(|id| seen.is_settled(JobId(id)))
        .to_vec();
    assert_eq!(known, [false, true, false, true]);
    assert_eq!(seen.count(), 3);
    assert_eq!(seen.low_water(), JobId(4000));
}

proptest! {
    /// Versions of a job's file are read in any order, some twice, some never: what is journaled of an operation never
    /// falls, and its final state is journaled once it was read.
    #[test]
    fn what_is_journaled_never_falls(
        reads in proptest::collection::vec(proptest::sample::select(JobStatus::ALL.to_vec()), 1..20),
        restart in 0..20_usize,
    ) {
        let stamps = stamps(reads.len());
        let mut seen = Seen::default();
        let mut journaled: Vec<JobStatus> = Vec::new();
        for (n, status) in reads.iter().enumerate() {
            if n == restart {
                seen = Seen::default();
                for status in &journaled {
                    seen.recall(JobId(1), (1, 0).into(), 0, *status);
                }
            }
            let read = job(1, 1, &[*status]);
            if !seen.news(&read).is_empty() {
                journaled.push(*status);
            }
            seen.remember(&read, stamps[n]);
        }
        let ranks: Vec<u8> = journaled.iter().map(|status| status.rank()).collect();
        prop_assert!(ranks.is_sorted_by(|a, b| a < b), "{journaled:?}");
        let first_final = reads.iter().find(|status| status.is_final());
        prop_assert_eq!(journaled.iter().find(|status| status.is_final()), first_final);
    }
}
