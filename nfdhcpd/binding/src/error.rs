//! Why a binding file is refused, and what in an accepted one is ignored.

use std::fmt;

/// Why a binding file is refused. `Display` is one line; the file's name is the caller's to put before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// No bytes: a writer that truncates and then writes has not written yet.
    #[error("the file is empty: incomplete")]
    Empty,
    /// The last line has no newline: the file was cut off, or its writer has not finished.
    #[error("line {line} does not end in a newline: incomplete")]
    Unterminated {
        /// The last line's number.
        line: usize,
    },
    /// Over [`limits::FILE_BYTES`](crate::limits::FILE_BYTES).
    #[error("the file has {bytes} bytes: at most 65536 are read")]
    TooLarge {
        /// The file's size.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("line {line} is not UTF-8 text")]
    NotUtf8 {
        /// Line number, from 1.
        line: usize,
    },
    /// A control character other than tab and the line ends.
    #[error("line {line} has the control character U+{:04X}", u32::from(*.character))]
    ControlCharacter {
        /// Line number, from 1.
        line: usize,
        /// The character.
        character: char,
    },
    /// A key that must be there is not, or its value is empty.
    #[error("{key} is missing")]
    Missing {
        /// Which key.
        key: &'static str,
    },
    /// A value that is not taken.
    #[error("line {line}: {key}={value}: {reason}")]
    Value {
        /// Line number, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The value as written, printable, cut to 80 characters.
        value: String,
        /// What is wrong, or what would be right.
        reason: String,
    },
    /// Only when writing: a field holds what no line can say.
    #[error("the binding cannot be written: a field holds what its key cannot say")]
    NotWritable,
}

impl BindingError {
    /// True when the file may still be being written: wait for its writer to close it, and say nothing yet.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        matches!(self, Self::Empty | Self::Unterminated { .. })
    }

    pub(crate) fn value(line: usize, key: &str, value: &str, reason: String) -> Self {
        Self::Value {
            line,
            key: printable(key),
            value: printable(value),
            reason,
        }
    }
}

/// Why a single value's text is not taken, to be read behind the value: "is not …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

impl From<String> for ValueError {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<ValueError> for String {
    fn from(error: ValueError) -> Self {
        error.0
    }
}

/// A line of an accepted file that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredLine {
    /// Line number, from 1.
    pub line: usize,
    /// The key, or the line's text where there is none; printable, cut to 80 characters.
    pub key: String,
    /// Why it has no effect.
    pub reason: IgnoredReason,
}

/// Why a line has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoredReason {
    /// No key of ours: other programs keep their own lines in the file.
    UnknownKey,
    /// No `=`.
    NoValue,
    /// The same key comes again further down.
    GivenAgain,
}

impl IgnoredLine {
    pub(crate) fn new(line: usize, key: &str, reason: IgnoredReason) -> Self {
        Self {
            line,
            key: printable(key),
            reason,
        }
    }
}

impl fmt::Display for IgnoredLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            IgnoredReason::UnknownKey => "unknown key",
            IgnoredReason::NoValue => "no KEY=value",
            IgnoredReason::GivenAgain => "given again further down, where it counts",
        };
        write!(f, "line {}: {}: {reason}", self.line, self.key)
    }
}

/// At most 80 characters of a text, none of which disturbs a terminal or a log.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (place, character) in text.chars().enumerate() {
        if place == 80 {
            shown.push('…');
            break;
        }
        if character == ' ' || character.is_ascii_graphic() || character.is_alphanumeric() {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}
