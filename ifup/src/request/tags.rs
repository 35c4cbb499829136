//! Tags: which services a network asks for, and what its VMs are told.
//!
//! Words are the operator's, except those we know and everything under `synnefo:` on a network: a network's tag that we
//! do not serve is refused, never ignored, because the network would not be what its tags say.

use std::net::IpAddr;

use nfdhcpd_binding::{DomainName, Mode6, Route};
use snf_events::tag::{self, Key, Place, Profile, Tag};

use super::RequestError;
use crate::config::TagWords;

/// What `NETWORK_TAGS` ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkTags {
    /// Write a binding: nfdhcpd answers.
    pub nfdhcpd: bool,
    /// Route the VM's addresses to its TAP.
    pub ip_less_routed: bool,
    /// Isolate by source MAC and MAC prefix.
    pub private_filtered: bool,
    /// What the VM is told.
    pub guest: GuestSettings,
}

/// What the VMs of a network are told, from `synnefo:<key>:<value>` tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestSettings {
    /// `synnefo:dns:<address>`, in the order of the tags.
    pub nameservers: Vec<IpAddr>,
    /// `synnefo:search:<domain>`
    pub search: Vec<DomainName>,
    /// `synnefo:domain:<domain>`
    pub domain: Option<DomainName>,
    /// `synnefo:route:<cidr>@<gateway>`
    pub routes: Vec<Route>,
    /// `synnefo:ntp:<address>`
    pub ntp: Vec<IpAddr>,
    /// `synnefo:mtu:<bytes>`
    pub mtu: Option<u16>,
    /// `synnefo:mode6:<slaac|stateless|stateful>`
    pub mode6: Option<Mode6>,
}

/// What the instance's `TAGS` say about this NIC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceTags {
    /// `synnefo:hostname:<name>`
    pub hostname: Option<DomainName>,
    /// What is not served and yet does no harm to go without; for the operator to read.
    pub warnings: Vec<String>,
}

const NETWORK: &str = "NETWORK_TAGS";
const INSTANCE: &str = "TAGS";

/// Reads `NETWORK_TAGS`. Ganeti gives tags in no order: the result does not depend on it, but for lists, which are
/// sorted by Ganeti's text.
///
/// # Errors
/// A tag we know but do not serve, an unknown key under `synnefo:`, a value that does not fit its key.
pub(super) fn network_tags(text: &str, words: &TagWords) -> Result<NetworkTags, RequestError> {
    let mut tags = NetworkTags::default();
    let mut all: Vec<&str> = text.split_whitespace().collect();
    all.sort_unstable();
    all.dedup();
    for tag in all {
        if tag == words.nfdhcpd {
            tags.nfdhcpd = true;
        } else if tag == words.ip_less_routed {
            tags.ip_less_routed = true;
        } else if tag == words.private_filtered {
            tags.private_filtered = true;
        } else if words.refused.iter().any(|word| word == tag) {
            return Err(refuse(
                NETWORK,
                tag,
                "this tag is not served yet: take it off the network",
            ));
        } else if let Some((key, value)) = tag::split(tag) {
            tags.guest.read(tag, key, value)?;
        }
    }
    Ok(tags)
}

impl GuestSettings {
    fn read(&mut self, tag: &str, key: &str, value: &str) -> Result<(), RequestError> {
        let Some(key) = Key::of(key) else {
            let expected = "this tag is not served: take it off the network";
            return Err(refuse(NETWORK, tag, expected));
        };
        if key.place() != Place::Network {
            let expected = "belongs on an instance, not on a network";
            return Err(refuse(NETWORK, tag, expected));
        }
        match key.read(value) {
            Some(Tag::Dns(address)) => self.nameservers.push(address),
            Some(Tag::Ntp(address)) => self.ntp.push(address),
            Some(Tag::Search(domain)) => self.search.push(domain),
            Some(Tag::Domain(domain)) => once(&mut self.domain, domain, tag)?,
            Some(Tag::Route(route)) => self.routes.push(route),
            Some(Tag::Mtu(bytes)) => once(&mut self.mtu, bytes, tag)?,
            Some(Tag::Mode6(mode)) => once(&mut self.mode6, mode, tag)?,
            Some(Tag::Hostname(_) | Tag::Firewall { .. }) | None => {
                return Err(refuse(NETWORK, tag, key.expected()));
            }
        }
        Ok(())
    }
}

/// Reads the instance's `TAGS` for the NIC that goes by any of `ids` (index, name, UUID).
///
/// A firewall profile is served with full isolation, later; until then it is a warning. So is an unknown word under
/// `synnefo:`: instances carry tags for other programs too.
///
/// # Errors
/// A profile's word is unknown, a value does not fit its key, a network's key is on the instance.
pub(super) fn instance_tags(
    text: &str,
    ids: &[&str],
    words: &TagWords,
) -> Result<InstanceTags, RequestError> {
    let mut tags = InstanceTags::default();
    let mut all: Vec<&str> = text.split_whitespace().collect();
    all.sort_unstable();
    all.dedup();
    for tag in all {
        if words.refused.iter().any(|word| word == tag) {
            return Err(refuse(
                INSTANCE,
                tag,
                "this tag is not served yet: take it off the instance",
            ));
        }
        if let Ok(profile) = tag.parse() {
            tags.profile(tag, profile);
            continue;
        }
        let Some((key, value)) = tag::split(tag) else {
            continue;
        };
        let Some(key) = Key::of(key) else {
            tags.warnings.push(format!(
                "TAGS: {tag}: not known to snf-ifup, without effect on the NIC"
            ));
            continue;
        };
        if key.place() != Place::Instance {
            let expected = "belongs on a network, not on an instance";
            return Err(refuse(INSTANCE, tag, expected));
        }
        match key.read(value) {
            Some(Tag::Hostname(name)) => {
                if tags.hostname.replace(name).is_some() {
                    return Err(refuse(INSTANCE, tag, GIVEN_TWICE));
                }
            }
            Some(Tag::Firewall { nic, profile }) => {
                if ids.contains(&nic.as_str()) {
                    tags.profile(tag, profile);
                }
            }
            // Of an instance's keys these two are all.
            Some(
                Tag::Dns(_)
                | Tag::Search(_)
                | Tag::Domain(_)
                | Tag::Route(_)
                | Tag::Ntp(_)
                | Tag::Mtu(_)
                | Tag::Mode6(_),
            )
            | None => return Err(refuse(INSTANCE, tag, key.expected())),
        }
    }
    Ok(tags)
}

impl InstanceTags {
    fn profile(&mut self, tag: &str, profile: Profile) {
        if profile != Profile::Unprotected {
            let warning = format!(
                "TAGS: {tag}: firewall profiles are not served yet: the NIC is as open as with unprotected"
            );
            self.warnings.push(warning);
        }
    }
}

const GIVEN_TWICE: &str = "this key is given twice: leave one";

fn once<T>(slot: &mut Option<T>, value: T, tag: &str) -> Result<(), RequestError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(refuse(NETWORK, tag, GIVEN_TWICE)),
    }
}

fn refuse(variable: &'static str, tag: &str, expected: &str) -> RequestError {
    RequestError::value(variable, tag, expected)
}
