//! What a host looks like at one moment, read once for many TAPs: each list whole, where one TAP's part costs as much.
//!
//! It is old as soon as it is read. What follows from it is therefore only ever that nothing is to be done; whatever else it
//! says is looked at again ([`Host::closely`]).

use std::collections::HashMap;

use super::{Host, HostError, failed};
use crate::facts::{Link, Route, Rule, Table};
use crate::netlink::{all_links, all_routes, all_rules};
use crate::request::IfName;

/// All that grows with the number of TAPs, but for what is looked up by itself as quickly.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) links: HashMap<IfName, Link>,
    pub(super) rules: HashMap<IfName, Vec<Rule>>,
    pub(super) routes: HashMap<u32, Vec<Route>>,
    pub(super) rules_installed: bool,
    /// By number and whether IPv6 counts; filled as tables are asked for.
    pub(super) tables: HashMap<(u32, bool), Table>,
}

impl Host {
    /// Reads devices, rules and routes once: facts are from then on what they were at this moment, until
    /// [`Host::forget`].
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn look_around(&mut self) -> Result<(), HostError> {
        let links = all_links().map_err(failed("the devices"))?;
        let names = links.iter().map(|(name, link)| (link.index, name.clone()));
        let names: HashMap<u32, IfName> = names.collect();
        self.seen = Some(Seen {
            links,
            routes: all_routes(&names).map_err(failed("the routes"))?,
            rules: all_rules().map_err(failed("the routing rules"))?,
            rules_installed: self.nft.is_installed().map_err(HostError::Nft)?,
            tables: HashMap::new(),
        });
        Ok(())
    }

    /// Whether facts are from one moment.
    #[must_use]
    pub fn has_looked_around(&self) -> bool {
        self.seen.is_some()
    }

    /// Facts are as the kernel tells them now again.
    pub fn forget(&mut self) {
        self.seen = None;
    }

    /// Does something with facts as they are now, whatever was seen before.
    pub fn closely<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> R {
        let seen = self.seen.take();
        let outcome = act(self);
        self.seen = seen;
        outcome
    }
}
