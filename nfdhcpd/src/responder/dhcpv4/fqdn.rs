//! Client FQDN, option 81 (RFC 4702): the VM is told its name; nobody updates the DNS on its behalf.

use nfdhcpd_binding::DomainName;

use crate::wire::dhcpv4::{Message, Parts, code};

/// Client: "update my address record for me".
const S: u8 = 0x01;
/// Server: "not as you asked".
const O: u8 = 0x02;
/// The name is in wire form, not text.
const E: u8 = 0x04;
/// Server: "no updates".
const N: u8 = 0x08;
/// What a server puts in the two bytes that once were response codes (RFC 4702 §2.2).
const RCODE: u8 = 255;

/// Longest name, as text (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;

/// The host name, made whole by the domain when it is one label and the whole is still a name.
pub(super) fn full_name(
    hostname: Option<&DomainName>,
    domain: Option<&DomainName>,
) -> Option<Box<str>> {
    let host = hostname?.as_str();
    let domain = domain.filter(|_| !host.contains('.'));
    let whole = domain.map(|domain| format!("{host}.{domain}"));
    let whole = whole.filter(|name| name.len() <= NAME_MAX);
    Some(whole.map_or_else(|| host.into(), Into::into))
}

/// Answers option 81 of a request with the name the binding gives, if it gives one.
pub(super) fn write(message: &mut Message<'_, '_>, asked: &Parts<'_>, name: Option<&str>) {
    let (Some(asked), Some(name)) = (asked.bytes().next(), name) else {
        return;
    };
    let overrides = if asked & S != 0 { O } else { 0 };
    let mut value = Value::default();
    value.extend(&[N | overrides | (asked & E), RCODE, RCODE]);
    if asked & E == 0 {
        value.extend(name.as_bytes());
    } else {
        for label in name.split('.') {
            value.extend(&[u8::try_from(label.len()).unwrap_or(u8::MAX)]);
            value.extend(label.as_bytes());
        }
        // A name that is not whole has no root at its end (RFC 4702 §2.3.1).
        if name.contains('.') {
            value.extend(&[0]);
        }
    }
    if let Some(value) = value.whole() {
        message.option(code::CLIENT_FQDN, value);
    }
}

/// An option's value while it is put together; at most 255 bytes.
struct Value {
    bytes: [u8; 255],
    len: usize,
    overrun: bool,
}

impl Default for Value {
    fn default() -> Self {
        Self {
            bytes: [0; 255],
            len: 0,
            overrun: false,
        }
    }
}

impl Value {
    fn extend(&mut self, more: &[u8]) {
        match self.bytes.get_mut(self.len..self.len + more.len()) {
            Some(room) => {
                room.copy_from_slice(more);
                self.len += more.len();
            }
            None => self.overrun = true,
        }
    }

    fn whole(&self) -> Option<&[u8]> {
        if self.overrun {
            None
        } else {
            self.bytes.get(..self.len)
        }
    }
}
