//! Packets of a routed NIC: there and back, and what does not pass.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::frames::{arp, ethernet, holds, ipv4, ipv6, read_arp};
use crate::namespace::{Capture, Nic, Tap, in_namespace, ip, until};

const ROUTER: [u8; 6] = [0xcc, 0x47, 0x52, 0x4e, 0x45, 0x54];
const OWN: [u8; 6] = [0xaa, 0, 0, 0, 0, 2];
const UPLINK: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];
const FAR: [u8; 6] = [0x52, 0x54, 0, 0, 0, 3];
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);
const IP: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);
const SPOOFED: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 3);

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn packets_of_spoofed_sources_do_not_pass() {
    in_namespace(|| {
        let tap = Tap::open("tap0");
        Nic::routed("tap0", 2).run("up");
        let far = Capture::on("far1");
        let gateway = v6("2001:db8:79::1");
        let own = v6("2001:db8:79:0:a800:ff:fe00:2");
        for (kind, packet) in [
            (0x0800, ipv4(SPOOFED, GATEWAY, 0xdead_0001)),
            (0x0800, ipv4(Ipv4Addr::UNSPECIFIED, GATEWAY, 0xdead_0002)),
            (0x86dd, ipv6(v6("2001:db8:79::3"), gateway, 0xdead_0003)),
            (
                0x86dd,
                ipv6(v6("2001:db8:79:0:1:2:3:4"), gateway, 0xdead_0004),
            ),
            (
                0x86dd,
                ipv6(v6("fe80::a800:ff:fe00:2"), gateway, 0xdead_0005),
            ),
            (0x0800, ipv4(IP, GATEWAY, 0x600d_0001)),
            (0x86dd, ipv6(own, gateway, 0x600d_0002)),
        ] {
            tap.send(&ethernet(ROUTER, OWN, kind, &packet));
        }
        let seen = far.receive_until("the VM's own packet", |frame| holds(frame, 0x600d_0002));
        assert!(seen.iter().any(|frame| holds(frame, 0x600d_0001)));
        for word in 0xdead_0001..=0xdead_0005 {
            assert!(
                !seen.iter().any(|frame| holds(frame, word)),
                "{word:x} passed"
            );
        }
    });
}

/// The first packet for the VM makes the host ask for its hardware address: in the gateway's name.
#[test]
fn the_host_asks_in_the_gateways_name_and_forwards() {
    in_namespace(|| {
        let tap = Tap::open("tap0");
        Nic::routed("tap0", 2).run("up");
        // The host's own address is what the VM must not see.
        ip("addr add 192.0.2.1/32 dev lo");
        let far = Capture::on("far1");
        far.send(&ethernet(
            UPLINK,
            FAR,
            0x0800,
            &ipv4(GATEWAY, IP, 0x600d_0001),
        ));
        let is_request = |frame: &[u8]| read_arp(frame) == Some((1, GATEWAY, IP));
        let seen = tap.receive_until("a request in the gateway's name", is_request);
        assert_eq!(
            seen.iter()
                .filter(|frame| read_arp(frame).is_some())
                .count(),
            1
        );
        tap.send(&ethernet(
            ROUTER,
            OWN,
            0x0806,
            &arp(2, (OWN, IP), (ROUTER, GATEWAY)),
        ));
        tap.receive_until("the packet", |frame| holds(frame, 0x600d_0001));
    });
}

/// The host answers the VM's ARP for any address, with the router's, and not only after a random wait.
#[test]
fn the_vm_is_answered_for_every_address() {
    in_namespace(|| {
        let tap = Tap::open("tap0");
        Nic::routed("tap0", 2).run("up");
        let delay = std::fs::read_to_string("/proc/sys/net/ipv4/neigh/tap0/proxy_delay");
        assert_eq!(delay.unwrap(), "0\n");
        for target in [GATEWAY, Ipv4Addr::new(10, 79, 0, 77)] {
            let question = arp(1, (OWN, IP), ([0; 6], target));
            tap.send(&ethernet([0xff; 6], OWN, 0x0806, &question));
            let is_answer = |frame: &[u8]| read_arp(frame) == Some((2, target, IP));
            let answer = tap.receive_until("an answer", is_answer).pop().unwrap();
            assert_eq!(answer[6..12], ROUTER);
        }
    });
}

/// On the uplink the host answers for the VM's IPv6 address.
#[test]
fn the_uplinks_neighbours_are_answered_for_the_vm() {
    in_namespace(|| {
        let _tap = Tap::open("tap0");
        Nic::routed("tap0", 2).run("up");
        ip("link set far1 down");
        // A neighbour on the uplink: the far side with an address of its own.
        std::fs::write("/proc/sys/net/ipv6/conf/far1/disable_ipv6", "0").unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/far1/accept_dad", "0").unwrap();
        ip("link set far1 up");
        let far = Capture::on("far1");
        let target = v6("2001:db8:79:0:a800:ff:fe00:2");
        let solicitation = solicitation(v6("fe80::5054:ff:fe00:3"), target);
        let is_answer = |frame: &[u8]| {
            frame.get(12..14) == Some(&[0x86, 0xdd])
                && frame.get(54) == Some(&136)
                && frame.get(62..78) == Some(&target.octets())
                && frame.get(6..12) == Some(&UPLINK)
        };
        let mut seen = 0;
        until("an advertisement for the VM", || {
            far.send(&solicitation);
            let frames = far.receive_until("any frame", |_| true);
            seen += frames.iter().filter(|frame| is_answer(frame)).count();
            seen > 0
        });
    });
}

/// RFC 4861 §4.3, to the solicited-node address.
fn solicitation(from: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut group = v6("ff02::1:ff00:0").octets();
    group[13..].copy_from_slice(&target.octets()[13..]);
    let mut icmp = vec![135, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend(target.octets());
    icmp.extend([1, 1]);
    icmp.extend(FAR);
    let packet = pnet_packet::icmpv6::Icmpv6Packet::new(&icmp).unwrap();
    let sum = pnet_packet::icmpv6::checksum(&packet, &from, &group.into());
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut bytes = vec![0x60, 0, 0, 0, 0, 32, 58, 255];
    bytes.extend(from.octets());
    bytes.extend(group);
    bytes.extend(icmp);
    let to = [0x33, 0x33, group[12], group[13], group[14], group[15]];
    ethernet(to, FAR, 0x86dd, &bytes)
}

/// The TAP's link-local address, the same on every host, is usable as soon as the TAP is up.
#[test]
fn the_routers_link_local_address_is_there_at_once() {
    in_namespace(|| {
        let _tap = Tap::open("tap0");
        Nic::routed("tap0", 2).run("up");
        until("the router's link-local address", || {
            let addresses = ip("-6 addr show dev tap0");
            addresses.contains("fe80::ce47:52ff:fe4e:4554/64") && !addresses.contains("tentative")
        });
        let transmits = std::fs::read_to_string("/proc/sys/net/ipv6/conf/tap0/accept_dad");
        assert_eq!(transmits.unwrap(), "0\n");
    });
}

/// With a rule for what comes in by the uplink the table's IPv6 default route is looked up; without one, and where that
/// rule leads into another table, it is found all the same.
#[test]
fn the_ipv6_uplink_is_the_tables_whatever_rule_there_is() {
    in_namespace(|| {
        let _tap = Tap::open("tap0");
        let nic = Nic::routed("tap0", 2);
        let plan = nic.run("--dry-run up");
        let proxy = "ip -6 neigh add proxy 2001:db8:79:0:a800:ff:fe00:2 dev eth1\n";
        assert!(plan.contains(proxy), "{plan}");

        ip("-6 rule del iif eth1 lookup 79 priority 100");
        assert_eq!(nic.run("--dry-run up"), plan, "no rule");

        ip("-6 route add default dev br0 table 80");
        ip("-6 rule add iif eth1 lookup 80 priority 100");
        assert_eq!(nic.run("--dry-run up"), plan, "a rule into another table");

        ip("-6 rule del iif eth1 lookup 80 priority 100");
        ip("-6 rule add iif eth1 lookup 79 priority 100");
        ip("-6 route add blackhole 2000::/3 table 79");
        assert_eq!(nic.run("--dry-run up"), plan, "a wider prefix");
    });
}

/// Lists that come in many parts are read to their end.
#[test]
fn long_tables_and_long_rules_are_read_whole() {
    in_namespace(|| {
        let _tap = Tap::open("tap0");
        // Before 10.79.0.0/24 in the table's order, before tap0's in the rules'.
        for number in 1..=200 {
            ip(&format!("route add 10.1.1.{number} dev eth1 table 79"));
            ip(&format!(
                "rule add iif other{number} lookup 79 priority 200"
            ));
        }
        let nic = Nic::routed("tap0", 2);
        nic.run("up");
        assert_eq!(nic.run("--dry-run up"), "", "its own rule is found");
        let untold = nic.clone().with("NETWORK_NAME", "");
        let plan = untold.run("--dry-run up");
        assert!(plan.contains("SUBNET=10.79.0.0/24\n"), "{plan}");
        nic.run("down --now");
        assert!(!ip("rule").contains("tap0"));
    });
}
