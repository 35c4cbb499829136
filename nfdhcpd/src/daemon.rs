//! The daemon: what is opened as root, and the loop that serves everything but packets.
//!
//! ```text
//!   queues ──► packet threads ──► packet socket            binding directory ─┐
//!                 ▲      │ notices                         network devices ───┤
//!                 │      ▼                                                    ▼
//!                 └── snapshot ◄────────────── Serving ◄──────────────────── loop ◄── signals, control socket,
//!                                                                                     metrics, time
//! ```

mod opened;
mod questions;
mod redirecting;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::allocator;
use crate::claims::ClaimsError;
use crate::config::Config;
use crate::counters::Counters;
use crate::ctl::Question;
use crate::metrics;
use crate::netlink::LinksError;
use crate::packets::{Notice, Shared};
use crate::privileges::PrivilegesError;
use crate::queue::{QueueError, Waker};
use crate::redirect;
use crate::rules::{Redirect, RulesError};
use crate::serving::{Serving, ServingError, chain};
use crate::tap::TapError;
use crate::watch::WatchError;

pub use opened::Opened;

/// What the daemon ends by.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The packet socket.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The binding directory.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Network devices.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// The record of claims.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// Privileges.
    #[error(transparent)]
    Privileges(#[from] PrivilegesError),
    /// The redirect.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Files and devices.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// A packet thread panicked.
    #[error("the packet thread of queue {queue} panicked")]
    ThreadPanicked {
        /// Its queue's number.
        queue: u16,
    },
    /// A system call that never fails.
    #[error("{act}")]
    System {
        /// What was tried.
        act: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A path or address that cannot be used.
    #[error("{act} {object}")]
    Object {
        /// What was tried.
        act: &'static str,
        /// With what.
        object: String,
        /// Why.
        source: io::Error,
    },
}

/// Periodic advertisements that fall due within this time of a round wait for the next and leave together: what waking
/// up costs is shared by all. Solicited ones do not wait.
const ADVERTISING_PACE: Duration = Duration::from_secs(1);

/// Batches of advertisements sent before anything else gets its turn.
const ADVERTISING_TURNS: usize = 8;

/// How often the directory and the threads are looked at.
const TICK: Duration = Duration::from_secs(1);

impl Opened {
    /// Serves until told to stop.
    ///
    /// # Errors
    /// When a packet thread ends, or a source of events is lost.
    pub fn run(self) -> Result<(), DaemonError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| DaemonError::System {
                act: "start the runtime",
                source,
            })?;
        runtime.block_on(Daemon::start(self)?.serve())
    }
}

/// The loop's own things.
struct Daemon {
    config: Config,
    path: Option<PathBuf>,
    serving: Serving,
    shared: Arc<Shared>,
    counters: Vec<Arc<Counters>>,
    beats: Vec<u64>,
    notices: mpsc::Receiver<Notice>,
    control: Option<std::os::unix::net::UnixListener>,
    metrics: Option<std::net::TcpListener>,
    queue_figures: Option<File>,
    redirect: Option<Redirect>,
    /// What is wrong with the redirect, by bridge, or by nothing for all of it.
    troubles: BTreeMap<String, String>,
    wakers: Vec<Waker>,
    /// By the numbers of their queues.
    threads: BTreeMap<u16, std::thread::JoinHandle<Result<(), QueueError>>>,
    ended: mpsc::UnboundedReceiver<u16>,
}

/// Tells the loop that a thread ended, however it did.
struct End {
    queue: u16,
    to: mpsc::UnboundedSender<u16>,
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.to.send(self.queue);
    }
}

impl Daemon {
    fn start(opened: Opened) -> Result<Self, DaemonError> {
        let Opened {
            config,
            path,
            threads: packet_threads,
            counters,
            wakers,
            shared,
            directory,
            links,
            claims,
            ..
        } = opened;
        report_panics();
        let mut serving = Serving::new(&config, directory, links, claims, Arc::clone(&shared));
        serving.start(&opened.recorded, booted(), Instant::now().into_std())?;
        let (to, ended) = mpsc::unbounded_channel();
        let mut threads = BTreeMap::new();
        for mut packets in packet_threads {
            let queue = packets.queue().number();
            let end = End {
                queue,
                to: to.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("queue-{queue}"))
                .stack_size(512 << 10)
                .spawn(move || {
                    let _end = end;
                    packets.run()
                })
                .map_err(|source| DaemonError::System {
                    act: "start a packet thread",
                    source,
                })?;
            threads.insert(queue, thread);
        }
        // After a restart the rules still stand, and requests already wait: only now, that they are answered.
        let redirect = match redirect::settings(&config) {
            Some(settings) => Some(Redirect::install(settings, serving.redirected())?),
            None => None,
        };
        let _ = serving.take_redirects();
        let (redirect, troubles) = redirect.unzip();
        let mut daemon = Self {
            redirect,
            troubles: BTreeMap::new(),
            beats: vec![0; counters.len()],
            config,
            path,
            serving,
            shared,
            counters,
            wakers,
            notices: opened.notices,
            control: Some(opened.control),
            metrics: opened.metrics,
            queue_figures: opened.queue_figures,
            threads,
            ended,
        };
        daemon.report(troubles.unwrap_or_default());
        allocator::give_back();
        Ok(daemon)
    }

    async fn serve(mut self) -> Result<(), DaemonError> {
        let system = |act| move |source| DaemonError::System { act, source };
        let hook = |kind| signal(kind).map_err(system("take signals"));
        let mut hang_up = hook(SignalKind::hangup())?;
        let mut dump = hook(SignalKind::user_defined1())?;
        let mut stops = [
            hook(SignalKind::terminate())?,
            hook(SignalKind::interrupt())?,
        ];
        let [files, devices] = self.sources().map_err(system("watch for events"))?;
        let mut questions = self.listen().map_err(system("take questions"))?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let watched = sd_notify::watchdog_enabled().is_some();
        self.wake();
        self.tell(&[NotifyState::Ready]);
        let mut served = self.serving.served();
        self.tell_served(served);
        tracing::info!(
            bindings = served,
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
        let mut next_round = Instant::now();
        loop {
            let due = self.serving.next_advertisement();
            let due = due.map(|due| Instant::from_std(due).max(next_round));
            tokio::select! {
                ready = files.readable() => clear(ready),
                ready = devices.readable() => clear(ready),
                () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                    next_round = self.advertise();
                    continue;
                }
                Some(notice) = self.notices.recv() => {
                    self.notice(notice);
                    next_round = Instant::now();
                    continue;
                }
                Some(question) = questions.recv() => self.answer(question),
                Some(queue) = self.ended.recv() => return Err(self.end_of(queue)),
                _ = hang_up.recv() => self.reload(),
                _ = dump.recv() => self.dump(),
                () = any(&mut stops) => break,
                _ = tick.tick() => {
                    self.serving.check_directory(Instant::now().into_std());
                    self.check_redirect();
                    if served != self.serving.served() {
                        served = self.serving.served();
                        self.tell_served(served);
                    }
                    if watched && self.alive() {
                        self.tell(&[NotifyState::Watchdog]);
                    }
                }
            }
            self.serving.catch_up(Instant::now().into_std())?;
            self.redirect();
        }
        self.stop()
    }

    /// Sends the advertisements that are due; when the next may be sent.
    fn advertise(&mut self) -> Instant {
        let now = Instant::now();
        for _ in 0..ADVERTISING_TURNS {
            self.serving.advertise(now.into_std());
            let left = self.serving.next_advertisement();
            if left.is_none_or(|due| due > now.into_std()) {
                return now + ADVERTISING_PACE;
            }
        }
        now
    }

    fn sources(&self) -> io::Result<[AsyncFd<OwnedFd>; 2]> {
        let [files, devices] = self.serving.sources();
        #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
        let watch = |fd: BorrowedFd<'_>| {
            // SAFETY: an `OwnedFd` gives the same open descriptor for as long as it lives.
            unsafe { AsyncFd::register(fd.try_clone_to_owned()?) }.map_err(io::Error::from)
        };
        Ok([watch(files)?, watch(devices)?])
    }

    fn listen(&mut self) -> io::Result<mpsc::Receiver<Question>> {
        let (to, questions) = mpsc::channel(16);
        if let Some(control) = self.control.take() {
            let listener = tokio::net::UnixListener::from_std(control)?;
            tokio::spawn(crate::ctl::server::serve(listener, to.clone()));
        }
        if let Some(metrics) = self.metrics.take() {
            let listener = tokio::net::TcpListener::from_std(metrics)?;
            tokio::spawn(metrics::server::serve(listener, to));
        }
        Ok(questions)
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Advertise { tap } => self.serving.solicited(tap, Instant::now().into_std()),
            Notice::Declined { tap } => {
                let name = self
                    .serving
                    .bindings
                    .link_by_index(tap)
                    .map(|link| link.name);
                let name = name.map(tracing::field::display);
                let port = self.serving.port(tap);
                let ip = port
                    .and_then(|port| port.addresses.ip)
                    .map(tracing::field::display);
                tracing::error!(
                    tap = name,
                    ifindex = tap,
                    ip,
                    "the VM found its address in use by somebody else"
                );
            }
        }
    }

    /// True when every packet thread was awake since this was last asked. For the next time, each is woken.
    fn alive(&mut self) -> bool {
        let mut all = true;
        for (before, counters) in self.beats.iter_mut().zip(&self.counters) {
            let now = counters.beats.value();
            all &= *before != now;
            *before = now;
        }
        self.wake();
        all
    }

    fn wake(&self) {
        for waker in &self.wakers {
            if let Err(error) = waker.wake() {
                tracing::warn!(%error, "wake a packet thread");
            }
        }
    }

    fn reload(&mut self) {
        let Some(path) = self.path.clone() else {
            tracing::warn!("there is no configuration file to read again");
            return;
        };
        if let Ok(moment) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, moment]);
        }
        match Config::read(&path) {
            Ok(config) => {
                for key in self.config.needs_restart(&config) {
                    tracing::warn!(key, "takes effect at the next restart");
                }
                self.serving.configure(&config, Instant::now().into_std());
                let before = redirect::settings(&self.config);
                self.config.settings = config.settings;
                self.config.rate = config.rate;
                self.config.kernel_rate = config.kernel_rate;
                if let (Some(redirect), Some(settings)) =
                    (&mut self.redirect, redirect::settings(&self.config))
                    && before != Some(settings)
                    && let Err(error) = redirect.change_settings(settings)
                {
                    self.report_redirect(&error);
                }
                self.redirect();
                tracing::info!(path = %path.display(), "configuration read again");
            }
            Err(error) => tracing::error!("{}; the old one stays in force", chain(&error)),
        }
        allocator::give_back();
        self.tell(&[NotifyState::Ready]);
    }

    fn stop(self) -> Result<(), DaemonError> {
        self.tell(&[NotifyState::Stopping]);
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wake();
        for (queue, thread) in self.threads {
            let ended = thread.join();
            ended.map_err(|_| DaemonError::ThreadPanicked { queue })??;
        }
        tracing::info!("stopped");
        Ok(())
    }

    fn end_of(&mut self, queue: u16) -> DaemonError {
        match self
            .threads
            .remove(&queue)
            .map(std::thread::JoinHandle::join)
        {
            Some(Ok(Err(error))) => DaemonError::Queue(error),
            Some(Ok(Ok(())) | Err(_)) | None => DaemonError::ThreadPanicked { queue },
        }
    }

    fn tell_served(&self, served: usize) {
        self.tell(&[NotifyState::Status(&format!("{served} TAPs are served"))]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "tell the service manager");
        }
    }
}

/// Panics go into the log, but not each: a VM that found one could fill the disk with it.
fn report_panics() {
    let seen = AtomicU64::new(0);
    std::panic::set_hook(Box::new(move |panic| {
        let count = seen.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::error!(count, "a defect of nfdhcpd: {panic}");
        }
    }));
}

fn clear<T: std::os::fd::AsRawFd>(ready: io::Result<tokio::io::unix::AsyncFdReadyGuard<'_, T>>) {
    if let Ok(mut ready) = ready {
        ready.clear_ready();
    }
}

async fn any(signals: &mut [Signal; 2]) {
    let [first, second] = signals;
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}

/// When the host started, seconds since 1970.
fn booted() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}
