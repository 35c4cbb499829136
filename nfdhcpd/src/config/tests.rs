//! What is taken as configuration, and what is said of what is not.

use std::error::Error;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/x.toml"))
}

fn refusal(text: &str) -> String {
    let error = parse(text).expect_err(text);
    format!(
        "{error}: {}",
        error.source().map(ToString::to_string).unwrap_or_default()
    )
}

#[test]
fn nothing_written_is_the_default() {
    let config = parse("").unwrap();
    assert_eq!(
        config.rules,
        Rules::Managed {
            on_absent: Absent::Drop
        }
    );
    assert_eq!(
        config.queues.first().map(|(_, number)| number),
        [42, 43, 44, 45]
    );
    assert_eq!(config.settings.router_mac.to_string(), "cc:47:52:4e:45:54");
    assert!(!config.settings.router_is_host);
}

#[test]
fn a_section_may_be_written_in_part() {
    let config = parse("[queues]\nshards = 1\ndhcpv4 = 7\n[dhcpv4]\nlease = 600").unwrap();
    assert_eq!((config.queues.dhcpv4, config.queues.dhcpv6), (7, 45));
    assert_eq!(
        (
            config.settings.dhcpv4.lease,
            config.settings.dhcpv4.rapid_commit
        ),
        (600, true)
    );
}

/// The original refused queue 0 as missing (B18).
#[test]
fn b18_queue_zero_is_a_queue() {
    assert_eq!(parse("[queues]\ndhcpv4 = 0").unwrap().queues.dhcpv4, 0);
}

#[test]
fn ranges_of_queues_do_not_meet() {
    let text = "[queues]\nshards = 2";
    let said = refusal(text);
    assert!(
        said.contains("queues.dhcpv4 = 42: its range of 2 meets that of queues.rs"),
        "{said}"
    );
    assert!(parse("[queues]\nshards=2\ndhcpv4=40\nrs=42\nns=44\ndhcpv6=46").is_ok());
    assert!(parse("[queues]\nshards=2\ndhcpv4=65535\nrs=42\nns=44\ndhcpv6=46").is_err());
}

#[test]
fn refusals_name_file_key_value_and_reason() {
    for (text, key_value) in [
        ("rules = 'none'", "rules = none"),
        ("on_absent = 'accept'", "on_absent = accept"),
        ("metrics = '9547'", "metrics = 9547"),
        (
            "router_mac = '01:00:00:00:00:01'",
            "router_mac = 01:00:00:00:00:01",
        ),
        ("mark = 0", "mark = 0x0"),
        ("mark = 0x40800000", "mark = 0x40800000"),
        ("router = 'me'", "router = me"),
        ("domain = '-.'", "domain = -."),
        ("bindings = 'here'", "bindings = here"),
        ("[rate]\nburst = 0", "rate.burst = 0"),
        (
            "[dhcpv4]\nserver_ip = '255.255.255.255'",
            "dhcpv4.server_ip = 255.255.255.255",
        ),
        ("[dhcpv4]\nlease = 59", "dhcpv4.lease = 59"),
        (
            "[dhcpv6]\nserver_duid = '00:0'",
            "dhcpv6.server_duid = 00:0",
        ),
        ("[dhcpv6]\nsol_max_rt = 59", "dhcpv6.sol_max_rt = 59"),
        (
            "[dhcpv6]\nvalid_lifetime = 5",
            "dhcpv6.preferred_lifetime = 43200",
        ),
        ("[ra]\nmax_interval = 3", "ra.max_interval = 3"),
        ("[ra]\nrouter_lifetime = 5", "ra.router_lifetime = 5"),
        ("[ra]\nmode6 = 'auto'", "ra.mode6 = auto"),
    ] {
        let said = refusal(text);
        assert!(said.starts_with("configuration /etc/x.toml"), "{said}");
        assert!(said.contains(&format!("{key_value}: ")), "{text}: {said}");
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_by_name() {
    assert!(refusal("enable_dhcpv6 = true").contains("enable_dhcpv6"));
    assert!(refusal("[queues]\ndhcpv4 = 'x'").contains("dhcpv4"));
    assert!(refusal("[queues]\ndhcpv4 = 65536").contains("65536"));
}

#[test]
fn a_duid_is_written_in_hexadecimal() {
    let config = parse("[dhcpv6]\nserver_duid = '00:03:00:01:cc:47:52:4e:45:54'").unwrap();
    let duid = config.settings.dhcpv6.server_duid.unwrap();
    assert_eq!(duid, [0, 3, 0, 1, 0xcc, 0x47, 0x52, 0x4e, 0x45, 0x54]);
}

#[test]
fn what_needs_a_restart_is_named() {
    let old = parse("").unwrap();
    let new = parse("rules = 'external'\nnameservers = ['192.0.2.1']\n[rate]\nburst = 9").unwrap();
    assert_eq!(old.needs_restart(&new), ["rules, on_absent"]);
}

/// Every key of a table, by its dotted name, with its default as TOML writes it.
fn keys(table: &toml::Table, section: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (key, value) in table {
        if let Some(inner) = value.as_table() {
            all.extend(keys(inner, &format!("{key}.")));
        } else {
            all.push((format!("{section}{key}"), value.to_string()));
        }
    }
    all
}

#[test]
fn the_documentation_has_every_key_with_its_default() {
    let page = include_str!("../../docs/nfdhcpd.md");
    let all = keys(&toml::Table::try_from(File::default()).unwrap(), "");
    assert!(all.len() > 30);
    for (key, default) in &all {
        let default = if key == "mark" { "0x40000000" } else { default };
        let row = format!("| `{key}` | `{default}` |");
        assert!(page.contains(&row), "no row {row}");
    }
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| Key |"))
        .skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).count();
    assert_eq!(rows, all.len(), "a row for a key that is none");
}

#[test]
fn the_packaged_file_is_the_default_in_full() {
    let text = include_str!("../../../packaging/nfdhcpd.toml");
    assert_eq!(toml::from_str::<File>(text).unwrap(), File::default());
    let written: toml::Table = toml::from_str(text).unwrap();
    assert_eq!(
        keys(&written, ""),
        keys(&toml::Table::try_from(File::default()).unwrap(), "")
    );
}

/// A router advertisement must hold them all.
#[test]
fn lists_have_the_limits_of_a_binding() {
    let nine: Vec<String> = (1..=9).map(|n| format!("\"2001:db8::{n}\"")).collect();
    for key in ["nameservers", "ntp"] {
        assert!(parse(&format!("{key} = [{}]", nine[..8].join(","))).is_ok());
        let said = refusal(&format!("{key} = [{}]", nine.join(",")));
        assert!(
            said.contains(key) && said.contains("more than 8 of one family"),
            "{said}"
        );
    }
    let long = ["a".repeat(60), "b".repeat(60), "c".repeat(60)].join(".");
    let said = refusal(&format!(
        "domain_search = [\"{long}.a\", \"{long}.b\", \"{long}.c\"]"
    ));
    assert!(said.contains("at most 384"), "{said}");
}
