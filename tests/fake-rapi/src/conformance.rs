//! What both the real remote API and the fake one must answer: a transcript (`conformance.json`), and who checks it.
//!
//! A step asks something and says what the answer looks like. Where it makes a job, the job is waited for and its end
//! compared too. Names in `${…}` are filled in from the run's [`Names`], or were kept by an earlier step (`keep`: name →
//! JSON pointer into the answer).
//!
//! A *shape* is JSON: an object's members must be there and fit, others may be; an array has just these elements; a text
//! that begins with `@` stands for a kind (`@int`, `@number`, `@text`, `@bool`, `@uuid`, `@moment`, `@list`, `@object`,
//! `@any`, several joined by `|`, `null` among them); `{"@each": shape}` is an array of such elements, `{"@has": shape}` one
//! with such an element, `{"@says": text}` a text with this in it. Anything else is meant as it stands.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::client::Client;

/// The transcript.
const TRANSCRIPT: &str = include_str!("conformance.json");
/// How often an open job is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a job may take.
const PATIENCE: u32 = 1200;

/// What a run is to use.
#[derive(Debug, Clone)]
pub struct Names {
    /// What the names of instances and networks that are made begin with: free on that cluster.
    pub prefix: String,
    /// Node that instances are put on.
    pub node: String,
    /// Node group.
    pub group: String,
    /// Hypervisor, `fake` or `kvm`.
    pub hypervisor: String,
    /// OS.
    pub os: String,
    /// Bridge of the network that is made.
    pub bridge: String,
}

/// Runs the transcript, and tells where answers differ: the step's name and how.
///
/// # Errors
/// The API cannot be asked, or the transcript itself is wrong.
pub async fn run(client: &Client, names: &Names) -> Result<Vec<String>> {
    let steps: Value = serde_json::from_str(TRANSCRIPT).context("read the transcript")?;
    let mut known: BTreeMap<String, String> = [
        ("prefix", &names.prefix),
        ("node", &names.node),
        ("group", &names.group),
        ("hypervisor", &names.hypervisor),
        ("os", &names.os),
        ("bridge", &names.bridge),
    ]
    .map(|(name, value)| (name.to_owned(), value.clone()))
    .into();
    let mut found = Vec::new();
    for step in steps.as_array().context("the transcript is a list")? {
        let step = fill(step, &known);
        let name = step.get("name").and_then(Value::as_str).unwrap_or_default();
        let differences = one(client, &step, &mut known)
            .await
            .with_context(|| format!("step {name:?}"))?;
        found.extend(
            differences
                .into_iter()
                .map(|each| format!("{name}: {each}")),
        );
    }
    Ok(found)
}

async fn one(
    client: &Client,
    step: &Value,
    known: &mut BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let text = |key: &str| step.get(key).and_then(Value::as_str);
    let (method, path) = (text("method").unwrap_or("GET"), text("path"));
    let path = path.context("a step has a path")?;
    let (status, answer) = client.ask(method, path, step.get("body")).await?;
    let mut differences = Vec::new();
    let expected = step.get("status").and_then(Value::as_u64).unwrap_or(200);
    if u64::from(status) != expected {
        differences.push(format!("status {status} instead of {expected}: {answer}"));
        return Ok(differences);
    }
    if let Some(shape) = step.get("answer") {
        compare(&answer, shape, "", &mut differences);
    }
    for (name, pointer) in step
        .get("keep")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let pointer = pointer.as_str().unwrap_or_default();
        let value = answer.pointer(pointer);
        match value {
            Some(Value::String(text)) => known.insert(name.clone(), text.clone()),
            Some(other) => known.insert(name.clone(), other.to_string()),
            None => bail!("the answer has nothing at {pointer}: {answer}"),
        };
    }
    if let Some(shape) = step.get("job") {
        let id = answer.as_u64().context("a job's number is a number")?;
        let job = wait(client, id).await?;
        compare(&job, shape, "", &mut differences);
    }
    Ok(differences)
}

async fn wait(client: &Client, id: u64) -> Result<Value> {
    for _ in 0..PATIENCE {
        let (_, job) = client.ask("GET", &format!("/2/jobs/{id}"), None).await?;
        let status = job.get("status").and_then(Value::as_str);
        if matches!(status, Some("success" | "error" | "canceled")) {
            return Ok(job);
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("job {id} does not end")
}

/// Fills names in, in all texts.
fn fill(value: &Value, known: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => {
            let mut text = text.clone();
            for (name, value) in known {
                text = text.replace(&format!("${{{name}}}"), value);
            }
            Value::String(text)
        }
        Value::Array(list) => Value::Array(list.iter().map(|each| fill(each, known)).collect()),
        Value::Object(members) => {
            let filled = members
                .iter()
                .map(|(key, each)| (key.clone(), fill(each, known)));
            Value::Object(filled.collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Adds how an answer differs from a shape; `place` is a path for people.
pub fn compare(answer: &Value, shape: &Value, place: &str, differences: &mut Vec<String>) {
    let mut differ = |what: &str| differences.push(format!("{place}: {what}, but it is {answer}"));
    match shape {
        Value::String(kinds) if kinds.starts_with('@') => {
            let mut kinds_of = kinds.trim_start_matches('@').split('|');
            if !kinds_of.any(|kind| is_of(answer, kind.trim_start_matches('@'))) {
                differ(&format!("{kinds} is expected"));
            }
        }
        Value::Object(members) => {
            if let Some(each) = members.get("@each") {
                let Some(list) = answer.as_array() else {
                    return differ("an array is expected");
                };
                for (at, element) in list.iter().enumerate() {
                    compare(element, each, &format!("{place}[{at}]"), differences);
                }
            } else if let Some(wanted) = members.get("@has") {
                let fits = |element: &Value| {
                    let mut own = Vec::new();
                    compare(element, wanted, "", &mut own);
                    own.is_empty()
                };
                if !answer.as_array().is_some_and(|list| list.iter().any(fits)) {
                    differ(&format!("an element like {wanted} is expected"));
                }
            } else if let Some(part) = members.get("@says").and_then(Value::as_str) {
                if !answer.as_str().is_some_and(|text| text.contains(part)) {
                    differ(&format!("a text with {part:?} is expected"));
                }
            } else {
                for (key, shape) in members {
                    match answer.get(key) {
                        Some(value) => {
                            compare(value, shape, &format!("{place}.{key}"), differences);
                        }
                        None => differences.push(format!("{place}: {key} is missing in {answer}")),
                    }
                }
            }
        }
        Value::Array(shapes) => match answer.as_array() {
            Some(list) if list.len() == shapes.len() => {
                for (at, (element, shape)) in list.iter().zip(shapes).enumerate() {
                    compare(element, shape, &format!("{place}[{at}]"), differences);
                }
            }
            _ => differ(&format!("an array of {} is expected", shapes.len())),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            if answer != shape {
                differ(&format!("{shape} is expected"));
            }
        }
    }
}

fn is_of(answer: &Value, kind: &str) -> bool {
    match kind {
        "any" => true,
        "null" => answer.is_null(),
        "int" => answer.is_i64() || answer.is_u64(),
        "number" => answer.is_number(),
        "text" => answer.is_string(),
        "bool" => answer.is_boolean(),
        "list" => answer.is_array(),
        "object" => answer.is_object(),
        "uuid" => answer
            .as_str()
            .is_some_and(|text| uuid::Uuid::parse_str(text).is_ok()),
        "moment" => answer.as_array().is_some_and(|pair| {
            pair.len() == 2 && pair.iter().all(|part| part.is_i64() || part.is_u64())
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(answer: &Value, shape: &Value) -> usize {
        let mut found = Vec::new();
        compare(answer, shape, "", &mut found);
        found.len()
    }

    #[test]
    fn a_shape_fits_what_it_describes_and_nothing_else() {
        let answer = json!({"id": 7, "ts": [1, 2], "names": ["a", "b"], "words": "already in use", "none": null});
        for shape in [
            json!({"id": "@int"}),
            json!({"id": "@text|int"}),
            json!({"ts": "@moment", "none": "@moment|null"}),
            json!({"names": {"@each": "@text"}}),
            json!({"names": {"@has": "b"}}),
            json!({"words": {"@says": "in use"}}),
            json!({"names": ["a", "@text"]}),
        ] {
            assert_eq!(differences(&answer, &shape), 0, "{shape}");
        }
        for shape in [
            json!({"id": "@text"}),
            json!({"gone": "@any"}),
            json!({"names": {"@each": "@int"}}),
            json!({"names": {"@has": "c"}}),
            json!({"names": ["a"]}),
            json!({"words": {"@says": "free"}}),
            json!({"id": 8}),
            json!({"none": "@moment"}),
        ] {
            assert!(differences(&answer, &shape) > 0, "{shape}");
        }
    }
}
