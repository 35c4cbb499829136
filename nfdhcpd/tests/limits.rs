//! A binding in which every list and text is as long as `docs/binding.md` lets it be is still answered.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::net::Ipv6Addr;
use std::path::Path;

use nfdhcpd::config::Config;
use nfdhcpd::responder::{self, Attachment, Decision, Reply, Served};
use nfdhcpd::wire::ip::{self, Link};
use nfdhcpd::wire::{Frame, Inbound, Protocol};
use nfdhcpd_binding::{Binding, MacAddr, limits};

const VM: MacAddr = MacAddr([0xaa, 0, 0, 0x51, 0xad, 0xbc]);
const IPV6_MTU_MIN: usize = 1280;

fn repeated(count: usize, item: impl Fn(usize) -> String) -> String {
    let items: Vec<String> = (1..=count).map(item).collect();
    items.join(" ")
}

fn full() -> Served {
    let servers = repeated(limits::SERVERS_PER_FAMILY, |n| {
        format!("192.0.2.{n} 2001:db8::{n}")
    });
    let name = limits::SEARCH_BYTES / limits::SEARCH_NAMES - 2;
    let search = repeated(limits::SEARCH_NAMES, |n| format!("{n:x>name$}"));
    let routes = repeated(limits::ROUTES_PER_FAMILY, |n| {
        format!("198.51.100.{n}/32@192.0.2.1 2001:db8:1::{n}/128@::")
    });
    let portal = format!("https:{}", "p".repeat(limits::CAPTIVE_PORTAL_BYTES - 6));
    let text = format!("a:{}", "t".repeat(limits::TEXT_BYTES - 2));
    let longest_name = format!(
        "{}.{}",
        ["h"; 63].concat(),
        repeated(3, |_| "n".repeat(60)).replace(' ', ".")
    );
    let file = format!(
        "MAC={VM}\nHOSTNAME={longest_name}\nIP=192.0.2.10\nSUBNET=192.0.2.0/24\nGATEWAY=192.0.2.1\n\
         SUBNET6=2001:db8:77::/64\nGATEWAY6=2001:db8:77::1\nIP6=2001:db8:77::10\nMODE6=stateful\nMTU=1280\n\
         NAMESERVERS={servers}\nNTP={servers}\nDOMAIN={longest_name}\nDOMAIN_SEARCH={search}\nROUTES={routes}\n\
         CAPTIVE_PORTAL={portal}\nBOOT_SERVER_NAME={text}\nBOOT_FILE={text}\nBOOT_PREFIX={text}\nBOOT_URL6={text}\n\
         BOOT_PARAM6={text}\nV6ONLY_WAIT=300\nOPT224=text:{text}\nOPT225=text:{text}\n"
    );
    let binding = Binding::read_bytes(file.as_bytes())
        .expect("it keeps within the limits")
        .binding;
    let config = Config::parse("", Path::new("none")).expect("defaults are sound");
    Served::new(&binding, Attachment::Routed, &config.settings)
}

/// The decision on a UDP payload of the VM, and the frame.
fn ask(protocol: Protocol, payload: &[u8]) -> (Decision, Frame) {
    let link = Link {
        source: VM,
        destination: MacAddr::BROADCAST,
    };
    let mut packet = Frame::new();
    let all_servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
    let v4 = ([0, 0, 0, 0].into(), [255, 255, 255, 255].into());
    let begun = if protocol == Protocol::Dhcpv6 {
        ip::begin_udp6(
            &mut packet,
            link,
            (VM.link_local(), 546),
            (all_servers, 547),
        )
    } else {
        ip::begin_udp4(&mut packet, link, (v4.0, 68), (v4.1, 67))
    };
    assert!(begun && packet.push(payload) && ip::finish(&mut packet));
    let inbound = Inbound {
        protocol,
        source: Some(VM),
        verify_checksum: true,
        payload: packet
            .as_slice()
            .get(ip::ETHERNET_HEADER..)
            .expect("it has a header"),
    };
    let mut answer = Frame::new();
    (responder::answer(&full(), &inbound, &mut answer), answer)
}

#[test]
fn a_router_advertisement_with_all_lists_full_fits_the_smallest_mtu() {
    let mut frame = Frame::new();
    assert!(responder::ndp::advertise(&full(), &mut frame));
    let datagram = frame.as_slice().len() - ip::ETHERNET_HEADER;
    assert_eq!(datagram, 1224, "limits.rs says so");
    assert!(datagram <= IPV6_MTU_MIN);
}

#[test]
fn a_dhcpv6_client_that_asks_for_everything_is_answered() {
    let mut solicit = vec![1, 0, 0, 1];
    solicit.extend([0, 1, 0, 10, 0, 3, 0, 1, 0xaa, 0, 0, 0x51, 0xad, 0xbc]);
    solicit.extend([0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let all = [23_u16, 24, 31, 32, 39, 56, 59, 60, 82, 83, 103];
    solicit.extend([0, 6, 0, 22]);
    solicit.extend(all.iter().flat_map(|code| code.to_be_bytes()));
    let (decision, frame) = ask(Protocol::Dhcpv6, &solicit);
    assert_eq!(decision, Decision::Reply(Reply::Advertise6));
    let has = |bytes: &[u8]| {
        frame
            .as_slice()
            .windows(bytes.len())
            .any(|window| window == bytes)
    };
    let address: Ipv6Addr = "2001:db8:77::10".parse().expect("an address");
    assert!(has(&address.octets()), "the address");
    let server: Ipv6Addr = "2001:db8::8".parse().expect("an address");
    assert!(has(&server.octets()), "the last name server");
}

#[test]
fn a_dhcpv4_client_that_asks_for_everything_is_answered() {
    let mut discover = vec![0; 236];
    discover.splice(0..4, [1, 1, 6, 0]);
    discover.splice(28..34, VM.octets());
    discover.extend([99, 130, 83, 99, 53, 1, 1, 55, 254]);
    discover.extend(1..=254);
    discover.push(255);
    let (decision, frame) = ask(Protocol::Dhcpv4, &discover);
    assert_eq!(decision, Decision::Reply(Reply::Offer));
    let router = [3, 4, 192, 0, 2, 1];
    assert!(frame.as_slice().windows(6).any(|window| window == router));
}
