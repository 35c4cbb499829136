//! Hardware addresses and what follows from them: EUI-64 interface identifiers (RFC 4291 appendix A).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use ipnet::Ipv6Net;

/// A 48-bit hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

/// Why a text is not a hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a hardware address: six pairs of hexadecimal digits joined by ':' are, as in aa:00:00:51:ad:bc"
)]
pub struct MacAddrError;

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The six bytes, in the order they are sent.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// True for group addresses (the lowest bit of the first byte): no NIC may have one.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// The modified EUI-64 address within `prefix`; `None` unless the prefix is a /64.
    #[must_use]
    pub fn eui64(self, prefix: Ipv6Net) -> Option<Ipv6Addr> {
        (prefix.prefix_len() == 64).then(|| self.in_prefix64(prefix.network()))
    }

    /// The link-local address formed from this hardware address (RFC 4862 §5.3).
    #[must_use]
    pub fn link_local(self) -> Ipv6Addr {
        self.in_prefix64(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0))
    }

    fn in_prefix64(self, prefix: Ipv6Addr) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let interface = u64::from_be_bytes([a ^ 0x02, b, c, 0xff, 0xfe, d, e, f]);
        let high = u128::from(prefix) & !u128::from(u64::MAX);
        Ipv6Addr::from(high | u128::from(interface))
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = MacAddrError;

    /// Case does not matter.
    fn from_str(text: &str) -> Result<Self, MacAddrError> {
        let mut octets = [0; 6];
        let mut pairs = text.split(':');
        for octet in &mut octets {
            let pair = pairs.next().ok_or(MacAddrError)?;
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacAddrError);
            }
            *octet = u8::from_str_radix(pair, 16).map_err(|_| MacAddrError)?;
        }
        if pairs.next().is_some() {
            Err(MacAddrError)
        } else {
            Ok(Self(octets))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_either_case_and_writes_lower() {
        let mac: MacAddr = "AA:00:00:51:Ad:bc".parse().unwrap();
        assert_eq!(mac.to_string(), "aa:00:00:51:ad:bc");
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "",
            "aa:00:00:51:ad",
            "aa:00:00:51:ad:bc:00",
            "aa0:0:00:51:ad:bc",
            "+a:00:00:51:ad:bc",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(MacAddrError), "{text:?}");
        }
    }

    /// RFC 4291 appendix A, example.
    #[test]
    fn flips_the_universal_bit() {
        let mac: MacAddr = "34:56:78:9a:bc:de".parse().unwrap();
        assert_eq!(
            mac.link_local(),
            "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap()
        );
        assert_eq!(mac.eui64("2001:db8:77::/48".parse().unwrap()), None);
    }
}
