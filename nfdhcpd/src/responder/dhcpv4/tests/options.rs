//! What a binding and the configuration become.

use std::net::IpAddr;

use nfdhcpd_binding::{RawOption, Route};

use super::super::Lease;
use super::*;

fn offer(binding: &Binding, settings: &Settings, codes: &[u8]) -> Answer {
    let ask = discover()
        .asking_for(codes)
        .with(57, &1500u16.to_be_bytes());
    ask_with(binding, settings, &ask).unwrap()
}

fn route(destination: &str, gateway: &str) -> Route {
    Route::V4 {
        destination: destination.parse().unwrap(),
        gateway: gateway.parse().unwrap(),
    }
}

fn routes_of(answer: &Answer) -> Vec<(String, String)> {
    let Some(v4::DhcpOption::ClasslessStaticRoute(routes)) =
        answer.typed(OptionCode::ClasslessStaticRoute)
    else {
        return vec![];
    };
    routes
        .iter()
        .map(|(net, gateway)| (net.to_string(), gateway.to_string()))
        .collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted
        .iter()
        .map(|(net, gateway)| ((*net).into(), (*gateway).into()))
        .collect()
}

#[test]
fn each_key_becomes_its_option() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let binding = Binding {
        nameservers: Some(vec![ip("10.0.0.53"), ip("2001:db8::53"), ip("10.0.0.54")]),
        ntp: Some(vec![ip("2001:db8::123"), ip("10.0.0.123")]),
        domain: Some("vms.example.org".parse().unwrap()),
        mtu: Some(1450),
        ..binding()
    };
    let answer = offer(&binding, &settings(), &[1, 3, 6, 12, 15, 26, 28, 42]);
    let typed = |code| answer.typed(code).unwrap().clone();
    assert_eq!(
        typed(OptionCode::SubnetMask),
        v4::DhcpOption::SubnetMask([255, 255, 255, 0].into())
    );
    assert_eq!(
        typed(OptionCode::Router),
        v4::DhcpOption::Router(vec![GATEWAY])
    );
    assert_eq!(
        typed(OptionCode::DomainNameServer),
        v4::DhcpOption::DomainNameServer(vec![[10, 0, 0, 53].into(), [10, 0, 0, 54].into()])
    );
    assert_eq!(
        typed(OptionCode::Hostname),
        v4::DhcpOption::Hostname("vm1".into())
    );
    assert_eq!(
        typed(OptionCode::DomainName),
        v4::DhcpOption::DomainName("vms.example.org".into())
    );
    assert_eq!(
        typed(OptionCode::InterfaceMtu),
        v4::DhcpOption::InterfaceMtu(1450)
    );
    assert_eq!(
        typed(OptionCode::BroadcastAddr),
        v4::DhcpOption::BroadcastAddr([10, 0, 0, 255].into())
    );
    assert_eq!(
        typed(OptionCode::NtpServers),
        v4::DhcpOption::NtpServers(vec![[10, 0, 0, 123].into()])
    );
    assert_eq!(answer.ethernet_source, ROUTER_MAC);
}

#[test]
fn the_configuration_stands_in_for_what_the_binding_leaves_out() {
    let mut settings = settings();
    settings.ntp = vec!["10.9.9.9".parse().unwrap()];
    settings.domain_search = vec!["a.example".parse().unwrap()];
    let codes = [6, 15, 42, 119];
    let answer = offer(&binding(), &settings, &codes);
    assert_eq!(
        answer.option(6).unwrap(),
        [192, 0, 2, 53],
        "the IPv6 one is not DHCPv4's"
    );
    assert_eq!(answer.option(15).unwrap(), b"example.org");
    assert_eq!(answer.option(42).unwrap(), [10, 9, 9, 9]);
    assert_eq!(answer.option(119).unwrap(), b"\x01a\x07example\x00");
    // An empty list in the binding is an answer too.
    let none = Binding {
        nameservers: Some(vec![]),
        ntp: Some(vec![]),
        domain_search: Some(vec![]),
        ..binding()
    };
    assert_eq!(
        offer(&none, &settings, &codes).codes(),
        [53, 54, 51, 58, 59, 15]
    );
}

/// Never from the host: binding, configuration, gateway, subnet.
#[test]
fn the_server_identifier_follows_from_the_network() {
    let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
    let net = |text: &str| Some(text.parse().unwrap());
    let configured = |server: Option<Ipv4Addr>| {
        let mut settings = settings();
        settings.dhcpv4.server_ip = server;
        settings
    };
    let own = Some(ip("10.0.0.9"));
    let general = Some(ip("169.254.169.254"));
    let bare = Binding {
        gateway: None,
        ..binding()
    };
    let cases = [
        (
            Binding {
                server_ip: own,
                ..binding()
            },
            general,
            "10.0.0.9",
        ),
        (binding(), general, "169.254.169.254"),
        (binding(), None, "10.0.0.1"),
        (
            Binding {
                private: true,
                ..binding()
            },
            None,
            "10.0.0.1",
        ),
        (bare.clone(), None, "10.0.0.1"),
        (
            Binding {
                ip: Some(ip("10.0.0.1")),
                ..bare.clone()
            },
            None,
            "10.0.0.2",
        ),
        (
            Binding {
                gateway: Some(ADDRESS),
                ..binding()
            },
            None,
            "10.0.0.1",
        ),
        (
            Binding {
                subnet: net("10.0.0.76/31"),
                ..bare.clone()
            },
            None,
            "10.0.0.76",
        ),
        (
            Binding {
                subnet: net("10.0.0.77/32"),
                ..bare.clone()
            },
            None,
            "169.254.0.1",
        ),
        (
            Binding {
                subnet: None,
                ..bare
            },
            None,
            "169.254.0.1",
        ),
    ];
    for (binding, general, wanted) in cases {
        let answer = offer(&binding, &configured(general), &[]);
        assert_eq!(
            answer.option(54).unwrap(),
            ip(wanted).octets(),
            "{binding:?}"
        );
        assert_eq!(answer.source, (ip(wanted), 67));
    }
}

/// A cloud's usual case: the address alone on its link, the gateway elsewhere.
#[test]
fn a_gateway_outside_the_subnet_comes_with_a_route_to_it() {
    let codes = [1, 3, 121];
    let lone = Binding {
        subnet: Some("203.0.113.5/32".parse().unwrap()),
        ip: Some("203.0.113.5".parse().unwrap()),
        gateway: Some("169.254.1.1".parse().unwrap()),
        ..binding()
    };
    let answer = offer(&lone, &settings(), &codes);
    assert_eq!(answer.option(1).unwrap(), [255; 4]);
    assert_eq!(answer.option(3).unwrap(), [169, 254, 1, 1]);
    let wanted = pairs(&[("169.254.1.1/32", "0.0.0.0"), ("0.0.0.0/0", "169.254.1.1")]);
    assert_eq!(routes_of(&answer), wanted);

    let outside = Binding {
        gateway: Some("192.0.2.1".parse().unwrap()),
        ..binding()
    };
    let wanted = pairs(&[("192.0.2.1/32", "0.0.0.0"), ("0.0.0.0/0", "192.0.2.1")]);
    assert_eq!(routes_of(&offer(&outside, &settings(), &codes)), wanted);
}

#[test]
fn routes_are_told_with_what_they_need() {
    let with = |routes: Vec<Route>| Binding {
        routes,
        ..binding()
    };
    let told = |binding: &Binding| routes_of(&offer(binding, &settings(), &[121]));
    let v6 = Route::V6 {
        destination: "2001:db8::/32".parse().unwrap(),
        gateway: "fe80::1".parse().unwrap(),
    };
    assert_eq!(told(&with(vec![v6])), []);
    assert_eq!(
        told(&with(vec![v6, route("192.168.0.0/16", "10.0.0.2")])),
        pairs(&[("192.168.0.0/16", "10.0.0.2"), ("0.0.0.0/0", "10.0.0.1")])
    );
    assert_eq!(
        told(&with(vec![route("0.0.0.0/0", "10.0.0.2")])),
        pairs(&[("0.0.0.0/0", "10.0.0.2")]),
        "its own default stands"
    );
    assert_eq!(
        told(&with(vec![
            route("192.168.0.0/16", "172.16.0.1"),
            route("172.17.0.0/16", "172.16.0.1")
        ])),
        pairs(&[
            ("172.16.0.1/32", "0.0.0.0"),
            ("192.168.0.0/16", "172.16.0.1"),
            ("172.17.0.0/16", "172.16.0.1"),
            ("0.0.0.0/0", "10.0.0.1"),
        ]),
        "a far gateway is made reachable once"
    );
    assert_eq!(
        told(&with(vec![
            route("172.16.0.0/24", "0.0.0.0"),
            route("172.17.0.0/16", "172.16.0.1")
        ])),
        pairs(&[
            ("172.16.0.0/24", "0.0.0.0"),
            ("172.17.0.0/16", "172.16.0.1"),
            ("0.0.0.0/0", "10.0.0.1"),
        ]),
        "a gateway in an on-link route's reach needs no more"
    );
}

#[test]
fn a_private_network_has_no_router() {
    let private = Binding {
        private: true,
        routes: vec![
            route("192.168.0.0/16", "10.0.0.2"),
            route("0.0.0.0/0", "10.0.0.2"),
        ],
        ..binding()
    };
    let answer = offer(&private, &settings(), &[1, 3, 121, 249]);
    assert_eq!(answer.option(3), None);
    assert_eq!(routes_of(&answer), pairs(&[("192.168.0.0/16", "10.0.0.2")]));
    let alone = Binding {
        routes: vec![],
        ..private
    };
    assert_eq!(
        offer(&alone, &settings(), &[3, 121, 249]).codes(),
        [53, 54, 51, 58, 59]
    );
}

#[test]
fn mask_and_broadcast_follow_the_prefix() {
    for (subnet, mask, broadcast) in [
        ("10.0.0.0/8", [255, 0, 0, 0], Some([10, 255, 255, 255])),
        ("10.0.0.76/30", [255, 255, 255, 252], Some([10, 0, 0, 79])),
        ("10.0.0.76/31", [255, 255, 255, 254], None),
        ("10.0.0.77/32", [255, 255, 255, 255], None),
    ] {
        let binding = Binding {
            subnet: Some(subnet.parse().unwrap()),
            ..binding()
        };
        let answer = offer(&binding, &settings(), &[1, 28]);
        assert_eq!(answer.option(1).unwrap(), mask);
        assert_eq!(
            answer.option(28),
            broadcast.map(|octets| octets.to_vec()),
            "{subnet}"
        );
    }
}

/// The operator named it for this VM: it is sent whether the client knows to ask or not.
#[test]
fn raw_options_are_sent_as_they_are() {
    let raw = |code, value: &[u8]| RawOption {
        code,
        value: value.to_vec(),
    };
    let binding = Binding {
        raw_options: vec![
            raw(43, &[1, 2, 3]),
            raw(224, b"hello"),
            raw(116, &[]),
            raw(225, &[9; 255]),
        ],
        ..binding()
    };
    let answer = offer(&binding, &settings(), &[224, 1]);
    assert_eq!(answer.codes(), [53, 54, 51, 58, 59, 224, 1, 43, 116, 225]);
    assert_eq!(answer.option(43).unwrap(), [1, 2, 3]);
    assert_eq!(answer.option(116).unwrap(), [0_u8; 0]);
    assert_eq!(answer.option(225).unwrap(), [9; 255]);
    let nak = ask_with(&binding, &settings(), &reboot(OTHER)).unwrap();
    assert_eq!(nak.codes(), [53, 54, 56]);
}

#[test]
fn a_fully_qualified_hostname_is_sent_whole() {
    let binding = Binding {
        hostname: Some("vm1.cloud.example".parse().unwrap()),
        ..binding()
    };
    let answer = offer(&binding, &settings(), &[12, 15]);
    assert_eq!(answer.option(12).unwrap(), b"vm1.cloud.example");
    assert_eq!(answer.option(15).unwrap(), b"example.org");
}

#[test]
fn a_long_search_list_is_split() {
    let search: Vec<_> = (0..30)
        .map(|n| format!("label-{n}.net-{n}.example").parse().unwrap())
        .collect();
    let binding = Binding {
        domain_search: Some(search),
        ..binding()
    };
    let answer = offer(&binding, &settings(), &[119]);
    let value = answer.option(119).unwrap();
    assert!(value.len() > 255);
    let names = Decoder::new(&value).read_domains(value.len()).unwrap();
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let wanted: Vec<_> = (0..30)
        .map(|n| format!("label-{n}.net-{n}.example."))
        .collect();
    assert_eq!(names, wanted);
}

/// Memory is what limits how many TAPs a host serves.
#[test]
fn a_usual_lease_is_small() {
    let binding = Binding {
        domain_search: Some(vec![
            "example.org".parse().unwrap(),
            "_ldap.cloud.example.org".parse().unwrap(),
        ]),
        ..binding()
    };
    let lease = Lease::new(&binding, &settings()).unwrap();
    assert!(lease.footprint() <= 400, "{} bytes", lease.footprint());
}
