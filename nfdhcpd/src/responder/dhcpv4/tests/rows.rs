//! One test per requirement on a server with one fixed address.

use super::*;
use crate::wire::dhcpv4::Request;

/// RFC 2131 §2, §3.
#[test]
fn row_4_1_what_is_no_request_is_ignored() {
    let cases = [
        (
            "op 0",
            Ask {
                op: 0,
                ..discover()
            },
            Ignored::Malformed,
        ),
        (
            "op 2",
            Ask {
                op: 2,
                ..discover()
            },
            Ignored::FromServer,
        ),
        (
            "op 3",
            Ask {
                op: 3,
                ..discover()
            },
            Ignored::Malformed,
        ),
        (
            "htype",
            Ask {
                htype: 6,
                ..discover()
            },
            Ignored::Malformed,
        ),
        (
            "hlen 0",
            Ask {
                hlen: 0,
                ..discover()
            },
            Ignored::Malformed,
        ),
        (
            "hlen 16",
            Ask {
                hlen: 16,
                ..discover()
            },
            Ignored::Malformed,
        ),
        (
            "hlen 255",
            Ask {
                hlen: 255,
                ..discover()
            },
            Ignored::Malformed,
        ),
        (
            "cookie",
            Ask {
                cookie: [99, 130, 83, 98],
                ..discover()
            },
            Ignored::Malformed,
        ),
        (
            "group chaddr",
            Ask {
                chaddr: MacAddr([1, 0, 0, 0, 0, 1]),
                ..discover()
            },
            Ignored::Malformed,
        ),
        (
            "type of 2 bytes",
            Ask {
                options: vec![53, 2, 1, 1],
                ..discover()
            },
            Ignored::Malformed,
        ),
        (
            "option 50 of 3 bytes",
            ask(3).with(50, &[10, 0, 0]),
            Ignored::Malformed,
        ),
        (
            "option 54 of 16 bytes",
            ask(3).with(54, &[10; 16]),
            Ignored::Malformed,
        ),
        ("no address at all", ask(3), Ignored::Malformed),
        (
            "no type",
            Ask {
                options: vec![],
                ..discover()
            },
            Ignored::UnknownType,
        ),
        ("OFFER", ask(2), Ignored::FromServer),
        ("ACK", ask(5), Ignored::FromServer),
        ("NAK", ask(6), Ignored::FromServer),
        ("LEASEQUERY", ask(10), Ignored::UnknownType),
        ("type 0", ask(0), Ignored::UnknownType),
        ("type 255", ask(255), Ignored::UnknownType),
        (
            "option 52 of 4",
            discover().with(52, &[4]),
            Ignored::Malformed,
        ),
        (
            "option 52 empty",
            discover().with(52, &[]),
            Ignored::Malformed,
        ),
    ];
    for (name, ask, why) in cases {
        assert_eq!(
            ask_with(&binding(), &settings(), &ask).unwrap_err(),
            why,
            "{name}"
        );
    }
}

#[test]
fn row_4_1_an_option_over_the_end_is_ignored() {
    for end in [vec![12, 200, b'a'], vec![12], vec![12, 1]] {
        assert_eq!(
            ignored(&Ask {
                end: end.clone(),
                ..discover()
            }),
            Ignored::Malformed,
            "{end:?}"
        );
    }
    let no_end = Ask {
        end: vec![],
        ..discover()
    };
    assert_eq!(
        answered(&no_end).reply,
        Reply::Offer,
        "some clients leave it out"
    );
}

#[test]
fn row_4_1_cut_short_anywhere_is_ignored() {
    let packet = discover().packet();
    let served = served(&binding(), &settings());
    for len in 0..packet.len() {
        let why = decide(&served, Some(VM), &packet[..len]).unwrap_err();
        assert_eq!(why, Ignored::Malformed, "{len} bytes");
    }
}

/// RFC 2132 §3.2.
#[test]
fn row_4_1_nothing_is_read_behind_the_end() {
    let after = Ask {
        end: vec![255, 80, 0, 61, 1, 9, 12, 200],
        ..discover()
    };
    let answer = answered(&after);
    assert_eq!((answer.reply, answer.option(61)), (Reply::Offer, None));
}

/// RFC 2131 §4.1.
#[test]
fn row_4_2_the_type_may_stand_anywhere() {
    let mut late = discover();
    late.options = vec![0, 0, 12, 2, b'v', b'm', 0, 55, 1, 3, 53, 1, 1];
    assert_eq!(answered(&late).reply, Reply::Offer);
}

#[test]
fn row_4_2_options_in_file_and_sname_are_read() {
    for (overload, file, sname, reply) in [
        (1, vec![53, 1, 1, 255], vec![53, 1, 3, 255], Reply::Offer),
        (2, vec![53, 1, 3, 255], vec![53, 1, 1, 255], Reply::Offer),
        (
            3,
            vec![53, 1, 3, 255],
            vec![50, 4, 10, 0, 0, 77],
            Reply::Ack,
        ),
    ] {
        let ask = Ask {
            options: vec![52, 1, overload],
            file,
            sname,
            ..discover()
        };
        assert_eq!(answered(&ask).reply, reply, "option 52 = {overload}");
    }
    let not_overloaded = Ask {
        options: vec![],
        file: vec![53, 1, 1, 255],
        ..discover()
    };
    assert_eq!(ignored(&not_overloaded), Ignored::UnknownType);
}

/// RFC 3396 §7.
#[test]
fn row_4_2_parts_of_an_option_are_joined() {
    let parts = discover()
        .asking_for(&[3])
        .asking_for(&[6])
        .with(61, &[1; 200])
        .with(61, &[2; 100])
        .with(57, &[5, 220]);
    let answer = answered(&parts);
    assert!(answer.codes().ends_with(&[1, 3, 6]), "{:?}", answer.codes());
    assert_eq!(
        answer.option(61).unwrap(),
        [vec![1; 200], vec![2; 100]].concat()
    );

    let address_in_parts = ask(3).with(50, &[10, 0]).with(50, &[0, 77]);
    assert_eq!(answered(&address_in_parts).reply, Reply::Ack);

    let too_many = (0..4).fold(discover(), |ask, _| ask.asking_for(&[3]));
    assert_eq!(ignored(&too_many), Ignored::Malformed);
}

/// RFC 2131 §4.1.
#[test]
fn row_4_3_the_reply_goes_where_the_client_can_hear_it() {
    let everyone = (MacAddr::BROADCAST, Ipv4Addr::BROADCAST, 68);
    let relay: Ipv4Addr = "10.9.9.9".parse().unwrap();
    let to_relay = (VM, relay, 67);
    let broadcast = |ask: Ask| Ask {
        flags: 0x8000,
        ..ask
    };
    let relayed = |ask: Ask| Ask {
        giaddr: relay,
        ..ask
    };
    let cases = [
        ("OFFER", discover(), (VM, ADDRESS, 68)),
        ("OFFER, B flag", broadcast(discover()), everyone),
        ("ACK", select(ADDRESS, GATEWAY), (VM, ADDRESS, 68)),
        ("ACK, B flag", broadcast(select(ADDRESS, GATEWAY)), everyone),
        ("NAK", select(OTHER, GATEWAY), everyone),
        ("renewal", renew(ADDRESS), (VM, ADDRESS, 68)),
        (
            "renewal, B flag",
            broadcast(renew(ADDRESS)),
            (VM, ADDRESS, 68),
        ),
        ("renewal refused", renew(OTHER), everyone),
        ("relayed", relayed(discover()), to_relay),
        ("relayed, B flag", relayed(broadcast(discover())), to_relay),
        ("relayed NAK", relayed(reboot(OTHER)), to_relay),
        ("INFORM", inform(OTHER), (VM, OTHER, 68)),
        ("INFORM, relayed", relayed(inform(OTHER)), (VM, OTHER, 68)),
        (
            "INFORM without ciaddr",
            Ask {
                ciaddr: NONE,
                ..inform(OTHER)
            },
            (VM, OTHER, 68),
        ),
        ("INFORM from nowhere", ask(8), everyone),
    ];
    for (name, ask, (mac, ip, port)) in cases {
        let answer = answered(&ask);
        assert_eq!(answer.ethernet_destination, mac, "{name}");
        assert_eq!(answer.destination, (ip, port), "{name}");
    }
}

/// RFC 2131 §4.1.
#[test]
fn row_4_4_ports_are_67_and_68_whatever_the_client_uses() {
    for port in [68, 67, 1024, 0] {
        let answer = answered(&Ask {
            source: (NONE, port),
            ..discover()
        });
        assert_eq!(answer.source, (GATEWAY, 67));
        assert_eq!(answer.destination.1, 68, "asked from port {port}");
    }
    let relayed = Ask {
        giaddr: OTHER,
        ..discover()
    };
    assert_eq!(answered(&relayed).destination.1, 67);
}

#[test]
fn row_4_4_another_port_is_not_ours() {
    let packet = Ask {
        destination: (OTHER, 69),
        ..discover()
    }
    .packet();
    let inbound = Inbound {
        protocol: Protocol::Dhcpv4,
        source: Some(VM),
        verify_checksum: true,
        payload: &packet,
    };
    let decision = answer(
        &served(&binding(), &settings()),
        &inbound,
        &mut Frame::new(),
    );
    assert_eq!(decision, Decision::NotOurs);
}

/// RFC 2131 §4.3.1 table 3.
#[test]
fn row_4_5_fixed_fields_are_those_of_table_3() {
    let next: Ipv4Addr = "10.0.0.5".parse().unwrap();
    let mut binding = binding();
    binding.boot.server = Some(next);
    // The B flag, and a bit that must be zero: copied (`flags`).
    let noisy = |ask: Ask| Ask {
        flags: 0x8001,
        sname: vec![b's'; 64],
        file: vec![b'f'; 128],
        ..ask
    };
    let cases = [
        (noisy(discover()), NONE, ADDRESS, next),
        (noisy(select(ADDRESS, GATEWAY)), NONE, ADDRESS, next),
        (noisy(renew(ADDRESS)), ADDRESS, ADDRESS, next),
        (noisy(inform(OTHER)), OTHER, NONE, next),
        (noisy(renew(OTHER)), NONE, NONE, NONE),
        (
            noisy(Ask {
                ciaddr: OTHER,
                ..discover()
            }),
            NONE,
            ADDRESS,
            next,
        ),
    ];
    for (ask, ciaddr, yiaddr, siaddr) in cases {
        let answer = ask_with(&binding, &settings(), &ask).unwrap();
        let mut fixed = vec![2, 1, 6, 0];
        fixed.extend(XID);
        fixed.extend([0, 0, 0x80, 0x01]);
        fixed.extend(
            [ciaddr, yiaddr, siaddr, NONE]
                .map(|ip| ip.octets())
                .as_flattened(),
        );
        fixed.extend(VM.octets());
        fixed.resize(236, 0);
        assert_eq!(answer.bootp[..236], fixed, "{:?} {ask:?}", answer.reply);
    }
}

/// RFC 2131 table 3.
#[test]
fn row_4_6_every_reply_names_the_server() {
    for ask in [
        discover(),
        select(ADDRESS, GATEWAY),
        select(OTHER, GATEWAY),
        inform(ADDRESS),
    ] {
        let answer = answered(&ask);
        assert_eq!(
            answer.option(54).unwrap(),
            GATEWAY.octets(),
            "{:?}",
            answer.reply
        );
        assert_eq!(answer.source.0, GATEWAY);
        assert_eq!(answer.codes()[..2], [53, 54]);
    }
}

/// RFC 2131 §4.3.2.
#[test]
fn row_4_7_selecting_other_server_is_ignored() {
    assert_eq!(ignored(&select(ADDRESS, OTHER)), Ignored::OtherServer);
    assert_eq!(ignored(&select(OTHER, OTHER)), Ignored::OtherServer);
    assert_eq!(answered(&select(ADDRESS, GATEWAY)).reply, Reply::Ack);
}

/// RFC 2131 §4.3.2.
#[test]
fn row_4_8_init_reboot_is_refused_with_a_wrong_address() {
    assert_eq!(answered(&reboot(ADDRESS)).reply, Reply::Ack);
    for wrong in [
        OTHER,
        Ipv4Addr::new(192, 168, 1, 5),
        NONE,
        Ipv4Addr::BROADCAST,
    ] {
        let answer = answered(&reboot(wrong));
        assert_eq!(answer.reply, Reply::Nak, "{wrong}");
        assert_eq!(answer.option(53).unwrap(), [6]);
        assert_eq!(answer.destination, (Ipv4Addr::BROADCAST, 68));
    }
}

/// RFC 2131 §4.3.2.
#[test]
fn row_4_9_renewing_and_rebinding_are_checked() {
    let rebind = |address| Ask {
        destination: (Ipv4Addr::BROADCAST, 67),
        ..renew(address)
    };
    for ask in [renew(ADDRESS), rebind(ADDRESS)] {
        let answer = answered(&ask);
        assert_eq!(answer.reply, Reply::Ack);
        assert_eq!(answer.destination, (ADDRESS, 68));
        assert_eq!(answer.ethernet_destination, VM);
    }
    for ask in [renew(OTHER), rebind(OTHER)] {
        assert_eq!(answered(&ask).reply, Reply::Nak);
    }
}

/// RFC 2131 §4.3.2.
#[test]
fn row_4_10_a_relayed_nak_has_the_broadcast_bit() {
    let answer = answered(&Ask {
        giaddr: OTHER,
        ..reboot(OTHER)
    });
    assert_eq!(answer.reply, Reply::Nak);
    assert!(answer.message.flags().broadcast());
    assert_eq!(answer.message.giaddr(), OTHER);
    assert!(!answered(&reboot(OTHER)).message.flags().broadcast());
}

/// RFC 2131 §4.3.5.
#[test]
fn row_4_11_inform_gets_parameters_and_no_lease() {
    let codes = [1, 3, 6, 51, 58, 59];
    for ask in [
        inform(ADDRESS),
        inform(OTHER),
        inform(OTHER).with(50, &OTHER.octets()),
    ] {
        let answer = answered(&ask.asking_for(&codes));
        assert_eq!(answer.reply, Reply::InformAck);
        assert_eq!(answer.option(53).unwrap(), [5]);
        assert_eq!(answer.message.yiaddr(), NONE);
        assert_eq!(answer.codes(), [53, 54, 1, 3, 6]);
    }
    assert_eq!(
        answered(&inform(ADDRESS)).option(51),
        None,
        "without a list, too"
    );
}

/// RFC 2131 §4.3.3, §4.3.4.
#[test]
fn row_4_12_decline_and_release_are_reported() {
    let to = |kind, server: Ipv4Addr| {
        let ask = Ask {
            ciaddr: ADDRESS,
            ..ask(kind)
        };
        ignored(&ask.with(54, &server.octets()).with(50, &ADDRESS.octets()))
    };
    assert_eq!(to(4, GATEWAY), Ignored::Decline);
    assert_eq!(to(7, GATEWAY), Ignored::Release);
    assert_eq!(to(4, OTHER), Ignored::OtherServer);
    assert_eq!(to(7, OTHER), Ignored::OtherServer);
}

/// RFC 2131 §4.4.5.
#[test]
fn row_4_13_t1_is_below_t2_is_below_the_lease() {
    let number = |answer: &Answer, code| {
        u32::from_be_bytes(answer.option(code).unwrap().try_into().unwrap())
    };
    for (lease, t1, t2) in [
        (3600, 1800, 3150),
        (60, 30, 52),
        (u32::MAX - 1, 0x7fff_ffff, 0xdfff_fffe),
    ] {
        let binding = Binding {
            lease: Some(lease),
            ..binding()
        };
        for ask in [discover(), select(ADDRESS, GATEWAY), renew(ADDRESS)] {
            let answer = ask_with(&binding, &settings(), &ask).unwrap();
            assert_eq!(number(&answer, 51), lease);
            assert_eq!(
                (number(&answer, 58), number(&answer, 59)),
                (t1, t2),
                "lease {lease}"
            );
        }
    }
    let forever = Binding {
        lease: Some(u32::MAX),
        ..binding()
    };
    let answer = ask_with(&forever, &settings(), &discover()).unwrap();
    assert_eq!(number(&answer, 51), u32::MAX);
    assert_eq!((answer.option(58), answer.option(59)), (None, None));
    let hasty = Binding {
        lease: Some(1),
        ..binding()
    };
    let answer = ask_with(&hasty, &settings(), &discover()).unwrap();
    assert!(number(&answer, 58) < number(&answer, 59) && number(&answer, 59) < number(&answer, 51));
}

const MANDATORY: [u8; 5] = [53, 54, 51, 58, 59];

/// RFC 2131 §4.3.1, RFC 2132 §9.8.
#[test]
fn row_4_14_the_parameter_request_list_rules() {
    for list in [[15, 1, 3, 6, 12], [6, 12, 15, 1, 3], [1, 3, 6, 12, 15]] {
        assert_eq!(
            answered(&discover().asking_for(&list)).codes(),
            [&MANDATORY[..], &list].concat()
        );
    }
    let answer = answered(&discover().asking_for(&[12]));
    assert_eq!(
        answer.codes(),
        [&MANDATORY[..], &[12]].concat(),
        "nothing that is not asked for"
    );
    let answer = answered(&discover().asking_for(&[44, 46, 12, 252]));
    assert_eq!(
        answer.codes(),
        [&MANDATORY[..], &[12]].concat(),
        "nothing there is not"
    );
    let answer = answered(&discover());
    assert_eq!(
        answer.codes(),
        [&MANDATORY[..], &[1, 3, 6, 12, 15, 26, 28]].concat(),
        "no list"
    );
}

/// RFC 2132 §9.10.
#[test]
fn row_4_14_the_maximum_message_size_is_kept() {
    let search = (0..45)
        .map(|n| format!("a{n}.domain-{n}.example").parse().unwrap())
        .collect();
    let binding = Binding {
        domain_search: Some(search),
        ..binding()
    };
    let asking = |size: u16| {
        discover()
            .asking_for(&[119, 1, 3, 6, 12, 15])
            .with(57, &size.to_be_bytes())
    };
    let answer = |ask: &Ask, mtu| {
        let binding = Binding {
            mtu,
            ..binding.clone()
        };
        ask_with(&binding, &settings(), ask).unwrap()
    };
    let whole = answer(&asking(1500), None);
    assert!(
        whole.datagram_len > 1000 && whole.datagram_len <= 1500,
        "{}",
        whole.datagram_len
    );
    assert_eq!(whole.option(52), None);
    for (ask, mtu, limit) in [
        (asking(1000), None, 1000),
        (asking(576), None, 576),
        (asking(0), None, 576),
        (discover().asking_for(&[119, 1]), None, 576),
        (asking(65535), None, 1500),
        (asking(1500), Some(900), 900),
        (asking(1500), Some(400), 400),
        (asking(1500), Some(68), 328),
    ] {
        let answer = answer(&ask, mtu);
        assert!(
            answer.datagram_len <= limit,
            "{} > {limit}",
            answer.datagram_len
        );
        assert!(
            answer.codes().contains(&1),
            "a small option fits where a large one does not"
        );
    }
    let odd = discover().asking_for(&[119, 1]).with(57, &[5]);
    assert!(
        answer(&odd, None).datagram_len <= 576,
        "a size of one byte says nothing"
    );
}

/// RFC 2131 §4.1, RFC 3396.
#[test]
fn row_4_15_each_option_once_and_long_ones_in_parts() {
    let answer =
        answered(&discover().asking_for(&[1, 3, 3, 1, 6, 6, 53, 54, 51, 61, 82, 52, 0, 255, 6]));
    assert_eq!(answer.codes(), [&MANDATORY[..], &[1, 3, 6]].concat());

    let nameservers = (0..100)
        .map(|n| Ipv4Addr::new(192, 0, 2, n).into())
        .collect();
    let binding = Binding {
        nameservers: Some(nameservers),
        ..binding()
    };
    let ask = discover().asking_for(&[6]).with(57, &1500u16.to_be_bytes());
    let answer = ask_with(&binding, &settings(), &ask).unwrap();
    let wanted: Vec<u8> = (0..100).flat_map(|n| [192, 0, 2, n]).collect();
    assert_eq!(answer.option(6).unwrap(), wanted);
    let whole = [
        vec![6, 252],
        wanted[..252].to_vec(),
        vec![6, 148],
        wanted[252..].to_vec(),
    ]
    .concat();
    assert!(
        answer
            .bootp
            .windows(whole.len())
            .any(|window| window == whole),
        "252 + 148 bytes"
    );
}

/// RFC 2131 §4.1: `file` and `sname` hold what the options field cannot.
#[test]
fn row_4_15_what_does_not_fit_goes_into_file_and_sname() {
    let mut binding = binding();
    binding.raw_options = vec![
        raw_option(224, 250),
        raw_option(225, 100),
        raw_option(226, 50),
        raw_option(227, 70),
    ];
    let answer = ask_with(&binding, &settings(), &discover().asking_for(&[1, 3])).unwrap();
    assert!(answer.datagram_len <= 576);
    assert_eq!(answer.option(52).unwrap(), [3]);
    for (code, len) in [(224, 250), (225, 100), (226, 50)] {
        assert_eq!(answer.option(code).unwrap(), vec![7; len], "option {code}");
    }
    assert_eq!(answer.option(227), None, "no room is left for it");
    assert_eq!(answer.bootp[108..110], [225, 100]);
    assert_eq!(answer.bootp[44..46], [226, 50]);
    // The oracle reads only the options field: there the message is whole.
    assert!(answer.typed(OptionCode::ServerIdentifier).is_some());
}

/// `file` has 128 bytes, `sname` 64, each with an end option.
#[test]
fn row_4_15_an_option_fills_a_field_to_its_end_option() {
    let in_file_and_sname = |file: usize, sname: usize| {
        let mut binding = binding();
        binding.raw_options = vec![
            raw_option(224, 230),
            raw_option(225, file),
            raw_option(226, sname),
        ];
        let answer = ask_with(&binding, &settings(), &discover().asking_for(&[1])).unwrap();
        [225, 226].map(|code| answer.option(code).is_some())
    };
    assert_eq!(in_file_and_sname(125, 61), [true, true]);
    assert_eq!(in_file_and_sname(126, 61), [false, true]);
    assert_eq!(in_file_and_sname(125, 62), [true, false]);
}

fn raw_option(code: u8, len: usize) -> nfdhcpd_binding::RawOption {
    nfdhcpd_binding::RawOption {
        code,
        value: vec![7; len],
    }
}

/// RFC 2132 §3.3.
#[test]
fn row_4_16_the_mask_goes_before_the_router() {
    let answer = answered(&discover().asking_for(&[6, 3, 15, 1]));
    assert_eq!(answer.codes(), [&MANDATORY[..], &[6, 1, 3, 15]].concat());
}

/// RFC 1542 §2.1.
#[test]
fn row_4_17_the_message_has_300_bytes_and_a_checksum() {
    for ask in [
        discover().asking_for(&[1]),
        reboot(OTHER),
        inform(OTHER).asking_for(&[1]),
    ] {
        let answer = answered(&ask);
        assert_eq!(answer.bootp.len(), 300);
        assert_eq!(answer.datagram_len, 328);
    }
    // `Answer::read` has verified the checksum; here: it is there at all.
    let mut out = Frame::new();
    let packet = discover().packet();
    let inbound = Inbound {
        protocol: Protocol::Dhcpv4,
        source: None,
        verify_checksum: true,
        payload: &packet,
    };
    let decision = answer(&served(&binding(), &settings()), &inbound, &mut out);
    assert_eq!(decision, Decision::Reply(Reply::Offer));
    assert_ne!(out.as_slice()[40..42], [0, 0]);
}

/// RFC 6842 §3.
#[test]
fn row_4_18_the_client_identifier_comes_back() {
    let identifier = [255, 1, 2, 3, 4, 0, 1, 0, 0, 9, 9, 9, 9, 9, 9];
    for ask in [
        discover(),
        select(ADDRESS, GATEWAY),
        select(OTHER, GATEWAY),
        inform(OTHER),
    ] {
        let answer = answered(&ask.with(61, &identifier));
        assert_eq!(answer.option(61).unwrap(), identifier, "{:?}", answer.reply);
    }
    assert_eq!(answered(&discover()).option(61), None);
}

/// RFC 4361: whatever is in it, the port says who asks.
#[test]
fn row_4_19_the_client_identifier_is_opaque() {
    for identifier in [
        vec![],
        vec![0],
        vec![1, 6, 6, 6, 6, 6, 6],
        vec![255],
        vec![0; 255],
    ] {
        let answer = answered(&discover().with(61, &identifier));
        assert_eq!(answer.option(61).unwrap(), identifier);
        assert_eq!(answer.message.yiaddr(), ADDRESS);
    }
}

/// RFC 3046 §2.2.
#[test]
fn row_4_20_the_relay_agents_option_comes_back_last() {
    let agent = [1, 4, 1, 2, 3, 4, 2, 2, 9, 9];
    for ask in [
        discover(),
        select(OTHER, GATEWAY),
        inform(OTHER),
        renew(ADDRESS),
    ] {
        let answer = answered(&ask.with(82, &agent).with(61, &[1, 2, 3]));
        assert_eq!(
            *answer.options().last().unwrap(),
            (82, agent.to_vec()),
            "{:?}",
            answer.reply
        );
    }
    // It keeps its place when all other room is taken.
    let mut binding = binding();
    binding.raw_options = (224..250).map(|code| raw_option(code, 60)).collect();
    let answer = ask_with(&binding, &settings(), &discover().with(82, &[3; 200])).unwrap();
    assert!(answer.datagram_len <= 576);
    let mut field = Vec::new();
    scan(&answer.bootp[240..], &mut field);
    assert_eq!(*field.last().unwrap(), (82, vec![3; 200]));
}

/// RFC 3442.
#[test]
fn row_4_21_classless_routes_include_the_default() {
    let mut binding = binding();
    binding.routes = vec![
        "169.254.169.254/32@10.0.0.2",
        "172.16.0.0/12@10.0.0.3",
        "10.5.0.0/17@0.0.0.0",
    ]
    .into_iter()
    .map(|text| {
        let (destination, gateway) = text.split_once('@').unwrap();
        nfdhcpd_binding::Route::V4 {
            destination: destination.parse().unwrap(),
            gateway: gateway.parse().unwrap(),
        }
    })
    .collect();
    let ask = discover().asking_for(&[1, 121, 3, 249]);
    let answer = ask_with(&binding, &settings(), &ask).unwrap();
    let wanted = [
        &[32, 169, 254, 169, 254, 10, 0, 0, 2][..],
        &[12, 172, 16, 10, 0, 0, 3],
        &[17, 10, 5, 0, 0, 0, 0, 0],
        &[0, 10, 0, 0, 1],
    ]
    .concat();
    assert_eq!(answer.codes(), [&MANDATORY[..], &[1, 121, 3, 249]].concat());
    assert_eq!(answer.option(121).unwrap(), wanted);
    assert_eq!(answer.option(249).unwrap(), wanted);
    assert_eq!(answer.option(3).unwrap(), GATEWAY.octets());
    assert_eq!(
        answered(&ask).option(121),
        None,
        "the router option says it all"
    );
}

/// RFC 3397 §2.
#[test]
fn row_4_22_the_search_list_is_compressed() {
    let search = vec![
        "eng.apple.com".parse().unwrap(),
        "marketing.apple.com".parse().unwrap(),
    ];
    let binding = Binding {
        domain_search: Some(search),
        ..binding()
    };
    let answer = ask_with(&binding, &settings(), &discover().asking_for(&[119])).unwrap();
    // The RFC's own example.
    let wanted = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
    assert_eq!(answer.option(119).unwrap(), wanted);
}

/// RFC 8925 §3.3.
#[test]
fn row_4_23_ipv6_only_is_for_those_who_ask() {
    for (wait, wanted) in [(1800, 1800), (1, 300)] {
        let binding = Binding {
            v6only_wait: Some(wait),
            ..binding()
        };
        let answer = ask_with(&binding, &settings(), &discover().asking_for(&[1, 108])).unwrap();
        assert_eq!(answer.option(108).unwrap(), u32::to_be_bytes(wanted));
        for ask in [discover(), discover().asking_for(&[1])] {
            let answer = ask_with(&binding, &settings(), &ask).unwrap();
            assert_eq!(answer.option(108), None);
        }
    }
    assert_eq!(
        answered(&discover().asking_for(&[108])).option(108),
        None,
        "not configured"
    );
}

/// RFC 8910 §2.1.
#[test]
fn row_4_24_the_captive_portal_is_told_when_there_is_one() {
    let uri = "urn:ietf:params:capport:unrestricted";
    let binding = Binding {
        captive_portal: Some(uri.into()),
        ..binding()
    };
    let asking = discover().asking_for(&[114]);
    let answer = ask_with(&binding, &settings(), &asking).unwrap();
    assert_eq!(answer.option(114).unwrap(), uri.as_bytes());
    assert_eq!(answered(&asking).option(114), None);
}

/// RFC 4039 §3.1, §4.
#[test]
fn row_4_26_rapid_commit_gets_an_ack_at_once() {
    let ask = discover().with(80, &[]).with(61, &[1]);
    let answer = answered(&ask);
    assert_eq!(answer.reply, Reply::Ack);
    assert_eq!(answer.message.yiaddr(), ADDRESS);
    assert_eq!(answer.option(80).unwrap(), [0_u8; 0]);
    assert!(answer.option(51).is_some());
    let mut settings = settings();
    settings.dhcpv4.rapid_commit = false;
    let answer = ask_with(&binding(), &settings, &ask).unwrap();
    assert_eq!((answer.reply, answer.option(80)), (Reply::Offer, None));
    assert_eq!(answered(&discover()).option(80), None);
    assert_eq!(
        answered(&select(ADDRESS, GATEWAY).with(80, &[])).option(80),
        None
    );
}

/// RFC 4702 §2.1, §4.
#[test]
fn row_4_27_the_client_is_told_its_full_name() {
    let fqdn = |flags: u8| discover().with(81, &[&[flags, 0, 0], &b"\x05other"[..]].concat());
    let wire = b"\x03vm1\x07example\x03org\x00";
    for (asked, told) in [(0x05, 0x0e), (0x04, 0x0c), (0x0c, 0x0c)] {
        let value = answered(&fqdn(asked)).option(81).unwrap();
        assert_eq!(
            value,
            [&[told, 255, 255], &wire[..]].concat(),
            "flags {asked:#x}"
        );
    }
    let text = answered(&fqdn(0x01)).option(81).unwrap();
    assert_eq!(text, [&[0x0a, 255, 255], &b"vm1.example.org"[..]].concat());
    assert_eq!(
        answered(&discover().asking_for(&[81])).option(81),
        None,
        "not sent by the client"
    );

    let partial = Settings {
        domain: None,
        ..settings()
    };
    let value = ask_with(&binding(), &partial, &fqdn(0x04))
        .unwrap()
        .option(81)
        .unwrap();
    assert_eq!(value, [&[0x0c, 255, 255], &b"\x03vm1"[..]].concat());
    let long = [
        ["a"; 62].concat(),
        ["b"; 63].concat(),
        ["c"; 63].concat(),
        ["d"; 60].concat(),
    ];
    let long = Settings {
        domain: Some(long.join(".").parse().unwrap()),
        ..settings()
    };
    let value = ask_with(&binding(), &long, &fqdn(0x04));
    let value = value.unwrap().option(81).unwrap();
    assert_eq!(
        value,
        [&[0x0c, 255, 255], &b"\x03vm1"[..]].concat(),
        "the whole is no name"
    );
    let nameless = Binding {
        hostname: None,
        ..binding()
    };
    assert_eq!(
        ask_with(&nameless, &settings(), &fqdn(0x04))
            .unwrap()
            .option(81),
        None
    );
    // Bytes that are no name do not cost the client its address.
    assert_eq!(answered(&discover().with(81, &[])).reply, Reply::Offer);
    assert_eq!(
        answered(&discover().with(81, &[4, 0, 0, 63])).reply,
        Reply::Offer
    );
}

/// A relay's message is read as it is (the answer's path is row 4.3).
#[test]
fn row_4_3_giaddr_and_flags_are_read() {
    let packet = Ask {
        giaddr: OTHER,
        flags: 0x8000,
        ..discover()
    }
    .packet();
    let request = Request::read(&packet[28..]).unwrap();
    assert_eq!(
        (request.giaddr, request.flags, request.xid),
        (OTHER, 0x8000, XID)
    );
}
