//! Reads [`HostFacts`] for one NIC: its devices and table, then what stands of what it may want. Changes nothing.

pub mod records;
mod rt_tables;
mod seen;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::config::Config;
use crate::element::Element;
use crate::facts::{HostFacts, Link, Route, Rule, Standing, Table};
use crate::file::{self, FileError};
use crate::netlink::{Netlink, NetlinkError, routes_of, rules_of};
use crate::nft::{Nft, NftError};
use crate::plan::{PlanError, wiring};
use crate::record::{Proxy, Record};
use crate::request::{IfName, NicMode, Request, TableRef};
use crate::sysctl::{self, SysctlError};
use seen::Seen;

/// What could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Devices, routes, rules, proxies.
    #[error("read {what}")]
    Netlink {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: NetlinkError,
    },
    /// Tables and elements.
    #[error("read the isolation rules")]
    Nft(#[source] NftError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value under `/proc/sys`.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// `LINK` is no table this host knows.
    #[error("LINK={name}: no such routing table in {}: add a line \"<number> {name}\"", files.join(", "))]
    NoTable {
        /// The name.
        name: String,
        /// Where it was looked for.
        files: Vec<String>,
    },
    /// Devices and table do not go with the request.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// The connections a call needs, open from its first look to its last change.
pub struct Host {
    /// Devices, routes, rules, neighbours.
    pub netlink: Netlink,
    /// Isolation.
    pub nft: Nft,
    /// What was seen of all TAPs at once.
    seen: Option<Seen>,
}

impl Host {
    /// Opens the connections in the calling thread's network namespace.
    ///
    /// # Errors
    /// No socket.
    pub fn open() -> Result<Self, HostError> {
        let netlink = Netlink::open().map_err(failed("the devices"))?;
        Ok(Self {
            netlink,
            nft: Nft::open().map_err(HostError::Nft)?,
            seen: None,
        })
    }

    /// What `up` of this NIC needs to know.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn facts(&mut self, request: &Request, config: &Config) -> Result<HostFacts, HostError> {
        let mut facts = HostFacts {
            tap: self.link(&request.tap)?,
            ..HostFacts::default()
        };
        if facts.tap.is_none() {
            return Err(PlanError::NoTap(request.tap.clone()).into());
        }
        match &request.mode {
            NicMode::Bridged { bridge } => facts.bridge = self.link(bridge)?,
            NicMode::Routed { table } => {
                let id = table_id(table)?;
                let whole = request.network.is_none();
                let v6 = request
                    .network
                    .as_ref()
                    .is_none_or(|network| network.subnet6.is_some());
                facts.table = Some(self.table(id, request.ip, v6, whole)?);
            }
        }
        let wanted = wiring(request, &facts, config)?;
        facts.standing = self.standing(
            &request.tap,
            facts.tap.as_ref(),
            &wanted.elements,
            &wanted.proxies,
            config,
        )?;
        let of_record = facts.standing.record.as_ref().map(|record| record.ifindex);
        if of_record == facts.tap.as_ref().map(|link| link.index) {
            facts.standing.rules = Some(self.rules(&request.tap)?);
        }
        let settings = [
            &wanted.sysctls,
            &wanted.shared_sysctls,
            &wanted.expected_sysctls,
        ];
        for setting in settings.into_iter().flatten() {
            if let Some(value) = sysctl::read(&setting.key)? {
                facts.standing.sysctls.insert(setting.key.clone(), value);
            }
        }
        Ok(facts)
    }

    /// What `down` of this TAP needs to know.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn facts_of_tap(&mut self, tap: &IfName, config: &Config) -> Result<HostFacts, HostError> {
        let link = self.link(tap)?;
        let mut standing = self.standing(tap, link.as_ref(), &[], &[], config)?;
        standing.rules = Some(self.rules(tap)?);
        Ok(HostFacts {
            tap: link,
            standing,
            ..HostFacts::default()
        })
    }

    /// The device of this name; `None` without it.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn link(&mut self, name: &IfName) -> Result<Option<Link>, HostError> {
        match &self.seen {
            Some(seen) => Ok(seen.links.get(name).cloned()),
            None => self.netlink.link(name).map_err(failed("the devices")),
        }
    }

    fn rules(&self, tap: &IfName) -> Result<Vec<Rule>, HostError> {
        match &self.seen {
            Some(seen) => Ok(seen.rules.get(tap).cloned().unwrap_or_default()),
            None => rules_of(tap).map_err(failed("the routing rules")),
        }
    }

    fn routes(&self, tap: &IfName, index: u32) -> Result<Vec<Route>, HostError> {
        match &self.seen {
            Some(seen) => Ok(seen.routes.get(&index).cloned().unwrap_or_default()),
            None => routes_of(tap, index).map_err(failed("the TAP's routes")),
        }
    }

    fn rules_installed(&mut self) -> Result<bool, HostError> {
        match &self.seen {
            Some(seen) => Ok(seen.rules_installed),
            None => self.nft.is_installed().map_err(HostError::Nft),
        }
    }

    fn table(
        &mut self,
        id: u32,
        ip: Option<Ipv4Addr>,
        v6: bool,
        whole: bool,
    ) -> Result<Table, HostError> {
        // What is read of a whole table depends on the address.
        let seen = self.seen.as_ref().filter(|_| !whole);
        if let Some(table) = seen.and_then(|seen| seen.tables.get(&(id, v6))) {
            return Ok(table.clone());
        }
        let table = self.netlink.table(id, ip, v6, whole);
        let table = table.map_err(failed("the routing table"))?;
        if let Some(seen) = self.seen.as_mut().filter(|_| !whole) {
            seen.tables.insert((id, v6), table.clone());
        }
        Ok(table)
    }

    /// What stands, but for routing rules and values under `/proc/sys`.
    fn standing(
        &mut self,
        tap: &IfName,
        link: Option<&Link>,
        elements: &[Element],
        proxies: &[Proxy],
        config: &Config,
    ) -> Result<Standing, HostError> {
        let mut standing = Standing {
            record: records::read(tap, config)?,
            binding: file::read(&config.binding_dir.join(tap.as_str()))?,
            rules_installed: self.rules_installed()?,
            ..Standing::default()
        };
        // The kernel takes a device's routes away when it goes down.
        if let Some(link) = link.filter(|link| link.up) {
            standing.routes = self.routes(tap, link.index)?;
        }
        let none = Record {
            ifindex: 0,
            elements: Vec::new(),
            proxies: Vec::new(),
        };
        let record = standing.record.as_ref().unwrap_or(&none);
        let stale = record.proxies.iter().any(|proxy| !proxies.contains(proxy));
        let of_others = if stale {
            records::proxies_of_others(tap, config)?
        } else {
            Vec::new()
        };
        let is_ours = |proxy: &Proxy| proxies.contains(proxy) || !of_others.contains(proxy);
        for proxy in union(proxies, &record.proxies).filter(|proxy| is_ours(proxy)) {
            if self
                .netlink
                .has_proxy(proxy)
                .map_err(failed("the proxy entries"))?
            {
                standing.proxies.push(proxy.clone());
            }
        }
        for element in union(elements, &record.elements) {
            if standing.rules_installed && self.nft.has(element).map_err(HostError::Nft)? {
                standing.elements.push(element.clone());
            }
        }
        Ok(standing)
    }
}

/// What is in either, each once.
fn union<'a, T: PartialEq>(left: &'a [T], right: &'a [T]) -> impl Iterator<Item = &'a T> {
    left.iter()
        .chain(right.iter().filter(|item| !left.contains(item)))
}

fn table_id(table: &TableRef) -> Result<u32, HostError> {
    let name = match table {
        TableRef::Number(id) => return Ok(*id),
        TableRef::Name(name) => name,
    };
    let files: Vec<PathBuf> = rt_tables::files();
    for path in &files {
        let text = file::read(path)?.unwrap_or_default();
        if let Some(id) = rt_tables::find(&text, name) {
            return Ok(id);
        }
    }
    match rt_tables::find(rt_tables::BUILT_IN, name) {
        Some(id) => Ok(id),
        None => {
            let files = files
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Err(HostError::NoTable {
                name: name.clone(),
                files,
            })
        }
    }
}

fn failed(what: &'static str) -> impl Fn(NetlinkError) -> HostError {
    move |source| HostError::Netlink { what, source }
}
