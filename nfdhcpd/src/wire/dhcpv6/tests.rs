//! DHCPv6 bytes against hand-written ones, and against dhcproto's reading of the same.

use std::net::Ipv6Addr;

use dhcproto::v6;
use dhcproto::{Decodable, Decoder, Encodable};
use proptest::prelude::*;

use super::*;

#[rustfmt::skip]
const SOLICIT: [u8; 62] = [
    1, 0xa1, 0xb2, 0xc3,
    0, 1, 0, 10, 0, 3, 0, 1, 0xaa, 0, 0, 0x51, 0xad, 0xbc,
    0, 3, 0, 40, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 5, 0, 24, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0,
];

#[test]
fn reads_a_message() {
    let message = Message::read(&SOLICIT).unwrap();
    assert_eq!(message.transaction, [0xa1, 0xb2, 0xc3]);
    assert_eq!(
        message.options.first(code::CLIENT_ID),
        Some(&SOLICIT[8..18])
    );
    assert_eq!(message.options.first(code::SERVER_ID), None);
    let ias: Vec<_> = message.ias().collect();
    assert_eq!(
        (ias.len(), ias[0].kind, ias[0].id),
        (1, IaKind::NonTemporary, [0, 0, 0, 7])
    );
    let address: Ipv6Addr = "2001:db8::10".parse().unwrap();
    assert_eq!(ias[0].addresses().collect::<Vec<_>>(), [address]);
}

#[test]
fn refuses_a_message_cut_anywhere() {
    for len in 0..SOLICIT.len() {
        let is_whole = matches!(len, 4 | 18);
        assert_eq!(Message::read(&SOLICIT[..len]).is_ok(), is_whole, "{len}");
    }
}

#[test]
fn first_of_two_options_counts() {
    let options = Options::read(&[0, 1, 0, 1, 7, 0, 1, 0, 1, 8]).unwrap();
    assert_eq!(options.first(1), Some(&[7][..]));
    assert_eq!(options.count(), 2);
}

#[test]
fn writes_an_ia_with_its_length() {
    let message = Message::read(&SOLICIT).unwrap();
    let ia = message.ias().next().unwrap();
    let address = ia.addresses().next().unwrap();
    let mut out = Frame::new();
    assert!(push_ia(&mut out, &ia, (0, 0), |out| push_address(
        out, address, 0, 0
    )));
    assert_eq!(out.as_slice(), &SOLICIT[18..]);
}

#[test]
fn an_ia_ta_has_no_times() {
    let bytes = [0, 4, 0, 4, 1, 2, 3, 4];
    let mut with_header = vec![3, 0, 0, 0];
    with_header.extend(bytes);
    let message = Message::read(&with_header).unwrap();
    let ia = message.ias().next().unwrap();
    let mut out = Frame::new();
    assert!(push_ia(&mut out, &ia, (1, 2), |out| push_status(
        out,
        Status::NoBinding
    )));
    assert_eq!(out.as_slice(), [0, 4, 0, 10, 1, 2, 3, 4, 0, 13, 0, 2, 0, 3]);
}

#[test]
fn what_does_not_fit_is_said_to() {
    let mut out = Frame::new();
    assert!(!push_option(&mut out, 1, &[0; 70_000]));
    assert!(!push_option(&mut out, 1, &[0; 1600]));
}

#[test]
fn message_types_have_their_numbers() {
    for number in 0..=255 {
        if let Some(kind) = MessageType::from_number(number) {
            assert_eq!(kind.number(), number);
            let oracle = format!("{:?}", v6::MessageType::from(number));
            assert_eq!(
                oracle.to_lowercase()[..3],
                format!("{kind:?}").to_lowercase()[..3]
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::read(&bytes) {
            for ia in message.ias() {
                let _ = ia.addresses().count();
            }
        }
    }

    /// Whatever dhcproto writes is read, option for option.
    #[test]
    fn options_are_those_dhcproto_writes(
        options in proptest::collection::vec((100_u16..60_000, proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
        addresses in proptest::collection::vec(any::<u128>(), 0..5),
    ) {
        let mut message = v6::Message::new_with_id(v6::MessageType::Request, [1, 2, 3]);
        for (code, value) in &options {
            let unknown = v6::UnknownOption::new((*code).into(), value.clone());
            message.opts_mut().insert(v6::DhcpOption::Unknown(unknown));
        }
        let mut inner = v6::DhcpOptions::new();
        for address in &addresses {
            inner.insert(v6::DhcpOption::IAAddr(v6::IAAddr {
                addr: Ipv6Addr::from(*address),
                preferred_life: 1,
                valid_life: 2,
                opts: v6::DhcpOptions::new(),
            }));
        }
        let ia = v6::IANA { id: 0x0102_0304, t1: 0, t2: 0, opts: inner };
        message.opts_mut().insert(v6::DhcpOption::IANA(ia));
        let bytes = message.to_vec().unwrap();

        let read = Message::read(&bytes).unwrap();
        let mut expected: Vec<_> = options.iter().map(|(code, value)| (*code, &value[..])).collect();
        let mut found: Vec<_> = read.options.filter(|option| option.code != code::IA_NA).map(|option| (option.code, option.value)).collect();
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
        let ia = read.ias().next().unwrap();
        prop_assert_eq!(ia.id, [1, 2, 3, 4]);
        let mut found: Vec<u128> = ia.addresses().map(u128::from).collect();
        let mut expected = addresses;
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    /// Whatever is written is read by dhcproto.
    #[test]
    fn dhcproto_reads_what_is_written(value in proptest::collection::vec(any::<u8>(), 0..200), status in 0_usize..6) {
        let status = [
            Status::Success,
            Status::NoAddrsAvail,
            Status::NoBinding,
            Status::NotOnLink,
            Status::UseMulticast,
            Status::NoPrefixAvail,
        ][status];
        let mut out = Frame::new();
        prop_assert!(out.push(&[7, 1, 2, 3]));
        prop_assert!(push_option(&mut out, code::CLIENT_ID, &value));
        prop_assert!(push_status(&mut out, status));
        let message = v6::Message::decode(&mut Decoder::new(out.as_slice())).unwrap();
        prop_assert_eq!(
            message.opts().get(v6::OptionCode::ClientId),
            Some(&v6::DhcpOption::ClientId(value))
        );
        let Some(v6::DhcpOption::StatusCode(code)) = message.opts().get(v6::OptionCode::StatusCode) else {
            panic!("no status");
        };
        prop_assert_eq!(format!("{:?}", code.status), format!("{status:?}"));
    }
}
