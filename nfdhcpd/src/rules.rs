//! The managed redirect: our own nftables tables, which bring the packets of served TAPs, and no others, into the queues.
//!
//! `rules::plan` says which rules, `rules::tap` which elements a TAP has; here the kernel takes them. Every change is one
//! transaction: a packet meets the rules of before or those of after. The rules outlive this process, unless they are to
//! let packets pass in its absence (`on_absent = "pass"`): then the tables belong to [`Redirect`]'s socket.

mod bridge;
pub mod plan;
mod show;
mod tap;

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use snf_nft::{
    Chain, DataType, Error, Family, IfName, Operation, Queue, Rule, Socket, Statement, Table,
    Target, Transaction,
};

use crate::wire::Protocol;
use plan::{CALLS_IP6, PROTOCOLS, Queueing, Settings, TablePlan, bridge_table, inet_table};
use tap::{Elements, changes, elements};

pub use bridge::BridgeError;
pub use show::show;
pub use tap::{BridgePort, Protocols, ServedTap};

/// Why the rules are not in force.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// No socket, or the kernel does not list what it has.
    #[error("cannot speak with nftables")]
    Nftables(#[source] Error),
    /// Neither queueing expression is there.
    #[error(
        "the kernel has neither nftables' queue expression (CONFIG_NFT_QUEUE) nor the NFQUEUE target \
         (CONFIG_NETFILTER_XT_TARGET_NFQUEUE, CONFIG_NFT_COMPAT)"
    )]
    NoQueue(#[source] Error),
    /// The tables belong to another process's socket.
    #[error(
        "the tables nfdhcpd belong to another process: is nfdhcpd running with on_absent = \"pass\"?"
    )]
    Owned(#[source] Error),
    /// The kernel refuses the rules.
    #[error("cannot install the rules")]
    Install(#[source] Error),
    /// The kernel refuses the elements of TAPs.
    #[error("cannot change whose packets are taken")]
    Change(#[source] Error),
    /// The tables cannot be removed.
    #[error("cannot remove the rules")]
    Remove(#[source] Error),
}

/// Something an operator has to see to: the TAPs of this bridge are served in part.
#[derive(Debug)]
pub struct Trouble {
    /// The bridge.
    pub bridge: IfName,
    /// What is wrong with it.
    pub error: BridgeError,
}

/// A change of whom the redirect takes packets from.
#[derive(Debug, Clone)]
pub enum TapChange {
    /// From this TAP, as said here and in place of what was said before.
    Serve(ServedTap),
    /// From the TAP of this name no more.
    Withdraw(IfName),
}

/// The rules in the kernel, and what we know they hold.
pub struct Redirect {
    socket: Socket,
    settings: Settings,
    queueing: Queueing,
    taps: HashSet<ByName>,
    /// How many served TAPs each bridge has as ports.
    bridges: BTreeMap<IfName, Ports>,
    /// The ruleset's generation after our last change or look.
    generation: u32,
}

/// A TAP under its name, which a map would hold a second time for each of ten thousand.
struct ByName(ServedTap);

impl Borrow<IfName> for ByName {
    fn borrow(&self) -> &IfName {
        &self.0.name
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

/// A bridge with served TAPs.
#[derive(Debug, Clone, Copy)]
struct Ports {
    ifindex: u32,
    count: usize,
}

impl Redirect {
    /// Puts the rules into the kernel, in place of any of an earlier run, and takes the packets of these TAPs. One
    /// transaction: no packet of a TAP that was served before and still is meets a gap. What the policers remember is
    /// forgotten; counters go on.
    ///
    /// # Errors
    /// When the kernel has no queueing expression or refuses; nothing has changed then.
    pub fn install(
        settings: Settings,
        taps: impl IntoIterator<Item = ServedTap>,
    ) -> Result<(Self, Vec<Trouble>), RulesError> {
        let mut socket = Socket::open().map_err(RulesError::Nftables)?;
        let queueing = probe(&mut socket)?;
        let mut redirect = Self {
            socket,
            settings,
            queueing,
            taps: taps.into_iter().map(ByName).collect(),
            bridges: BTreeMap::new(),
            generation: 0,
        };
        for ByName(tap) in &redirect.taps {
            count(&mut redirect.bridges, tap);
        }
        redirect.write()?;
        let bridges: Vec<_> = redirect
            .bridges
            .iter()
            .map(|(name, p)| (*name, p.ifindex))
            .collect();
        let troubles = redirect.open_bridges(&bridges)?;
        Ok((redirect, troubles))
    }

    /// How packets get into the queues on this kernel.
    #[must_use]
    pub const fn queueing(&self) -> Queueing {
        self.queueing
    }

    /// Takes the packets of other TAPs, or in another way: all of it in one transaction.
    ///
    /// # Errors
    /// When the kernel refuses; nothing has changed then. After somebody else has changed our tables,
    /// [`Redirect::check`] mends them.
    pub fn apply(
        &mut self,
        tap_changes: impl IntoIterator<Item = TapChange>,
    ) -> Result<Vec<Trouble>, RulesError> {
        let (mut old, mut new) = (Elements::new(), Elements::new());
        let mut bridges = self.bridges.clone();
        let mut next: BTreeMap<IfName, Option<ServedTap>> = BTreeMap::new();
        for change in tap_changes {
            match change {
                TapChange::Serve(tap) => next.insert(tap.name, Some(tap)),
                TapChange::Withdraw(name) => next.insert(name, None),
            };
        }
        // After new settings all TAPs are told again, and most are as they were.
        next.retain(|name, tap| self.tap(name) != tap.as_ref());
        for (name, tap) in &next {
            if let Some(before) = self.tap(name) {
                elements(before, self.settings.mark, &mut old);
                discount(&mut bridges, before);
            }
            if let Some(tap) = tap {
                elements(tap, self.settings.mark, &mut new);
                count(&mut bridges, tap);
            }
        }
        let appeared: Vec<_> = bridges
            .iter()
            .filter(|(name, _)| !self.bridges.contains_key(*name))
            .map(|(name, ports)| (*name, ports.ifindex))
            .collect();
        let operations = changes(&old, &new);
        self.socket
            .commit(operations.iter().collect())
            .map_err(RulesError::Change)?;
        if !operations.is_empty() {
            self.generation = self.generation.wrapping_add(1);
        }
        self.bridges = bridges;
        for (name, tap) in next {
            match tap {
                Some(tap) => drop(self.taps.replace(ByName(tap))),
                None => drop(self.taps.take(&name)),
            }
        }
        self.open_bridges(&appeared)
    }

    /// Looks whether our tables are as we left them and puts them right if not; to be called every second. Costs one
    /// small question to the kernel as long as nobody has changed any rule on this host. True when they were mended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn check(&mut self) -> Result<(bool, Vec<Trouble>), RulesError> {
        let generation = self.socket.generation().map_err(RulesError::Nftables)?;
        let mut mended = false;
        if generation != self.generation {
            if self.is_complete().map_err(RulesError::Nftables)? {
                self.generation = generation;
            } else {
                self.write()?;
                mended = true;
            }
        }
        let bridges: Vec<_> = self
            .bridges
            .iter()
            .map(|(name, p)| (*name, p.ifindex))
            .collect();
        Ok((mended, self.open_bridges(&bridges)?))
    }

    /// Other settings, for the same TAPs.
    ///
    /// # Errors
    /// When the kernel refuses; the old ones stay in force then.
    pub fn change_settings(&mut self, settings: Settings) -> Result<(), RulesError> {
        let before = std::mem::replace(&mut self.settings, settings);
        self.write().inspect_err(|_| self.settings = before)
    }

    /// Packets over the rate, by protocol, since the tables were first made.
    ///
    /// # Errors
    /// When the kernel does not list the counters.
    pub fn policed(&mut self) -> Result<[(Protocol, u64); 4], RulesError> {
        let mut sums = PROTOCOLS.map(|protocol| (protocol, 0));
        for table in [bridge_table(), inet_table()] {
            for counter in self.socket.counters(&table).map_err(RulesError::Nftables)? {
                for (protocol, sum) in &mut sums {
                    if counter.name == plan::policed(*protocol) {
                        *sum += counter.packets;
                    }
                }
            }
        }
        Ok(sums)
    }

    /// Writes all rules and all elements.
    fn write(&mut self) -> Result<(), RulesError> {
        let plans = plan::tables(&self.settings, self.queueing);
        let in_place = self.transaction(&plans, Over::Old)?;
        let result = match self.socket.commit(in_place) {
            // Tables of another shape, of another version or another setting of `on_absent`: they make place.
            Err(error) if error.errno() != Some(nix::errno::Errno::EPERM) => {
                tracing::debug!(error = %error, "tables of another shape are replaced");
                let replacing = self.transaction(&plans, Over::Nothing)?;
                self.socket.commit(replacing)
            }
            other => other,
        };
        result.map_err(|error| match error.errno() {
            Some(nix::errno::Errno::EPERM) => RulesError::Owned(error),
            _ => RulesError::Install(error),
        })?;
        self.generation = self.socket.generation().map_err(RulesError::Nftables)?;
        Ok(())
    }

    fn transaction(
        &mut self,
        plans: &[TablePlan; 2],
        over: Over,
    ) -> Result<Transaction, RulesError> {
        let called = self.called_ip6().map_err(RulesError::Nftables)?;
        let mut transaction = Transaction::new();
        for plan in plans {
            match over {
                Over::Old => self
                    .over_old(plan, &mut transaction)
                    .map_err(RulesError::Nftables)?,
                Over::Nothing => {
                    if self
                        .socket
                        .has_table(&plan.table)
                        .map_err(RulesError::Nftables)?
                    {
                        transaction.add(&Operation::DeleteTable(plan.table.clone()));
                    }
                    transaction.extend(&plan.operations());
                }
            }
        }
        // A few TAPs at a time, so that ten thousand of them need no memory beyond the message itself.
        let taps: Vec<&ServedTap> = self.taps.iter().map(|ByName(tap)| tap).collect();
        for taps in taps.chunks(256) {
            let mut new = Elements::new();
            for tap in taps {
                elements(tap, self.settings.mark, &mut new);
            }
            transaction.extend(&changes(&Elements::new(), &new));
        }
        if !called.is_empty() {
            transaction.add(&bridge::called_ip6(&called));
        }
        Ok(transaction)
    }

    /// Gives an existing table our rules: its chains stay, and with them the hooks, so that every packet meets rules.
    /// A set whose type changes in a later version must get a new name: old kernels do not notice.
    fn over_old(&mut self, plan: &TablePlan, transaction: &mut Transaction) -> Result<(), Error> {
        let table = || plan.table.clone();
        let chains = self.socket.chains(&plan.table)?;
        let sets = self.socket.sets(&plan.table)?;
        for chain in &chains {
            transaction.add(&Operation::FlushChain(table(), chain.chain.clone()));
        }
        for set in &sets {
            transaction.add(&Operation::FlushSet(table(), set.clone()));
        }
        transaction.extend(&plan.operations());
        for chain in chains
            .iter()
            .filter(|old| plan.chains.iter().all(|(c, _)| c.name != old.chain))
        {
            transaction.add(&Operation::DeleteChain(table(), chain.chain.clone()));
        }
        for set in sets
            .iter()
            .filter(|old| plan.sets.iter().all(|set| set.name != **old))
        {
            transaction.add(&Operation::DeleteSet(table(), set.clone()));
        }
        Ok(())
    }

    /// Whether chains, rules, sets and elements are as many as we made.
    fn is_complete(&mut self) -> Result<bool, Error> {
        let mut wanted: HashMap<(Table, &str), usize> = HashMap::new();
        for ByName(tap) in &self.taps {
            let mut of_tap = Elements::new();
            elements(tap, self.settings.mark, &mut of_tap);
            for (table, set, _) in of_tap.keys() {
                *wanted.entry((table.table(), set)).or_default() += 1;
            }
        }
        for plan in plan::tables(&self.settings, self.queueing) {
            let chains = self.socket.chains(&plan.table)?;
            let standing = plan.chains.iter().all(|(chain, rules)| {
                chains
                    .iter()
                    .any(|c| c.chain == chain.name && c.rules == rules.len())
            });
            if !standing {
                return Ok(false);
            }
            for set in plan
                .sets
                .iter()
                .filter(|set| !set.dynamic && set.name != CALLS_IP6)
            {
                let there = self.socket.element_count(&plan.table, &set.name)?;
                let wanted = wanted
                    .get(&(plan.table.clone(), set.name.as_str()))
                    .copied();
                if there != wanted.unwrap_or(0) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Sees to it that packets of these bridges' ports reach the inet table.
    fn open_bridges(&mut self, bridges: &[(IfName, u32)]) -> Result<Vec<Trouble>, RulesError> {
        let (mut troubles, mut called) = (Vec::new(), Vec::new());
        for (bridge, ifindex) in bridges {
            match bridge::open(*bridge, *ifindex) {
                Ok(true) => called.push(*bridge),
                Ok(false) => {}
                Err(error) => troubles.push(Trouble {
                    bridge: *bridge,
                    error,
                }),
            }
        }
        if !called.is_empty() {
            let operation = bridge::called_ip6(&called);
            self.socket
                .commit([operation].iter().collect())
                .map_err(RulesError::Change)?;
            self.generation = self.generation.wrapping_add(1);
        }
        Ok(troubles)
    }

    fn tap(&self, name: &IfName) -> Option<&ServedTap> {
        self.taps.get(name).map(|ByName(tap)| tap)
    }

    fn called_ip6(&mut self) -> Result<Vec<IfName>, Error> {
        called_ip6(&mut self.socket)
    }
}

/// What a full write stands on.
#[derive(Clone, Copy)]
enum Over {
    /// The tables that are there.
    Old,
    /// Nothing: what is there is deleted.
    Nothing,
}

fn count(bridges: &mut BTreeMap<IfName, Ports>, tap: &ServedTap) {
    if let Some(port) = tap.port {
        let ports = bridges.entry(port.bridge).or_insert(Ports {
            ifindex: 0,
            count: 0,
        });
        ports.ifindex = port.bridge_ifindex;
        ports.count += 1;
    }
}

fn discount(bridges: &mut BTreeMap<IfName, Ports>, tap: &ServedTap) {
    if let Some(port) = tap.port
        && let Some(ports) = bridges.get_mut(&port.bridge)
    {
        ports.count = ports.count.saturating_sub(1);
        if ports.count == 0 {
            bridges.remove(&port.bridge);
        }
    }
}

/// The bridges whose `nf_call_ip6tables` we turned on.
fn called_ip6(socket: &mut Socket) -> Result<Vec<IfName>, Error> {
    let found = socket.elements(&bridge_table(), CALLS_IP6)?;
    let names = found
        .iter()
        .filter_map(|element| match element.parts(&[DataType::IfName])?[..] {
            [snf_nft::Value::IfName(name)] => Some(name),
            _ => None,
        });
    Ok(names.collect())
}

/// Removes the rules, whoever made them, and what we changed of bridges.
///
/// # Errors
/// [`RulesError::Owned`] while a daemon lives whose tables they are.
pub fn remove() -> Result<(), RulesError> {
    let mut socket = Socket::open().map_err(RulesError::Nftables)?;
    let called = called_ip6(&mut socket).map_err(RulesError::Nftables)?;
    let tables = [bridge_table(), inet_table()].map(Operation::DeleteTable);
    socket
        .destroy(&tables)
        .map_err(|error| match error.errno() {
            Some(nix::errno::Errno::EPERM) => RulesError::Owned(error),
            _ => RulesError::Remove(error),
        })?;
    for name in called {
        bridge::close(name);
    }
    Ok(())
}

/// Tries how packets can be queued, in a table that never comes to be.
fn probe(socket: &mut Socket) -> Result<Queueing, RulesError> {
    let queue = Queue {
        number: 0,
        bypass: true,
    };
    if try_statement(socket, Statement::Queue(queue)).is_ok() {
        return Ok(Queueing::Native);
    }
    match try_statement(socket, Statement::Target(Target::Nfqueue(queue))) {
        Ok(()) => Ok(Queueing::Target),
        Err(error) if error.errno() == Some(nix::errno::Errno::ENOENT) => {
            Err(RulesError::NoQueue(error))
        }
        Err(error) => Err(RulesError::Nftables(error)),
    }
}

fn try_statement(socket: &mut Socket, statement: Statement) -> Result<(), Error> {
    let table = Table::new(Family::Inet, "nfdhcpd_probe");
    let chain = "probe";
    let operations = [
        Operation::AddTable {
            table: table.clone(),
            owned: false,
        },
        Operation::AddChain(table.clone(), Chain::regular(chain)),
        Operation::AddRule {
            table: table.clone(),
            chain: chain.to_owned(),
            rule: Rule::new([statement]),
        },
        Operation::DeleteTable(table),
    ];
    socket.commit(operations.iter().collect())
}

#[cfg(test)]
mod tests;
