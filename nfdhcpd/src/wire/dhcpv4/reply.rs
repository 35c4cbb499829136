//! A server's message, written into the frame: fixed fields, then options one by one.
//!
//! An option goes into the options field while the datagram keeps within what the client takes, then into `file` and
//! `sname` (option 52, RFC 2131 §4.1). Each is written once, whatever it is asked for. The relay agent's option comes
//! last (RFC 3046 §2.2); its room is kept from the start.

use std::net::Ipv4Addr;

use dhcproto::v4::{MessageType, Opcode};
use nfdhcpd_binding::MacAddr;

use super::{
    CodeSet, FILE_AT, FILE_LEN, FIXED_FIELDS, MAGIC_COOKIE, Parts, SNAME_AT, SNAME_LEN, code,
};
use crate::wire::Frame;
use crate::wire::ip::{self, ETHERNET_HEADER, IPV4_HEADER, Link, UDP_HEADER};

const BOOTP_AT: usize = ETHERNET_HEADER + IPV4_HEADER + UDP_HEADER;
/// A BOOTP message is at least this long (RFC 1542 §2.1).
const BOOTP_MIN: usize = 300;
/// Option 52.
const OVERLOAD_LEN: usize = 3;

/// What is around the message.
#[derive(Debug, Clone, Copy)]
pub struct Envelope {
    /// Hardware addresses.
    pub link: Link,
    /// Where it comes from.
    pub source: (Ipv4Addr, u16),
    /// Where it goes.
    pub destination: (Ipv4Addr, u16),
    /// The largest IP datagram that gets there, in bytes.
    pub datagram_max: u16,
}

/// The fixed fields a server fills in (RFC 2131 §4.3.1, table 3); the others are zero.
#[derive(Debug, Clone, Copy)]
pub struct Fixed {
    /// The client's.
    pub xid: [u8; 4],
    /// The client's.
    pub flags: u16,
    /// The client's, in an ACK to a REQUEST or INFORM; 0.0.0.0 elsewhere.
    pub ciaddr: Ipv4Addr,
    /// The address given.
    pub yiaddr: Ipv4Addr,
    /// The next server in bootstrap.
    pub siaddr: Ipv4Addr,
    /// The client's.
    pub giaddr: Ipv4Addr,
    /// The client's.
    pub chaddr: MacAddr,
}

/// A message being written.
pub struct Message<'f, 'r> {
    out: &'f mut Frame,
    /// Length of the frame when the options field is full: 52, 82 and the end option still fit.
    full: usize,
    written: CodeSet,
    relay_agent: Parts<'r>,
    file: Field,
    sname: Field,
}

/// A fixed field that may hold options.
#[derive(Debug, Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    used: usize,
}

impl Field {
    const fn new(at: usize, len: usize) -> Self {
        Self {
            start: BOOTP_AT + at,
            end: BOOTP_AT + at + len,
            used: 0,
        }
    }

    /// Where an option of this length would begin; the end option must still fit behind it.
    const fn room(&mut self, len: usize) -> Option<usize> {
        let at = self.start + self.used;
        if at + len + 1 > self.end {
            return None;
        }
        self.used += len;
        Some(at)
    }

    const fn is_used(self) -> bool {
        self.used != 0
    }
}

impl<'f, 'r> Message<'f, 'r> {
    /// Starts a message of a type. `relay_agent`: option 82 of the request. `None` when even that much does not fit.
    pub fn begin(
        out: &'f mut Frame,
        envelope: &Envelope,
        message_type: MessageType,
        fixed: &Fixed,
        relay_agent: Parts<'r>,
    ) -> Option<Self> {
        let mut bootp = [0; FIXED_FIELDS];
        bootp[0] = Opcode::BootReply.into();
        bootp[1] = 1;
        bootp[2] = 6;
        bootp[4..8].copy_from_slice(&fixed.xid);
        bootp[10..12].copy_from_slice(&fixed.flags.to_be_bytes());
        bootp[12..16].copy_from_slice(&fixed.ciaddr.octets());
        bootp[16..20].copy_from_slice(&fixed.yiaddr.octets());
        bootp[20..24].copy_from_slice(&fixed.siaddr.octets());
        bootp[24..28].copy_from_slice(&fixed.giaddr.octets());
        bootp[28..34].copy_from_slice(&fixed.chaddr.octets());
        let written = ip::begin_udp4(out, envelope.link, envelope.source, envelope.destination)
            && out.push(&bootp)
            && out.push(&MAGIC_COOKIE)
            && out.push(&[code::MESSAGE_TYPE, 1, message_type.into()]);

        let tail = OVERLOAD_LEN + relay_agent.encoded_len() + 1;
        let full = (ETHERNET_HEADER + usize::from(envelope.datagram_max)).checked_sub(tail)?;
        // 52 and 82 are not the caller's to write.
        let taken = [
            code::MESSAGE_TYPE,
            code::OVERLOAD,
            code::RELAY_AGENT,
            code::PAD,
            code::END,
        ];
        (written && out.as_slice().len() <= full).then(|| Self {
            out,
            full,
            written: CodeSet::from_iter(taken),
            relay_agent,
            file: Field::new(FILE_AT, FILE_LEN),
            sname: Field::new(SNAME_AT, SNAME_LEN),
        })
    }

    /// Keeps an option out of the message.
    pub fn withhold(&mut self, option: u8) {
        self.written.insert(option);
    }

    /// Writes the boot file's name into the `file` field, which then holds no options. False when it is too long.
    pub fn boot_file(&mut self, name: &[u8]) -> bool {
        let start = self.file.start;
        // A zero byte ends the name.
        if name.len() >= FILE_LEN || self.file.is_used() {
            return false;
        }
        let Some(room) = self.out.as_mut_slice().get_mut(start..start + name.len()) else {
            return false;
        };
        room.copy_from_slice(name);
        self.file.end = start;
        true
    }

    /// Writes an option; false when it does not fit. One that was written before is not written again.
    pub fn option(&mut self, option: u8, value: &[u8]) -> bool {
        let Ok(len) = u8::try_from(value.len()) else {
            return false;
        };
        self.place(option, &[option, len], value)
    }

    /// Writes an option that has its code and length already, in one or several parts.
    pub fn encoded(&mut self, option: u8, encoded: &[u8]) -> bool {
        self.place(option, encoded, &[])
    }

    /// Writes an option of the request as it came, if it came.
    pub fn echo(&mut self, option: u8, parts: &Parts<'_>) -> bool {
        if !parts.is_present() || !self.written.insert(option) {
            return true;
        }
        if self.out.as_slice().len() + parts.encoded_len() > self.full {
            return false;
        }
        self.push_parts(option, parts)
    }

    /// Ends the message: 52, 82, the end option, padding, lengths and checksums.
    #[must_use]
    pub fn finish(mut self) -> bool {
        let overload = u8::from(self.file.is_used()) | u8::from(self.sname.is_used()) << 1;
        if overload != 0 {
            for field in [self.file, self.sname] {
                if field.is_used()
                    && let Some(end) = self.out.as_mut_slice().get_mut(field.start + field.used)
                {
                    *end = code::END;
                }
            }
            if !self.out.push(&[code::OVERLOAD, 1, overload]) {
                return false;
            }
        }
        let relay_agent = self.relay_agent;
        if !self.push_parts(code::RELAY_AGENT, &relay_agent) || !self.out.push(&[code::END]) {
            return false;
        }
        let missing = (BOOTP_AT + BOOTP_MIN).saturating_sub(self.out.as_slice().len());
        const PADDING: [u8; BOOTP_MIN] = [code::PAD; BOOTP_MIN];
        self.out.push(PADDING.get(..missing).unwrap_or_default()) && ip::finish(self.out)
    }

    fn push_parts(&mut self, option: u8, parts: &Parts<'_>) -> bool {
        parts.iter().all(|part| {
            let len = u8::try_from(part.len()).unwrap_or(u8::MAX);
            self.out.push(&[option, len]) && self.out.push(part)
        })
    }

    /// Puts one option, head and value, where there is room for the whole of it.
    fn place(&mut self, option: u8, head: &[u8], value: &[u8]) -> bool {
        if !self.written.insert(option) {
            return true;
        }
        let len = head.len() + value.len();
        if self.out.as_slice().len() + len <= self.full {
            return self.out.push(head) && self.out.push(value);
        }
        let Some(at) = self.file.room(len).or_else(|| self.sname.room(len)) else {
            return false;
        };
        let Some(room) = self.out.as_mut_slice().get_mut(at..at + len) else {
            return false;
        };
        let (head_room, value_room) = room.split_at_mut(head.len());
        head_room.copy_from_slice(head);
        value_room.copy_from_slice(value);
        true
    }
}
