//! What must hold for any packet of a TAP with all that a binding can say.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a check fails by panicking"
)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use nfdhcpd::config::Config;
use nfdhcpd::responder::{self, Attachment, Decision, Served, ndp};
use nfdhcpd::wire::ip::{self, Link};
use nfdhcpd::wire::{Frame, Inbound, Protocol};
use nfdhcpd_binding::{Binding, MacAddr};

const VM: MacAddr = MacAddr([0xaa, 0x00, 0x00, 0x51, 0xad, 0xbc]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// The bridge of the bridged VM.
const BRIDGE: u32 = 7;

const CONFIGURATION: &str = r#"
nameservers = ["192.0.2.53", "2001:db8::53"]
domain = "example.org"
domain_search = ["example.org", "example.net"]
ntp = ["192.0.2.123", "2001:db8::123"]
dhcpv4.rapid_commit = true
"#;

const BINDING: &str = "\
MAC=aa:00:00:51:ad:bc
HOSTNAME=web1
IP=192.0.2.10
SUBNET=192.0.2.0/24
GATEWAY=192.0.2.1
V6ONLY_WAIT=1800
SUBNET6=2001:db8:77::/64
GATEWAY6=2001:db8:77::1
IP6=2001:db8:77::10
MODE6=stateful
ROUTES=198.51.100.0/24@192.0.2.254,2001:db8:88::/48@::
MTU=1450
CAPTIVE_PORTAL=https://portal.example.org/api
BOOT_SERVER=192.0.2.69
BOOT_FILE=pxelinux.0
BOOT_FILE_IPXE=http://192.0.2.69/boot.ipxe
BOOT_FILE_HTTP_X64=http://192.0.2.69/ipxe.efi
BOOT_TFTP_SERVERS=192.0.2.69
BOOT_PREFIX=/images/
BOOT_URL6=http://[2001:db8:77::69]/boot.efi
BOOT_PARAM6=console=ttyS0
OPT224=text:for-this-vm-only
OPT252=text:http://wpad.example.org/wpad.dat
";

/// A routed VM, whose router this host is, and a bridged one, whose routers are its network's.
static SERVED: LazyLock<[Served; 2]> = LazyLock::new(|| {
    let serve = |router: &str, attachment| {
        let binding: Binding = BINDING.parse().expect("the binding is sound");
        let text = format!("router = {router:?}\n{CONFIGURATION}");
        let config = Config::parse(&text, "fuzz".as_ref()).expect("so is the configuration");
        Served::new(&binding, attachment, &config.settings)
    };
    [
        serve("host", Attachment::Routed),
        serve("network", Attachment::Bridged { bridge: BRIDGE }),
    ]
});

/// The first byte selects: bits 0 and 1 the protocol, bit 2 sound headers around the rest, which is then the payload of
/// UDP, or the ICMPv6 message behind its header; without bit 2 the rest is the packet.
///
/// Never panics; a reply goes to the VM or to all on its link, and gives no other address than its own. A bridged VM's
/// solicitation is passed on to all routers of its network alone, in the VM's name.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&selector, rest)) = bytes.split_first() else {
        return;
    };
    let protocol = match selector & 3 {
        0 => Protocol::Dhcpv4,
        1 => Protocol::Dhcpv6,
        2 => Protocol::RouterSolicitation,
        _ => Protocol::NeighborSolicitation,
    };
    let mut packet = Frame::new();
    let written = if selector & 4 == 0 {
        packet.push(&[0; ip::ETHERNET_HEADER]) && packet.push(rest)
    } else {
        wrap(&mut packet, protocol, rest)
    };
    if !written {
        return;
    }
    let payload = packet
        .as_slice()
        .get(ip::ETHERNET_HEADER..)
        .unwrap_or_default();
    let inbound = Inbound {
        protocol,
        source: Some(VM),
        verify_checksum: false,
        payload,
    };
    let mut out = Frame::new();
    for served in SERVED.iter() {
        let decision = responder::answer(served, &inbound, &mut out);
        if let Decision::Reply(_) = decision {
            check_reply(protocol, out.as_slice());
        }
        let is_solicited = matches!(decision, Decision::Reply(_) | Decision::Advertise);
        if protocol == Protocol::RouterSolicitation
            && is_solicited
            && let Some(bridge) = ndp::pass_on(served, &inbound, &mut out)
        {
            assert_eq!(bridge, BRIDGE);
            check_passed(out.as_slice());
        }
    }
}

fn check_passed(frame: &[u8]) {
    let to_all_routers = [0x33, 0x33, 0, 0, 0, 2];
    assert_eq!(frame[..6], to_all_routers);
    assert_eq!(frame[6..12], VM.octets());
    let packet = ip::Ipv6Packet::read(&frame[ip::ETHERNET_HEADER..]).expect("sound headers");
    assert!(packet.icmpv6(true).is_ok(), "a wrong checksum");
}

fn wrap(packet: &mut Frame, protocol: Protocol, payload: &[u8]) -> bool {
    let link = Link {
        source: VM,
        destination: MacAddr::BROADCAST,
    };
    let vm = VM.link_local();
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let all_servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
    let begun = match protocol {
        Protocol::Dhcpv4 => {
            let (from, to) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
            ip::begin_udp4(packet, link, (from, 68), (to, 67))
        }
        Protocol::Dhcpv6 => ip::begin_udp6(packet, link, (vm, 546), (all_servers, 547)),
        Protocol::RouterSolicitation => ip::begin_icmpv6(packet, link, vm, all_routers, 133),
        Protocol::NeighborSolicitation => ip::begin_icmpv6(packet, link, vm, all_routers, 135),
    };
    begun && packet.push(payload) && ip::finish(packet)
}

fn check_reply(protocol: Protocol, frame: &[u8]) {
    let to = frame.first_chunk::<6>().expect("a frame has a destination");
    let to_group = to[0] & 1 == 1;
    assert!(*to == VM.octets() || to_group, "to {to:02x?}");
    if protocol == Protocol::Dhcpv4 {
        let address = frame.get(58..62).expect("a frame has yiaddr");
        assert!(
            address == [0; 4] || address == ADDRESS.octets(),
            "gives {address:?}"
        );
        let udp = ip::Udp4::read(&frame[ip::ETHERNET_HEADER..], true);
        assert!(udp.is_ok(), "{udp:?}");
    } else {
        let packet = ip::Ipv6Packet::read(&frame[ip::ETHERNET_HEADER..]).expect("sound headers");
        let sound = packet.udp(true).is_ok() || packet.icmpv6(true).is_ok();
        assert!(sound, "a wrong checksum");
    }
}
