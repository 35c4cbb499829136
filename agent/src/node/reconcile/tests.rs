//! Which TAPs are whose, and what becomes of them.

use super::*;
use crate::node::environment::{Told, told};
use crate::node::runtime;

fn tap(name: &str) -> IfName {
    name.parse().unwrap()
}

/// An instance with bridged NICs of these last bytes of their addresses.
fn nics(ends: &[u8]) -> Vec<runtime::Nic> {
    let each = ends.iter().map(|end| {
        format!(r#"{{"mac": "aa:00:77:00:00:{end:02x}", "nicparams": {{"mode": "bridged", "link": "br0"}}}}"#)
    });
    let each: Vec<String> = each.collect();
    runtime::nics(&format!("[[], [{}]]", each.join(","))).unwrap()
}

fn ganeti(instances: &[(&str, &[u8])], taps: &[(&str, &str, usize)]) -> Ganeti {
    Ganeti {
        instances: instances
            .iter()
            .map(|(name, ends)| ((*name).to_owned(), nics(ends)))
            .collect(),
        taps: taps
            .iter()
            .map(|(name, whose, number)| (tap(name), ((*whose).to_owned(), *number)))
            .collect(),
        problems: Vec::new(),
    }
}

fn recorded(text: &str) -> Recorded {
    Recorded {
        record: text.parse().unwrap(),
        at: 100,
    }
}

fn link(address: &str) -> Link {
    Link {
        index: 4,
        address: address.parse().unwrap(),
        mtu: 1500,
        up: true,
        carrier: true,
        master: None,
        is_bridge: false,
    }
}

fn heard(at: u64, tags: &[&str]) -> Heard {
    Heard {
        instance: "a".into(),
        hook: "instance-modify".into(),
        at,
        primary: None,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        tags_learnt: None,
        nics: Vec::new(),
    }
}

#[test]
fn a_record_without_a_device_is_of_a_tap_that_is_gone() {
    let tap = tap("tap0");
    let recorded = recorded("ifindex 4\n");
    let known = Known {
        tap: &tap,
        recorded: Some(&recorded),
        link: None,
        binding: None,
    };
    let ganeti = ganeti(&[("a", &[1])], &[("tap0", "a", 0)]);
    assert_eq!(judge(&known, &ganeti, |_| None), Verdict::Gone);
}

#[test]
fn what_snf_ifup_did_not_make_is_left() {
    let tap = tap("tap0");
    let link = link("fe:00:77:00:00:01");
    let other = recorded("ifindex 3\n");
    let same = recorded("ifindex 4\n");
    let known = Known {
        tap: &tap,
        recorded: None,
        link: Some(&link),
        binding: None,
    };
    let nobody = ganeti(&[], &[]);
    let judged = |known: &Known<'_>| judge(known, &nobody, |_| None);
    assert_eq!(judged(&known), Verdict::Left(Why::NoRecord));
    let with = |recorded| Known {
        recorded: Some(recorded),
        ..known
    };
    assert_eq!(judged(&with(&other)), Verdict::Left(Why::OtherDevice));
    assert_eq!(judged(&with(&same)), Verdict::Left(Why::NoNic));
}

/// After a hot-removal of NIC 0 of three, NICs are numbered anew and the files are not.
#[test]
fn the_hardware_address_tells_the_nic_not_the_number() {
    let ganeti = ganeti(&[("a", &[2, 3])], &[("tap1", "a", 1), ("tap2", "a", 2)]);
    let recorded = recorded("ifindex 4\n");
    for (name, address, index) in [
        ("tap1", "fe:00:77:00:00:02", 0),
        ("tap2", "fe:00:77:00:00:03", 1),
    ] {
        let (tap, link) = (tap(name), link(address));
        let known = Known {
            tap: &tap,
            recorded: Some(&recorded),
            link: Some(&link),
            binding: None,
        };
        assert_eq!(nic_of(&known, &ganeti), Some(("a", index)), "{name}");
    }
}

#[test]
fn each_kind_of_evidence_is_enough() {
    let ganeti = ganeti(
        &[("a", &[9]), ("b", &[1])],
        &[("tap5", "b", 0), ("tap4", "a", 0)],
    );
    let plain = recorded("ifindex 4\n");
    let filtered =
        recorded("ifindex 4\nelement bridge snf source { \"tap0\" . aa:00:77:00:00:01 }\n");
    let foreign = link("02:00:00:00:00:55");
    let binding = Binding::new("aa:00:77:00:00:01".parse().unwrap());
    let taps = [tap("tap0"), tap("tap5")];
    let known = |tap, recorded, binding| Known {
        tap,
        recorded: Some(recorded),
        link: Some(&foreign),
        binding,
    };
    for (name, known, found) in [
        ("record", known(&taps[0], &filtered, None), Some(("b", 0))),
        (
            "binding",
            known(&taps[0], &plain, Some(&binding)),
            Some(("b", 0)),
        ),
        ("file", known(&taps[1], &plain, None), Some(("b", 0))),
        ("nothing", known(&taps[0], &plain, None), None),
    ] {
        assert_eq!(nic_of(&known, &ganeti), found, "{name}");
    }
}

#[test]
fn a_number_counts_only_where_none_was_removed() {
    let removed = ganeti(&[("a", &[2, 3])], &[("tap1", "a", 1), ("tap2", "a", 2)]);
    let whole = ganeti(&[("a", &[2, 3])], &[("tap1", "a", 0), ("tap2", "a", 1)]);
    assert_eq!(by_file(&tap("tap1"), &removed), None);
    assert_eq!(by_file(&tap("tap2"), &whole), Some(("a", 1)));
}

#[test]
fn the_newest_word_on_tags_counts() {
    let mut binding = Binding::new("aa:00:77:00:00:01".parse().unwrap());
    binding.tags = vec!["b".into(), "a".into()];
    let is = |heard: Option<&Heard>, binding: Option<&Binding>| {
        let (tags, is_news) = tags(heard, 100, binding);
        (tags.join(" "), is_news)
    };
    let told = |tags: &str, is_news| (tags.to_owned(), is_news);
    assert_eq!(is(None, Some(&binding)), told("b a", true));
    assert_eq!(
        is(Some(&heard(200, &["c"])), Some(&binding)),
        told("c", false)
    );
    assert_eq!(
        is(Some(&heard(50, &["c"])), Some(&binding)),
        told("b a", true)
    );
    assert_eq!(
        is(Some(&heard(100, &["c"])), Some(&binding)),
        told("c", false)
    );
    assert_eq!(is(Some(&heard(50, &["c"])), None), told("c", false));
    assert_eq!(
        is(Some(&heard(200, &["a", "b"])), Some(&binding)),
        told("b a", false)
    );
    assert_eq!(is(None, None), told("", false));
}

/// What a recorded hook of k1 told at 200, with changes, judged for a NIC that was made at 100 as the runtime file says:
/// what the NIC is to be, and what waits for the next start.
fn judged(changes: &[(&str, &str)], at: u64) -> (Variables, String) {
    let mut text = include_str!("../../../tests/hooks/instance-modify-post.env").to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let body = text.replace('\n', "\0").into_bytes();
    let Ok(Told::Keep(heard)) = told(&body, at) else {
        panic!("a modified instance is kept");
    };
    let runtime = r#"[[], [{"mac": "aa:00:77:51:ad:bc", "ip": "10.77.0.2",
        "uuid": "ff7053d8-b2ff-464a-8f68-c9da6aa35a20", "network": "2eb2d251-135d-4540-88ac-679ea0674d7f",
        "nicparams": {"mode": "bridged", "link": "br0", "vlan": ""},
        "netinfo": {"name": "netbr", "uuid": "2eb2d251-135d-4540-88ac-679ea0674d7f", "network": "10.77.0.0/24",
            "gateway": "10.77.0.254", "mac_prefix": "aa:00:77", "tags": ["old"]}},
        {"mac": "aa:00:00:fc:bf:3a", "ip": "10.78.0.2", "network": "cc29c15e-70b4-4798-a981-7e0965488a5c",
        "nicparams": {"mode": "routed", "link": "rt_tbl"}, "netinfo": {"name": "netrt"}}]]"#;
    let ganeti = Ganeti {
        instances: [("k1.gnt.test".to_owned(), runtime::nics(runtime).unwrap())].into(),
        ..Ganeti::default()
    };
    let (tap, recorded) = (tap("tap0"), recorded("ifindex 4\n"));
    let link = link("fe:00:77:51:ad:bc");
    let known = Known {
        tap: &tap,
        recorded: Some(&recorded),
        link: Some(&link),
        binding: None,
    };
    match judge(&known, &ganeti, |_| Some(heard)) {
        Verdict::Lives {
            variables, pending, ..
        } => {
            let pending: Vec<String> = pending.iter().map(ToString::to_string).collect();
            (variables, pending.join(", "))
        }
        Verdict::Gone | Verdict::Left(_) => panic!("it lives"),
    }
}

#[test]
fn a_network_is_as_the_last_hook_told_it() {
    let of = |variables: &Variables, name: &str| variables.get(name).cloned();
    let (variables, pending) = judged(&[], 200);
    let is = |name: &str, value: &str| {
        assert_eq!(of(&variables, name).as_deref(), Some(value), "{name}");
    };
    is("NETWORK_TAGS", "nfdhcpd private-filtered");
    is("NETWORK_GATEWAY", "10.77.0.1");
    is("NETWORK_SUBNET6", "2001:db8:77::/64");
    is("IP", "10.77.0.2");
    assert_eq!(pending, "");
    // What the network has no more is gone.
    let without = "GANETI_POST_INSTANCE_NIC0_NETWORK_GATEWAY=10.77.0.1\n";
    let (variables, _) = judged(&[(without, "")], 200);
    assert_eq!(of(&variables, "NETWORK_GATEWAY"), None);
    // Started since: snf-ifup was told what is newer.
    let (variables, pending) = judged(&[("NIC0_IP=10.77.0.2", "NIC0_IP=10.77.0.9")], 99);
    assert_eq!(of(&variables, "NETWORK_TAGS").as_deref(), Some("old"));
    assert_eq!(pending, "");
}

#[test]
fn what_was_changed_without_hotplug_waits_for_the_next_start() {
    let uuid = "POST_INSTANCE_NIC0_NETWORK_UUID=2eb2d251-135d-4540-88ac-679ea0674d7f";
    for (from, to, tags, pending) in [
        (
            "POST_INSTANCE_NIC0_IP=10.77.0.2",
            "POST_INSTANCE_NIC0_IP=10.77.0.9",
            "nfdhcpd private-filtered",
            "ip 10.77.0.2 -> 10.77.0.9",
        ),
        (
            "POST_INSTANCE_NIC0_IP=10.77.0.2",
            "POST_INSTANCE_NIC0_IP=",
            "nfdhcpd private-filtered",
            "ip 10.77.0.2 -> none",
        ),
        (
            "POST_INSTANCE_NIC0_MAC=aa:00:77:51:ad:bc",
            "POST_INSTANCE_NIC0_MAC=aa:00:77:00:00:01",
            "nfdhcpd private-filtered",
            "mac aa:00:77:51:ad:bc -> aa:00:77:00:00:01",
        ),
        (
            "POST_INSTANCE_NIC0_LINK=br0",
            "POST_INSTANCE_NIC0_LINK=br1",
            "old",
            "link br0 -> br1",
        ),
        (
            "POST_INSTANCE_NIC0_MODE=bridged",
            "POST_INSTANCE_NIC0_MODE=routed",
            "old",
            "mode bridged -> routed",
        ),
        (
            "POST_INSTANCE_NIC0_VLAN=",
            "POST_INSTANCE_NIC0_VLAN=.7",
            "old",
            "vlan none -> .7",
        ),
        (
            uuid,
            "POST_INSTANCE_NIC0_NETWORK_UUID=other",
            "old",
            "network netbr -> netbr",
        ),
        // Removed: told by neither its UUID nor, as another has one, its hardware address.
        (
            "POST_INSTANCE_NIC0_UUID=ff7053d8-b2ff-464a-8f68-c9da6aa35a20",
            "POST_INSTANCE_NIC0_UUID=other",
            "old",
            "NIC 0 aa:00:77:51:ad:bc -> none, NIC 0 none -> aa:00:77:51:ad:bc",
        ),
        // A NIC without a UUID in the runtime file is told by its hardware address.
        (
            "POST_INSTANCE_NIC1_MAC=aa:00:00:fc:bf:3a",
            "POST_INSTANCE_NIC1_MAC=aa:00:00:00:00:09",
            "nfdhcpd private-filtered",
            "NIC 1 none -> aa:00:00:00:00:09",
        ),
    ] {
        let (variables, waits) = judged(&[(from, to)], 200);
        assert_eq!(waits, pending, "{to}");
        let told = variables.get("NETWORK_TAGS").map(String::as_str);
        assert_eq!(told, Some(tags), "{to}");
        assert_eq!(
            variables.get("IP").map(String::as_str),
            Some("10.77.0.2"),
            "{to}"
        );
    }
}

#[test]
fn a_binding_is_snf_ifups_by_each_of_its_bytes() {
    let text = "INDEV=br0\nMAC=aa:00:77:51:ad:bc\nHOSTNAME=k1.gnt.test\nIP=10.77.0.2\nSUBNET=10.77.0.0/24\n";
    assert!(is_of_ifup(text));
    for other in [
        String::new(),
        "MAC=aa:00:77:51:ad:bc\n".to_owned(),
        text.replace("INDEV=br0\n", ""),
        text.replace("HOSTNAME=k1.gnt.test\n", ""),
        text.replace("br0", "'br0'"),
        format!("# mine\n{text}"),
        format!("IP=10.77.0.2\n{}", text.replace("IP=10.77.0.2\n", "")),
    ] {
        assert!(!is_of_ifup(&other), "{other}");
    }
}
