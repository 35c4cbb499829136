//! Reading back: what a table has in the kernel. Only ever one table: listing all is slow where there are many.

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;

use crate::attribute::{Attributes, Header, message, nest, text};
use crate::encode::write_element;
use crate::object::{Element, Family, Table};
use crate::socket::{Error, Socket, errno_of};
use crate::uapi::*;
use crate::value::{DataType, Value};

/// A named counter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// Packets counted since it was added.
    pub packets: u64,
    /// Their bytes, from the network header on.
    pub bytes: u64,
}

/// How many rules a chain has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainRules {
    /// The chain's name.
    pub chain: String,
    /// Its rules.
    pub rules: usize,
}

/// An element as the kernel has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElementKey {
    /// The bytes of the key.
    pub key: Vec<u8>,
    /// The bytes of a map's value; none in a set or a verdict map.
    pub value: Option<Vec<u8>>,
}

impl ElementKey {
    /// The parts of the key, read as these types; `None` when they do not fit.
    #[must_use]
    pub fn parts(&self, types: &[DataType]) -> Option<Vec<Value>> {
        let mut rest = self.key.as_slice();
        types
            .iter()
            .map(|part| {
                let length = part.length() as usize;
                let value = Value::read(*part, rest.get(..length)?)?;
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                Some(value)
            })
            .collect()
    }
}

impl Socket {
    /// Whether the table is there.
    ///
    /// # Errors
    /// [`Error::List`]
    pub fn has_table(&mut self, table: &Table) -> Result<bool, Error> {
        let found = self.ask(
            table,
            libc::NFT_MSG_GETTABLE,
            Form::One,
            "table",
            |buffer| {
                text(buffer, NFTA_TABLE_NAME, &table.name);
            },
        )?;
        Ok(!found.is_empty())
    }

    /// The names of the table's chains and, for each, the number of its rules; empty without the table.
    ///
    /// # Errors
    /// [`Error::List`]
    pub fn chains(&mut self, table: &Table) -> Result<Vec<ChainRules>, Error> {
        let found = self.ask(
            table,
            libc::NFT_MSG_GETCHAIN,
            Form::List,
            "chains",
            |buffer| {
                text(buffer, NFTA_CHAIN_TABLE, &table.name);
            },
        )?;
        // The kernel lists the chains of all tables of the family, whatever is asked for.
        let mut chains: Vec<ChainRules> = found
            .iter()
            .map(Found::attributes)
            .filter(|chain| chain.text(NFTA_CHAIN_TABLE) == Some(&table.name))
            .filter_map(|chain| chain.text(NFTA_CHAIN_NAME))
            .map(|chain| ChainRules {
                chain: chain.to_owned(),
                rules: 0,
            })
            .collect();
        let found = self.ask(
            table,
            libc::NFT_MSG_GETRULE,
            Form::List,
            "rules",
            |buffer| {
                text(buffer, NFTA_RULE_TABLE, &table.name);
            },
        )?;
        for rule in found.iter().map(Found::attributes) {
            let name = rule.text(NFTA_RULE_CHAIN);
            if rule.text(NFTA_RULE_TABLE) == Some(&table.name)
                && let Some(chain) = chains
                    .iter_mut()
                    .find(|chain| Some(chain.chain.as_str()) == name)
            {
                chain.rules += 1;
            }
        }
        Ok(chains)
    }

    /// The names of the table's sets and maps, without those that belong to rules; empty without the table.
    ///
    /// # Errors
    /// [`Error::List`]
    pub fn sets(&mut self, table: &Table) -> Result<Vec<String>, Error> {
        let found = self.ask(table, libc::NFT_MSG_GETSET, Form::List, "sets", |buffer| {
            text(buffer, NFTA_SET_TABLE, &table.name);
        })?;
        let anonymous = libc::NFT_SET_ANONYMOUS as u32;
        Ok(found
            .iter()
            .map(Found::attributes)
            .filter(|set| set.text(NFTA_SET_TABLE) == Some(&table.name))
            .filter(|set| set.u32(NFTA_SET_FLAGS).unwrap_or(0) & anonymous == 0)
            .filter_map(|set| set.text(NFTA_SET_NAME).map(str::to_owned))
            .collect())
    }

    /// The elements of a set or map; empty without it. Of a set that grows meanwhile some may be missing.
    ///
    /// # Errors
    /// [`Error::List`]
    pub fn elements(&mut self, table: &Table, set: &str) -> Result<Vec<ElementKey>, Error> {
        Ok(keys(&self.list_elements(table, set)?).collect())
    }

    /// How many elements a set or map has; 0 without it.
    ///
    /// # Errors
    /// [`Error::List`]
    pub fn element_count(&mut self, table: &Table, set: &str) -> Result<usize, Error> {
        let found = self.list_elements(table, set)?;
        let lists = found.iter().map(Found::attributes);
        Ok(lists
            .map(|list| list.inside(NFTA_SET_ELEM_LIST_ELEMENTS).count())
            .sum())
    }

    fn list_elements(&mut self, table: &Table, set: &str) -> Result<Vec<Found>, Error> {
        let kind = libc::NFT_MSG_GETSETELEM;
        self.ask(table, kind, Form::List, "elements", |buffer| {
            text(buffer, NFTA_SET_ELEM_LIST_TABLE, &table.name);
            text(buffer, NFTA_SET_ELEM_LIST_SET, set);
        })
    }

    /// The element with this key, without reading the others; `None` when it or its set is not there.
    ///
    /// # Errors
    /// [`Error::List`]
    pub fn element(
        &mut self,
        table: &Table,
        set: &str,
        element: &Element,
    ) -> Result<Option<ElementKey>, Error> {
        let kind = libc::NFT_MSG_GETSETELEM;
        let found = self.ask(table, kind, Form::One, "element", |buffer| {
            text(buffer, NFTA_SET_ELEM_LIST_TABLE, &table.name);
            text(buffer, NFTA_SET_ELEM_LIST_SET, set);
            nest(buffer, NFTA_SET_ELEM_LIST_ELEMENTS, |buffer| {
                write_element(buffer, element, false);
            });
        })?;
        Ok(keys(&found).next())
    }

    /// The table's named counters; empty without the table.
    ///
    /// # Errors
    /// [`Error::List`]
    pub fn counters(&mut self, table: &Table) -> Result<Vec<Counter>, Error> {
        let found = self.ask(
            table,
            libc::NFT_MSG_GETOBJ,
            Form::List,
            "counters",
            |buffer| {
                text(buffer, NFTA_OBJ_TABLE, &table.name);
            },
        )?;
        Ok(found
            .iter()
            .map(Found::attributes)
            .filter(|object| object.text(NFTA_OBJ_TABLE) == Some(&table.name))
            .filter(|object| object.u32(NFTA_OBJ_TYPE) == Some(NFT_OBJECT_COUNTER))
            .filter_map(|object| {
                let counted = object.inside(NFTA_OBJ_DATA);
                Some(Counter {
                    name: object.text(NFTA_OBJ_NAME)?.to_owned(),
                    packets: counted.u64(NFTA_COUNTER_PACKETS)?,
                    bytes: counted.u64(NFTA_COUNTER_BYTES)?,
                })
            })
            .collect())
    }

    /// The generation of the namespace's ruleset: every transaction of anybody counts it up.
    ///
    /// # Errors
    /// [`Error::List`]
    pub fn generation(&mut self) -> Result<u32, Error> {
        let any = Table::new(Family::Inet, "");
        let found = self.ask(&any, libc::NFT_MSG_GETGEN, Form::One, "generation", |_| {})?;
        Ok(found
            .first()
            .and_then(|found| found.attributes().u32(NFTA_GEN_ID))
            .unwrap_or(0))
    }

    /// Sends one request and gives what follows the netlink header of every message of the answer; what is not there is
    /// an empty answer. A list that changed while it was read is asked for again.
    fn ask(
        &mut self,
        table: &Table,
        kind: libc::c_int,
        form: Form,
        what: &'static str,
        body: impl Fn(&mut Vec<u8>),
    ) -> Result<Vec<Found>, Error> {
        loop {
            let flags = match form {
                Form::List => libc::NLM_F_DUMP,
                Form::One => libc::NLM_F_ACK,
            };
            let header = Header {
                kind: nft_message(kind),
                flags: (libc::NLM_F_REQUEST | flags) as u16,
                sequence: self.next_sequence(),
                family: table.family.number(),
                resource: 0,
            };
            let mut datagram = Vec::new();
            message(&mut datagram, header, &body);
            self.send(&datagram)?;
            match self.answer(header.sequence) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(Error::List {
                    errno: Errno::ENOENT,
                    ..
                }) => return Ok(Vec::new()),
                Err(Error::List { errno, .. }) => {
                    return Err(Error::List {
                        what: format!("{what} of table {table}"),
                        errno,
                    });
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// The messages up to the end of the answer; `None` when the list changed meanwhile.
    fn answer(&mut self, sequence: u32) -> Result<Option<Vec<Found>>, Error> {
        let (mut answer, mut changed) = (Vec::new(), false);
        loop {
            let length = self.receive(MsgFlags::empty())?.ok_or(Error::NoAnswer)?;
            for found in self
                .received(length)
                .filter(|found| found.sequence == sequence)
            {
                changed |= found.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                let failed = match i32::from(found.kind) {
                    libc::NLMSG_ERROR => errno_of(found.payload),
                    libc::NLMSG_DONE => None,
                    _ => {
                        answer.push(Found(found.payload.to_vec()));
                        continue;
                    }
                };
                return match failed {
                    Some(errno) => Err(Error::List {
                        what: String::new(),
                        errno,
                    }),
                    None => Ok((!changed).then_some(answer)),
                };
            }
        }
    }
}

/// The elements in an answer.
fn keys(found: &[Found]) -> impl Iterator<Item = ElementKey> {
    found
        .iter()
        .flat_map(|list| list.attributes().inside(NFTA_SET_ELEM_LIST_ELEMENTS))
        .filter_map(|(_, element)| {
            let element = Attributes { rest: element };
            let key = element.inside(NFTA_SET_ELEM_KEY).find(NFTA_DATA_VALUE)?;
            let value = element.inside(NFTA_SET_ELEM_DATA).find(NFTA_DATA_VALUE);
            Some(ElementKey {
                key: key.to_vec(),
                value: value.map(<[u8]>::to_vec),
            })
        })
}

/// Whether one thing is asked for, or all of a kind.
#[derive(Clone, Copy)]
enum Form {
    One,
    List,
}

/// What follows the netlink header of one message.
struct Found(Vec<u8>);

impl Found {
    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            rest: self.0.get(4..).unwrap_or_default(),
        }
    }
}
