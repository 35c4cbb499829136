//! Which elements a served TAP has in the maps. Pure.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use nfdhcpd_binding::MacAddr;
use snf_nft::{DataType, Element, ElementKey, ElementValue, IfName, Operation, Table, Value};

use super::plan::{Mark, PROTOCOLS, TAP_MAC, bridge_table, inet_table, word};
use crate::wire::Protocol;

/// A TAP whose packets are to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedTap {
    /// Its name.
    pub name: IfName,
    /// Its interface index; 0 while it does not exist: its packets are taken and dropped as soon as it does.
    pub ifindex: u32,
    /// How it is a port of a bridge; `None` for a routed TAP and for one that does not exist.
    pub port: Option<BridgePort>,
    /// What is taken. Neighbour solicitations: all of a routed TAP; of a bridged one, those for `ns_targets`.
    pub protocols: Protocols,
    /// The addresses this host answers for when a bridged VM solicits them.
    pub ns_targets: Box<[Ipv6Addr]>,
}

/// How a TAP is a port of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgePort {
    /// The bridge's name.
    pub bridge: IfName,
    /// The bridge's interface index.
    pub bridge_ifindex: u32,
    /// The TAP's own hardware address, on the host's side: frames to it the bridge gives to the host.
    pub mac: MacAddr,
}

/// Protocols that are taken from a TAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocols {
    /// UDP to port 67.
    pub dhcpv4: bool,
    /// Router solicitations.
    pub rs: bool,
    /// Neighbour solicitations.
    pub ns: bool,
    /// UDP to port 547.
    pub dhcpv6: bool,
}

impl Protocols {
    /// All four.
    pub const ALL: Self = Self {
        dhcpv4: true,
        rs: true,
        ns: true,
        dhcpv6: true,
    };

    /// Whether the protocol is among them.
    #[must_use]
    pub const fn contains(self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Dhcpv4 => self.dhcpv4,
            Protocol::RouterSolicitation => self.rs,
            Protocol::NeighborSolicitation => self.ns,
            Protocol::Dhcpv6 => self.dhcpv6,
        }
    }
}

/// Which of our tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum In {
    Bridge,
    Inet,
}

impl In {
    pub(super) fn table(self) -> Table {
        match self {
            Self::Bridge => bridge_table(),
            Self::Inet => inet_table(),
        }
    }
}

/// Elements with their values, by table, map and key.
pub(super) type Elements = BTreeMap<(In, &'static str, Vec<Value>), Value>;

/// Adds the elements of a TAP. They are the same for a bridged and a routed one, but for its address: so a TAP that is
/// moved into a bridge, or that only now comes to be, is never without rules.
pub(super) fn elements(tap: &ServedTap, mark: Mark, out: &mut Elements) {
    let name = Value::IfName(tap.name);
    // An index that does not fit is no TAP's the daemon could find: its packets are taken, and dropped.
    let mark = Value::Mark(mark.of(tap.ifindex).unwrap_or(mark.base()));
    for protocol in PROTOCOLS {
        if tap.protocols.contains(protocol) {
            out.insert((In::Inet, word(protocol), vec![name]), mark);
            if protocol != Protocol::NeighborSolicitation {
                out.insert((In::Bridge, word(protocol), vec![name]), mark);
            }
        }
    }
    for target in &*tap.ns_targets {
        let key = vec![name, Value::Ipv6(*target)];
        out.insert(
            (In::Bridge, word(Protocol::NeighborSolicitation), key),
            mark,
        );
    }
    if let Some(port) = tap.port {
        out.insert(
            (In::Bridge, TAP_MAC, vec![name]),
            Value::Ether(port.mac.octets()),
        );
    }
}

/// The deletions and additions that make the old elements the new ones.
pub(super) fn changes(old: &Elements, new: &Elements) -> Vec<Operation> {
    let mut operations = Vec::new();
    let differs = |other: &Elements, key, value| other.get(key) != Some(value);
    for (table, set, elements) in grouped(old.iter().filter(|(key, v)| differs(new, *key, *v))) {
        operations.push(Operation::DeleteElements {
            table,
            set,
            elements,
        });
    }
    for (table, set, elements) in grouped(new.iter().filter(|(key, v)| differs(old, *key, *v))) {
        operations.push(Operation::AddElements {
            table,
            set,
            elements,
        });
    }
    operations
}

type Entry<'a> = (&'a (In, &'static str, Vec<Value>), &'a Value);

fn grouped<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<(Table, String, Vec<Element>)> {
    let mut groups: BTreeMap<(In, &str), Vec<Element>> = BTreeMap::new();
    for ((table, set, key), value) in entries {
        let element = Element::with_value(key.clone(), *value);
        groups.entry((*table, set)).or_default().push(element);
    }
    groups
        .into_iter()
        .map(|((table, set), elements)| (table.table(), set.to_owned(), elements))
        .collect()
}

/// An element the kernel has, read by the types of its set; `None` when it is not of these types.
pub(super) fn read(
    found: &ElementKey,
    key: &[DataType],
    value: Option<DataType>,
) -> Option<Element> {
    let key = found.parts(key)?;
    Some(match value {
        None => Element::new(key),
        Some(value) => Element {
            value: Some(ElementValue::Value(Value::read(
                value,
                found.value.as_deref()?,
            )?)),
            ..Element::new(key)
        },
    })
}
