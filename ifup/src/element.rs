//! Elements of our nft sets: what one NIC adds to the constant rules of `nft.rs`, and their text.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use nfdhcpd_binding::MacAddr;

use crate::request::IfName;

/// One element; prints as nft's `add element` takes it: family, table, set, `{ … }`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// The TAP's frames are checked against `Source`, frames to it against `Network` or `OwnPrefix`.
    Filtered(IfName),
    /// A hardware address the TAP may send from.
    Source(IfName, MacAddr),
    /// First three bytes of the addresses the TAP may hear: the network's prefix.
    Network(IfName, MacAddr),
    /// The same, of 20 bits (mask ff:ff:f0): of the NIC's own address.
    OwnPrefix(IfName, MacAddr),
    /// The TAP's packets are checked against `Source4` and `Source6`.
    Routed(IfName),
    /// An IPv4 address the TAP may send from.
    Source4(IfName, Ipv4Addr),
    /// An IPv6 address the TAP may send from.
    Source6(IfName, Ipv6Addr),
    /// In whose name the host asks for the VM's hardware address.
    Gateway(IfName, Ipv4Addr),
}

/// The mask of `Network`.
pub const NETWORK_MASK: MacAddr = MacAddr([0xff, 0xff, 0xff, 0, 0, 0]);
/// The mask of `OwnPrefix`.
pub const OWN_MASK: MacAddr = MacAddr([0xff, 0xff, 0xf0, 0, 0, 0]);

impl Element {
    /// The address's bits under [`NETWORK_MASK`]: `prefix` and three zero bytes.
    #[must_use]
    pub fn network(tap: &IfName, prefix: [u8; 3]) -> Self {
        let [a, b, c] = prefix;
        Self::Network(tap.clone(), MacAddr([a, b, c, 0, 0, 0]))
    }

    /// The address's bits under [`OWN_MASK`].
    #[must_use]
    pub fn own_prefix(tap: &IfName, mac: MacAddr) -> Self {
        let [a, b, c, ..] = mac.octets();
        Self::OwnPrefix(tap.clone(), MacAddr([a, b, c & 0xf0, 0, 0, 0]))
    }

    /// Family, table and set.
    #[must_use]
    pub const fn set(&self) -> &'static str {
        match self {
            Self::Filtered(_) => "bridge snf filtered",
            Self::Source(..) => "bridge snf source",
            Self::Network(..) => "bridge snf network",
            Self::OwnPrefix(..) => "bridge snf own_prefix",
            Self::Routed(_) => "inet snf routed",
            Self::Source4(..) => "inet snf source4",
            Self::Source6(..) => "inet snf source6",
            Self::Gateway(..) => "arp snf gateway",
        }
    }

    /// The TAP it is for.
    #[must_use]
    pub const fn tap(&self) -> &IfName {
        match self {
            Self::Filtered(tap)
            | Self::Source(tap, _)
            | Self::Network(tap, _)
            | Self::OwnPrefix(tap, _)
            | Self::Routed(tap)
            | Self::Source4(tap, _)
            | Self::Source6(tap, _)
            | Self::Gateway(tap, _) => tap,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {{ \"{}\"", self.set(), self.tap())?;
        match self {
            Self::Filtered(_) | Self::Routed(_) => {}
            Self::Source(_, mac) | Self::Network(_, mac) | Self::OwnPrefix(_, mac) => {
                write!(f, " . {mac}")?;
            }
            Self::Source4(_, ip) => write!(f, " . {ip}")?,
            Self::Source6(_, ip) => write!(f, " . {ip}")?,
            Self::Gateway(_, ip) => write!(f, " : {ip}")?,
        }
        f.write_str(" }")
    }
}

/// The text is no element of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an element of snf-ifup's sets")]
pub struct ElementError;

impl FromStr for Element {
    type Err = ElementError;

    fn from_str(text: &str) -> Result<Self, ElementError> {
        let (set, element) = text.split_once(" { \"").ok_or(ElementError)?;
        let element = element.strip_suffix(" }").ok_or(ElementError)?;
        let (tap, rest) = element.split_once('"').ok_or(ElementError)?;
        let tap: IfName = tap.parse().map_err(|_| ElementError)?;
        let key = || rest.strip_prefix(" . ").ok_or(ElementError);
        let mac = || key()?.parse::<MacAddr>().map_err(|_| ElementError);
        Ok(match set {
            "bridge snf filtered" if rest.is_empty() => Self::Filtered(tap),
            "inet snf routed" if rest.is_empty() => Self::Routed(tap),
            "bridge snf source" => Self::Source(tap, mac()?),
            "bridge snf network" => Self::Network(tap, mac()?),
            "bridge snf own_prefix" => Self::OwnPrefix(tap, mac()?),
            "inet snf source4" => Self::Source4(tap, key()?.parse().map_err(|_| ElementError)?),
            "inet snf source6" => Self::Source6(tap, key()?.parse().map_err(|_| ElementError)?),
            "arp snf gateway" => {
                let ip = rest.strip_prefix(" : ").ok_or(ElementError)?;
                Self::Gateway(tap, ip.parse().map_err(|_| ElementError)?)
            }
            _ => return Err(ElementError),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_prefix_keeps_twenty_bits() {
        let tap: IfName = "tap0".parse().unwrap();
        let element = Element::own_prefix(&tap, "aa:00:0f:12:34:56".parse().unwrap());
        assert_eq!(
            element.to_string(),
            r#"bridge snf own_prefix { "tap0" . aa:00:00:00:00:00 }"#
        );
    }

    #[test]
    fn text_and_element_are_the_same() {
        for text in [
            r#"bridge snf filtered { "tap0" }"#,
            r#"bridge snf source { "tap0" . aa:00:77:51:ad:bc }"#,
            r#"bridge snf network { "tap0" . aa:00:77:00:00:00 }"#,
            r#"inet snf routed { "tap-1.5" }"#,
            r#"inet snf source4 { "tap0" . 10.0.0.2 }"#,
            r#"inet snf source6 { "tap0" . 2001:db8::1 }"#,
            r#"arp snf gateway { "tap0" : 10.0.0.1 }"#,
        ] {
            assert_eq!(text.parse::<Element>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn foreign_text_is_refused() {
        for text in [
            "",
            r#"inet filter routed { "tap0" }"#,
            r#"inet snf routed { "tap0" . 10.0.0.1 }"#,
            r#"inet snf source4 { "../0" . 10.0.0.1 }"#,
            r#"inet snf source4 { "tap0" . 10.0.0.1"#,
        ] {
            assert_eq!(text.parse::<Element>(), Err(ElementError), "{text}");
        }
    }
}
