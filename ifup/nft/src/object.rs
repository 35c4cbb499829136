//! What a ruleset is made of: tables, chains, rules, sets and their elements.

use std::fmt;
use std::time::Duration;

use crate::statement::{Statement, Verdict};
use crate::value::{DataType, Value};

/// Which packets a table sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP to and from the host's own stack.
    Arp,
    /// Frames that pass a bridge.
    Bridge,
}

impl Family {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Inet => libc::NFPROTO_INET as u8,
            Self::Ip => libc::NFPROTO_IPV4 as u8,
            Self::Ip6 => libc::NFPROTO_IPV6 as u8,
            Self::Arp => libc::NFPROTO_ARP as u8,
            Self::Bridge => libc::NFPROTO_BRIDGE as u8,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
        })
    }
}

/// The name of a table. Everything else is named within one.
#[derive(Clone, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name, unique in the family.
    pub name: String,
}

impl Table {
    /// The table of this family and name.
    #[must_use]
    pub fn new(family: Family, name: &str) -> Self {
        Self {
            family,
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// Where a base chain is called from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// As a packet comes in.
    Prerouting,
    /// For packets to the host itself.
    Input,
    /// Between two devices.
    Forward,
    /// For packets the host itself sends.
    Output,
    /// As a packet leaves.
    Postrouting,
}

impl Hook {
    /// The hook's number in `family`: ARP has numbers of its own (`include/uapi/linux/netfilter_arp.h`).
    pub(crate) const fn number(self, family: Family) -> u32 {
        match (family, self) {
            (Family::Arp, Self::Input) => 0,
            (Family::Arp, Self::Output) => 1,
            (Family::Arp, Self::Forward) => 2,
            (_, Self::Prerouting) => libc::NF_INET_PRE_ROUTING as u32,
            (_, Self::Input) => libc::NF_INET_LOCAL_IN as u32,
            (_, Self::Forward) => libc::NF_INET_FORWARD as u32,
            (_, Self::Output) => libc::NF_INET_LOCAL_OUT as u32,
            (_, Self::Postrouting) => libc::NF_INET_POST_ROUTING as u32,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

/// A chain of rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Its name, unique in the table. Not a word of nft's grammar, or `nft` cannot read it back.
    pub name: String,
    /// For a base chain: hook, priority, and what happens to packets at its end.
    pub base: Option<(Hook, i32, Verdict)>,
}

impl Chain {
    /// A chain that other chains jump to.
    #[must_use]
    pub fn regular(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            base: None,
        }
    }

    /// A filter chain called by the kernel, that lets packets go on at its end.
    #[must_use]
    pub fn base(name: &str, hook: Hook, priority: i32) -> Self {
        Self {
            name: name.to_owned(),
            base: Some((hook, priority, Verdict::Accept)),
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.base {
            Some((hook, priority, policy)) => write!(
                f,
                " {{ type filter hook {hook} priority {priority}; policy {policy}; }}"
            ),
            None => Ok(()),
        }
    }
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rule {
    /// Its parts, tried in order.
    pub statements: Vec<Statement>,
    /// Why it is there, for `nft list`. At most 127 bytes.
    pub comment: Option<String>,
}

impl Rule {
    /// A rule of these parts.
    #[must_use]
    pub fn new(statements: impl Into<Vec<Statement>>) -> Self {
        Self {
            statements: statements.into(),
            comment: None,
        }
    }

    /// The rule with a comment.
    #[must_use]
    pub fn comment(mut self, comment: &str) -> Self {
        self.comment = Some(comment.to_owned());
        self
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, statement) in self.statements.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{statement}")?;
        }
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

/// A set, or a map when its elements have values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Set {
    /// Its name, unique in the table.
    pub name: String,
    /// The types of its key: several for a concatenation.
    pub key: Vec<DataType>,
    /// The type of a map's values.
    pub value: Option<DataType>,
    /// Elements may be ranges and prefixes.
    pub interval: bool,
    /// Elements come from rules ([`Statement::UpdateLimit`]).
    pub dynamic: bool,
    /// Elements vanish this long after their last update.
    pub timeout: Option<Duration>,
    /// At most so many elements; a dynamic set without gets nft's default, 65535.
    pub size: Option<u32>,
}

impl Set {
    /// A set of such keys.
    #[must_use]
    pub fn new(name: &str, key: &[DataType]) -> Self {
        Self {
            name: name.to_owned(),
            key: key.to_vec(),
            value: None,
            interval: false,
            dynamic: false,
            timeout: None,
            size: None,
        }
    }

    /// A map from such keys to such values.
    #[must_use]
    pub fn map(name: &str, key: &[DataType], value: DataType) -> Self {
        Self {
            value: Some(value),
            ..Self::new(name, key)
        }
    }

    /// nft's word for it.
    pub(crate) const fn word(&self) -> &'static str {
        if self.value.is_some() { "map" } else { "set" }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<_> = self.key.iter().map(ToString::to_string).collect();
        write!(f, "{} {{ type {}", self.name, key.join(" . "))?;
        if let Some(value) = self.value {
            write!(f, " : {value}")?;
        }
        f.write_str(";")?;
        let flags: Vec<_> = [
            (self.interval, "interval"),
            (self.dynamic, "dynamic"),
            (self.timeout.is_some(), "timeout"),
        ]
        .into_iter()
        .filter_map(|(on, word)| on.then_some(word))
        .collect();
        if !flags.is_empty() {
            write!(f, " flags {};", flags.join(","))?;
        }
        if let Some(timeout) = self.timeout {
            write!(f, " timeout {}s;", timeout.as_secs())?;
        }
        if let Some(size) = self.size {
            write!(f, " size {size};")?;
        }
        f.write_str(" }")
    }
}

/// An element of a set or map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Element {
    /// Its key: several values for a concatenation.
    pub key: Vec<Value>,
    /// For a range: its last key. Only in interval sets.
    pub last: Option<Vec<Value>>,
    /// What a map holds for it.
    pub value: Option<ElementValue>,
}

/// What a map holds for an element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElementValue {
    /// A constant.
    Value(Value),
    /// A way to go on.
    Verdict(Verdict),
}

impl Element {
    /// An element of a set.
    #[must_use]
    pub fn new(key: impl Into<Vec<Value>>) -> Self {
        Self {
            key: key.into(),
            last: None,
            value: None,
        }
    }

    /// An element of a map to constants.
    #[must_use]
    pub fn with_value(key: impl Into<Vec<Value>>, value: Value) -> Self {
        Self {
            value: Some(ElementValue::Value(value)),
            ..Self::new(key)
        }
    }

    /// An element of a verdict map.
    #[must_use]
    pub fn with_verdict(key: impl Into<Vec<Value>>, verdict: Verdict) -> Self {
        Self {
            value: Some(ElementValue::Verdict(verdict)),
            ..Self::new(key)
        }
    }

    /// The range that ends with `last`, a key of as many parts; a part that is no range is the same in both.
    #[must_use]
    pub fn up_to(mut self, last: impl Into<Vec<Value>>) -> Self {
        self.last = Some(last.into());
        self
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.key.iter().enumerate() {
            let dot = if index == 0 { "" } else { " . " };
            write!(f, "{dot}{value}")?;
            match self.last.as_ref().and_then(|last| last.get(index)) {
                Some(last) if last != value => write!(f, "-{last}")?,
                _ => {}
            }
        }
        match &self.value {
            Some(ElementValue::Value(value)) => write!(f, " : {value}"),
            Some(ElementValue::Verdict(verdict)) => write!(f, " : {verdict}"),
            None => Ok(()),
        }
    }
}
