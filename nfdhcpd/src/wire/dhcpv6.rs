//! DHCPv6 messages and options (RFC 8415), read and written.
//!
//! A message is checked once, when it is read: from then on its options, and those inside its identity associations,
//! can be walked without an error. What the answer does not depend on is not decoded.

use std::net::Ipv6Addr;

use super::Frame;
use super::ip::Malformed;

/// Where clients listen (§7.2).
pub const CLIENT_PORT: u16 = 546;
/// Where servers listen (§7.2).
pub const SERVER_PORT: u16 = 547;
/// A lifetime, or T1, T2, without end (§7.7).
pub const INFINITY: u32 = u32::MAX;

/// Option codes (registry "DHCPv6 Option Codes").
pub mod code {
    /// Client identifier.
    pub const CLIENT_ID: u16 = 1;
    /// Server identifier.
    pub const SERVER_ID: u16 = 2;
    /// Identity association for non-temporary addresses.
    pub const IA_NA: u16 = 3;
    /// Identity association for temporary addresses.
    pub const IA_TA: u16 = 4;
    /// An address in an identity association.
    pub const IA_ADDRESS: u16 = 5;
    /// Option request.
    pub const OPTION_REQUEST: u16 = 6;
    /// Preference of a server.
    pub const PREFERENCE: u16 = 7;
    /// Status code.
    pub const STATUS_CODE: u16 = 13;
    /// Rapid commit.
    pub const RAPID_COMMIT: u16 = 14;
    /// User class.
    pub const USER_CLASS: u16 = 15;
    /// Vendor class.
    pub const VENDOR_CLASS: u16 = 16;
    /// DNS recursive name servers (RFC 3646).
    pub const DNS_SERVERS: u16 = 23;
    /// Domain search list (RFC 3646).
    pub const DOMAIN_LIST: u16 = 24;
    /// Identity association for prefix delegation.
    pub const IA_PD: u16 = 25;
    /// SNTP servers (RFC 4075).
    pub const SNTP_SERVERS: u16 = 31;
    /// Information refresh time.
    pub const INFORMATION_REFRESH_TIME: u16 = 32;
    /// Client's fully qualified domain name (RFC 4704).
    pub const CLIENT_FQDN: u16 = 39;
    /// NTP server (RFC 5908).
    pub const NTP_SERVER: u16 = 56;
    /// Boot file URL (RFC 5970).
    pub const BOOTFILE_URL: u16 = 59;
    /// Boot file parameters (RFC 5970).
    pub const BOOTFILE_PARAM: u16 = 60;
    /// Client system architecture types (RFC 5970).
    pub const CLIENT_ARCH_TYPE: u16 = 61;
    /// Largest retransmission time of a Solicit.
    pub const SOL_MAX_RT: u16 = 82;
    /// Largest retransmission time of an Information-request.
    pub const INF_MAX_RT: u16 = 83;
    /// Captive portal (RFC 8910).
    pub const CAPTIVE_PORTAL: u16 = 103;
}

/// Message types (§7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// SOLICIT.
    Solicit = 1,
    /// ADVERTISE, servers only.
    Advertise = 2,
    /// REQUEST.
    Request = 3,
    /// CONFIRM.
    Confirm = 4,
    /// RENEW.
    Renew = 5,
    /// REBIND.
    Rebind = 6,
    /// REPLY, servers only.
    Reply = 7,
    /// RELEASE.
    Release = 8,
    /// DECLINE.
    Decline = 9,
    /// RECONFIGURE, servers only.
    Reconfigure = 10,
    /// INFORMATION-REQUEST.
    InformationRequest = 11,
    /// RELAY-FORW, relay agents only.
    RelayForward = 12,
    /// RELAY-REPL, servers and relay agents only.
    RelayReply = 13,
}

impl MessageType {
    /// The type of a number; `None` for those nobody has defined here.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Solicit,
            2 => Self::Advertise,
            3 => Self::Request,
            4 => Self::Confirm,
            5 => Self::Renew,
            6 => Self::Rebind,
            7 => Self::Reply,
            8 => Self::Release,
            9 => Self::Decline,
            10 => Self::Reconfigure,
            11 => Self::InformationRequest,
            12 => Self::RelayForward,
            13 => Self::RelayReply,
            _ => return None,
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Status codes (§21.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Status {
    /// Success.
    Success = 0,
    /// NoAddrsAvail: no address to give.
    NoAddrsAvail = 2,
    /// NoBinding: the identity association is not known.
    NoBinding = 3,
    /// NotOnLink: an address is not right for the link.
    NotOnLink = 4,
    /// UseMulticast: the message must be sent to the multicast address.
    UseMulticast = 5,
    /// NoPrefixAvail: no prefix to delegate.
    NoPrefixAvail = 6,
}

/// A message between client and server (§8).
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The client's transaction id.
    pub transaction: [u8; 3],
    /// The options, checked.
    pub options: Options<'a>,
}

impl<'a> Message<'a> {
    /// Reads what is not a relay message; the first byte, the type, is the caller's.
    ///
    /// # Errors
    /// A header cut short; an option longer than what holds it, at the top or in an identity association; an identifier
    /// outside 3 to 130 bytes (§11.1); an identity association or an address shorter than its fixed fields.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (&[_, a, b, c], options) =
            bytes.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
        let options = Options::read(options)?;
        for option in options {
            let is_identifier = matches!(option.code, code::CLIENT_ID | code::SERVER_ID);
            if is_identifier && !(3..=130).contains(&option.value.len()) {
                return Err(Malformed::Length);
            }
            if matches!(option.code, code::IA_NA | code::IA_TA | code::IA_PD) {
                check_ia(option)?;
            }
        }
        Ok(Self {
            transaction: [a, b, c],
            options,
        })
    }

    /// The identity associations, in the order they were sent.
    pub fn ias(&self) -> impl Iterator<Item = Ia<'a>> + use<'a> {
        self.options.filter_map(Ia::of)
    }
}

fn check_ia(option: RawOption<'_>) -> Result<(), Malformed> {
    let ia = Ia::of(option).ok_or(Malformed::Length)?;
    for inner in Options::read(ia.options.rest)? {
        if inner.code == code::IA_ADDRESS && inner.value.len() < 24 {
            return Err(Malformed::Length);
        }
    }
    Ok(())
}

/// What an identity association is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IaKind {
    /// IA_NA (§21.4).
    NonTemporary,
    /// IA_TA (§21.5).
    Temporary,
    /// IA_PD (§21.21).
    PrefixDelegation,
}

/// An identity association.
#[derive(Debug, Clone, Copy)]
pub struct Ia<'a> {
    /// What it is for.
    pub kind: IaKind,
    /// IAID, the client's choice.
    pub id: [u8; 4],
    options: Options<'a>,
}

impl<'a> Ia<'a> {
    /// `None` for other options, and for one shorter than its fixed fields.
    fn of(option: RawOption<'a>) -> Option<Self> {
        let (kind, fixed) = match option.code {
            code::IA_NA => (IaKind::NonTemporary, 12),
            code::IA_TA => (IaKind::Temporary, 4),
            code::IA_PD => (IaKind::PrefixDelegation, 12),
            _ => return None,
        };
        Some(Self {
            kind,
            id: *option.value.first_chunk()?,
            options: Options {
                rest: option.value.get(fixed..)?,
            },
        })
    }

    /// The addresses in it; none in an IA_PD.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        self.options
            .filter(|option| option.code == code::IA_ADDRESS)
            .filter_map(|option| option.value.first_chunk::<16>())
            .map(|octets| Ipv6Addr::from(*octets))
    }
}

/// One option: code and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawOption<'a> {
    /// Its code.
    pub code: u16,
    /// Its bytes.
    pub value: &'a [u8],
}

/// Options one behind the other, none longer than what is there.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// Checks the lengths.
    ///
    /// # Errors
    /// An option longer than what is left, or bytes too few for one at the end.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut walk = Self { rest: bytes };
        walk.by_ref().for_each(drop);
        if walk.rest.is_empty() {
            Ok(Self { rest: bytes })
        } else {
            Err(Malformed::Length)
        }
    }

    /// Options whose lengths are known to be right: walking stops at the first that is not.
    #[must_use]
    pub const fn of_encoded(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes of the first option of a code; a second one of the same code is not looked at (§21.1).
    #[must_use]
    pub fn first(mut self, code: u16) -> Option<&'a [u8]> {
        self.find(|option| option.code == code)
            .map(|option| option.value)
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = RawOption<'a>;

    fn next(&mut self) -> Option<RawOption<'a>> {
        let (&[a, b, c, d], rest) = self.rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([c, d])))?;
        self.rest = rest;
        Some(RawOption {
            code: u16::from_be_bytes([a, b]),
            value,
        })
    }
}

/// Appends one option. False when it does not fit.
#[must_use]
pub fn push_option(out: &mut Frame, code: u16, value: &[u8]) -> bool {
    let Ok(len) = u16::try_from(value.len()) else {
        return false;
    };
    out.push(&code.to_be_bytes()) && out.push(&len.to_be_bytes()) && out.push(value)
}

/// Appends a status code option without a text: none is required (§21.13). False when it does not fit.
#[must_use]
pub fn push_status(out: &mut Frame, status: Status) -> bool {
    push_option(out, code::STATUS_CODE, &(status as u16).to_be_bytes())
}

/// Appends an address option (§21.6); lifetimes in seconds. False when it does not fit.
#[must_use]
pub fn push_address(out: &mut Frame, address: Ipv6Addr, preferred: u32, valid: u32) -> bool {
    let lifetimes = [preferred.to_be_bytes(), valid.to_be_bytes()];
    out.push(&code::IA_ADDRESS.to_be_bytes())
        && out.push(&24_u16.to_be_bytes())
        && out.push(&address.octets())
        && out.push(lifetimes.as_flattened())
}

/// Appends an identity association; `inner` appends the options in it. T1 and T2 in seconds; an IA_TA has none. False
/// when it does not fit.
#[must_use]
pub fn push_ia(
    out: &mut Frame,
    ia: &Ia<'_>,
    (t1, t2): (u32, u32),
    inner: impl FnOnce(&mut Frame) -> bool,
) -> bool {
    let code = match ia.kind {
        IaKind::NonTemporary => code::IA_NA,
        IaKind::Temporary => code::IA_TA,
        IaKind::PrefixDelegation => code::IA_PD,
    };
    let times = [t1.to_be_bytes(), t2.to_be_bytes()];
    let has_times = ia.kind != IaKind::Temporary;
    let start = out.as_slice().len();
    let pushed = out.push(&code.to_be_bytes())
        && out.push(&[0; 2])
        && out.push(&ia.id)
        && (!has_times || out.push(times.as_flattened()))
        && inner(out);
    let len = (out.as_slice().len() - start).saturating_sub(4);
    let (Ok(len), Some(room)) = (
        u16::try_from(len),
        out.as_mut_slice().get_mut(start + 2..start + 4),
    ) else {
        return false;
    };
    room.copy_from_slice(&len.to_be_bytes());
    pushed
}

#[cfg(test)]
mod tests;
