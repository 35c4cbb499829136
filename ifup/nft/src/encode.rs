//! Operations as the kernel reads them: one message each, or several for long lists of elements and for rules that bring
//! constant sets of their own.

use crate::attribute::{Header, bytes, message, nest, text, u32, u64};
use crate::object::{Chain, Element, ElementValue, Rule, Set, Table};
use crate::operation::Operation;
use crate::statement::AnonymousSet;
use crate::uapi::*;
use crate::value::{DataType, Value};

/// The length a list of elements may have in one message: the list is an attribute, whose length has 16 bits.
const ELEMENTS_LENGTH: usize = 60_000;

/// Writes messages and counts them.
pub(crate) struct Encoder<'a> {
    pub(crate) buffer: &'a mut Vec<u8>,
    /// Sequence number of the next message.
    pub(crate) sequence: &'a mut u32,
    /// Transaction-wide number of the next anonymous set.
    pub(crate) set_id: &'a mut u32,
}

impl Encoder<'_> {
    fn message(
        &mut self,
        table: &Table,
        kind: libc::c_int,
        flags: libc::c_int,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        let header = Header {
            kind: nft_message(kind),
            flags: (libc::NLM_F_REQUEST | flags) as u16,
            sequence: *self.sequence,
            family: table.family.number(),
            resource: 0,
        };
        message(self.buffer, header, body);
        *self.sequence = self.sequence.wrapping_add(1);
    }

    /// Appends the messages of one operation.
    pub(crate) fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::AddTable { table, owned } => {
                self.message(
                    table,
                    libc::NFT_MSG_NEWTABLE,
                    libc::NLM_F_CREATE,
                    |buffer| {
                        text(buffer, NFTA_TABLE_NAME, &table.name);
                        u32(
                            buffer,
                            NFTA_TABLE_FLAGS,
                            if *owned { NFT_TABLE_F_OWNER } else { 0 },
                        );
                    },
                );
            }
            Operation::DeleteTable(table) => {
                self.message(table, libc::NFT_MSG_DELTABLE, 0, |buffer| {
                    text(buffer, NFTA_TABLE_NAME, &table.name);
                });
            }
            Operation::AddChain(table, chain) => self.chain(table, chain),
            Operation::FlushChain(table, chain) => {
                self.message(table, libc::NFT_MSG_DELRULE, 0, |buffer| {
                    text(buffer, NFTA_RULE_TABLE, &table.name);
                    text(buffer, NFTA_RULE_CHAIN, chain);
                });
            }
            Operation::DeleteChain(table, chain) => {
                self.message(table, libc::NFT_MSG_DELCHAIN, 0, |buffer| {
                    text(buffer, NFTA_CHAIN_TABLE, &table.name);
                    text(buffer, NFTA_CHAIN_NAME, chain);
                });
            }
            Operation::AddRule { table, chain, rule } => self.rule(table, chain, rule),
            Operation::AddSet(table, set) => self.set(table, set),
            Operation::FlushSet(table, set) => {
                self.message(table, libc::NFT_MSG_DELSETELEM, 0, |buffer| {
                    text(buffer, NFTA_SET_ELEM_LIST_TABLE, &table.name);
                    text(buffer, NFTA_SET_ELEM_LIST_SET, set);
                });
            }
            Operation::DeleteSet(table, set) => {
                self.message(table, libc::NFT_MSG_DELSET, 0, |buffer| {
                    text(buffer, NFTA_SET_TABLE, &table.name);
                    text(buffer, NFTA_SET_NAME, set);
                });
            }
            Operation::AddCounter(table, name) => {
                self.message(table, libc::NFT_MSG_NEWOBJ, libc::NLM_F_CREATE, |buffer| {
                    text(buffer, NFTA_OBJ_TABLE, &table.name);
                    text(buffer, NFTA_OBJ_NAME, name);
                    u32(buffer, NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
                    nest(buffer, NFTA_OBJ_DATA, |_| {});
                });
            }
            Operation::AddElements {
                table,
                set,
                elements,
            } => {
                let (kind, flags) = (libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE);
                let list = List {
                    table,
                    set,
                    id: None,
                    kind,
                    flags,
                };
                self.elements(&list, elements, |buffer, element| {
                    write_element(buffer, element, true);
                });
            }
            Operation::DeleteElements {
                table,
                set,
                elements,
            } => {
                let kind = libc::NFT_MSG_DELSETELEM;
                let list = List {
                    table,
                    set,
                    id: None,
                    kind,
                    flags: 0,
                };
                self.elements(&list, elements, |buffer, element| {
                    write_element(buffer, element, false);
                });
            }
        }
    }

    fn chain(&mut self, table: &Table, chain: &Chain) {
        self.message(
            table,
            libc::NFT_MSG_NEWCHAIN,
            libc::NLM_F_CREATE,
            |buffer| {
                text(buffer, NFTA_CHAIN_TABLE, &table.name);
                text(buffer, NFTA_CHAIN_NAME, &chain.name);
                if let Some((hook, priority, policy)) = &chain.base {
                    nest(buffer, NFTA_CHAIN_HOOK, |buffer| {
                        u32(buffer, NFTA_HOOK_HOOKNUM, hook.number(table.family));
                        u32(buffer, NFTA_HOOK_PRIORITY, priority.cast_unsigned());
                    });
                    text(buffer, NFTA_CHAIN_TYPE, "filter");
                    let policy = if *policy == crate::Verdict::Drop {
                        libc::NF_DROP
                    } else {
                        libc::NF_ACCEPT
                    };
                    u32(buffer, NFTA_CHAIN_POLICY, policy.cast_unsigned());
                }
            },
        );
    }

    fn rule(&mut self, table: &Table, chain: &str, rule: &Rule) {
        // A rule's constant sets must stand before it: its expressions go into a buffer of their own meanwhile.
        let mut expressions = Vec::new();
        for statement in &rule.statements {
            statement.encode(&mut expressions, &mut |set| self.anonymous(table, set));
        }
        let flags = libc::NLM_F_CREATE | libc::NLM_F_APPEND;
        self.message(table, libc::NFT_MSG_NEWRULE, flags, |buffer| {
            text(buffer, NFTA_RULE_TABLE, &table.name);
            text(buffer, NFTA_RULE_CHAIN, chain);
            nest(buffer, NFTA_RULE_EXPRESSIONS, |buffer| {
                buffer.extend_from_slice(&expressions);
            });
            if let Some(comment) = &rule.comment {
                // One type-length-value of libnftnl; the length has 8 bits and counts the zero.
                let comment: Vec<u8> = comment.bytes().take(127).chain([0]).collect();
                let mut userdata = vec![NFTNL_UDATA_RULE_COMMENT, comment.len() as u8];
                userdata.extend_from_slice(&comment);
                bytes(buffer, NFTA_RULE_USERDATA, &userdata);
            }
        });
    }

    fn set(&mut self, table: &Table, set: &Set) {
        let mut flags = 0;
        for (on, flag) in [
            (set.interval, libc::NFT_SET_INTERVAL as u32),
            (set.value.is_some(), libc::NFT_SET_MAP as u32),
            (set.timeout.is_some(), libc::NFT_SET_TIMEOUT as u32),
            (set.dynamic, libc::NFT_SET_EVAL as u32),
            (set.interval && set.key.len() > 1, NFT_SET_CONCAT),
        ] {
            flags |= if on { flag } else { 0 };
        }
        let id = self.next_set_id();
        let size = set.size.or(set.dynamic.then_some(65_535));
        self.message(table, libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE, |buffer| {
            text(buffer, NFTA_SET_TABLE, &table.name);
            text(buffer, NFTA_SET_NAME, &set.name);
            u32(buffer, NFTA_SET_ID, id);
            u32(buffer, NFTA_SET_FLAGS, flags);
            key_type(buffer, &set.key);
            value_type(buffer, set.value);
            byte_orders(buffer, &set.key, set.value);
            if let Some(timeout) = set.timeout {
                let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                u64(buffer, NFTA_SET_TIMEOUT, milliseconds);
            }
            nest(buffer, NFTA_SET_DESC, |buffer| {
                if let Some(size) = size {
                    u32(buffer, NFTA_SET_DESC_SIZE, size);
                }
                if set.interval && set.key.len() > 1 {
                    nest(buffer, NFTA_SET_DESC_CONCAT, |buffer| {
                        for part in &set.key {
                            nest(buffer, NFTA_LIST_ELEM, |buffer| {
                                u32(buffer, NFTA_SET_FIELD_LEN, part.length());
                            });
                        }
                    });
                }
            });
        });
    }

    fn next_set_id(&mut self) -> u32 {
        *self.set_id += 1;
        *self.set_id
    }

    fn anonymous(&mut self, table: &Table, set: AnonymousSet<'_>) -> u32 {
        let id = self.next_set_id();
        let (name, key, verdicts, size) = match set {
            AnonymousSet::Keys(keys) => {
                let key = keys.first().map_or(DataType::Number, Value::data_type);
                ("__set%d", vec![key], false, keys.len())
            }
            AnonymousSet::Verdicts(pairs, selector) => {
                ("__map%d", selector.data_types(), true, pairs.len())
            }
        };
        let mut flags = (libc::NFT_SET_ANONYMOUS | libc::NFT_SET_CONSTANT) as u32;
        if verdicts {
            flags |= libc::NFT_SET_MAP as u32;
        }
        self.message(table, libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE, |buffer| {
            text(buffer, NFTA_SET_TABLE, &table.name);
            text(buffer, NFTA_SET_NAME, name);
            u32(buffer, NFTA_SET_ID, id);
            u32(buffer, NFTA_SET_FLAGS, flags);
            key_type(buffer, &key);
            value_type(buffer, verdicts.then_some(DataType::Verdict));
            byte_orders(buffer, &key, None);
            nest(buffer, NFTA_SET_DESC, |buffer| {
                u32(
                    buffer,
                    NFTA_SET_DESC_SIZE,
                    u32::try_from(size).unwrap_or(u32::MAX),
                );
            });
        });
        let (kind, flags) = (libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE);
        let list = List {
            table,
            set: name,
            id: Some(id),
            kind,
            flags,
        };
        match set {
            AnonymousSet::Keys(keys) => self.elements(&list, keys, |buffer, key| {
                nest(buffer, NFTA_LIST_ELEM, |buffer| {
                    write_key(buffer, NFTA_SET_ELEM_KEY, std::slice::from_ref(key));
                });
            }),
            AnonymousSet::Verdicts(pairs, _) => self.elements(&list, pairs, |buffer, pair| {
                nest(buffer, NFTA_LIST_ELEM, |buffer| {
                    write_key(buffer, NFTA_SET_ELEM_KEY, std::slice::from_ref(&pair.0));
                    nest(buffer, NFTA_SET_ELEM_DATA, |buffer| pair.1.encode(buffer));
                });
            }),
        }
        id
    }

    /// Appends as many messages as the elements need. `write` appends one element to the list.
    fn elements<T>(&mut self, list: &List<'_>, elements: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
        let mut rest = elements;
        while !rest.is_empty() {
            let mut written = 0;
            self.message(list.table, list.kind, list.flags, |buffer| {
                text(buffer, NFTA_SET_ELEM_LIST_TABLE, &list.table.name);
                text(buffer, NFTA_SET_ELEM_LIST_SET, list.set);
                if let Some(id) = list.id {
                    u32(buffer, NFTA_SET_ELEM_LIST_SET_ID, id);
                }
                nest(buffer, NFTA_SET_ELEM_LIST_ELEMENTS, |buffer| {
                    let start = buffer.len();
                    for element in rest {
                        write(buffer, element);
                        written += 1;
                        if buffer.len() - start > ELEMENTS_LENGTH {
                            break;
                        }
                    }
                });
            });
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}

/// What the messages of one list of elements have in common.
struct List<'a> {
    table: &'a Table,
    set: &'a str,
    /// For an anonymous set, its number.
    id: Option<u32>,
    kind: libc::c_int,
    flags: libc::c_int,
}

fn key_type(buffer: &mut Vec<u8>, key: &[DataType]) {
    let number = key
        .iter()
        .fold(0, |number, part| number << 6 | part.number());
    u32(buffer, NFTA_SET_KEY_TYPE, number);
    u32(buffer, NFTA_SET_KEY_LEN, key_length(key));
}

/// Length of a key in bytes: in a concatenation each part fills whole registers of 4.
pub(crate) fn key_length(key: &[DataType]) -> u32 {
    match key {
        [one] => one.length(),
        parts => parts
            .iter()
            .map(|part| part.length().next_multiple_of(4))
            .sum(),
    }
}

fn value_type(buffer: &mut Vec<u8>, value: Option<DataType>) {
    match value {
        Some(DataType::Verdict) => {
            u32(buffer, NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
            u32(buffer, NFTA_SET_DATA_LEN, 0);
        }
        Some(value) => {
            u32(buffer, NFTA_SET_DATA_TYPE, value.number());
            u32(buffer, NFTA_SET_DATA_LEN, value.length());
        }
        None => {}
    }
}

/// Tells nft how to read the elements: types of several possible byte orders do not say it themselves.
fn byte_orders(buffer: &mut Vec<u8>, key: &[DataType], value: Option<DataType>) {
    let mut userdata = Vec::with_capacity(12);
    let mut put = |kind: u8, data_type: DataType| {
        userdata.extend_from_slice(&[kind, 4]);
        userdata.extend_from_slice(&data_type.byte_order().to_ne_bytes());
    };
    if let [one] = key {
        put(NFTNL_UDATA_SET_KEYBYTEORDER, *one);
    }
    if let Some(value) = value.filter(|value| *value != DataType::Verdict) {
        put(NFTNL_UDATA_SET_DATABYTEORDER, value);
    }
    bytes(buffer, NFTA_SET_USERDATA, &userdata);
}

fn write_key(buffer: &mut Vec<u8>, kind: u16, key: &[Value]) {
    nest(buffer, kind, |buffer| {
        bytes(buffer, NFTA_DATA_VALUE, &key_bytes(key));
    });
}

fn key_bytes(key: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    for part in key {
        part.write(&mut bytes);
        if key.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

/// Appends an element to a list.
pub(crate) fn write_element(buffer: &mut Vec<u8>, element: &Element, with_value: bool) {
    nest(buffer, NFTA_LIST_ELEM, |buffer| {
        write_key(buffer, NFTA_SET_ELEM_KEY, &element.key);
        match &element.last {
            // A concatenation carries both ends of its ranges.
            Some(last) if last.len() > 1 => write_key(buffer, NFTA_SET_ELEM_KEY_END, last),
            _ => {}
        }
        match &element.value {
            Some(ElementValue::Value(value)) if with_value => {
                nest(buffer, NFTA_SET_ELEM_DATA, |b| {
                    bytes(b, NFTA_DATA_VALUE, &value.bytes());
                });
            }
            Some(ElementValue::Verdict(verdict)) if with_value => {
                nest(buffer, NFTA_SET_ELEM_DATA, |buffer| verdict.encode(buffer));
            }
            _ => {}
        }
    });
    // A single range is two elements: its first key, and the key after its last, marked as an end.
    if let Some([last]) = element.last.as_deref()
        && let Some(after) = following(last.bytes())
    {
        nest(buffer, NFTA_LIST_ELEM, |buffer| {
            nest(buffer, NFTA_SET_ELEM_KEY, |buffer| {
                bytes(buffer, NFTA_DATA_VALUE, &after);
            });
            u32(
                buffer,
                NFTA_SET_ELEM_FLAGS,
                libc::NFT_SET_ELEM_INTERVAL_END as u32,
            );
        });
    }
}

/// The number after this one, of as many bytes in network order; `None` after the greatest.
fn following(mut number: Vec<u8>) -> Option<Vec<u8>> {
    for byte in number.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(number);
        }
    }
    None
}
