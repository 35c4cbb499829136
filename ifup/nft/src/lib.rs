//! nftables transactions over nfnetlink, without the nft program.
//!
//! An [`Operation`] is one line of an nft script: it prints as that line and encodes as the netlink message(s) nft would
//! send for it. A [`Transaction`] takes operations in order and [`Socket::commit`] has the kernel take all of them or
//! none. The kernel's refusal names the operation it refused.
//!
//! The layers, from the words to the wire: [`value`] (typed constants and set types), [`field`] (what a rule can read),
//! [`statement`] (the parts of a rule), [`object`] (tables, chains, sets, elements), [`operation`], [`transaction`],
//! [`socket`] and, for reading back, [`query`]. `encode`, `attribute` and `uapi` know
//! the bytes.
//!
//! Own encoder because `netlink-packet-netfilter` 0.4 has no dynset, limit, counter, queue, target, hash and no payload
//! write, and because `libnftnl` would be the only C library of the tree.

mod attribute;
mod encode;
pub mod field;
pub mod object;
pub mod operation;
pub mod query;
pub mod socket;
pub mod statement;
pub mod transaction;
mod uapi;
pub mod value;

pub use field::{Field, Selector};
pub use object::{Chain, Element, ElementValue, Family, Hook, Rule, Set, Table};
pub use operation::Operation;
pub use query::{ChainRules, Counter, ElementKey};
pub use socket::{Error, Socket};
pub use statement::{
    Limit, Lookup, Queue, Relation, Source, Statement, Target, Verdict, VerdictLookup, Writable,
};
pub use transaction::Transaction;
pub use value::{DataType, IfName, IfNameError, PktType, Value};
