//! Lists: filters by any key, order, pages, and only the fields that are asked for (`neutron/api/api_common.py`).

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::api::body::Pairs;
use crate::api::fault::Fault;
use crate::cloud::Cloud;

/// Words of a query that are no filters.
const WORDS: [&str; 6] = [
    "fields",
    "limit",
    "marker",
    "page_reverse",
    "sort_dir",
    "sort_key",
];

/// A kind of thing that is listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// Its name, as in the path.
    pub(super) plural: &'static str,
    /// Keys it may be filtered and sorted by.
    pub(super) keys: &'static [&'static str],
}

/// Only the fields that are asked for; all where none is.
pub(super) fn fields(value: Value, query: &Pairs) -> Value {
    let wanted: Vec<&str> = query
        .all("fields")
        .filter(|field| !field.is_empty())
        .collect();
    let mut value = value;
    if let (Some(object), false) = (value.as_object_mut(), wanted.is_empty()) {
        object.retain(|key, _| wanted.contains(&key.as_str()));
    }
    value
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Whether a value is the one that is asked for: `True` and `1` are true, `ip_address=…` is told of a port's addresses.
fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Bool(is) => match &*wanted.to_lowercase() {
            "true" | "1" | "yes" => *is,
            "false" | "0" | "no" => !*is,
            _ => false,
        },
        Value::Array(values) => match wanted.split_once('=') {
            Some((key, wanted)) => values.iter().any(|each| match key.strip_suffix("_substr") {
                Some(key) => each
                    .get(key)
                    .is_some_and(|value| text(value).contains(wanted)),
                None => each.get(key).is_some_and(|value| text(value) == wanted),
            }),
            None => values.iter().any(|each| text(each) == wanted),
        },
        Value::String(value) => value == wanted,
        Value::Null | Value::Number(_) | Value::Object(_) => text(value) == wanted,
    }
}

fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_i64().cmp(&other.as_i64()),
        _ => text(one).cmp(&text(other)),
    }
}

/// Answers a query of a list.
///
/// # Errors
/// 400 for a key that is none, a limit that is no number, a marker that is not there.
pub(super) fn page(
    cloud: &Cloud,
    kind: Kind,
    mut all: Vec<Value>,
    query: &Pairs,
) -> Result<Value, Fault> {
    let Kind { plural, keys } = kind;
    for (key, _) in &query.0 {
        if WORDS.contains(&key.as_str()) {
            continue;
        }
        if !keys.contains(&key.as_str()) {
            return Err(Fault::bad(format!(
                "['{key}'] is invalid attribute for filtering"
            )));
        }
        let wanted: Vec<&str> = query.all(key).collect();
        all.retain(|each| {
            let value = each.get(key).unwrap_or(&Value::Null);
            wanted.iter().any(|wanted| is(value, wanted))
        });
    }
    let sort: Vec<&str> = query.all("sort_key").collect();
    let directions: Vec<&str> = query.all("sort_dir").collect();
    for key in &sort {
        if !keys.contains(key) {
            return Err(Fault::bad(format!(
                "{key} is invalid attribute for sort keys"
            )));
        }
    }
    if directions
        .iter()
        .any(|word| !matches!(*word, "asc" | "desc"))
    {
        return Err(Fault::bad("sort_dir is asc or desc"));
    }
    if !directions.is_empty() && directions.len() != sort.len() {
        return Err(Fault::bad(
            "The number of sort_keys and sort_dirs must be same",
        ));
    }
    all.sort_by(|one, other| {
        let orders = sort.iter().enumerate().map(|(place, key)| {
            let order = compare(
                one.get(key).unwrap_or(&Value::Null),
                other.get(key).unwrap_or(&Value::Null),
            );
            match directions.get(place) {
                Some(&"desc") => order.reverse(),
                _ => order,
            }
        });
        orders.fold(Ordering::Equal, Ordering::then)
    });
    let is_reverse = query
        .last("page_reverse")
        .is_some_and(|word| is(&json!(true), word));
    if let Some(marker) = query.last("marker") {
        let place = all
            .iter()
            .position(|each| each.get("id").is_some_and(|id| id == marker));
        let place = place.ok_or_else(|| Fault::bad(format!("The marker {marker} is not there")))?;
        match is_reverse {
            true => all.truncate(place),
            false => drop(all.drain(..=place)),
        }
    }
    let mut links = Vec::new();
    if let Some(limit) = query.last("limit") {
        let read: Result<usize, _> = limit.parse();
        let limit = read.map_err(|_| {
            Fault::bad(format!(
                "Invalid input for limit: '{limit}' is no number that is not negative"
            ))
        })?;
        // None is any, to Neutron.
        if limit > 0 {
            let is_more = all.len() > limit;
            match is_reverse {
                true => drop(all.drain(..all.len().saturating_sub(limit))),
                false => all.truncate(limit),
            }
            if is_more {
                let (rel, last) = match is_reverse {
                    true => ("previous", all.first()),
                    false => ("next", all.last()),
                };
                let id = last
                    .and_then(|last| last.get("id"))
                    .map(text)
                    .unwrap_or_default();
                let mut next = form_urlencoded::Serializer::new(String::new());
                next.extend_pairs(query.0.iter().filter(|(word, _)| word != "marker"));
                next.append_pair("marker", &id);
                let base = &cloud.config.api.public_url;
                let href = format!("{base}/network/v2.0/{plural}?{}", next.finish());
                links.push(json!({"rel": rel, "href": href}));
            }
        }
    }
    let all: Vec<Value> = all.into_iter().map(|each| fields(each, query)).collect();
    let mut body = Map::new();
    body.insert(plural.to_owned(), Value::Array(all));
    if !links.is_empty() {
        body.insert(format!("{plural}_links"), Value::Array(links));
    }
    Ok(Value::Object(body))
}
