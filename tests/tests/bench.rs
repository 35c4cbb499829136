//! The benchmark's short form: every question is asked once, and nothing that must not happen does. No time is judged.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use system_tests::world;

#[test]
fn the_short_benchmark_loses_nothing() {
    if !world::can_run(&["iptables-nft", "ip6tables-nft", "bridge"]) {
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--json"])
        .output()
        .unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {progress}", output.status);
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
        "hostile",
        "ifup",
        "loops",
        "open",
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
