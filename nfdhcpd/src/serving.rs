//! From binding files and devices to who is served: the changes the table asks for, carried out.
//!
//! Events of the directory are read before those of devices and told after them. A file that was written for a new
//! device is so never taken for one of the device that had the name before.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nfdhcpd_binding::{Binding, Mode6};

use crate::advertiser::Advertiser;
use crate::bindings::{Bindings, Change, Origin};
use crate::claims::{Claims, Recorded};
use crate::config::Config;
use crate::link::LinkEvent;
use crate::netlink::{Links, LinksError};
use crate::packets::Shared;
use crate::policer::Policy;
use crate::ports::{Addresses, Port, Ports};
use crate::queue::BATCH;
use crate::redirect;
use crate::responder::{Attachment, Served, Settings, ndp};
use crate::rules::{ServedTap, TapChange};
use crate::tap::{Outbox, Sent};
use crate::watch::{Directory, FileEvent, Found, WatchError};
use crate::wire::Frame;
use snf_nft::IfName;

/// Who is served what, and what it follows from.
#[derive(Debug)]
pub struct Serving {
    /// The table of files and devices.
    pub bindings: Bindings,
    /// Counts.
    pub counts: Counts,
    directory: Directory,
    links: Links,
    claims: Claims,
    settings: Settings,
    ports: Ports,
    advertiser: Advertiser,
    shared: Arc<Shared>,
    outbox: Outbox,
    redirects: BTreeSet<IfName>,
    random: RandomState,
    drawn: u64,
    published: bool,
    /// Everybody is served (anew): a line for each would be too many.
    in_bulk: bool,
}

/// What is counted of bindings and advertisements.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Files refused since the start.
    pub refused: u64,
    /// Times events of the directory were lost.
    pub directory_overruns: u64,
    /// Times events of devices were lost.
    pub link_overruns: u64,
    /// Unsolicited router advertisements sent.
    pub advertisements: u64,
    /// Those the kernel refused: the TAP is down or full.
    pub advertisement_errors: u64,
    /// How late the last round of advertisements was.
    pub advertisement_lag: Duration,
}

/// What cannot be survived.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// The directory of binding files.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Network devices.
    #[error(transparent)]
    Links(#[from] LinksError),
}

/// Advertisements in one system call's worth, so that events get their turn between.
const ADVERTISEMENTS: usize = BATCH;

impl Serving {
    /// Nobody is served yet.
    #[must_use]
    pub fn new(
        config: &Config,
        directory: Directory,
        links: Links,
        claims: Claims,
        shared: Arc<Shared>,
    ) -> Self {
        let interval = Duration::from_secs(u64::from(config.settings.ra.max_interval));
        Self {
            bindings: Bindings::default(),
            counts: Counts::default(),
            directory,
            links,
            claims,
            settings: config.settings.clone(),
            ports: Ports::new(Policy::from(config.rate)),
            advertiser: Advertiser::new(interval, shared.clock.started()),
            shared,
            outbox: Outbox::new(ADVERTISEMENTS),
            redirects: BTreeSet::new(),
            random: RandomState::new(),
            drawn: 0,
            published: true,
            in_bulk: false,
        }
    }

    /// Lists devices and files, and serves them. `booted`: when the host started, seconds since 1970.
    ///
    /// # Errors
    /// When devices or files cannot be listed.
    pub fn start(
        &mut self,
        recorded: &Recorded,
        booted: Option<i64>,
        now: Instant,
    ) -> Result<(), ServingError> {
        self.in_bulk = true;
        let mut changes = Vec::new();
        let links = self.links.list()?;
        self.bindings.links(&links, &mut changes);
        for name in self.directory.list()? {
            let Some(found) = self.read(name) else {
                continue;
            };
            let known = recorded
                .get(&name)
                .filter(|(stamp, _)| *stamp == found.read.stamp);
            let origin = match known {
                Some((_, tap)) => Origin::Recorded(*tap),
                None if booted.is_some_and(|booted| found.changed < booted) => Origin::EarlierBoot,
                None => Origin::Fresh,
            };
            self.bindings.found(name, found.read, origin, &mut changes);
            self.apply(&mut changes, now);
        }
        if let Err(error) = self.claims.rewrite(self.bindings.claims()) {
            tracing::warn!(
                error = chain(&error),
                "a restart may not know which binding is whose"
            );
        }
        self.in_bulk = false;
        self.publish();
        Ok(())
    }

    /// Takes in what happened to files and devices.
    ///
    /// # Errors
    /// When the sources of events are lost.
    pub fn catch_up(&mut self, now: Instant) -> Result<(), ServingError> {
        let mut files = Vec::new();
        self.directory.events(&mut files)?;
        let mut changes = Vec::new();
        self.take_links(&mut changes)?;
        self.apply(&mut changes, now);
        let mut rescan = false;
        for event in files {
            match event {
                FileEvent::Written(name) => self.written(name, &mut changes),
                FileEvent::Permitted(name) => {
                    let refused = self.bindings.is_refused(name);
                    if refused {
                        self.written(name, &mut changes);
                    }
                }
                FileEvent::Removed(name) => {
                    // What was written since by the same name is there, and its own event follows.
                    if self.directory.stamp(name).is_none() {
                        self.bindings.removed(name, &mut changes);
                    }
                }
                FileEvent::Overrun => {
                    self.counts.directory_overruns += 1;
                    rescan = true;
                }
                FileEvent::Replaced => rescan |= self.watch_again(),
            }
            self.apply(&mut changes, now);
        }
        if rescan {
            self.rescan(now);
        }
        self.publish();
        Ok(())
    }

    /// Looks whether the directory is still the one that is watched; to be called now and then.
    pub fn check_directory(&mut self, now: Instant) {
        if !self.directory.is_current() && self.watch_again() {
            self.rescan(now);
            self.publish();
        }
    }

    /// Takes new settings: everybody is served anew.
    pub fn configure(&mut self, config: &Config, now: Instant) {
        self.settings = config.settings.clone();
        self.ports.policy = Policy::from(config.rate);
        let interval = Duration::from_secs(u64::from(config.settings.ra.max_interval));
        self.advertiser.set_max_interval(interval);
        self.published = false;
        let names: Vec<IfName> = self.bindings.names().collect();
        self.in_bulk = true;
        // A few at a time, so that what they were served before makes room for what they are served next.
        for names in names.chunks(256) {
            let mut changes = names.iter().copied().map(Change::Read).collect();
            self.apply(&mut changes, now);
            self.publish();
        }
        self.in_bulk = false;
        self.publish();
    }

    /// What the redirect is to change since this was last asked.
    pub fn take_redirects(&mut self) -> Vec<TapChange> {
        let names = std::mem::take(&mut self.redirects);
        names.into_iter().map(|name| self.redirect(name)).collect()
    }

    /// What the redirect is to take in all.
    #[must_use]
    pub fn redirected(&self) -> Vec<ServedTap> {
        let changes = self.bindings.names().map(|name| self.redirect(name));
        changes
            .filter_map(|change| match change {
                TapChange::Serve(tap) => Some(tap),
                TapChange::Withdraw(_) => None,
            })
            .collect()
    }

    fn redirect(&self, name: IfName) -> TapChange {
        let port = self
            .bindings
            .in_force(name)
            .and_then(|tap| self.ports.find(tap));
        redirect::change(&self.bindings, name, port.map(AsRef::as_ref))
    }

    /// What a TAP is served.
    #[must_use]
    pub fn port(&self, tap: u32) -> Option<&Arc<Port>> {
        self.ports.find(tap)
    }

    /// How many TAPs are served.
    #[must_use]
    pub fn served(&self) -> usize {
        self.ports.len()
    }

    /// The directory of binding files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// True while the directory is watched.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.directory.is_current()
    }

    /// Descriptors that become readable when [`Serving::catch_up`] has something to do.
    #[must_use]
    pub fn sources(&self) -> [BorrowedFd<'_>; 2] {
        [self.directory.as_fd(), self.links.as_fd()]
    }

    /// When the next advertisement is due.
    #[must_use]
    pub fn next_advertisement(&self) -> Option<Instant> {
        self.advertiser.next_deadline()
    }

    /// A VM solicited an advertisement to all nodes.
    pub fn solicited(&mut self, tap: u32, now: Instant) {
        if let Some(port) = self.ports.find(tap) {
            port.record.advertise.store(false, Ordering::Relaxed);
        }
        self.advertiser.solicited(tap, now);
    }

    /// Sends one round of the advertisements that are due.
    pub fn advertise(&mut self, now: Instant) {
        if let Some(due) = self.advertiser.next_deadline() {
            self.counts.advertisement_lag = now.saturating_duration_since(due);
        }
        let mut taps = Vec::with_capacity(ADVERTISEMENTS);
        let Self {
            advertiser,
            random,
            drawn,
            ..
        } = self;
        advertiser.due(now, ADVERTISEMENTS, || draw(random, drawn), &mut taps);
        for tap in taps {
            let port = self.ports.find(tap).cloned();
            if let Some(port) = port {
                self.put(tap, |frame| ndp::advertise(&port.served, frame));
            }
        }
        self.send();
    }

    /// Puts the frame that `write` writes, if it does, among those that go out next.
    fn put(&mut self, tap: u32, write: impl FnOnce(&mut Frame) -> bool) {
        if self.outbox.vacant().is_none() {
            self.send();
        }
        if let Some(frame) = self.outbox.vacant() {
            frame.clear();
            if write(frame) {
                self.outbox.put(tap);
            }
        }
    }

    fn send(&mut self) {
        if !self.outbox.is_empty() {
            let Sent {
                sent,
                full,
                gone,
                failed,
            } = self.shared.tap.send(&mut self.outbox);
            self.counts.advertisements += sent as u64;
            self.counts.advertisement_errors += (full + gone + failed) as u64;
        }
    }

    fn take_links(&mut self, changes: &mut Vec<Change>) -> Result<(), ServingError> {
        let mut events = Vec::new();
        match self.links.events(&mut events) {
            Ok(()) => {}
            Err(LinksError::Overrun) => {
                self.counts.link_overruns += 1;
                let links = self.links.list()?;
                self.bindings.links(&links, changes);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        for event in events {
            match event {
                LinkEvent::Here(link) => self.bindings.link_here(link, changes),
                LinkEvent::Gone(index) => self.bindings.link_gone(index, changes),
            }
        }
        Ok(())
    }

    fn watch_again(&mut self) -> bool {
        let watched = self.directory.watch();
        if let Err(error) = &watched {
            tracing::warn!(
                error = chain(error),
                "bindings stay as they are until it is back"
            );
        }
        watched.is_ok()
    }

    fn rescan(&mut self, now: Instant) {
        let there = match self.directory.list() {
            Ok(there) => there,
            Err(error) => {
                tracing::warn!(error = chain(&error), "bindings stay as they are");
                return;
            }
        };
        let mut changes = Vec::new();
        let known: Vec<IfName> = self.bindings.names().collect();
        let there: BTreeSet<IfName> = there.into_iter().collect();
        for name in known.into_iter().filter(|name| !there.contains(name)) {
            self.bindings.removed(name, &mut changes);
        }
        for name in there {
            if self.directory.stamp(name) != self.bindings.stamp(name) {
                self.written(name, &mut changes);
                self.apply(&mut changes, now);
            }
        }
        self.apply(&mut changes, now);
    }

    fn written(&mut self, name: IfName, changes: &mut Vec<Change>) {
        match self.read(name) {
            Some(found) => self.bindings.written(name, found.read, changes),
            None => self.bindings.removed(name, changes),
        }
    }

    fn read(&self, name: IfName) -> Option<Found> {
        let found = self.directory.read(name)?;
        for line in &found.ignored {
            tracing::warn!(tap = %name, "binding {}/{name}: {line}", self.directory().display());
        }
        Some(found)
    }

    fn apply(&mut self, changes: &mut Vec<Change>, now: Instant) {
        while !changes.is_empty() {
            for change in std::mem::take(changes) {
                self.apply_one(change, changes, now);
            }
        }
        self.send();
    }

    fn apply_one(&mut self, change: Change, further: &mut Vec<Change>, now: Instant) {
        match change {
            Change::Serve {
                name,
                tap,
                attachment,
                binding,
            } => {
                self.serve(name, tap, attachment, &binding, now);
            }
            Change::Withdraw { name, tap, gone } => self.withdraw(name, tap, gone),
            Change::Read(name) => match self.directory.read(name) {
                Some(found) => self.bindings.read_again(name, found.read, further),
                None => self.bindings.removed(name, further),
            },
            Change::Claim { name, stamp, tap } => {
                let mut kept = self.claims.add(name, stamp, tap);
                if self.claims.is_long(self.ports.len()) {
                    kept = self.claims.rewrite(self.bindings.claims());
                }
                if let Err(error) = kept {
                    tracing::warn!(
                        error = chain(&error),
                        "a restart may not know whose this is"
                    );
                }
            }
            Change::Redirect(name) => {
                self.redirects.insert(name);
            }
            Change::Refuse {
                name,
                reason,
                last_good,
            } => {
                self.counts.refused += 1;
                let directory = self.directory.path().display();
                let instead = if last_good {
                    "the last good one stays in force"
                } else {
                    "none"
                };
                tracing::error!(tap = %name, "binding {directory}/{name}: {reason}; {instead}");
            }
        }
    }

    fn serve(
        &mut self,
        name: IfName,
        tap: u32,
        attachment: Attachment,
        binding: &Binding,
        now: Instant,
    ) {
        let before = self.ports.find(tap).cloned();
        let port = Port {
            tap,
            served: Served::new(binding, attachment, &self.settings),
            addresses: Addresses {
                ip: binding.ip,
                ip6: self.address6(binding),
            },
            record: before
                .as_ref()
                .map(|port| Arc::clone(&port.record))
                .unwrap_or_default(),
        };
        let mut frame = Frame::new();
        let advertises = ndp::advertise(&port.served, &mut frame);
        if let Some(before) = &before {
            self.put(tap, |frame| {
                ndp::withdraw(&before.served, Some(&port.served), frame)
            });
            if !ndp::is_same_router(&before.served, &port.served) {
                // The new router is advertised without the pause that two of one router's advertisements need.
                self.advertiser.remove(tap);
            }
        }
        if advertises {
            let random = draw(&self.random, &mut self.drawn);
            self.advertiser.insert(tap, now, random);
        } else {
            self.advertiser.remove(tap);
        }
        let ip = port.addresses.ip.map(tracing::field::display);
        let mac = port.served.mac;
        if self.in_bulk {
            tracing::debug!(tap = %name, ifindex = tap, %mac, ip, ?attachment, "served");
        } else {
            tracing::info!(tap = %name, ifindex = tap, %mac, ip, ?attachment, "served");
        }
        self.ports.serve(port);
        self.published = false;
    }

    /// The address DHCPv6 gives, or the one the VM is expected to form.
    fn address6(&self, binding: &Binding) -> Option<Ipv6Addr> {
        match binding.mode6.unwrap_or(self.settings.ra.mode6) {
            Mode6::None => None,
            Mode6::Stateful => binding.ip6,
            Mode6::Slaac | Mode6::Stateless => binding
                .eui64
                .or_else(|| binding.mac.eui64(binding.subnet6?)),
        }
    }

    fn withdraw(&mut self, name: IfName, tap: u32, gone: bool) {
        self.advertiser.remove(tap);
        if let Some(port) = self.ports.withdraw(tap) {
            if !gone {
                self.put(tap, |frame| ndp::withdraw(&port.served, None, frame));
            }
            tracing::info!(tap = %name, ifindex = tap, gone, "served no more");
            self.published = false;
        }
    }

    /// Gives the packet threads the table as it is now.
    fn publish(&mut self) {
        if !self.published {
            self.shared.ports.store(Arc::new(self.ports.clone()));
            self.published = true;
        }
    }
}

fn draw(random: &RandomState, drawn: &mut u64) -> u32 {
    *drawn += 1;
    (random.hash_one(*drawn) >> 32) as u32
}

/// An error with all its causes, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
