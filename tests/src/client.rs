//! A VM's operating system, without the VM: a namespace with a network card `eth0` at the end of a wire.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nfdhcpd_binding::MacAddr;
use serde_json::Value;

use crate::namespace::Namespace;
use crate::program::Program;
use crate::tap::Tap;
use crate::wait;
use crate::wire::Wire;
use crate::world::World;

/// The name of every client's network card.
pub const CARD: &str = "eth0";

/// A client: its namespace, its card, its wire.
#[derive(Debug)]
pub struct Client {
    /// Where it runs.
    pub namespace: Namespace,
    /// What it is connected to the host with.
    pub wire: Wire,
}

impl Client {
    /// A client with its card up, connected to `tap`.
    ///
    /// # Errors
    /// When the namespace or the card cannot be made.
    pub fn new(world: &World, name: &str, mac: MacAddr, tap: &Tap) -> Result<Self> {
        let client = Self::powered_off(world, name, mac)?;
        client.wire.plug(tap)?;
        client.namespace.ip("link set eth0 up")?;
        client.has_link_local_address()?;
        Ok(client)
    }

    /// A client with its card down and connected to nothing. It does no IPv6 by itself: see [`Client::slaac`].
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn powered_off(world: &World, name: &str, mac: MacAddr) -> Result<Self> {
        let namespace = world.namespace(name)?;
        let card = Tap::open(&namespace, CARD)?;
        namespace.ip(&format!("link set eth0 address {mac}"))?;
        // Duplicate address detection costs each test two seconds; the test that is about it turns it on.
        namespace.sysctl("net/ipv6/conf/eth0/accept_dad", "0")?;
        namespace.sysctl("net/ipv6/conf/eth0/accept_ra", "0")?;
        Ok(Self {
            namespace,
            wire: Wire::new(card)?,
        })
    }

    /// Lets the kernel take router advertisements, as an ordinary Linux does: prefix, default route and routes.
    ///
    /// # Errors
    /// When the kernel lacks a parameter.
    pub fn slaac(&self) -> Result<()> {
        self.namespace.sysctl("net/ipv6/conf/eth0/accept_ra", "2")?;
        self.namespace
            .sysctl("net/ipv6/conf/eth0/accept_ra_rt_info_max_plen", "128")
    }

    /// Waits until the card has `address`, and says with which prefix length.
    ///
    /// # Errors
    /// When it has not soon; the addresses it has are in the error.
    pub fn has_address(&self, address: IpAddr) -> Result<u8> {
        wait::for_fact(&format!("{CARD} has {address}"), wait::SOON, || {
            let all = self.namespace.addresses(CARD)?;
            Ok(all
                .into_iter()
                .find_map(|(had, length)| (had == address).then_some(length)))
        })
        .with_context(|| format!("it has {:?}", self.namespace.addresses(CARD)))
    }

    /// Waits until the card has the address programs speak IPv6 from before they have another.
    ///
    /// # Errors
    /// When it has not soon.
    pub fn has_link_local_address(&self) -> Result<()> {
        wait::until("a link-local address", wait::SOON, || {
            let all = self.namespace.addresses(CARD)?;
            Ok(all
                .iter()
                .any(|(had, _)| had.to_string().starts_with("fe80:")))
        })
    }

    /// Waits until the card has no address of `address`'s value.
    ///
    /// # Errors
    /// When it still has soon.
    pub fn lost_address(&self, address: IpAddr) -> Result<()> {
        wait::until(&format!("{CARD} has lost {address}"), wait::SOON, || {
            Ok(self
                .namespace
                .addresses(CARD)?
                .iter()
                .all(|(had, _)| *had != address))
        })
    }

    /// The routes of one family (`-4` or `-6`), as `ip -j route` tells them.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn routes(&self, family: &str) -> Result<Vec<Value>> {
        self.namespace
            .ip_json(&format!("{family} route show dev {CARD}"))
    }

    /// The gateway of the route to `destination` (`default` or a prefix): `None` without the route, an empty string
    /// for a route without a gateway.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn gateway(&self, family: &str, destination: &str) -> Result<Option<String>> {
        Ok(self.routes(family)?.into_iter().find_map(|route| {
            let to = route.get("dst").and_then(Value::as_str)?;
            let via = route
                .get("gateway")
                .and_then(Value::as_str)
                .unwrap_or_default();
            (to == destination).then(|| via.to_owned())
        }))
    }

    /// Waits until the card, or its IPv4 default route, has an MTU of `bytes`.
    ///
    /// # Errors
    /// When it has not soon.
    pub fn has_mtu(&self, bytes: u64) -> Result<()> {
        wait::until(&format!("an MTU of {bytes}"), wait::SOON, || {
            let links = self.namespace.ip_json("link show dev eth0")?;
            let link = links
                .first()
                .and_then(|link| link.get("mtu"))
                .and_then(Value::as_u64);
            let routes = self.routes("-4")?;
            let default = routes
                .iter()
                .find(|route| route.get("dst") == Some(&"default".into()));
            let route = default.and_then(|route| route.pointer("/metrics/0/mtu")?.as_u64());
            Ok(link == Some(bytes) || route == Some(bytes))
        })
    }

    /// What its `/etc/resolv.conf` says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn resolver(&self) -> Result<String> {
        self.namespace.run("cat", &["/etc/resolv.conf"])
    }

    /// Waits until its `/etc/resolv.conf` has all of `lines`.
    ///
    /// # Errors
    /// When it has not soon; what it has is in the error.
    pub fn resolves_by(&self, lines: &[&str]) -> Result<()> {
        wait::until(
            &format!("/etc/resolv.conf says {lines:?}"),
            wait::SOON,
            || {
                let text = self.resolver()?;
                Ok(lines
                    .iter()
                    .all(|line| text.lines().any(|had| had.trim() == *line)))
            },
        )
        .with_context(|| format!("it says:\n{}", self.resolver().unwrap_or_default()))
    }

    /// Waits until it has a route (family `-4` or `-6`) to `destination` by `gateway`; an empty one for on-link.
    ///
    /// # Errors
    /// When it has not soon; the routes it has are in the error.
    pub fn has_route(&self, family: &str, destination: &str, gateway: &str) -> Result<()> {
        wait::until(
            &format!("a route to {destination} by {gateway:?}"),
            wait::SOON,
            || Ok(self.gateway(family, destination)?.as_deref() == Some(gateway)),
        )
        .with_context(|| format!("the routes are {:?}", self.routes(family)))
    }

    /// Waits until its host name is `name`.
    ///
    /// # Errors
    /// When it is not soon.
    pub fn is_called(&self, name: &str) -> Result<()> {
        let called = || anyhow::Ok(self.namespace.run("hostname", &[])?.trim().to_owned());
        wait::until(&format!("the host name is {name}"), wait::SOON, || {
            Ok(called()? == name)
        })
        .with_context(|| format!("it is {:?}", called()))
    }

    /// Starts a program of the client.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Result<Program> {
        let mut command = self.namespace.command(program);
        command.args(arguments);
        let name = PathBuf::from(program);
        let name = name
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or(program);
        Program::start(&format!("{}-{name}", self.namespace.name()), command)
    }

    /// Whether an address answers pings.
    ///
    /// # Errors
    /// When it does not within `bound`.
    pub fn pings(&self, address: IpAddr, bound: Duration) -> Result<()> {
        let address = address.to_string();
        wait::for_fact(&format!("{address} answers a ping"), bound, || {
            Ok(self
                .namespace
                .run("busybox", &["ping", "-c1", "-W1", &address])
                .ok())
        })
        .map(|_| ())
    }
}
