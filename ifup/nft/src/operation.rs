//! One change of a ruleset, which prints as the line one would give to `nft`; `encode` writes it as the messages nft
//! would send.

use std::fmt;

use crate::object::{Chain, Element, Rule, Set, Table};

/// A change. Adding what exists is no error when it is the same; deleting what does not exist is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// `add table`; owned: it vanishes with the socket that made it, and no other program may change it. nft prints
    /// an owned table with the flag `owner` and cannot make a lasting one itself.
    AddTable {
        /// The table.
        table: Table,
        /// `NFT_TABLE_F_OWNER`
        owned: bool,
    },
    /// `delete table`, with all that is in it.
    DeleteTable(Table),
    /// `add chain`
    AddChain(Table, Chain),
    /// `flush chain`: its rules vanish.
    FlushChain(Table, String),
    /// `delete chain`: must have no rules and nothing that goes to it.
    DeleteChain(Table, String),
    /// `add rule`: at the chain's end.
    AddRule {
        /// Whose table.
        table: Table,
        /// Whose chain.
        chain: String,
        /// The rule.
        rule: Rule,
    },
    /// `add set` or `add map`
    AddSet(Table, Set),
    /// `flush set`: its elements vanish.
    FlushSet(Table, String),
    /// `delete set` or `delete map`: must not be used by rules.
    DeleteSet(Table, String),
    /// `add counter`: a named one.
    AddCounter(Table, String),
    /// `add element`, as many as wanted.
    AddElements {
        /// Whose table.
        table: Table,
        /// Whose set.
        set: String,
        /// The elements.
        elements: Vec<Element>,
    },
    /// `delete element`: one that is not there fails the transaction.
    DeleteElements {
        /// Whose table.
        table: Table,
        /// Whose set.
        set: String,
        /// The elements; a map's values are not looked at.
        elements: Vec<Element>,
    },
}

impl Operation {
    /// The operation that takes this one back, where that does not depend on what was there before.
    #[must_use]
    pub fn inverse(&self) -> Option<Self> {
        Some(match self {
            Self::AddTable { table, .. } => Self::DeleteTable(table.clone()),
            Self::AddChain(table, chain) => Self::DeleteChain(table.clone(), chain.name.clone()),
            Self::AddSet(table, set) => Self::DeleteSet(table.clone(), set.name.clone()),
            Self::AddElements {
                table,
                set,
                elements,
            } => Self::DeleteElements {
                table: table.clone(),
                set: set.clone(),
                elements: elements.clone(),
            },
            Self::DeleteElements {
                table,
                set,
                elements,
            } => Self::AddElements {
                table: table.clone(),
                set: set.clone(),
                elements: elements.clone(),
            },
            Self::DeleteTable(_)
            | Self::FlushChain(..)
            | Self::DeleteChain(..)
            | Self::AddRule { .. }
            | Self::FlushSet(..)
            | Self::DeleteSet(..)
            | Self::AddCounter(..) => return None,
        })
    }
}

impl Operation {
    /// The operation, or, for a deletion of elements, one deletion for each of them.
    pub(crate) fn single(&self) -> Vec<Self> {
        if let Self::DeleteElements {
            table,
            set,
            elements,
        } = self
        {
            return elements
                .iter()
                .map(|element| Self::DeleteElements {
                    table: table.clone(),
                    set: set.clone(),
                    elements: vec![element.clone()],
                })
                .collect();
        }
        vec![self.clone()]
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable {
                table,
                owned: false,
            } => write!(f, "add table {table}"),
            Self::AddTable { table, owned: true } => {
                write!(f, "add table {table} {{ flags owner; }}")
            }
            Self::DeleteTable(table) => write!(f, "delete table {table}"),
            Self::AddChain(table, chain) => write!(f, "add chain {table} {chain}"),
            Self::FlushChain(table, chain) => write!(f, "flush chain {table} {chain}"),
            Self::DeleteChain(table, chain) => write!(f, "delete chain {table} {chain}"),
            Self::AddRule { table, chain, rule } => write!(f, "add rule {table} {chain} {rule}"),
            Self::AddSet(table, set) => write!(f, "add {} {table} {set}", set.word()),
            Self::FlushSet(table, set) => write!(f, "flush set {table} {set}"),
            Self::DeleteSet(table, set) => write!(f, "delete set {table} {set}"),
            Self::AddCounter(table, name) => write!(f, "add counter {table} {name}"),
            Self::AddElements {
                table,
                set,
                elements,
            } => {
                write!(f, "add element {table} {set} ")?;
                fmt_elements(f, elements, true)
            }
            Self::DeleteElements {
                table,
                set,
                elements,
            } => {
                write!(f, "delete element {table} {set} ")?;
                fmt_elements(f, elements, false)
            }
        }
    }
}

fn fmt_elements(f: &mut fmt::Formatter<'_>, elements: &[Element], values: bool) -> fmt::Result {
    f.write_str("{ ")?;
    for (index, element) in elements.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        if values {
            write!(f, "{comma}{element}")?;
        } else {
            write!(
                f,
                "{comma}{}",
                Element {
                    value: None,
                    ..element.clone()
                }
            )?;
        }
    }
    f.write_str(" }")
}
