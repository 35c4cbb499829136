//! Whole lists, for whoever looks at all TAPs: devices, routing rules, host routes.

use std::collections::HashMap;
use std::ops::ControlFlow;

use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::NetlinkError;
use super::dump::dump;
use super::read::{FRA_IIFNAME, RULE_HEADER, destination, link_of, rule_of, table_of};
use crate::facts::{Family, Link, Route, Rule};
use crate::request::IfName;

const FAMILIES: [(Family, AddressFamily); 2] = [
    (Family::V4, AddressFamily::Inet),
    (Family::V6, AddressFamily::Inet6),
];

/// All devices, by name.
///
/// # Errors
/// See [`NetlinkError`]; so for all below.
pub fn all_links() -> Result<HashMap<IfName, Link>, NetlinkError> {
    let mut links = HashMap::new();
    dump(
        RouteNetlinkMessage::GetLink(LinkMessage::default()),
        |raw| {
            if let RouteNetlinkMessage::NewLink(message) = raw.decode()? {
                let name = message.attributes.iter().find_map(|attribute| {
                    if let LinkAttribute::IfName(name) = attribute {
                        name.parse().ok()
                    } else {
                        None
                    }
                });
                links.extend(name.map(|name| (name, link_of(&message))));
            }
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(links)
}

/// All routing rules with an input interface, by its name.
///
/// # Errors
/// See [`all_links`].
pub fn all_rules() -> Result<HashMap<IfName, Vec<Rule>>, NetlinkError> {
    let mut rules: HashMap<IfName, Vec<Rule>> = HashMap::new();
    for (family, of) in FAMILIES {
        let mut request = RuleMessage::default();
        request.header.family = of;
        dump(RouteNetlinkMessage::GetRule(request), |raw| {
            let name = raw.attribute(RULE_HEADER, FRA_IIFNAME);
            let name = name.and_then(|name| str::from_utf8(name).ok());
            let tap = name.and_then(|name| name.trim_end_matches('\0').parse::<IfName>().ok());
            if let Some(tap) = tap
                && let RouteNetlinkMessage::NewRule(message) = raw.decode()?
                && let Some(rule) = rule_of(&message, family, &tap)
            {
                rules.entry(tap).or_default().push(rule);
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(rules)
}

/// All routes of protocol static, in any table, by the index of their device; `names` are the devices'.
///
/// # Errors
/// See [`all_links`].
pub fn all_routes(names: &HashMap<u32, IfName>) -> Result<HashMap<u32, Vec<Route>>, NetlinkError> {
    let mut routes: HashMap<u32, Vec<Route>> = HashMap::new();
    for (_, family) in FAMILIES {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        request.header.protocol = RouteProtocol::Static;
        dump(RouteNetlinkMessage::GetRoute(request), |raw| {
            if let RouteNetlinkMessage::NewRoute(message) = raw.decode()?
                && let Some(destination) = destination(&message)
            {
                let out = message.attributes.iter().find_map(|attribute| {
                    if let RouteAttribute::Oif(index) = attribute {
                        Some(*index)
                    } else {
                        None
                    }
                });
                if let Some((index, tap)) = out.and_then(|out| Some((out, names.get(&out)?))) {
                    routes.entry(index).or_default().push(Route {
                        destination,
                        tap: tap.clone(),
                        table: table_of(&message),
                    });
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(routes)
}
