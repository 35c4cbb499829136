//! A binding file as a whole: its bytes, not only its text.

use crate::error::{BindingError, IgnoredLine};
use crate::{Binding, limits};

/// What a binding file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingFile {
    /// The binding.
    pub binding: Binding,
    /// The lines without effect, in order: worth a warning, no reason to refuse the file.
    pub ignored: Vec<IgnoredLine>,
}

impl Binding {
    /// Reads a file's bytes. What is cut off is refused whole, never applied in part: an empty file, and one whose
    /// last line has no newline, are [incomplete](BindingError::is_incomplete).
    ///
    /// # Errors
    /// When the file is incomplete, too large, no text, or a value is not taken.
    pub fn read_bytes(bytes: &[u8]) -> Result<BindingFile, BindingError> {
        if bytes.is_empty() {
            return Err(BindingError::Empty);
        }
        if bytes.len() > limits::FILE_BYTES {
            return Err(BindingError::TooLarge { bytes: bytes.len() });
        }
        let newlines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        if !bytes.ends_with(b"\n") {
            return Err(BindingError::Unterminated {
                line: newlines(bytes) + 1,
            });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            BindingError::NotUtf8 {
                line: newlines(before) + 1,
            }
        })?;
        let (binding, ignored) = Self::parse(text)?;
        Ok(BindingFile { binding, ignored })
    }

    /// The file's text, for whoever writes it: what [`Binding::read_bytes`] would refuse, or read as anything else, is
    /// not written. To be written under another name and renamed, so that no reader sees a part of it.
    ///
    /// # Errors
    /// As [`Binding::read_bytes`]; `NotWritable` when a text field holds a line end or the like.
    pub fn to_file(&self) -> Result<String, BindingError> {
        let text = self.to_string();
        let file = Self::read_bytes(text.as_bytes())?;
        if file.binding == *self {
            Ok(text)
        } else {
            Err(BindingError::NotWritable)
        }
    }
}
