//! Which tables, chains and rules bring the packets of served TAPs into the queues. Pure; `rules` has the kernel take it.
//!
//! The number of rules does not depend on the number of TAPs: a TAP is elements of maps (`rules::tap`).
//!
//! ```text
//! bridge prerouting −300           inet prerouting −310
//!   udp 67 ─► dhcpv4 ┐ in the map?    udp 67 ─► dhcpv4 ┬ marked by the bridge table ────────┐
//!   udp 547 ► dhcpv6 ├ mark            …               └ in the map? mark ► take: policer ──┴► queue
//!   rs ─────► rs     │ take: policer
//!   ns ─────► ns     ┘ to the TAP's own address, which the bridge takes for its host's
//! ```

use snf_nft::{
    Chain, DataType, Family, Field, Hook, IfName, Limit, Lookup, Operation, PktType, Queue,
    Relation, Rule, Selector, Set, Source, Statement, Table, Target, Value, Verdict, VerdictLookup,
    Writable,
};
use std::time::Duration;

use crate::config::{Absent, Queues, Rate};
use crate::wire::Protocol;

/// The name of both our tables.
pub const TABLE: &str = "nfdhcpd";
/// Map of the bridge table: the TAP's own hardware address, by its name.
pub const TAP_MAC: &str = "tap_mac";
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
        let marked = Statement::Set(Writable::Mark, Source::Map(key, word(protocol).to_owned()));
        let taken = Statement::Verdict(Verdict::Goto(take(protocol)));
        chains.push((
            Chain::regular(word(protocol)),
            vec![
                Rule::new([
                    Statement::is(Field::EtherType, ether_type(protocol)),
                    marked.clone(),
                    taken.clone(),
                ])
                .comment("of a served TAP"),
                Rule::new([
                    Statement::InSet(Field::EtherType.into(), Relation::Is, tagged),
                    Statement::Match(Selector::VlanId, Relation::Is, Value::EtherType(0)),
                    Statement::is(Field::Protocol, ether_type(protocol)),
                    marked,
                    taken,
                ])
                .comment("with a priority tag; in a VLAN of the VM's own it is not ours"),
            ],
        ));
        let addressed = Statement::Set(
            Writable::EtherDaddr,
            Source::Map(Field::IifName.into(), TAP_MAC.to_owned()),
        );
        chains.push((
            Chain::regular(&take(protocol)),
            vec![
                Rule::new([
                    within(protocol, settings.rate),
                    addressed.clone(),
                    Statement::Set(
                        Writable::PktType,
                        Source::Value(Value::PktType(PktType::Host)),
                    ),
                    Statement::Verdict(Verdict::Accept),
                ])
                .comment("the bridge takes it for its host's own"),
                Rule::new([
                    addressed,
                    Statement::CounterNamed(policed(protocol)),
                    Statement::Verdict(Verdict::Drop),
                ])
                .comment("over the rate"),
                Rule::new([
                    Statement::CounterNamed(ADDRESSLESS.to_owned()),
                    Statement::Verdict(Verdict::Drop),
                ])
                .comment("the TAP's address is not known yet"),
            ],
        ));
    }
    finish(bridge_table(), settings, sets, counters, chains)
}

fn inet(settings: &Settings, queueing: Queueing) -> TablePlan {
    let mut sets: Vec<Set> = PROTOCOLS
        .map(|protocol| Set::map(word(protocol), &[DataType::IfName], DataType::Mark))
        .into();
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
        let (to_queue, shards) = queueing_statement(protocol, first, settings, queueing);
        let ours = Selector::Masked(Field::Mark, Value::Mark(settings.mark.mask()));
        chains.push((
            Chain::regular(word(protocol)),
            vec![
                Rule::new([
                    Statement::Match(ours, Relation::Is, Value::Mark(settings.mark.base())),
                    // A mark of this pattern on other devices is somebody else's.
                    Statement::is(Field::IifKind, Value::IfName(IfName::KIND_BRIDGE)),
                    to_queue.clone(),
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
                Rule::new([within(protocol, settings.rate), to_queue.clone()]),
                Rule::new([
                    Statement::CounterNamed(policed(protocol)),
                    Statement::Verdict(Verdict::Drop),
                ])
                .comment("over the rate"),
            ],
        ));
        chains.extend(shards);
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

/// What brings a packet to the queue of its shard, the same for all of a TAP; and the chains this needs.
fn queueing_statement(
    protocol: Protocol,
    first: u16,
    settings: &Settings,
    queueing: Queueing,
) -> (Statement, Vec<(Chain, Vec<Rule>)>) {
    let queue = |number: u16| {
        let queue = Queue {
            number,
            bypass: settings.on_absent == Absent::Pass,
        };
        match queueing {
            Queueing::Native => Statement::Queue(queue),
            Queueing::Target => Statement::Target(Target::Nfqueue(queue)),
        }
    };
    if settings.queues.shards <= 1 {
        return (queue(first), Vec::new());
    }
    let shard = |shard: u16| format!("queue_{}_{shard}", word(protocol));
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
    let chains = (0..settings.queues.shards)
        .map(|number| {
            (
                Chain::regular(&shard(number)),
                vec![Rule::new([queue(first.saturating_add(number))])],
            )
        })
        .collect();
    (
        Statement::Vmap(hash, VerdictLookup::Anonymous(branches)),
        chains,
    )
}

/// Matches while the TAP is within its rate.
fn within(protocol: Protocol, rate: Rate) -> Statement {
    Statement::UpdateLimit {
        set: rate_name(protocol),
        key: Field::Iif.into(),
        limit: Limit {
            per_second: rate.per_second,
            burst: rate.burst,
            over: false,
        },
    }
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

const fn ether_type(protocol: Protocol) -> Value {
    match protocol {
        Protocol::Dhcpv4 => Value::EtherType(0x0800),
        Protocol::RouterSolicitation | Protocol::NeighborSolicitation | Protocol::Dhcpv6 => {
            Value::EtherType(0x86dd)
        }
    }
}
