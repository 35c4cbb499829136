//! Netlink messages and attributes: writing into one growing buffer, reading out of a received one.
//!
//! Attribute numbers and lengths are in host byte order, the numbers inside nf_tables attributes in network byte order
//! (`include/uapi/linux/netlink.h`, `nfnetlink.h`).

const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// The header of one nfnetlink message.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) family: u8,
    pub(crate) resource: u16,
}

/// Appends one message; `body` writes its attributes.
pub(crate) fn message(buffer: &mut Vec<u8>, header: Header, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&header.kind.to_ne_bytes());
    buffer.extend_from_slice(&header.flags.to_ne_bytes());
    buffer.extend_from_slice(&header.sequence.to_ne_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&[header.family, 0]);
    buffer.extend_from_slice(&header.resource.to_be_bytes());
    body(buffer);
    let length = u32::try_from(buffer.len() - start).unwrap_or(u32::MAX);
    patch(buffer, start, &length.to_ne_bytes());
}

/// Appends an attribute with a binary value.
pub(crate) fn bytes(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    attribute(buffer, kind, |buffer| buffer.extend_from_slice(value));
}

/// Appends a 32-bit number.
pub(crate) fn u32(buffer: &mut Vec<u8>, kind: u16, value: u32) {
    bytes(buffer, kind, &value.to_be_bytes());
}

/// Appends a 64-bit number.
pub(crate) fn u64(buffer: &mut Vec<u8>, kind: u16, value: u64) {
    bytes(buffer, kind, &value.to_be_bytes());
}

/// Appends a text with its terminating zero.
pub(crate) fn text(buffer: &mut Vec<u8>, kind: u16, value: &str) {
    attribute(buffer, kind, |buffer| {
        buffer.extend_from_slice(value.as_bytes());
        buffer.push(0);
    });
}

/// Appends a nest; `body` writes the attributes inside.
pub(crate) fn nest(buffer: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    attribute(buffer, kind | NESTED, body);
}

fn attribute(buffer: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 2]);
    buffer.extend_from_slice(&kind.to_ne_bytes());
    body(buffer);
    // A nest that has outgrown 64 KiB gets a length that the kernel refuses; writers of lists split them before.
    let length = u16::try_from(buffer.len() - start).unwrap_or(u16::MAX);
    patch(buffer, start, &length.to_ne_bytes());
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

fn patch(buffer: &mut [u8], at: usize, value: &[u8]) {
    if let Some(slot) = buffer.get_mut(at..at + value.len()) {
        slot.copy_from_slice(value);
    }
}

/// One received message: its header's fields and what follows `struct nlmsghdr`.
#[derive(Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of one received datagram.
pub(crate) struct Messages<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (header, _) = self.rest.split_first_chunk::<16>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let payload = self.rest.get(16..length)?;
        self.rest = self
            .rest
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some(Received {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        })
    }
}

/// A list of attributes.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this number.
    pub(crate) fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(number, value)| (number == kind).then_some(value))
    }

    /// The attributes inside the nest of this number; empty without it.
    pub(crate) fn inside(self, kind: u16) -> Attributes<'a> {
        Attributes {
            rest: self.find(kind).unwrap_or_default(),
        }
    }

    /// The text of this number, without its terminating zero.
    pub(crate) fn text(self, kind: u16) -> Option<&'a str> {
        let value = self.find(kind)?;
        std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
    }

    /// The 32-bit number of this number.
    pub(crate) fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(*self.find(kind)?.first_chunk()?))
    }

    /// The 64-bit number of this number.
    pub(crate) fn u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(*self.find(kind)?.first_chunk()?))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, k0, k1] = *self.rest.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.rest.get(4..length)?;
        self.rest = self
            .rest
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & TYPE_MASK, value))
    }
}
