//! What waits, what gives way, and what is there after a restart.

use std::fs;

use serde_json::{Value, json};

use super::*;

const ROOMY: Limits = Limits {
    messages: 100,
    bytes: 1 << 20,
};

fn epochs(first: u8) -> [Epoch; 2] {
    [first, first + 1].map(|n| {
        format!("00000000-0000-4000-8000-0000000000{n:02}")
            .parse()
            .unwrap()
    })
}

fn letter(kind: Kind, instance: &str, tells: Option<&str>) -> Letter {
    Letter {
        kind,
        prefix: "snf-".parse().unwrap(),
        instance: instance.to_owned(),
        tells: tells.map(str::to_owned),
    }
}

fn put(spool: &Spool, letter: &Letter, text: &str) -> Put {
    let body = |epoch: &Epoch, sequence: Sequence| {
        json!({"epoch": epoch, "sequence": sequence, "text": text})
            .to_string()
            .into_bytes()
    };
    spool.put(letter, 5, body).unwrap()
}

fn net(spool: &Spool, instance: &str, text: &str) -> Put {
    put(spool, &letter(Kind::Net, instance, Some("nics")), text)
}

fn progress(spool: &Spool, instance: &str, text: &str) -> Put {
    put(spool, &letter(Kind::Progress, instance, None), text)
}

/// The texts of all that waits, in order.
fn texts(spool: &Spool) -> Vec<String> {
    let read = |number| {
        let outgoing = spool.read(number).unwrap();
        let body: Value = serde_json::from_slice(&outgoing.body).unwrap();
        body["text"].as_str().unwrap().to_owned()
    };
    spool.numbers(0, 1000).into_iter().map(read).collect()
}

#[test]
fn what_waits_is_there_after_a_restart_with_life_and_number() {
    let state = tempfile::tempdir().unwrap();
    let spool = Spool::open(state.path(), ROOMY, epochs(1)).unwrap();
    net(&spool, "snf-1", "a");
    progress(&spool, "snf-1", "b");
    net(&spool, "snf-2", "c");
    drop(spool);
    // What a kill leaves, and what others do.
    let directory = state.path().join("spool");
    fs::write(directory.join("new"), "{").unwrap();
    fs::write(directory.join("00000000000000000009.json"), "{}").unwrap();
    let spool = Spool::open(state.path(), ROOMY, epochs(3)).unwrap();
    assert_eq!(texts(&spool), ["a", "b", "c"]);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
    let (first, third) = (spool.read(1).unwrap(), spool.read(3).unwrap());
    assert_eq!(first.epoch, epochs(1)[0]);
    assert_eq!((first.sequence, third.sequence), (Sequence(1), Sequence(2)));
    assert_eq!(first.id, format!("{}/snf/1", epochs(1)[0]));
    assert!(first.mandatory && !spool.read(2).unwrap().mandatory);
    assert_eq!(
        spool.read(2).unwrap().key.as_str(),
        "ganeti.snf.event.progress"
    );
    // A new life counts anew, and its messages come behind.
    net(&spool, "snf-3", "d");
    let last = spool.read(4).unwrap();
    assert_eq!(
        (last.epoch, last.sequence),
        (epochs(3)[0].clone(), Sequence(1))
    );
    for number in 1..=4 {
        assert!(spool.take_out(number).is_some());
    }
    assert_eq!(spool.take_out(4), None);
    assert_eq!(spool.level(), Level::default());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn the_newest_takes_the_place_of_what_said_the_same() {
    let state = tempfile::tempdir().unwrap();
    let spool = Spool::open(state.path(), ROOMY, epochs(1)).unwrap();
    net(&spool, "snf-1", "old");
    net(&spool, "snf-2", "other");
    assert!(net(&spool, "snf-1", "new").replaced);
    progress(&spool, "snf-1", "p");
    assert!(!progress(&spool, "snf-1", "q").replaced);
    assert_eq!(texts(&spool), ["other", "new", "p", "q"]);
    // Over a restart, too.
    drop(spool);
    let spool = Spool::open(state.path(), ROOMY, epochs(3)).unwrap();
    assert!(net(&spool, "snf-1", "newest").replaced);
    assert_eq!(texts(&spool), ["other", "p", "q", "newest"]);
}

#[test]
fn a_full_spool_drops_progress_first_and_of_whom_has_most() {
    let state = tempfile::tempdir().unwrap();
    let limits = Limits {
        messages: 5,
        ..ROOMY
    };
    let spool = Spool::open(state.path(), limits, epochs(1)).unwrap();
    net(&spool, "snf-1", "n1");
    progress(&spool, "snf-2", "p2");
    for text in ["q1", "q2", "q3"] {
        assert_eq!(progress(&spool, "snf-3", text).dropped, (0, 0));
    }
    assert_eq!(progress(&spool, "snf-4", "p4").dropped, (0, 1));
    assert_eq!(texts(&spool), ["n1", "p2", "q2", "q3", "p4"]);
    for instance in ["snf-5", "snf-6", "snf-7", "snf-8"] {
        assert_eq!(net(&spool, instance, instance).dropped, (0, 1));
    }
    assert_eq!(texts(&spool), ["n1", "snf-5", "snf-6", "snf-7", "snf-8"]);
    // Nothing that may be dropped for it.
    let refused = progress(&spool, "snf-9", "p9");
    assert_eq!((refused.waits, refused.dropped), (false, (0, 1)));
    // One that replaces needs no room; one more does.
    assert_eq!(net(&spool, "snf-1", "n1'").dropped, (0, 0));
    assert_eq!(net(&spool, "snf-9", "snf-9").dropped, (1, 0));
    assert_eq!(texts(&spool), ["snf-6", "snf-7", "snf-8", "n1'", "snf-9"]);
}

#[test]
fn bytes_are_bounded_and_what_is_larger_than_all_does_not_enter() {
    let state = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes: 2000,
        ..ROOMY
    };
    let spool = Spool::open(state.path(), limits, epochs(1)).unwrap();
    net(&spool, "snf-1", "n");
    let huge = progress(&spool, "snf-1", &"x".repeat(3000));
    assert_eq!((huge.waits, huge.dropped), (false, (0, 1)));
    for _ in 0..20 {
        progress(&spool, "snf-1", &"y".repeat(300));
    }
    let level = spool.level();
    assert!(level.bytes <= 2000 && level.messages >= 3, "{level:?}");
    assert_eq!(level.oldest, 5);
    assert_eq!(texts(&spool).first().map(String::as_str), Some("n"));
    // A smaller bound holds for what an earlier life left.
    drop(spool);
    let limits = Limits {
        messages: 1,
        ..ROOMY
    };
    let spool = Spool::open(state.path(), limits, epochs(3)).unwrap();
    assert_eq!(texts(&spool), ["n"]);
}
