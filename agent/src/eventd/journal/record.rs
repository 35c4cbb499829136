//! A record of the journal, and its bytes.
//!
//! Pure. A frame is `length: u32, crc32 of the payload: u32, payload`, little endian; the payload begins with its kind.
//! A frame that is cut or whose sum is wrong ends what can be read of a file.

use snf_events::intake::Superseded;
use snf_events::{JobId, JobStatus, Prefix, RoutingKey, Sequence, Timestamp};

/// Bytes before the payload.
pub const HEAD: usize = 8;

/// Longest payload: more says that the bytes are no frame.
pub const PAYLOAD_MAX: usize = 32 << 20;

const EVENT: u8 = 1;
const SUPERSEDED: u8 = 2;

/// A place in the whole journal, over all prefixes, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u64);

/// The operation an event is about: of several events of one, only the newest matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The job.
    pub job: JobId,
    /// When Ganeti received it.
    pub received: Timestamp,
    /// Which of its operations.
    pub op_index: u32,
    /// Whose event: the cluster's parameters are everybody's.
    pub prefix: Prefix,
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it stands.
    pub number: Number,
    /// Its number in its prefix's stream.
    pub sequence: Sequence,
    /// What it is about.
    pub subject: Subject,
    /// How far that is.
    pub status: JobStatus,
    /// When it was journaled, milliseconds since 1970.
    pub written: u64,
    /// What it is published with.
    pub key: RoutingKey,
    /// The body, but for what only the publisher knows.
    pub body: Vec<u8>,
}

/// What a frame holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// An event.
    Event(Record),
    /// Numbers of a prefix of which nothing is kept.
    Superseded {
        /// Place of the last event that was left out.
        number: Number,
        /// Whose.
        prefix: Prefix,
        /// Which.
        range: Superseded,
    },
}

impl Entry {
    /// Where it stands.
    #[must_use]
    pub fn number(&self) -> Number {
        match self {
            Self::Event(record) => record.number,
            Self::Superseded { number, .. } => *number,
        }
    }
}

/// The bytes are no frame of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of the journal is damaged")]
pub struct Damaged;

/// Appends an entry's frame.
pub fn encode(entry: &Entry, to: &mut Vec<u8>) {
    let start = to.len();
    to.extend([0; HEAD]);
    match entry {
        Entry::Event(record) => {
            to.push(EVENT);
            put(to, record.number.0);
            put(to, record.sequence.0);
            put(to, record.subject.job.0);
            put(to, record.subject.received.seconds.cast_unsigned());
            put(to, u64::from(record.subject.received.microseconds));
            put(to, u64::from(record.subject.op_index));
            put(to, record.written);
            put_text(to, record.status.as_str());
            put_text(to, record.subject.prefix.as_str());
            put_text(to, record.key.as_str());
            to.extend(&record.body);
        }
        Entry::Superseded {
            number,
            prefix,
            range,
        } => {
            to.push(SUPERSEDED);
            put(to, number.0);
            put(to, range.from.0);
            put(to, range.to.0);
            put_text(to, prefix.as_str());
        }
    }
    let payload = to.get(start + HEAD..).unwrap_or_default();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let sum = crc32fast::hash(payload);
    let head = [length.to_le_bytes(), sum.to_le_bytes()].concat();
    if let Some(place) = to.get_mut(start..start + HEAD) {
        place.copy_from_slice(&head);
    }
}

/// Length and sum of the payload that follows a head.
///
/// # Errors
/// When the length is none that is written.
pub fn decode_head(head: [u8; HEAD]) -> Result<(usize, u32), Damaged> {
    let [a, b, c, d, e, f, g, h] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let sum = u32::from_le_bytes([e, f, g, h]);
    if (1..=PAYLOAD_MAX).contains(&length) {
        Ok((length, sum))
    } else {
        Err(Damaged)
    }
}

/// Reads a payload.
///
/// # Errors
/// When its sum is wrong or it is no payload of ours.
pub fn decode(payload: &[u8], sum: u32) -> Result<Entry, Damaged> {
    if crc32fast::hash(payload) != sum {
        return Err(Damaged);
    }
    take_entry(payload).ok_or(Damaged)
}

fn take_entry(payload: &[u8]) -> Option<Entry> {
    let mut from = payload;
    let kind = *from.split_off_first()?;
    let number = Number(take(&mut from)?);
    match kind {
        EVENT => {
            let sequence = Sequence(take(&mut from)?);
            let job = JobId(take(&mut from)?);
            let seconds = take(&mut from)?.cast_signed();
            let microseconds = u32::try_from(take(&mut from)?).ok()?;
            let op_index = u32::try_from(take(&mut from)?).ok()?;
            let written = take(&mut from)?;
            let status = take_text(&mut from)?.parse().ok()?;
            let prefix = take_text(&mut from)?.parse().ok()?;
            let key = RoutingKey::stored(take_text(&mut from)?);
            Some(Entry::Event(Record {
                number,
                sequence,
                subject: Subject {
                    job,
                    received: (seconds, microseconds).into(),
                    op_index,
                    prefix,
                },
                status,
                written,
                key,
                body: from.to_vec(),
            }))
        }
        SUPERSEDED => Some(Entry::Superseded {
            number,
            range: Superseded {
                from: Sequence(take(&mut from)?),
                to: Sequence(take(&mut from)?),
            },
            prefix: take_text(&mut from)?.parse().ok()?,
        }),
        _ => None,
    }
}

fn put(to: &mut Vec<u8>, value: u64) {
    to.extend(value.to_le_bytes());
}

/// Prefixes, keys and statuses are below 256 bytes by their types.
fn put_text(to: &mut Vec<u8>, text: &str) {
    to.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    to.extend(text.bytes().take(usize::from(u8::MAX)));
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let (bytes, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u64::from_le_bytes(*bytes))
}

fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(*from.split_off_first()?);
    str::from_utf8(from.split_off(..length)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Entry> {
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
        let times = (any::<i64>(), any::<u32>(), any::<u32>());
        let texts = ("[a-z0-9_]{1,32}-", "[a-z.]{0,200}");
        let status = proptest::sample::select(JobStatus::ALL.to_vec());
        let body = proptest::collection::vec(any::<u8>(), 0..300);
        (numbers, times, texts, status, body).prop_map(
            |((number, sequence, job, written), (s, us, op_index), (prefix, key), status, body)| {
                Entry::Event(Record {
                    number: Number(number),
                    sequence: Sequence(sequence),
                    subject: Subject {
                        job: JobId(job),
                        received: (s, us).into(),
                        op_index,
                        prefix: prefix.parse().unwrap(),
                    },
                    status,
                    written,
                    key: RoutingKey::stored(&key),
                    body,
                })
            },
        )
    }

    fn superseded() -> impl Strategy<Value = Entry> {
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(number, from, to)| {
            Entry::Superseded {
                number: Number(number),
                prefix: "snf-".parse().unwrap(),
                range: Superseded {
                    from: Sequence(from),
                    to: Sequence(to),
                },
            }
        })
    }

    fn read_back(bytes: &[u8]) -> Result<Entry, Damaged> {
        let (head, payload) = bytes.split_first_chunk().ok_or(Damaged)?;
        let (length, sum) = decode_head(*head)?;
        decode(payload.get(..length).ok_or(Damaged)?, sum)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(entry in prop_oneof![record(), superseded()]) {
            let mut bytes = Vec::new();
            encode(&entry, &mut bytes);
            prop_assert_eq!(read_back(&bytes), Ok(entry));
        }

        #[test]
        fn a_flipped_bit_is_damage(entry in record(), place in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = Vec::new();
            encode(&entry, &mut bytes);
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert_eq!(read_back(&bytes), Err(Damaged));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take_entry(&bytes);
        }
    }
}
