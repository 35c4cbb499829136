//! Properties, on bindings and texts that proptest makes up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

use crate::{Binding, Boot, ClientArch, DomainName, MacAddr, Mode6, RawOption, Route};

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(|mut octets| {
        octets[0] = octets[0] & 0xfe | 0x02;
        MacAddr(octets)
    })
}

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    (1u8..=126, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d))
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from(bits >> 4 | 0x2 << 124))
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![ipv4().prop_map(IpAddr::V4), ipv6().prop_map(IpAddr::V6)]
}

fn name() -> impl Strategy<Value = DomainName> {
    "[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,3}[a-zA-Z0-9_])?(\\.[a-z0-9]{1,4}){0,2}"
        .prop_map(|name| name.parse().unwrap())
}

fn note() -> impl Strategy<Value = String> {
    "[ -~αß]{0,12}[!-~]".prop_filter("white space at an end is not kept", |text| {
        text.trim() == text
    })
}

fn word() -> impl Strategy<Value = String> {
    "[!-~]{1,12}"
}

fn route() -> impl Strategy<Value = Route> {
    let v4 = (ipv4(), 1u8..=32, of(ipv4())).prop_map(|(to, length, gateway)| Route::V4 {
        destination: Ipv4Net::new(to, length).unwrap().trunc(),
        gateway: gateway.unwrap_or(Ipv4Addr::UNSPECIFIED),
    });
    let v6 = (ipv6(), 1u8..=128, of(ipv6())).prop_map(|(to, length, gateway)| Route::V6 {
        destination: Ipv6Net::new(to, length).unwrap().trunc(),
        gateway: gateway.unwrap_or(Ipv6Addr::UNSPECIFIED),
    });
    prop_oneof![v4, v6]
}

fn mode6() -> impl Strategy<Value = Mode6> {
    prop::sample::select(vec![
        Mode6::None,
        Mode6::Slaac,
        Mode6::Stateless,
        Mode6::Stateful,
    ])
}

fn boot() -> impl Strategy<Value = Boot> {
    let by_arch = btree_map(
        prop::sample::select(ClientArch::ALL.to_vec()),
        note_ascii(),
        0..=5,
    );
    (
        (
            of(ipv4()),
            of(note_ascii()),
            of(note_ascii()),
            of(note_ascii()),
            by_arch,
        ),
        (
            vec(ipv4(), 0..=8),
            of(note_ascii()),
            of("[a-z]{1,5}:[!-~]{0,9}"),
            vec(word(), 0..=8),
        ),
    )
        .prop_map(
            |(
                (server, server_name, file, file_ipxe, by_arch),
                (tftp_servers, prefix, url6, param6),
            )| Boot {
                server,
                server_name,
                file,
                file_ipxe,
                by_arch: by_arch.into_iter().collect(),
                tftp_servers,
                prefix,
                url6,
                param6,
            },
        )
}

fn note_ascii() -> impl Strategy<Value = String> {
    "[!-~]([ -~]{0,12}[!-~])?"
}

fn raw_options() -> impl Strategy<Value = Vec<RawOption>> {
    btree_map(
        prop::sample::select(vec![43u8, 60, 125, 252, 224, 254]),
        vec(any::<u8>(), 0..=80),
        0..=6,
    )
    .prop_map(|options| {
        options
            .into_iter()
            .map(|(code, value)| RawOption { code, value })
            .collect()
    })
}

/// Any binding without a contradiction in it: addresses that must agree are made to.
fn binding() -> impl Strategy<Value = Binding> {
    let nic = (
        mac(),
        of(note()),
        of(note()),
        vec(word(), 0..4),
        of(name()),
        of(mac()),
        any::<(bool, bool)>(),
    );
    let v4 = (
        of(ipv4()),
        of(1u8..=32),
        of(ipv4()),
        of(ipv4()),
        of(60u32..),
        of(300u32..),
    );
    let v6 = (
        of(ipv6()),
        of(1u8..=128),
        of(ipv6()),
        any::<(bool, bool)>(),
        of(mode6()),
    );
    let lists = (
        vec(ip(), 0..=16),
        of(vec(ip(), 0..=8)),
        of(name()),
        of(vec(name(), 0..=16)),
        vec(route(), 0..=16),
        of(vec(ip(), 0..=8)),
        of(68u16..),
        of("[a-z]{1,5}:[!-~]{0,30}"),
    );
    (nic, v4, v6, lists, boot(), raw_options())
        .prop_map(|(nic, v4, v6, lists, boot, raw_options)| {
            let (mac, indev, link, tags, hostname, gateway6_mac, (mac_spoof, private)) = nic;
            let (ip, length, gateway, server_ip, lease, v6only_wait) = v4;
            let (own6, length6, gateway6, (eui64, ip6), mode6) = v6;
            let (extra_ips, nameservers, domain, domain_search, routes, ntp, mtu, captive_portal) =
                lists;
            let subnet = length
                .and_then(|length| Some(Ipv4Net::new(ip.or(gateway)?, length).unwrap().trunc()));
            let subnet6 =
                length6.and_then(|length| Some(Ipv6Net::new(own6?, length).unwrap().trunc()));
            Binding {
                mac,
                indev,
                link,
                tags,
                hostname,
                ip,
                subnet,
                gateway,
                server_ip,
                lease,
                v6only_wait,
                subnet6,
                gateway6,
                gateway6_mac,
                eui64: own6.filter(|_| eui64),
                ip6: own6.filter(|_| ip6),
                mode6,
                extra_ips,
                nameservers,
                domain,
                domain_search,
                routes,
                ntp,
                mtu,
                captive_portal,
                boot,
                raw_options,
                mac_spoof,
                private,
            }
        })
        .prop_filter("no contradiction", |binding| {
            crate::check::contradiction(binding).is_none()
        })
}

/// Lines that come near the grammar: a key that exists, and something.
fn near_text() -> impl Strategy<Value = String> {
    let key = "MAC|IP|SUBNET6?|GATEWAY6?|ROUTES|NAMESERVERS|DOMAIN_SEARCH|MTU|OPT[0-9]{1,3}|BOOT_[A-Z6_]{4,9}|TAGS";
    let value = prop_oneof![
        "[0-9a-f.:/@,\" ]{0,30}",
        ".{0,20}",
        Just("aa:00:00:51:ad:bc".to_owned()),
        ip().prop_map(|ip| ip.to_string()),
    ];
    let line = (key, value).prop_map(|(key, value)| format!("{key}={value}"));
    vec(line, 0..8).prop_map(|lines| format!("MAC=aa:00:00:51:ad:bc\n{}\n", lines.join("\n")))
}

proptest! {
    #[test]
    fn reading_undoes_writing(binding in binding()) {
        let text = binding.to_file().unwrap();
        let file = Binding::read_bytes(text.as_bytes()).unwrap();
        prop_assert_eq!(&file.binding, &binding);
        prop_assert_eq!(file.ignored, vec![]);
        prop_assert_eq!(text.parse(), Ok(binding));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Err(error) = Binding::read_bytes(&bytes) {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn what_is_read_is_written_as_the_same(text in near_text()) {
        if let Ok(file) = Binding::read_bytes(text.as_bytes()) {
            let again = Binding::read_bytes(file.binding.to_file().unwrap().as_bytes()).unwrap();
            prop_assert_eq!(again.binding, file.binding);
        }
    }
}
