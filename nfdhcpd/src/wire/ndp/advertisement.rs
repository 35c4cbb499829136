//! The router advertisement (RFC 4861 §4.2) and its options, encoded once per binding.

use std::net::Ipv6Addr;
use std::ops::Range;

use ipnet::Ipv6Net;
use nfdhcpd_binding::{DomainName, MacAddr};

use super::SOURCE_LINK_LAYER;
use crate::wire::Frame;

const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;
const ROUTE_INFORMATION: u8 = 24;
const RECURSIVE_DNS: u8 = 25;
const DNS_SEARCH_LIST: u8 = 31;
const CAPTIVE_PORTAL: u8 = 37;

const CUR_HOP_LIMIT: u8 = 64;
/// Header without ICMPv6's first four bytes.
const FIXED: usize = 12;
/// What fits every link: 1280 bytes less the IPv6 header and ICMPv6's first four bytes (RFC 8200 §5).
const LEN_MAX: usize = 1280 - 40 - 4;

/// A router advertisement under way: what follows the ICMPv6 header.
///
/// An option that would make the message longer than every link carries is left out: put first what matters most.
#[derive(Debug)]
pub struct RouterAdvertisement {
    bytes: Vec<u8>,
}

/// A prefix information option (RFC 4861 §4.6.2); always on-link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// The VM may form addresses in it (RFC 4862 §5.5.3).
    pub autonomous: bool,
    /// Seconds.
    pub preferred: u32,
    /// Seconds, at least the preferred.
    pub valid: u32,
}

impl RouterAdvertisement {
    /// Starts with the fixed fields: M and O flags, medium preference, router lifetime in seconds.
    #[must_use]
    pub fn new(managed: bool, other: bool, router_lifetime: u16) -> Self {
        let flags = u8::from(managed) << 7 | u8::from(other) << 6;
        let mut bytes = vec![CUR_HOP_LIMIT, flags];
        bytes.extend(router_lifetime.to_be_bytes());
        // Reachable time and retransmission timer: unspecified by this router.
        bytes.extend([0; 8]);
        Self { bytes }
    }

    /// The router's hardware address.
    pub fn source_link_layer(&mut self, mac: MacAddr) {
        self.option(SOURCE_LINK_LAYER, &mac.octets());
    }

    /// The link's MTU, bytes (RFC 4861 §4.6.4).
    pub fn mtu(&mut self, mtu: u32) {
        let mut body = [0; 6];
        body[2..].copy_from_slice(&mtu.to_be_bytes());
        self.option(MTU, &body);
    }

    /// A prefix of the link.
    pub fn prefix(&mut self, prefix: Prefix) {
        let on_link = 0x80;
        let mut body = vec![
            prefix.prefix.prefix_len(),
            on_link | u8::from(prefix.autonomous) << 6,
        ];
        body.extend(prefix.valid.to_be_bytes());
        body.extend(prefix.preferred.to_be_bytes());
        body.extend([0; 4]);
        body.extend(prefix.prefix.network().octets());
        self.option(PREFIX_INFORMATION, &body);
    }

    /// A destination this router leads to, of medium preference (RFC 4191 §2.3); lifetime in seconds.
    pub fn route(&mut self, destination: Ipv6Net, lifetime: u32) {
        let prefix_bytes = match destination.prefix_len() {
            0 => 0,
            1..=64 => 8,
            _ => 16,
        };
        let mut body = vec![destination.prefix_len(), 0];
        body.extend(lifetime.to_be_bytes());
        body.extend(destination.network().octets().iter().take(prefix_bytes));
        self.option(ROUTE_INFORMATION, &body);
    }

    /// Recursive name servers (RFC 8106 §5.1); lifetime in seconds.
    pub fn recursive_dns(&mut self, servers: &[Ipv6Addr], lifetime: u32) {
        let mut body = vec![0, 0];
        body.extend(lifetime.to_be_bytes());
        body.extend(servers.iter().flat_map(Ipv6Addr::octets));
        if !servers.is_empty() {
            self.option(RECURSIVE_DNS, &body);
        }
    }

    /// The search list (RFC 8106 §5.2); lifetime in seconds.
    pub fn dns_search_list(&mut self, names: &[DomainName], lifetime: u32) {
        let mut body = vec![0, 0];
        body.extend(lifetime.to_be_bytes());
        for name in names {
            name.encode(&mut body);
        }
        if !names.is_empty() {
            self.option(DNS_SEARCH_LIST, &body);
        }
    }

    /// The captive portal's API (RFC 8910 §2.3).
    pub fn captive_portal(&mut self, uri: &str) {
        self.option(CAPTIVE_PORTAL, uri.as_bytes());
    }

    /// What follows the ICMPv6 header.
    #[must_use]
    pub fn into_bytes(self) -> Box<[u8]> {
        self.bytes.into_boxed_slice()
    }

    /// Type, length in units of 8 bytes, body, zeros up to the next unit.
    fn option(&mut self, kind: u8, body: &[u8]) {
        let units = (body.len() + 2).div_ceil(8);
        if let Ok(length) = u8::try_from(units)
            && self.bytes.len() + units * 8 <= LEN_MAX
        {
            let end = self.bytes.len() + units * 8;
            self.bytes.extend([kind, length]);
            self.bytes.extend(body);
            self.bytes.resize(end, 0);
        }
    }
}

/// Turns an advertisement into its router's last (RFC 4861 §6.2.5): no default router, routes and name servers
/// withdrawn, the prefix no longer preferred. Takes what follows the ICMPv6 header.
pub fn cease(advertisement: &mut [u8]) {
    if let Some(router_lifetime) = advertisement.get_mut(2..4) {
        router_lifetime.fill(0);
    }
    let mut options = advertisement.get_mut(FIXED..).unwrap_or_default();
    while let Some(&[_, units]) = options.first_chunk::<2>() {
        let Some((option, rest)) = options.split_at_mut_checked(usize::from(units).max(1) * 8)
        else {
            return;
        };
        expire(option);
        options = rest;
    }
}

/// Appends what follows the ICMPv6 header of the advertisement that comes between two of the same router: what `before`
/// told and `after` does not tell likewise expires (RFC 8106 §5, RFC 4191 §4), then all of `after`. False when it does
/// not fit.
#[must_use]
pub fn push_succession(before: &[u8], after: &[u8], out: &mut Frame) -> bool {
    let (fixed, told) = after.split_at_checked(FIXED).unwrap_or_default();
    if !out.push(fixed) {
        return false;
    }
    for option in options(before) {
        let is_told = options(after).any(|other| other == option);
        if is_told || lifetime(option.first().copied()).is_none() {
            continue;
        }
        let start = out.as_slice().len();
        if !out.push(option) {
            return false;
        }
        expire(out.as_mut_slice().get_mut(start..).unwrap_or_default());
    }
    out.push(told)
}

/// The options of what follows the ICMPv6 header.
fn options(advertisement: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = advertisement.get(FIXED..).unwrap_or_default();
    std::iter::from_fn(move || {
        let [_, units] = *rest.first_chunk::<2>()?;
        let (option, behind) = rest.split_at_checked(usize::from(units).max(1) * 8)?;
        rest = behind;
        Some(option)
    })
}

/// Sets an option's lifetime to 0, if its type has one.
fn expire(option: &mut [u8]) {
    let bytes = lifetime(option.first().copied()).and_then(|place| option.get_mut(place));
    bytes.unwrap_or_default().fill(0);
}

/// Where an option of a type has its lifetime; a prefix, its preferred one: a VM would not believe a short valid one
/// (RFC 4862 §5.5.3 e).
fn lifetime(kind: Option<u8>) -> Option<Range<usize>> {
    match kind? {
        PREFIX_INFORMATION => Some(8..12),
        ROUTE_INFORMATION | RECURSIVE_DNS | DNS_SEARCH_LIST => Some(4..8),
        _ => None,
    }
}
