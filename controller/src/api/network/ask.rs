//! Bodies of requests: one thing, or several at once.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::api::fault::Fault;

/// Longest name.
const LONGEST: usize = 255;
/// Things that one request may make.
const AT_ONCE: usize = 100;

/// What a body asks for.
pub(super) struct Asked<T> {
    /// Each of them.
    pub(super) all: Vec<T>,
    /// Whether they came as a list, and are answered so.
    pub(super) is_list: bool,
}

/// Reads `{"network": {…}}` or `{"networks": [{…}, …]}`.
///
/// # Errors
/// 400, with the reason.
pub(super) fn several<T: DeserializeOwned>(
    body: Map<String, Value>,
    one: &str,
    many: &str,
) -> Result<Asked<T>, Fault> {
    let mut entries = body.into_iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else {
        return Err(Fault::bad(format!(
            "Unable to find '{one}' in request body"
        )));
    };
    let is_list = key == many;
    let missing = || Fault::bad(format!("Unable to find '{one}' in request body"));
    let values = if is_list {
        serde_json::from_value(value).map_err(|_| missing())?
    } else if key == one && value.is_object() {
        vec![value]
    } else {
        return Err(missing());
    };
    if values.is_empty() || values.len() > AT_ONCE {
        return Err(Fault::bad(format!(
            "{many}: from 1 to {AT_ONCE} are made at once"
        )));
    }
    let all = values.into_iter().map(|value| read(value, one));
    Ok(Asked {
        all: all.collect::<Result<_, _>>()?,
        is_list,
    })
}

/// Reads `{"network": {…}}`.
///
/// # Errors
/// 400, with the reason.
pub(super) fn single<T: DeserializeOwned>(body: Map<String, Value>, one: &str) -> Result<T, Fault> {
    let mut entries = body.into_iter();
    match (entries.next(), entries.next()) {
        (Some((key, value @ Value::Object(_))), None) if key == one => read(value, one),
        _ => Err(Fault::bad(format!(
            "Unable to find '{one}' in request body"
        ))),
    }
}

fn read<T: DeserializeOwned>(value: Value, one: &str) -> Result<T, Fault> {
    serde_json::from_value(value)
        .map_err(|error| Fault::bad(format!("Invalid input for {one}: {error}")))
}

/// A name, or free words: what fits into the column.
///
/// # Errors
/// 400, with the reason.
pub(super) fn words(key: &str, text: Option<String>) -> Result<String, Fault> {
    let text = text.unwrap_or_default();
    if text.chars().count() > LONGEST {
        return Err(Fault::bad(format!(
            "Invalid input for {key}: '{text}' exceeds maximum length of {LONGEST}"
        )));
    }
    Ok(text)
}

/// Nothing here is switched off.
///
/// # Errors
/// 400 where that is asked for.
pub(super) fn is_up(state: Option<bool>) -> Result<(), Fault> {
    match state {
        None | Some(true) => Ok(()),
        Some(false) => Err(Fault::bad("admin_state_up: nothing is switched off here")),
    }
}

/// Tells `null` from what is missing.
pub(super) fn said<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
