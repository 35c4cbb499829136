//! The file's lines: `KEY=value`, comments, quotes. What a value means is no matter here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::{BindingError, IgnoredLine, IgnoredReason};

/// One `KEY=value`, unquoted.
pub(crate) struct Assignment<'a> {
    /// Line number, from 1.
    pub(crate) line: usize,
    /// The value as written, for messages.
    pub(crate) written: &'a str,
    /// The value without quotes, or why it has none.
    pub(crate) value: Result<Cow<'a, str>, &'static str>,
    /// Its key is one of ours.
    pub(crate) is_known: bool,
}

/// The last assignment of each key, and the lines without effect.
pub(crate) type Assignments<'a> = (BTreeMap<&'a str, Assignment<'a>>, Vec<IgnoredLine>);

/// Reads all lines. Where a key comes twice the last counts, as with the original: scripts put what an operator adds
/// before or after their own keys.
pub(crate) fn assignments(text: &str) -> Result<Assignments<'_>, BindingError> {
    let mut last = BTreeMap::new();
    let mut ignored = Vec::new();
    for (line, content) in (1..).zip(text.split('\n')) {
        let content = content.strip_suffix('\r').unwrap_or(content);
        if let Some(character) = content.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(BindingError::ControlCharacter { line, character });
        }
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let Some((key, written)) = content.split_once('=') else {
            ignored.push(IgnoredLine::new(line, content, IgnoredReason::NoValue));
            continue;
        };
        let (key, written) = (key.trim_end(), written.trim_start());
        let assignment = Assignment {
            line,
            written,
            value: unquote(written),
            is_known: false,
        };
        if let Some(Assignment { line, .. }) = last.insert(key, assignment) {
            ignored.push(IgnoredLine::new(line, key, IgnoredReason::GivenAgain));
        }
    }
    Ok((last, ignored))
}

/// Takes a shell's quotes off: 'all as it is' or "with \ before \, \", $ and `". Without quotes all is as it is.
fn unquote(written: &str) -> Result<Cow<'_, str>, &'static str> {
    if let Some(rest) = written.strip_prefix('\'') {
        let inner = rest.strip_suffix('\'').ok_or("the quote is not closed")?;
        return if inner.contains('\'') {
            Err("there is more behind the closing quote")
        } else {
            Ok(inner.into())
        };
    }
    let Some(rest) = written.strip_prefix('"') else {
        return Ok(written.into());
    };
    let mut value = String::new();
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' if characters.as_str().is_empty() => return Ok(value.into()),
            '"' => return Err("there is more behind the closing quote"),
            '\\' => match characters.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("the quote is not closed")
}

/// Puts a shell's quotes around a value that needs them, so that the file can also be sourced by a shell.
pub(crate) fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,=-".contains(c);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}
