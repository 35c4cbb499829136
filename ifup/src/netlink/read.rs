//! Reading: devices, the way out of a table, and what stands for a TAP.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of netlink-packet-route grow: what is not known is not ours"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nfdhcpd_binding::MacAddr;
use nix::net::if_::if_indextoname;
use rtnetlink::packet_core::NLM_F_DUMP;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::dump::{dump, get};
use super::{Netlink, NetlinkError, index_of, proxy_message};
use crate::facts::{Family, Link, Route, Rule, Table, Uplink};
use crate::record::Proxy;
use crate::request::IfName;

/// Length of `struct fib_rule_hdr`.
pub(super) const RULE_HEADER: usize = 12;
pub(super) const FRA_IIFNAME: u16 = 3;
/// Length of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
/// A default route has none.
const RTA_DST: u16 = 1;
/// The last global unicast address (RFC 4291 §2.4; 2000::/3): nobody's, so that only a default route leads there.
const FARTHEST: Ipv6Addr = Ipv6Addr::new(
    0x3fff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff,
);

/// What a table says about one family: where its default route goes, and its prefixes.
#[derive(Debug, Default)]
struct Way {
    /// Metric, device, next hop.
    default: Option<(u32, u32, Option<IpAddr>)>,
    prefixes: Vec<IpNet>,
}

impl Netlink {
    /// The device of this name; `None` without it.
    ///
    /// # Errors
    /// See [`NetlinkError`]; so for all below.
    pub fn link(&mut self, name: &IfName) -> Result<Option<Link>, NetlinkError> {
        let mut request = LinkMessage::default();
        request
            .attributes
            .push(LinkAttribute::IfName(name.to_string()));
        Ok(self.get_link(request)?.map(|message| link_of(&message)))
    }

    fn get_link(&mut self, request: LinkMessage) -> Result<Option<LinkMessage>, NetlinkError> {
        let answer = match self.ask(RouteNetlinkMessage::GetLink(request), 0) {
            Err(error) if error.errno() == Some(libc::ENODEV) => return Ok(None),
            answer => answer?,
        };
        match answer.into_iter().next() {
            Some(RouteNetlinkMessage::NewLink(message)) => Ok(Some(message)),
            other => Err(NetlinkError::Answer(format!("{other:?}"))),
        }
    }

    /// The way out of a table; of IPv6 only with `v6`. Prefixes are looked for only when `whole`: that reads the table to
    /// its end. Otherwise the IPv4 list is left behind its first entry, the default route, and the IPv6 one is looked up as the
    /// way of a packet that comes in by the IPv4 uplink. Only where no rule sends such a packet into this table the IPv6
    /// list is read: the routes of the IPv4 uplink, and if there is no default route among them, all.
    ///
    /// # Errors
    /// See [`Netlink::link`].
    pub fn table(
        &mut self,
        id: u32,
        ip: Option<Ipv4Addr>,
        v6: bool,
        whole: bool,
    ) -> Result<Table, NetlinkError> {
        let way4 = way(AddressFamily::Inet, id, None, whole)?;
        let device4 = way4.default.map(|(_, device, _)| device);
        let mut way6 = match device4.filter(|_| v6 && !whole) {
            Some(device) => way_out(id, device)?,
            None => Way::default(),
        };
        if let Some(device) = device4.filter(|_| v6 && !whole && way6.default.is_none()) {
            way6 = way(AddressFamily::Inet6, id, Some(device), false)?;
        }
        if v6 && way6.default.is_none() {
            way6 = way(AddressFamily::Inet6, id, None, whole)?;
        }
        let hop4 = way4.default.and_then(|(.., hop)| hop);
        let hop6 = way6.default.and_then(|(.., hop)| hop);
        Ok(Table {
            id,
            gateway: hop4.and_then(|hop| match hop {
                IpAddr::V4(hop) => Some(hop),
                IpAddr::V6(_) => None,
            }),
            subnet: way4.holding(ip),
            uplink: device4.map(|device| self.uplink(device)).transpose()?,
            gateway6: hop6.and_then(|hop| match hop {
                IpAddr::V6(hop) if !hop.is_unicast_link_local() => Some(hop),
                IpAddr::V6(_) | IpAddr::V4(_) => None,
            }),
            subnet6: way6.first64(),
            uplink6: way6
                .default
                .map(|(_, device, _)| self.uplink(device))
                .transpose()?,
        })
    }

    fn uplink(&mut self, index: u32) -> Result<Uplink, NetlinkError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        let gone = || NetlinkError::Answer(format!("device {index} of a default route is gone"));
        let message = self.get_link(request)?.ok_or_else(gone)?;
        let name = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => name.parse().ok(),
                _ => None,
            });
        let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        Ok(Uplink {
            name: name.ok_or_else(gone)?,
            index,
            address: is_ethernet.then(|| link_of(&message).address),
            link_local: self.link_local(index)?,
        })
    }

    fn link_local(&mut self, index: u32) -> Result<Option<Ipv6Addr>, NetlinkError> {
        let mut request = AddressMessage::default();
        request.header.family = AddressFamily::Inet6;
        request.header.index = index;
        let answers = match self.ask(RouteNetlinkMessage::GetAddress(request), NLM_F_DUMP) {
            // The device has no IPv6, or the kernel has none.
            Err(NetlinkError::Refused(_)) => return Ok(None),
            answers => answers?,
        };
        let addresses = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => Some(message.attributes),
            _ => None,
        });
        Ok(addresses.flatten().find_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Some(ip),
            _ => None,
        }))
    }

    /// Whether the proxy entry stands.
    ///
    /// # Errors
    /// See [`Netlink::link`].
    pub fn has_proxy(&mut self, proxy: &Proxy) -> Result<bool, NetlinkError> {
        let Ok(index) = index_of(&proxy.uplink) else {
            return Ok(false);
        };
        let request = RouteNetlinkMessage::GetNeighbour(proxy_message(proxy, index));
        match self.ask(request, 0) {
            Ok(_) => Ok(true),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The device of this name, asked for without a runtime, so that a child may still make one of its own; `None` without
/// the device.
///
/// # Errors
/// See [`Netlink::link`].
pub fn link_before_fork(name: &IfName) -> Result<Option<Link>, NetlinkError> {
    let mut request = LinkMessage::default();
    request
        .attributes
        .push(LinkAttribute::IfName(name.to_string()));
    let mut found = None;
    let answer = get(RouteNetlinkMessage::GetLink(request), |raw| {
        if let RouteNetlinkMessage::NewLink(message) = raw.decode()? {
            found = Some(link_of(&message));
        }
        Ok(())
    });
    match answer {
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
        answer => answer.map(|()| found),
    }
}

/// All routing rules with the TAP as input interface.
///
/// # Errors
/// See [`Netlink::link`].
pub fn rules_of(tap: &IfName) -> Result<Vec<Rule>, NetlinkError> {
    let mut rules = Vec::new();
    let mut name = tap.to_string().into_bytes();
    name.push(0);
    for family in [Family::V4, Family::V6] {
        let mut request = RuleMessage::default();
        request.header.family = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        dump(RouteNetlinkMessage::GetRule(request), |raw| {
            if raw.attribute(RULE_HEADER, FRA_IIFNAME) == Some(name.as_slice())
                && let RouteNetlinkMessage::NewRule(message) = raw.decode()?
            {
                rules.extend(rule_of(&message, family, tap));
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(rules)
}

pub(super) fn rule_of(message: &RuleMessage, family: Family, tap: &IfName) -> Option<Rule> {
    let mut rule = Rule {
        family,
        tap: tap.clone(),
        table: u32::from(message.header.table),
        priority: 0,
    };
    let mut is_ours = false;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Iifname(name) => is_ours = name == tap.as_str(),
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            _ => {}
        }
    }
    is_ours.then_some(rule)
}

/// All routes of protocol static out of the TAP, in any table.
///
/// # Errors
/// See [`Netlink::link`].
pub fn routes_of(tap: &IfName, index: u32) -> Result<Vec<Route>, NetlinkError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        request.header.protocol = RouteProtocol::Static;
        request.attributes.push(RouteAttribute::Oif(index));
        dump(RouteNetlinkMessage::GetRoute(request), |raw| {
            if let RouteNetlinkMessage::NewRoute(message) = raw.decode()? {
                let destination = destination(&message);
                let table = table_of(&message);
                routes.extend(destination.map(|destination| Route {
                    destination,
                    tap: tap.clone(),
                    table,
                }));
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(routes)
}

/// Reads the table to its end when `whole`, else for its default route only.
fn way(
    family: AddressFamily,
    table: u32,
    device: Option<u32>,
    whole: bool,
) -> Result<Way, NetlinkError> {
    let mut request = RouteMessage::default();
    request.header.address_family = family;
    request.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    request.attributes.push(RouteAttribute::Table(table));
    request.attributes.extend(device.map(RouteAttribute::Oif));
    let mut way = Way::default();
    let read = dump(RouteNetlinkMessage::GetRoute(request), |raw| {
        if let Some(destination) = raw.attribute(ROUTE_HEADER, RTA_DST).filter(|_| !whole) {
            // IPv4 comes in the order of addresses: behind 0.0.0.0 there is no default route.
            let is_behind =
                family == AddressFamily::Inet && destination.iter().any(|byte| *byte != 0);
            return Ok(if is_behind {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            });
        }
        if let RouteNetlinkMessage::NewRoute(message) = raw.decode()?
            && let Some(destination) = destination(&message)
        {
            way.add(&message, destination);
        }
        Ok(ControlFlow::Continue(()))
    });
    match read {
        // A table that nothing was ever put in does not exist.
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(way),
        read => read.map(|()| way),
    }
}

/// The IPv6 default route by which a packet that came in by this device would leave, if that is the table's: asks the
/// kernel for one route, where a list of the table costs as much as there are NICs in it.
fn way_out(table: u32, device: u32) -> Result<Way, NetlinkError> {
    let mut request = RouteMessage::default();
    request.header.address_family = AddressFamily::Inet6;
    request.header.destination_prefix_length = 128;
    request.header.flags = RouteFlags::FibMatch;
    request.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet6(FARTHEST)),
        RouteAttribute::Iif(device),
    ];
    let mut way = Way::default();
    let answer = get(RouteNetlinkMessage::GetRoute(request), |raw| {
        if let RouteNetlinkMessage::NewRoute(message) = raw.decode()?
            && message.header.destination_prefix_length == 0
            && table_of(&message) == table
            && let Some(destination) = destination(&message)
        {
            way.add(&message, destination);
        }
        Ok(())
    });
    match answer {
        // There is no such way, or no IPv6.
        Err(NetlinkError::Refused(_)) => Ok(way),
        answer => answer.map(|()| way),
    }
}

impl Way {
    fn add(&mut self, message: &RouteMessage, destination: IpNet) {
        if message.header.kind != RouteType::Unicast {
            return;
        }
        if destination.prefix_len() > 0 {
            self.prefixes.push(destination);
            return;
        }
        let mut metric = 0;
        let mut device = None;
        let mut hop = None;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Priority(priority) => metric = *priority,
                RouteAttribute::Oif(index) => device = Some(*index),
                RouteAttribute::Gateway(gateway) => hop = address(gateway),
                RouteAttribute::MultiPath(hops) => {
                    let Some(first) = hops.first() else { continue };
                    device = Some(first.interface_index);
                    hop = first
                        .attributes
                        .iter()
                        .find_map(|attribute| match attribute {
                            RouteAttribute::Gateway(gateway) => address(gateway),
                            _ => None,
                        });
                }
                _ => {}
            }
        }
        let is_better = self.default.is_none_or(|(best, ..)| metric < best);
        if let Some(device) = device.filter(|_| is_better) {
            self.default = Some((metric, device, hop));
        }
    }

    fn holding(&self, ip: Option<Ipv4Addr>) -> Option<Ipv4Net> {
        let holding = self.prefixes.iter().filter_map(|prefix| match prefix {
            IpNet::V4(net) if net.prefix_len() < 32 && net.contains(&ip?) => Some(*net),
            IpNet::V4(_) | IpNet::V6(_) => None,
        });
        holding.max_by_key(Ipv4Net::prefix_len)
    }

    fn first64(&self) -> Option<Ipv6Net> {
        self.prefixes.iter().find_map(|prefix| match prefix {
            IpNet::V6(net) if net.prefix_len() == 64 && !net.addr().is_unicast_link_local() => {
                Some(*net)
            }
            IpNet::V6(_) | IpNet::V4(_) => None,
        })
    }
}

pub(super) fn destination(message: &RouteMessage) -> Option<IpNet> {
    let length = message.header.destination_prefix_length;
    let given = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(destination) => address(destination),
            _ => None,
        });
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new(given.unwrap_or(any), length).ok()
}

pub(super) fn table_of(message: &RouteMessage) -> u32 {
    let long = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    long.unwrap_or_else(|| u32::from(message.header.table))
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

pub(super) fn link_of(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        address: MacAddr([0; 6]),
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp),
        master: None,
        is_bridge: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => {
                link.address = bytes
                    .first_chunk()
                    .map_or(link.address, |octets| MacAddr(*octets));
            }
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.master = name_of(*index),
            LinkAttribute::LinkInfo(infos) => {
                link.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    link
}

fn name_of(index: u32) -> Option<IfName> {
    if_indextoname(index).ok()?.to_str().ok()?.parse().ok()
}
