//! Which tables, chains and rules bring the packets of served TAPs into the queues. Pure; `rules` has the kernel take it.
//!
//! The number of rules does not depend on the number of TAPs: a TAP is elements of maps (`rules::tap`).
//!
//! ```text
//! bridge prerouting −300           inet prerouting −310
//!   udp 67 ─► dhcpv4 ┐ in the map?    udp 67 ─► dhcpv4 ┬ marked by the bridge table ────────┐
//!   udp 547 ► dhcpv6 ├ mark            …               └ in the map? mark ► take: policer ──┴► queue
//!   rs ─────► rs     │ take: policer
//!   ns ─────► ns     ┘ deliver: to the TAP's own address, which the bridge takes for its host's
//! ```

use snf_nft::{
    Chain, DataType, Family, Field, Hook, Limit, Lookup, Operation, PktType, Queue, Relation, Rule,
    Selector, Set, Source, Statement, Table, Target, Value, Verdict, VerdictLookup, Writable,
};
use std::time::Duration;

use crate::config::{Absent, Queues, Rate};
use crate::wire::Protocol;

/// The name of both our tables.
pub const TABLE: &str = "nfdhcpd";
/// Map of the bridge table: the TAP's own hardware address, by its name.
pub const TAP_MAC: &str = "tap_mac";
/// Set of the inet table: bridges that have served TAPs as ports.
pub const BRIDGES: &str = "bridges";
/// Set of the bridge table: bridges whose `nf_call_ip6tables` we turned on.
pub const CALLS_IP6: &str = "nf_call_ip6";
/// Counter of the bridge table: packets dropped because their TAP's address is not known (yet).
pub const ADDRESSLESS: &str = "addressless";

/// Before other programs' bridge rules: what is taken here never was on the LAN (`NF_BR_PRI_NAT_DST_BRIDGED`).
const BRIDGE_PRIORITY: i32 = -300;
/// After defragmentation (−400), before others' rules of priority raw (−300), whose reverse path filters drop requests
/// that come from no address, and before connection tracking (−200), which need not know of them.
const INET_PRIORITY: i32 = -310;

/// All protocols, in the order of their queues' default numbers.
pub const PROTOCOLS: [Protocol; 4] = [
    Protocol::Dhcpv4,
    Protocol::RouterSolicitation,
    Protocol::NeighborSolicitation,
    Protocol::Dhcpv6,
];

/// The packet mark that names a TAP: a fixed pattern in the high bits, the interface index below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    base: u32,
}

impl Mark {
    /// The pattern, unless other software on the host uses bit 30: 0x40000000.
    pub const DEFAULT: Self = Self { base: 0x4000_0000 };

    /// The mark with this pattern; `None` unless at least 24 low bits are left for the interface index.
    #[must_use]
    pub const fn new(base: u32) -> Option<Self> {
        if base != 0 && base.trailing_zeros() >= 24 {
            Some(Self { base })
        } else {
            None
        }
    }

    /// The bits that are the pattern, set or not.
    #[must_use]
    pub const fn mask(self) -> u32 {
        !((1 << self.base.trailing_zeros()) - 1)
    }

    /// The pattern.
    #[must_use]
    pub const fn base(self) -> u32 {
        self.base
    }

    /// The mark of a TAP's packets; `None` when its index does not fit.
    #[must_use]
    pub const fn of(self, ifindex: u32) -> Option<u32> {
        if ifindex & self.mask() == 0 {
            Some(self.base | ifindex)
        } else {
            None
        }
    }

    /// The interface index in a mark, 0 for a TAP that did not exist; `None` when the mark is not ours.
    #[must_use]
    pub const fn ifindex(self, mark: u32) -> Option<u32> {
        if mark & self.mask() == self.base {
            Some(mark & !self.mask())
        } else {
            None
        }
    }
}

/// What the rules depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Where the packets go.
    pub queues: Queues,
    /// How many of them, per TAP and protocol.
    pub rate: Rate,
    /// What becomes of them while nobody listens.
    pub on_absent: Absent,
    /// How they name their TAP.
    pub mark: Mark,
}

/// How the kernel queues packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queueing {
    /// The nft expression.
    Native,
    /// The xtables target, through nft_compat.
    Target,
}

/// The word for a protocol in names of maps, chains and counters, and in metrics.
#[must_use]
pub const fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Dhcpv4 => "dhcpv4",
        Protocol::RouterSolicitation => "rs",
        Protocol::NeighborSolicitation => "ns",
        Protocol::Dhcpv6 => "dhcpv6",
    }
}

/// The counter of packets over the rate, in both tables.
#[must_use]
pub fn policed(protocol: Protocol) -> String {
    format!("policed_{}", word(protocol))
}

/// The table of family bridge.
#[must_use]
pub fn bridge_table() -> Table {
    Table::new(Family::Bridge, TABLE)
}

/// The table of family inet.
#[must_use]
pub fn inet_table() -> Table {
    Table::new(Family::Inet, TABLE)
}

/// A table's parts, in the order in which they have to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// The table.
    pub table: Table,
    /// It goes with the daemon's socket.
    pub owned: bool,
    /// Its sets and maps.
    pub sets: Vec<Set>,
    /// Its counters.
    pub counters: Vec<String>,
    /// Its chains with their rules.
    pub chains: Vec<(Chain, Vec<Rule>)>,
}

impl TablePlan {
    /// The operations that make the table, without elements.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        let table = || self.table.clone();
        let mut operations = vec![Operation::AddTable {
            table: table(),
            owned: self.owned,
        }];
        operations.extend(
            self.sets
                .iter()
                .map(|set| Operation::AddSet(table(), set.clone())),
        );
        operations.extend(
            self.counters
                .iter()
                .map(|counter| Operation::AddCounter(table(), counter.clone())),
        );
        operations.extend(
            self.chains
                .iter()
                .map(|(chain, _)| Operation::AddChain(table(), chain.clone())),
        );
        for (chain, rules) in &self.chains {
            operations.extend(rules.iter().map(|rule| Operation::AddRule {
                table: table(),
                chain: chain.name.clone(),
                rule: rule.clone(),
            }));
        }
        operations
    }
}

/// Both tables.
#[must_use]
pub fn tables(settings: &Settings, queueing: Queueing) -> [TablePlan; 2] {
    [bridge(settings), inet(settings, queueing)]
}

fn bridge(settings: &Settings) -> TablePlan {
    let mut sets = vec![
        Set::map(TAP_MAC, &[DataType::IfName], DataType::EtherAddr),
        Set::new(CALLS_IP6, &[DataType::IfName]),
    ];
    sets.extend(PROTOCOLS.map(|protocol| match protocol {
        // A bridged VM's solicitations go to its neighbours, but for the addresses this host answers for.
        Protocol::NeighborSolicitation => Set::map(
            word(protocol),
            &[DataType::IfName, DataType::Ipv6Addr],
            DataType::Mark,
        ),
        Protocol::Dhcpv4 | Protocol::RouterSolicitation | Protocol::Dhcpv6 => {
            Set::map(word(protocol), &[DataType::IfName], DataType::Mark)
        }
    }));
    sets.extend(PROTOCOLS.map(rate_set));
    let mut counters: Vec<String> = PROTOCOLS.map(policed).into();
    counters.push(ADDRESSLESS.to_owned());
    let mut chains = entrance(BRIDGE_PRIORITY);
    for protocol in PROTOCOLS {
        let key = match protocol {
            Protocol::NeighborSolicitation => {
                Selector::Concat(vec![Field::IifName, Field::NdTarget])
            }
            Protocol::Dhcpv4 | Protocol::RouterSolicitation | Protocol::Dhcpv6 => {
                Field::IifName.into()
            }
        };
        let tagged = Lookup::Anonymous(vec![Value::EtherType(0x8100), Value::EtherType(0x88a8)]);
        chains.push((
            Chain::regular(word(protocol)),
            vec![
                Rule::new([
                    Statement::InSet(Field::EtherType.into(), Relation::Is, tagged),
                    Statement::Match(Selector::VlanId, Relation::IsNot, Value::EtherType(0)),
                    Statement::Verdict(Verdict::Return),
                ])
                .comment("in a VLAN of the VM's own: not ours"),
                Rule::new([
                    Statement::is(Field::Protocol, ether_type(protocol)),
                    Statement::Set(Writable::Mark, Source::Map(key, word(protocol).to_owned())),
                    Statement::Verdict(Verdict::Goto(take(protocol))),
                ])
                .comment("of a served TAP"),
            ],
        ));
        chains.push((
            Chain::regular(&take(protocol)),
            vec![policer(protocol, settings.rate), goto("deliver")],
        ));
    }
    chains.push((
        Chain::regular("deliver"),
        vec![
            Rule::new([
                Statement::Set(
                    Writable::EtherDaddr,
                    Source::Map(Field::IifName.into(), TAP_MAC.to_owned()),
                ),
                Statement::Set(
                    Writable::PktType,
                    Source::Value(Value::PktType(PktType::Host)),
                ),
                Statement::Verdict(Verdict::Accept),
            ])
            .comment("the bridge takes it for its host's own"),
            Rule::new([
                Statement::CounterNamed(ADDRESSLESS.to_owned()),
                Statement::Verdict(Verdict::Drop),
            ])
            .comment("the TAP's address is not known yet"),
        ],
    ));
    finish(bridge_table(), settings, sets, counters, chains)
}

fn inet(settings: &Settings, queueing: Queueing) -> TablePlan {
    let mut sets = vec![Set::new(BRIDGES, &[DataType::IfName])];
    sets.extend(
        PROTOCOLS.map(|protocol| Set::map(word(protocol), &[DataType::IfName], DataType::Mark)),
    );
    sets.extend(PROTOCOLS.map(rate_set));
    let counters = PROTOCOLS.map(policed).into();
    let mut chains = entrance(INET_PRIORITY);
    for (protocol, first) in settings.queues.first() {
        let nfproto = match protocol {
            Protocol::Dhcpv4 => Value::NfProto(2),
            Protocol::RouterSolicitation | Protocol::NeighborSolicitation | Protocol::Dhcpv6 => {
                Value::NfProto(10)
            }
        };
        let ours = Selector::Masked(Field::Mark, Value::Mark(settings.mark.mask()));
        chains.push((
            Chain::regular(word(protocol)),
            vec![
                Rule::new([
                    Statement::Match(ours, Relation::Is, Value::Mark(settings.mark.base())),
                    Statement::InSet(
                        Field::IifName.into(),
                        Relation::Is,
                        Lookup::Named(BRIDGES.to_owned()),
                    ),
                    Statement::Verdict(Verdict::Goto(queue_chain(protocol))),
                ])
                .comment("of a bridged TAP: marked and policed by the bridge table"),
                Rule::new([
                    Statement::is(Field::NfProto, nfproto),
                    Statement::Set(
                        Writable::Mark,
                        Source::Map(Field::IifName.into(), word(protocol).to_owned()),
                    ),
                    Statement::Verdict(Verdict::Goto(take(protocol))),
                ])
                .comment("of a routed TAP"),
            ],
        ));
        chains.push((
            Chain::regular(&take(protocol)),
            vec![
                policer(protocol, settings.rate),
                goto(&queue_chain(protocol)),
            ],
        ));
        chains.extend(queue_chains(protocol, first, settings, queueing));
    }
    finish(inet_table(), settings, sets, counters, chains)
}

/// Chains that jump stand behind those they jump to only in the rules, which are made last.
fn finish(
    table: Table,
    settings: &Settings,
    sets: Vec<Set>,
    counters: Vec<String>,
    chains: Vec<(Chain, Vec<Rule>)>,
) -> TablePlan {
    TablePlan {
        table,
        owned: settings.on_absent == Absent::Pass,
        sets,
        counters,
        chains,
    }
}

/// The base chain and what tells the protocols apart. Other traffic costs two comparisons here, UDP and ICMPv6 four:
/// on this path they are cheaper than one look into a map.
fn entrance(priority: i32) -> Vec<(Chain, Vec<Rule>)> {
    let jump = |l4proto, chain: &str| {
        Rule::new([
            Statement::is(Field::L4Proto, Value::InetProto(l4proto)),
            Statement::Verdict(Verdict::Jump(chain.to_owned())),
        ])
    };
    let branch = |field: Field, value, protocol| {
        Rule::new([
            Statement::is(field, value),
            Statement::Verdict(Verdict::Goto(word(protocol).to_owned())),
        ])
    };
    vec![
        (
            Chain::base("prerouting", Hook::Prerouting, priority),
            vec![jump(17, "to_port"), jump(58, "of_type")],
        ),
        (
            Chain::regular("to_port"),
            vec![
                branch(Field::ThDport, Value::Port(67), Protocol::Dhcpv4),
                branch(Field::ThDport, Value::Port(547), Protocol::Dhcpv6),
            ],
        ),
        (
            Chain::regular("of_type"),
            vec![
                branch(
                    Field::Icmpv6Type,
                    Value::Icmpv6Type(133),
                    Protocol::RouterSolicitation,
                ),
                branch(
                    Field::Icmpv6Type,
                    Value::Icmpv6Type(135),
                    Protocol::NeighborSolicitation,
                ),
            ],
        ),
    ]
}

/// Packets go to the queue of their shard, the same for all of a TAP.
fn queue_chains(
    protocol: Protocol,
    first: u16,
    settings: &Settings,
    queueing: Queueing,
) -> Vec<(Chain, Vec<Rule>)> {
    let queue = |number: u16| {
        let queue = Queue {
            number,
            bypass: settings.on_absent == Absent::Pass,
        };
        let statement = match queueing {
            Queueing::Native => Statement::Queue(queue),
            Queueing::Target => Statement::Target(Target::Nfqueue(queue)),
        };
        vec![Rule::new([statement])]
    };
    if settings.queues.shards <= 1 {
        return vec![(Chain::regular(&queue_chain(protocol)), queue(first))];
    }
    let shard = |shard: u16| format!("{}_{shard}", queue_chain(protocol));
    let branches = (0..settings.queues.shards)
        .map(|number| {
            (
                Value::Number(u32::from(number)),
                Verdict::Goto(shard(number)),
            )
        })
        .collect();
    let hash = Selector::Jhash {
        of: Field::Mark,
        modulus: u32::from(settings.queues.shards),
        // The same for all protocols: a TAP has one shard.
        seed: 1,
    };
    let spread = Rule::new([Statement::Vmap(hash, VerdictLookup::Anonymous(branches))]);
    let mut chains = vec![(Chain::regular(&queue_chain(protocol)), vec![spread])];
    chains.extend((0..settings.queues.shards).map(|number| {
        (
            Chain::regular(&shard(number)),
            queue(first.saturating_add(number)),
        )
    }));
    chains
}

fn policer(protocol: Protocol, rate: Rate) -> Rule {
    let limit = Limit {
        per_second: rate.per_second,
        burst: rate.burst,
        over: true,
    };
    Rule::new([
        Statement::UpdateLimit {
            set: rate_name(protocol),
            key: Field::Iif.into(),
            limit,
        },
        Statement::CounterNamed(policed(protocol)),
        Statement::Verdict(Verdict::Drop),
    ])
}

fn goto(chain: &str) -> Rule {
    Rule::new([Statement::Verdict(Verdict::Goto(chain.to_owned()))])
}

/// One bucket per TAP, gone a minute after its last packet.
fn rate_set(protocol: Protocol) -> Set {
    Set {
        dynamic: true,
        timeout: Some(Duration::from_secs(60)),
        ..Set::new(&rate_name(protocol), &[DataType::IfIndex])
    }
}

fn rate_name(protocol: Protocol) -> String {
    format!("rate_{}", word(protocol))
}

fn take(protocol: Protocol) -> String {
    format!("take_{}", word(protocol))
}

fn queue_chain(protocol: Protocol) -> String {
    format!("queue_{}", word(protocol))
}

const fn ether_type(protocol: Protocol) -> Value {
    match protocol {
        Protocol::Dhcpv4 => Value::EtherType(0x0800),
        Protocol::RouterSolicitation | Protocol::NeighborSolicitation | Protocol::Dhcpv6 => {
            Value::EtherType(0x86dd)
        }
    }
}
