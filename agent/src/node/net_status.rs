//! What a hook said of an instance → the NICs of a `ganeti-net-status`.

use std::collections::BTreeMap;

use nfdhcpd_binding::MacAddr;
use snf_events::agent::NetNic;
use snf_events::tag::{Key, Tag, split};

use super::environment::Heard;

/// Whether a hook has something to tell the control plane: a stopped instance's NICs are as they were, and one that was
/// removed has none.
#[must_use]
pub fn is_told(hook: &str) -> bool {
    !matches!(hook, "instance-stop" | "instance-remove")
}

/// The NICs, in Ganeti's order.
#[must_use]
pub fn nics(heard: &Heard) -> Vec<NetNic> {
    let nics = heard.nics.iter().enumerate();
    nics.map(|(index, nic)| one(index, nic, &heard.tags))
        .collect()
}

fn one(index: usize, nic: &BTreeMap<String, String>, tags: &[String]) -> NetNic {
    let known = |key: &str| nic.get(key).filter(|value| !value.is_empty()).cloned();
    NetNic {
        ip: known("IP"),
        mac: known("MAC"),
        link: known("LINK").or_else(|| known("BRIDGE")),
        ipv6: ipv6(nic),
        firewall: firewall(index, nic, tags),
        mode: known("MODE"),
        name: known("NAME"),
        uuid: known("UUID"),
        network: known("NETWORK_NAME"),
    }
}

/// Every NIC whose network has an IPv6 prefix has an address there; the original knew one prefix, for the first NIC.
fn ipv6(nic: &BTreeMap<String, String>) -> Option<String> {
    let mac: MacAddr = nic.get("MAC")?.parse().ok()?;
    let prefix = nic.get("NETWORK_SUBNET6")?.parse().ok()?;
    Some(mac.eui64(prefix)?.to_string())
}

/// The profile of the first tag that names the NIC, by index, name or UUID.
fn firewall(index: usize, nic: &BTreeMap<String, String>, tags: &[String]) -> Option<String> {
    let index = index.to_string();
    let is_named =
        |by: &String| *by == index || [nic.get("NAME"), nic.get("UUID")].contains(&Some(by));
    tags.iter().find_map(|tag| {
        let (key, value) = split(tag)?;
        if let Tag::Firewall { nic, profile } = Key::of(key)?.read(value)?
            && is_named(&nic)
        {
            Some(profile.to_string())
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(nics: &[&[(&str, &str)]], tags: &[&str]) -> Heard {
        let owned = |nic: &&[(&str, &str)]| {
            let fields = nic.iter();
            fields
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        Heard {
            instance: "snf-42".into(),
            hook: "instance-start".into(),
            at: 0,
            primary: None,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            tags_learnt: None,
            nics: nics.iter().map(owned).collect(),
        }
    }

    /// The original's fixture (its hook's own test).
    #[test]
    fn the_originals_example_comes_out_as_it_did() {
        let heard = heard(
            &[&[
                ("IP", "147.102.3.1"),
                ("MAC", "00:01:de:ad:be:ef"),
                ("BRIDGE", "xen-br0"),
                ("NETWORK_SUBNET6", "2001:db8::/64"),
            ]],
            &["synnefo:network:0:protected"],
        );
        let expected = NetNic {
            ip: Some("147.102.3.1".into()),
            mac: Some("00:01:de:ad:be:ef".into()),
            link: Some("xen-br0".into()),
            ipv6: Some("2001:db8::201:deff:fead:beef".into()),
            firewall: Some("protected".into()),
            ..NetNic::default()
        };
        assert_eq!(nics(&heard), [expected]);
    }

    #[test]
    fn a_profile_is_the_nics_that_its_tag_names_in_any_way() {
        let nic = |name: &'static str, uuid: &'static str| [("NAME", name), ("UUID", uuid)];
        let [a, b, c, d] = [
            nic("n0", "u0"),
            nic("n1", "u1"),
            nic("n2", "u2"),
            nic("", ""),
        ];
        let tags = [
            "synnefo:network:0:limited",
            "synnefo:network:n1:protected",
            "synnefo:network:u2:unprotected",
            "synnefo:network:9:limited",
            "synnefo:network:3:open",
            "synnefo:network:limited",
            "other:network:3:limited",
        ];
        let found = nics(&heard(&[&a, &b, &c, &d], &tags));
        let profiles: Vec<Option<&str>> = found.iter().map(|nic| nic.firewall.as_deref()).collect();
        assert_eq!(
            profiles,
            [
                Some("limited"),
                Some("protected"),
                Some("unprotected"),
                None
            ]
        );
        // What is not known is not there.
        assert_eq!(found.last(), Some(&NetNic::default()));
    }

    #[test]
    fn a_prefix_that_is_no_64_gives_no_address() {
        let nic = [
            ("MAC", "00:01:de:ad:be:ef"),
            ("NETWORK_SUBNET6", "2001:db8::/48"),
        ];
        let found = nics(&heard(&[&nic], &[]));
        assert_eq!(found.first().and_then(|nic| nic.ipv6.as_deref()), None);
    }
}
