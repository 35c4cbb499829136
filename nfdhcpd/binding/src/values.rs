//! A key's text to its value. An error is the reason alone; key and line are added by the caller.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::error::ValueError;
use crate::limits;
use crate::{DomainName, MacAddr, Mode6, Route};

pub(crate) type Reading<T> = Result<T, String>;

/// The hardware address of one station.
pub(crate) fn mac(text: &str) -> Reading<MacAddr> {
    let mac: MacAddr = text.parse().map_err(|error| format!("{error}"))?;
    if mac.is_multicast() {
        return Err("is a group address: a NIC has one of its own".into());
    }
    if mac.octets() == [0; 6] {
        return Err("is no station's address".into());
    }
    Ok(mac)
}

/// An IPv4 address a host can have.
pub(crate) fn ipv4(text: &str) -> Reading<Ipv4Addr> {
    let ip: Ipv4Addr = text
        .parse()
        .map_err(|_| not("an IPv4 address, as in 192.0.2.10"))?;
    let [first, ..] = ip.octets();
    let host = first != 0 && !ip.is_loopback() && !ip.is_multicast() && !ip.is_broadcast();
    if host {
        Ok(ip)
    } else {
        Err("is not the address of a host".into())
    }
}

/// An IPv6 address a host can have.
pub(crate) fn ipv6(text: &str) -> Reading<Ipv6Addr> {
    let ip: Ipv6Addr = text
        .parse()
        .map_err(|_| not("an IPv6 address, as in 2001:db8::10"))?;
    let host = !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast();
    if host {
        Ok(ip)
    } else {
        Err("is not the address of a host".into())
    }
}

/// An IPv6 address a host can have, valid beyond its link.
pub(crate) fn ipv6_beyond_link(text: &str) -> Reading<Ipv6Addr> {
    let ip = ipv6(text)?;
    if ip.is_unicast_link_local() {
        Err("is a link-local address".into())
    } else {
        Ok(ip)
    }
}

/// An address of either family.
pub(crate) fn ip(text: &str) -> Reading<IpAddr> {
    if text.contains(':') {
        ipv6(text).map(IpAddr::V6)
    } else {
        ipv4(text).map(IpAddr::V4)
    }
}

/// `address/length` or `address/mask`; host bits are cleared.
pub(crate) fn subnet4(text: &str) -> Reading<Ipv4Net> {
    let net = net4(text)?;
    if net.prefix_len() == 0 || net.addr().is_multicast() {
        return Err("is not the prefix of a network".into());
    }
    Ok(net)
}

/// `address/length`; host bits are cleared.
pub(crate) fn subnet6(text: &str) -> Reading<Ipv6Net> {
    let net = net6(text)?;
    let first = net.addr();
    if net.prefix_len() == 0 || first.is_multicast() || first.is_unicast_link_local() {
        return Err("is not the prefix of a network".into());
    }
    Ok(net)
}

fn net4(text: &str) -> Reading<Ipv4Net> {
    let expected = || not("an IPv4 prefix, as in 192.0.2.0/24");
    let (address, length) = text.split_once('/').ok_or_else(expected)?;
    let address: Ipv4Addr = address.parse().map_err(|_| expected())?;
    let length = match length.parse::<Ipv4Addr>() {
        Ok(mask) => ipnet::ipv4_mask_to_prefix(mask).map_err(|_| expected())?,
        Err(_) => number(length, 0..=32).map_err(|_| expected())?,
    };
    Ok(Ipv4Net::new(address, length)
        .map_err(|_| expected())?
        .trunc())
}

fn net6(text: &str) -> Reading<Ipv6Net> {
    let expected = || not("an IPv6 prefix, as in 2001:db8::/64");
    let (address, length) = text.split_once('/').ok_or_else(expected)?;
    let address: Ipv6Addr = address.parse().map_err(|_| expected())?;
    let length = number(length, 0..=128).map_err(|_| expected())?;
    Ok(Ipv6Net::new(address, length)
        .map_err(|_| expected())?
        .trunc())
}

/// `PREFIX@GATEWAY`.
pub(crate) fn route(text: &str) -> Reading<Route> {
    let expected = || not("PREFIX@GATEWAY, as in 198.51.100.0/24@192.0.2.1");
    let (prefix, gateway) = text.split_once('@').ok_or_else(expected)?;
    let route = if prefix.contains(':') {
        let gateway = if gateway == "::" {
            Ipv6Addr::UNSPECIFIED
        } else {
            ipv6(gateway)?
        };
        Route::V6 {
            destination: net6(prefix)?,
            gateway,
        }
    } else {
        let gateway = if gateway == "0.0.0.0" {
            Ipv4Addr::UNSPECIFIED
        } else {
            ipv4(gateway)?
        };
        Route::V4 {
            destination: net4(prefix)?,
            gateway,
        }
    };
    let length = match route {
        Route::V4 { destination, .. } => destination.prefix_len(),
        Route::V6 { destination, .. } => destination.prefix_len(),
    };
    if length == 0 {
        Err("is the default route: GATEWAY and GATEWAY6 say it".into())
    } else {
        Ok(route)
    }
}

/// Routes, limited per family.
pub(crate) fn routes(text: &str) -> Reading<Vec<Route>> {
    let routes = list(text, 2 * limits::ROUTES_PER_FAMILY, route)?;
    let is_v4 = |route: &Route| matches!(route, Route::V4 { .. });
    limits::per_family(&routes, limits::ROUTES_PER_FAMILY, is_v4).map_err(String::from)?;
    Ok(routes)
}

/// Addresses of servers, limited per family; `none` is the empty list.
pub(crate) fn servers(text: &str) -> Reading<Vec<IpAddr>> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let servers = list(text, 2 * limits::SERVERS_PER_FAMILY, ip)?;
    limits::check_servers(&servers).map_err(String::from)?;
    Ok(servers)
}

/// Domain names to search; `none` is the empty list.
pub(crate) fn search(text: &str) -> Reading<Vec<DomainName>> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let names = list(text, limits::SEARCH_NAMES, domain)?;
    limits::check_search(&names).map_err(String::from)?;
    Ok(names)
}

/// A domain name.
pub(crate) fn domain(text: &str) -> Reading<DomainName> {
    text.parse().map_err(|error| format!("{error}"))
}

/// Items between spaces, tabs or commas.
pub(crate) fn list<T>(
    text: &str,
    most: usize,
    item: impl Fn(&str) -> Reading<T>,
) -> Reading<Vec<T>> {
    let mut items = Vec::new();
    for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        if items.len() == most {
            return Err(format!("has more than {most} items"));
        }
        items.push(item(word).map_err(|reason| format!("{word:?} {reason}"))?);
    }
    if items.is_empty() {
        Err("has no item".into())
    } else {
        Ok(items)
    }
}

/// Words between spaces and tabs; they may have commas in them.
pub(crate) fn words(text: &str) -> Vec<&str> {
    text.split([' ', '\t'])
        .filter(|word| !word.is_empty())
        .collect()
}

/// A decimal number within a range.
pub(crate) fn number<T>(text: &str, range: RangeInclusive<T>) -> Reading<T>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| digits && range.contains(number))
        .ok_or_else(|| {
            not(&format!(
                "a number from {} to {}",
                range.start(),
                range.end()
            ))
        })
}

/// yes or no, in the words people use.
pub(crate) fn boolean(text: &str) -> Reading<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err(not("yes, true, on, 1, no, false, off or 0")),
    }
}

/// How the VM is told to configure IPv6.
pub(crate) fn mode6(text: &str) -> Reading<Mode6> {
    match text {
        "none" => Ok(Mode6::None),
        "slaac" => Ok(Mode6::Slaac),
        "stateless" => Ok(Mode6::Stateless),
        "stateful" => Ok(Mode6::Stateful),
        _ => Err(not("none, slaac, stateless or stateful")),
    }
}

/// A text nobody but the file's writer reads.
pub(crate) fn note(text: &str) -> Reading<String> {
    if text.len() > limits::TEXT_BYTES {
        return Err(format!("is longer than {} bytes", limits::TEXT_BYTES));
    }
    Ok(text.to_owned())
}

/// A text that goes into a message: printable ASCII.
pub(crate) fn ascii(text: &str) -> Reading<String> {
    if !text
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        return Err("has other characters than printable ASCII".into());
    }
    note(text)
}

/// A URI: printable ASCII without spaces, a scheme first.
pub(crate) fn uri(text: &str, most: usize) -> Reading<String> {
    let scheme = text.split(':').next().unwrap_or_default();
    let sound = scheme.len() < text.len()
        && scheme
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !sound {
        return Err(not("a URI, as in https://portal.example.org/api"));
    }
    if text.len() > most {
        return Err(format!("is longer than {most} bytes"));
    }
    Ok(text.to_owned())
}

/// `hex:0a0b0c`, `hex:0a:0b:0c` or `text:…`: the bytes of an option.
pub(crate) fn option_bytes(text: &str) -> Reading<Vec<u8>> {
    let bytes = if let Some(text) = text.strip_prefix("text:") {
        ascii(text)?.into_bytes()
    } else if let Some(digits) = text.strip_prefix("hex:") {
        hexadecimal(digits).ok_or_else(|| not("pairs of hexadecimal digits behind hex:"))?
    } else {
        return Err(not(
            "hex: and pairs of hexadecimal digits, or text: and printable ASCII",
        ));
    };
    if bytes.len() > 255 {
        Err("is longer than 255 bytes".into())
    } else {
        Ok(bytes)
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = if digits.contains(':') {
        digits
            .split(':')
            .all(|pair| pair.len() == 2)
            .then(|| digits.replace(':', ""))?
    } else {
        digits.to_owned()
    }
    .into_bytes();
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

impl FromStr for Route {
    type Err = ValueError;

    /// `PREFIX@GATEWAY`, one item of `ROUTES`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(route(text)?)
    }
}

impl FromStr for Mode6 {
    type Err = ValueError;

    /// A word of `MODE6`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(mode6(text)?)
    }
}

fn not(expected: &str) -> String {
    format!("is not {expected}")
}
