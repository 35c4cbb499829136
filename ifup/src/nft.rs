//! The constant rules that isolate NICs, and the elements that say for whom they hold.
//!
//! Three tables named `snf`: `bridge` for `private-filtered`, `inet` for routed NICs, `arp` for the host's own requests.
//! However many NICs there are, a packet meets the same few rules, and a NIC coming up changes a handful of elements.
//! All of it is idempotent: the rules are added with the chains flushed in the same transaction, so that calls that run
//! at the same moment end with the same tables, whoever comes last.

use std::net::Ipv6Addr;

use nix::errno::Errno;
use snf_nft::{
    Chain, DataType, Element as NftElement, Family, Field, Hook, Lookup, Operation, Relation, Rule,
    Selector, Set, Socket, Source, Statement, Table, Transaction, Value, Verdict, Writable,
};

use crate::element::{Element, NETWORK_MASK, OWN_MASK};
use crate::request::IfName;

/// What goes wrong with nf_tables.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The kernel refuses, or has no nf_tables.
    #[error(transparent)]
    Nft(#[from] snf_nft::Error),
    /// An interface's name that nf_tables does not take.
    #[error("{0}: not a name for nf_tables")]
    Name(String),
}

/// A connection to nf_tables in the calling thread's network namespace.
pub struct Nft(Socket);

const NAME: &str = "snf";
/// An empty chain: its name says which version of the rules stands. Count it up with every change to [`rules`].
const REVISION: &str = "rules_1";
/// Before nfdhcpd's redirect (−300): a spoofed request is nobody's request.
const BEFORE_REDIRECT: i32 = -310;
/// Behind nfdhcpd's queues (−310): a VM whose address has changed is answered before its old one is dropped.
const BEHIND_QUEUES: i32 = -140;
const FILTER: i32 = 0;
/// How often a transaction is tried that another one got in the way of.
const TRIES: usize = 5;

impl Nft {
    /// Opens the connection.
    ///
    /// # Errors
    /// No socket.
    pub fn open() -> Result<Self, NftError> {
        Ok(Self(Socket::open()?))
    }

    /// Whether our tables stand, with the rules of this version and none of them flushed.
    ///
    /// # Errors
    /// The kernel cannot list them.
    pub fn is_installed(&mut self) -> Result<bool, NftError> {
        for part in rules() {
            let standing = self.0.chains(&part.table)?;
            let stands = |chain: &Chain, rules: usize| {
                standing
                    .iter()
                    .any(|found| found.chain == chain.name && found.rules == rules)
            };
            if !part
                .chains
                .iter()
                .all(|(chain, rules)| stands(chain, rules.len()))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes the tables, or brings their rules to this version; elements stay.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn install(&mut self) -> Result<(), NftError> {
        self.commit(&operations())
    }

    /// Whether the element stands: for one with a value, with that value.
    ///
    /// # Errors
    /// The kernel cannot look it up.
    pub fn has(&mut self, element: &Element) -> Result<bool, NftError> {
        let (table, set, nft) = place(element)?;
        let Some(found) = self.0.element(&table, set, &nft)? else {
            return Ok(false);
        };
        Ok(match element {
            Element::Gateway(_, ip) => found.value.as_deref() == Some(ip.octets().as_slice()),
            Element::Filtered(_)
            | Element::Source(..)
            | Element::Network(..)
            | Element::OwnPrefix(..)
            | Element::Routed(_)
            | Element::Source4(..)
            | Element::Source6(..) => true,
        })
    }

    /// Removes and adds elements, all or none.
    ///
    /// # Errors
    /// The kernel refuses; then nothing has changed.
    pub fn change(&mut self, delete: &[Element], add: &[Element]) -> Result<(), NftError> {
        let mut operations = Vec::with_capacity(delete.len() + add.len());
        for element in delete {
            let (table, set, nft) = place(element)?;
            let set = set.to_owned();
            operations.push(Operation::DeleteElements {
                table,
                set,
                elements: vec![nft],
            });
        }
        for element in add {
            let (table, set, nft) = place(element)?;
            let set = set.to_owned();
            operations.push(Operation::AddElements {
                table,
                set,
                elements: vec![nft],
            });
        }
        self.commit(&operations)
    }

    /// Another program's transaction may get between: `EBUSY` and `EINTR` say try again (`ERESTART` never leaves the
    /// kernel).
    fn commit(&mut self, operations: &[Operation]) -> Result<(), NftError> {
        for _ in 1..TRIES {
            let transaction: Transaction = operations.iter().collect();
            match self.0.commit(transaction) {
                Err(error) if matches!(error.errno(), Some(Errno::EBUSY | Errno::EINTR)) => {}
                other => return Ok(other?),
            }
        }
        Ok(self.0.commit(operations.iter().collect())?)
    }
}

/// The script that makes the tables, as nft reads it.
#[must_use]
pub fn script() -> String {
    operations()
        .iter()
        .map(|operation| format!("{operation}\n"))
        .collect()
}

/// One table of ours: its sets, and its chains with their rules.
struct Part {
    table: Table,
    sets: Vec<Set>,
    chains: Vec<(Chain, Vec<Rule>)>,
}

fn operations() -> Vec<Operation> {
    let mut operations = Vec::new();
    for Part {
        table,
        sets,
        chains,
    } in rules()
    {
        operations.push(Operation::AddTable {
            table: table.clone(),
            owned: false,
        });
        for set in sets {
            operations.push(Operation::AddSet(table.clone(), set));
        }
        for (chain, _) in &chains {
            operations.push(Operation::AddChain(table.clone(), chain.clone()));
        }
        for (chain, _) in &chains {
            operations.push(Operation::FlushChain(table.clone(), chain.name.clone()));
        }
        for (chain, rules) in chains {
            for rule in rules {
                let chain = chain.name.clone();
                operations.push(Operation::AddRule {
                    table: table.clone(),
                    chain,
                    rule,
                });
            }
        }
    }
    operations
}

fn rules() -> [Part; 3] {
    [bridge(), inet(), arp()]
}

fn bridge() -> Part {
    let pair = [DataType::IfName, DataType::EtherAddr];
    let masked = |mask: nfdhcpd_binding::MacAddr| {
        let mask = Value::Ether(mask.octets());
        Selector::ConcatMasked(Field::OifName, Field::EtherSaddr, mask)
    };
    Part {
        table: Table::new(Family::Bridge, NAME),
        sets: vec![
            Set::new("filtered", &[DataType::IfName]),
            Set::new("source", &pair),
            Set::new("network", &pair),
            Set::new("own_prefix", &pair),
        ],
        chains: vec![
            (Chain::regular(REVISION), Vec::new()),
            (
                Chain::base("from_tap", Hook::Prerouting, BEFORE_REDIRECT),
                vec![Rule::new([
                    is_in(Field::IifName, "filtered"),
                    is_not_in(
                        Selector::Concat(vec![Field::IifName, Field::EtherSaddr]),
                        "source",
                    ),
                    Statement::Counter,
                    Statement::Verdict(Verdict::Drop),
                ])],
            ),
            (
                // nfdhcpd's own frames do not come by here: it sends on the TAP, below the bridge.
                Chain::base("to_tap", Hook::Postrouting, FILTER),
                vec![Rule::new([
                    is_in(Field::OifName, "filtered"),
                    is_not_in(masked(NETWORK_MASK), "network"),
                    is_not_in(masked(OWN_MASK), "own_prefix"),
                    Statement::Counter,
                    Statement::Verdict(Verdict::Drop),
                ])],
            ),
        ],
    }
}

fn inet() -> Part {
    let v4 = Statement::is(Field::NfProto, Value::NfProto(libc::NFPROTO_IPV4 as u8));
    let v6 = Statement::is(Field::NfProto, Value::NfProto(libc::NFPROTO_IPV6 as u8));
    let leave = Statement::Verdict(Verdict::Return);
    let pair = |field| Selector::Concat(vec![Field::IifName, field]);
    let rule = |statements: &[Statement]| Rule::new(statements.to_vec());
    let own4 = is_in(pair(Field::IpSaddr), "source4");
    let own6 = is_in(pair(Field::Ip6Saddr), "source6");
    let link_local = Value::Ipv6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0));
    Part {
        table: Table::new(Family::Inet, NAME),
        sets: vec![
            Set::new("routed", &[DataType::IfName]),
            Set::new("source4", &[DataType::IfName, DataType::Ipv4Addr]),
            Set::new("source6", &[DataType::IfName, DataType::Ipv6Addr]),
        ],
        chains: vec![
            (Chain::regular(REVISION), Vec::new()),
            (
                Chain::regular("check_source"),
                vec![
                    rule(&[v4.clone(), own4, leave.clone()]),
                    rule(&[v6.clone(), own6, leave.clone()]),
                    rule(&[
                        v6.clone(),
                        Statement::Prefix(Field::Ip6Saddr, Relation::Is, link_local, 10),
                        leave.clone(),
                    ]),
                    // A VM without an address asks for one: DHCP; duplicate address detection, RS, MLD.
                    rule(&[
                        v4,
                        Statement::is(Field::IpSaddr, Value::Ipv4(std::net::Ipv4Addr::UNSPECIFIED)),
                        Statement::is(Field::L4Proto, Value::InetProto(libc::IPPROTO_UDP as u8)),
                        Statement::is(Field::ThSport, Value::Port(68)),
                        Statement::is(Field::ThDport, Value::Port(67)),
                        leave.clone(),
                    ]),
                    rule(&[
                        v6,
                        Statement::is(Field::Ip6Saddr, Value::Ipv6(Ipv6Addr::UNSPECIFIED)),
                        Statement::is(Field::L4Proto, Value::InetProto(libc::IPPROTO_ICMPV6 as u8)),
                        leave,
                    ]),
                    Rule::new([Statement::Counter, Statement::Verdict(Verdict::Drop)]),
                ],
            ),
            (
                Chain::base("from_tap", Hook::Prerouting, BEHIND_QUEUES),
                vec![Rule::new([
                    is_in(Field::IifName, "routed"),
                    Statement::Verdict(Verdict::Jump("check_source".to_owned())),
                ])],
            ),
        ],
    }
}

/// The host asks for a VM's hardware address in the gateway's name: the VM may know no other of its addresses.
fn arp() -> Part {
    Part {
        table: Table::new(Family::Arp, NAME),
        sets: vec![Set::map("gateway", &[DataType::IfName], DataType::Ipv4Addr)],
        chains: vec![
            (Chain::regular(REVISION), Vec::new()),
            (
                Chain::base("to_tap", Hook::Output, FILTER),
                vec![Rule::new([
                    Statement::is(Field::ArpOperation, Value::ArpOp(1)),
                    Statement::Set(
                        Writable::ArpSaddrIp,
                        Source::Map(Field::OifName.into(), "gateway".to_owned()),
                    ),
                ])],
            ),
        ],
    }
}

fn is_in(selector: impl Into<Selector>, set: &str) -> Statement {
    Statement::InSet(selector.into(), Relation::Is, Lookup::Named(set.to_owned()))
}

fn is_not_in(selector: Selector, set: &str) -> Statement {
    Statement::InSet(selector, Relation::IsNot, Lookup::Named(set.to_owned()))
}

/// Where an element is, and its key and value.
fn place(element: &Element) -> Result<(Table, &'static str, NftElement), NftError> {
    let tap = name(element.tap())?;
    let ether = |mac: &nfdhcpd_binding::MacAddr| Value::Ether(mac.octets());
    let (family, set, nft) = match element {
        Element::Filtered(_) => (Family::Bridge, "filtered", NftElement::new([tap])),
        Element::Source(_, mac) => (Family::Bridge, "source", NftElement::new([tap, ether(mac)])),
        Element::Network(_, mac) => (
            Family::Bridge,
            "network",
            NftElement::new([tap, ether(mac)]),
        ),
        Element::OwnPrefix(_, mac) => (
            Family::Bridge,
            "own_prefix",
            NftElement::new([tap, ether(mac)]),
        ),
        Element::Routed(_) => (Family::Inet, "routed", NftElement::new([tap])),
        Element::Source4(_, ip) => (
            Family::Inet,
            "source4",
            NftElement::new([tap, Value::Ipv4(*ip)]),
        ),
        Element::Source6(_, ip) => (
            Family::Inet,
            "source6",
            NftElement::new([tap, Value::Ipv6(*ip)]),
        ),
        Element::Gateway(_, ip) => (
            Family::Arp,
            "gateway",
            NftElement::with_value([tap], Value::Ipv4(*ip)),
        ),
    };
    Ok((Table::new(family, NAME), set, nft))
}

fn name(tap: &IfName) -> Result<Value, NftError> {
    let name = tap
        .as_str()
        .parse()
        .map_err(|_| NftError::Name(tap.to_string()))?;
    Ok(Value::IfName(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The set an element prints is the set it goes to.
    #[test]
    fn elements_go_where_their_text_says() {
        let tap: IfName = "tap0".parse().unwrap();
        let mac = "aa:00:77:51:ad:bc".parse().unwrap();
        for element in [
            Element::Filtered(tap.clone()),
            Element::Source(tap.clone(), mac),
            Element::network(&tap, [0xaa, 0, 0x77]),
            Element::own_prefix(&tap, mac),
            Element::Routed(tap.clone()),
            Element::Source4(tap.clone(), "10.0.0.2".parse().unwrap()),
            Element::Source6(tap.clone(), "2001:db8::2".parse().unwrap()),
            Element::Gateway(tap, "10.0.0.1".parse().unwrap()),
        ] {
            let (table, set, nft) = place(&element).unwrap();
            assert_eq!(format!("{table} {set} {{ {nft} }}"), element.to_string());
        }
    }
}
