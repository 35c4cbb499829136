//! DHCPv6 as a VM sees it, row by row of the checklist; replies are read by dhcproto.

use std::net::Ipv6Addr;

use dhcproto::v6::{self, DhcpOption, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use nfdhcpd_binding::{Binding, ClientArch, MacAddr, Mode6};
use pnet_packet::Packet;
use pnet_packet::ethernet::EthernetPacket;
use pnet_packet::ipv6::Ipv6Packet as PnetIpv6;
use pnet_packet::udp::{UdpPacket, ipv6_checksum};
use proptest::prelude::*;

use crate::responder::{
    Attachment, Decision, Ignored, Reply, Served, Settings, answer, tests::configured,
};
use crate::wire::ip::{ETHERNET_HEADER, Link, begin_udp6, finish, multicast_mac};
use crate::wire::{Frame, Inbound, Protocol};

const VM: MacAddr = MacAddr([0xaa, 0, 0, 0x51, 0xad, 0xbc]);
const ROUTER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);
const ALL_SERVERS: &str = "ff02::1:2";
/// A link-local address that does not follow from the VM's hardware address (RFC 7217).
const PRIVATE_LINK_LOCAL: &str = "fe80::d4c8:11a7:90be:3f02";
const CLIENT_ID: [u8; 14] = [0, 1, 0, 1, 0x2c, 0x5f, 1, 2, 0xaa, 0, 0, 0x51, 0xad, 0xbc];
const SERVER_ID: [u8; 10] = [0, 3, 0, 1, 0x02, 0, 0, 0, 0, 0x01];
const ADDRESS: &str = "2001:db8:77::10";
const TRANSACTION: [u8; 3] = [0xa1, 0xb2, 0xc3];

const SOLICIT: u8 = 1;
const REQUEST: u8 = 3;
const CONFIRM: u8 = 4;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const RELEASE: u8 = 8;
const DECLINE: u8 = 9;
const INFORMATION_REQUEST: u8 = 11;

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn settings() -> Settings {
    configured(
        "router_mac = '02:00:00:00:00:01'
         nameservers = ['2001:db8::53', '192.0.2.53']
         domain = 'example.org'
         domain_search = ['example.org', 'example.net']
         ntp = ['2001:db8::7b', '2001:db8::7c']
         [dhcpv6]
         preferred_lifetime = 3000
         valid_lifetime = 7200
         information_refresh = 1800
         sol_max_rt = 600
         inf_max_rt = 900",
    )
}

fn binding() -> Binding {
    let mut binding = Binding::new(VM);
    binding.hostname = Some("vm1".parse().unwrap());
    binding.subnet6 = Some("2001:db8:77::/64".parse().unwrap());
    binding.ip6 = Some(ip(ADDRESS));
    binding.mode6 = Some(Mode6::Stateful);
    binding.captive_portal = Some("https://portal.example.org/api".into());
    binding.boot.url6 = Some("tftp://[2001:db8::69]/boot.efi".into());
    binding.boot.param6 = vec!["root=/dev/vda".into(), "quiet".into()];
    binding
}

/// Without an address to give.
fn stateless() -> Binding {
    let mut binding = binding();
    binding.ip6 = None;
    binding.mode6 = Some(Mode6::Stateless);
    binding
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap();
    [&code.to_be_bytes(), &len.to_be_bytes(), value].concat()
}

fn client_id() -> Vec<u8> {
    option(1, &CLIENT_ID)
}

fn server_id() -> Vec<u8> {
    option(2, &SERVER_ID)
}

fn request_options(codes: &[u16]) -> Vec<u8> {
    let codes: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
    option(6, &codes)
}

/// An IA_NA with addresses.
fn ia_na(id: u32, addresses: &[&str]) -> Vec<u8> {
    let mut value = id.to_be_bytes().to_vec();
    value.extend([0; 8]);
    for address in addresses {
        value.extend(option(5, &[&ip(address).octets()[..], &[0; 8]].concat()));
    }
    option(3, &value)
}

fn ia_ta(id: u32) -> Vec<u8> {
    option(4, &id.to_be_bytes())
}

fn ia_pd(id: u32) -> Vec<u8> {
    option(25, &[&id.to_be_bytes()[..], &[0; 8]].concat())
}

fn message(kind: u8, options: &[Vec<u8>]) -> Vec<u8> {
    let [a, b, c] = TRANSACTION;
    [vec![kind, a, b, c], options.concat()].concat()
}

/// What the VM sends: to whom, from which of its addresses, which DHCPv6 message.
fn packet(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let mut frame = Frame::new();
    let link = Link {
        source: VM,
        destination: multicast_mac(ip(destination)),
    };
    assert!(begin_udp6(
        &mut frame,
        link,
        (ip(source), 546),
        (ip(destination), 547)
    ));
    assert!(frame.push(payload));
    assert!(finish(&mut frame));
    frame.as_slice()[ETHERNET_HEADER..].to_vec()
}

fn inbound(payload: &[u8]) -> Inbound<'_> {
    Inbound {
        protocol: Protocol::Dhcpv6,
        source: Some(VM),
        verify_checksum: true,
        payload,
    }
}

/// What came back: the decision and, for a reply, its frame and its message.
struct Answer {
    decision: Decision,
    frame: Vec<u8>,
    message: Option<v6::Message>,
}

impl Answer {
    fn of(served: &Served, packet: &Inbound<'_>) -> Self {
        let mut out = Frame::new();
        let decision = answer(served, packet, &mut out);
        let message = matches!(decision, Decision::Reply(_)).then(|| decode(out.as_slice()));
        Self {
            decision,
            frame: out.as_slice().to_vec(),
            message,
        }
    }

    fn message(&self) -> &v6::Message {
        let message = self.message.as_ref();
        message.unwrap_or_else(|| panic!("no reply: {:?}", self.decision))
    }

    fn option(&self, code: u16) -> Option<Vec<u8>> {
        let option = self.message().opts().get(code.into())?;
        Some(option.to_vec().unwrap()[4..].to_vec())
    }

    fn status(&self) -> Option<v6::Status> {
        status(self.message().opts())
    }

    fn ias(&self) -> Vec<&v6::IANA> {
        let options = self.message().opts().iter();
        let ias = options.filter_map(|option| {
            let DhcpOption::IANA(ia) = option else {
                return None;
            };
            Some(ia)
        });
        ias.collect()
    }

    /// The only IA_NA's.
    fn addresses(&self) -> Vec<(Ipv6Addr, u32, u32)> {
        assert_eq!(self.ias().len(), 1);
        addresses(self.ias()[0])
    }
}

fn status(options: &v6::DhcpOptions) -> Option<v6::Status> {
    match options.get(OptionCode::StatusCode) {
        Some(DhcpOption::StatusCode(code)) => Some(code.status),
        _ => None,
    }
}

fn addresses(ia: &v6::IANA) -> Vec<(Ipv6Addr, u32, u32)> {
    let addresses = ia.opts.iter().filter_map(|option| {
        let DhcpOption::IAAddr(a) = option else {
            return None;
        };
        Some((a.addr, a.preferred_life, a.valid_life))
    });
    addresses.collect()
}

/// Checks every header of a reply, and that dhcproto reads the message to its last byte.
fn decode(frame: &[u8]) -> v6::Message {
    let ethernet = EthernetPacket::new(frame).unwrap();
    assert_eq!(ethernet.get_source().octets(), ROUTER.octets());
    let ip = PnetIpv6::new(ethernet.payload()).unwrap();
    assert_eq!(ip.get_source(), ROUTER.link_local());
    assert_eq!(usize::from(ip.get_payload_length()), ip.payload().len());
    let udp = UdpPacket::new(ip.payload()).unwrap();
    assert_eq!((udp.get_source(), udp.get_destination()), (547, 546));
    assert_eq!(usize::from(udp.get_length()), ip.payload().len());
    let checksum = ipv6_checksum(&udp, &ip.get_source(), &ip.get_destination());
    assert_eq!(udp.get_checksum(), checksum);
    let message = v6::Message::decode(&mut Decoder::new(udp.payload())).unwrap();
    assert_eq!(message.to_vec().unwrap().len(), udp.payload().len());
    message
}

fn serve(binding: &Binding) -> Served {
    Served::new(binding, Attachment::Routed, &settings())
}

/// A multicast message from the VM's link-local address, answered from a binding.
fn ask(binding: &Binding, kind: u8, options: &[Vec<u8>]) -> Answer {
    let packet = packet(PRIVATE_LINK_LOCAL, ALL_SERVERS, &message(kind, options));
    Answer::of(&serve(binding), &inbound(&packet))
}

fn ignored(why: Ignored) -> Decision {
    Decision::Ignore(why)
}

#[test]
fn row_6_1_server_duid_follows_from_the_router_not_from_host_or_time() {
    let answer = ask(&binding(), SOLICIT, &[client_id(), ia_na(1, &[])]);
    assert_eq!(answer.option(2).unwrap(), SERVER_ID);
}

#[test]
fn row_6_1_configured_duid_is_used_as_it_is() {
    let mut settings = settings();
    settings.dhcpv6.server_duid = Some(vec![0, 2, 0, 0, 0x7d, 0x50, 1, 2, 3]);
    let served = Served::new(&binding(), Attachment::Routed, &settings);
    let packet = packet(
        PRIVATE_LINK_LOCAL,
        ALL_SERVERS,
        &message(SOLICIT, &[client_id(), ia_na(1, &[])]),
    );
    let answer = Answer::of(&served, &inbound(&packet));
    assert_eq!(answer.option(2), settings.dhcpv6.server_duid);
}

#[test]
fn b13_duid_is_stable() {
    let ask = || ask(&binding(), INFORMATION_REQUEST, &[client_id()]).option(2);
    let (first, after_restart) = (ask().unwrap(), ask().unwrap());
    assert_eq!(first, after_restart);
    assert_eq!(first[..2], [0, 3], "no DUID-LLT: it has a time in it");
}

#[test]
fn row_6_2_solicit_confirm_and_rebind_name_no_server() {
    for kind in [SOLICIT, CONFIRM, REBIND] {
        let options = [client_id(), server_id(), ia_na(1, &[ADDRESS])];
        let answer = ask(&binding(), kind, &options);
        assert_eq!(answer.decision, ignored(Ignored::Identifier), "{kind}");
    }
}

#[test]
fn row_6_2_request_renew_release_and_decline_name_this_server() {
    let other = option(2, &[0, 3, 0, 1, 9, 9, 9, 9, 9, 9]);
    for kind in [REQUEST, RENEW, RELEASE, DECLINE] {
        let ia = ia_na(1, &[ADDRESS]);
        let answer = ask(&binding(), kind, &[client_id(), ia.clone()]);
        assert_eq!(answer.decision, ignored(Ignored::Identifier), "{kind}");
        let answer = ask(&binding(), kind, &[client_id(), other.clone(), ia]);
        assert_eq!(answer.decision, ignored(Ignored::OtherServer), "{kind}");
    }
}

#[test]
fn row_6_2_client_id_is_required_except_to_ask_for_information() {
    for kind in [SOLICIT, CONFIRM, REBIND] {
        let answer = ask(&binding(), kind, &[ia_na(1, &[ADDRESS])]);
        assert_eq!(answer.decision, ignored(Ignored::Identifier), "{kind}");
    }
    for kind in [REQUEST, RENEW, RELEASE, DECLINE] {
        let answer = ask(&binding(), kind, &[server_id(), ia_na(1, &[ADDRESS])]);
        assert_eq!(answer.decision, ignored(Ignored::Identifier), "{kind}");
    }
    let answer = ask(&binding(), INFORMATION_REQUEST, &[]);
    assert_eq!(answer.decision, Decision::Reply(Reply::InformationReply6));
    assert_eq!(answer.option(1), None);
}

#[test]
fn row_6_2_identifiers_of_impossible_length_are_malformed() {
    for len in [0, 2, 131] {
        let answer = ask(
            &binding(),
            SOLICIT,
            &[option(1, &vec![7; len]), ia_na(1, &[])],
        );
        assert_eq!(answer.decision, ignored(Ignored::Malformed), "{len}");
    }
    let longest = option(1, &[7; 130]);
    let answer = ask(&binding(), SOLICIT, &[longest, ia_na(1, &[])]);
    assert_eq!(answer.option(1).unwrap(), [7; 130]);
}

#[test]
fn row_6_2_messages_of_servers_and_relays_are_dropped() {
    for kind in [2, 7, 10] {
        let answer = ask(&binding(), kind, &[client_id(), server_id()]);
        assert_eq!(answer.decision, ignored(Ignored::FromServer), "{kind}");
    }
    for kind in [0, 12, 13, 14, 99] {
        let answer = ask(&binding(), kind, &[client_id()]);
        assert_eq!(answer.decision, ignored(Ignored::UnknownType), "{kind}");
    }
}

#[test]
fn row_6_3_solicit_is_answered_by_advertise() {
    let answer = ask(&binding(), SOLICIT, &[client_id(), ia_na(0x0102_0304, &[])]);
    assert_eq!(answer.decision, Decision::Reply(Reply::Advertise6));
    assert_eq!(answer.message().msg_type(), v6::MessageType::Advertise);
    assert_eq!(answer.message().xid(), TRANSACTION);
    assert_eq!(answer.option(1).unwrap(), CLIENT_ID);
    assert_eq!(answer.option(2).unwrap(), SERVER_ID);
    assert_eq!(answer.option(7).unwrap(), [255], "nobody else to wait for");
    assert_eq!(answer.option(14), None);
    assert_eq!(answer.ias()[0].id, 0x0102_0304);
    assert_eq!(answer.addresses(), [(ip(ADDRESS), 3000, 7200)]);
    assert_eq!(answer.status(), None);
}

#[test]
fn row_6_3_rapid_commit_is_answered_by_reply() {
    let options = [client_id(), option(14, &[]), ia_na(1, &[])];
    let answer = ask(&binding(), SOLICIT, &options);
    assert_eq!(answer.decision, Decision::Reply(Reply::Reply6));
    assert_eq!(answer.message().msg_type(), v6::MessageType::Reply);
    assert_eq!(answer.option(14).unwrap(), [0_u8; 0]);
    assert_eq!(answer.addresses(), [(ip(ADDRESS), 3000, 7200)]);
}

#[test]
fn row_6_3_rapid_commit_without_an_address_to_commit_is_answered_by_advertise() {
    let options = [client_id(), option(14, &[]), ia_na(1, &[])];
    let answer = ask(&stateless(), SOLICIT, &options);
    assert_eq!(answer.message().msg_type(), v6::MessageType::Advertise);
    assert_eq!(answer.option(14), None);
}

#[test]
fn row_6_4_request_gets_the_address_in_its_ia() {
    let options = [client_id(), server_id(), ia_na(77, &[ADDRESS])];
    let answer = ask(&binding(), REQUEST, &options);
    assert_eq!(answer.decision, Decision::Reply(Reply::Reply6));
    assert_eq!(answer.message().msg_type(), v6::MessageType::Reply);
    assert_eq!(answer.ias()[0].id, 77);
    assert_eq!(answer.addresses(), [(ip(ADDRESS), 3000, 7200)]);
}

#[test]
fn row_6_4_only_the_first_ia_gets_the_fixed_address() {
    for (kind, server) in [(SOLICIT, vec![]), (REQUEST, server_id())] {
        let ias = [ia_na(1, &[]), ia_na(2, &[])].concat();
        let answer = ask(&binding(), kind, &[client_id(), server, ias]);
        let ias = answer.ias();
        assert_eq!(ias.len(), 2);
        assert_eq!((ias[0].id, addresses(ias[0]).len()), (1, 1));
        assert_eq!((ias[1].id, addresses(ias[1]).len()), (2, 0));
        assert_eq!(status(&ias[1].opts), Some(v6::Status::NoAddrsAvail));
        assert_eq!(answer.status(), None);
    }
}

#[test]
fn row_6_4_temporary_addresses_and_prefixes_are_not_available() {
    let answer = ask(
        &binding(),
        REQUEST,
        &[client_id(), server_id(), ia_ta(5), ia_pd(6), ia_na(7, &[])],
    );
    let options = answer.message().opts();
    let Some(DhcpOption::IATA(ta)) = options.get(OptionCode::IATA) else {
        panic!("no IA_TA");
    };
    assert_eq!(
        (ta.id, status(&ta.opts)),
        (5, Some(v6::Status::NoAddrsAvail))
    );
    let Some(DhcpOption::IAPD(pd)) = options.get(OptionCode::IAPD) else {
        panic!("no IA_PD");
    };
    assert_eq!(
        (pd.id, status(&pd.opts)),
        (6, Some(v6::Status::NoPrefixAvail))
    );
    assert_eq!(answer.addresses(), [(ip(ADDRESS), 3000, 7200)]);
}

#[test]
fn row_6_4_request_for_an_address_of_another_link_is_told_so() {
    let options = [client_id(), server_id(), ia_na(1, &["2001:db8:bad::1"])];
    let answer = ask(&binding(), REQUEST, &options);
    assert_eq!(answer.decision, Decision::Reply(Reply::Refusal6));
    assert_eq!(status(&answer.ias()[0].opts), Some(v6::Status::NotOnLink));
    assert_eq!(answer.addresses(), []);
}

#[test]
fn row_6_5_confirm_of_the_address_succeeds() {
    let answer = ask(&binding(), CONFIRM, &[client_id(), ia_na(1, &[ADDRESS])]);
    assert_eq!(answer.decision, Decision::Reply(Reply::Reply6));
    assert_eq!(answer.status(), Some(v6::Status::Success));
    assert_eq!(answer.ias().len(), 0);
}

#[test]
fn row_6_5_confirm_of_another_address_is_not_on_link() {
    for address in ["2001:db8:bad::1", "2001:db8:77::11"] {
        let ias = ia_na(1, &[ADDRESS, address]);
        let answer = ask(&binding(), CONFIRM, &[client_id(), ias]);
        assert_eq!(answer.decision, Decision::Reply(Reply::Refusal6));
        assert_eq!(answer.status(), Some(v6::Status::NotOnLink), "{address}");
    }
}

#[test]
fn row_6_5_confirm_goes_by_the_prefix_when_there_is_no_address() {
    for (address, expected) in [
        ("2001:db8:77::11", v6::Status::Success),
        ("2001:db8:78::11", v6::Status::NotOnLink),
    ] {
        let answer = ask(&stateless(), CONFIRM, &[client_id(), ia_na(1, &[address])]);
        assert_eq!(answer.status(), Some(expected), "{address}");
    }
}

#[test]
fn row_6_5_confirm_is_unanswered_when_nothing_is_known_or_asked() {
    let answer = ask(&binding(), CONFIRM, &[client_id(), ia_na(1, &[])]);
    assert_eq!(answer.decision, ignored(Ignored::NoOpinion));
    let unknown = Binding::new(VM);
    let answer = ask(&unknown, CONFIRM, &[client_id(), ia_na(1, &[ADDRESS])]);
    assert_eq!(answer.decision, ignored(Ignored::NoOpinion));
}

#[test]
fn row_6_6_renew_extends_the_address() {
    let options = [client_id(), server_id(), ia_na(9, &[ADDRESS])];
    let answer = ask(&binding(), RENEW, &options);
    assert_eq!(answer.decision, Decision::Reply(Reply::Reply6));
    assert_eq!(answer.addresses(), [(ip(ADDRESS), 3000, 7200)]);
}

#[test]
fn row_6_6_renew_of_unknown_ia_is_nobinding() {
    let options = [client_id(), server_id(), ia_na(9, &[ADDRESS]), ia_pd(4)];
    let answer = ask(&stateless(), RENEW, &options);
    assert_eq!(answer.decision, Decision::Reply(Reply::Refusal6));
    assert_eq!(status(&answer.ias()[0].opts), Some(v6::Status::NoBinding));
    assert_eq!(answer.addresses(), []);
    let Some(DhcpOption::IAPD(pd)) = answer.message().opts().get(OptionCode::IAPD) else {
        panic!("no IA_PD");
    };
    assert_eq!(status(&pd.opts), Some(v6::Status::NoBinding));

    let ias = [ia_na(1, &["2001:db8:77::99"]), ia_na(2, &[ADDRESS])].concat();
    let answer = ask(&binding(), RENEW, &[client_id(), server_id(), ias]);
    let ias = answer.ias();
    assert_eq!(status(&ias[0].opts), Some(v6::Status::NoBinding));
    assert_eq!(addresses(ias[1]), [(ip(ADDRESS), 3000, 7200)]);
}

#[test]
fn row_6_6_renew_of_a_wrong_address_ends_it_and_gives_the_right_one() {
    let options = [client_id(), server_id(), ia_na(9, &["2001:db8:77::99"])];
    let answer = ask(&binding(), RENEW, &options);
    let mut addresses = answer.addresses();
    addresses.sort();
    let (old, new) = (ip("2001:db8:77::99"), ip(ADDRESS));
    assert_eq!(addresses, [(new, 3000, 7200), (old, 0, 0)]);
}

#[test]
fn row_6_6_renew_of_an_ia_without_address_asks_for_one() {
    let ias = [ia_na(1, &[]), ia_na(2, &[ADDRESS])].concat();
    let answer = ask(&binding(), RENEW, &[client_id(), server_id(), ias]);
    assert_eq!(
        status(&answer.ias()[0].opts),
        Some(v6::Status::NoAddrsAvail)
    );
    let answer = ask(
        &binding(),
        RENEW,
        &[client_id(), server_id(), ia_na(1, &[])],
    );
    assert_eq!(answer.addresses(), [(ip(ADDRESS), 3000, 7200)]);
}

#[test]
fn row_6_7_rebind_extends_the_address() {
    let answer = ask(&binding(), REBIND, &[client_id(), ia_na(9, &[ADDRESS])]);
    assert_eq!(answer.decision, Decision::Reply(Reply::Reply6));
    assert_eq!(answer.addresses(), [(ip(ADDRESS), 3000, 7200)]);
}

#[test]
fn row_6_7_rebind_ends_what_is_not_right_for_the_link() {
    let answer = ask(
        &stateless(),
        REBIND,
        &[client_id(), ia_na(9, &["2001:db8:bad::1"])],
    );
    assert_eq!(answer.addresses(), [(ip("2001:db8:bad::1"), 0, 0)]);
    assert_eq!((answer.ias()[0].t1, answer.ias()[0].t2), (0, 0));
    let answer = ask(
        &stateless(),
        REBIND,
        &[client_id(), ia_na(9, &["2001:db8:77::1"])],
    );
    assert_eq!(status(&answer.ias()[0].opts), Some(v6::Status::NoBinding));
}

#[test]
fn row_6_7_rebind_is_unanswered_when_nothing_is_known() {
    let answer = ask(
        &Binding::new(VM),
        REBIND,
        &[client_id(), ia_na(9, &[ADDRESS])],
    );
    assert_eq!(answer.decision, ignored(Ignored::NoOpinion));
}

#[test]
fn row_6_8_information_request_gets_options_and_identifiers() {
    let options = [client_id(), request_options(&[23, 24, 32])];
    let answer = ask(&stateless(), INFORMATION_REQUEST, &options);
    assert_eq!(answer.decision, Decision::Reply(Reply::InformationReply6));
    assert_eq!(answer.message().msg_type(), v6::MessageType::Reply);
    assert_eq!(answer.option(1).unwrap(), CLIENT_ID);
    assert_eq!(answer.option(2).unwrap(), SERVER_ID);
    assert_eq!(answer.option(23).unwrap(), ip("2001:db8::53").octets());
    assert_eq!(
        answer.option(24).unwrap(),
        b"\x07example\x03org\0\x07example\x03net\0"
    );
}

#[test]
fn row_6_8_information_request_for_another_server_or_with_an_ia_is_discarded() {
    let other = option(2, &[0, 3, 0, 1, 9, 9, 9, 9, 9, 9]);
    let answer = ask(&binding(), INFORMATION_REQUEST, &[client_id(), other]);
    assert_eq!(answer.decision, ignored(Ignored::OtherServer));
    let answer = ask(
        &binding(),
        INFORMATION_REQUEST,
        &[client_id(), ia_na(1, &[])],
    );
    assert_eq!(answer.decision, ignored(Ignored::Malformed));
    let answer = ask(&binding(), INFORMATION_REQUEST, &[client_id(), server_id()]);
    assert_eq!(answer.decision, Decision::Reply(Reply::InformationReply6));
}

#[test]
fn row_6_9_release_and_decline_succeed_and_are_told_apart() {
    for (kind, reply) in [
        (RELEASE, Reply::ReleaseReply6),
        (DECLINE, Reply::DeclineReply6),
    ] {
        let options = [client_id(), server_id(), ia_na(9, &[ADDRESS])];
        let answer = ask(&binding(), kind, &options);
        assert_eq!(answer.decision, Decision::Reply(reply));
        assert_eq!(answer.status(), Some(v6::Status::Success));
        assert_eq!(answer.ias().len(), 0);
    }
}

#[test]
fn row_6_9_release_of_unknown_ia_is_nobinding() {
    for kind in [RELEASE, DECLINE] {
        let ias = [ia_na(1, &[ADDRESS]), ia_na(2, &["2001:db8:77::99"])].concat();
        let answer = ask(&binding(), kind, &[client_id(), server_id(), ias]);
        assert_eq!(answer.status(), Some(v6::Status::Success));
        assert_eq!(answer.ias().len(), 1);
        assert_eq!(answer.ias()[0].id, 2);
        assert_eq!(status(&answer.ias()[0].opts), Some(v6::Status::NoBinding));
    }
}

#[test]
fn row_6_10_no_address_is_advertised_as_noaddrsavail() {
    let options = [client_id(), ia_na(3, &[]), request_options(&[23, 82])];
    let answer = ask(&stateless(), SOLICIT, &options);
    assert_eq!(answer.decision, Decision::Reply(Reply::Refusal6));
    assert_eq!(answer.message().msg_type(), v6::MessageType::Advertise);
    assert_eq!(answer.status(), Some(v6::Status::NoAddrsAvail));
    assert_eq!(
        status(&answer.ias()[0].opts),
        Some(v6::Status::NoAddrsAvail)
    );
    assert_eq!(answer.option(82).unwrap(), 600_u32.to_be_bytes());
    assert_eq!(answer.option(23).unwrap(), ip("2001:db8::53").octets());
    assert_eq!(answer.option(7), None);
}

#[test]
fn row_6_10_silence_can_be_configured_and_keeps_information() {
    let mut settings = settings();
    settings.dhcpv6.answer_stateless_solicit = false;
    let served = Served::new(&stateless(), Attachment::Routed, &settings);
    let solicit = message(SOLICIT, &[client_id(), ia_na(1, &[])]);
    let solicit = packet(PRIVATE_LINK_LOCAL, ALL_SERVERS, &solicit);
    let answer = Answer::of(&served, &inbound(&solicit));
    assert_eq!(answer.decision, ignored(Ignored::NoAddress));
    let inform = message(INFORMATION_REQUEST, &[client_id()]);
    let inform = packet(PRIVATE_LINK_LOCAL, ALL_SERVERS, &inform);
    let answer = Answer::of(&served, &inbound(&inform));
    assert_eq!(answer.decision, Decision::Reply(Reply::InformationReply6));
}

#[test]
fn row_6_11_reply_goes_back_to_source_address_and_hardware_address() {
    let answer = ask(&binding(), SOLICIT, &[client_id(), ia_na(1, &[])]);
    let ethernet = EthernetPacket::new(&answer.frame).unwrap();
    assert_eq!(ethernet.get_destination().octets(), VM.octets());
    let ip6 = PnetIpv6::new(ethernet.payload()).unwrap();
    assert_eq!(ip6.get_destination(), ip(PRIVATE_LINK_LOCAL));
    let udp = UdpPacket::new(ip6.payload()).unwrap();
    assert_eq!(udp.get_destination(), 546);
}

#[test]
fn row_6_11_a_vm_that_may_spoof_is_answered_where_it_asks_from() {
    let mut binding = binding();
    binding.mac_spoof = true;
    let packet = packet(
        PRIVATE_LINK_LOCAL,
        ALL_SERVERS,
        &message(SOLICIT, &[client_id(), ia_na(1, &[])]),
    );
    let other = MacAddr([0xaa, 0, 0, 9, 9, 9]);
    let inbound = Inbound {
        source: Some(other),
        ..inbound(&packet)
    };
    let answer = Answer::of(&serve(&binding), &inbound);
    let ethernet = EthernetPacket::new(&answer.frame).unwrap();
    assert_eq!(ethernet.get_destination().octets(), other.octets());
}

#[test]
fn row_6_11_sources_nobody_can_be_answered_at_are_malformed() {
    for source in ["::", "::1", "ff02::1"] {
        let message = message(SOLICIT, &[client_id(), ia_na(1, &[])]);
        let packet = packet(source, ALL_SERVERS, &message);
        let answer = Answer::of(&serve(&binding()), &inbound(&packet));
        assert_eq!(answer.decision, ignored(Ignored::Malformed), "{source}");
    }
}

#[test]
fn row_6_13_t1_and_t2_are_half_and_four_fifths_of_preferred() {
    let answer = ask(&binding(), SOLICIT, &[client_id(), ia_na(1, &[])]);
    assert_eq!((answer.ias()[0].t1, answer.ias()[0].t2), (1500, 2400));
    let times = |preferred| {
        let lease = super::Lease {
            address: ip(ADDRESS),
            preferred,
            valid: u32::MAX,
        };
        lease.times()
    };
    assert_eq!(times(0), (0, 0));
    assert_eq!(times(9), (4, 7));
    assert_eq!(times(u32::MAX - 1), (0x7fff_ffff, 0xcccc_cccb));
}

#[test]
fn row_6_13_infinity_stays_infinite() {
    let mut settings = settings();
    settings.dhcpv6.preferred_lifetime = u32::MAX;
    settings.dhcpv6.valid_lifetime = u32::MAX;
    let served = Served::new(&binding(), Attachment::Routed, &settings);
    let packet = packet(
        PRIVATE_LINK_LOCAL,
        ALL_SERVERS,
        &message(SOLICIT, &[client_id(), ia_na(1, &[])]),
    );
    let answer = Answer::of(&served, &inbound(&packet));
    assert_eq!(
        (answer.ias()[0].t1, answer.ias()[0].t2),
        (u32::MAX, u32::MAX)
    );
    assert_eq!(answer.addresses(), [(ip(ADDRESS), u32::MAX, u32::MAX)]);
}

#[test]
fn row_6_14_only_requested_options_are_sent() {
    let all = [23, 24, 31, 39, 56, 59, 60, 82, 83, 103];
    for wanted in all {
        let options = [client_id(), ia_na(1, &[]), request_options(&[wanted])];
        let answer = ask(&binding(), SOLICIT, &options);
        for code in all {
            let sent = answer.option(code).is_some();
            assert_eq!(sent, code == wanted, "{code} when {wanted} was requested");
        }
    }
    let answer = ask(&binding(), SOLICIT, &[client_id(), ia_na(1, &[])]);
    for code in all {
        assert_eq!(answer.option(code), None, "{code}");
    }
}

#[test]
fn row_6_14_options_have_their_wire_form() {
    let all = request_options(&[23, 24, 31, 39, 56, 59, 60, 82, 83, 103, 4711]);
    let answer = ask(&binding(), SOLICIT, &[client_id(), ia_na(1, &[]), all]);
    let servers = [ip("2001:db8::7b").octets(), ip("2001:db8::7c").octets()];
    assert_eq!(answer.option(31).unwrap(), servers.concat());
    // N: no DNS updates; no S, so nothing to override.
    assert_eq!(
        answer.option(39).unwrap(),
        b"\x04\x03vm1\x07example\x03org\0"
    );
    assert_eq!(
        answer.option(59).unwrap(),
        b"tftp://[2001:db8::69]/boot.efi"
    );
    assert_eq!(
        answer.option(60).unwrap(),
        b"\0\x0droot=/dev/vda\0\x05quiet"
    );
    assert_eq!(answer.option(83).unwrap(), 900_u32.to_be_bytes());
    assert_eq!(
        answer.option(103).unwrap(),
        b"https://portal.example.org/api"
    );
    let ntp: Vec<Vec<u8>> = answer
        .message()
        .opts()
        .iter()
        .filter(|option| matches!(option, DhcpOption::NtpServer(_)))
        .map(|option| option.to_vec().unwrap())
        .collect();
    let expected = servers.map(|server| option(56, &option(1, &server)));
    assert_eq!(ntp, expected, "one option per server");
}

#[test]
fn row_6_14_fqdn_answers_the_clients_flags() {
    let client_fqdn = option(39, b"\x01\x04evil");
    let options = [
        client_id(),
        ia_na(1, &[]),
        request_options(&[39]),
        client_fqdn,
    ];
    let answer = ask(&binding(), SOLICIT, &options);
    // N and O: the client's S is overridden.
    assert_eq!(
        answer.option(39).unwrap(),
        b"\x06\x03vm1\x07example\x03org\0"
    );
}

#[test]
fn row_6_14_fqdn_without_a_domain_is_partial_and_with_dots_is_whole() {
    let mut settings = settings();
    settings.domain = None;
    let fqdn = |hostname: &str| {
        let mut binding = binding();
        binding.hostname = Some(hostname.parse().unwrap());
        let served = Served::new(&binding, Attachment::Routed, &settings);
        let inform = message(INFORMATION_REQUEST, &[request_options(&[39])]);
        let inform = packet(PRIVATE_LINK_LOCAL, ALL_SERVERS, &inform);
        Answer::of(&served, &inbound(&inform)).option(39).unwrap()
    };
    assert_eq!(fqdn("vm1"), b"\x04\x03vm1");
    assert_eq!(fqdn("vm1.example.com"), b"\x04\x03vm1\x07example\x03com\0");
}

#[test]
fn row_6_14_fqdn_is_never_longer_than_a_name_may_be() {
    let label = "d".repeat(62);
    let mut binding = binding();
    binding.domain = Some([&label[..]; 4].join(".").parse().unwrap());
    let inform = [client_id(), request_options(&[39])];
    let fqdn = ask(&binding, INFORMATION_REQUEST, &inform)
        .option(39)
        .unwrap();
    assert_eq!(
        fqdn, b"\x04\x03vm1",
        "251 bytes of domain leave no room for a host"
    );
    binding.domain = Some([&label[..]; 3].join(".").parse().unwrap());
    let fqdn = ask(&binding, INFORMATION_REQUEST, &inform)
        .option(39)
        .unwrap();
    assert_eq!(fqdn.len(), 1 + 4 + 3 * 63 + 1);
}

#[test]
fn row_6_14_a_domain_alone_is_a_search_list_of_one() {
    let mut binding = stateless();
    binding.domain_search = Some(vec![]);
    let options = [client_id(), request_options(&[24])];
    let answer = ask(&binding, INFORMATION_REQUEST, &options);
    assert_eq!(answer.option(24).unwrap(), b"\x07example\x03org\0");
}

#[test]
fn row_6_14_the_bindings_own_values_replace_the_configurations() {
    let mut binding = stateless();
    binding.nameservers = Some(vec!["2001:db8::99".parse().unwrap()]);
    binding.ntp = Some(vec![]);
    let options = [client_id(), request_options(&[23, 31, 56])];
    let answer = ask(&binding, INFORMATION_REQUEST, &options);
    assert_eq!(answer.option(23).unwrap(), ip("2001:db8::99").octets());
    assert_eq!(answer.option(31), None);
    assert_eq!(answer.option(56), None);
}

#[test]
fn row_6_14_boot_file_is_chosen_by_what_the_client_says_it_is() {
    let mut binding = binding();
    binding.boot.file_ipxe = Some("http://boot.example.org/script.ipxe".into());
    binding.boot.by_arch = vec![
        (ClientArch::X64, "not-a-url.efi".into()),
        (ClientArch::Arm64, "tftp://192.0.2.69/arm64.efi".into()),
        (
            ClientArch::HttpX64,
            "http://boot.example.org/x64.efi".into(),
        ),
    ];
    let url = |says: Vec<u8>| {
        let options = [client_id(), ia_na(1, &[]), request_options(&[59]), says];
        ask(&binding, SOLICIT, &options).option(59).unwrap()
    };
    let default = b"tftp://[2001:db8::69]/boot.efi";
    assert_eq!(url(vec![]), default);
    assert_eq!(url(option(61, &[0, 7])), default, "a TFTP path is no URL");
    assert_eq!(
        url(option(61, &[0, 11])),
        default,
        "an IPv4 host is out of reach"
    );
    assert_eq!(
        url(option(61, &[0, 16])),
        b"http://boot.example.org/x64.efi"
    );
    assert_eq!(
        url(option(15, b"\0\x04iPXE")),
        b"http://boot.example.org/script.ipxe"
    );
    assert_eq!(url(option(15, b"\0\x05other")), default);
    assert_eq!(url(option(15, b"\0\xffiPXE")), default);
}

#[test]
fn row_6_14_http_boot_is_answered_with_its_vendor_class() {
    let class = option(16, b"\0\0\x01\x57\0\x21HTTPClient:Arch:00016:UNDI:003001");
    let options = [
        client_id(),
        ia_na(1, &[]),
        request_options(&[59]),
        class.clone(),
    ];
    let answer = ask(&binding(), SOLICIT, &options);
    assert_eq!(answer.option(16).unwrap(), b"\0\0\x01\x57\0\x0aHTTPClient");
    let answer = ask(&binding(), SOLICIT, &[client_id(), ia_na(1, &[]), class]);
    assert_eq!(answer.option(16), None, "no boot file was requested");
}

#[test]
fn row_6_15_refresh_time_only_in_answers_to_information_requests() {
    let wanted = request_options(&[32, 82, 83]);
    let answer = ask(
        &binding(),
        INFORMATION_REQUEST,
        &[client_id(), wanted.clone()],
    );
    assert_eq!(answer.option(32).unwrap(), 1800_u32.to_be_bytes());
    assert_eq!(answer.option(82).unwrap(), 600_u32.to_be_bytes());
    assert_eq!(answer.option(83).unwrap(), 900_u32.to_be_bytes());
    let answer = ask(&binding(), SOLICIT, &[client_id(), ia_na(1, &[]), wanted]);
    assert_eq!(answer.option(32), None);
}

#[test]
fn row_6_17_unknown_options_are_skipped_and_over_long_ones_refused() {
    let unknown = [
        option(9999, b"anything"),
        option(8, &[0, 0]),
        option(20, &[]),
    ]
    .concat();
    let answer = ask(&binding(), SOLICIT, &[unknown, client_id(), ia_na(1, &[])]);
    assert_eq!(answer.decision, Decision::Reply(Reply::Advertise6));

    let over_long = vec![0x27, 0x0f, 0, 9, b'x'];
    let answer = ask(
        &binding(),
        SOLICIT,
        &[client_id(), ia_na(1, &[]), over_long],
    );
    assert_eq!(answer.decision, ignored(Ignored::Malformed));
    let address_outgrows_ia = option(3, &[vec![0; 12], vec![0, 5, 0, 24, 1, 2]].concat());
    let answer = ask(&binding(), SOLICIT, &[client_id(), address_outgrows_ia]);
    assert_eq!(answer.decision, ignored(Ignored::Malformed));
    let short_ia = option(3, &[0; 11]);
    let answer = ask(&binding(), SOLICIT, &[client_id(), short_ia]);
    assert_eq!(answer.decision, ignored(Ignored::Malformed));
}

#[test]
fn row_6_17_status_has_no_text() {
    let answer = ask(&binding(), CONFIRM, &[client_id(), ia_na(1, &[ADDRESS])]);
    assert_eq!(answer.option(13).unwrap(), [0, 0]);
}

#[test]
fn row_6_18_unicast_is_told_to_use_multicast() {
    let server = ROUTER.link_local().to_string();
    for kind in [REQUEST, RENEW, RELEASE, DECLINE] {
        let options = [client_id(), server_id(), ia_na(1, &[ADDRESS])];
        let packet = packet(PRIVATE_LINK_LOCAL, &server, &message(kind, &options));
        let answer = Answer::of(&serve(&binding()), &inbound(&packet));
        assert_eq!(answer.decision, Decision::Reply(Reply::Refusal6), "{kind}");
        assert_eq!(answer.status(), Some(v6::Status::UseMulticast));
        assert_eq!(answer.ias().len(), 0);
        assert_eq!(
            answer.message().opts().iter().count(),
            3,
            "identifiers and status"
        );
    }
    for kind in [SOLICIT, CONFIRM, REBIND, INFORMATION_REQUEST] {
        let packet = packet(PRIVATE_LINK_LOCAL, &server, &message(kind, &[client_id()]));
        let answer = Answer::of(&serve(&binding()), &inbound(&packet));
        assert_eq!(answer.decision, ignored(Ignored::NotMulticast), "{kind}");
    }
}

#[test]
fn b2_identity_is_not_taken_from_the_source_address() {
    for source in [
        PRIVATE_LINK_LOCAL,
        "fe80::1234:56ff:fe78:9abc",
        "2001:db8:77::dead",
    ] {
        let message = message(SOLICIT, &[client_id(), ia_na(1, &[])]);
        let packet = packet(source, ALL_SERVERS, &message);
        let answer = Answer::of(&serve(&binding()), &inbound(&packet));
        assert_eq!(
            answer.decision,
            Decision::Reply(Reply::Advertise6),
            "{source}"
        );
    }
}

#[test]
fn b13_information_request_without_client_id_or_name_servers_is_answered() {
    let mut settings = settings();
    settings.nameservers.clear();
    let served = Served::new(&stateless(), Attachment::Routed, &settings);
    let inform = message(INFORMATION_REQUEST, &[request_options(&[23, 24])]);
    let inform = packet(PRIVATE_LINK_LOCAL, ALL_SERVERS, &inform);
    let answer = Answer::of(&served, &inbound(&inform));
    assert_eq!(answer.decision, Decision::Reply(Reply::InformationReply6));
    assert_eq!(answer.option(23), None, "no empty list");
}

#[test]
fn b13_a_foreign_hardware_address_is_spoofed() {
    let packet = packet(
        PRIVATE_LINK_LOCAL,
        ALL_SERVERS,
        &message(SOLICIT, &[client_id(), ia_na(1, &[])]),
    );
    let inbound = Inbound {
        source: Some(MacAddr([0xaa, 0, 0, 9, 9, 9])),
        ..inbound(&packet)
    };
    let answer = Answer::of(&serve(&binding()), &inbound);
    assert_eq!(answer.decision, ignored(Ignored::Spoofed));
}

#[test]
fn mode_none_leaves_the_packet_to_the_networks_own_server() {
    let mut binding = binding();
    binding.mode6 = Some(Mode6::None);
    let answer = ask(&binding, SOLICIT, &[client_id(), ia_na(1, &[])]);
    assert_eq!(answer.decision, Decision::NotOurs);
}

#[test]
fn checksum_is_verified_unless_it_is_not_filled_in() {
    let solicit = message(SOLICIT, &[client_id(), ia_na(1, &[])]);
    let mut packet = packet(PRIVATE_LINK_LOCAL, ALL_SERVERS, &solicit);
    packet[46] ^= 0xff;
    let answer = Answer::of(&serve(&binding()), &inbound(&packet));
    assert_eq!(answer.decision, ignored(Ignored::Malformed));
    let partial = Inbound {
        verify_checksum: false,
        ..inbound(&packet)
    };
    let answer = Answer::of(&serve(&binding()), &partial);
    assert_eq!(answer.decision, Decision::Reply(Reply::Advertise6));
}

#[test]
fn more_ias_than_a_frame_holds_are_not_answered() {
    let ias: Vec<u8> = (0..80).flat_map(|id| ia_na(id, &[])).collect();
    let answer = ask(&stateless(), SOLICIT, &[client_id(), ias]);
    assert_eq!(answer.decision, ignored(Ignored::TooLarge));
}

#[test]
fn a_binding_takes_little_room() {
    let service = super::Service::new(&binding(), &settings()).unwrap();
    let heap = service.options.heap_len();
    assert!(size_of::<super::Service>() + heap <= 450, "{heap}");
}

/// Options of every kind a client sends, and some it does not; sizes on either side of what is right.
fn any_option() -> impl Strategy<Value = Vec<u8>> {
    let address = prop_oneof![
        Just(ADDRESS.to_owned()),
        Just("2001:db8:77::99".to_owned()),
        any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).to_string()),
    ];
    let addresses = proptest::collection::vec(address, 0..4);
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        3 => Just(client_id()),
        2 => Just(server_id()),
        3 => (any::<u32>(), addresses).prop_map(|(id, addresses)| {
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            ia_na(id, &addresses)
        }),
        1 => any::<u32>().prop_map(ia_ta),
        1 => any::<u32>().prop_map(ia_pd),
        1 => Just(option(14, &[])),
        2 => proptest::collection::vec(20_u16..110, 0..20).prop_map(|codes| request_options(&codes)),
        2 => (1_u16..110, bytes).prop_map(|(code, value)| option(code, &value)),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_decided_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        verify_checksum: bool,
    ) {
        let inbound = Inbound { verify_checksum, ..inbound(&bytes) };
        let _ = Answer::of(&serve(&binding()), &inbound);
    }

    /// Any message is either not answered, or answered by one that dhcproto reads, to the VM only.
    #[test]
    fn any_message_is_answered_to_its_sender_only(
        kind in 0_u8..16,
        options in proptest::collection::vec(any_option(), 0..10),
        multicast: bool,
        stateful: bool,
        source in any::<[u8; 16]>(),
        cut in 0_usize..8,
    ) {
        let binding = if stateful { binding() } else { stateless() };
        let mut payload = message(kind, &options);
        payload.truncate(payload.len().saturating_sub(cut));
        let server = ROUTER.link_local().to_string();
        let destination = if multicast { ALL_SERVERS } else { &server };
        let source = Ipv6Addr::from(source);
        let packet = packet(&source.to_string(), destination, &payload);
        let answer = Answer::of(&serve(&binding), &inbound(&packet));
        if answer.message.is_some() {
            let ethernet = EthernetPacket::new(&answer.frame).unwrap();
            prop_assert_eq!(ethernet.get_destination().octets(), VM.octets());
            let ip6 = PnetIpv6::new(ethernet.payload()).unwrap();
            prop_assert_eq!(ip6.get_destination(), source);
            prop_assert_eq!(answer.message().xid(), TRANSACTION);
            prop_assert_eq!(answer.option(2).unwrap(), SERVER_ID);
            for ia in answer.ias() {
                for (address, preferred, _) in addresses(ia) {
                    prop_assert!(preferred == 0 || address == ip(ADDRESS));
                }
            }
        }
    }
}
