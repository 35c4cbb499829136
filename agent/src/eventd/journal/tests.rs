//! A journal over restarts, damage, compaction and new epochs.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;
use snf_events::JobId;

use super::*;

const LIMITS: Limits = Limits {
    segment: 1 << 20,
    compact: 1 << 30,
    keep: 1000,
};

/// Small enough that everything happens within a few events.
const TINY: Limits = Limits {
    segment: 600,
    compact: 1500,
    keep: 3,
};

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn news(job: u64, status: JobStatus) -> News {
    news_of("snf-", job, status)
}

fn news_of(of: &str, job: u64, status: JobStatus) -> News {
    News {
        subject: Subject {
            job: JobId(job),
            received: (1, 0).into(),
            op_index: 0,
            prefix: prefix(of),
        },
        status,
        key: RoutingKey::stored("ganeti.snf.event.op"),
        body: format!("{{\"body\":\"{job} {status}\"}}").into_bytes(),
        written: 1,
    }
}

fn open(root: &Path) -> Opened {
    Journal::open(root, LIMITS).unwrap()
}

fn put(journal: &mut Journal, job: u64, status: JobStatus) {
    journal.append(news(job, status));
    journal.commit().unwrap();
}

fn everything(view: &View) -> Vec<(u64, JobStatus, u64)> {
    let end = view.committed().borrow().number;
    let mut reader = read::Reader::new(view, Number(0));
    let mut all = Vec::new();
    while let Some(record) = reader.next(end).unwrap() {
        assert_eq!(
            record.body,
            news(record.subject.job.0, record.status).body,
            "the body is what was written"
        );
        all.push((record.subject.job.0, record.status, record.sequence.0));
    }
    all
}

#[test]
fn what_is_committed_is_there_after_a_restart() {
    use JobStatus::{Queued, Success};
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    assert!(opened.anew);
    let mut journal = opened.journal;
    let epoch = journal.state().epoch.clone();
    put(&mut journal, 1, Queued);
    put(&mut journal, 1, Success);
    journal.append(news(2, Queued));
    assert_eq!(
        everything(&journal.view()),
        [(1, Queued, 1), (1, Success, 2)]
    );
    journal.view().acknowledge(Number(1)).unwrap();
    drop(journal);
    for restart in 0..3 {
        let opened = open(root.path());
        assert!(!opened.anew);
        assert_eq!(opened.journal.state().epoch, epoch);
        let view = opened.journal.view();
        assert_eq!(
            everything(&view),
            [(1, Queued, 1), (1, Success, 2)],
            "{restart}"
        );
        assert_eq!(view.mark().acknowledged, Number(1));
        assert_eq!(view.acknowledged()[&prefix("snf-")], Sequence(1));
        let known = [Recalled {
            subject: news(1, Success).subject,
            status: Success,
        }];
        assert_eq!(opened.recalled, known);
    }
    let mut journal = open(root.path()).journal;
    put(&mut journal, 2, Queued);
    assert_eq!(everything(&journal.view()).last(), Some(&(2, Queued, 3)));
}

#[test]
fn only_one_program_has_it() {
    let root = tempfile::tempdir().unwrap();
    let _first = open(root.path());
    let second = Journal::open(root.path(), LIMITS);
    assert!(matches!(second, Err(JournalError::InUse { .. })));
}

#[test]
fn a_torn_end_is_cut_wherever_it_was_torn() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = open(root.path()).journal;
    let (epoch, path) = (journal.state().epoch.clone(), journal.path.clone());
    put(&mut journal, 1, JobStatus::Success);
    let sound = journal.length;
    put(&mut journal, 2, JobStatus::Success);
    drop(journal);
    let whole = fs::read(&path).unwrap();
    for length in sound as usize..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut journal = open(root.path()).journal;
        assert_eq!(journal.state().epoch, epoch);
        assert_eq!(everything(&journal.view()), [(1, JobStatus::Success, 1)]);
        // And goes on.
        put(&mut journal, 3, JobStatus::Success);
        assert_eq!(everything(&journal.view()).len(), 2);
        fs::remove_file(&journal.path).unwrap();
    }
}

#[test]
fn a_lost_journal_is_a_new_epoch() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = open(root.path()).journal;
    let epoch = journal.state().epoch.clone();
    put(&mut journal, 1, JobStatus::Success);
    put(&mut journal, 2, JobStatus::Success);
    journal.view().acknowledge(Number(2)).unwrap();
    let (length, path) = (journal.length, journal.path.clone());
    drop(journal);
    // What was acknowledged is gone: numbers would be given twice.
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(length - 1).unwrap();
    let opened = open(root.path());
    assert!(opened.anew);
    assert_ne!(opened.journal.state().epoch, epoch);
    let view = opened.journal.view();
    assert_eq!(everything(&view), [(1, JobStatus::Success, 1)]);
    assert_eq!(view.mark().acknowledged, Number(0));
    drop(opened);
    fs::remove_dir_all(root.path()).unwrap();
    let opened = open(root.path());
    assert!(opened.anew);
    assert!(opened.recalled.is_empty());
}

#[test]
fn damage_before_the_end_is_a_new_epoch_with_what_is_left() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(root.path(), TINY).unwrap().journal;
    let epoch = journal.state().epoch.clone();
    let first = journal.path.clone();
    for job in 1..=8 {
        put(&mut journal, job, JobStatus::Success);
        if journal.length > TINY.segment / 2 {
            journal.rotate().unwrap();
        }
    }
    drop(journal);
    let mut bytes = fs::read(&first).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&first, bytes).unwrap();
    let opened = Journal::open(root.path(), TINY).unwrap();
    assert!(opened.anew);
    assert_ne!(opened.journal.state().epoch, epoch);
    let left = everything(&opened.journal.view());
    assert!(left.len() >= 4 && left.len() < 8, "{left:?}");
}

#[test]
fn a_new_epoch_begins_with_the_newest_of_each() {
    use JobStatus::{Queued, Running, Success};
    let root = tempfile::tempdir().unwrap();
    let mut journal = open(root.path()).journal;
    for (job, status) in [
        (1, Queued),
        (2, Queued),
        (1, Running),
        (2, Success),
        (3, Queued),
    ] {
        put(&mut journal, job, status);
    }
    journal.view().acknowledge(Number(5)).unwrap();
    let (old, view) = (journal.state().epoch.clone(), journal.view());
    journal.renew(true, Some(String::from("uuid"))).unwrap();
    assert_ne!(journal.state().epoch, old);
    let newest = [(1, Running, 1), (2, Success, 2), (3, Queued, 3)];
    assert_eq!(everything(&journal.view()), newest);
    assert_eq!(journal.view().mark().acknowledged, Number(0));
    assert_eq!(*view.epoch(), old);
    put(&mut journal, 1, Success);
    drop(journal);
    let opened = open(root.path());
    assert!(opened.journal.state().master);
    assert_eq!(opened.journal.state().cluster_uuid.as_deref(), Some("uuid"));
    assert_eq!(everything(&opened.journal.view()).len(), 4);
    assert!(!root.path().join(old.as_str()).exists());
}

#[test]
fn what_cannot_be_written_is_forgotten_and_can_be_tried_again() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = open(root.path()).journal;
    put(&mut journal, 1, JobStatus::Success);
    let whole = std::mem::replace(&mut journal.file, File::open("/dev/null").unwrap());
    journal.append(news(2, JobStatus::Queued));
    assert!(journal.commit().is_err());
    journal.file = whole;
    assert_eq!(everything(&journal.view()), [(1, JobStatus::Success, 1)]);
    put(&mut journal, 2, JobStatus::Success);
    let all = [(1, JobStatus::Success, 1), (2, JobStatus::Success, 2)];
    assert_eq!(everything(&journal.view()), all);
    drop(journal);
    assert_eq!(everything(&open(root.path()).journal.view()), all);
}

#[test]
fn a_reader_follows_the_writer_over_files_and_compactions() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(root.path(), TINY).unwrap().journal;
    let view = journal.view();
    let mut reader = read::Reader::new(&view, Number(0));
    let mut finals = BTreeSet::new();
    for job in 1..=60 {
        for status in [JobStatus::Queued, JobStatus::Success] {
            put(&mut journal, job, status);
        }
        journal.tidy().unwrap();
        if job % 7 == 0 {
            let end = view.committed().borrow().number;
            while let Some(record) = reader.next(end).unwrap() {
                if record.status.is_final() {
                    finals.insert(record.subject.job.0);
                }
            }
            // Everything that was read may go now.
            view.acknowledge(end).unwrap();
        }
    }
    let end = view.committed().borrow().number;
    while let Some(record) = reader.next(end).unwrap() {
        finals.insert(record.subject.job.0);
    }
    assert_eq!(finals, (1..=60).collect());
    assert!(journal.compacted > 0, "it was compacted");
    assert!(journal.bytes() < 6000, "{}", journal.bytes());
}

/// One thing that happens to a journal.
#[derive(Debug, Clone)]
enum Step {
    Write { of: usize, job: u64, batch: usize },
    Acknowledge { share: f64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, 1..12_u64, 1..4_usize).prop_map(|(of, job, batch)| Step::Write { of, job, batch }),
        2 => (0.0..1.0).prop_map(|share| Step::Acknowledge { share }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens, every operation's newest state that is not acknowledged can be read, in order, and every
    /// number is accounted for: it is kept, superseded, or below the oldest.
    #[test]
    fn nothing_unacknowledged_is_lost(steps in proptest::collection::vec(step(), 1..80)) {
        let prefixes = ["snf-", "abc-"];
        let root = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(root.path(), TINY).unwrap().journal;
        let mut ranks = HashMap::new();
        let mut newest: BTreeMap<(String, u64), (u64, JobStatus)> = BTreeMap::new();
        let mut acknowledged = 0;
        let mut number = 0;
        let ladder = [JobStatus::Queued, JobStatus::Waiting, JobStatus::Running, JobStatus::Success];
        for step in steps {
            match step {
                Step::Write { of, job, batch } => {
                    for job in job..job + batch as u64 {
                        let rank = ranks.entry((of, job)).or_insert(0);
                        let Some(status) = ladder.get(*rank) else { continue };
                        *rank += 1;
                        number += 1;
                        newest.insert((prefixes[of].to_owned(), job), (number, *status));
                        journal.append(news_of(prefixes[of], job, *status));
                    }
                    journal.commit().unwrap();
                    journal.tidy().unwrap();
                }
                Step::Acknowledge { share } => {
                    acknowledged = acknowledged.max((number as f64 * share) as u64);
                    journal.view().acknowledge(Number(acknowledged)).unwrap();
                }
                Step::Restart => {
                    drop(journal);
                    let opened = Journal::open(root.path(), TINY).unwrap();
                    prop_assert!(!opened.anew);
                    journal = opened.journal;
                }
            }
        }
        let view = journal.view();
        prop_assert_eq!(view.mark().acknowledged.0, acknowledged);
        let end = view.committed().borrow().clone();
        prop_assert_eq!(end.number.0, number);
        let mut reader = read::Reader::new(&view, Number(0));
        let mut kept = BTreeMap::new();
        let mut before = 0;
        while let Some(record) = reader.next(end.number).unwrap() {
            prop_assert!(record.number.0 > before);
            before = record.number.0;
            let key = (record.subject.prefix.to_string(), record.subject.job.0);
            kept.insert(key, (record.number.0, record.status));
        }
        for (key, state) in &newest {
            if state.0 > acknowledged {
                prop_assert_eq!(kept.get(key), Some(state));
            }
        }
        for text in prefixes {
            let prefix = prefix(text);
            let page = read::page(&view, &prefix, Sequence(0), |record| Some(record.body)).unwrap();
            let last = end.streams.get(&prefix).map_or(0, |last| last.0);
            let mut covered: BTreeSet<u64> = page.records.iter().map(|record| record.sequence.0).collect();
            for range in &page.superseded {
                covered.extend(range.from.0..=range.to.0);
            }
            let wanted: BTreeSet<u64> = (page.oldest.0..=last).collect();
            prop_assert_eq!(covered, wanted, "{}", text);
            prop_assert_eq!(page.to.0, last);
        }
    }
}
