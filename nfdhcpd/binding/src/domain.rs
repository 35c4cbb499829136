//! Domain names as DHCP and router advertisements carry them (RFC 1035 §3.1).

use std::fmt;
use std::str::FromStr;

/// One or more labels of letters, digits, `-` and `_`, 1 to 63 bytes each, 253 in all; without the final dot.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DomainName(Box<str>);

/// Why a text is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainNameError {
    /// Nothing but dots.
    #[error("is empty")]
    Empty,
    /// Over 253 bytes.
    #[error("is longer than 253 bytes")]
    TooLong,
    /// A label is empty or over 63 bytes.
    #[error("has an empty label or one longer than 63 bytes")]
    LabelLength,
    /// A byte outside the set, or a label that begins or ends with `-`.
    #[error(
        "has a label with other bytes than letters, digits, '-' and '_', or with '-' at an end"
    )]
    LabelBytes,
}

impl DomainName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, in order.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The first label: the host's own name.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }

    /// Appends the uncompressed wire form: each label behind its length, a zero byte last (RFC 1035 §3.1).
    pub fn encode(&self, out: &mut Vec<u8>) {
        for label in self.labels() {
            out.push(u8::try_from(label.len()).unwrap_or(63));
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
    }
}

impl FromStr for DomainName {
    type Err = DomainNameError;

    fn from_str(text: &str) -> Result<Self, DomainNameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(DomainNameError::Empty);
        }
        if name.len() > 253 {
            return Err(DomainNameError::TooLong);
        }
        for label in name.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err(DomainNameError::LabelLength);
            }
            let sound = label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !sound || label.starts_with('-') || label.ends_with('-') {
                return Err(DomainNameError::LabelBytes);
            }
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
