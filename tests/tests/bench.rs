//! The benchmark's short form: every question is asked once, and nothing that must not happen does. No time is judged.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use system_tests::{broker, world};

#[test]
fn the_short_benchmark_loses_nothing() {
    if !world::can_run(&["iptables-nft", "ip6tables-nft", "bridge", broker::NEEDS]) {
        return;
    }
    // In /tmp, where the benchmark has a directory of its own.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let page = directory.path().join("page.md");
    fs::write(&page, "<!-- figures -->\n<!-- end of figures -->\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--json", "--into"])
        .arg(&page)
        .output()
        .unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {progress}", output.status);
    let written = fs::read_to_string(&page).unwrap();
    assert!(written.contains("\n### Targets\n"), "{written}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();

    assert_eq!(
        report["faults"],
        serde_json::json!({ "lost": 0, "wrong": 0, "nak": 0, "leaked": 0 }),
        "{report:#}"
    );
    let sections = report["sections"].as_array().unwrap();
    let asked: BTreeSet<_> = sections
        .iter()
        .filter_map(|section| section["name"].as_str())
        .collect();
    let all = [
        "advertise",
        "binding",
        "continuity",
        "delay",
        "hostile",
        "ifup",
        "look",
        "loops",
        "open",
        "queue",
        "replay",
        "start",
        "storm",
    ];
    assert_eq!(asked, BTreeSet::from(all));
    let loops = sections
        .iter()
        .find(|section| section["name"] == "loops")
        .unwrap();
    for case in loops["figures"].as_array().unwrap() {
        let runs = case["rounds"]["kept"][0].as_array().unwrap();
        let contestants: Vec<_> = runs.iter().map(|run| &run[0]).collect();
        assert_eq!(contestants.len(), 4, "{case:#}");
        for run in runs {
            assert!(
                run[1]["done"].as_u64() > Some(0),
                "{}: {}",
                case["case"],
                run[0]
            );
        }
    }
}

/// A page without a place for figures is refused before anything is measured.
#[test]
fn a_page_without_a_place_costs_no_run() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.md");
    fs::write(&page, "<!-- end of figures -->\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "binding", "--into"])
        .arg(&page)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("page.md: no place for figures"), "{said}");
}
