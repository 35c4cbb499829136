//! Steps → kernel, in order. Up: at the first failure what was done is undone, last first. Down: goes on, and tells all
//! failures.

use crate::announce::{AnnounceError, Announcer};
use crate::file::{self, FileError};
use crate::host::Host;
use crate::netlink::NetlinkError;
use crate::nft::NftError;
use crate::step::Step;
use crate::sysctl::{self, SysctlError};

/// Whatever can do a step: the kernel, and in tests a host that fails on purpose or only exists on paper.
pub trait Perform {
    /// Does the step.
    ///
    /// # Errors
    /// It was not done; nothing has changed.
    fn perform(&mut self, step: &Step) -> Result<(), StepError>;
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Devices, routes, rules, neighbours.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Isolation.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value under `/proc/sys`.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// An announcement.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// Made to fail, in a test.
    #[error("failure on purpose")]
    OnPurpose,
}

/// A step that was not done, and what of the others could not be undone.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", first_line(.step), not_undone(.left))]
pub struct ApplyError {
    /// The step that failed.
    pub step: Step,
    /// Why.
    #[source]
    pub source: StepError,
    /// Undo steps that failed too, and why.
    pub left: Vec<(Step, String)>,
}

impl Perform for Host {
    fn perform(&mut self, step: &Step) -> Result<(), StepError> {
        match step {
            Step::File { path, after, .. } => file::put(path, after.as_deref())?,
            Step::InstallRules => self.nft.install()?,
            Step::Elements { delete, add } => self.nft.change(delete, add)?,
            Step::Address { dev, after, .. } => self.netlink.set_address(dev, *after)?,
            Step::Mtu { dev, after, .. } => self.netlink.set_mtu(dev, *after)?,
            Step::Master { dev, after, .. } => self.netlink.set_master(dev, after.as_ref())?,
            Step::Admin { dev, up } => self.netlink.set_up(dev, *up)?,
            Step::Sysctl { key, after, .. } => sysctl::write(key, after)?,
            Step::PurgeRules { tap } => self.netlink.purge_rules(tap)?,
            Step::Rule(change, rule) => self.netlink.rule(*change, rule)?,
            Step::Route(change, route) => self.netlink.route(*change, route)?,
            Step::Proxy(change, proxy) => self.netlink.proxy(*change, proxy)?,
            Step::Announce(announcement) => Announcer::open()?.announce(announcement)?,
        }
        Ok(())
    }
}

/// Does all steps, or none: at the first failure the ones done before are undone, last first.
///
/// # Errors
/// The first failure, with what could not be undone.
pub fn apply(host: &mut impl Perform, steps: &[Step]) -> Result<(), Box<ApplyError>> {
    for (number, step) in steps.iter().enumerate() {
        if let Err(source) = host.perform(step) {
            let done = steps.get(..number).unwrap_or_default();
            return Err(Box::new(ApplyError {
                step: step.clone(),
                source,
                left: undo(host, done),
            }));
        }
    }
    Ok(())
}

/// Undoes steps that were done, last first, as far as it goes. Gives what was left.
pub fn undo(host: &mut impl Perform, done: &[Step]) -> Vec<(Step, String)> {
    done.iter()
        .rev()
        .filter_map(Step::undo)
        .filter_map(|undo| {
            let error = host.perform(&undo).err()?;
            Some((undo, chain(&error)))
        })
        .collect()
}

/// Does every step that can be done.
///
/// # Errors
/// All failures.
pub fn apply_all(host: &mut impl Perform, steps: &[Step]) -> Result<(), Vec<ApplyError>> {
    let mut errors = Vec::new();
    for step in steps {
        if let Err(source) = host.perform(step) {
            errors.push(ApplyError {
                step: step.clone(),
                source,
                left: Vec::new(),
            });
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// An error with all its causes, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text.replace('\n', "; ")
}

fn first_line(step: &Step) -> String {
    step.to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn not_undone(left: &[(Step, String)]) -> String {
    let each = left
        .iter()
        .map(|(step, why)| format!(" [not undone: {}: {why}]", first_line(step)));
    each.collect()
}
