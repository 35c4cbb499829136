//! Tags: how the control plane tells hosts what the VMs of a network, or a VM, are to get. `synnefo:<key>:<value>`.
//!
//! Ganeti allows letters, digits and `_ . + * / : @ -` in a tag, and 128 characters.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use nfdhcpd_binding::{DomainName, Mode6, Route};

/// What the tags begin with.
const START: &str = "synnefo:";

/// What a tag is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A network: for all its VMs.
    Network,
    /// An instance.
    Instance,
}

/// A key of the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// `dns:<address>`, any number.
    Dns,
    /// `search:<domain>`, any number.
    Search,
    /// `domain:<domain>`
    Domain,
    /// `route:<prefix>@<gateway>`, any number.
    Route,
    /// `ntp:<address>`, any number.
    Ntp,
    /// `mtu:<bytes>`
    Mtu,
    /// `mode6:<slaac|stateless|stateful>`
    Mode6,
    /// `hostname:<name>`
    Hostname,
    /// `network:<NIC's index, name or UUID>:<profile>`
    Firewall,
}

/// A firewall profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Nothing comes in that was not asked for.
    Protected,
    /// And what a login needs.
    Limited,
    /// All.
    Unprotected,
}

/// A tag with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// A name server.
    Dns(IpAddr),
    /// A domain to search names in.
    Search(DomainName),
    /// The domain.
    Domain(DomainName),
    /// A route.
    Route(Route),
    /// A time server.
    Ntp(IpAddr),
    /// The link's MTU: 68 and more.
    Mtu(u16),
    /// How IPv6 addresses come about.
    Mode6(Mode6),
    /// The VM's name.
    Hostname(DomainName),
    /// A NIC's firewall profile.
    Firewall {
        /// The NIC's index, name or UUID.
        nic: String,
        /// The profile.
        profile: Profile,
    },
}

/// Key and value of a tag of ours, unread; nothing when it is somebody else's.
#[must_use]
pub fn split(tag: &str) -> Option<(&str, &str)> {
    let rest = tag.strip_prefix(START)?;
    Some(rest.split_once(':').unwrap_or((rest, "")))
}

impl Key {
    /// All.
    pub const ALL: [Self; 9] = [
        Self::Dns,
        Self::Search,
        Self::Domain,
        Self::Route,
        Self::Ntp,
        Self::Mtu,
        Self::Mode6,
        Self::Hostname,
        Self::Firewall,
    ];

    /// The key of a text; nothing when the grammar has none of that name.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text)
    }

    /// Its text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Search => "search",
            Self::Domain => "domain",
            Self::Route => "route",
            Self::Ntp => "ntp",
            Self::Mtu => "mtu",
            Self::Mode6 => "mode6",
            Self::Hostname => "hostname",
            Self::Firewall => "network",
        }
    }

    /// What it belongs on.
    #[must_use]
    pub const fn place(self) -> Place {
        match self {
            Self::Hostname | Self::Firewall => Place::Instance,
            Self::Dns
            | Self::Search
            | Self::Domain
            | Self::Route
            | Self::Ntp
            | Self::Mtu
            | Self::Mode6 => Place::Network,
        }
    }

    /// What its values look like; the end of a sentence about a tag.
    #[must_use]
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Dns | Self::Ntp => "must end in an IPv4 or IPv6 address",
            Self::Search | Self::Domain | Self::Hostname => {
                "must end in a domain name: letters, digits, '-' and '_' in labels of 1 to 63 bytes"
            }
            Self::Route => {
                "must end in <prefix>@<gateway> of one family, as in synnefo:route:10.8.0.0/16@10.0.0.1"
            }
            Self::Mtu => "must be 68 to 65535 bytes",
            Self::Mode6 => "must be slaac, stateless or stateful",
            Self::Firewall => "must end in protected, limited or unprotected",
        }
    }

    /// Reads a value; nothing when it is not as [`Key::expected`].
    #[must_use]
    pub fn read(self, value: &str) -> Option<Tag> {
        Some(match self {
            Self::Dns => Tag::Dns(value.parse().ok()?),
            Self::Ntp => Tag::Ntp(value.parse().ok()?),
            Self::Search => Tag::Search(value.parse().ok()?),
            Self::Domain => Tag::Domain(value.parse().ok()?),
            Self::Hostname => Tag::Hostname(value.parse().ok()?),
            Self::Route => Tag::Route(route(value)?),
            Self::Mtu => Tag::Mtu(value.parse().ok().filter(|bytes| *bytes >= 68)?),
            Self::Mode6 => Tag::Mode6(match value {
                "slaac" => Mode6::Slaac,
                "stateless" => Mode6::Stateless,
                "stateful" => Mode6::Stateful,
                _ => return None,
            }),
            Self::Firewall => {
                let (nic, profile) = value.rsplit_once(':').unwrap_or((value, ""));
                Tag::Firewall {
                    nic: nic.to_owned(),
                    profile: profile.parse().ok()?,
                }
            }
        })
    }
}

fn route(value: &str) -> Option<Route> {
    let (destination, gateway) = value.split_once('@')?;
    match (destination.parse().ok()?, gateway.parse().ok()?) {
        (IpNet::V4(destination), IpAddr::V4(gateway)) => Some(Route::V4 {
            destination: destination.trunc(),
            gateway,
        }),
        (IpNet::V6(destination), IpAddr::V6(gateway)) => Some(Route::V6 {
            destination: destination.trunc(),
            gateway,
        }),
        (IpNet::V4(_), IpAddr::V6(_)) | (IpNet::V6(_), IpAddr::V4(_)) => None,
    }
}

impl Tag {
    /// Its key.
    #[must_use]
    pub const fn key(&self) -> Key {
        match self {
            Self::Dns(_) => Key::Dns,
            Self::Search(_) => Key::Search,
            Self::Domain(_) => Key::Domain,
            Self::Route(_) => Key::Route,
            Self::Ntp(_) => Key::Ntp,
            Self::Mtu(_) => Key::Mtu,
            Self::Mode6(_) => Key::Mode6,
            Self::Hostname(_) => Key::Hostname,
            Self::Firewall { .. } => Key::Firewall,
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{START}{}:", self.key().as_str())?;
        match self {
            Self::Dns(address) | Self::Ntp(address) => address.fmt(f),
            Self::Search(name) | Self::Domain(name) | Self::Hostname(name) => write!(f, "{name}"),
            Self::Route(route) => route.fmt(f),
            Self::Mtu(bytes) => bytes.fmt(f),
            Self::Mode6(mode) => mode.fmt(f),
            Self::Firewall { nic, profile } => write!(f, "{nic}:{profile}"),
        }
    }
}

impl Profile {
    /// All.
    pub const ALL: [Self; 3] = [Self::Protected, Self::Limited, Self::Unprotected];

    /// Its text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Limited => "limited",
            Self::Unprotected => "unprotected",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be protected, limited or unprotected")]
pub struct NoProfile;

impl FromStr for Profile {
    type Err = NoProfile;

    fn from_str(text: &str) -> Result<Self, NoProfile> {
        let found = Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text);
        found.ok_or(NoProfile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_tag_reads_back() {
        let tags = [
            "synnefo:dns:10.0.0.1",
            "synnefo:dns:2001:db8::53",
            "synnefo:search:a.example",
            "synnefo:domain:example.org",
            "synnefo:route:10.8.0.0/16@10.0.0.1",
            "synnefo:route:2001:db8:1::/48@fe80::1",
            "synnefo:ntp:10.0.0.2",
            "synnefo:mtu:1400",
            "synnefo:mode6:stateless",
            "synnefo:hostname:web1",
            "synnefo:network:snf-nic-7:protected",
        ];
        for text in tags {
            let (key, value) = split(text).unwrap();
            let tag = Key::of(key).unwrap().read(value).unwrap();
            assert_eq!(tag.to_string(), text);
        }
        let (_, value) = split("synnefo:route:10.8.1.2/16@10.0.0.1").unwrap();
        let tag = Key::Route.read(value).unwrap();
        assert_eq!(tag.to_string(), "synnefo:route:10.8.0.0/16@10.0.0.1");
    }

    #[test]
    fn what_does_not_fit_is_not_read() {
        assert_eq!(split("nfdhcpd"), None);
        assert_eq!(split("synnefo:x"), Some(("x", "")));
        assert_eq!(Key::of("x"), None);
        let wrong = [
            (Key::Dns, "10.0.0"),
            (Key::Ntp, ""),
            (Key::Domain, "a..b"),
            (Key::Mtu, "67"),
            (Key::Mode6, "none"),
            (Key::Route, "10.0.0.0/8"),
            (Key::Route, "10.0.0.0/8@fe80::1"),
            (Key::Firewall, "0:open"),
            (Key::Firewall, "0"),
        ];
        for (key, value) in wrong {
            assert_eq!(key.read(value), None, "{value}");
        }
    }
}
