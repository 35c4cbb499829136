//! Router and neighbour discovery as a VM sees it, row by row of the checklist; answers are read by pnet_packet.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use nfdhcpd_binding::{Binding, MacAddr, Mode6, Route};
use pnet_packet::Packet;
use pnet_packet::ethernet::EthernetPacket;
use pnet_packet::icmpv6::ndp::{NdpOption, NeighborAdvertPacket, RouterAdvertPacket};
use pnet_packet::icmpv6::{Icmpv6Packet, checksum};
use pnet_packet::ipv6::Ipv6Packet as PnetIpv6;
use proptest::prelude::*;

use super::{advertise, is_same_router, pass_on, withdraw};
use crate::responder::{
    Attachment, Decision, Ignored, Reply, Served, Settings, answer, tests::configured,
};
use crate::wire::ip::{ETHERNET_HEADER, Link, begin_icmpv6, finish, multicast_mac, solicited_node};
use crate::wire::{Frame, Inbound, Protocol};

const BRIDGE: u32 = 9;
const VM: MacAddr = MacAddr([0xaa, 0, 0, 0x51, 0xad, 0xbc]);
const ROUTER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);
const LAN_ROUTER: MacAddr = MacAddr([0x00, 0x1b, 0x21, 9, 9, 9]);
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
/// A link-local address that does not follow from the VM's hardware address (RFC 7217).
const PRIVATE_LINK_LOCAL: &str = "fe80::d4c8:11a7:90be:3f02";
/// Of the VM: formed from its hardware address.
const EUI64: &str = "2001:db8:77::a800:ff:fe51:adbc";
/// Of the VM: a temporary one (RFC 8981), which no binding names.
const TEMPORARY: &str = "2001:db8:77::5c1e:9d04:77a3:12ef";
const GATEWAY: &str = "2001:db8:77::1";
const OTHER_VM: &str = "2001:db8:77::beef";

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn net(text: &str) -> Ipv6Net {
    text.parse().unwrap()
}

fn settings() -> Settings {
    configured(
        "router_mac = '02:00:00:00:00:01'
         nameservers = ['2001:db8::53', '192.0.2.53']
         domain_search = ['example.org']
         [ra]
         router_lifetime = 1900",
    )
}

fn binding() -> Binding {
    let mut binding = Binding::new(VM);
    binding.subnet6 = Some(net("2001:db8:77::/64"));
    binding.gateway6 = Some(ip(GATEWAY));
    binding
}

fn routed(binding: &Binding) -> Served {
    Served::new(binding, Attachment::Routed, &settings())
}

fn bridged(binding: &Binding) -> Served {
    Served::new(binding, Attachment::Bridged { bridge: BRIDGE }, &settings())
}

/// A bridged NIC of a network whose router is this host.
fn bridged_to_host(binding: &Binding) -> Served {
    let settings = Settings {
        router_is_host: true,
        ..settings()
    };
    Served::new(binding, Attachment::Bridged { bridge: BRIDGE }, &settings)
}

/// An ICMPv6 packet of the VM; `body` follows the ICMPv6 header.
fn packet(source: &str, destination: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Frame::new();
    let link = Link {
        source: VM,
        destination: multicast_mac(destination),
    };
    assert!(begin_icmpv6(
        &mut frame,
        link,
        ip(source),
        destination,
        kind
    ));
    assert!(frame.push(body));
    assert!(finish(&mut frame));
    frame.as_slice()[ETHERNET_HEADER..].to_vec()
}

fn source_link_layer(mac: MacAddr) -> Vec<u8> {
    [&[1, 1][..], &mac.octets()].concat()
}

fn router_solicitation(source: &str) -> Vec<u8> {
    packet(source, ip("ff02::2"), 133, &[0; 4])
}

fn neighbor_solicitation(source: &str, target: &str) -> Vec<u8> {
    let options = if source == "::" {
        vec![]
    } else {
        source_link_layer(VM)
    };
    let body = [&[0; 4][..], &ip(target).octets(), &options].concat();
    packet(source, solicited_node(ip(target)), 135, &body)
}

fn inbound(protocol: Protocol, payload: &[u8]) -> Inbound<'_> {
    Inbound {
        protocol,
        source: Some(VM),
        verify_checksum: true,
        payload,
    }
}

/// The decision, and the frame if there is one.
fn ask(served: &Served, packet: &Inbound<'_>) -> (Decision, Sent) {
    let mut out = Frame::new();
    let decision = answer(served, packet, &mut out);
    (decision, Sent(out.as_slice().to_vec()))
}

fn solicit_router(served: &Served, source: &str) -> (Decision, Sent) {
    let packet = router_solicitation(source);
    ask(served, &inbound(Protocol::RouterSolicitation, &packet))
}

fn solicit_neighbor(served: &Served, source: &str, target: &str) -> (Decision, Sent) {
    let packet = neighbor_solicitation(source, target);
    ask(served, &inbound(Protocol::NeighborSolicitation, &packet))
}

fn unsolicited(served: &Served) -> Option<Sent> {
    let mut out = Frame::new();
    advertise(served, &mut out).then(|| Sent(out.as_slice().to_vec()))
}

const NOT_PROXIED: Decision = Decision::Ignore(Ignored::NotProxied);
const MALFORMED: Decision = Decision::Ignore(Ignored::Malformed);
const RA: Decision = Decision::Reply(Reply::RouterAdvertisement);
const NA: Decision = Decision::Reply(Reply::NeighborAdvertisement);

/// A frame to the VM.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent(Vec<u8>);

impl Sent {
    /// Ethernet destination and source.
    fn link(&self) -> (MacAddr, MacAddr) {
        let ethernet = EthernetPacket::new(&self.0).unwrap();
        (
            MacAddr(ethernet.get_destination().octets()),
            MacAddr(ethernet.get_source().octets()),
        )
    }

    /// IPv6 source and destination.
    fn ends(&self) -> (Ipv6Addr, Ipv6Addr) {
        let packet = PnetIpv6::new(&self.0[ETHERNET_HEADER..]).unwrap();
        assert_eq!(packet.get_hop_limit(), 255);
        assert_eq!(
            usize::from(packet.get_payload_length()),
            packet.payload().len()
        );
        (packet.get_source(), packet.get_destination())
    }

    /// The ICMPv6 message, its checksum checked.
    fn message(&self) -> Vec<u8> {
        let (source, destination) = self.ends();
        let message = self.0[ETHERNET_HEADER + 40..].to_vec();
        let icmpv6 = Icmpv6Packet::new(&message).unwrap();
        assert_eq!(
            icmpv6.get_checksum(),
            checksum(&icmpv6, &source, &destination)
        );
        assert_eq!(icmpv6.get_icmpv6_code().0, 0);
        message
    }

    fn advertisement(&self) -> RouterAdvertPacket<'static> {
        let message = self.message();
        assert_eq!(message[0], 134);
        RouterAdvertPacket::owned(message).unwrap()
    }

    fn options(&self) -> Vec<NdpOption> {
        self.advertisement().get_options()
    }

    /// The bodies of the options of a type.
    fn option(&self, kind: u8) -> Vec<Vec<u8>> {
        let options = self.options().into_iter();
        let of_kind = options.filter(|option| option.option_type.0 == kind);
        of_kind.map(|option| option.data).collect()
    }

    /// (router, solicited, override), target, hardware address.
    fn neighbor(&self) -> ((bool, bool, bool), Ipv6Addr, MacAddr) {
        let message = self.message();
        assert_eq!((message[0], message.len()), (136, 32));
        let packet = NeighborAdvertPacket::new(&message).unwrap();
        let flags = packet.get_flags();
        let options = packet.get_options();
        assert_eq!((options.len(), options[0].option_type.0), (1, 2));
        (
            (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0),
            packet.get_target_addr(),
            MacAddr(options[0].data.clone().try_into().unwrap()),
        )
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// A packet with one byte changed, its checksum right again unless it is left as it was.
fn altered(packet: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut frame = Frame::new();
    assert!(frame.push(&[0; 12]) && frame.push(&[0x86, 0xdd]) && frame.push(packet));
    frame.as_mut_slice()[ETHERNET_HEADER + at] = value;
    assert!(finish(&mut frame));
    frame.as_slice()[ETHERNET_HEADER..].to_vec()
}

const HOP_LIMIT: usize = 7;
const CODE: usize = 41;

#[test]
fn n1_router_solicitation_must_be_valid() {
    let served = routed(&binding());
    let check = |packet: &[u8]| ask(&served, &inbound(Protocol::RouterSolicitation, packet)).0;
    let good = router_solicitation(PRIVATE_LINK_LOCAL);
    assert_eq!(check(&good), RA);
    assert_eq!(check(&altered(&good, HOP_LIMIT, 254)), MALFORMED);
    assert_eq!(check(&altered(&good, CODE, 1)), MALFORMED);
    let mut wrong_checksum = good.clone();
    wrong_checksum[42] ^= 1;
    assert_eq!(check(&wrong_checksum), MALFORMED);
    assert_eq!(check(&good[..good.len() - 1]), MALFORMED);
    let of = |source: &str, body: &[u8]| packet(source, ip("ff02::2"), 133, body);
    assert_eq!(check(&of(PRIVATE_LINK_LOCAL, &[0; 3])), MALFORMED);
    let empty_option = [&[0; 4][..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(check(&of(PRIVATE_LINK_LOCAL, &empty_option)), MALFORMED);
    let over_long = [&[0; 4][..], &[1, 2, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(check(&of(PRIVATE_LINK_LOCAL, &over_long)), MALFORMED);
    let link_layer = [&[0; 4][..], &source_link_layer(VM)].concat();
    assert_eq!(check(&of("::", &link_layer)), MALFORMED);
    assert_eq!(check(&of(PRIVATE_LINK_LOCAL, &link_layer)), RA);
    let unknown_option = [&[0; 4][..], &[200, 1, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(check(&of(PRIVATE_LINK_LOCAL, &unknown_option)), RA);
    assert_eq!(check(&of("ff02::1", &[0; 4])), MALFORMED);
}

#[test]
fn n1_neighbor_solicitation_must_be_valid() {
    let served = routed(&binding());
    let check = |packet: &[u8]| ask(&served, &inbound(Protocol::NeighborSolicitation, packet)).0;
    let good = neighbor_solicitation(EUI64, GATEWAY);
    assert_eq!(check(&good), NA);
    assert_eq!(check(&altered(&good, HOP_LIMIT, 64)), MALFORMED);
    assert_eq!(check(&altered(&good, CODE, 1)), MALFORMED);
    let mut wrong_checksum = good;
    wrong_checksum[42] ^= 1;
    assert_eq!(check(&wrong_checksum), MALFORMED);
    let of =
        |source: &str, destination: &str, body: &[u8]| packet(source, ip(destination), 135, body);
    let body = |target: &str| [&[0; 4][..], &ip(target).octets()].concat();
    let gateway = solicited_node(ip(GATEWAY)).to_string();
    assert_eq!(check(&of(EUI64, &gateway, &body(GATEWAY)[..19])), MALFORMED);
    assert_eq!(check(&of(EUI64, &gateway, &body("ff02::1"))), MALFORMED);
    let empty_option = [body(GATEWAY), vec![1, 0]].concat();
    assert_eq!(check(&of(EUI64, &gateway, &empty_option)), MALFORMED);
    // A probe goes to the solicited-node address and names no hardware address.
    assert_eq!(check(&of("::", &gateway, &body(GATEWAY))), NA);
    assert_eq!(check(&of("::", "ff02::1", &body(GATEWAY))), MALFORMED);
    assert_eq!(check(&of("::", GATEWAY, &body(GATEWAY))), MALFORMED);
    let link_layer = [body(GATEWAY), source_link_layer(VM)].concat();
    assert_eq!(check(&of("::", &gateway, &link_layer)), MALFORMED);
    // A neighbour believed reachable is asked directly.
    assert_eq!(check(&of(EUI64, GATEWAY, &link_layer)), NA);
}

#[test]
fn b16_off_link_and_malformed_solicitations_are_not_believed() {
    let served = routed(&binding());
    let forwarded = altered(&neighbor_solicitation(EUI64, OTHER_VM), HOP_LIMIT, 63);
    let (decision, _) = ask(
        &served,
        &inbound(Protocol::NeighborSolicitation, &forwarded),
    );
    assert_eq!(decision, MALFORMED);
    // A router advertisement of the VM in the queue of solicitations.
    let advertisement = packet(EUI64, ip("ff02::1"), 134, &[0; 12]);
    let (decision, _) = ask(
        &served,
        &inbound(Protocol::RouterSolicitation, &advertisement),
    );
    assert_eq!(decision, MALFORMED);
}

#[test]
fn checksum_of_a_virtio_guest_is_not_filled_in_yet() {
    let mut packet = router_solicitation(PRIVATE_LINK_LOCAL);
    packet[42] ^= 0x55;
    let partial = Inbound {
        verify_checksum: false,
        ..inbound(Protocol::RouterSolicitation, &packet)
    };
    assert_eq!(ask(&routed(&binding()), &partial).0, RA);
}

#[test]
fn b2_any_link_local_address_is_answered_at_its_hardware_address() {
    for source in [PRIVATE_LINK_LOCAL, "fe80::1234:56ff:fe78:9abc", EUI64] {
        let (decision, sent) = solicit_router(&routed(&binding()), source);
        assert_eq!(decision, RA, "{source}");
        assert_eq!(sent.link(), (VM, ROUTER));
        assert_eq!(sent.ends(), (ROUTER.link_local(), ip(source)));
    }
}

#[test]
fn b2_a_foreign_hardware_address_is_spoofed() {
    let packet = router_solicitation(PRIVATE_LINK_LOCAL);
    let foreign = Inbound {
        source: Some(LAN_ROUTER),
        ..inbound(Protocol::RouterSolicitation, &packet)
    };
    let (decision, _) = ask(&routed(&binding()), &foreign);
    assert_eq!(decision, Decision::Ignore(Ignored::Spoofed));
}

#[test]
fn n4_solicitation_without_a_source_waits_for_the_advertiser() {
    let (decision, _) = solicit_router(&routed(&binding()), "::");
    assert_eq!(decision, Decision::Advertise);
    let mut without_prefix = binding();
    without_prefix.subnet6 = None;
    let (decision, _) = solicit_router(&routed(&without_prefix), "::");
    assert_eq!(decision, Decision::Ignore(Ignored::NoAddress));
}

#[test]
fn n3_router_lifetime_is_the_settings_and_0_without_a_router() {
    let lifetime = |served: &Served| unsolicited(served).unwrap().advertisement().get_lifetime();
    assert_eq!(lifetime(&routed(&binding())), 1900);
    assert_eq!(lifetime(&bridged_to_host(&binding())), 1900);
    assert_eq!(lifetime(&bridged(&binding())), 0);
    let mut private = binding();
    private.private = true;
    assert_eq!(lifetime(&routed(&private)), 0);
    let mut named = binding();
    named.gateway6_mac = Some(LAN_ROUTER);
    assert_eq!(lifetime(&bridged(&named)), 1900);
}

#[test]
fn n6_prefix_is_masked_and_its_lifetimes_are_finite() {
    let mut binding = binding();
    binding.subnet6 = Some(Ipv6Net::new(ip("2001:db8:77::dead"), 64).unwrap());
    let sent = unsolicited(&routed(&binding)).unwrap();
    let [prefix] = &sent.option(3)[..] else {
        panic!("one prefix");
    };
    // Length, then L and A.
    assert_eq!(prefix[..2], [64, 0xc0]);
    assert_eq!((u32_at(prefix, 2), u32_at(prefix, 6)), (2_592_000, 604_800));
    assert_eq!(prefix[14..], ip("2001:db8:77::").octets());
}

#[test]
fn n6_preferred_is_never_longer_than_valid() {
    let mut settings = settings();
    settings.ra.prefix_valid = 3600;
    let served = Served::new(&binding(), Attachment::Routed, &settings);
    let prefix = &unsolicited(&served).unwrap().option(3)[0];
    assert_eq!((u32_at(prefix, 2), u32_at(prefix, 6)), (3600, 3600));
}

#[test]
fn n6_only_a_prefix_of_64_bits_is_for_address_formation() {
    for (prefix, flags) in [
        ("2001:db8:77::/64", 0xc0),
        ("2001:db8:77::/80", 0x80),
        ("2001:db8::/48", 0x80),
    ] {
        let mut binding = binding();
        binding.subnet6 = Some(net(prefix));
        let sent = unsolicited(&routed(&binding)).unwrap();
        assert_eq!(sent.option(3)[0][1], flags, "{prefix}");
    }
}

#[test]
fn mode6_sets_managed_other_and_autonomous() {
    let flags = |mode| {
        let mut binding = binding();
        binding.mode6 = mode;
        let sent = unsolicited(&routed(&binding)).unwrap();
        (
            sent.advertisement().get_flags(),
            sent.option(3)[0][1] & 0x40 != 0,
        )
    };
    assert_eq!(flags(None), (0, true));
    assert_eq!(flags(Some(Mode6::Slaac)), (0, true));
    assert_eq!(flags(Some(Mode6::Stateless)), (0x40, true));
    assert_eq!(flags(Some(Mode6::Stateful)), (0xc0, false));
}

#[test]
fn mode_none_leaves_all_to_the_networks_own_router() {
    let mut binding = binding();
    binding.mode6 = Some(Mode6::None);
    for served in [routed(&binding), bridged_to_host(&binding)] {
        assert_eq!(solicit_router(&served, "::").0, Decision::NotOurs);
        assert_eq!(solicit_router(&served, EUI64).0, Decision::NotOurs);
        assert_eq!(
            solicit_neighbor(&served, EUI64, GATEWAY).0,
            Decision::NotOurs
        );
        assert_eq!(unsolicited(&served), None);
    }
}

#[test]
fn n7_name_servers_and_search_list_live_three_intervals() {
    let sent = unsolicited(&routed(&binding())).unwrap();
    let servers = &sent.option(25)[0];
    assert_eq!(u32_at(servers, 2), 1800);
    assert_eq!(servers[6..], ip("2001:db8::53").octets(), "IPv6 only");
    let search = &sent.option(31)[0];
    assert_eq!(u32_at(search, 2), 1800);
    assert_eq!(
        search[6..],
        *b"\x07example\x03org\0\0\0\0",
        "padded to 8 bytes"
    );
}

#[test]
fn n7_without_name_servers_there_is_no_empty_option() {
    let mut binding = binding();
    binding.nameservers = Some(vec![]);
    binding.domain_search = Some(vec![]);
    let sent = unsolicited(&routed(&binding)).unwrap();
    assert_eq!((sent.option(25).len(), sent.option(31).len()), (0, 0));
}

#[test]
fn n7_what_is_no_longer_so_is_withdrawn_with_lifetime_0() {
    let mut after = binding();
    after.nameservers = Some(vec!["2001:db8::54".parse().unwrap()]);
    after.domain_search = Some(vec![]);
    let mut out = Frame::new();
    assert!(withdraw(
        &routed(&binding()),
        Some(&routed(&after)),
        &mut out
    ));
    let sent = Sent(out.as_slice().to_vec());
    assert_eq!(
        sent.advertisement().get_lifetime(),
        1900,
        "the router stays"
    );
    let servers = sent.option(25);
    assert_eq!(
        (u32_at(&servers[0], 2), &servers[0][6..]),
        (0, &ip("2001:db8::53").octets()[..])
    );
    assert_eq!(
        (u32_at(&servers[1], 2), &servers[1][6..]),
        (1800, &ip("2001:db8::54").octets()[..])
    );
    assert_eq!(u32_at(&sent.option(31)[0], 2), 0);
    assert_eq!(sent.option(3).len(), 1);
    assert_ne!(u32_at(&sent.option(3)[0], 6), 0, "the prefix stays");
}

#[test]
fn n5_removal_is_told_by_a_last_advertisement() {
    let mut binding = binding();
    binding.routes = vec![Route::V6 {
        destination: net("2001:db8:100::/48"),
        gateway: Ipv6Addr::UNSPECIFIED,
    }];
    let before = routed(&binding);
    let mut out = Frame::new();
    assert!(withdraw(&before, None, &mut out));
    let sent = Sent(out.as_slice().to_vec());
    assert_eq!(sent.link(), (ALL_NODES_MAC, ROUTER));
    assert_eq!(sent.advertisement().get_lifetime(), 0);
    assert_eq!(u32_at(&sent.option(25)[0], 2), 0);
    assert_eq!(u32_at(&sent.option(31)[0], 2), 0);
    assert_eq!(u32_at(&sent.option(24)[0], 2), 0);
    let prefix = &sent.option(3)[0];
    assert_eq!((u32_at(prefix, 2), u32_at(prefix, 6)), (2_592_000, 0));
}

#[test]
fn n5_another_router_makes_the_one_before_cease() {
    let mut named = binding();
    named.gateway6_mac = Some(LAN_ROUTER);
    let (before, after) = (bridged(&named), bridged_to_host(&binding()));
    assert!(!is_same_router(&before, &after));
    let mut out = Frame::new();
    assert!(withdraw(&before, Some(&after), &mut out));
    let sent = Sent(out.as_slice().to_vec());
    assert_eq!(sent.ends().0, LAN_ROUTER.link_local());
    assert_eq!(sent.advertisement().get_lifetime(), 0);
}

#[test]
fn n5_the_same_binding_again_has_nothing_to_withdraw() {
    let mut out = Frame::new();
    assert!(!withdraw(
        &routed(&binding()),
        Some(&routed(&binding())),
        &mut out
    ));
    let mut without_prefix = binding();
    without_prefix.subnet6 = None;
    assert!(!withdraw(&routed(&without_prefix), None, &mut out));
}

#[test]
fn n5_another_prefix_of_the_same_router_deprecates_the_one_before() {
    let mut after = binding();
    after.subnet6 = Some(net("2001:db8:78::/64"));
    let mut out = Frame::new();
    assert!(withdraw(
        &routed(&binding()),
        Some(&routed(&after)),
        &mut out
    ));
    let prefixes = Sent(out.as_slice().to_vec()).option(3);
    assert_eq!(
        (u32_at(&prefixes[0], 6), &prefixes[0][14..]),
        (0, &ip("2001:db8:77::").octets()[..])
    );
    assert_eq!(
        (u32_at(&prefixes[1], 6), &prefixes[1][14..]),
        (604_800, &ip("2001:db8:78::").octets()[..])
    );
}

#[test]
fn n8_source_link_layer_address_is_the_routers() {
    let sent = unsolicited(&routed(&binding())).unwrap();
    assert_eq!(sent.option(1), [ROUTER.octets()]);
    assert_eq!(sent.link(), (ALL_NODES_MAC, ROUTER));
    assert_eq!(sent.ends(), (ROUTER.link_local(), ip("ff02::1")));
    assert_eq!(sent.advertisement().get_hop_limit(), 64);
}

#[test]
fn n8_mtu_is_told_from_1280_on() {
    for (mtu, told) in [
        (None, vec![]),
        (Some(1279), vec![]),
        (Some(1280), vec![1280]),
        (Some(9000), vec![9000]),
    ] {
        let mut binding = binding();
        binding.mtu = mtu;
        let sent = unsolicited(&routed(&binding)).unwrap();
        let options = sent.option(5);
        let sent: Vec<u32> = options.iter().map(|option| u32_at(option, 2)).collect();
        assert_eq!(sent, told, "{mtu:?}");
    }
}

#[test]
fn n8_routes_are_told_with_medium_preference() {
    let mut binding = binding();
    for destination in ["::/0", "2001:db8:100::/48", "2001:db8:200::1/128"] {
        binding.routes.push(Route::V6 {
            destination: net(destination),
            gateway: Ipv6Addr::UNSPECIFIED,
        });
    }
    let routes = unsolicited(&routed(&binding)).unwrap().option(24);
    let told: Vec<(u8, u8, u32)> = routes
        .iter()
        .map(|route| (route[0], route[1], u32_at(route, 2)))
        .collect();
    assert_eq!(told, [(0, 0, 1900), (48, 0, 1900), (128, 0, 1900)]);
    assert_eq!(routes[0].len(), 6);
    assert_eq!(routes[1][6..], ip("2001:db8:100::").octets()[..8]);
    assert_eq!(routes[2][6..], ip("2001:db8:200::1").octets());
    // A private network has no default router, but the routes it is given lead somewhere.
    binding.private = true;
    assert_eq!(unsolicited(&routed(&binding)).unwrap().option(24).len(), 3);
}

#[test]
fn n8_captive_portal_is_told() {
    let mut binding = binding();
    binding.captive_portal = Some("https://portal.example.org/api".into());
    let portal = &unsolicited(&routed(&binding)).unwrap().option(37)[0];
    assert_eq!(*portal, b"https://portal.example.org/api");
}

#[test]
fn an_advertisement_never_outgrows_the_smallest_link() {
    let mut binding = binding();
    binding.routes = (0..200)
        .map(|i| Route::V6 {
            destination: Ipv6Net::new(Ipv6Addr::from(0x2001_0db8_u128 << 96 | i << 64), 64)
                .unwrap(),
            gateway: Ipv6Addr::UNSPECIFIED,
        })
        .collect();
    let sent = unsolicited(&routed(&binding)).unwrap();
    assert!(sent.0.len() <= ETHERNET_HEADER + 1280);
    assert!(sent.option(24).len() > 50);
    assert_eq!((sent.option(3).len(), sent.option(25).len()), (1, 1));
}

#[test]
fn b14_advertisement_has_what_the_original_lacked() {
    let sent = unsolicited(&routed(&binding())).unwrap();
    let prefix = &sent.option(3)[0];
    assert_eq!(prefix[1] & 0x20, 0, "R is for Mobile IPv6");
    assert_eq!(
        prefix[14..],
        ip("2001:db8:77::").octets(),
        "the prefix, not the gateway"
    );
    assert!(u32_at(prefix, 2) < u32::MAX, "finite");
    assert!(sent.advertisement().get_lifetime() <= 9000);
    assert_eq!((sent.option(1).len(), sent.option(31).len()), (1, 1));
    let mut private = binding();
    private.private = true;
    let sent = unsolicited(&routed(&private)).unwrap();
    assert_eq!(sent.advertisement().get_lifetime(), 0);
}

#[test]
fn bridged_nic_is_told_prefix_resolvers_and_mtu_but_no_router() {
    let mut binding = binding();
    binding.mtu = Some(1450);
    binding.routes = vec![Route::V6 {
        destination: net("2001:db8:100::/48"),
        gateway: Ipv6Addr::UNSPECIFIED,
    }];
    let sent = unsolicited(&bridged(&binding)).unwrap();
    assert_eq!(sent.advertisement().get_lifetime(), 0);
    let kinds: Vec<u8> = sent
        .options()
        .iter()
        .map(|option| option.option_type.0)
        .collect();
    assert_eq!(kinds, [3, 5, 25, 31]);
}

#[test]
fn bridged_nic_is_told_the_router_the_binding_names() {
    let mut binding = binding();
    binding.gateway6_mac = Some(LAN_ROUTER);
    let sent = unsolicited(&bridged(&binding)).unwrap();
    assert_eq!(sent.link(), (ALL_NODES_MAC, LAN_ROUTER));
    assert_eq!(sent.ends().0, LAN_ROUTER.link_local());
    assert_eq!(sent.option(1), [LAN_ROUTER.octets()]);
    binding.gateway6 = Some(ip("fe80::1"));
    let sent = unsolicited(&bridged(&binding)).unwrap();
    assert_eq!(
        sent.ends().0,
        ip("fe80::1"),
        "a link-local gateway is the router itself"
    );
}

#[test]
fn n9_a_neighbor_is_answered_for_by_proxy() {
    for target in [OTHER_VM, "2001:db8:77::"] {
        let (decision, sent) = solicit_neighbor(&routed(&binding()), EUI64, target);
        assert_eq!(decision, NA);
        assert_eq!(sent.link(), (VM, ROUTER));
        assert_eq!(sent.ends(), (ip(target), ip(EUI64)));
        // Solicited; no router, no override.
        assert_eq!(sent.neighbor(), ((false, true, false), ip(target), ROUTER));
    }
}

#[test]
fn n9_the_router_answers_for_itself() {
    let router = ROUTER.link_local().to_string();
    for target in [GATEWAY, &router] {
        let (decision, sent) = solicit_neighbor(&routed(&binding()), PRIVATE_LINK_LOCAL, target);
        assert_eq!(decision, NA);
        assert_eq!(sent.ends(), (ip(target), ip(PRIVATE_LINK_LOCAL)));
        assert_eq!(sent.neighbor(), ((true, true, true), ip(target), ROUTER));
    }
}

#[test]
fn n9_a_probe_is_answered_to_all_nodes_and_not_as_solicited() {
    let (decision, sent) = solicit_neighbor(&routed(&binding()), "::", GATEWAY);
    assert_eq!(decision, NA);
    assert_eq!(sent.link(), (ALL_NODES_MAC, ROUTER));
    assert_eq!(sent.ends(), (ip(GATEWAY), ip("ff02::1")));
    assert_eq!(sent.neighbor(), ((true, false, true), ip(GATEWAY), ROUTER));
}

#[test]
fn n9_a_target_of_no_known_network_is_left_to_the_hosts_own_stack() {
    let (decision, _) = solicit_neighbor(&routed(&binding()), EUI64, "2001:db8:99::1");
    assert_eq!(decision, Decision::NotOurs);
}

#[test]
fn n10_the_vms_own_addresses_are_never_answered_for() {
    let mut binding = binding();
    binding.ip6 = Some(ip("2001:db8:77::10"));
    binding.extra_ips = vec![
        "2001:db8:77::11".parse().unwrap(),
        "192.0.2.1".parse().unwrap(),
    ];
    binding.eui64 = Some(ip("2001:db8:77::12"));
    let link_local = VM.link_local().to_string();
    let own = [
        "2001:db8:77::10",
        "2001:db8:77::11",
        "2001:db8:77::12",
        EUI64,
        &link_local,
    ];
    for target in own {
        for source in ["::", "2001:db8:77::10"] {
            let (decision, _) = solicit_neighbor(&routed(&binding), source, target);
            assert_eq!(decision, NOT_PROXIED, "{target} from {source}");
        }
    }
}

#[test]
fn n10_a_vm_whose_address_is_all_of_its_network_is_not_answered_for() {
    let mut binding = binding();
    binding.subnet6 = Some(net("2001:db8:77::10/128"));
    binding.ip6 = Some(ip("2001:db8:77::10"));
    let (decision, _) = solicit_neighbor(&routed(&binding), "fe80::1", "2001:db8:77::10");
    assert_eq!(decision, NOT_PROXIED);
}

#[test]
fn n11_temporary_and_private_addresses_pass_duplicate_address_detection() {
    for target in [TEMPORARY, PRIVATE_LINK_LOCAL] {
        let (decision, _) = solicit_neighbor(&routed(&binding()), "::", target);
        assert_eq!(decision, NOT_PROXIED, "{target}");
    }
    // From it, neighbours and the router are found.
    for target in [OTHER_VM, GATEWAY] {
        let (decision, sent) = solicit_neighbor(&routed(&binding()), TEMPORARY, target);
        assert_eq!(decision, NA);
        assert_eq!(sent.ends().1, ip(TEMPORARY));
    }
}

#[test]
fn bridged_neighbors_answer_for_themselves() {
    for target in [OTHER_VM, GATEWAY, EUI64] {
        let (decision, _) = solicit_neighbor(&bridged(&binding()), EUI64, target);
        assert_eq!(decision, Decision::NotOurs, "{target}");
    }
    assert!(targets(&bridged(&binding())).is_empty());
}

#[test]
fn bridged_router_is_answered_for_where_it_is_announced() {
    let mut named = binding();
    named.gateway6_mac = Some(LAN_ROUTER);
    for (served, mac) in [
        (bridged_to_host(&binding()), ROUTER),
        (bridged(&named), LAN_ROUTER),
    ] {
        assert_eq!(targets(&served), [mac.link_local(), ip(GATEWAY)]);
        for target in targets(&served) {
            let (decision, sent) = solicit_neighbor(&served, EUI64, &target.to_string());
            assert_eq!(decision, NA);
            assert_eq!(sent.link(), (VM, mac));
            assert_eq!(sent.neighbor(), ((true, true, true), target, mac));
        }
        let (decision, _) = solicit_neighbor(&served, EUI64, OTHER_VM);
        assert_eq!(decision, Decision::NotOurs);
    }
    assert!(targets(&routed(&binding())).is_empty());
}

fn targets(served: &Served) -> Vec<Ipv6Addr> {
    served
        .ndp
        .iter()
        .flat_map(super::Router::bridged_targets)
        .collect()
}

#[test]
fn a_binding_takes_little_room() {
    let mut binding = binding();
    binding.mtu = Some(1450);
    let router = super::Router::new(&binding, Attachment::Routed, &settings()).unwrap();
    let heap = router.advertisement.len() + size_of_val(&*router.own);
    assert!(size_of::<super::Router>() + heap <= 300, "{heap}");
}

proptest! {
    #[test]
    fn any_bytes_are_decided_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        verify_checksum: bool,
    ) {
        for protocol in [Protocol::RouterSolicitation, Protocol::NeighborSolicitation] {
            let inbound = Inbound { verify_checksum, ..inbound(protocol, &bytes) };
            let _ = ask(&routed(&binding()), &inbound);
        }
    }

    /// Whatever a solicitation says, the answer is well-formed, goes to the VM, and is never for its own address.
    #[test]
    fn any_solicitation_is_answered_to_its_sender_only(
        source in prop_oneof![Just("::".to_owned()), any::<u64>().prop_map(|id| format!("fe80::{:x}", id & 0xffff))],
        target in prop_oneof![
            Just(EUI64.to_owned()),
            Just(GATEWAY.to_owned()),
            any::<u16>().prop_map(|id| format!("2001:db8:77::{id:x}")),
            any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).to_string()),
        ],
        kind in 130_u8..140,
        options in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let body = [&[0; 4][..], &ip(&target).octets(), &options].concat();
        let packet = packet(&source, solicited_node(ip(&target)), kind, &body);
        for served in [routed(&binding()), bridged(&binding()), bridged_to_host(&binding())] {
            let (decision, sent) = ask(&served, &inbound(Protocol::NeighborSolicitation, &packet));
            if decision == NA {
                let (flags, answered, mac) = sent.neighbor();
                prop_assert_eq!((answered, mac), (ip(&target), ROUTER));
                prop_assert_ne!(answered, ip(EUI64));
                let probe = source == "::";
                prop_assert_eq!(flags.1, !probe);
                prop_assert_eq!(sent.link().0, if probe { ALL_NODES_MAC } else { VM });
            }
            let (decision, sent) = ask(&served, &inbound(Protocol::RouterSolicitation, &packet));
            if decision == RA {
                prop_assert_eq!((sent.link().0, sent.ends().1), (VM, ip(&source)));
            }
        }
    }
}

/// The network's own router would otherwise be heard of only when it next advertises, minutes later.
#[test]
fn a_bridged_vms_solicitation_also_goes_to_the_routers_of_its_network() {
    let packet = router_solicitation(PRIVATE_LINK_LOCAL);
    let mut frame = Frame::new();
    let mut passed = |served: &Served, packet: &[u8]| {
        let to = pass_on(
            served,
            &inbound(Protocol::RouterSolicitation, packet),
            &mut frame,
        );
        to.map(|bridge| (bridge, frame.as_slice().to_vec()))
    };
    let (bridge, frame) = passed(&bridged(&binding()), &packet).unwrap();
    assert_eq!(bridge, BRIDGE);
    let all_routers = MacAddr([0x33, 0x33, 0, 0, 0, 2]);
    assert_eq!(Sent(frame.clone()).link(), (all_routers, VM));
    assert_eq!(frame[12..14], [0x86, 0xdd]);
    assert_eq!(frame[14..], packet);
    let mut unfilled = packet.clone();
    unfilled[42..44].copy_from_slice(&[0x12, 0x34]);
    let (_, filled) = passed(&bridged(&binding()), &unfilled).unwrap();
    assert_eq!(filled[14..], packet);
    let without_prefix = bridged(&Binding::new(VM));
    assert!(passed(&without_prefix, &packet).is_some());
    for host_is_router in [routed(&binding()), bridged_to_host(&binding())] {
        assert_eq!(passed(&host_is_router, &packet), None);
    }
    let to_us_alone = self::packet(PRIVATE_LINK_LOCAL, ip("fe80::1"), 133, &[0; 4]);
    assert_eq!(passed(&bridged(&binding()), &to_us_alone), None);
}
