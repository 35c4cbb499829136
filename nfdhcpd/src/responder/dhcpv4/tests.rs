//! What a VM on the wire sees: a packet in, a frame out, read by other eyes than ours (`pnet_packet`, `dhcproto`).

mod boot;
mod defects;
mod options;
mod properties;
mod rows;

use std::net::Ipv4Addr;

use dhcproto::v4::{self, OptionCode};
use dhcproto::{Decodable, Decoder};
use nfdhcpd_binding::{Binding, MacAddr};
use pnet_packet::Packet;
use pnet_packet::ethernet::EthernetPacket;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::udp::{UdpPacket, ipv4_checksum};

use super::super::{
    Attachment, Decision, Ignored, Reply, Served, Settings, answer, tests::configured,
};
use crate::wire::dhcpv4::MAGIC_COOKIE;
use crate::wire::ip::{self, Link};
use crate::wire::{Frame, Inbound, Protocol};

const VM: MacAddr = MacAddr([0xaa, 0x00, 0x00, 0x51, 0xad, 0xbc]);
const STRANGER: MacAddr = MacAddr([0xaa, 0x00, 0x00, 0x51, 0xad, 0xbd]);
const ROUTER_MAC: MacAddr = MacAddr([0xfe, 0, 0, 0, 0, 1]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 78);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn settings() -> Settings {
    configured(
        "router_mac = 'fe:00:00:00:00:01'
         nameservers = ['192.0.2.53', '2001:db8::53']
         domain = 'example.org'
         [dhcpv4]
         lease = 3600",
    )
}

fn binding() -> Binding {
    Binding {
        ip: Some(ADDRESS),
        subnet: Some("10.0.0.0/24".parse().unwrap()),
        gateway: Some(GATEWAY),
        hostname: Some("vm1".parse().unwrap()),
        mtu: Some(1500),
        ..Binding::new(VM)
    }
}

/// A client's message, and what carries it.
#[derive(Debug, Clone)]
struct Ask {
    op: u8,
    htype: u8,
    hlen: u8,
    flags: u16,
    ciaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    chaddr: MacAddr,
    sname: Vec<u8>,
    file: Vec<u8>,
    cookie: [u8; 4],
    options: Vec<u8>,
    end: Vec<u8>,
    ethernet_source: Option<MacAddr>,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
}

const XID: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

fn ask(message_type: u8) -> Ask {
    Ask {
        op: 1,
        htype: 1,
        hlen: 6,
        flags: 0,
        ciaddr: NONE,
        giaddr: NONE,
        chaddr: VM,
        sname: vec![],
        file: vec![],
        cookie: MAGIC_COOKIE,
        options: vec![53, 1, message_type],
        end: vec![255],
        ethernet_source: Some(VM),
        source: (NONE, 68),
        destination: (Ipv4Addr::BROADCAST, 67),
    }
}

fn discover() -> Ask {
    ask(1)
}

/// A REQUEST in SELECTING state.
fn select(address: Ipv4Addr, server: Ipv4Addr) -> Ask {
    ask(3)
        .with(50, &address.octets())
        .with(54, &server.octets())
}

/// A REQUEST in INIT-REBOOT state.
fn reboot(address: Ipv4Addr) -> Ask {
    ask(3).with(50, &address.octets())
}

/// A REQUEST in RENEWING state.
fn renew(address: Ipv4Addr) -> Ask {
    Ask {
        ciaddr: address,
        source: (address, 68),
        destination: (GATEWAY, 67),
        ..ask(3)
    }
}

fn inform(address: Ipv4Addr) -> Ask {
    Ask {
        ciaddr: address,
        source: (address, 68),
        ..ask(8)
    }
}

impl Ask {
    fn with(mut self, code: u8, value: &[u8]) -> Self {
        self.options
            .extend([code, u8::try_from(value.len()).unwrap()]);
        self.options.extend(value);
        self
    }

    fn asking_for(self, codes: &[u8]) -> Self {
        self.with(55, codes)
    }

    /// From the IP header on.
    fn packet(&self) -> Vec<u8> {
        let mut bootp = vec![self.op, self.htype, self.hlen, 3];
        bootp.extend(XID);
        bootp.extend([0x12, 0x34]);
        bootp.extend(self.flags.to_be_bytes());
        bootp.extend(self.ciaddr.octets());
        bootp.extend([203, 0, 113, 1, 203, 0, 113, 2]); // yiaddr, siaddr: not a client's to set
        bootp.extend(self.giaddr.octets());
        bootp.extend(self.chaddr.octets());
        bootp.extend([0xcc; 10]);
        bootp.extend(&self.sname);
        bootp.resize(108, 0);
        bootp.extend(&self.file);
        bootp.resize(236, 0);
        bootp.extend(self.cookie);
        bootp.extend(&self.options);
        bootp.extend(&self.end);
        let mut frame = Frame::new();
        let link = Link {
            source: VM,
            destination: MacAddr::BROADCAST,
        };
        assert!(ip::begin_udp4(
            &mut frame,
            link,
            self.source,
            self.destination
        ));
        assert!(frame.push(&bootp), "too long for a frame");
        assert!(ip::finish(&mut frame));
        frame.as_slice()[14..].to_vec()
    }
}

/// What came back.
#[derive(Debug, Clone)]
struct Answer {
    reply: Reply,
    ethernet_source: MacAddr,
    ethernet_destination: MacAddr,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
    bootp: Vec<u8>,
    message: v4::Message,
    datagram_len: usize,
}

impl Answer {
    /// Reads a frame; lengths and checksums must be right.
    fn read(reply: Reply, frame: &[u8]) -> Self {
        let ethernet = EthernetPacket::new(frame).unwrap();
        let ip = Ipv4Packet::new(ethernet.payload()).unwrap();
        assert_eq!(usize::from(ip.get_total_length()), ethernet.payload().len());
        assert_eq!(ip.get_checksum(), pnet_packet::ipv4::checksum(&ip));
        let udp = UdpPacket::new(ip.payload()).unwrap();
        assert_eq!(usize::from(udp.get_length()), ip.payload().len());
        let checksum = ipv4_checksum(&udp, &ip.get_source(), &ip.get_destination());
        assert_eq!(
            udp.get_checksum(),
            if checksum == 0 { 0xffff } else { checksum }
        );
        let bootp = udp.payload().to_vec();
        Self {
            reply,
            ethernet_source: MacAddr(ethernet.get_source().octets()),
            ethernet_destination: MacAddr(ethernet.get_destination().octets()),
            source: (ip.get_source(), udp.get_source()),
            destination: (ip.get_destination(), udp.get_destination()),
            message: v4::Message::decode(&mut Decoder::new(&bootp)).unwrap(),
            datagram_len: ethernet.payload().len(),
            bootp,
        }
    }

    /// The options in the order in which they stand, a long one's parts joined; those in `file` and `sname` last.
    fn options(&self) -> Vec<(u8, Vec<u8>)> {
        let mut options = Vec::new();
        scan(&self.bootp[240..], &mut options);
        let overload = options
            .iter()
            .find(|(code, _)| *code == 52)
            .map_or(0, |(_, v)| v[0]);
        if overload & 1 != 0 {
            scan(&self.bootp[108..236], &mut options);
        }
        if overload & 2 != 0 {
            scan(&self.bootp[44..108], &mut options);
        }
        options
    }

    fn codes(&self) -> Vec<u8> {
        self.options().into_iter().map(|(code, _)| code).collect()
    }

    fn option(&self, code: u8) -> Option<Vec<u8>> {
        self.options()
            .into_iter()
            .find(|(other, _)| *other == code)
            .map(|(_, value)| value)
    }

    fn typed(&self, code: OptionCode) -> Option<&v4::DhcpOption> {
        self.message.opts().get(code)
    }
}

/// Adjacent options of one code are parts of one; a code that comes again later would be a second instance, and stays
/// one in the list.
fn scan(mut field: &[u8], options: &mut Vec<(u8, Vec<u8>)>) {
    loop {
        match field {
            [255, ..] => return,
            [0, rest @ ..] => field = rest,
            [code, len, rest @ ..] => {
                let (value, rest) = rest.split_at(usize::from(*len));
                match options.last_mut() {
                    Some((last, joined)) if last == code => joined.extend(value),
                    _ => options.push((*code, value.to_vec())),
                }
                field = rest;
            }
            _ => panic!("no end option"),
        }
    }
}

fn served(binding: &Binding, settings: &Settings) -> Served {
    Served::new(binding, Attachment::Routed, settings)
}

fn ask_with(binding: &Binding, settings: &Settings, ask: &Ask) -> Result<Answer, Ignored> {
    let packet = ask.packet();
    decide(&served(binding, settings), ask.ethernet_source, &packet)
}

fn decide(served: &Served, source: Option<MacAddr>, payload: &[u8]) -> Result<Answer, Ignored> {
    let mut out = Frame::new();
    let inbound = Inbound {
        protocol: Protocol::Dhcpv4,
        source,
        verify_checksum: true,
        payload,
    };
    match answer(served, &inbound, &mut out) {
        Decision::Reply(reply) => Ok(Answer::read(reply, out.as_slice())),
        Decision::Ignore(why) => Err(why),
        other @ (Decision::Advertise | Decision::NotOurs) => panic!("{other:?}"),
    }
}

/// The answer of the usual binding.
fn answered(ask: &Ask) -> Answer {
    ask_with(&binding(), &settings(), ask).unwrap()
}

fn ignored(ask: &Ask) -> Ignored {
    ask_with(&binding(), &settings(), ask).unwrap_err()
}
