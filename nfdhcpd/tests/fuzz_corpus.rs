//! Runs every fuzz target's check over its corpus and its past crashes (`fuzz/README.md`).

use std::fs;
use std::panic;
use std::path::Path;

#[path = "../fuzz/checks/answer.rs"]
mod answer;
#[path = "../fuzz/checks/binding.rs"]
mod binding;
#[path = "../fuzz/checks/dhcpv4.rs"]
mod dhcpv4;
#[path = "../fuzz/checks/dhcpv6.rs"]
mod dhcpv6;
#[path = "../fuzz/checks/ndp.rs"]
mod ndp;

type Check = fn(&[u8]);

/// One line per target.
const TARGETS: &[(&str, Check)] = &[
    ("answer", answer::check),
    ("binding", binding::check),
    ("dhcpv4", dhcpv4::check),
    ("dhcpv6", dhcpv6::check),
    ("ndp", ndp::check),
];

#[test]
fn checks_hold_for_corpus_and_past_crashes() {
    for (target, check) in TARGETS {
        assert!(
            replay("corpus", target, *check) > 0,
            "{target} has no corpus"
        );
        replay("crashes", target, *check);
    }
}

#[test]
fn no_target_and_no_input_is_left_out() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut found = names(&fuzz.join("corpus"));
    found.extend(names(&fuzz.join("crashes")));
    let targets = names(&fuzz.join("targets"));
    found.extend(targets.iter().map(|file| file.replace(".rs", "")));
    for target in found {
        assert!(
            TARGETS.iter().any(|(name, _)| *name == target),
            "{target}: no such target"
        );
    }
    assert_eq!(targets.len(), TARGETS.len(), "a check without a target");
}

/// Runs the check on each file of `fuzz/FOLDER/TARGET`, and says which file it failed for; how many there were.
fn replay(folder: &str, target: &str, check: Check) -> usize {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(folder)
        .join(target);
    let inputs = names(&directory);
    for input in &inputs {
        let bytes = fs::read(directory.join(input));
        assert!(bytes.is_ok(), "{folder}/{target}/{input}: {bytes:?}");
        let bytes = bytes.unwrap_or_default();
        let outcome = panic::catch_unwind(|| check(&bytes));
        assert!(
            outcome.is_ok(),
            "the check fails for {folder}/{target}/{input}"
        );
    }
    inputs.len()
}

/// File names in a directory, hidden ones left out, sorted; none if there is no such directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}
