//! A binding's options, encoded once: each packet's answer copies them.

use dhcproto::v4::{DhcpOption, OptionCode, UnknownOption};
use dhcproto::{Encodable, Encoder};

use crate::wire::dhcpv4::CodeSet;

/// Options as they go into a message, code and length before each, by code. One longer than 255 bytes lies there in
/// parts (RFC 3396).
#[derive(Debug)]
pub(super) struct OptionSet {
    codes: CodeSet,
    /// Where each option ends in `bytes`; it begins where the one before it ends.
    ends: Box<[u16]>,
    bytes: Box<[u8]>,
}

impl OptionSet {
    /// Encodes options; of two with one code the first stays. One that is too long for any message is left out.
    pub(super) fn encode(options: impl IntoIterator<Item = DhcpOption>) -> Self {
        let mut encoded: Vec<(u8, Vec<u8>)> = options
            .into_iter()
            .filter_map(|option| encode(&option))
            .collect();
        encoded.sort_by_key(|(code, _)| *code);
        encoded.dedup_by_key(|(code, _)| *code);
        let mut ends = Vec::with_capacity(encoded.len());
        let mut bytes = Vec::new();
        let mut codes = CodeSet::default();
        for (code, option) in encoded {
            let Ok(end) = u16::try_from(bytes.len() + option.len()) else {
                continue;
            };
            codes.insert(code);
            bytes.extend_from_slice(&option);
            ends.push(end);
        }
        Self {
            codes,
            ends: ends.into(),
            bytes: bytes.into(),
        }
    }

    /// An option's bytes, code and length included.
    pub(super) fn get(&self, code: u8) -> Option<&[u8]> {
        if !self.codes.contains(code) {
            return None;
        }
        let at = self.codes.rank(code);
        let end = usize::from(*self.ends.get(at)?);
        let before = at.checked_sub(1).and_then(|before| self.ends.get(before));
        self.bytes
            .get(before.map_or(0, |start| usize::from(*start))..end)
    }

    /// Bytes of memory behind it.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.ends) + self.bytes.len()
    }

    /// The codes there are, in ascending order.
    pub(super) fn codes(&self) -> impl Iterator<Item = u8> {
        self.codes.iter()
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
