//! DHCPv4 messages (RFC 2131 §2): the request read, the reply written.
//!
//! dhcproto names the message types and encodes what a binding says; what a VM sent is read here, because a hostile
//! message must neither end the service nor hide its type behind a malformed option.

mod reply;
mod request;

pub use reply::{Envelope, Fixed, Message};
pub use request::{Parts, Request};

/// Length of the fixed fields, from `op` to `file`.
pub const FIXED_FIELDS: usize = 236;
/// What the options field begins with (RFC 2131 §3).
pub const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Port servers and relays listen on.
pub const SERVER_PORT: u16 = 67;
/// Port clients listen on.
pub const CLIENT_PORT: u16 = 68;
/// The broadcast bit of `flags` (RFC 2131 §2).
pub const BROADCAST: u16 = 0x8000;
/// Size of datagram every client takes (RFC 2131 §2), and the least that option 57 may say.
pub const DATAGRAM_MIN: u16 = 576;

const SNAME_AT: usize = 44;
const SNAME_LEN: usize = 64;
const FILE_AT: usize = 108;
const FILE_LEN: usize = 128;

/// Option codes (RFC 2132 unless said otherwise), each written once.
pub mod code {
    /// Fills space; has no length.
    pub const PAD: u8 = 0;
    /// Subnet mask.
    pub const SUBNET_MASK: u8 = 1;
    /// Routers.
    pub const ROUTER: u8 = 3;
    /// Name servers.
    pub const DOMAIN_NAME_SERVER: u8 = 6;
    /// Host name.
    pub const HOST_NAME: u8 = 12;
    /// Domain name.
    pub const DOMAIN_NAME: u8 = 15;
    /// Interface MTU.
    pub const INTERFACE_MTU: u8 = 26;
    /// Broadcast address.
    pub const BROADCAST_ADDRESS: u8 = 28;
    /// NTP servers.
    pub const NTP_SERVERS: u8 = 42;
    /// Requested address.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// Lease time.
    pub const LEASE_TIME: u8 = 51;
    /// `file` and `sname` hold options.
    pub const OVERLOAD: u8 = 52;
    /// Message type.
    pub const MESSAGE_TYPE: u8 = 53;
    /// Server identifier.
    pub const SERVER_IDENTIFIER: u8 = 54;
    /// Parameter request list.
    pub const PARAMETER_REQUEST_LIST: u8 = 55;
    /// Text of a NAK.
    pub const MESSAGE: u8 = 56;
    /// Largest datagram the client takes.
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    /// T1.
    pub const RENEWAL_TIME: u8 = 58;
    /// T2.
    pub const REBINDING_TIME: u8 = 59;
    /// Vendor class.
    pub const VENDOR_CLASS: u8 = 60;
    /// Client identifier.
    pub const CLIENT_IDENTIFIER: u8 = 61;
    /// TFTP server name.
    pub const TFTP_SERVER_NAME: u8 = 66;
    /// Boot file name.
    pub const BOOT_FILE_NAME: u8 = 67;
    /// User class (RFC 3004).
    pub const USER_CLASS: u8 = 77;
    /// Rapid commit (RFC 4039).
    pub const RAPID_COMMIT: u8 = 80;
    /// Client FQDN (RFC 4702).
    pub const CLIENT_FQDN: u8 = 81;
    /// Relay agent information (RFC 3046).
    pub const RELAY_AGENT: u8 = 82;
    /// Client system architecture (RFC 4578).
    pub const CLIENT_ARCHITECTURE: u8 = 93;
    /// Client machine identifier (RFC 4578).
    pub const CLIENT_MACHINE: u8 = 97;
    /// IPv6-only preferred (RFC 8925).
    pub const IPV6_ONLY_PREFERRED: u8 = 108;
    /// Captive portal (RFC 8910).
    pub const CAPTIVE_PORTAL: u8 = 114;
    /// Domain search (RFC 3397).
    pub const DOMAIN_SEARCH: u8 = 119;
    /// Classless static routes (RFC 3442).
    pub const CLASSLESS_ROUTES: u8 = 121;
    /// TFTP server addresses (RFC 5859).
    pub const TFTP_SERVERS: u8 = 150;
    /// iPXE's encapsulated options (registered by Etherboot).
    pub const ETHERBOOT: u8 = 175;
    /// PXELINUX path prefix (RFC 5071).
    pub const PATH_PREFIX: u8 = 210;
    /// Classless static routes as old Windows asks for them (MS-DHCPE).
    pub const MS_CLASSLESS_ROUTES: u8 = 249;
    /// Nothing follows; has no length.
    pub const END: u8 = 255;
}

/// A set of option codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CodeSet([u64; 4]);

impl CodeSet {
    /// Adds; false when it was there.
    pub fn insert(&mut self, code: u8) -> bool {
        let Some(word) = self.0.get_mut(usize::from(code >> 6)) else {
            return false;
        };
        let bit = 1 << (code & 63);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Whether the code is in the set.
    #[must_use]
    pub fn contains(&self, code: u8) -> bool {
        self.0
            .get(usize::from(code >> 6))
            .is_some_and(|word| word & (1 << (code & 63)) != 0)
    }
}

impl FromIterator<u8> for CodeSet {
    fn from_iter<T: IntoIterator<Item = u8>>(codes: T) -> Self {
        let mut set = Self::default();
        for code in codes {
            set.insert(code);
        }
        set
    }
}

#[cfg(test)]
mod tests;
