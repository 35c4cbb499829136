//! Links, routes, rules and neighbours over rtnetlink: single look-ups and filtered lists, so that a host with a thousand
//! NICs is not read whole for one.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of netlink-packet-route grow: what is not known is not ours"
)]

mod all;
mod dump;
mod read;

pub use all::{all_links, all_routes, all_rules};
pub use read::{link_before_fork, routes_of, rules_of};

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;

use futures_util::StreamExt;
use ipnet::IpNet;
use nfdhcpd_binding::MacAddr;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use rtnetlink::packet_route::route::{RouteProtocol, RouteScope};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, route::RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};
use tokio::runtime::Runtime;

use crate::facts::{Family, Route, Rule};
use crate::record::Proxy;
use crate::request::IfName;
use crate::step::Change;

/// What goes wrong between us and rtnetlink.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket or its runtime could not be made.
    #[error("open an rtnetlink socket")]
    Open(#[source] io::Error),
    /// The kernel refused.
    #[error("rtnetlink")]
    Refused(#[source] io::Error),
    /// The kernel's answer cannot be read.
    #[error("rtnetlink: answer not understood: {0}")]
    Answer(String),
    /// A device that a step names is gone.
    #[error("{0}: no such device")]
    NoDevice(IfName),
}

impl NetlinkError {
    /// The kernel's error number.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(error) | Self::Refused(error) => error.raw_os_error(),
            Self::Answer(_) | Self::NoDevice(_) => None,
        }
    }
}

/// A connection to rtnetlink in the calling thread's network namespace.
pub struct Netlink {
    runtime: Runtime,
    handle: Handle,
}

impl Netlink {
    /// Opens the connection.
    ///
    /// # Errors
    /// [`NetlinkError::Open`]
    pub fn open() -> Result<Self, NetlinkError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(NetlinkError::Open)?;
        let (connection, handle, _) = {
            let _guard = runtime.enter();
            rtnetlink::new_connection_with_strict_check().map_err(NetlinkError::Open)?
        };
        runtime.spawn(connection);
        Ok(Self { runtime, handle })
    }

    /// Sets a device's hardware address.
    ///
    /// # Errors
    /// See [`NetlinkError`]; so for all changes below.
    pub fn set_address(&mut self, dev: &IfName, address: MacAddr) -> Result<(), NetlinkError> {
        self.set_link(dev, |link| {
            link.attributes
                .push(LinkAttribute::Address(address.octets().to_vec()));
        })
    }

    /// Sets a device's MTU.
    ///
    /// # Errors
    /// See [`Netlink::set_address`].
    pub fn set_mtu(&mut self, dev: &IfName, mtu: u32) -> Result<(), NetlinkError> {
        self.set_link(dev, |link| link.attributes.push(LinkAttribute::Mtu(mtu)))
    }

    /// Makes a device a port of a bridge, or of none.
    ///
    /// # Errors
    /// See [`Netlink::set_address`].
    pub fn set_master(
        &mut self,
        dev: &IfName,
        bridge: Option<&IfName>,
    ) -> Result<(), NetlinkError> {
        let index = bridge.map_or(Ok(0), index_of)?;
        self.set_link(dev, |link| {
            link.attributes.push(LinkAttribute::Controller(index));
        })
    }

    /// Sets a device up or down.
    ///
    /// # Errors
    /// See [`Netlink::set_address`].
    pub fn set_up(&mut self, dev: &IfName, up: bool) -> Result<(), NetlinkError> {
        self.set_link(dev, |link| {
            link.header.change_mask = LinkFlags::Up;
            link.header.flags = if up {
                LinkFlags::Up
            } else {
                LinkFlags::empty()
            };
        })
    }

    fn set_link(
        &mut self,
        dev: &IfName,
        change: impl FnOnce(&mut LinkMessage),
    ) -> Result<(), NetlinkError> {
        let mut link = LinkMessage::default();
        link.header.index = index_of(dev)?;
        change(&mut link);
        self.change(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Adds or deletes a routing rule.
    ///
    /// # Errors
    /// See [`Netlink::set_address`].
    pub fn rule(&mut self, change: Change, rule: &Rule) -> Result<(), NetlinkError> {
        let mut message = RuleMessage::default();
        message.header.family = match rule.family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        message.header.action = RuleAction::ToTable;
        message.attributes = vec![
            RuleAttribute::Iifname(rule.tap.to_string()),
            RuleAttribute::Priority(rule.priority),
            RuleAttribute::Table(rule.table),
        ];
        match change {
            // Without NLM_F_EXCL: the plan knows that the rule is missing, and the kernel need not look for its like.
            Change::Add => self.change(RouteNetlinkMessage::NewRule(message), NLM_F_CREATE),
            Change::Delete => already(
                self.change(RouteNetlinkMessage::DelRule(message), 0),
                libc::ENOENT,
            ),
        }
    }

    /// Deletes all routing rules with the TAP as input interface.
    ///
    /// # Errors
    /// See [`Netlink::set_address`].
    pub fn purge_rules(&mut self, tap: &IfName) -> Result<(), NetlinkError> {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            // Each request deletes the first rule that fits; there are as many as were left.
            loop {
                let mut message = RuleMessage::default();
                message.header.family = family;
                message.attributes = vec![RuleAttribute::Iifname(tap.to_string())];
                match self.change(RouteNetlinkMessage::DelRule(message), 0) {
                    Ok(()) => {}
                    // No such rule; or no such family on this host.
                    Err(error)
                        if matches!(error.errno(), Some(libc::ENOENT | libc::EAFNOSUPPORT)) =>
                    {
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Adds or deletes a host route; adding takes the place of another route to the same address in the table. The kernel
    /// deletes routes by itself when their device goes down.
    ///
    /// # Errors
    /// See [`Netlink::set_address`].
    pub fn route(&mut self, change: Change, route: &Route) -> Result<(), NetlinkError> {
        let message = route_message(route, index_of(&route.tap)?);
        match change {
            Change::Add => {
                let add = RouteNetlinkMessage::NewRoute(message);
                self.change(add, NLM_F_CREATE | NLM_F_REPLACE)
            }
            Change::Delete => already(
                self.change(RouteNetlinkMessage::DelRoute(message), 0),
                libc::ESRCH,
            ),
        }
    }

    /// Adds or deletes a proxy entry.
    ///
    /// # Errors
    /// See [`Netlink::set_address`].
    pub fn proxy(&mut self, change: Change, proxy: &Proxy) -> Result<(), NetlinkError> {
        let message = proxy_message(proxy, index_of(&proxy.uplink)?);
        match change {
            Change::Add => {
                let add = RouteNetlinkMessage::NewNeighbour(message);
                self.change(add, NLM_F_CREATE | NLM_F_REPLACE)
            }
            Change::Delete => already(
                self.change(RouteNetlinkMessage::DelNeighbour(message), 0),
                libc::ENOENT,
            ),
        }
    }

    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        self.ask(message, NLM_F_ACK | flags).map(drop)
    }

    /// Sends one request and collects its answers.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let closed = |error: rtnetlink::Error| NetlinkError::Answer(error.to_string());
        let answers = self.handle.request(request).map_err(closed)?;
        self.runtime.block_on(async {
            let mut answers = pin!(answers);
            let mut found = Vec::new();
            while let Some(answer) = answers.next().await {
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(NetlinkError::Refused(error.to_io()));
                    }
                    _ => {}
                }
            }
            Ok(found)
        })
    }
}

/// Takes the error that says that it is already so for success.
fn already(result: Result<(), NetlinkError>, errno: i32) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.errno() == Some(errno) => Ok(()),
        other => other,
    }
}

fn index_of(dev: &IfName) -> Result<u32, NetlinkError> {
    if_nametoindex(dev.as_str()).map_err(|_| NetlinkError::NoDevice(dev.clone()))
}

fn route_message(route: &Route, index: u32) -> RouteMessage {
    let length = route.destination.prefix_len();
    match route.destination {
        IpNet::V4(net) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(net.addr(), length)
            .output_interface(index)
            .table_id(route.table)
            .protocol(RouteProtocol::Static)
            .scope(RouteScope::Link)
            .build(),
        IpNet::V6(net) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(net.addr(), length)
            .output_interface(index)
            .table_id(route.table)
            .protocol(RouteProtocol::Static)
            .build(),
    }
}

fn proxy_message(proxy: &Proxy, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Proxy;
    let destination = NeighbourAddress::from(IpAddr::from(proxy.address));
    message
        .attributes
        .push(NeighbourAttribute::Destination(destination));
    message
}
