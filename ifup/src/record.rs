//! What was done for a TAP that its name alone does not find again: one small file per TAP under the run directory.
//!
//! Ganeti to 3.1 never says that a NIC goes down, TAP names are reused, and neither set elements nor proxy entries name
//! their NIC's past: so each `up` leaves this note for the next `up` or `down` of the same name. It is written before
//! the first change it speaks of, and removed after the last is undone. It was last modified when the TAP came up: who puts
//! a NIC right later leaves that time as it is.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::element::Element;
use crate::request::IfName;

/// The note on one TAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The interface index the TAP had.
    pub ifindex: u32,
    /// Its set elements.
    pub elements: Vec<Element>,
    /// Its proxy entries.
    pub proxies: Vec<Proxy>,
}

/// The host answers neighbour solicitations for this address on this uplink.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proxy {
    /// The VM's address.
    pub address: Ipv6Addr,
    /// The uplink's name.
    pub uplink: IfName,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.address, self.uplink)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ifindex {}", self.ifindex)?;
        for element in &self.elements {
            writeln!(f, "element {element}")?;
        }
        for proxy in &self.proxies {
            writeln!(f, "proxy {proxy}")?;
        }
        Ok(())
    }
}

/// Why a record's text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?}: not a line of a record")]
pub struct RecordError {
    /// From 1; 0 when `ifindex` is missing.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl FromStr for Record {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let mut ifindex = None;
        let mut record = Self {
            ifindex: 0,
            elements: Vec::new(),
            proxies: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let refused = || RecordError {
                line: number + 1,
                text: line.to_owned(),
            };
            let (word, rest) = line.split_once(' ').ok_or_else(refused)?;
            match word {
                "ifindex" => ifindex = Some(rest.parse().map_err(|_| refused())?),
                "element" => record.elements.push(rest.parse().map_err(|_| refused())?),
                "proxy" => {
                    let (address, uplink) = rest.split_once(" dev ").ok_or_else(refused)?;
                    record.proxies.push(Proxy {
                        address: address.parse().map_err(|_| refused())?,
                        uplink: uplink.parse().map_err(|_| refused())?,
                    });
                }
                _ => return Err(refused()),
            }
        }
        record.ifindex = ifindex.ok_or(RecordError {
            line: 0,
            text: text.to_owned(),
        })?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let text = "ifindex 12\nelement inet snf routed { \"tap1\" }\nproxy 2001:db8::2 dev eth1\n";
        let record: Record = text.parse().unwrap();
        assert_eq!(record.ifindex, 12);
        assert_eq!(record.to_string(), text);
    }

    #[test]
    fn a_torn_or_foreign_file_is_refused() {
        for text in [
            "",
            "ifindex x\n",
            "proxy 2001:db8::2 dev eth1\n",
            "ifindex 1\nelement inet snf rou",
        ] {
            assert!(text.parse::<Record>().is_err(), "{text:?}");
        }
    }
}
