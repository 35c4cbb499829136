//! What holds for any request and any binding.

use std::net::IpAddr;

use nfdhcpd_binding::{Boot, ClientArch, RawOption, Route};
use proptest::prelude::*;

use super::*;

fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        4 => Just(ADDRESS),
        2 => Just(OTHER),
        2 => Just(NONE),
        1 => Just(GATEWAY),
        1 => any::<u32>().prop_map(Ipv4Addr::from),
    ]
}

fn option() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let code = prop_oneof![
        4 => prop::sample::select(vec![50, 52, 54, 55, 57, 60, 61, 77, 80, 81, 82, 93, 97, 175]),
        1 => any::<u8>(),
    ];
    (code, prop::collection::vec(any::<u8>(), 0..70))
}

prop_compose! {
    fn any_ask()(
        kind in prop_oneof![Just(1u8), Just(3), Just(8), any::<u8>()],
        flags: u16,
        (ciaddr, giaddr) in (address(), address()),
        chaddr in prop_oneof![9 => Just(VM), 1 => Just(STRANGER)],
        source in prop_oneof![3 => Just(Some(VM)), 1 => Just(Some(STRANGER)), 1 => Just(None)],
        source_ip in address(),
        requested in prop::option::of(address()),
        server in prop::option::of(address()),
        list in prop::option::of(prop::collection::vec(any::<u8>(), 0..60)),
        size in prop::option::of(any::<u16>()),
        others in prop::collection::vec(option(), 0..6),
        file in prop::collection::vec(any::<u8>(), 0..128),
        sname in prop::collection::vec(any::<u8>(), 0..64),
    ) -> Ask {
        let mut ask = Ask {
            flags,
            ciaddr,
            giaddr,
            chaddr,
            ethernet_source: source,
            source: (source_ip, 68),
            file,
            sname,
            ..ask(kind)
        };
        if let Some(address) = requested { ask = ask.with(50, &address.octets()); }
        if let Some(address) = server { ask = ask.with(54, &address.octets()); }
        if let Some(list) = list { ask = ask.asking_for(&list); }
        if let Some(size) = size { ask = ask.with(57, &size.to_be_bytes()); }
        for (code, value) in others { ask = ask.with(code, &value); }
        ask
    }
}

prop_compose! {
    fn any_binding()(
        subnet in prop::option::of(0u8..=32),
        gateway in prop::option::of(address()),
        (private, mac_spoof) in (any::<bool>(), any::<bool>()),
        mtu in prop::option::of(any::<u16>()),
        lease in prop::option::of(any::<u32>()),
        nameservers in prop::collection::vec(any::<u32>(), 0..90),
        search in prop::collection::vec("[a-z]{1,63}(\\.[a-z]{1,20}){0,3}", 0..12),
        routes in prop::collection::vec((any::<u32>(), 0u8..=32, address()), 0..8),
        raw in prop::collection::btree_map(224u8..=254, prop::collection::vec(any::<u8>(), 0..=255), 0..4),
        file in prop::option::of("[ -~]{0,255}"),
        hostname in prop::option::of("[a-z]{1,63}(\\.[a-z]{1,63}){0,2}"),
        portal in prop::option::of("[ -~]{1,300}"),
    ) -> Binding {
        let net = |ip, len| ipnet::Ipv4Net::new(ip, len).unwrap().trunc();
        Binding {
            subnet: subnet.map(|len| net(ADDRESS, len)),
            gateway,
            private,
            mac_spoof,
            mtu,
            lease,
            nameservers: Some(nameservers.into_iter().map(|n| IpAddr::V4(n.into())).collect()),
            domain_search: Some(search.iter().filter_map(|name| name.parse().ok()).collect()),
            routes: routes
                .into_iter()
                .map(|(ip, len, gateway)| Route::V4 { destination: net(ip.into(), len), gateway })
                .collect(),
            raw_options: raw.into_iter().map(|(code, value)| RawOption { code, value }).collect(),
            boot: Boot {
                server: Some(OTHER),
                by_arch: file.iter().map(|file| (ClientArch::X64, format!("{file}x"))).collect(),
                file,
                ..Boot::default()
            },
            hostname: hostname.and_then(|name| name.parse().ok()),
            captive_portal: portal,
            v6only_wait: Some(300),
            ..binding()
        }
    }
}

proptest! {
    /// A reply is sound, goes to whoever the port belongs to, and gives no other address.
    #[test]
    fn a_reply_is_for_this_vm_only(ask in any_ask(), binding in any_binding()) {
        let Ok(answer) = ask_with(&binding, &settings(), &ask) else { return Ok(()) };
        let mut to = vec![VM, MacAddr::BROADCAST];
        if binding.mac_spoof {
            to.extend([ask.chaddr]);
            to.extend(ask.ethernet_source);
        }
        prop_assert!(to.contains(&answer.ethernet_destination), "{}", answer.ethernet_destination);
        prop_assert_eq!(answer.ethernet_source, ROUTER_MAC);
        let gives = matches!(answer.reply, Reply::Offer | Reply::Ack);
        prop_assert_eq!(answer.message.yiaddr(), if gives { ADDRESS } else { NONE });
        prop_assert_eq!(answer.message.chaddr(), ask.chaddr.octets());
        prop_assert_ne!(answer.source.0, ADDRESS);

        let codes = answer.codes();
        let mut once = codes.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), codes.len(), "an option twice in {:?}", codes);
        prop_assert!(answer.bootp.len() >= 300);
        let asked = ask_size(&ask).unwrap_or(0).clamp(576, 1500);
        let mtu = binding.mtu.unwrap_or(1500).max(328);
        prop_assert!(answer.datagram_len <= usize::from(asked.min(mtu)));
    }

    /// What dhcproto reads is what the binding says.
    #[test]
    fn the_oracle_reads_what_was_meant(binding in any_binding()) {
        let list = [1, 3, 6, 12, 26, 51, 121];
        let ask = select(ADDRESS, server_of(&binding)).asking_for(&list).with(57, &1500u16.to_be_bytes());
        let answer = ask_with(&binding, &settings(), &ask);
        let answer = answer.unwrap();
        prop_assert_eq!(answer.reply, Reply::Ack);
        let opts = answer.message.opts();
        prop_assert_eq!(opts.msg_type(), Some(v4::MessageType::Ack));
        let mask = binding.subnet.map_or(Ipv4Addr::BROADCAST, |net| net.netmask());
        let fits = binding.mtu.is_none_or(|mtu| mtu >= 576);
        if fits {
            prop_assert_eq!(opts.get(OptionCode::SubnetMask), Some(&v4::DhcpOption::SubnetMask(mask)));
            let router = binding.gateway.filter(|_| !binding.private);
            let router = router.map(|router| v4::DhcpOption::Router(vec![router]));
            prop_assert_eq!(opts.get(OptionCode::Router), router.as_ref());
        }
        let lease = binding.lease.unwrap_or(3600).max(60);
        prop_assert_eq!(
            opts.get(OptionCode::AddressLeaseTime),
            Some(&v4::DhcpOption::AddressLeaseTime(lease))
        );
    }

    #[test]
    fn any_bytes_get_a_decision(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let served = served(&binding(), &settings());
        prop_assert!(decide(&served, None, &bytes).is_err());
        // The same behind sound headers.
        let mut frame = Frame::new();
        let link = Link { source: VM, destination: MacAddr::BROADCAST };
        prop_assert!(ip::begin_udp4(&mut frame, link, (NONE, 68), (NONE, 67)));
        prop_assert!(frame.push(&bytes));
        prop_assert!(ip::finish(&mut frame));
        let _ = decide(&served, None, &frame.as_slice()[14..]);
    }

    /// One byte of a sound request changed.
    #[test]
    fn damaged_requests_get_a_decision(at in 28usize..400, value: u8) {
        let ask = discover().asking_for(&[1, 3]).with(61, &[1; 7]).with(93, &[0, 7]).with(57, &[5, 220]);
        let mut packet = ask.packet();
        let at = at % packet.len();
        packet[at] = value;
        let mut out = Frame::new();
        let inbound = Inbound {
            protocol: Protocol::Dhcpv4,
            source: Some(VM),
            verify_checksum: false,
            payload: &packet,
        };
        let _ = answer(&served(&binding(), &settings()), &inbound, &mut out);
    }
}

/// Option 57 as the first and only instance says it.
fn ask_size(ask: &Ask) -> Option<u16> {
    let packet = ask.packet();
    crate::wire::dhcpv4::Request::read(&packet[28..])
        .ok()?
        .max_message_size
}

fn server_of(binding: &Binding) -> Ipv4Addr {
    super::super::Lease::new(binding, &settings())
        .unwrap()
        .server_identifier()
}
