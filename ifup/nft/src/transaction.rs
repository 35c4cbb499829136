//! Operations that the kernel takes all together or not at all.

use crate::attribute::{Header, message};
use crate::encode::Encoder;
use crate::operation::Operation;

/// Netfilter's number for nf_tables, in the resource field of a batch's first and last message.
const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;

/// A batch under construction. Each operation is encoded as it is added; only its text is kept for error messages.
pub struct Transaction {
    pub(crate) buffer: Vec<u8>,
    pub(crate) sequence: u32,
    set_id: u32,
    /// For each operation: the sequence number of its first message, and the start of its text.
    operations: Vec<(u32, String)>,
}

/// How much of an operation's text an error message shows.
const SHOWN: usize = 300;

impl Default for Transaction {
    fn default() -> Self {
        Self::new()
    }
}

impl Transaction {
    /// A transaction without operations.
    #[must_use]
    pub fn new() -> Self {
        let mut buffer = Vec::with_capacity(4096);
        mark(&mut buffer, libc::NFNL_MSG_BATCH_BEGIN, 0);
        Self {
            buffer,
            sequence: 1,
            set_id: 0,
            operations: Vec::new(),
        }
    }

    /// Adds an operation.
    pub fn add(&mut self, operation: &Operation) {
        self.operations.push((self.sequence, shown(operation)));
        Encoder {
            buffer: &mut self.buffer,
            sequence: &mut self.sequence,
            set_id: &mut self.set_id,
        }
        .operation(operation);
    }

    /// True when nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sequence == 1
    }

    /// The text of the operation that the message belongs to.
    pub(crate) fn operation_at(&self, sequence: u32) -> Option<&str> {
        let after = self
            .operations
            .partition_point(|(first, _)| *first <= sequence);
        self.operations
            .get(after.checked_sub(1)?)
            .map(|(_, text)| text.as_str())
    }

    /// The whole batch; its last operation asks for an answer.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        request_answer(&mut buffer);
        mark(&mut buffer, libc::NFNL_MSG_BATCH_END, self.sequence);
        (buffer, self)
    }
}

impl<'a> Extend<&'a Operation> for Transaction {
    fn extend<T: IntoIterator<Item = &'a Operation>>(&mut self, operations: T) {
        for operation in operations {
            self.add(operation);
        }
    }
}

impl<'a> FromIterator<&'a Operation> for Transaction {
    fn from_iter<T: IntoIterator<Item = &'a Operation>>(operations: T) -> Self {
        let mut transaction = Self::new();
        transaction.extend(operations);
        transaction
    }
}

fn mark(buffer: &mut Vec<u8>, kind: libc::c_int, sequence: u32) {
    let header = Header {
        kind: kind as u16,
        flags: libc::NLM_F_REQUEST as u16,
        sequence,
        family: 0,
        resource: SUBSYSTEM,
    };
    message(buffer, header, |_| {});
}

/// Sets `NLM_F_ACK` on the last message. Refusals are sent unasked; so many operations, one answer.
fn request_answer(buffer: &mut [u8]) {
    let (mut at, mut last) = (0, 0);
    while let Some(length) = buffer.get(at..at + 4).and_then(|l| l.first_chunk()) {
        last = at;
        at += (u32::from_ne_bytes(*length) as usize)
            .next_multiple_of(4)
            .max(16);
    }
    if let Some([low, high]) = buffer
        .get_mut(last + 6..last + 8)
        .and_then(|f| f.first_chunk_mut())
    {
        let flags = u16::from_ne_bytes([*low, *high]) | libc::NLM_F_ACK as u16;
        [*low, *high] = flags.to_ne_bytes();
    }
}

fn shown(operation: &Operation) -> String {
    use std::fmt::Write;

    /// Takes the first bytes and refuses the rest, so that long lists of elements are not formatted.
    struct Start(String);
    impl Write for Start {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = SHOWN - self.0.len();
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            self.0.push_str(
                text.get(..text.floor_char_boundary(room))
                    .unwrap_or_default(),
            );
            self.0.push('…');
            Err(std::fmt::Error)
        }
    }

    let mut start = Start(String::new());
    // An error here only means that the text was cut.
    let _cut = write!(start, "{operation}");
    start.0
}
