//! Golden events: `tests/jobs/NAME.json`, a file of Ganeti's job queue (most of them real ones of a 3.0.2 cluster, with
//! names of ours), gives `NAME.events`. `UPDATE_GOLDEN=1 cargo test -p snf-agent --test events` writes them anew; read
//! the difference before you commit it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use agent::eventd::events::{Context, Found, from_job};
use agent::eventd::job_file::{self, Job};
use serde_json::{Value, json};
use snf_events::{JobId, Message, Prefix};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jobs")
}

fn names(suffix: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| Some(name.strip_suffix(suffix)?.to_owned()))
        .collect()
}

fn read(name: &str) -> Job {
    let text = fs::read(directory().join(format!("{name}.json"))).unwrap();
    let whole: Value = serde_json::from_slice(&text).unwrap();
    let id = whole.get("id").and_then(Value::as_u64).unwrap();
    job_file::parse(JobId(id), &text).unwrap()
}

fn found(name: &str) -> Found {
    let prefixes: Vec<Prefix> = vec!["snf-".parse().unwrap(), "abc-".parse().unwrap()];
    let context = Context {
        cluster: "ganeti.example.org",
        prefixes: &prefixes,
        written: (1_795_000_000, 0).into(),
    };
    let job = read(name);
    let all: Vec<usize> = (0..job.ops.len()).collect();
    from_job(&job, &all, context)
}

fn shown(found: &Found) -> String {
    let events: Vec<Value> = found
        .events
        .iter()
        .map(|event| {
            json!({
                "key": event.key, "prefix": event.prefix, "operation": event.op_index, "status": event.status,
                "message": serde_json::from_slice::<Value>(&event.message.encode()).unwrap(),
            })
        })
        .collect();
    let all = json!({"events": events, "foreign": found.foreign, "heartbeat": found.heartbeat});
    serde_json::to_string_pretty(&all).unwrap() + "\n"
}

#[test]
fn events_are_as_recorded() {
    let jobs = names(".json");
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for name in &jobs {
        let path = directory().join(format!("{name}.events"));
        let text = shown(&found(name));
        if update {
            fs::write(path, text).unwrap();
        } else if fs::read_to_string(path).ok().as_deref() != Some(&text) {
            wrong.push(format!("{name}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(names(".events"), jobs, "events without a job");
}

#[test]
fn every_event_reads_back() {
    for name in names(".json") {
        for event in found(&name).events {
            assert_eq!(
                Message::decode(&event.message.encode()).unwrap(),
                event.message
            );
        }
    }
}

#[test]
fn no_secret_leaves() {
    let text = shown(&found("failed-create-with-secrets"));
    assert!(text.contains("temp_insufficient_resources"), "{text}");
    assert!(
        !text.contains("osparams") && !text.contains("geheim"),
        "{text}"
    );
}

#[test]
fn what_is_no_job_is_said_to_be_none() {
    let sample = fs::read_to_string(directory().join("success-instance-startup.json")).unwrap();
    let malformed = |text: &str| {
        job_file::parse(JobId(16), text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    for length in 0..sample.trim_end().len() {
        assert!(
            malformed(&sample[..length]).starts_with("not a job"),
            "{length}"
        );
    }
    for text in [
        "null",
        "[]",
        "{}",
        "{\"id\":16}",
        "{\"id\":-1,\"ops\":[]}",
        "{\"id\":16,\"ops\":[{}]}",
    ] {
        assert!(malformed(text).starts_with("not a job"), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(malformed(&format!("{{\"id\":16,\"ops\":{deep}")).starts_with("not a job"));
    assert!(malformed(&sample.replace("\"id\": 16", "\"id\": 17")).contains("holds job 17"));
    let status = sample.replace("\"success\"", "\"cancelled\"");
    assert!(malformed(&status).starts_with("not a job"));
}
