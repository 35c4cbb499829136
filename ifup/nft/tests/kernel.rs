//! Against the kernel and the nft program, each test in a network namespace of its own: what we send must be what nft
//! makes of the text we print.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says why it skips"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use snf_nft::{
    Chain, DataType, Element, Error, Family, Field, Hook, IfName, Limit, Lookup, Operation,
    PktType, Queue, Relation, Rule, Selector, Set, Socket, Source, Statement, Table, Target,
    Transaction, Value, Verdict, VerdictLookup, Writable,
};

/// Runs a test's body on a thread in a fresh network namespace. Without the right to make one, or without nft, the test
/// is skipped, loudly; in CI it fails.
fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let missing = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return Some(format!("a network namespace: {error}"));
        }
        if program("nft").arg("--version").output().is_err() {
            return Some("the program nft".to_owned());
        }
        body();
        None
    })
    .join()
    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if let Some(missing) = missing {
        let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!in_ci, "missing: {missing}");
        println!("skipped, missing: {missing}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the nft program is the oracle")]
fn program(name: &str) -> Command {
    Command::new(name)
}

/// What `nft list ruleset` prints, without counters' states.
fn listed() -> String {
    let output = program("nft")
        .args(["-s", "list", "ruleset"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What nft makes of a script, in a namespace of its own.
fn listed_from_script(script: String) -> String {
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut nft = program("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        nft.stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        assert!(nft.wait().unwrap().success(), "nft refuses:\n{script}");
        listed()
    })
    .join()
    .unwrap()
}

/// Commits the operations, and has nft do the same by their texts: the kernel must hold the same.
fn assert_same(operations: &[Operation]) {
    let script: String = operations
        .iter()
        .map(|operation| format!("{operation}\n"))
        .collect();
    let mut socket = Socket::open().unwrap();
    socket.commit(operations.iter().collect()).unwrap();
    let ours = listed();
    assert!(!ours.is_empty());
    assert_eq!(ours, listed_from_script(script));
}

/// Whether the fact comes true within ten seconds.
#[expect(
    clippy::disallowed_methods,
    reason = "a bound for what the kernel does in the background"
)]
fn soon(mut fact: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !fact() {
        if std::time::Instant::now() > end {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    true
}

fn table() -> Table {
    Table::new(Family::Bridge, "probe")
}

fn name(text: &str) -> Value {
    Value::IfName(text.parse().unwrap())
}

fn rule(chain: &str, statements: impl Into<Vec<Statement>>) -> Operation {
    Operation::AddRule {
        table: table(),
        chain: chain.to_owned(),
        rule: Rule::new(statements),
    }
}

fn base() -> Vec<Operation> {
    vec![
        Operation::AddTable {
            table: table(),
            owned: false,
        },
        Operation::AddChain(table(), Chain::base("pre", Hook::Prerouting, -300)),
        Operation::AddChain(table(), Chain::regular("taken")),
    ]
}

#[test]
fn tables_chains_sets_and_elements_are_those_of_nft() {
    in_namespace(|| {
        let mut operations = base();
        let arp = Table::new(Family::Arp, "probe");
        let inet = Table::new(Family::Inet, "probe");
        operations.extend([
            Operation::AddTable {
                table: arp.clone(),
                owned: false,
            },
            Operation::AddChain(
                arp,
                Chain {
                    name: "to_host".to_owned(),
                    base: Some((Hook::Input, 0, Verdict::Drop)),
                },
            ),
            Operation::AddTable {
                table: inet.clone(),
                owned: false,
            },
            Operation::AddChain(inet.clone(), Chain::base("between", Hook::Forward, 0)),
            Operation::AddCounter(table(), "policed".to_owned()),
            Operation::AddSet(
                table(),
                Set::map("marks", &[DataType::IfName], DataType::Mark),
            ),
            Operation::AddElements {
                table: table(),
                set: "marks".to_owned(),
                elements: vec![
                    Element::with_value([name("tap0")], Value::Mark(0x4000_0007)),
                    Element::with_value([name("gnt.com-vm1")], Value::Mark(0x4000_0008)),
                ],
            },
            Operation::AddSet(
                table(),
                Set::map("ways", &[DataType::IfName], DataType::Verdict),
            ),
            Operation::AddElements {
                table: table(),
                set: "ways".to_owned(),
                elements: vec![
                    Element::with_verdict([name("tap0")], Verdict::Jump("taken".to_owned())),
                    Element::with_verdict([name("tap1")], Verdict::Drop),
                ],
            },
            Operation::AddSet(
                table(),
                Set::new(
                    "pairs",
                    &[DataType::IfName, DataType::EtherAddr, DataType::Ipv4Addr],
                ),
            ),
            Operation::AddElements {
                table: table(),
                set: "pairs".to_owned(),
                elements: vec![Element::new([
                    name("tap0"),
                    Value::Ether([0xaa, 0, 0, 1, 2, 3]),
                    Value::Ipv4([10, 0, 0, 1].into()),
                ])],
            },
            Operation::AddSet(
                inet.clone(),
                Set {
                    interval: true,
                    ..Set::new("prefixes", &[DataType::Ipv6Addr])
                },
            ),
            Operation::AddElements {
                table: inet.clone(),
                set: "prefixes".to_owned(),
                elements: vec![
                    Element::new([Value::Ipv6("2001:db8::".parse().unwrap())]).up_to([
                        Value::Ipv6("2001:db8:0:ffff:ffff:ffff:ffff:ffff".parse().unwrap()),
                    ]),
                ],
            },
            Operation::AddSet(
                inet.clone(),
                Set {
                    interval: true,
                    ..Set::new("tap_prefixes", &[DataType::IfName, DataType::Ipv6Addr])
                },
            ),
            Operation::AddElements {
                table: inet,
                set: "tap_prefixes".to_owned(),
                elements: vec![
                    Element::new([name("tap0"), Value::Ipv6("2001:db8:1::".parse().unwrap())])
                        .up_to([
                            name("tap0"),
                            Value::Ipv6("2001:db8:1:0:ffff:ffff:ffff:ffff".parse().unwrap()),
                        ]),
                ],
            },
        ]);
        assert_same(&operations);
    });
}

#[test]
fn statements_are_those_of_nft() {
    in_namespace(|| {
        let mut operations = base();
        operations.extend([
            Operation::AddChain(table(), Chain::regular("dhcp")),
            Operation::AddCounter(table(), "policed".to_owned()),
            Operation::AddSet(
                table(),
                Set::map("marks", &[DataType::IfName], DataType::Mark),
            ),
            Operation::AddSet(
                table(),
                Set::map("macs", &[DataType::IfName], DataType::EtherAddr),
            ),
            Operation::AddSet(
                table(),
                Set::map("ways", &[DataType::IfName], DataType::Verdict),
            ),
            Operation::AddSet(
                table(),
                Set::new("pairs", &[DataType::IfName, DataType::EtherAddr]),
            ),
            Operation::AddSet(
                table(),
                Set {
                    dynamic: true,
                    timeout: Some(std::time::Duration::from_secs(60)),
                    ..Set::new("buckets", &[DataType::IfIndex])
                },
            ),
        ]);
        let accept = || Statement::Verdict(Verdict::Accept);
        let tap = "tap0".parse::<IfName>().unwrap();
        operations.extend([
            rule(
                "pre",
                [
                    Statement::is(Field::L4Proto, Value::InetProto(17)),
                    Statement::Vmap(
                        Field::ThDport.into(),
                        VerdictLookup::Anonymous(vec![
                            (Value::Port(67), Verdict::Goto("dhcp".to_owned())),
                            (Value::Port(547), Verdict::Jump("dhcp".to_owned())),
                        ]),
                    ),
                ],
            ),
            rule(
                "pre",
                [Statement::Vmap(
                    Field::IifName.into(),
                    VerdictLookup::Named("ways".to_owned()),
                )],
            ),
            rule(
                "pre",
                [
                    Statement::is(Field::IifName, Value::IfName(tap)),
                    Statement::Counter,
                    accept(),
                ],
            ),
            rule(
                "pre",
                [
                    Statement::is(Field::IifKind, Value::IfName(IfName::KIND_BRIDGE)),
                    accept(),
                ],
            ),
            rule(
                "pre",
                [
                    Statement::is_not(Field::OifName, Value::IfName(tap)),
                    accept(),
                ],
            ),
            rule(
                "pre",
                [
                    Statement::InSet(
                        Selector::Concat(vec![Field::IifName, Field::EtherSaddr]),
                        Relation::IsNot,
                        Lookup::Named("pairs".to_owned()),
                    ),
                    Statement::Verdict(Verdict::Drop),
                ],
            ),
            rule(
                "pre",
                [
                    Statement::InSet(
                        Field::EtherType.into(),
                        Relation::Is,
                        Lookup::Anonymous(vec![Value::EtherType(0x8100), Value::EtherType(0x88a8)]),
                    ),
                    accept(),
                ],
            ),
            rule(
                "pre",
                [
                    Statement::Prefix(
                        Field::EtherSaddr,
                        Relation::IsNot,
                        Value::Ether([0xaa, 0, 4, 0, 0, 0]),
                        24,
                    ),
                    accept(),
                ],
            ),
            rule(
                "pre",
                [
                    Statement::is(Field::Protocol, Value::EtherType(0x86dd)),
                    Statement::Prefix(
                        Field::Ip6Saddr,
                        Relation::Is,
                        Value::Ipv6("fe80::".parse().unwrap()),
                        10,
                    ),
                    accept(),
                ],
            ),
            rule(
                "pre",
                [
                    Statement::is(Field::Protocol, Value::EtherType(0x0800)),
                    Statement::is(Field::IpSaddr, Value::Ipv4([10, 0, 0, 1].into())),
                    Statement::Range(
                        Field::IpDaddr,
                        Relation::IsNot,
                        Value::Ipv4([10, 0, 0, 1].into()),
                        Value::Ipv4([10, 0, 0, 9].into()),
                    ),
                    accept(),
                ],
            ),
            rule(
                "pre",
                [
                    Statement::is(Field::EtherType, Value::EtherType(0x0806)),
                    Statement::is(Field::ArpOperation, Value::ArpOp(1)),
                    Statement::is(Field::ArpSaddrIp, Value::Ipv4([10, 0, 0, 1].into())),
                    accept(),
                ],
            ),
            rule(
                "dhcp",
                [
                    Statement::Set(
                        Writable::Mark,
                        Source::Map(Field::IifName.into(), "marks".to_owned()),
                    ),
                    Statement::Verdict(Verdict::Goto("taken".to_owned())),
                ],
            ),
            rule(
                "dhcp",
                [Statement::Set(
                    Writable::Mark,
                    Source::Mark {
                        keep: 0xff,
                        set: 0x40,
                    },
                )],
            ),
            rule(
                "dhcp",
                [
                    Statement::Match(
                        Selector::Masked(Field::Mark, Value::Mark(0xc000_0001)),
                        Relation::Is,
                        Value::Mark(0x4000_0000),
                    ),
                    Statement::Vmap(
                        Selector::Jhash {
                            of: Field::Mark,
                            modulus: 2,
                            seed: 7,
                        },
                        VerdictLookup::Anonymous(vec![
                            (Value::Number(0), Verdict::Accept),
                            (Value::Number(1), Verdict::Drop),
                        ]),
                    ),
                ],
            ),
            rule(
                "taken",
                [
                    Statement::UpdateLimit {
                        set: "buckets".to_owned(),
                        key: Field::Iif.into(),
                        limit: Limit {
                            per_second: 100,
                            burst: 200,
                            over: true,
                        },
                    },
                    Statement::CounterNamed("policed".to_owned()),
                    Statement::Verdict(Verdict::Drop),
                ],
            ),
            rule(
                "taken",
                [
                    Statement::Limit(Limit {
                        per_second: 5,
                        burst: 6,
                        over: false,
                    }),
                    Statement::Set(
                        Writable::EtherDaddr,
                        Source::Map(Field::IifName.into(), "macs".to_owned()),
                    ),
                    Statement::Set(
                        Writable::PktType,
                        Source::Value(Value::PktType(PktType::Host)),
                    ),
                    accept(),
                ],
            ),
            Operation::AddRule {
                table: table(),
                chain: "taken".to_owned(),
                rule: Rule::new([Statement::Verdict(Verdict::Return)]).comment("never comes here"),
            },
        ]);
        assert_same(&operations);
    });
}

#[test]
fn a_refusal_names_the_operation_and_changes_nothing() {
    in_namespace(|| {
        let mut socket = Socket::open().unwrap();
        let mut operations = base();
        operations.push(Operation::DeleteElements {
            table: table(),
            set: "absent".to_owned(),
            elements: vec![Element::new([name("tap0")])],
        });
        operations.push(rule("taken", [Statement::Counter]));
        let error = socket.commit(operations.iter().collect()).unwrap_err();
        let Error::Refused {
            operation, errno, ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(operation, "delete element bridge probe absent { \"tap0\" }");
        assert_eq!(errno, nix::errno::Errno::ENOENT);
        assert!(!socket.has_table(&table()).unwrap());
        // The socket is of use afterwards.
        socket.commit(base().iter().collect()).unwrap();
        assert!(socket.has_table(&table()).unwrap());
    });
}

#[test]
fn destroying_does_not_mind_what_is_absent() {
    in_namespace(|| {
        let mut socket = Socket::open().unwrap();
        let delete = |taps: &[&str]| Operation::DeleteElements {
            table: table(),
            set: "taps".to_owned(),
            elements: taps.iter().map(|tap| Element::new([name(tap)])).collect(),
        };
        socket
            .destroy(&[delete(&["tap0"]), Operation::DeleteTable(table())])
            .unwrap();

        let mut operations = base();
        operations.push(Operation::AddSet(
            table(),
            Set::new("taps", &[DataType::IfName]),
        ));
        operations.push(delete(&["tap0", "tap1", "tap2"]).inverse().unwrap());
        socket.commit(operations.iter().collect()).unwrap();
        socket
            .destroy(&[delete(&["tap0", "tap9", "tap2"])])
            .unwrap();
        let left = socket.elements(&table(), "taps").unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(socket.element_count(&table(), "taps").unwrap(), 1);
        assert_eq!(left[0].parts(&[DataType::IfName]).unwrap(), [name("tap1")]);
    });
}

#[test]
fn tens_of_thousands_of_elements_go_in_one_transaction_and_come_back() {
    in_namespace(|| {
        let key = |index: u32| {
            [
                name(&format!("tap{index}")),
                Value::Ipv6(std::net::Ipv6Addr::from(u128::from(index))),
            ]
        };
        let types = [DataType::IfName, DataType::Ipv6Addr];
        let count = 40_000_u32;
        let mut operations = base();
        operations.push(Operation::AddSet(
            table(),
            Set::map("many", &types, DataType::Mark),
        ));
        operations.push(Operation::AddElements {
            table: table(),
            set: "many".to_owned(),
            elements: (0..count)
                .map(|i| Element::with_value(key(i), Value::Mark(i)))
                .collect(),
        });
        let mut socket = Socket::open().unwrap();
        socket.commit(operations.iter().collect()).unwrap();
        let wanted: Vec<_> = (0..count)
            .map(|i| (Value::Mark(i), key(i).to_vec()))
            .collect();
        // The kernel goes on enlarging the set's hash table for a while; a list taken meanwhile may lack elements.
        assert!(soon(|| {
            let elements = socket.elements(&table(), "many").unwrap();
            let mut there: Vec<_> = elements
                .into_iter()
                .map(|element| {
                    let value = Value::read(DataType::Mark, &element.value.clone().unwrap());
                    (value.unwrap(), element.parts(&types).unwrap())
                })
                .collect();
            there.sort();
            there == wanted
        }));

        let inverse = operations.last().unwrap().inverse().unwrap();
        socket.commit([inverse].iter().collect()).unwrap();
        assert_eq!(socket.elements(&table(), "many").unwrap(), []);
    });
}

#[test]
fn what_a_table_holds_can_be_read() {
    in_namespace(|| {
        let mut socket = Socket::open().unwrap();
        assert_eq!(socket.chains(&table()).unwrap(), []);
        assert_eq!(socket.sets(&table()).unwrap(), [] as [String; 0]);
        assert_eq!(socket.elements(&table(), "marks").unwrap(), []);
        assert_eq!(socket.counters(&table()).unwrap(), []);
        let before = socket.generation().unwrap();

        let mut operations = base();
        operations.push(Operation::AddSet(
            table(),
            Set::new("taps", &[DataType::IfName]),
        ));
        operations.push(Operation::AddCounter(table(), "policed".to_owned()));
        operations.push(rule(
            "pre",
            [Statement::InSet(
                Field::ThDport.into(),
                Relation::Is,
                Lookup::Anonymous(vec![Value::Port(67)]),
            )],
        ));
        operations.push(rule("pre", [Statement::Counter]));
        // A table of the same family beside ours must not be counted in.
        let other = Table::new(Family::Bridge, "other");
        operations.push(Operation::AddTable {
            table: other.clone(),
            owned: false,
        });
        operations.push(Operation::AddChain(other.clone(), Chain::regular("theirs")));
        operations.push(Operation::AddSet(
            other.clone(),
            Set::new("theirs", &[DataType::IfName]),
        ));
        operations.push(Operation::AddCounter(other, "theirs".to_owned()));
        socket.commit(operations.iter().collect()).unwrap();

        let chains = socket.chains(&table()).unwrap();
        let chains: Vec<_> = chains
            .iter()
            .map(|chain| (chain.chain.as_str(), chain.rules))
            .collect();
        assert_eq!(chains, [("pre", 2), ("taken", 0)]);
        assert_eq!(socket.sets(&table()).unwrap(), ["taps"]);
        let counters = socket.counters(&table()).unwrap();
        assert_eq!(counters.len(), 1);
        assert_eq!(
            (counters[0].name.as_str(), counters[0].packets),
            ("policed", 0)
        );
        assert_ne!(socket.generation().unwrap(), before);
    });
}

#[test]
fn an_owned_table_is_nobody_elses_and_goes_with_its_socket() {
    in_namespace(|| {
        let mut owner = Socket::open().unwrap();
        let mut other = Socket::open().unwrap();
        let add = Operation::AddTable {
            table: table(),
            owned: true,
        };
        owner.commit([add].iter().collect()).unwrap();
        let foreign = Operation::AddChain(table(), Chain::regular("theirs"));
        let error = other.commit([foreign].iter().collect()).unwrap_err();
        assert_eq!(error.errno(), Some(nix::errno::Errno::EPERM));
        assert!(
            program("nft")
                .args(["flush", "ruleset"])
                .status()
                .unwrap()
                .success()
        );
        assert!(
            other.has_table(&table()).unwrap(),
            "flush ruleset leaves owned tables"
        );
        drop(owner);
        // A child that another test has just forked holds the socket until it executes its program.
        assert!(soon(|| !other.has_table(&table()).unwrap()));
    });
}

#[test]
fn the_queue_target_is_accepted_where_the_native_expression_is_not() {
    in_namespace(|| {
        let inet = Table::new(Family::Inet, "probe");
        let with = |statement| {
            [
                Operation::AddTable {
                    table: inet.clone(),
                    owned: false,
                },
                Operation::AddChain(inet.clone(), Chain::base("pre", Hook::Prerouting, -150)),
                Operation::AddRule {
                    table: inet.clone(),
                    chain: "pre".to_owned(),
                    rule: Rule::new([Statement::is(Field::Iif, Value::IfIndex(1)), statement]),
                },
            ]
        };
        let mut socket = Socket::open().unwrap();
        let queue = Queue {
            number: 42,
            bypass: true,
        };
        if socket
            .commit(with(Statement::Queue(queue)).iter().collect())
            .is_ok()
        {
            assert!(
                listed().contains("queue flags bypass to 42"),
                "{}",
                listed()
            );
        }
        let target = with(Statement::Target(Target::Nfqueue(queue)));
        let replaced: Transaction = [Operation::DeleteTable(inet.clone())]
            .iter()
            .chain(&target)
            .collect();
        if socket.has_table(&inet).unwrap() {
            socket.commit(replaced).unwrap();
        } else {
            socket.commit(target.iter().collect()).unwrap();
        }
        let listed = listed();
        assert!(listed.contains("queue num 42 bypass"), "{listed}");
    });
}

#[test]
fn a_pair_with_a_mask_and_an_address_out_of_a_map_are_those_of_nft() {
    in_namespace(|| {
        let arp = Table::new(Family::Arp, "probe");
        let pair = [DataType::IfName, DataType::EtherAddr];
        let mut operations = base();
        operations.extend([
            Operation::AddSet(table(), Set::new("prefixes", &pair)),
            rule(
                "pre",
                [
                    Statement::InSet(
                        Selector::ConcatMasked(
                            Field::IifName,
                            Field::EtherSaddr,
                            Value::Ether([0xff, 0xff, 0xf0, 0, 0, 0]),
                        ),
                        Relation::IsNot,
                        Lookup::Named("prefixes".to_owned()),
                    ),
                    Statement::Verdict(Verdict::Drop),
                ],
            ),
            Operation::AddTable {
                table: arp.clone(),
                owned: false,
            },
            Operation::AddSet(
                arp.clone(),
                Set::map("gateways", &[DataType::IfName], DataType::Ipv4Addr),
            ),
            Operation::AddChain(arp.clone(), Chain::base("from_host", Hook::Output, 0)),
            Operation::AddRule {
                table: arp,
                chain: "from_host".to_owned(),
                rule: Rule::new([Statement::Set(
                    Writable::ArpSaddrIp,
                    Source::Map(Field::OifName.into(), "gateways".to_owned()),
                )]),
            },
        ]);
        assert_same(&operations);
    });
}

#[test]
fn one_element_is_found_among_many() {
    in_namespace(|| {
        let gateway = |tap: &str, last: u8| {
            Element::with_value([name(tap)], Value::Ipv4([10, 0, 0, last].into()))
        };
        let mut operations = base();
        operations.extend([
            Operation::AddSet(
                table(),
                Set::map("gateways", &[DataType::IfName], DataType::Ipv4Addr),
            ),
            Operation::AddElements {
                table: table(),
                set: "gateways".to_owned(),
                elements: vec![gateway("tap0", 1), gateway("tap1", 2)],
            },
        ]);
        let mut socket = Socket::open().unwrap();
        socket.commit(operations.iter().collect()).unwrap();
        let mut value_of = |set: &str, tap: &str| {
            let found = socket.element(&table(), set, &Element::new([name(tap)]));
            found.unwrap().and_then(|found| found.value)
        };
        assert_eq!(value_of("gateways", "tap1"), Some(vec![10, 0, 0, 2]));
        assert_eq!(value_of("gateways", "tap2"), None);
        assert_eq!(value_of("absent", "tap0"), None);
    });
}
