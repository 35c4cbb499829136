//! The binding file's grammar: what is read as what, what is refused, and that writing undoes reading.

mod generated;

use crate::{Binding, BindingError, IgnoredReason, MacAddr, Mode6, RawOption, Route};

const MAC: &str = "MAC=aa:00:00:51:ad:bc\n";

/// The binding of a MAC line and these lines.
fn read(lines: &str) -> Binding {
    let text = format!("{MAC}{lines}\n");
    Binding::read_bytes(text.as_bytes())
        .unwrap_or_else(|error| panic!("{lines}: {error}"))
        .binding
}

/// Why a file of a MAC line and these lines is refused.
fn refusal(lines: &str) -> String {
    let text = format!("{MAC}{lines}\n");
    match Binding::read_bytes(text.as_bytes()) {
        Ok(file) => panic!("{lines} is read as {:?}", file.binding),
        Err(error) => error.to_string(),
    }
}

#[test]
fn b5_macspoof_no_means_no() {
    for word in ["no", "NO", "0", "false", "False", "off", "", "\"\"", "'no'"] {
        let binding = read(&format!("MACSPOOF={word}\nPRIVATE={word}"));
        assert!(!binding.mac_spoof && !binding.private, "{word:?}");
    }
    for word in ["yes", "Yes", "1", "true", "on", "\"yes\""] {
        let binding = read(&format!("MACSPOOF={word}\nPRIVATE={word}"));
        assert!(binding.mac_spoof && binding.private, "{word:?}");
    }
    for word in ["y", "2", "none", "allowed", "no yes"] {
        assert!(
            refusal(&format!("MACSPOOF={word}")).contains("MACSPOOF"),
            "{word:?}"
        );
    }
}

#[test]
fn b5_hardware_addresses_are_equal_in_either_case() {
    let upper: Binding = "MAC=AA:00:00:51:AD:BC\n".parse().unwrap();
    assert_eq!(upper, read(""));
}

#[test]
fn b6_empty_values_are_absent() {
    let keys = [
        "INDEV",
        "LINK",
        "BRIDGE",
        "IFACE",
        "TAGS",
        "HOSTNAME",
        "IP",
        "SUBNET",
        "GATEWAY",
        "SERVER_IP",
        "LEASE",
        "V6ONLY_WAIT",
        "SUBNET6",
        "GATEWAY6",
        "GATEWAY6_MAC",
        "EUI64",
        "IP6",
        "MODE6",
        "EXTRA_IPS",
        "NAMESERVERS",
        "DOMAIN",
        "DOMAIN_SEARCH",
        "ROUTES",
        "NTP",
        "MTU",
        "CAPTIVE_PORTAL",
        "BOOT_FILE",
        "BOOT_FILE_X64",
        "OPT252",
        "MACSPOOF",
        "PRIVATE",
    ];
    for value in ["", "\"\"", "''", "   ", "\"  \""] {
        let lines: Vec<String> = keys.iter().map(|key| format!("{key}={value}")).collect();
        assert_eq!(read(&lines.join("\n")), read(""), "{value:?}");
    }
}

#[test]
fn b6_host_bits_in_a_subnet_are_cleared() {
    let binding = read("IP=192.0.2.10\nSUBNET=192.0.2.10/24\nSUBNET6=2001:db8:77::5/64");
    assert_eq!(binding.subnet, Some("192.0.2.0/24".parse().unwrap()));
    assert_eq!(binding.subnet6, Some("2001:db8:77::/64".parse().unwrap()));
}

#[test]
fn b6_an_address_without_a_subnet_is_no_error() {
    assert_eq!(read("IP=192.0.2.10").subnet, None);
}

#[test]
fn b18_a_value_may_contain_equals_signs() {
    let binding = read("BOOT_FILE=http://192.0.2.1/?a=b&c=d\nTAGS=a=b");
    assert_eq!(
        binding.boot.file.as_deref(),
        Some("http://192.0.2.1/?a=b&c=d")
    );
    assert_eq!(binding.tags, ["a=b"]);
}

#[test]
fn quotes_are_a_shells() {
    assert_eq!(read("TAGS=\"a b\"").tags, ["a", "b"]);
    assert_eq!(read("TAGS='a b'").tags, ["a", "b"]);
    assert_eq!(read("TAGS=a b").tags, ["a", "b"]);
    assert_eq!(
        read(r#"LINK="a\"b\\c\$d\e""#).link.as_deref(),
        Some(r#"a"b\c$d\e"#)
    );
    assert_eq!(read(r"LINK='a\b'").link.as_deref(), Some(r"a\b"));
    assert_eq!(read(r#"LINK=a"b"#).link.as_deref(), Some(r#"a"b"#));
    for broken in [
        "LINK=\"a",
        "LINK='a",
        "LINK=\"",
        "LINK=\"a\"b",
        "LINK='a'b'",
        "LINK=\"a\\\"",
    ] {
        assert!(refusal(broken).contains("quote"), "{broken}");
    }
}

#[test]
fn comments_blank_lines_spaces_and_crlf_are_taken() {
    let text = "# written by hand\r\n\r\n  MAC = aa:00:00:51:ad:bc \r\n\tMTU=1450\t\r\n";
    let file = Binding::read_bytes(text.as_bytes()).unwrap();
    assert_eq!(file.binding.mac, MacAddr([0xaa, 0, 0, 0x51, 0xad, 0xbc]));
    assert_eq!(file.binding.mtu, Some(1450));
    assert_eq!(file.ignored, []);
}

#[test]
fn unknown_keys_and_stray_lines_are_reported_and_have_no_effect() {
    let text =
        format!("{MAC}NOTIFY_PORT=25000\nnot a key\nmtu=1450\nOPT052=hex:00\nOPT256=hex:00\n");
    let file = Binding::read_bytes(text.as_bytes()).unwrap();
    assert_eq!(file.binding, read(""));
    let ignored: Vec<_> = file
        .ignored
        .iter()
        .map(|line| (line.line, line.key.as_str(), line.reason))
        .collect();
    assert_eq!(
        ignored,
        [
            (2, "NOTIFY_PORT", IgnoredReason::UnknownKey),
            (3, "not a key", IgnoredReason::NoValue),
            (4, "mtu", IgnoredReason::UnknownKey),
            (5, "OPT052", IgnoredReason::UnknownKey),
            (6, "OPT256", IgnoredReason::UnknownKey),
        ]
    );
}

/// The original's ifup scripts put an operator's extra keys first and their own last, with empty values for what they do
/// not know.
#[test]
fn the_last_of_several_lines_counts_even_when_it_is_empty() {
    let text = format!("MTU=nonsense\nGATEWAY=192.0.2.1\n{MAC}MTU=1450\nGATEWAY=\n");
    let file = Binding::read_bytes(text.as_bytes()).unwrap();
    assert_eq!((file.binding.mtu, file.binding.gateway), (Some(1450), None));
    let lines: Vec<_> = file
        .ignored
        .iter()
        .map(|line| (line.line, line.reason))
        .collect();
    assert_eq!(
        lines,
        [
            (1, IgnoredReason::GivenAgain),
            (2, IgnoredReason::GivenAgain)
        ]
    );
}

#[test]
fn half_a_file_is_incomplete_and_nothing_of_it_is_used() {
    assert_eq!(Binding::read_bytes(b""), Err(BindingError::Empty));
    let whole = format!("{MAC}IP=192.0.2.100\n");
    for cut in 1..whole.len() {
        let part = &whole.as_bytes()[..cut];
        match Binding::read_bytes(part) {
            Ok(file) => assert_eq!((cut, file.binding), (MAC.len(), read(""))),
            Err(error) => assert!(error.is_incomplete(), "{cut}: {error}"),
        }
    }
    assert!(!Binding::read_bytes(b"\n").unwrap_err().is_incomplete());
}

#[test]
fn what_is_no_text_is_refused_with_its_line() {
    let with = |bytes: &[u8]| [MAC.as_bytes(), bytes, b"\n"].concat();
    assert_eq!(
        Binding::read_bytes(&with(b"TAGS=\xff")),
        Err(BindingError::NotUtf8 { line: 2 })
    );
    for (bytes, character) in [
        (&b"TAGS=a\0b"[..], '\0'),
        (b"# \x1b[2J", '\x1b'),
        (b"TAGS=a\rb", '\r'),
    ] {
        let expected = BindingError::ControlCharacter { line: 2, character };
        assert_eq!(Binding::read_bytes(&with(bytes)), Err(expected));
    }
}

#[test]
fn a_file_over_the_limit_is_refused() {
    let mut text = MAC.to_owned();
    text.extend(std::iter::repeat_n('\n', 65_536 - MAC.len()));
    assert!(Binding::read_bytes(text.as_bytes()).is_ok());
    text.push('\n');
    assert_eq!(
        Binding::read_bytes(text.as_bytes()),
        Err(BindingError::TooLarge { bytes: 65_537 })
    );
}

#[test]
fn the_hardware_address_must_be_there_and_one_stations() {
    for text in ["\n", "IP=192.0.2.10\n", "MAC=\n", "MAC=\"\"\n"] {
        assert_eq!(
            Binding::read_bytes(text.as_bytes()),
            Err(BindingError::Missing { key: "MAC" })
        );
    }
    for mac in [
        "ff:ff:ff:ff:ff:ff",
        "33:33:00:00:00:01",
        "00:00:00:00:00:00",
        "aa:00:00:51:ad",
        "aa-00-00-51-ad-bc",
    ] {
        let error = format!("MAC={mac}\n").parse::<Binding>().unwrap_err();
        assert!(
            matches!(error, BindingError::Value { line: 1, .. }),
            "{mac}: {error}"
        );
    }
}

#[test]
fn an_address_must_be_a_hosts() {
    for ip in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1/24",
        "192.0.2",
        "::1",
        "x",
    ] {
        for key in [
            "IP",
            "GATEWAY",
            "SERVER_IP",
            "EXTRA_IPS",
            "NAMESERVERS",
            "BOOT_SERVER",
            "BOOT_TFTP_SERVERS",
        ] {
            assert!(
                refusal(&format!("{key}={ip}")).starts_with(&format!("line 2: {key}=")),
                "{key}={ip}"
            );
        }
    }
    for ip in [
        "::",
        "::1",
        "ff02::1",
        "2001:db8::/64",
        "fe80::1%eth0",
        "192.0.2.1",
    ] {
        for key in ["GATEWAY6", "EUI64", "IP6"] {
            assert!(
                refusal(&format!("{key}={ip}")).starts_with("line 2: "),
                "{key}={ip}"
            );
        }
    }
    assert!(refusal("IP6=fe80::1").contains("link-local"));
    assert_eq!(
        read("GATEWAY6=fe80::1").gateway6,
        Some("fe80::1".parse().unwrap())
    );
}

#[test]
fn contradictions_are_refused() {
    for (lines, key) in [
        ("IP=192.0.2.10\nGATEWAY=192.0.2.10", "GATEWAY"),
        ("IP=192.0.2.10\nSERVER_IP=192.0.2.10", "SERVER_IP"),
        ("IP=192.0.2.10\nSUBNET=192.0.3.0/24", "IP"),
        ("IP=192.0.2.0\nSUBNET=192.0.2.0/24", "IP"),
        ("IP=192.0.2.255\nSUBNET=192.0.2.0/24", "IP"),
        ("GATEWAY=192.0.2.255\nSUBNET=192.0.2.0/24", "GATEWAY"),
        ("IP=192.0.2.10\nROUTES=198.51.100.0/24@192.0.2.10", "ROUTES"),
        ("GATEWAY=192.0.2.1\nEXTRA_IPS=192.0.2.1", "EXTRA_IPS"),
        ("GATEWAY6=2001:db8::1\nEXTRA_IPS=2001:db8::1", "EXTRA_IPS"),
        ("SUBNET6=2001:db8:1::/64\nEUI64=2001:db8:2::1", "EUI64"),
        ("SUBNET6=2001:db8:1::/64\nIP6=2001:db8:2::1", "IP6"),
        ("GATEWAY6=2001:db8::1\nEUI64=2001:db8::1", "GATEWAY6"),
        ("GATEWAY6=2001:db8::1\nIP6=2001:db8::1", "GATEWAY6"),
        ("GATEWAY6_MAC=aa:00:00:51:ad:bc", "GATEWAY6_MAC"),
    ] {
        let refusal = refusal(lines);
        let at = lines
            .lines()
            .position(|line| line.starts_with(&format!("{key}=")))
            .unwrap()
            + 2;
        assert!(
            refusal.starts_with(&format!("line {at}: {key}=")),
            "{lines}: {refusal}"
        );
    }
}

#[test]
fn an_address_that_stands_alone_is_taken() {
    let binding = read("IP=203.0.113.7\nSUBNET=203.0.113.7/32\nGATEWAY=169.254.1.1");
    assert_eq!(binding.gateway, Some("169.254.1.1".parse().unwrap()));
    read("IP=192.0.2.0\nSUBNET=192.0.2.0/31\nGATEWAY=192.0.2.1");
    read("GATEWAY=192.0.2.1\nGATEWAY6=2001:db8::1");
}

#[test]
fn prefixes_have_a_length() {
    for subnet in [
        "192.0.2.0",
        "192.0.2.0/",
        "192.0.2.0/33",
        "192.0.2.0/+24",
        "0.0.0.0/0",
        "192.0.2.0/255.0.255.0",
        "/24",
    ] {
        assert!(
            refusal(&format!("SUBNET={subnet}")).contains("SUBNET"),
            "{subnet}"
        );
    }
    for subnet in [
        "2001:db8::",
        "2001:db8::/129",
        "::/0",
        "fe80::/64",
        "ff00::/8",
        "192.0.2.0/24",
    ] {
        assert!(
            refusal(&format!("SUBNET6={subnet}")).contains("SUBNET6"),
            "{subnet}"
        );
    }
    assert_eq!(
        read("SUBNET=10.0.0.0/255.255.255.0").subnet,
        Some("10.0.0.0/24".parse().unwrap())
    );
}

#[test]
fn routes_name_a_router_or_the_link() {
    let v4 = |destination: &str, gateway: &str| Route::V4 {
        destination: destination.parse().unwrap(),
        gateway: gateway.parse().unwrap(),
    };
    assert_eq!(
        read("ROUTES=\"198.51.100.7/24@192.0.2.1, 169.254.169.254/32@0.0.0.0\"").routes,
        [
            v4("198.51.100.0/24", "192.0.2.1"),
            v4("169.254.169.254/32", "0.0.0.0")
        ]
    );
    for route in [
        "198.51.100.0/24",
        "198.51.100.0/24@",
        "@192.0.2.1",
        "198.51.100.0/24@::",
        "2001:db8::/48@192.0.2.1",
        "0.0.0.0/0@192.0.2.1",
        "::/0@::",
        "198.51.100.0/24@192.0.2.1@192.0.2.2",
    ] {
        assert!(
            refusal(&format!("ROUTES={route}")).contains("ROUTES"),
            "{route}"
        );
    }
}

#[test]
fn lists_have_an_end() {
    let many = |count: usize, item: &dyn Fn(usize) -> String| {
        (1..=count).map(item).collect::<Vec<_>>().join(" ")
    };
    let v4 = |n: usize| format!("192.0.2.{n}");
    let v6 = |n: usize| format!("2001:db8::{n}");
    let route = |n: usize| format!("198.51.{n}.0/24@192.0.2.1");
    let name = |n: usize| format!("{n}.{}.example", "a".repeat(9));
    for (key, most, item) in [
        ("NAMESERVERS", 8, &v4 as &dyn Fn(usize) -> String),
        ("NAMESERVERS", 8, &v6),
        ("NTP", 8, &v4),
        ("EXTRA_IPS", 16, &v4),
        ("ROUTES", 16, &route),
        ("DOMAIN_SEARCH", 16, &name),
        ("BOOT_TFTP_SERVERS", 8, &v4),
        ("BOOT_PARAM6", 8, &v4),
    ] {
        read(&format!("{key}={}", many(most, item)));
        assert!(
            refusal(&format!("{key}={}", many(most + 1, item))).contains("more than"),
            "{key}"
        );
    }
    let both = format!("NAMESERVERS={} {}", many(8, &v4), many(8, &v6));
    assert_eq!(read(&both).nameservers.unwrap().len(), 16);
    let long = format!(
        "DOMAIN_SEARCH={0}.a {0}.b {0}.c",
        ["a".repeat(60), "b".repeat(60), "c".repeat(60)].join(".")
    );
    assert!(refusal(&long).contains("at most 384"));
    let seventeen: Vec<String> = (224..241).map(|code| format!("OPT{code}=hex:00")).collect();
    assert!(refusal(&seventeen.join("\n")).contains("OPT240"));
    let long: Vec<String> = (224..227)
        .map(|code| format!("OPT{code}=hex:{}", "00".repeat(200)))
        .collect();
    assert!(refusal(&long.join("\n")).contains("OPT226"));
}

#[test]
fn none_is_the_empty_list_and_silence_is_the_configurations() {
    let binding = read("NAMESERVERS=none\nDOMAIN_SEARCH=none\nNTP=none");
    assert_eq!(
        (binding.nameservers, binding.domain_search, binding.ntp),
        (Some(vec![]), Some(vec![]), Some(vec![]))
    );
    let binding = read("");
    assert_eq!(
        (binding.nameservers, binding.domain_search, binding.ntp),
        (None, None, None)
    );
    assert!(refusal("NAMESERVERS=,").contains("no item"));
}

#[test]
fn numbers_have_a_range() {
    for (key, right, wrong) in [
        (
            "MTU",
            &["68", "1500", "65535"][..],
            &["67", "65536", "0", "-1", "+1500", "1e3", "0x5dc"][..],
        ),
        ("LEASE", &["60", "4294967295"], &["59", "4294967296"]),
        ("V6ONLY_WAIT", &["300"], &["299"]),
    ] {
        for value in right {
            read(&format!("{key}={value}"));
        }
        for value in wrong {
            assert!(
                refusal(&format!("{key}={value}")).contains("is not a number from"),
                "{key}={value}"
            );
        }
    }
}

#[test]
fn modes_have_four_words() {
    assert_eq!(read("MODE6=stateful").mode6, Some(Mode6::Stateful));
    assert!(refusal("MODE6=auto").contains("MODE6=auto"));
}

#[test]
fn options_are_given_as_bytes_or_text_and_come_in_the_order_of_their_codes() {
    let option = |code, value: &[u8]| RawOption {
        code,
        value: value.to_vec(),
    };
    assert_eq!(
        read("OPT252=text:http://wpad/\nOPT43=hex:01:04:C0:a8\nOPT224=hex:0A0b").raw_options,
        [
            option(43, &[1, 4, 0xc0, 0xa8]),
            option(224, &[10, 11]),
            option(252, b"http://wpad/")
        ]
    );
}

#[test]
fn an_option_of_another_key_is_refused() {
    for code in [0, 1, 3, 6, 12, 51, 53, 54, 61, 82, 121, 249, 255] {
        assert!(
            refusal(&format!("OPT{code}=hex:00")).contains(&format!("OPT{code}")),
            "{code}"
        );
    }
}

#[test]
fn messages_show_no_control_characters_and_stay_short() {
    let error = refusal(&format!("IP={}\u{202e}\u{2028}", "9".repeat(300)));
    assert!(error.len() < 200, "{error}");
    assert!(refusal("IP=\u{202e}1").contains("\\u{202e}"));
}

#[test]
fn a_line_end_in_a_field_is_not_written() {
    let mut binding = read("");
    for link in [
        "br0\nMACSPOOF=yes",
        "br0\"\nMACSPOOF=yes\n#\"",
        "br0\r",
        "\n",
        " ",
    ] {
        binding.link = Some(link.into());
        assert!(binding.to_file().is_err(), "{link:?}");
    }
    binding.link = None;
    binding.tags = vec!["two words".into()];
    assert_eq!(binding.to_file(), Err(BindingError::NotWritable));
    binding.tags = vec![];
    binding.ip = Some("127.0.0.1".parse().unwrap());
    assert!(matches!(binding.to_file(), Err(BindingError::Value { .. })));
}
