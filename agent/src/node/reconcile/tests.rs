//! Which TAPs are whose, and what becomes of them.

use super::*;
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
