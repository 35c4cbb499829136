//! Text of a binding file to `Binding` and back.

use std::fmt;
use std::str::FromStr;

use crate::Binding;

/// Why a binding file is refused: which key, which value, what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {key}={value}: {reason}")]
pub struct BindingError {
    /// Line number, from 1; 0 when no line is at fault (a missing key).
    pub line: usize,
    /// The key as written.
    pub key: String,
    /// The value as written, cut to 80 characters.
    pub value: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl FromStr for Binding {
    type Err = BindingError;

    fn from_str(text: &str) -> Result<Self, BindingError> {
        let mac = text.lines().find_map(|line| line.strip_prefix("MAC="));
        let mac = mac.and_then(|value| value.parse().ok());
        mac.map(Self::new).ok_or_else(|| BindingError {
            line: 0,
            key: "MAC".into(),
            value: String::new(),
            reason: "missing".into(),
        })
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "MAC={}", self.mac)
    }
}
