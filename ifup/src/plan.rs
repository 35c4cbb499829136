//! Request and facts → the steps that make the host what the request asks for. Third step of a NIC's trip.
//!
//! [`wiring`] says what has to stand for a NIC, whatever stands now; [`up`] and [`down`] are the differences. So a second
//! `up` is empty, and a TAP's predecessor leaves no trace.

mod binding;
mod bridged;
mod isolation;
mod routed;

use std::path::PathBuf;

use nfdhcpd_binding::{Binding, BindingError, MacAddr};

use crate::config::Config;
use crate::element::Element;
use crate::facts::{HostFacts, Link, Route, Rule};
use crate::record::{Proxy, Record};
use crate::request::{IfName, MigrationPhase, NicMode, Request};
use crate::step::{Announcement, Change, Step};

/// The steps, in order, and what the operator should know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is done.
    pub steps: Vec<Step>,
    /// What is not as it should be, though the NIC comes up.
    pub warnings: Vec<String>,
}

/// What has to stand for one NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// Set elements.
    pub elements: Vec<Element>,
    /// The TAP's hardware address.
    pub address: MacAddr,
    /// The TAP's MTU, where it follows from the bridge.
    pub mtu: Option<u32>,
    /// The TAP's bridge.
    pub master: Option<IfName>,
    /// Values under `/proc/sys` for the TAP.
    pub sysctls: Vec<Setting>,
    /// Values under `/proc/sys` for the uplink, which every routed NIC of the network needs: never taken back.
    pub shared_sysctls: Vec<Setting>,
    /// Values under `/proc/sys` that are the operator's to set; a warning where they differ.
    pub expected_sysctls: Vec<Setting>,
    /// Routing rules.
    pub rules: Vec<Rule>,
    /// Host routes.
    pub routes: Vec<Route>,
    /// Proxy entries.
    pub proxies: Vec<Proxy>,
    /// What nfdhcpd is to answer.
    pub binding: Option<Binding>,
    /// What the uplink's neighbours are told.
    pub announcements: Vec<Announcement>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// One value under `/proc/sys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Path below `/proc/sys`.
    pub key: String,
    /// Its value.
    pub value: &'static str,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// `INTERFACE` names no device.
    #[error("INTERFACE={0}: there is no such device on this host")]
    NoTap(IfName),
    /// `LINK` names no device.
    #[error("LINK={0}: there is no such bridge on this host")]
    NoBridge(IfName),
    /// `LINK` names a device that is no bridge.
    #[error("LINK={0}: is not a bridge")]
    NotABridge(IfName),
    /// A routed NIC's facts hold no table.
    #[error("LINK: no routing table was read")]
    NoTable,
    /// nfdhcpd would refuse what it is to answer.
    #[error("nfdhcpd would refuse the binding")]
    Binding {
        /// Which key, and why.
        source: BindingError,
    },
}

impl Setting {
    fn new(layer: &str, dev: &str, name: &str, value: &'static str) -> Self {
        Self {
            key: format!("net/{layer}/{dev}/{name}"),
            value,
        }
    }
}

/// What has to stand for the NIC, from the request and from the host's links and table; reads nothing of `standing`.
///
/// # Errors
/// A device that the request names is missing or of the wrong kind.
pub fn wiring(request: &Request, facts: &HostFacts, config: &Config) -> Result<Wiring, PlanError> {
    match &request.mode {
        NicMode::Bridged { bridge } => match &facts.bridge {
            None => Err(PlanError::NoBridge(bridge.clone())),
            Some(link) if !link.is_bridge => Err(PlanError::NotABridge(bridge.clone())),
            Some(link) => Ok(bridged::wiring(request, bridge, link)),
        },
        NicMode::Routed { .. } => {
            let table = facts.table.as_ref().ok_or(PlanError::NoTable)?;
            Ok(routed::wiring(request, table, config))
        }
    }
}

/// The steps that bring the NIC up; none when everything stands.
///
/// Isolation comes first and the TAP comes up last: until then no frame passes. A binding is there before the TAP is up.
///
/// # Errors
/// The TAP is missing, nfdhcpd would refuse the binding, or see [`wiring`].
pub fn up(request: &Request, facts: &HostFacts, config: &Config) -> Result<Plan, PlanError> {
    let tap = &request.tap;
    let link = facts
        .tap
        .as_ref()
        .ok_or_else(|| PlanError::NoTap(tap.clone()))?;
    let wiring = wiring(request, facts, config)?;
    let binding = wiring.binding.as_ref().map(Binding::to_file).transpose();
    let binding = binding.map_err(|source| PlanError::Binding { source })?;
    let mut plan = Plan {
        steps: Vec::new(),
        warnings: wiring.warnings.clone(),
    };
    let standing = &facts.standing;
    // What an open TAP may do changes: it is closed until all of it stands. Its routes go with it.
    let closes = link.up
        && (link.master != wiring.master
            || without(&standing.elements, &wiring.elements)
                .next()
                .is_some());
    let kept: Vec<Route> = standing
        .routes
        .iter()
        .filter(|_| !closes)
        .cloned()
        .collect();
    plan.stale_paths(tap, &wiring, &kept, facts);
    if closes {
        plan.admin(tap, false);
    }
    plan.isolation(tap, link, &wiring, facts, config);
    plan.link(tap, link, &wiring);
    plan.settings(&wiring, facts);
    let path = config.binding_dir.join(tap.as_str());
    // One write of a binding serves one TAP: that of a predecessor with the same words does not serve this one.
    let written_for = standing.record.as_ref().map(|record| record.ifindex);
    let anew = binding.is_some() && written_for != Some(link.index);
    plan.file_if(anew, path, standing.binding.clone(), binding);
    plan.master(tap, &link.master, &wiring.master);
    let missing_rules = without(&wiring.rules, standing.rules.as_deref().unwrap_or_default());
    plan.extend(missing_rules.map(|rule| Step::Rule(Change::Add, rule)));
    if !link.up || closes {
        plan.admin(tap, true);
    }
    let missing_routes = without(&wiring.routes, &kept);
    plan.extend(missing_routes.map(|route| Step::Route(Change::Add, route)));
    let missing_proxies = without(&wiring.proxies, &standing.proxies);
    plan.extend(missing_proxies.map(|proxy| Step::Proxy(Change::Add, proxy)));
    let quiet = request.migration == Some(MigrationPhase::Pre) || !config.announce;
    if !plan.steps.is_empty() && !quiet {
        plan.extend(wiring.announcements.into_iter().map(Step::Announce));
    }
    Ok(plan)
}

/// The steps that leave nothing of the NIC; none when nothing stands.
///
/// The TAP goes down before its isolation goes.
#[must_use]
pub fn down(tap: &IfName, facts: &HostFacts, config: &Config) -> Plan {
    let standing = &facts.standing;
    let mut plan = Plan::default();
    let proxies = standing.proxies.iter().cloned();
    plan.extend(proxies.map(|proxy| Step::Proxy(Change::Delete, proxy)));
    let routes = standing.routes.iter().cloned();
    plan.extend(routes.map(|route| Step::Route(Change::Delete, route)));
    if let Some(link) = &facts.tap {
        if link.up {
            plan.admin(tap, false);
        }
        plan.master(tap, &link.master, &None);
    }
    let rules = standing.rules.iter().flatten().cloned();
    plan.extend(rules.map(|rule| Step::Rule(Change::Delete, rule)));
    plan.file(
        config.binding_dir.join(tap.as_str()),
        standing.binding.clone(),
        None,
    );
    if !standing.elements.is_empty() {
        let delete = standing.elements.clone();
        plan.steps.push(Step::Elements {
            delete,
            add: Vec::new(),
        });
    }
    let record = standing.record.as_ref().map(Record::to_string);
    plan.file(record_path(tap, config), record, None);
    plan
}

impl Plan {
    /// The steps that change the host: without them there is no NIC.
    #[must_use]
    pub fn changes(&self) -> &[Step] {
        let telling = self
            .steps
            .iter()
            .position(|step| matches!(step, Step::Announce(_)));
        self.steps
            .get(..telling.unwrap_or(self.steps.len()))
            .unwrap_or_default()
    }

    /// What the neighbours are told, behind all changes; empty when nothing changes.
    pub fn announcements(&self) -> impl Iterator<Item = &Announcement> {
        self.steps.iter().filter_map(|step| {
            if let Step::Announce(announcement) = step {
                Some(announcement)
            } else {
                None
            }
        })
    }

    /// Rules, proxies and routes that the NIC does not want, and routes that are not kept.
    fn stale_paths(&mut self, tap: &IfName, wiring: &Wiring, kept: &[Route], facts: &HostFacts) {
        let standing = &facts.standing;
        let proxies = without(&standing.proxies, &wiring.proxies);
        self.extend(proxies.map(|proxy| Step::Proxy(Change::Delete, proxy)));
        let is_stale = |route: &&Route| !kept.contains(route) || !wiring.routes.contains(route);
        let routes = standing.routes.iter().filter(is_stale).cloned();
        self.extend(routes.map(|route| Step::Route(Change::Delete, route)));
        match &standing.rules {
            // What comes in by a bridge's port meets no rule of the port's; only ours are worth taking away then.
            None if wiring.master.is_some() && standing.record.is_none() => {}
            None => self.steps.push(Step::PurgeRules { tap: tap.clone() }),
            Some(rules) => {
                let rules = without(rules, &wiring.rules);
                self.extend(rules.map(|rule| Step::Rule(Change::Delete, rule)));
            }
        }
    }

    /// The record, then the elements it names; elements of the predecessor go in the same transaction, and are named by
    /// the record until then.
    fn isolation(
        &mut self,
        tap: &IfName,
        link: &Link,
        wiring: &Wiring,
        facts: &HostFacts,
        config: &Config,
    ) {
        let standing = &facts.standing;
        let path = record_path(tap, config);
        let before = standing.record.as_ref().map(Record::to_string);
        let mut record = Record {
            ifindex: link.index,
            elements: wiring.elements.clone(),
            proxies: wiring.proxies.clone(),
        };
        let after = record.to_string();
        let stale: Vec<Element> = without(&standing.elements, &wiring.elements).collect();
        let add: Vec<Element> = without(&wiring.elements, &standing.elements).collect();
        record.elements.extend(stale.iter().cloned());
        let between = record.to_string();
        self.file(path.clone(), before, Some(between.clone()));
        if !wiring.elements.is_empty() && !standing.rules_installed {
            self.steps.push(Step::InstallRules);
        }
        if !stale.is_empty() || !add.is_empty() {
            self.steps.push(Step::Elements { delete: stale, add });
        }
        self.file(path, Some(between), Some(after));
    }

    fn link(&mut self, tap: &IfName, link: &Link, wiring: &Wiring) {
        if link.address != wiring.address {
            self.steps.push(Step::Address {
                dev: tap.clone(),
                before: link.address,
                after: wiring.address,
            });
        }
        if let Some(mtu) = wiring.mtu.filter(|mtu| *mtu != link.mtu) {
            self.steps.push(Step::Mtu {
                dev: tap.clone(),
                before: link.mtu,
                after: mtu,
            });
        }
    }

    fn settings(&mut self, wiring: &Wiring, facts: &HostFacts) {
        let own = wiring.sysctls.iter().map(|setting| (setting, false));
        let shared = wiring.shared_sysctls.iter().map(|setting| (setting, true));
        for (Setting { key, value }, is_shared) in own.chain(shared) {
            // No file: the kernel has no IPv6, or not on this device.
            let Some(before) = facts.standing.sysctls.get(key) else {
                continue;
            };
            if before != value {
                self.steps.push(Step::Sysctl {
                    key: key.clone(),
                    before: (!is_shared).then(|| before.clone()),
                    after: (*value).to_owned(),
                });
            }
        }
        for Setting { key, value } in &wiring.expected_sysctls {
            if facts
                .standing
                .sysctls
                .get(key)
                .is_some_and(|found| found != value)
            {
                self.warnings.push(format!(
                    "{key} is not {value}: this host does not forward for the NIC until the operator sets it"
                ));
            }
        }
    }

    fn master(&mut self, tap: &IfName, before: &Option<IfName>, after: &Option<IfName>) {
        if before != after {
            let (before, after) = (before.clone(), after.clone());
            self.steps.push(Step::Master {
                dev: tap.clone(),
                before,
                after,
            });
        }
    }

    fn admin(&mut self, tap: &IfName, up: bool) {
        self.steps.push(Step::Admin {
            dev: tap.clone(),
            up,
        });
    }

    fn extend(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.steps.extend(steps);
    }

    fn file(&mut self, path: PathBuf, before: Option<String>, after: Option<String>) {
        self.file_if(false, path, before, after);
    }

    /// Writes a file whose text changes, and with `anew` one whose text does not.
    fn file_if(
        &mut self,
        anew: bool,
        path: PathBuf,
        before: Option<String>,
        after: Option<String>,
    ) {
        if anew || before != after {
            self.steps.push(Step::File {
                path,
                before,
                after,
            });
        }
    }
}

/// Where the record of a TAP is.
#[must_use]
pub fn record_path(tap: &IfName, config: &Config) -> PathBuf {
    config.run_dir.join("taps").join(tap.as_str())
}

/// What is in `left` and not in `right`, in `left`'s order.
fn without<'a, T: Clone + PartialEq>(
    left: &'a [T],
    right: &'a [T],
) -> impl Iterator<Item = T> + 'a {
    left.iter().filter(|item| !right.contains(item)).cloned()
}
