//! A binding's options, encoded once: each packet's answer copies them.

use dhcproto::v4::{DhcpOption, OptionCode, UnknownOption};
use dhcproto::{Encodable, Encoder};

/// Options as they go into a message, code and length before each, by code. One longer than 255 bytes lies there in
/// parts (RFC 3396).
#[derive(Debug)]
pub(super) struct OptionSet {
    entries: Box<[Entry]>,
    bytes: Box<[u8]>,
}

/// Where an option ends; it begins where the one before it ends.
#[derive(Debug, Clone, Copy)]
struct Entry {
    code: u8,
    end: u16,
}

impl OptionSet {
    /// Encodes options; of two with one code the first stays. What is too long for any message is left out.
    pub(super) fn encode(options: impl IntoIterator<Item = DhcpOption>) -> Self {
        let mut encoded: Vec<(u8, Vec<u8>)> = options
            .into_iter()
            .filter_map(|option| encode(&option))
            .collect();
        encoded.sort_by_key(|(code, _)| *code);
        encoded.dedup_by_key(|(code, _)| *code);
        let mut entries = Vec::with_capacity(encoded.len());
        let mut bytes = Vec::new();
        for (code, option) in encoded {
            if let Ok(end) = u16::try_from(bytes.len() + option.len()) {
                bytes.extend_from_slice(&option);
                entries.push(Entry { code, end });
            }
        }
        Self {
            entries: entries.into(),
            bytes: bytes.into(),
        }
    }

    /// An option's bytes, code and length included.
    pub(super) fn get(&self, code: u8) -> Option<&[u8]> {
        let mut start = 0;
        for entry in &self.entries {
            let end = usize::from(entry.end);
            if entry.code == code {
                return self.bytes.get(start..end);
            }
            start = end;
        }
        None
    }

    /// The codes there are, in ascending order.
    pub(super) fn codes(&self) -> impl Iterator<Item = u8> {
        self.entries.iter().map(|entry| entry.code)
    }

    /// Bytes of memory behind it.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.entries) + self.bytes.len()
    }
}

/// An option given as bytes.
pub(super) fn raw(code: u8, value: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), value))
}

/// Code and encoding; `None` for what cannot be encoded.
fn encode(option: &DhcpOption) -> Option<(u8, Vec<u8>)> {
    let code = OptionCode::from(option).into();
    let mut bytes = Vec::new();
    option.encode(&mut Encoder::new(&mut bytes)).ok()?;
    // dhcproto leaves an option without bytes out.
    if bytes.is_empty() {
        bytes.extend([code, 0]);
    }
    Some((code, bytes))
}
