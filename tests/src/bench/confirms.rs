//! When each message is confirmed, seen from outside: a relay between a publisher and the broker that reads the AMQP frames
//! on their way. What it takes is the publisher's, so that what is measured is an upper bound.
//!
//! A confirm has no name but a number: the messages of a channel are counted from 1 on, since `confirm.select`
//! (RabbitMQ's publisher confirms; frames: AMQP 0-9-1 §4.2).

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// What was seen: by `message_id`, when its confirm had been passed on to the publisher.
#[derive(Debug, Clone, Default)]
pub(crate) struct Confirms(Arc<Mutex<HashMap<String, Instant>>>);

/// Messages that were published and not confirmed, by channel and number.
type Open = Arc<Mutex<BTreeMap<(u16, u64), String>>>;

impl Confirms {
    /// Listens at `from` in the namespace and passes everything on to `to`.
    ///
    /// # Errors
    /// When the address is taken.
    pub(crate) fn relay(namespace: &Namespace, from: &str, to: &str) -> Result<Self> {
        let seen = Self::default();
        let shared = seen.clone();
        let to = to.to_owned();
        namespace.inside(move || {
            let listener = TcpListener::bind(from).with_context(|| format!("listen at {from}"))?;
            // Started in the namespace: the thread's sockets belong there.
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    // A connection that cannot be passed on is closed.
                    let _ = shared.pass(client, &to);
                }
            });
            Ok(())
        })?;
        Ok(seen)
    }

    /// What was seen since the last call.
    pub(crate) fn take(&self) -> HashMap<String, Instant> {
        std::mem::take(&mut *self.lock())
    }

    /// How many confirms were seen since the last [`Confirms::take`].
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, client: TcpStream, to: &str) -> Result<()> {
        let server = TcpStream::connect(to)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let open = Open::default();
        let mut up = Published {
            // The protocol header comes before the first frame.
            frames: Frames::behind(8),
            open: Arc::clone(&open),
            channels: HashMap::new(),
        };
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            copy(from, to, |bytes, to| {
                // Before the broker can have confirmed any of it.
                up.read(bytes);
                to.write_all(bytes)
            });
        });
        let seen = self.clone();
        let mut down = Frames::behind(0);
        thread::spawn(move || {
            copy(server, client, |bytes, to| {
                to.write_all(bytes)?;
                let now = Instant::now();
                down.read(bytes, |channel, kind, payload| {
                    if let Some((number, multiple)) = ack(kind, payload) {
                        seen.confirmed(&open, channel, number, multiple, now);
                    }
                });
                Ok(())
            });
        });
        Ok(())
    }

    fn confirmed(&self, open: &Open, channel: u16, number: u64, multiple: bool, now: Instant) {
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let first = if multiple { 1 } else { number };
        let range = (channel, first)..=(channel, number);
        let settled: Vec<(u16, u64)> = open.range(range).map(|(place, _)| *place).collect();
        let mut seen = self.lock();
        for place in settled {
            seen.extend(open.remove(&place).map(|id| (id, now)));
        }
    }
}

/// `basic.ack`: its number, and whether all before it are meant.
fn ack(kind: u8, payload: &[u8]) -> Option<(u64, bool)> {
    let (head, rest) = payload.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk()?;
    let is_ack = kind == METHOD && *head == [0, 60, 0, 80];
    is_ack.then_some((u64::from_be_bytes(*number), rest.first()? & 1 == 1))
}

const METHOD: u8 = 1;
const HEADER: u8 = 2;

/// The publisher's side.
struct Published {
    frames: Frames,
    open: Open,
    /// How many messages each channel in confirm mode has had.
    channels: HashMap<u16, u64>,
}

impl Published {
    fn read(&mut self, bytes: &[u8]) {
        let (channels, open) = (&mut self.channels, &self.open);
        self.frames.read(bytes, |channel, kind, payload| {
            match (kind, payload.first_chunk()) {
                // confirm.select
                (METHOD, Some([0, 85, 0, 10])) => {
                    channels.insert(channel, 0);
                }
                // A message's header, of class basic; each message has one.
                (HEADER, Some([0, 60, _, _])) => {
                    if let Some(count) = channels.get_mut(&channel) {
                        *count += 1;
                        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                        open.extend(message_id(payload).map(|id| ((channel, *count), id)));
                    }
                }
                _ => {}
            }
        });
    }
}

/// The property `message-id` of a content header: behind those that come before it.
fn message_id(payload: &[u8]) -> Option<String> {
    const MESSAGE_ID: u16 = 1 << 7;
    let (flags, mut rest) = payload.get(12..)?.split_first_chunk()?;
    let flags = u16::from_be_bytes(*flags);
    // content-type, content-encoding, headers, delivery-mode, priority, correlation-id, reply-to, expiration
    for bit in (8..16).rev().filter(|bit| flags & (1 << bit) != 0) {
        let length = match bit {
            13 => 4 + usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?,
            12 | 11 => 1,
            _ => 1 + usize::from(*rest.first()?),
        };
        rest = rest.get(length..)?;
    }
    if flags & MESSAGE_ID == 0 {
        return None;
    }
    let length = usize::from(*rest.first()?);
    String::from_utf8(rest.get(1..=length)?.to_vec()).ok()
}

/// One direction's frames.
struct Frames {
    /// Bytes before the first.
    before: usize,
    rest: Vec<u8>,
}

impl Frames {
    fn behind(before: usize) -> Self {
        Self {
            before,
            rest: Vec::new(),
        }
    }

    /// Gives channel, type and payload of each frame that is whole.
    fn read(&mut self, bytes: &[u8], mut each: impl FnMut(u16, u8, &[u8])) {
        self.rest.extend(bytes);
        let mut at = 0;
        if self.before > 0 {
            if self.rest.len() < self.before {
                return;
            }
            at = std::mem::take(&mut self.before);
        }
        while let Some([kind, c0, c1, l0, l1, l2, l3]) =
            self.rest.get(at..).and_then(<[u8]>::first_chunk)
        {
            let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
            let Some(payload) = self.rest.get(at + 7..at + 7 + length) else {
                break;
            };
            if self.rest.len() < at + 8 + length {
                break;
            }
            each(u16::from_be_bytes([*c0, *c1]), *kind, payload);
            at += 8 + length;
        }
        self.rest.drain(..at);
    }
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    mut pass: impl FnMut(&[u8], &mut TcpStream) -> std::io::Result<()>,
) {
    let mut room = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut room) {
        if pass(room.get(..length).unwrap_or_default(), &mut to).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        let mut bytes = vec![kind];
        bytes.extend(channel.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(payload);
        bytes.push(0xce);
        bytes
    }

    /// A content header with content type, delivery mode and `id`.
    fn header(id: &str) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        payload.extend((1_u16 << 15 | 1 << 12 | 1 << 7).to_be_bytes());
        payload.extend(b"\x04json\x02");
        payload.push(u8::try_from(id.len()).unwrap());
        payload.extend(id.as_bytes());
        payload
    }

    #[test]
    fn messages_are_confirmed_by_their_number_on_their_channel() {
        let open = Open::default();
        let mut up = Published {
            frames: Frames::behind(8),
            open: Arc::clone(&open),
            channels: HashMap::new(),
        };
        let mut bytes = b"AMQP\0\0\x09\x01".to_vec();
        bytes.extend(frame(METHOD, 2, &[0, 85, 0, 10, 0]));
        for (channel, id) in [(2, "a"), (1, "not counted"), (2, "b"), (2, "c")] {
            bytes.extend(frame(METHOD, channel, &[0, 60, 0, 40, 0, 0]));
            bytes.extend(frame(HEADER, channel, &header(id)));
            bytes.extend(frame(3, channel, b"{}"));
        }
        // In pieces, as a network may give them.
        bytes.chunks(5).for_each(|piece| up.read(piece));
        let confirms = Confirms::default();
        let acks = [
            ([0, 0, 0, 0, 0, 0, 0, 3, 0], 1),
            ([0, 0, 0, 0, 0, 0, 0, 2, 1], 3),
        ];
        for (number, count) in acks {
            let payload = [&[0, 60, 0, 80][..], &number].concat();
            let (number, multiple) = ack(METHOD, &payload).unwrap();
            confirms.confirmed(&open, 2, number, multiple, Instant::now());
            assert_eq!(confirms.count(), count);
        }
        let mut ids: Vec<String> = confirms.take().into_keys().collect();
        ids.sort();
        assert_eq!(ids, ["a", "b", "c"]);
    }
}
