//! Neighbour discovery bytes against hand-written ones.

use proptest::prelude::*;

use super::*;

/// What follows the ICMPv6 header, written by hand from RFC 4861, 4191, 8106 and 8910.
#[rustfmt::skip]
const ADVERTISEMENT: [u8; 132] = [
    64, 0xc0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 1, 2, 0, 0, 0, 0, 1,
    5, 1, 0, 0, 0, 0, 0x05, 0xdc,
    3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x07, 0x08, 0, 0, 0, 0,
        0x20, 1, 0xd, 0xb8, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    24, 2, 48, 0, 0, 0, 0x07, 0x08, 0x20, 1, 0xd, 0xb8, 1, 0, 0, 0,
    25, 3, 0, 0, 0, 0, 0x03, 0x84, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53,
    31, 2, 0, 0, 0, 0, 0x03, 0x84, 3, b'l', b'a', b'n', 0, 0, 0, 0,
    37, 2, b'h', b't', b't', b'p', b':', b'/', b'/', b'p', 0, 0, 0, 0, 0, 0,
];
const PLACE_OF_LIFETIMES: [usize; 4] = [36, 64, 80, 104];

fn advertisement() -> Box<[u8]> {
    let mut message = RouterAdvertisement::new(true, true, 1800);
    message.source_link_layer(MacAddr([2, 0, 0, 0, 0, 1]));
    message.mtu(1500);
    message.prefix(Prefix {
        prefix: "2001:db8:77::/64".parse().unwrap(),
        autonomous: true,
        preferred: 1800,
        valid: 3600,
    });
    message.route("2001:db8:100::/48".parse().unwrap(), 1800);
    message.recursive_dns(&["2001:db8::53".parse().unwrap()], 900);
    message.dns_search_list(&["lan".parse().unwrap()], 900);
    message.captive_portal("http://p");
    message.into_bytes()
}

#[test]
fn writes_a_router_advertisement() {
    assert_eq!(*advertisement(), ADVERTISEMENT);
}

#[test]
fn a_last_advertisement_differs_in_its_lifetimes_only() {
    let mut last = advertisement();
    cease(&mut last);
    let mut expected = ADVERTISEMENT;
    expected[2..4].fill(0);
    for place in PLACE_OF_LIFETIMES {
        expected[place..place + 4].fill(0);
    }
    assert_eq!(*last, expected);
}

#[test]
fn a_succession_expires_what_is_no_longer_told_and_then_tells_the_rest() {
    let mut after = RouterAdvertisement::new(false, false, 1800);
    after.recursive_dns(&["2001:db8::53".parse().unwrap()], 900);
    let after = after.into_bytes();
    let mut out = Frame::new();
    assert!(push_succession(&ADVERTISEMENT, &after, &mut out));
    let mut expired = ADVERTISEMENT;
    for place in PLACE_OF_LIFETIMES {
        expired[place..place + 4].fill(0);
    }
    let expected = [
        &after[..12],
        &expired[28..76],
        &expired[100..116],
        &after[12..],
    ];
    assert_eq!(out.as_slice(), expected.concat());
}

#[test]
fn an_option_longer_than_255_units_is_left_out() {
    let mut message = RouterAdvertisement::new(false, false, 0);
    message.captive_portal(&"x".repeat(2100));
    assert_eq!(message.into_bytes().len(), 12);
}

#[test]
fn solicited_node_addresses_are_known() {
    for (address, is) in [
        ("ff02::1:ff00:1", true),
        ("ff02::1:ffad:bcde", true),
        ("ff02::1", false),
        ("ff02::1:fe00:1", false),
        ("ff05::1:ff00:1", false),
        ("fe80::1", false),
    ] {
        assert_eq!(is_solicited_node(address.parse().unwrap()), is, "{address}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), verify: bool) {
        let _ = RouterSolicitation::read(&bytes, verify);
        let _ = NeighborSolicitation::read(&bytes, verify);
    }

    #[test]
    fn any_bytes_cease_and_succeed_without_panic(
        before in proptest::collection::vec(any::<u8>(), 0..200),
        after in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        cease(&mut before.clone());
        let mut out = Frame::new();
        let _ = push_succession(&before, &after, &mut out);
    }
}
