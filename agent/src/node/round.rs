//! One look at TAPs: each is judged, planned by snf-ifup's own library, and put right. The node's lock for the TAP is held
//! meanwhile, so that a call of snf-ifup and the agent never work on one TAP at a time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ifup::apply::{Perform, StepError, apply, apply_all, chain};
use ifup::file::put_as_of;
use ifup::host::{Host, HostError, records};
use ifup::lock::{Lock, LockError, Purpose};
use ifup::plan::{self, Plan, PlanError};
use ifup::request::{IfName, Request, RequestError};
use ifup::step::Step;

use super::config::Config;
use super::configured::Pending;
use super::observe::{self, Ganeti};
use super::reconcile::{Known, Verdict, Why, is_of_ifup, judge};
use super::store::{Store, StoreError};

/// What became of one TAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The TAP.
    pub tap: IfName,
    /// Whose it is, as far as that is known.
    pub instance: Option<String>,
    /// Which of the instance's NICs it is, as Ganeti numbers those of the running instance.
    pub index: Option<u32>,
    /// The NIC's hardware address.
    pub mac: Option<String>,
    /// How it stands.
    pub standing: Standing,
    /// The steps that were done, or would be.
    pub steps: Vec<Step>,
    /// What the operator should know of it.
    pub warnings: Vec<String>,
    /// What is configured and takes effect at the instance's next start.
    pub pending: Vec<Pending>,
}

/// How a TAP stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// As it should.
    Sound,
    /// It was not as it should be: the steps put it right.
    Drifted,
    /// It is gone: the steps take away what is left.
    Gone,
    /// It is left as it is.
    Left(Why),
    /// A call of snf-ifup is at work on it.
    Busy,
    /// It could not be planned or put right: the whole chain of reasons.
    Failed(String),
}

impl Standing {
    /// The label in metrics and JSON.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Drifted => "drifted",
            Self::Gone => "gone",
            Self::Left(why) => why.label(),
            Self::Busy => "busy",
            Self::Failed(_) => "failed",
        }
    }
}

/// Why a TAP could not be judged or planned.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// snf-ifup's lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What stands cannot be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What Ganeti says is not served.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What was learnt cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether things are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are put right.
    Mend,
    /// They are only told.
    Tell,
}

/// The TAPs to look at: those with a record, and those with a binding, which outlives records.
///
/// # Errors
/// The records cannot be listed.
pub fn all(config: &Config) -> Result<BTreeSet<IfName>, HostError> {
    let mut taps: BTreeSet<IfName> = records::taps(&config.ifup)?.into_iter().collect();
    taps.extend(observe::bound_taps(&config.ifup));
    Ok(taps)
}

/// Looks at one TAP.
#[must_use]
pub fn look(
    host: &mut Host,
    tap: &IfName,
    ganeti: &Ganeti,
    store: &Store,
    config: &Config,
    mode: Mode,
) -> Finding {
    let mut finding = Finding::of(tap);
    if let Err(error) = finding.look(host, ganeti, store, config, mode) {
        finding.standing = Standing::Failed(chain(&error));
    }
    finding
}

impl Finding {
    fn of(tap: &IfName) -> Self {
        Self {
            tap: tap.clone(),
            instance: None,
            index: None,
            mac: None,
            standing: Standing::Sound,
            steps: Vec::new(),
            warnings: Vec::new(),
            pending: Vec::new(),
        }
    }

    fn look(
        &mut self,
        host: &mut Host,
        ganeti: &Ganeti,
        store: &Store,
        config: &Config,
        mode: Mode,
    ) -> Result<(), LookError> {
        let _lock = match mode {
            Mode::Tell => None,
            Mode::Mend => {
                let lock = Lock::try_take(&config.ifup.run_dir, &self.tap, Purpose::Change)?;
                if lock.is_none() {
                    self.standing = Standing::Busy;
                    return Ok(());
                }
                lock
            }
        };
        // From what was seen of all TAPs at once follows at most that nothing is to be done: the rest is looked at again.
        if host.has_looked_around() {
            let is_sound = self.judge(host, ganeti, store, config, Mode::Tell);
            if is_sound.is_ok_and(|learns| !learns) && self.standing == Standing::Sound {
                return Ok(());
            }
            *self = Self::of(&self.tap);
        }
        host.closely(|host| self.judge(host, ganeti, store, config, mode))
            .map(drop)
    }

    /// Judges the TAP, and with [`Mode::Mend`] puts it right; true when something is learnt of its instance.
    fn judge(
        &mut self,
        host: &mut Host,
        ganeti: &Ganeti,
        store: &Store,
        config: &Config,
        mode: Mode,
    ) -> Result<bool, LookError> {
        let mut learns = false;
        let recorded = observe::recorded(&self.tap, &config.ifup);
        let link = host.link(&self.tap)?;
        let text = observe::binding(&self.tap, &config.ifup);
        let is_nobodys = recorded.is_none() && link.is_none();
        if is_nobodys && text.as_deref().is_some_and(is_of_ifup) {
            return self.sweep(host, config, mode).map(|()| learns);
        }
        let binding = text.and_then(|text| text.parse().ok());
        let known = Known {
            tap: &self.tap,
            recorded: recorded.as_ref(),
            link: link.as_ref(),
            binding: binding.as_ref(),
        };
        // What cannot be read is as good as never said.
        let verdict = judge(&known, ganeti, |instance| {
            store.read(instance).ok().flatten()
        });
        match verdict {
            Verdict::Left(why) => self.standing = Standing::Left(why),
            Verdict::Gone => self.sweep(host, config, mode)?,
            Verdict::Lives {
                instance,
                variables,
                learnt,
                pending,
                ..
            } => {
                learns = learnt.is_some();
                if let Some(learnt) = learnt.filter(|_| mode == Mode::Mend) {
                    store.learn(&instance, learnt)?;
                }
                self.instance = Some(instance);
                self.pending = pending;
                let index = variables.get("INTERFACE_INDEX");
                self.index = index.and_then(|index| index.parse().ok());
                self.mac = variables.get("MAC").cloned();
                let request = Request::from_variables(&variables, &config.ifup.tags)?;
                // Only what has a record lives.
                let came_up = recorded.map_or(0, |recorded| recorded.at);
                self.restore(host, &request, came_up, config, mode)?;
            }
        }
        Ok(learns)
    }

    fn sweep(&mut self, host: &mut Host, config: &Config, mode: Mode) -> Result<(), LookError> {
        let facts = host.facts_of_tap(&self.tap, &config.ifup)?;
        let plan = plan::down(&self.tap, &facts, &config.ifup);
        self.standing = Standing::Gone;
        if mode == Mode::Mend
            && let Err(errors) = apply_all(host, &plan.steps)
        {
            let all: Vec<String> = errors.iter().map(|error| chain(error)).collect();
            self.standing = Standing::Failed(all.join("; "));
        }
        self.steps = plan.steps;
        Ok(())
    }

    fn restore(
        &mut self,
        host: &mut Host,
        request: &Request,
        came_up: u64,
        config: &Config,
        mode: Mode,
    ) -> Result<(), LookError> {
        let facts = host.facts(request, &config.ifup)?;
        let Plan { steps, warnings } = plan::up(request, &facts, &config.ifup)?;
        self.warnings = warnings;
        if steps.is_empty() {
            return Ok(());
        }
        self.standing = Standing::Drifted;
        let mut repair = Repair {
            record: plan::record_path(&self.tap, &config.ifup),
            came_up: UNIX_EPOCH + Duration::from_millis(came_up),
            host,
        };
        if mode == Mode::Mend
            && let Err(error) = apply(&mut repair, &steps)
        {
            self.standing = Standing::Failed(chain(&error));
        }
        self.steps = steps;
        Ok(())
    }
}

/// The kernel; but a record that is written anew keeps its time, which says when the TAP came up: what hooks said since is
/// younger, whatever was put right.
struct Repair<'a> {
    host: &'a mut Host,
    record: PathBuf,
    came_up: SystemTime,
}

impl Perform for Repair<'_> {
    fn perform(&mut self, step: &Step) -> Result<(), StepError> {
        if let Step::File { path, after, .. } = step
            && let Some(text) = after
            && *path == self.record
        {
            return Ok(put_as_of(path, text, self.came_up)?);
        }
        self.host.perform(step)
    }
}

/// The kind of a step, as the metrics count it.
#[must_use]
pub fn kind(step: &Step, config: &Config) -> &'static str {
    match step {
        Step::File { path, .. } if path.starts_with(&config.ifup.binding_dir) => "binding",
        Step::File { .. } => "record",
        Step::InstallRules => "rules",
        Step::Elements { .. } => "elements",
        Step::Address { .. } | Step::Mtu { .. } | Step::Admin { .. } => "link",
        Step::Master { .. } => "bridge",
        Step::Sysctl { .. } => "sysctl",
        Step::PurgeRules { .. } | Step::Rule(..) => "rule",
        Step::Route(..) => "route",
        Step::Proxy(..) => "proxy",
        Step::Announce(_) => "announcement",
    }
}
