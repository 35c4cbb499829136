//! Environments as a real cluster's hooks had them, and what nobody should be told by.

use proptest::prelude::*;

use super::*;

fn recorded(text: &str) -> Vec<u8> {
    text.replace('\n', "\0").into_bytes()
}

fn modified() -> String {
    include_str!("../../../tests/hooks/instance-modify-post.env").to_owned()
}

#[test]
fn a_modified_instance_is_kept_as_it_is_afterwards() {
    let text = modified().replace(
        "GANETI_POST_INSTANCE_TAGS=foo synnefo:test1",
        "GANETI_POST_INSTANCE_TAGS=foo synnefo:hostname:web1",
    );
    let Told::Keep(heard) = told(&recorded(&text), 7).unwrap() else {
        panic!("a modified instance is kept");
    };
    assert_eq!(heard.instance, "k1.gnt.test");
    assert_eq!((heard.hook.as_str(), heard.at), ("instance-modify", 7));
    assert_eq!(heard.primary.as_deref(), Some("node1.gnt.test"));
    assert_eq!(heard.tags, ["foo", "synnefo:hostname:web1"]);
    let of = |nic: usize, key: &str| heard.nics[nic].get(key).map(String::as_str);
    assert_eq!(heard.nics.len(), 2);
    assert_eq!(of(0, "MAC"), Some("aa:00:77:51:ad:bc"));
    assert_eq!(of(1, "NETWORK_TAGS"), Some("nfdhcpd ip-less-routed"));
    assert_eq!(of(1, "NAME"), Some("hot0"));
    assert_eq!(of(1, "BRIDGE"), None);
}

#[test]
fn every_recorded_hook_is_understood() {
    for (text, primary) in [
        (
            include_str!("../../../tests/hooks/instance-add-post.env"),
            "node1.gnt.test",
        ),
        (
            include_str!("../../../tests/hooks/instance-start-post.env"),
            "node1.gnt.test",
        ),
        (
            include_str!("../../../tests/hooks/instance-migrate-post.env"),
            "node2.gnt.test",
        ),
    ] {
        let Told::Keep(heard) = told(&recorded(text), 0).unwrap() else {
            panic!("{text}");
        };
        assert_eq!(heard.primary.as_deref(), Some(primary));
        assert!(!heard.nics.is_empty());
    }
    let removed = include_str!("../../../tests/hooks/instance-remove-post.env");
    assert!(matches!(
        told(&recorded(removed), 0),
        Ok(Told::Forget(name)) if name.ends_with(".gnt.test")
    ));
}

#[test]
fn a_renamed_instance_takes_its_new_name() {
    let text = modified().replace("=instance-modify\n", "=instance-rename\n")
        + "GANETI_INSTANCE_NEW_NAME=k2.gnt.test\n";
    let Told::Rename { from, to } = told(&recorded(&text), 0).unwrap() else {
        panic!("renamed");
    };
    assert_eq!(
        (from.as_str(), to.instance.as_str()),
        ("k1.gnt.test", "k2.gnt.test")
    );
}

#[test]
fn what_is_no_hook_of_ours_is_refused_with_its_reason() {
    let change = |from: &str, to: &str| told(&recorded(&modified().replace(from, to)), 0);
    for (outcome, label, says) in [
        (told(b"", 0), "missing", "GANETI_HOOKS_PATH is not set"),
        (told(b"\xff\xfe\0=\0==", 0), "missing", "GANETI_HOOKS_PATH"),
        (
            change("PATH=instance-modify", "PATH=node-add"),
            "not_ours",
            "node-add",
        ),
        (change("PHASE=post", "PHASE=pre"), "not_ours", "\"pre\""),
        (change("VERSION=2", "VERSION=3"), "not_ours", "\"3\""),
        (
            change("INSTANCE_NAME=k1", "INSTANCE_NAME=../k1"),
            "malformed",
            "GANETI_INSTANCE_NAME: not an instance's name",
        ),
        (
            change("NIC_COUNT=2", "NIC_COUNT=3"),
            "missing",
            "GANETI_POST_INSTANCE_NIC2_MAC",
        ),
        (
            change("NIC_COUNT=2", "NIC_COUNT=99999"),
            "malformed",
            "GANETI_POST_INSTANCE_NIC_COUNT",
        ),
        (
            change("NIC0_LINK=br0", "NIC0_LINK=br\x1b[2J"),
            "malformed",
            "control character",
        ),
    ] {
        let refusal = outcome.unwrap_err();
        assert_eq!(refusal.label(), label, "{refusal}");
        assert!(refusal.to_string().contains(says), "{refusal}");
    }
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = told(&bytes, 0);
    }

    #[test]
    fn a_damaged_environment_is_refused_or_names_an_instance(at in 0..4000_usize, byte in any::<u8>()) {
        let mut body = recorded(&modified());
        if let Some(place) = body.get_mut(at) {
            *place = byte;
        }
        if let Ok(Told::Keep(heard)) = told(&body, 0) {
            prop_assert!(is_instance_name(&heard.instance));
        }
    }
}
