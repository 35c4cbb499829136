//! Tags: which services a network asks for, and what its VMs are told.
//!
//! Words are the operator's, except those we know and everything under `synnefo:` on a network: a network's tag that we
//! do not serve is refused, never ignored, because the network would not be what its tags say.

use std::net::IpAddr;

use ipnet::IpNet;
use nfdhcpd_binding::{DomainName, Mode6, Route};

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
/// The keys of the tag grammar that belong on a network.
const NETWORK_KEYS: [&str; 7] = ["dns", "search", "domain", "route", "ntp", "mtu", "mode6"];

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
        } else if let Some(rest) = tag.strip_prefix("synnefo:") {
            tags.guest.read(tag, rest)?;
        }
    }
    Ok(tags)
}

impl GuestSettings {
    fn read(&mut self, tag: &str, rest: &str) -> Result<(), RequestError> {
        let (key, value) = rest.split_once(':').unwrap_or((rest, ""));
        let expected = |what: &str| refuse(NETWORK, tag, what);
        match key {
            "dns" => self
                .nameservers
                .push(parse(value).ok_or_else(|| expected(ADDRESS))?),
            "ntp" => self
                .ntp
                .push(parse(value).ok_or_else(|| expected(ADDRESS))?),
            "search" => self
                .search
                .push(parse(value).ok_or_else(|| expected(DOMAIN))?),
            "domain" => {
                let domain = parse(value).ok_or_else(|| expected(DOMAIN))?;
                once(&mut self.domain, domain, tag)?;
            }
            "route" => self
                .routes
                .push(route(value).ok_or_else(|| expected(ROUTE))?),
            "mtu" => {
                let mtu = parse(value).filter(|bytes| *bytes >= 68);
                once(
                    &mut self.mtu,
                    mtu.ok_or_else(|| expected("must be 68 to 65535 bytes"))?,
                    tag,
                )?;
            }
            "mode6" => {
                let mode = match value {
                    "slaac" => Mode6::Slaac,
                    "stateless" => Mode6::Stateless,
                    "stateful" => Mode6::Stateful,
                    _ => return Err(expected("must be slaac, stateless or stateful")),
                };
                once(&mut self.mode6, mode, tag)?;
            }
            "hostname" | "network" => {
                return Err(expected("belongs on an instance, not on a network"));
            }
            _ => return Err(expected("this tag is not served: take it off the network")),
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
        if PROFILES.contains(&tag) {
            tags.profile(tag, tag);
            continue;
        }
        let Some(rest) = tag.strip_prefix("synnefo:") else {
            continue;
        };
        let (key, value) = rest.split_once(':').unwrap_or((rest, ""));
        match key {
            "hostname" => {
                let name = parse(value).ok_or_else(|| refuse(INSTANCE, tag, DOMAIN))?;
                if tags.hostname.replace(name).is_some() {
                    return Err(refuse(INSTANCE, tag, GIVEN_TWICE));
                }
            }
            "network" => {
                let (nic, word) = value.rsplit_once(':').unwrap_or((value, ""));
                if !PROFILES.contains(&word) {
                    return Err(refuse(
                        INSTANCE,
                        tag,
                        "must end in protected, limited or unprotected",
                    ));
                }
                if ids.contains(&nic) {
                    tags.profile(tag, word);
                }
            }
            key if NETWORK_KEYS.contains(&key) => {
                return Err(refuse(
                    INSTANCE,
                    tag,
                    "belongs on a network, not on an instance",
                ));
            }
            _ => tags.warnings.push(format!(
                "TAGS: {tag}: not known to snf-ifup, without effect on the NIC"
            )),
        }
    }
    Ok(tags)
}

impl InstanceTags {
    fn profile(&mut self, tag: &str, word: &str) {
        if word != "unprotected" {
            let warning = format!(
                "TAGS: {tag}: firewall profiles are not served yet: the NIC is as open as with unprotected"
            );
            self.warnings.push(warning);
        }
    }
}

const PROFILES: [&str; 3] = ["protected", "limited", "unprotected"];
const ADDRESS: &str = "must end in an IPv4 or IPv6 address";
const DOMAIN: &str =
    "must end in a domain name: letters, digits, '-' and '_' in labels of 1 to 63 bytes";
const ROUTE: &str =
    "must end in <prefix>@<gateway> of one family, as in synnefo:route:10.8.0.0/16@10.0.0.1";
const GIVEN_TWICE: &str = "this key is given twice: leave one";

fn parse<T: std::str::FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

fn once<T>(slot: &mut Option<T>, value: T, tag: &str) -> Result<(), RequestError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(refuse(NETWORK, tag, GIVEN_TWICE)),
    }
}

fn route(value: &str) -> Option<Route> {
    let (destination, gateway) = value.split_once('@')?;
    match (destination.parse().ok()?, gateway.parse().ok()?) {
        (IpNet::V4(destination), IpAddr::V4(gateway)) => Some(Route::V4 {
            destination: destination.trunc(),
            gateway,
        }),
        (IpNet::V6(destination), IpAddr::V6(gateway)) => Some(Route::V6 {
            destination: destination.trunc(),
            gateway,
        }),
        (IpNet::V4(_), IpAddr::V6(_)) | (IpNet::V6(_), IpAddr::V4(_)) => None,
    }
}

fn refuse(variable: &'static str, tag: &str, expected: &str) -> RequestError {
    RequestError::value(variable, tag, expected)
}
