//! One change to the host. It prints as the command an operator would type, so that `--dry-run`, the log and the golden
//! tests are one text; `undo` is the change back.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use nfdhcpd_binding::MacAddr;

use crate::element::Element;
use crate::facts::{Family, Route, Rule};
use crate::record::Proxy;
use crate::request::IfName;

/// One change, with what is needed to take it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write, replace or remove a file, atomically, mode 0644.
    File {
        /// Which.
        path: PathBuf,
        /// Its text before; `None`: it was not there.
        before: Option<String>,
        /// Its text after; `None`: it is removed.
        after: Option<String>,
    },
    /// Create our tables with their constant rules, or bring the rules to this version; elements stay.
    InstallRules,
    /// Change elements of our sets, all at once.
    Elements {
        /// Removed first.
        delete: Vec<Element>,
        /// Then added.
        add: Vec<Element>,
    },
    /// Hardware address of a device.
    Address {
        /// Its name.
        dev: IfName,
        /// The address before.
        before: MacAddr,
        /// The address after.
        after: MacAddr,
    },
    /// MTU of a device.
    Mtu {
        /// Its name.
        dev: IfName,
        /// Bytes before.
        before: u32,
        /// Bytes after.
        after: u32,
    },
    /// Which bridge a device is a port of.
    Master {
        /// Its name.
        dev: IfName,
        /// The bridge before.
        before: Option<IfName>,
        /// The bridge after.
        after: Option<IfName>,
    },
    /// Administrative state of a device.
    Admin {
        /// Its name.
        dev: IfName,
        /// Up or down.
        up: bool,
    },
    /// A value under `/proc/sys`.
    Sysctl {
        /// Path below `/proc/sys`.
        key: String,
        /// The value before; `None`: not to be taken back, because other NICs may count on it by now.
        before: Option<String>,
        /// The value after.
        after: String,
    },
    /// Delete all routing rules with the TAP as input interface, whoever added them for its name.
    PurgeRules {
        /// The TAP's name.
        tap: IfName,
    },
    /// A routing rule.
    Rule(Change, Rule),
    /// A host route.
    Route(Change, Route),
    /// A proxy entry.
    Proxy(Change, Proxy),
    /// Tell the neighbours, once; more follow after the last step.
    Announce(Announcement),
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It will be there.
    Add,
    /// It will not.
    Delete,
}

/// Where an address is from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// ARP request and reply with the address as sender and target (RFC 5227 §3, RFC 826).
    Arp {
        /// The uplink's name.
        uplink: IfName,
        /// The uplink's index.
        index: u32,
        /// The uplink's hardware address.
        from: MacAddr,
        /// The VM's address.
        address: Ipv4Addr,
    },
    /// Unsolicited neighbour advertisement with the override flag (RFC 4861 §7.2.6).
    Neighbour {
        /// The uplink's name.
        uplink: IfName,
        /// The uplink's index.
        index: u32,
        /// The uplink's hardware address.
        from: MacAddr,
        /// The IPv6 address it is sent from.
        source: Ipv6Addr,
        /// The VM's address.
        address: Ipv6Addr,
    },
}

impl Step {
    /// The change back; `None` for what cannot or must not be taken back.
    #[must_use]
    pub fn undo(&self) -> Option<Self> {
        Some(match self {
            Self::File {
                path,
                before,
                after,
            } => Self::File {
                path: path.clone(),
                before: after.clone(),
                after: before.clone(),
            },
            Self::Elements { delete, add } => Self::Elements {
                delete: add.clone(),
                add: delete.clone(),
            },
            Self::Address { dev, before, after } => Self::Address {
                dev: dev.clone(),
                before: *after,
                after: *before,
            },
            Self::Mtu { dev, before, after } => Self::Mtu {
                dev: dev.clone(),
                before: *after,
                after: *before,
            },
            Self::Master { dev, before, after } => Self::Master {
                dev: dev.clone(),
                before: after.clone(),
                after: before.clone(),
            },
            Self::Admin { dev, up } => Self::Admin {
                dev: dev.clone(),
                up: !up,
            },
            Self::Sysctl {
                key,
                before: Some(before),
                after,
            } => Self::Sysctl {
                key: key.clone(),
                before: Some(after.clone()),
                after: before.clone(),
            },
            Self::Rule(change, rule) => Self::Rule(change.opposite(), rule.clone()),
            Self::Route(change, route) => Self::Route(change.opposite(), route.clone()),
            Self::Proxy(change, proxy) => Self::Proxy(change.opposite(), proxy.clone()),
            // The tables are every NIC's: another may have put its elements there since. Nobody misses purged rules.
            Self::InstallRules
            | Self::PurgeRules { .. }
            | Self::Sysctl { before: None, .. }
            | Self::Announce(_) => {
                return None;
            }
        })
    }
}

impl Change {
    const fn opposite(self) -> Self {
        match self {
            Self::Add => Self::Delete,
            Self::Delete => Self::Add,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Delete => "del",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                after: Some(text),
                ..
            } => {
                let path = path.display();
                write!(f, "install -D -m 0644 /dev/stdin {path} <<'EOF'\n{text}EOF")
            }
            Self::File {
                path, after: None, ..
            } => write!(f, "rm {}", path.display()),
            Self::InstallRules => f.write_str("nft -f <(snf-ifup rules)"),
            Self::Elements { delete, add } => {
                f.write_str("nft -f - <<'EOF'\n")?;
                for element in delete {
                    writeln!(f, "delete element {element}")?;
                }
                for element in add {
                    writeln!(f, "add element {element}")?;
                }
                f.write_str("EOF")
            }
            Self::Address { dev, after, .. } => write!(f, "ip link set dev {dev} address {after}"),
            Self::Mtu { dev, after, .. } => write!(f, "ip link set dev {dev} mtu {after}"),
            Self::Master {
                dev,
                after: Some(bridge),
                ..
            } => {
                write!(f, "ip link set dev {dev} master {bridge}")
            }
            Self::Master {
                dev, after: None, ..
            } => write!(f, "ip link set dev {dev} nomaster"),
            Self::Admin { dev, up } => {
                write!(
                    f,
                    "ip link set dev {dev} {}",
                    if *up { "up" } else { "down" }
                )
            }
            Self::Sysctl { key, after, .. } => write!(f, "sysctl -w {key}={after}"),
            Self::PurgeRules { tap } => write!(
                f,
                "while ip rule del iif {tap}; do :; done; while ip -6 rule del iif {tap}; do :; done"
            ),
            Self::Rule(change, rule) => write!(
                f,
                "ip {}rule {} {rule}",
                rule.family.option(),
                change.word()
            ),
            Self::Route(Change::Add, route) => {
                write!(f, "ip {}route replace {route}", option(route))
            }
            Self::Route(Change::Delete, route) => {
                write!(f, "ip {}route del {route}", option(route))
            }
            Self::Proxy(change, proxy) => write!(f, "ip -6 neigh {} proxy {proxy}", change.word()),
            Self::Announce(announcement) => announcement.fmt(f),
        }
    }
}

fn option(route: &Route) -> &'static str {
    match route.destination {
        ipnet::IpNet::V4(_) => Family::V4.option(),
        ipnet::IpNet::V6(_) => Family::V6.option(),
    }
}

impl Family {
    const fn option(self) -> &'static str {
        match self {
            Self::V4 => "",
            Self::V6 => "-6 ",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "iif {} lookup {} priority {}",
            self.tap, self.table, self.priority
        )
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} dev {} table {} proto static",
            self.destination, self.tap, self.table
        )
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp {
                uplink, address, ..
            } => {
                write!(
                    f,
                    "arping -c 1 -U -I {uplink} {address}; arping -c 1 -A -I {uplink} {address}"
                )
            }
            Self::Neighbour {
                uplink, address, ..
            } => write!(f, "ndsend {address} {uplink}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_prints_as_a_command() {
        let tap: IfName = "tap1".parse().unwrap();
        let rule = Rule {
            family: Family::V6,
            tap: tap.clone(),
            table: 79,
            priority: 30_000,
        };
        let destination = "10.79.0.2/32".parse().unwrap();
        let route = Route {
            destination,
            tap: tap.clone(),
            table: 79,
        };
        for (step, text) in [
            (
                Step::Rule(Change::Add, rule),
                "ip -6 rule add iif tap1 lookup 79 priority 30000",
            ),
            (
                Step::Route(Change::Add, route),
                "ip route replace 10.79.0.2/32 dev tap1 table 79 proto static",
            ),
            (
                Step::Admin { dev: tap, up: true },
                "ip link set dev tap1 up",
            ),
        ] {
            assert_eq!(step.to_string(), text);
            let back = step.undo().and_then(|undo| undo.undo());
            assert_eq!(back, Some(step), "undo of undo is the step itself");
        }
    }
}
