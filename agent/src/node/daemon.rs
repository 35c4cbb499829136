//! snf-agent's owner of everything: the loop of looks on a thread of its own, the sockets, the service manager.
//!
//! The looks' thread alone touches the node: at the start, by the clock, when devices change and when hooks speak.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ifup::apply::chain;
use ifup::host::{Host, HostError};
use ifup::request::IfName;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::config::Config;
use super::counters::{Counters, more};
use super::links::{LinkEvent, Links};
use super::membership::Membership;
use super::observe::Ganeti;
use super::outbox::Outbox;
use super::publish::{Publisher, Sources, new_epoch};
use super::round::{Finding, Mode, Standing, all, kind, look};
use super::socket::{self, Intake};
use super::spool::Spool;
use super::store::{Store, StoreError};
use super::taps::Taps;
use super::{metrics, observe};
use crate::hook::SOCKET;

/// Why something is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nudge {
    /// The kernel says something of a device.
    Device(IfName),
    /// A hook said something of an instance.
    Instance(String),
    /// Events were lost.
    Everything,
    /// The agent stops.
    Stop,
}

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A part of it cannot be made.
    #[error("{what}")]
    Start {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel, or snf-ifup's records.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The thread of looks is gone.
    #[error("the thread that looks at TAPs ended")]
    Ended,
}

/// Events of one cause come in a burst: they are gathered for so long. snf-ifup is done with a NIC by then.
const GATHER: Duration = Duration::from_millis(300);
/// How long what was said of an instance is kept, at least, while it does not run here, milliseconds.
const REMEMBERED: u64 = 600_000;
/// How often the thread of looks shows that it lives.
const TICK: Duration = Duration::from_secs(1);
/// How long it may be silent before the service manager is left without a sign.
const SILENCE: u64 = 30_000;
/// So many TAPs are looked at one by one.
const FEW: usize = 3;
/// Nudges that wait; more are not needed, everything is looked at then.
const NUDGES: usize = 4096;

fn start(what: &str) -> impl FnOnce(io::Error) -> DaemonError {
    let what = what.to_owned();
    move |source| DaemonError::Start { what, source }
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the daemon's clock")]
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// See [`DaemonError`].
pub fn run(config: Config) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 << 10)
        .build()
        .map_err(start("start a runtime"))?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(config))
}

async fn serve(config: Config) -> Result<(), DaemonError> {
    let store = Store::new(&config.state);
    store.create()?;
    let counters = Arc::new(Counters::default());
    let (nudges, nudged) = mpsc::sync_channel(NUDGES);
    let taps = Arc::new(Taps::default());
    let (publication, outbox) = publication(&config, &counters, &taps)?;
    let listener = socket::listen(Path::new(SOCKET)).map_err(start(SOCKET))?;
    let intake = Arc::new(Intake {
        store: store.clone(),
        counters: Arc::clone(&counters),
        nudges: nudges.clone(),
        outbox,
    });
    tokio::spawn(socket::serve(listener, intake));
    if let Some(address) = config.metrics {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(start(&format!("metrics = {address}")))?;
        let old_after = u64::try_from(config.interval.as_millis() * 3).unwrap_or(u64::MAX);
        let (counters, taps) = (Arc::clone(&counters), Arc::clone(&taps));
        tokio::spawn(metrics::serve(listener, counters, taps, old_after, now));
    }
    let links = Links::open().map_err(start("listen for devices"))?;
    let (for_links, of_links) = (nudges.clone(), Arc::clone(&counters));
    thread::Builder::new()
        .name("links".into())
        .spawn(move || hear(links, &for_links, &of_links))
        .map_err(start("start a thread"))?;

    let (ready, first) = oneshot::channel();
    let (done, mut ended) = oneshot::channel();
    let sign = Arc::new(AtomicU64::new(now()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut looks = Looks {
        store,
        counters,
        taps,
        sign: Arc::clone(&sign),
        stop: Arc::clone(&stop),
        host: None,
        said: BTreeSet::new(),
        whose: BTreeMap::new(),
        config,
    };
    thread::Builder::new()
        .name("looks".into())
        .spawn(move || {
            looks.run(&nudged, ready);
            let _ = done.send(());
        })
        .map_err(start("start a thread"))?;

    let mut terminate = signal(SignalKind::terminate()).map_err(start("wait for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(start("wait for SIGINT"))?;
    first.await.map_err(|_| DaemonError::Ended)?;
    tell(&[NotifyState::Ready]);
    tracing::info!("ready");
    let mut beat = tokio::time::interval(
        sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |period| period / 3),
    );
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = &mut ended => return Err(DaemonError::Ended),
            _ = beat.tick() => {
                if now().saturating_sub(sign.load(Ordering::Relaxed)) < SILENCE {
                    tell(&[NotifyState::Watchdog]);
                }
            }
        }
    }
    tell(&[NotifyState::Stopping]);
    // The TAP that is being worked on is finished; the others find the stop.
    stop.store(true, Ordering::Relaxed);
    let _ = nudges.try_send(Nudge::Stop);
    let _ = tokio::time::timeout(Duration::from_secs(10), ended).await;
    if let Some((stop, task)) = publication {
        let _ = stop.send(true);
        let _ = tokio::time::timeout(Duration::from_secs(5), task).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// A running publisher: how to end it, and its end.
type Publication = (watch::Sender<bool>, tokio::task::JoinHandle<()>);

/// Begins to publish, where a way out is configured.
fn publication(
    config: &Config,
    counters: &Arc<Counters>,
    taps: &Arc<Taps>,
) -> Result<(Option<Publication>, Option<Arc<Outbox>>), DaemonError> {
    let Some(wanted) = &config.publication else {
        return Ok((None, None));
    };
    let life = || new_epoch().map_err(start("make a UUID"));
    let epochs = [life()?, life()?];
    let spool = Spool::open(&config.state, wanted.spool, epochs);
    let outbox = Arc::new(Outbox {
        spool: spool.map_err(start("open the spool"))?,
        membership: Membership::new(
            wanted.ssconf.clone(),
            wanted.node.clone(),
            config.ganeti_run.join("socket/ganeti-query"),
        ),
        prefixes: wanted.prefixes.clone(),
        counters: Arc::clone(counters),
    });
    let mut figures = counters.figures();
    figures.publication.configured = true;
    figures.publication.waiting(outbox.spool.level());
    drop(figures);
    let sources = Sources {
        taps: Arc::clone(taps),
        nfdhcpd: config.nfdhcpd.clone(),
        directories: vec![wanted.ssconf.clone(), config.state.clone()],
        interval: wanted.report,
    };
    let publisher = Publisher::new(Arc::clone(&outbox), sources).map_err(start("make a UUID"))?;
    let (stop, stopped) = watch::channel(false);
    let task = tokio::task::spawn_local(publisher.publish(wanted.way.clone(), stopped));
    Ok((Some((stop, task)), Some(outbox)))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "tell the service manager");
    }
}

/// Passes device events on.
fn hear(mut links: Links, nudges: &mpsc::SyncSender<Nudge>, counters: &Counters) {
    loop {
        let heard = links.wait(|event| {
            let nudge = match event {
                LinkEvent::Of(name) => Nudge::Device(name),
                LinkEvent::Lost => {
                    counters.figures().events_lost += 1;
                    Nudge::Everything
                }
            };
            // Full: events are read as soon as there is room, and the kernel tells if it lost some.
            let _ = nudges.send(nudge);
        });
        if let Err(error) = heard {
            tracing::error!(%error, "device events are not heard any more: TAPs are looked at by the clock only");
            return;
        }
    }
}

/// The thread of looks.
struct Looks {
    config: Config,
    store: Store,
    counters: Arc<Counters>,
    taps: Arc<Taps>,
    sign: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    host: Option<Host>,
    /// What was said of a TAP that is still so: said once, not every time.
    said: BTreeSet<String>,
    /// Whose each TAP was when it was last looked at: Ganeti's files do not always tell.
    whose: BTreeMap<IfName, String>,
}

/// What the next look is for.
#[derive(Debug, Default)]
struct Due {
    taps: BTreeSet<IfName>,
    instances: BTreeSet<String>,
    everything: bool,
}

impl Due {
    fn is_empty(&self) -> bool {
        self.taps.is_empty() && self.instances.is_empty() && !self.everything
    }
}

impl Looks {
    #[expect(clippy::disallowed_methods, reason = "the loop's clock")]
    fn run(&mut self, nudges: &mpsc::Receiver<Nudge>, ready: oneshot::Sender<()>) {
        let mut ready = Some(ready);
        let mut next = Instant::now();
        let mut due = Due::default();
        let mut gathered = None;
        loop {
            let at = Instant::now();
            if at >= next || due.everything {
                self.everything();
                due = Due::default();
                gathered = None;
                next = Instant::now() + self.config.interval;
                if let Some(ready) = ready.take() {
                    let _ = ready.send(());
                }
            } else if gathered.is_some_and(|since| at >= since + GATHER) {
                self.some(std::mem::take(&mut due));
                gathered = None;
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            self.sign.store(now(), Ordering::Relaxed);
            let until = gathered.map_or(next, |since| next.min(since + GATHER));
            let wait = until.saturating_duration_since(Instant::now()).min(TICK);
            match nudges.recv_timeout(wait) {
                Ok(Nudge::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Ok(Nudge::Everything) => due.everything = true,
                Ok(Nudge::Instance(instance)) => {
                    due.instances.insert(instance);
                }
                // A device of no record is not ours.
                Ok(Nudge::Device(tap)) => {
                    if ifup::plan::record_path(&tap, &self.config.ifup).exists() {
                        due.taps.insert(tap);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if gathered.is_none() && !due.is_empty() {
                gathered = Some(Instant::now());
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "how long it takes is told")]
    fn everything(&mut self) {
        let began = Instant::now();
        let outcome = self.look(None);
        let mut figures = self.counters.figures();
        figures.rounds += 1;
        figures.looked_at = now();
        figures.took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match outcome {
            Ok((findings, problems)) => {
                self.taps.all(&findings);
                figures.taps.clear();
                for finding in &findings {
                    more(&mut figures.taps, finding.standing.label());
                }
                figures.problems = problems;
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "TAPs could not be looked at");
                figures.rounds_failed += 1;
                figures.problems = vec![chain(&error)];
            }
        }
    }

    fn some(&mut self, due: Due) {
        match self.look(Some(due)) {
            Ok((findings, _)) => self.taps.some(&findings),
            Err(error) => {
                tracing::error!(error = chain(&error), "TAPs could not be looked at");
                self.counters.figures().rounds_failed += 1;
            }
        }
    }

    /// Looks at all TAPs, or at those that are due; gives what was found, and what Ganeti's files do not tell.
    fn look(&mut self, due: Option<Due>) -> Result<(Vec<Finding>, Vec<String>), DaemonError> {
        let mut host = match self.host.take() {
            Some(host) => host,
            None => Host::open()?,
        };
        let ganeti = observe::ganeti(&self.config);
        let taps = match due {
            None => {
                self.forget(&ganeti);
                all(&self.config)?
            }
            Some(due) => {
                let named = ganeti.taps.iter().map(|(tap, (whose, _))| (tap, whose));
                let named = named.chain(&self.whose);
                let named = named.filter(|(_, whose)| due.instances.contains(*whose));
                let mut taps: BTreeSet<IfName> = named.map(|(tap, _)| tap.clone()).collect();
                taps.extend(due.taps);
                self.counters.figures().looks += taps.len() as u64;
                taps
            }
        };
        // The lists are read once, unless it is only about a few.
        if taps.len() > FEW {
            host.look_around()?;
        }
        let mut findings = Vec::with_capacity(taps.len());
        let mut is_sound = true;
        for tap in &taps {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.sign.store(now(), Ordering::Relaxed);
            let mut finding = look(
                &mut host,
                tap,
                &ganeti,
                &self.store,
                &self.config,
                Mode::Mend,
            );
            is_sound &= !matches!(finding.standing, Standing::Failed(_));
            let was = self.whose.remove(tap);
            match &finding.instance {
                Some(instance) => {
                    self.whose.insert(tap.clone(), instance.clone());
                }
                None => finding.instance = was,
            }
            self.say(&finding);
            findings.push(finding);
        }
        host.forget();
        // A connection that failed may be why: the next look has a new one.
        if is_sound {
            self.host = Some(host);
        }
        Ok((findings, ganeti.problems))
    }

    /// Forgets what was said of instances that do not run here: they were removed, stopped, or went to another node, whose
    /// hooks do not tell this one any more. Whoever starts one tells its tags again.
    fn forget(&self, ganeti: &Ganeti) {
        if !ganeti.problems.is_empty() {
            return;
        }
        let is_here = |instance: &str| ganeti.instances.contains_key(instance);
        let before = now().saturating_sub(REMEMBERED);
        let known = self.store.instances().unwrap_or_default();
        for instance in known.iter().filter(|instance| !is_here(instance)) {
            if let Err(error) = self.store.forget(instance, before) {
                tracing::warn!(error = chain(&error), "what was said of an instance stays");
            }
        }
    }

    fn say(&mut self, finding: &Finding) {
        let tap = finding.tap.as_str();
        let instance = finding.instance.as_deref().unwrap_or_default();
        let mut figures = self.counters.figures();
        match &finding.standing {
            Standing::Drifted | Standing::Gone => {
                let act = if finding.standing == Standing::Gone {
                    figures.swept += 1;
                    "swept"
                } else {
                    figures.restored += 1;
                    "restored"
                };
                for step in &finding.steps {
                    more(&mut figures.steps, kind(step, &self.config));
                    tracing::info!(tap, instance, step = step.to_string(), "{act}");
                }
            }
            Standing::Failed(reason) => {
                figures.failures += 1;
                if self.said.insert(format!("{tap}\n{reason}")) {
                    tracing::warn!(tap, instance, reason, "not put right");
                }
            }
            Standing::Sound | Standing::Left(_) | Standing::Busy => {
                let prefix = format!("{tap}\n");
                self.said.retain(|said| !said.starts_with(&prefix));
            }
        }
        drop(figures);
        for warning in &finding.warnings {
            if self.said.insert(format!("{tap} {warning}")) {
                tracing::warn!(tap, instance, "{warning}");
            }
        }
        if let Standing::Left(why) = finding.standing {
            tracing::debug!(tap, "left alone: {why}");
        }
    }
}
