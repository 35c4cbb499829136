//! The parts of a rule: each prints as nft's words and encodes as the kernel's expressions.

use std::fmt;

use crate::attribute::{bytes, nest, text, u32, u64};
use crate::field::{Field, REGISTER, Selector, bitwise};
use crate::uapi::*;
use crate::value::Value;

/// How the packet's value has to stand to the constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// Equal; in the set; within the range.
    Is,
    /// Not equal; not in the set; outside the range.
    IsNot,
}

/// A set to look a value up in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// A set or map of the same table.
    Named(String),
    /// A constant set that belongs to the rule: one key per element.
    Anonymous(Vec<Value>),
}

/// A verdict map to look a value up in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VerdictLookup {
    /// A map of the same table.
    Named(String),
    /// A constant map that belongs to the rule.
    Anonymous(Vec<(Value, Verdict)>),
}

/// Where a packet goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// On, out of this base chain.
    Accept,
    /// Away.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Into the chain, and back behind this rule.
    Jump(String),
    /// Into the chain, and back behind the last jump.
    Goto(String),
}

/// What a rule may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writable {
    /// `meta mark`
    Mark,
    /// `meta pkttype`
    PktType,
    /// `ether daddr`
    EtherDaddr,
    /// `ether saddr`
    EtherSaddr,
    /// `arp saddr ip`
    ArpSaddrIp,
}

/// What it is changed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// This constant.
    Value(Value),
    /// What a map of the table holds for the selector; without an element the rule ends here.
    Map(Selector, String),
    /// The mark with these bits kept, then those set: `meta mark & keep | set`.
    Mark {
        /// Bits that stay.
        keep: u32,
        /// Bits that are set.
        set: u32,
    },
}

/// A token bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Tokens per second.
    pub per_second: u32,
    /// Depth of the bucket.
    pub burst: u32,
    /// True: matches packets over the rate; false: those within.
    pub over: bool,
}

/// The native queue expression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queue {
    /// Number of the NFQUEUE.
    pub number: u16,
    /// Packets go on as accepted while nobody listens.
    pub bypass: bool,
}

/// An xtables target, for kernels without the native expression. It prints as the native one, as `nft list` prints it;
/// nft itself cannot make one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// `NFQUEUE`, revision 3.
    Nfqueue(Queue),
}

/// One part of a rule. A rule's parts are tried in order; the first that does not match ends the rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Statement {
    /// `SELECTOR [!=] VALUE`
    Match(Selector, Relation, Value),
    /// `FIELD [!=] ADDRESS/LENGTH`; hardware addresses as `FIELD & MASK == …`. The address must have no bits beyond it.
    Prefix(Field, Relation, Value, u8),
    /// `FIELD [!=] FROM-TO`, both included. For values in network byte order.
    Range(Field, Relation, Value, Value),
    /// `SELECTOR [!=] @SET` or `{ … }`
    InSet(Selector, Relation, Lookup),
    /// `SELECTOR vmap @MAP` or `{ … }`
    Vmap(Selector, VerdictLookup),
    /// `FIELD set …`
    Set(Writable, Source),
    /// `counter`: belongs to the rule.
    Counter,
    /// `counter name NAME`: an object of the table.
    CounterNamed(String),
    /// `limit rate …`: one bucket for all packets of the rule.
    Limit(Limit),
    /// `update @SET { SELECTOR limit rate … }`: one bucket per element; matches as the limit does.
    UpdateLimit {
        /// The dynamic set.
        set: String,
        /// The key of the element.
        key: Selector,
        /// The element's bucket.
        limit: Limit,
    },
    /// The end of the rule.
    Verdict(Verdict),
    /// `queue`
    Queue(Queue),
    /// An xtables target.
    Target(Target),
}

impl Statement {
    /// `field value`
    #[must_use]
    pub fn is(field: Field, value: Value) -> Self {
        Self::Match(field.into(), Relation::Is, value)
    }

    /// `field != value`
    #[must_use]
    pub fn is_not(field: Field, value: Value) -> Self {
        Self::Match(field.into(), Relation::IsNot, value)
    }

    /// Appends the kernel's expressions. `anonymous` is called for each constant set that belongs to the rule and gives
    /// its transaction-wide number.
    pub(crate) fn encode(
        &self,
        buffer: &mut Vec<u8>,
        anonymous: &mut dyn FnMut(AnonymousSet<'_>) -> u32,
    ) {
        match self {
            Self::Match(selector, relation, value) => {
                selector.load(buffer);
                compare(buffer, *relation, &value.bytes());
            }
            Self::Prefix(field, relation, value, length) => {
                field.load(buffer, REGISTER);
                let value = value.bytes();
                bitwise(
                    buffer,
                    REGISTER,
                    &prefix_mask(value.len(), *length),
                    &vec![0; value.len()],
                );
                compare(buffer, *relation, &value);
            }
            Self::Range(field, relation, from, to) => {
                field.load(buffer, REGISTER);
                expression(buffer, "range", |buffer| {
                    u32(buffer, NFTA_RANGE_SREG, REGISTER);
                    u32(buffer, NFTA_RANGE_OP, relation.number());
                    nest(buffer, NFTA_RANGE_FROM_DATA, |b| {
                        bytes(b, NFTA_DATA_VALUE, &from.bytes());
                    });
                    nest(buffer, NFTA_RANGE_TO_DATA, |b| {
                        bytes(b, NFTA_DATA_VALUE, &to.bytes());
                    });
                });
            }
            Self::InSet(selector, relation, set) => {
                let (name, id) = match set {
                    Lookup::Named(name) => (name.as_str(), None),
                    Lookup::Anonymous(keys) => {
                        ("__set%d", Some(anonymous(AnonymousSet::Keys(keys))))
                    }
                };
                selector.load(buffer);
                lookup(buffer, name, id, None, *relation);
            }
            Self::Vmap(selector, map) => {
                let (name, id) = match map {
                    VerdictLookup::Named(name) => (name.as_str(), None),
                    VerdictLookup::Anonymous(pairs) => (
                        "__map%d",
                        Some(anonymous(AnonymousSet::Verdicts(pairs, selector))),
                    ),
                };
                selector.load(buffer);
                lookup(
                    buffer,
                    name,
                    id,
                    Some(libc::NFT_REG_VERDICT as u32),
                    Relation::Is,
                );
            }
            Self::Set(target, source) => {
                match source {
                    Source::Value(value) => immediate(buffer, REGISTER, |buffer| {
                        bytes(buffer, NFTA_DATA_VALUE, &value.bytes());
                    }),
                    Source::Map(selector, map) => {
                        selector.load(buffer);
                        lookup(buffer, map, None, Some(REGISTER), Relation::Is);
                    }
                    Source::Mark { keep, set } => {
                        Field::Mark.load(buffer, REGISTER);
                        bitwise(
                            buffer,
                            REGISTER,
                            &(keep & !set).to_ne_bytes(),
                            &set.to_ne_bytes(),
                        );
                    }
                }
                target.store(buffer);
            }
            Self::Counter => expression(buffer, "counter", |_| {}),
            Self::CounterNamed(name) => expression(buffer, "objref", |buffer| {
                u32(buffer, NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
                text(buffer, NFTA_OBJREF_IMM_NAME, name);
            }),
            Self::Limit(limit) => expression(buffer, "limit", |buffer| limit.encode(buffer)),
            Self::UpdateLimit { set, key, limit } => {
                key.load(buffer);
                expression(buffer, "dynset", |buffer| {
                    u32(buffer, NFTA_DYNSET_SREG_KEY, REGISTER);
                    u32(buffer, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
                    text(buffer, NFTA_DYNSET_SET_NAME, set);
                    u32(buffer, NFTA_DYNSET_FLAGS, NFT_DYNSET_F_EXPR);
                    named_expression(buffer, NFTA_DYNSET_EXPR, "limit", |buffer| {
                        limit.encode(buffer);
                    });
                });
            }
            Self::Verdict(verdict) => {
                immediate(buffer, libc::NFT_REG_VERDICT as u32, |buffer| {
                    verdict.encode(buffer);
                });
            }
            Self::Queue(queue) => expression(buffer, "queue", |buffer| {
                bytes(buffer, NFTA_QUEUE_NUM, &queue.number.to_be_bytes());
                bytes(buffer, NFTA_QUEUE_TOTAL, &1_u16.to_be_bytes());
                bytes(buffer, NFTA_QUEUE_FLAGS, &queue.flags().to_be_bytes());
            }),
            Self::Target(Target::Nfqueue(queue)) => expression(buffer, "target", |buffer| {
                // struct xt_NFQ_info_v3: number, total, flags, each in host byte order; padded to 8.
                let mut info = Vec::with_capacity(8);
                info.extend_from_slice(&queue.number.to_ne_bytes());
                info.extend_from_slice(&1_u16.to_ne_bytes());
                info.extend_from_slice(&queue.flags().to_ne_bytes());
                info.extend_from_slice(&[0; 2]);
                text(buffer, NFTA_TARGET_NAME, "NFQUEUE");
                u32(buffer, NFTA_TARGET_REV, 3);
                bytes(buffer, NFTA_TARGET_INFO, &info);
            }),
        }
    }
}

/// A constant set that belongs to a rule.
#[derive(Clone, Copy)]
pub(crate) enum AnonymousSet<'a> {
    Keys(&'a [Value]),
    Verdicts(&'a [(Value, Verdict)], &'a Selector),
}

impl Queue {
    const fn flags(self) -> u16 {
        if self.bypass {
            NFT_QUEUE_FLAG_BYPASS
        } else {
            0
        }
    }
}

impl Relation {
    const fn number(self) -> u32 {
        match self {
            Self::Is => libc::NFT_CMP_EQ as u32,
            Self::IsNot => libc::NFT_CMP_NEQ as u32,
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Is => "",
            Self::IsNot => "!= ",
        }
    }
}

impl Verdict {
    /// Appends the nest `NFTA_DATA_VERDICT`.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        let (code, chain) = match self {
            Self::Accept => (libc::NF_ACCEPT, None),
            Self::Drop => (libc::NF_DROP, None),
            Self::Return => (libc::NFT_RETURN, None),
            Self::Jump(chain) => (libc::NFT_JUMP, Some(chain)),
            Self::Goto(chain) => (libc::NFT_GOTO, Some(chain)),
        };
        nest(buffer, NFTA_DATA_VERDICT, |buffer| {
            u32(buffer, NFTA_VERDICT_CODE, code.cast_unsigned());
            if let Some(chain) = chain {
                text(buffer, NFTA_VERDICT_CHAIN, chain);
            }
        });
    }
}

impl Writable {
    fn store(self, buffer: &mut Vec<u8>) {
        match self {
            Self::Mark => store_meta(buffer, libc::NFT_META_MARK),
            Self::PktType => store_meta(buffer, libc::NFT_META_PKTTYPE),
            Self::EtherDaddr => store_payload(buffer, libc::NFT_PAYLOAD_LL_HEADER, 0, 6),
            Self::EtherSaddr => store_payload(buffer, libc::NFT_PAYLOAD_LL_HEADER, 6, 6),
            Self::ArpSaddrIp => store_payload(buffer, libc::NFT_PAYLOAD_NETWORK_HEADER, 14, 4),
        }
    }
}

fn store_meta(buffer: &mut Vec<u8>, key: libc::c_int) {
    expression(buffer, "meta", |buffer| {
        u32(buffer, NFTA_META_KEY, key as u32);
        u32(buffer, NFTA_META_SREG, REGISTER);
    });
}

/// Changes bytes that no checksum covers.
fn store_payload(buffer: &mut Vec<u8>, base: libc::c_int, offset: u32, length: u32) {
    expression(buffer, "payload", |buffer| {
        u32(buffer, NFTA_PAYLOAD_SREG, REGISTER);
        u32(buffer, NFTA_PAYLOAD_BASE, base as u32);
        u32(buffer, NFTA_PAYLOAD_OFFSET, offset);
        u32(buffer, NFTA_PAYLOAD_LEN, length);
        u32(
            buffer,
            NFTA_PAYLOAD_CSUM_TYPE,
            libc::NFT_PAYLOAD_CSUM_NONE as u32,
        );
        u32(buffer, NFTA_PAYLOAD_CSUM_OFFSET, 0);
    });
}

impl Limit {
    fn encode(self, buffer: &mut Vec<u8>) {
        u64(buffer, NFTA_LIMIT_RATE, u64::from(self.per_second));
        u64(buffer, NFTA_LIMIT_UNIT, 1);
        u32(buffer, NFTA_LIMIT_BURST, self.burst);
        u32(buffer, NFTA_LIMIT_TYPE, libc::NFT_LIMIT_PKTS as u32);
        u32(
            buffer,
            NFTA_LIMIT_FLAGS,
            if self.over {
                libc::NFT_LIMIT_F_INV as u32
            } else {
                0
            },
        );
    }
}

/// Appends an expression of a rule.
pub(crate) fn expression(buffer: &mut Vec<u8>, name: &str, body: impl FnOnce(&mut Vec<u8>)) {
    named_expression(buffer, NFTA_LIST_ELEM, name, body);
}

fn named_expression(buffer: &mut Vec<u8>, kind: u16, name: &str, body: impl FnOnce(&mut Vec<u8>)) {
    nest(buffer, kind, |buffer| {
        text(buffer, NFTA_EXPR_NAME, name);
        nest(buffer, NFTA_EXPR_DATA, body);
    });
}

fn immediate(buffer: &mut Vec<u8>, register: u32, body: impl FnOnce(&mut Vec<u8>)) {
    expression(buffer, "immediate", |buffer| {
        u32(buffer, NFTA_IMMEDIATE_DREG, register);
        nest(buffer, NFTA_IMMEDIATE_DATA, body);
    });
}

fn compare(buffer: &mut Vec<u8>, relation: Relation, value: &[u8]) {
    expression(buffer, "cmp", |buffer| {
        u32(buffer, NFTA_CMP_SREG, REGISTER);
        u32(buffer, NFTA_CMP_OP, relation.number());
        nest(buffer, NFTA_CMP_DATA, |buffer| {
            bytes(buffer, NFTA_DATA_VALUE, value);
        });
    });
}

fn lookup(
    buffer: &mut Vec<u8>,
    name: &str,
    id: Option<u32>,
    result: Option<u32>,
    relation: Relation,
) {
    expression(buffer, "lookup", |buffer| {
        text(buffer, NFTA_LOOKUP_SET, name);
        u32(buffer, NFTA_LOOKUP_SREG, REGISTER);
        if let Some(register) = result {
            u32(buffer, NFTA_LOOKUP_DREG, register);
        }
        if let Some(id) = id {
            u32(buffer, NFTA_LOOKUP_SET_ID, id);
        }
        if relation == Relation::IsNot {
            u32(buffer, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
        }
    });
}

/// `length` ones, then zeros, in `bytes` bytes.
pub(crate) fn prefix_mask(bytes: usize, length: u8) -> Vec<u8> {
    (0..bytes)
        .map(|index| {
            let ones = usize::from(length).saturating_sub(index * 8).min(8);
            (0xff00_u16 >> ones) as u8
        })
        .collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.over { "over " } else { "" };
        write!(
            f,
            "limit rate {over}{}/second burst {} packets",
            self.per_second, self.burst
        )
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bypass = if self.bypass { " bypass" } else { "" };
        write!(f, "queue num {}{bypass}", self.number)
    }
}

impl fmt::Display for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mark => "meta mark",
            Self::PktType => "meta pkttype",
            Self::EtherDaddr => "ether daddr",
            Self::EtherSaddr => "ether saddr",
            Self::ArpSaddrIp => "arp saddr ip",
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Map(selector, map) => write!(f, "{selector} map @{map}"),
            Self::Mark { keep, set } => write!(f, "meta mark & {keep:#010x} | {set:#010x}"),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match(selector @ Selector::Masked(..), relation, value) => {
                let sign = if *relation == Relation::Is {
                    "=="
                } else {
                    "!="
                };
                write!(f, "{selector} {sign} {value}")
            }
            Self::Match(selector, relation, value) => {
                write!(f, "{selector} {}{value}", relation.sign())
            }
            Self::Prefix(field, relation, value @ Value::Ether(_), length) => {
                let mask: [u8; 6] = prefix_mask(6, *length).try_into().unwrap_or_default();
                let sign = if *relation == Relation::Is {
                    "=="
                } else {
                    "!="
                };
                write!(f, "{field} & {} {sign} {value}", Value::Ether(mask))
            }
            Self::Prefix(field, relation, value, length) => {
                write!(f, "{field} {}{value}/{length}", relation.sign())
            }
            Self::Range(field, relation, from, to) => {
                write!(f, "{field} {}{from}-{to}", relation.sign())
            }
            Self::InSet(selector, relation, Lookup::Named(set)) => {
                write!(f, "{selector} {}@{set}", relation.sign())
            }
            Self::InSet(selector, relation, Lookup::Anonymous(keys)) => {
                let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                write!(f, "{selector} {}{{ {} }}", relation.sign(), keys.join(", "))
            }
            Self::Vmap(selector, VerdictLookup::Named(map)) => write!(f, "{selector} vmap @{map}"),
            Self::Vmap(selector, VerdictLookup::Anonymous(pairs)) => {
                let pairs: Vec<_> = pairs
                    .iter()
                    .map(|(key, verdict)| format!("{key} : {verdict}"))
                    .collect();
                write!(f, "{selector} vmap {{ {} }}", pairs.join(", "))
            }
            Self::Set(target, source) => write!(f, "{target} set {source}"),
            Self::Counter => f.write_str("counter"),
            Self::CounterNamed(name) => write!(f, "counter name \"{name}\""),
            Self::Limit(limit) => write!(f, "{limit}"),
            Self::UpdateLimit { set, key, limit } => {
                write!(f, "update @{set} {{ {key} {limit} }}")
            }
            Self::Verdict(verdict) => write!(f, "{verdict}"),
            Self::Queue(queue) => write!(f, "{queue}"),
            Self::Target(Target::Nfqueue(queue)) => write!(f, "{queue}"),
        }
    }
}
