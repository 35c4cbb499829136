//! The defects of the original nfdhcpd, each kept out.

use super::*;

/// A REQUEST from a source port other than 68 or 67 never got a verdict.
#[test]
fn b1_every_datagram_gets_a_decision() {
    for port in 0..=u16::MAX {
        if port % 257 == 0 || port < 70 {
            let ask = Ask {
                source: (NONE, port),
                ..discover()
            };
            assert_eq!(answered(&ask).reply, Reply::Offer, "source port {port}");
        }
    }
    for kind in 0..=255 {
        let _ = ask_with(&binding(), &settings(), &ask(kind));
    }
}

/// The MAC was compared as text.
#[test]
fn b5_a_foreign_mac_is_spoofed_unless_the_binding_allows_it() {
    let in_ethernet = Ask {
        ethernet_source: Some(STRANGER),
        ..discover()
    };
    let in_chaddr = Ask {
        chaddr: STRANGER,
        ..discover()
    };
    assert_eq!(ignored(&in_ethernet), Ignored::Spoofed);
    assert_eq!(ignored(&in_chaddr), Ignored::Spoofed);
    let unknown_source = Ask {
        ethernet_source: None,
        ..discover()
    };
    assert_eq!(answered(&unknown_source).reply, Reply::Offer);

    let allowed = Binding {
        mac_spoof: true,
        ..binding()
    };
    assert!(ask_with(&allowed, &settings(), &in_ethernet).is_ok());
    let answer = ask_with(&allowed, &settings(), &in_chaddr).unwrap();
    assert_eq!(answer.ethernet_destination, STRANGER);
    assert_eq!(answer.message.chaddr(), STRANGER.octets());
}

/// An address without a subnet ended in an exception at request time.
#[test]
fn b6_an_address_without_a_subnet_is_served() {
    let lone = Binding {
        subnet: None,
        ..binding()
    };
    let answer = ask_with(&lone, &settings(), &discover().asking_for(&[1, 3, 28, 121])).unwrap();
    assert_eq!(answer.message.yiaddr(), ADDRESS);
    assert_eq!(answer.option(1).unwrap(), [255; 4]);
    assert_eq!(answer.option(28), None);
    assert_eq!(
        answer.option(121).unwrap(),
        [32, 10, 0, 0, 1, 0, 0, 0, 0, 0, 10, 0, 0, 1]
    );
    let addressless = Binding {
        ip: None,
        ..binding()
    };
    assert_eq!(
        ask_with(&addressless, &settings(), &discover()).unwrap_err(),
        Ignored::NoAddress
    );
}

/// The NAK went to the address the client does not have, with the request's fields in it.
#[test]
fn b7_nak_is_broadcast() {
    for ask in [select(OTHER, GATEWAY), reboot(OTHER), renew(OTHER)] {
        let ask = Ask {
            sname: vec![b's'; 64],
            file: vec![b'f'; 128],
            ..ask
        };
        let answer = answered(&ask.asking_for(&[1, 3, 6]));
        assert_eq!(answer.reply, Reply::Nak);
        assert_eq!(answer.ethernet_destination, MacAddr::BROADCAST);
        assert_eq!(answer.destination, (Ipv4Addr::BROADCAST, 68));
        assert_eq!(
            answer.bootp[12..28],
            [0; 16],
            "ciaddr, yiaddr, siaddr, giaddr"
        );
        assert_eq!(answer.bootp[44..236], [0; 192], "sname, file");
        assert_eq!(answer.codes(), [53, 54, 56]);
    }
}

/// A renewal was acknowledged with another address, and another server's offer taken as ours.
#[test]
fn b8_a_renewal_is_checked() {
    assert_eq!(answered(&renew(OTHER)).reply, Reply::Nak);
    assert_eq!(answered(&renew(ADDRESS)).reply, Reply::Ack);
    let contradicts = Ask {
        ciaddr: OTHER,
        ..reboot(ADDRESS)
    };
    assert_eq!(answered(&contradicts).reply, Reply::Nak);
    assert_eq!(ignored(&select(ADDRESS, OTHER)), Ignored::OtherServer);
}

/// The broadcast flag and `ciaddr` were not looked at, and the reply went to the client's source port.
#[test]
fn b9_the_reply_goes_where_the_rfc_says() {
    let deaf = Ask {
        flags: 0x8000,
        source: (NONE, 1068),
        ..discover()
    };
    let answer = answered(&deaf);
    assert_eq!(answer.ethernet_destination, MacAddr::BROADCAST);
    assert_eq!(answer.destination, (Ipv4Addr::BROADCAST, 68));
    assert_eq!(answered(&discover()).destination, (ADDRESS, 68));
}

/// The reply was a copy of the request; a BOOTREPLY was answered.
#[test]
fn b10_nothing_of_the_request_is_reflected() {
    let noisy = Ask {
        sname: vec![b's'; 64],
        file: vec![b'f'; 128],
        ..discover()
    };
    let answer = answered(&noisy.with(12, b"i-name-myself").with(43, &[1, 2, 3]));
    assert_eq!(answer.bootp[3], 0, "hops");
    assert_eq!(answer.bootp[8..10], [0, 0], "secs");
    assert_eq!(answer.bootp[20..24], [0; 4], "siaddr");
    assert_eq!(
        answer.bootp[34..236],
        [0; 202],
        "chaddr's tail, sname, file"
    );
    assert_eq!(answer.option(12).unwrap(), b"vm1");
    assert_eq!(answer.option(43), None);
    assert_eq!(
        ignored(&Ask {
            op: 2,
            ..discover()
        }),
        Ignored::FromServer
    );
    assert_eq!(
        ignored(&Ask {
            options: vec![],
            ..discover()
        }),
        Ignored::UnknownType
    );
}

/// An option per name server; the list, the size and the identifier were ignored; type and server came last.
#[test]
fn b12_options_are_as_the_rfcs_say() {
    let nameservers = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    let nameservers = nameservers.map(|text| text.parse().unwrap()).to_vec();
    let binding = Binding {
        nameservers: Some(nameservers),
        ..binding()
    };
    let ask = discover()
        .asking_for(&[6, 15])
        .with(61, &[1, 2])
        .with(82, &[1, 0]);
    let answer = ask_with(&binding, &settings(), &ask).unwrap();
    assert_eq!(answer.codes(), [53, 54, 51, 58, 59, 61, 6, 15, 82]);
    let six = [
        6, 16, 192, 0, 2, 1, 192, 0, 2, 2, 192, 0, 2, 3, 192, 0, 2, 4,
    ];
    assert!(
        answer.bootp.windows(18).any(|window| window == six),
        "one option with all four"
    );
}

/// Virtio guests send partial checksums; a wrong one that must be verified is refused.
#[test]
fn a_partial_checksum_is_neither_spoofed_nor_malformed() {
    let mut packet = discover().packet();
    packet[26..28].copy_from_slice(&[0x01, 0x5b]);
    let served = served(&binding(), &settings());
    let decide = |verify_checksum| {
        let inbound = Inbound {
            protocol: Protocol::Dhcpv4,
            source: Some(VM),
            verify_checksum,
            payload: &packet,
        };
        answer(&served, &inbound, &mut Frame::new())
    };
    assert_eq!(decide(false), Decision::Reply(Reply::Offer));
    assert_eq!(decide(true), Decision::Ignore(Ignored::Malformed));
}
