//! What is taken from Ganeti's variables, and what is refused and how.

use super::*;

fn variables(changes: &[(&str, &str)]) -> Variables {
    let mut variables: Variables = [
        ("INTERFACE", "tap0"),
        ("INSTANCE", "k1.gnt.test"),
        ("MAC", "aa:00:77:51:ad:bc"),
        ("MODE", "bridged"),
        ("LINK", "br0"),
        ("IP", "10.77.0.2"),
        ("VLAN", ""),
        ("TAGS", ""),
        ("INTERFACE_INDEX", "0"),
        ("INTERFACE_UUID", "ff7053d8-b2ff-464a-8f68-c9da6aa35a20"),
        ("NETWORK_NAME", "netbr"),
        ("NETWORK_TAGS", "nfdhcpd"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for (name, value) in changes {
        variables.insert((*name).to_owned(), (*value).to_owned());
    }
    variables
}

fn read(changes: &[(&str, &str)]) -> Result<Request, RequestError> {
    Request::from_variables(&variables(changes), &TagWords::default())
}

/// Every refusal names the variable and the value, and says what would be right.
#[test]
fn hostile_and_wrong_values_are_refused_by_name() {
    for (variable, value, expected) in [
        ("INTERFACE", "../../etc/passwd", "interface's name"),
        ("INTERFACE", "tap0; reboot", "interface's name"),
        ("INTERFACE", "tap0123456789012", "1 to 15"),
        ("INSTANCE", "k1\nIP=10.0.0.9", "the instance's name"),
        ("INSTANCE", "k1 k2", "the instance's name"),
        ("MAC", "aa:00:77:51:ad", "hardware address"),
        ("MAC", "01:00:5e:00:00:01", "unicast"),
        ("MAC", "00:00:00:00:00:00", "unicast"),
        ("IP", "10.77.0.256", "IPv4 address"),
        ("IP", "2001:db8::1", "IPv4 address"),
        ("IP", "127.0.0.1", "unicast"),
        ("IP", "255.255.255.255", "unicast"),
        ("MODE", "openvswitch", "not served yet"),
        ("MODE", "ext", "not served yet"),
        ("MODE", "Bridged", "must be bridged or routed"),
        ("LINK", "br0/../x", "bridge's name"),
        ("BRIDGE", "br 0", "bridge's name"),
        ("VLAN", ".5:10:20", "not served yet"),
        ("NETWORK_SUBNET", "10.77.0.0/33", "IPv4 prefix"),
        ("NETWORK_SUBNET6", "10.77.0.0/24", "IPv6 prefix"),
        ("NETWORK_GATEWAY", "gw", "IPv4 address"),
        ("NETWORK_GATEWAY6", "10.0.0.1", "IPv6 address"),
        ("NETWORK_MAC_PREFIX", "aa:00", "three bytes"),
        ("MIGRATION_PHASE", "during", "pre or post"),
        ("NETWORK_TAGS", "nfdhcpd ip-less-routed", "MODE=routed"),
        ("NETWORK_TAGS", "masq", "not served"),
        ("NETWORK_TAGS", "synnefo:vlan:5", "not served"),
        ("NETWORK_TAGS", "synnefo:isolation", "not served"),
        ("NETWORK_TAGS", "synnefo:dns:10.0.0", "address"),
        ("NETWORK_TAGS", "synnefo:ntp:", "address"),
        ("NETWORK_TAGS", "synnefo:domain:a..b", "domain name"),
        ("NETWORK_TAGS", "synnefo:search:-a", "domain name"),
        ("NETWORK_TAGS", "synnefo:mtu:67", "68 to 65535"),
        ("NETWORK_TAGS", "synnefo:mtu:1400 synnefo:mtu:1500", "twice"),
        ("NETWORK_TAGS", "synnefo:mode6:dhcp", "slaac"),
        (
            "NETWORK_TAGS",
            "synnefo:route:10.0.0.0/8",
            "<prefix>@<gateway>",
        ),
        (
            "NETWORK_TAGS",
            "synnefo:route:10.0.0.0/8@fe80::1",
            "one family",
        ),
        ("NETWORK_TAGS", "synnefo:hostname:x", "instance"),
        ("TAGS", "disable_ipv6", "not served"),
        ("TAGS", "synnefo:hostname:a_b..c", "domain name"),
        ("TAGS", "synnefo:hostname:a synnefo:hostname:b", "twice"),
        (
            "TAGS",
            "synnefo:network:0:open",
            "protected, limited or unprotected",
        ),
        ("TAGS", "synnefo:dns:10.0.0.1", "belongs on a network"),
    ] {
        let error = read(&[(variable, value)]).expect_err(value).to_string();
        assert!(error.starts_with(&format!("{variable}=")), "{error}");
        assert!(error.contains(expected), "{value}: {error}");
    }
}

#[test]
fn what_must_be_there_is_missed_by_name() {
    for variable in ["INTERFACE", "INSTANCE", "MAC", "MODE", "LINK"] {
        let error = read(&[(variable, "")]).unwrap_err();
        assert!(
            matches!(error, RequestError::Missing { variable: found, .. } if found == variable),
            "{error}"
        );
    }
}

#[test]
fn the_bridge_is_bridge_or_else_link() {
    let bridge = |changes: &[(&str, &str)]| match read(changes).unwrap().mode {
        NicMode::Bridged { bridge } => bridge.to_string(),
        NicMode::Routed { .. } => panic!("not bridged"),
    };
    assert_eq!(bridge(&[]), "br0");
    assert_eq!(bridge(&[("BRIDGE", "prv0"), ("LINK", "other")]), "prv0");
    assert_eq!(bridge(&[("BRIDGE", "prv0"), ("LINK", "")]), "prv0");
}

#[test]
fn a_table_goes_by_number_or_name() {
    let table = |link: &str| {
        let request = read(&[("MODE", "routed"), ("LINK", link), ("NETWORK_TAGS", "")]);
        request.map(|request| request.mode)
    };
    assert_eq!(
        table("79"),
        Ok(NicMode::Routed {
            table: TableRef::Number(79)
        })
    );
    let named = TableRef::Name("snf-link-7".into());
    assert_eq!(table("snf-link-7"), Ok(NicMode::Routed { table: named }));
    for link in ["0", "255", "local", "4294967296", "a b", "-"] {
        let is_name = link == "-";
        assert_eq!(table(link).is_ok(), is_name, "{link}");
    }
}

#[test]
fn tags_are_read_in_any_order() {
    let sorted = "nfdhcpd private-filtered synnefo:dns:10.0.0.1 synnefo:dns:2001:db8::53 \
                  synnefo:route:10.8.0.0/16@10.0.0.1 synnefo:search:a.example foo bar:baz";
    let mut shuffled: Vec<&str> = sorted.split_whitespace().collect();
    shuffled.reverse();
    let tags = |text: &str| {
        read(&[("NETWORK_TAGS", text)])
            .unwrap()
            .network
            .unwrap()
            .tags
    };
    let read = tags(sorted);
    assert_eq!(read, tags(&shuffled.join("  ")));
    assert!(read.nfdhcpd && read.private_filtered && !read.ip_less_routed);
    assert_eq!(read.guest.nameservers.len(), 2);
    assert_eq!(read.guest.routes.len(), 1);
}

#[test]
fn a_profile_warns_for_its_own_nic_only() {
    let warnings = |tags: &str| {
        read(&[("TAGS", tags)])
            .unwrap()
            .instance_tags
            .warnings
            .len()
    };
    assert_eq!(warnings("synnefo:network:0:protected"), 1);
    assert_eq!(
        warnings("synnefo:network:ff7053d8-b2ff-464a-8f68-c9da6aa35a20:limited"),
        1
    );
    assert_eq!(warnings("synnefo:network:1:protected"), 0);
    assert_eq!(warnings("synnefo:network:0:unprotected"), 0);
    assert_eq!(warnings("protected"), 1);
    assert_eq!(warnings("foo cyclades:user:x"), 0);
    assert_eq!(warnings("synnefo:test1"), 1);
}
