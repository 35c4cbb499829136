//! Original configurations, and what our daemon makes of the result.

use std::path::Path;

use nfdhcpd_binding::Mode6;
use proptest::prelude::*;

use super::*;
use crate::config::{Absent, Config, Rules};

/// A site's file, with all the original's settings and the way it writes them.
const SITE: &str = "\
## the site's
[general]
pidfile = /var/run/nfdhcpd/nfdhcpd.pid
datapath = /srv/bindings # where ifup writes
logdir = /var/log/nfdhcpd
user = nobody

[dhcp]
enable_dhcp = yes
lease_lifetime = 604800 # 1 week
lease_renewal = 3600 \t# 1 hour
server_ip = 192.0.2.1
server_on_link = no
dhcp_queue = 0
nameservers = 192.0.2.2, 192.0.2.3
domain = example.com

[ipv6]
enable_ipv6 = yes
enable_dhcpv6 = yes
mode = auto
ra_period = 300
rs_queue = 143
ns_queue = 144
dhcp_queue = 145
nameservers = 2001:db8:100::1,
domains = example.com, 'example.net'
";

/// What our daemon makes of the result.
fn imported(original: &str) -> (String, Config) {
    let text = import(original).unwrap_or_else(|error| panic!("{error}"));
    let config = Config::parse(&text, Path::new("imported.toml"));
    let config = config.unwrap_or_else(|error| panic!("{text}\n{error:?}"));
    (text, config)
}

#[test]
fn a_sites_configuration_keeps_its_meaning() {
    let (text, config) = imported(SITE);
    assert_eq!(config.bindings, Path::new("/srv/bindings"));
    assert_eq!(config.rules, Rules::External);
    assert_eq!(config.unserved, Absent::Pass);
    let queues = config.queues;
    assert_eq!(
        (queues.dhcpv4, queues.rs, queues.ns, queues.dhcpv6),
        (0, 143, 144, 145)
    );
    let settings = config.settings;
    let servers: Vec<String> = settings.nameservers.iter().map(IpAddr::to_string).collect();
    assert_eq!(servers, ["192.0.2.2", "192.0.2.3", "2001:db8:100::1"]);
    assert_eq!(settings.domain.unwrap().as_str(), "example.com");
    let search: Vec<&str> = settings
        .domain_search
        .iter()
        .map(DomainName::as_str)
        .collect();
    assert_eq!(search, ["example.com", "example.net"]);
    assert_eq!(settings.dhcpv4.lease, 604_800);
    assert_eq!(settings.dhcpv4.server_ip, Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(settings.ra.mode6, Mode6::Stateless);
    assert_eq!(
        (settings.ra.max_interval, settings.ra.router_lifetime),
        (300, 900)
    );
    for setting in [
        "pidfile",
        "logdir",
        "lease_renewal",
        "enable_dhcpv6",
        "nobody",
    ] {
        assert!(text.contains(setting), "{setting} is lost: {text}");
    }
}

#[test]
fn nothing_gives_our_defaults_and_external_rules() {
    let (_, config) = imported("");
    assert_eq!(config.rules, Rules::External);
    let queues = config.queues;
    assert_eq!(
        (queues.dhcpv4, queues.rs, queues.ns, queues.dhcpv6),
        (42, 43, 44, 45)
    );
}

#[test]
fn a_protocol_without_a_queue_gets_a_free_one() {
    let queues = imported("[dhcp]\ndhcp_queue = 44\n[ipv6]\ndhcpv6_queue = 43\n")
        .1
        .queues;
    assert_eq!(
        (queues.dhcpv4, queues.rs, queues.ns, queues.dhcpv6),
        (44, 45, 46, 43)
    );
}

#[test]
fn modes_follow_from_word_or_queues() {
    let mode = |ipv6: &str| imported(&format!("[ipv6]\n{ipv6}\n")).1.settings.ra.mode6;
    assert_eq!(mode("rs_queue = 43\nns_queue = 44"), Mode6::Slaac);
    assert_eq!(
        mode("rs_queue = 43\nns_queue = 44\ndhcpv6_queue = 45"),
        Mode6::Stateless
    );
    assert_eq!(mode("mode = slaac\ndhcpv6_queue = 45"), Mode6::Slaac);
    assert_eq!(mode("mode = slaac+dhcpv6"), Mode6::Stateless);
    assert_eq!(mode("enable_ipv6 = off\nmode = slaac"), Mode6::None);
    assert!(imported("[ipv6]\nmode = dhcpv6\n").0.contains("stateful"));
}

#[test]
fn values_our_daemon_refuses_are_brought_into_range() {
    let (_, config) = imported("[dhcp]\nlease_lifetime = 1\n[ipv6]\nra_period = 1\n");
    assert_eq!(
        (
            config.settings.dhcpv4.lease,
            config.settings.ra.max_interval
        ),
        (60, 4)
    );
    let (_, config) = imported("[ipv6]\nra_period = 4294967295\n");
    assert_eq!(
        (
            config.settings.ra.max_interval,
            config.settings.ra.router_lifetime
        ),
        (1800, 5400)
    );
    let (text, config) = imported("[dhcp]\nserver_ip = 192.0.2.1\nserver_on_link = yes\n");
    assert_eq!(config.settings.dhcpv4.server_ip, None);
    assert!(text.contains("192.0.2.1"));
}

#[test]
fn lists_our_daemon_refuses_are_cut() {
    let many = |item: &dyn Fn(usize) -> String| (1..=20).map(item).collect::<Vec<_>>().join(", ");
    let original = format!(
        "[dhcp]\nnameservers = {}\n[ipv6]\nnameservers = {}\ndomains = {}\n",
        many(&|n| format!("192.0.2.{n}")),
        many(&|n| format!("2001:db8::{n}")),
        many(&|n| format!("{n}.{}.example", "d".repeat(40))),
    );
    let (text, config) = imported(&original);
    assert_eq!(config.settings.nameservers.len(), 16);
    assert_eq!(config.settings.domain_search.len(), 7);
    assert!(
        text.contains("the first 8 of 20") && text.contains("the first 7 of 20"),
        "{text}"
    );
}

#[test]
fn unknown_sections_are_told() {
    let (text, _) = imported("[dns]\nttl = 10\n");
    assert!(text.contains("# [dns] ttl = 10"), "{text}");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_by_name() {
    for (text, message) in [
        (
            "[dhcp]\ndhcp_queue = 65536",
            "line 2: [dhcp] dhcp_queue = 65536: must be a queue number, 0 to 65535",
        ),
        (
            "[dhcp]\nnameservers = 2001:db8::1",
            "line 2: [dhcp] nameservers = 2001:db8::1: must be IPv4 addresses",
        ),
        (
            "[dhcp]\nenable_dhcp = perhaps",
            "line 2: [dhcp] enable_dhcp = perhaps: must be yes or no",
        ),
        (
            "[dhcp]\nserver_ip = 1.2.3.4, 5.6.7.8",
            "line 2: [dhcp] server_ip = 1.2.3.4, 5.6.7.8: must be a host's IPv4 address",
        ),
        (
            "[general]\ndatapath = srv",
            "line 2: [general] datapath = srv: must be an absolute path",
        ),
        (
            "[dhcp]\ndhcp_queue = 43\n[ipv6]\nrs_queue = 43",
            "line 4: [ipv6] rs_queue = 43: must be a queue no other protocol has",
        ),
        ("pidfile", "line 1 is not key = value"),
    ] {
        assert_eq!(import(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_value_cannot_add_a_line() {
    let (_, config) = imported("[general]\nuser = 'x\"'\n[x]\na = \"b\\nuser = root\"\n");
    assert_eq!(config.user.as_deref(), Some("x\""));
}

/// Half of the original's settings, mostly with values of their kind, from every range.
fn near_original() -> impl Strategy<Value = String> {
    const NUMBERS: &[&str] = &["0", "1", "43", "44", "1800", "65535", "4294967295"];
    const YES_OR_NO: &[&str] = &["yes", "No", "1", "off"];
    const ADDRESSES: &[&str] = &[
        "192.0.2.1",
        "192.0.2.1, 192.0.2.2",
        "0.0.0.0",
        "2001:db8::1,",
        "",
    ];
    const NAMES: &[&str] = &["example.org", "'a', b.example", "a\"b", "-", ""];
    const SETTINGS: &[(&str, &str, &[&str])] = &[
        ("general", "datapath", &["/srv", "srv", "/a\"b"]),
        ("general", "user", &["nobody", "a\\b", ""]),
        ("dhcp", "enable_dhcp", YES_OR_NO),
        ("dhcp", "lease_lifetime", NUMBERS),
        ("dhcp", "lease_renewal", NUMBERS),
        ("dhcp", "server_ip", ADDRESSES),
        ("dhcp", "server_on_link", YES_OR_NO),
        ("dhcp", "dhcp_queue", NUMBERS),
        ("dhcp", "nameservers", ADDRESSES),
        ("dhcp", "domain", NAMES),
        ("ipv6", "enable_ipv6", YES_OR_NO),
        (
            "ipv6",
            "mode",
            &["auto", "slaac", "slaac+dhcpv6", "dhcpv6", "other"],
        ),
        ("ipv6", "ra_period", NUMBERS),
        ("ipv6", "rs_queue", NUMBERS),
        ("ipv6", "ns_queue", NUMBERS),
        ("ipv6", "dhcpv6_queue", NUMBERS),
        ("ipv6", "nameservers", ADDRESSES),
        ("ipv6", "domains", NAMES),
        ("ipv6", "other", &["a # b", "[", "\u{e9}"]),
    ];
    let settings = prop::sample::subsequence(SETTINGS, 0..=8);
    (settings, any::<[u8; 8]>()).prop_map(|(settings, choices)| {
        let line = |((section, key, values), choice): (&(&str, &str, &[&str]), u8)| {
            format!(
                "[{section}]\n{key} = {}\n",
                values[usize::from(choice) % values.len()]
            )
        };
        settings.iter().zip(choices).map(line).collect()
    })
}

proptest! {
    /// What is imported at all is a configuration the daemon starts with.
    #[test]
    fn the_result_is_always_a_configuration(original in near_original()) {
        if let Ok(text) = import(&original) {
            let config = Config::parse(&text, Path::new("imported.toml"));
            prop_assert!(config.is_ok(), "{original}\n=>\n{text}\n{config:?}");
        }
    }
}

/// docs/import.md: what each row says comes out, for a file with that setting alone.
#[test]
fn the_page_is_true() {
    let page = include_str!("../../docs/import.md");
    let mut rows = 0;
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row
            .split(" | ")
            .map(|cell| cell.trim_matches(['|', ' ', '`']))
            .collect();
        let (section, setting) = cells[0].split_once("] ").unwrap();
        let text = import(&format!("{section}]\n{setting}\n")).unwrap();
        if cells[1] == "–" {
            let key = setting.split(' ').next().unwrap();
            assert!(
                text.lines()
                    .any(|line| line.starts_with('#') && line.contains(key)),
                "{row}\n{text}"
            );
        } else {
            let ours: toml::Table = text.parse().unwrap();
            let expected: toml::Table = cells[1].parse().unwrap();
            assert!(contains(&ours, &expected), "{row}\n{text}");
        }
        rows += 1;
    }
    assert!(rows > 20);
}

fn contains(all: &toml::Table, some: &toml::Table) -> bool {
    some.iter().all(|(key, value)| match (all.get(key), value) {
        (Some(Value::Table(all)), Value::Table(some)) => contains(all, some),
        (found, value) => found == Some(value),
    })
}
