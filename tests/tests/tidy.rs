//! The tree's own rules, as ARCHITECTURE.md and CONTRIBUTING.md state them: each is checked on every source file.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files that decide: no IO, no clock, no environment, no logging.
const CORE: &[&str] = &[
    "agent/events/src/agent.rs",
    "agent/events/src/ganeti.rs",
    "agent/events/src/identity.rs",
    "agent/events/src/intake.rs",
    "agent/events/src/message.rs",
    "agent/events/src/routing.rs",
    "agent/events/src/tag.rs",
    "agent/src/eventd/events.rs",
    "agent/src/eventd/job_file.rs",
    "agent/src/eventd/journal/record.rs",
    "agent/src/eventd/luxi/instance.rs",
    "agent/src/eventd/seen.rs",
    "agent/src/node/configured.rs",
    "agent/src/node/environment.rs",
    "agent/src/node/net_status.rs",
    "agent/src/node/reconcile.rs",
    "agent/src/node/runtime.rs",
    "controller/src/allocation.rs",
    "controller/src/dispatcher/decode.rs",
    "controller/src/dispatcher/merge.rs",
    "controller/src/dispatcher/reading.rs",
    "controller/src/dispatcher/rows.rs",
    "controller/src/dispatcher/streams.rs",
    "controller/src/lifecycle.rs",
    "controller/src/order.rs",
    "controller/src/rapi/body.rs",
    "controller/src/rapi/instance.rs",
    "controller/src/rapi/naming.rs",
    "agent/src/progress/objects.rs",
    "nfdhcpd/binding/src/",
    "nfdhcpd/src/wire.rs",
    "nfdhcpd/src/wire/",
    "nfdhcpd/src/responder.rs",
    "nfdhcpd/src/responder/",
    "nfdhcpd/src/advertiser.rs",
    "nfdhcpd/src/asked.rs",
    "nfdhcpd/src/bindings.rs",
    "nfdhcpd/src/explain.rs",
    "nfdhcpd/src/import.rs",
    "nfdhcpd/src/link.rs",
    "nfdhcpd/src/outcome.rs",
    "nfdhcpd/src/policer.rs",
    "nfdhcpd/src/ports.rs",
    "nfdhcpd/src/redirect.rs",
    "nfdhcpd/src/rules/plan.rs",
    "nfdhcpd/src/rules/tap.rs",
    "nfdhcpd/src/story.rs",
    "nfdhcpd/src/advertiser.rs",
];

/// Crates and modules of the world outside, which core files may not name.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "Instant::now",
    "SystemTime::now",
    "tokio::",
    "tracing::",
    "nix::",
    "libc::",
    "rtnetlink::",
    "snf_nft::Socket",
];

const NAMES_THAT_SAY_NOTHING: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "mod",
];

const LINES_WITHOUT_TESTS: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
        .to_path_buf()
}

/// Every tracked-looking Rust file below the root: (path from the root, text).
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree can be read") {
            let path = entry.expect("a folder's entry can be read").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let path = path.strip_prefix(&root).expect("found below the root");
                found.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    assert!(
        found.len() > 20,
        "the walk found only {} source files",
        found.len()
    );
    found
}

/// The part before the tests at a file's end.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or(text)
}

fn report(rule: &str, offenders: Vec<String>) {
    assert!(
        offenders.is_empty(),
        "{rule}:\n  {}",
        offenders.join("\n  ")
    );
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path);
    report("files must open with a `//!` line", silent.collect());
}

#[test]
fn no_file_is_too_long_to_read() {
    let long = sources().into_iter().filter_map(|(path, text)| {
        let lines = without_tests(&text).lines().count();
        let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
        (lines > LINES_WITHOUT_TESTS && !is_test).then(|| format!("{path}: {lines} lines"))
    });
    report(
        "files must stay below 600 lines without their tests",
        long.collect(),
    );
}

#[test]
fn names_say_something() {
    let vague = sources().into_iter().map(|(path, _)| path).filter(|path| {
        let stem = Path::new(path)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        NAMES_THAT_SAY_NOTHING.contains(&stem.as_str())
    });
    report(
        "modules must be named for what they hold, and foo.rs goes with foo/",
        vague.collect(),
    );
}

#[test]
fn core_does_not_touch_the_world() {
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        let is_core =
            CORE.iter().any(|core| path.starts_with(core)) && !path.ends_with("/tests.rs");
        if !is_core {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            for word in OUTSIDE.iter().filter(|word| code.contains(*word)) {
                offenders.push(format!("{path}:{}: {word}", number + 1));
            }
        }
    }
    report(
        "core modules do no IO, read no clock and no environment, and do not log",
        offenders,
    );
}

#[test]
fn every_core_path_exists() {
    let root = root();
    let gone = CORE
        .iter()
        .filter(|path| !root.join(path).exists())
        .map(ToString::to_string);
    report(
        "the list of core modules names paths that are not there",
        gone.collect(),
    );
}

#[test]
fn crates_import_only_whom_they_may() {
    let allowed: &[(&str, &[&str])] = &[
        ("nfdhcpd/Cargo.toml", &["nfdhcpd-binding", "snf-nft"]),
        ("nfdhcpd/binding/Cargo.toml", &[]),
        (
            "ifup/Cargo.toml",
            &["nfdhcpd-binding", "snf-events", "snf-nft"],
        ),
        ("ifup/nft/Cargo.toml", &[]),
        (
            "agent/Cargo.toml",
            &["nfdhcpd-binding", "snf-events", "snf-ifup"],
        ),
        ("agent/events/Cargo.toml", &["nfdhcpd-binding"]),
    ];
    let ours = [
        "nfdhcpd",
        "nfdhcpd-binding",
        "snf-agent",
        "snf-events",
        "snf-ifup",
        "snf-nft",
        "system-tests",
    ];
    let mut offenders = Vec::new();
    for (manifest, may) in allowed {
        let text =
            fs::read_to_string(root().join(manifest)).expect("a crate's manifest can be read");
        let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default();
        for line in dependencies
            .lines()
            .take_while(|line| !line.starts_with('['))
        {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if ours.contains(&name) && !may.contains(&name) {
                offenders.push(format!("{manifest}: {name}"));
            }
        }
    }
    report("crates import only whom ARCHITECTURE.md names", offenders);
}

#[test]
fn nothing_is_left_for_later_without_a_number() {
    let marks = [
        "todo!(",
        "unimplemented!(",
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) && !line.contains('#') {
                offenders.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("marks for later need an issue number", offenders);
}
