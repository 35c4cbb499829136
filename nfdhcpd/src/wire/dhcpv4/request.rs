//! A client's message, read in place.
//!
//! Only what an answer depends on is looked at; what is merely echoed stays bytes. An unreadable option nobody asks for
//! must not cost the client its answer.

use std::net::Ipv4Addr;

use dhcproto::v4::{MessageType, Opcode};
use nfdhcpd_binding::MacAddr;

use super::{FILE_AT, FILE_LEN, FIXED_FIELDS, MAGIC_COOKIE, SNAME_AT, SNAME_LEN, code};
use crate::wire::ip::Malformed;

const ETHERNET: u8 = 1;
const ETHERNET_LEN: u8 = 6;
/// As many as a message has fields for options.
const PARTS_MAX: usize = 3;

/// One client message.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who sent it: a client, or something that takes itself for a server.
    pub opcode: Opcode,
    /// Transaction.
    pub xid: [u8; 4],
    /// The broadcast bit, and bits that must be zero.
    pub flags: u16,
    /// The address the client has and answers ARP for, or 0.0.0.0.
    pub ciaddr: Ipv4Addr,
    /// The relay's address, or 0.0.0.0.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: MacAddr,
    /// Option 53; `None`: a BOOTP request.
    pub message_type: Option<MessageType>,
    /// Option 50.
    pub requested_address: Option<Ipv4Addr>,
    /// Option 54.
    pub server_identifier: Option<Ipv4Addr>,
    /// Option 57, as sent.
    pub max_message_size: Option<u16>,
    /// Option 55.
    pub parameters: Parts<'a>,
    /// Option 60.
    pub vendor_class: Parts<'a>,
    /// Option 61.
    pub client_identifier: Parts<'a>,
    /// Option 77.
    pub user_class: Parts<'a>,
    /// Option 80.
    pub rapid_commit: bool,
    /// Option 81.
    pub fqdn: Parts<'a>,
    /// Option 82.
    pub relay_agent: Parts<'a>,
    /// Option 93.
    pub architecture: Parts<'a>,
    /// Option 97.
    pub machine: Parts<'a>,
    /// Option 175.
    pub etherboot: bool,
}

impl<'a> Request<'a> {
    /// Reads a datagram's payload. A message of a server is read too; an `op` that is neither, hardware that is not
    /// Ethernet, a group address as `chaddr`, a wrong cookie and an option that runs over its field are refused
    /// (RFC 2131 §2, §3).
    ///
    /// # Errors
    /// Says whether the bytes end early or make no sense.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (fixed, rest) = bytes
            .split_first_chunk::<FIXED_FIELDS>()
            .ok_or(Malformed::Truncated)?;
        let opcode = Opcode::from(fixed[0]);
        if matches!(opcode, Opcode::Unknown(_)) || fixed[1] != ETHERNET || fixed[2] != ETHERNET_LEN
        {
            return Err(Malformed::Message);
        }
        let options = rest.strip_prefix(&MAGIC_COOKIE).ok_or(Malformed::Message)?;
        let chaddr = MacAddr([
            fixed[28], fixed[29], fixed[30], fixed[31], fixed[32], fixed[33],
        ]);
        if chaddr.is_multicast() {
            return Err(Malformed::Message);
        }

        let mut found = Found::default();
        found.scan(options)?;
        // The fields that hold more options, in the order in which they are read (RFC 2131 §4.1, RFC 3396 §5).
        let (file, sname) = match found.overload.as_array() {
            None if !found.overload.is_present() => (false, false),
            Some([1]) => (true, false),
            Some([2]) => (false, true),
            Some([3]) => (true, true),
            Some(_) | None => return Err(Malformed::Message),
        };
        if file {
            found.scan(&fixed[FILE_AT..FILE_AT + FILE_LEN])?;
        }
        if sname {
            found.scan(&fixed[SNAME_AT..SNAME_AT + SNAME_LEN])?;
        }

        Ok(Self {
            opcode,
            xid: [fixed[4], fixed[5], fixed[6], fixed[7]],
            flags: u16::from_be_bytes([fixed[10], fixed[11]]),
            ciaddr: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]),
            giaddr: Ipv4Addr::new(fixed[24], fixed[25], fixed[26], fixed[27]),
            chaddr,
            message_type: found
                .message_type
                .exactly()?
                .map(|[kind]| MessageType::from(kind)),
            requested_address: found.requested_address.exactly::<4>()?.map(Ipv4Addr::from),
            server_identifier: found.server_identifier.exactly::<4>()?.map(Ipv4Addr::from),
            // Of a wrong length it says nothing; the client gets what every client takes.
            max_message_size: found.max_message_size.as_array().map(u16::from_be_bytes),
            parameters: found.parameters,
            vendor_class: found.vendor_class,
            client_identifier: found.client_identifier,
            user_class: found.user_class,
            rapid_commit: found.rapid_commit.is_present(),
            fqdn: found.fqdn,
            relay_agent: found.relay_agent,
            architecture: found.architecture,
            machine: found.machine,
            etherboot: found.etherboot.is_present(),
        })
    }
}

/// The options looked at, wherever they stand in the message.
#[derive(Default)]
struct Found<'a> {
    requested_address: Parts<'a>,
    overload: Parts<'a>,
    message_type: Parts<'a>,
    server_identifier: Parts<'a>,
    parameters: Parts<'a>,
    max_message_size: Parts<'a>,
    vendor_class: Parts<'a>,
    client_identifier: Parts<'a>,
    user_class: Parts<'a>,
    rapid_commit: Parts<'a>,
    fqdn: Parts<'a>,
    relay_agent: Parts<'a>,
    architecture: Parts<'a>,
    machine: Parts<'a>,
    etherboot: Parts<'a>,
}

impl<'a> Found<'a> {
    /// Walks one field to its end option, or to its end: some clients leave the option out.
    fn scan(&mut self, mut field: &'a [u8]) -> Result<(), Malformed> {
        while let Some((&option, rest)) = field.split_first() {
            field = match option {
                code::PAD => rest,
                code::END => return Ok(()),
                _ => {
                    let (&len, rest) = rest.split_first().ok_or(Malformed::Truncated)?;
                    let (value, rest) = rest
                        .split_at_checked(usize::from(len))
                        .ok_or(Malformed::Truncated)?;
                    if let Some(parts) = self.slot(option) {
                        parts.add(value)?;
                    }
                    rest
                }
            };
        }
        Ok(())
    }

    const fn slot(&mut self, option: u8) -> Option<&mut Parts<'a>> {
        Some(match option {
            code::REQUESTED_ADDRESS => &mut self.requested_address,
            code::OVERLOAD => &mut self.overload,
            code::MESSAGE_TYPE => &mut self.message_type,
            code::SERVER_IDENTIFIER => &mut self.server_identifier,
            code::PARAMETER_REQUEST_LIST => &mut self.parameters,
            code::MAX_MESSAGE_SIZE => &mut self.max_message_size,
            code::VENDOR_CLASS => &mut self.vendor_class,
            code::CLIENT_IDENTIFIER => &mut self.client_identifier,
            code::USER_CLASS => &mut self.user_class,
            code::RAPID_COMMIT => &mut self.rapid_commit,
            code::CLIENT_FQDN => &mut self.fqdn,
            code::RELAY_AGENT => &mut self.relay_agent,
            code::CLIENT_ARCHITECTURE => &mut self.architecture,
            code::CLIENT_MACHINE => &mut self.machine,
            code::ETHERBOOT => &mut self.etherboot,
            _ => return None,
        })
    }
}

/// The bytes of one option. A client may send it in parts (RFC 3396), one per field in practice; more than
/// `PARTS_MAX` are refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts<'a> {
    parts: [&'a [u8]; PARTS_MAX],
    count: usize,
}

impl<'a> Parts<'a> {
    fn add(&mut self, part: &'a [u8]) -> Result<(), Malformed> {
        *self.parts.get_mut(self.count).ok_or(Malformed::Message)? = part;
        self.count += 1;
        Ok(())
    }

    /// The client sent the option, perhaps empty.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.count != 0
    }

    /// The parts as they were sent.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.parts.iter().copied().take(self.count)
    }

    /// The bytes of all parts.
    pub fn bytes(&self) -> impl Iterator<Item = u8> {
        self.iter().flatten().copied()
    }

    /// The bytes as big-endian 16-bit numbers; an odd last byte is left out.
    pub fn words(&self) -> impl Iterator<Item = u16> {
        let mut bytes = self.bytes();
        std::iter::from_fn(move || Some(u16::from_be_bytes([bytes.next()?, bytes.next()?])))
    }

    /// Whether the option begins with these bytes.
    #[must_use]
    pub fn starts_with(&self, prefix: &[u8]) -> bool {
        self.bytes().take(prefix.len()).eq(prefix.iter().copied())
    }

    /// Whether the option is these bytes.
    #[must_use]
    pub fn is(&self, wanted: &[u8]) -> bool {
        self.bytes().eq(wanted.iter().copied())
    }

    /// The whole option, when it is of this length.
    #[must_use]
    pub fn as_array<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = self.bytes();
        let mut array = [0; N];
        for byte in &mut array {
            *byte = bytes.next()?;
        }
        bytes.next().is_none().then_some(array)
    }

    /// The same for an option that the answer depends on: absent is fine, of another length is not.
    fn exactly<const N: usize>(&self) -> Result<Option<[u8; N]>, Malformed> {
        if self.is_present() {
            self.as_array().map(Some).ok_or(Malformed::Message)
        } else {
            Ok(None)
        }
    }

    /// Length with a code and a length byte before each part.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.iter().map(|part| part.len() + 2).sum()
    }
}
