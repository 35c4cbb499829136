//! The daemon: starts the scribe, publishes while the node is the master, answers over HTTP, and ends in order.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ifup::apply::chain;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::config::Config;
use super::counters::Counters;
use super::http::{self, Published, Sources};
use super::journal::{Journal, JournalError, View};
use super::luxi::QuerySocket;
use super::master::{self, Role};
use super::publish::Publisher;
use super::publish::compose::Composer;
use super::queue_dir::QueueDir;
use super::scribe::{Order, Orders, Scribe, Settings};
use crate::transport::LinkError;
use crate::transport::amqp::Amqp;
use crate::transport::https::{Https, Identity};
use crate::transport::settings::Way;

/// Who publishes: `app_id`.
const APP: &str = "snf-ganeti-eventd";
/// How often it is looked who the master is.
const TICK: Duration = Duration::from_secs(1);
/// How often the cluster is asked whether it is still the same.
const SAME_CLUSTER: Duration = Duration::from_secs(60);

/// Why the daemon ends.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The broker's topology, at the start.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The system refuses something.
    #[error("{act}")]
    System {
        /// What.
        act: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread that journals ended.
    #[error("the thread that journals panicked")]
    ScribePanicked,
}

fn system(act: impl fmt::Display) -> impl FnOnce(io::Error) -> DaemonError {
    let act = act.to_string();
    move |source| DaemonError::System { act, source }
}

/// Whether the daemon does its work: what keeps it from it, if anything.
#[derive(Debug, Default)]
pub struct Health(Mutex<Option<String>>);

impl Health {
    /// What is wrong.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub fn run(config: Config) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 << 10)
        .build()
        .map_err(system("start the runtime"))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        Daemon::start(config).await?.serve().await
    })
}

struct Daemon {
    config: Config,
    counters: Arc<Counters>,
    health: Arc<Health>,
    socket: QuerySocket,
    nudge: Arc<Notify>,
    respite: Arc<AtomicU64>,
    orders: Orders,
    scribe: Option<JoinHandle<Result<(), JournalError>>>,
    scribe_ended: mpsc::UnboundedReceiver<()>,
    published: watch::Sender<Option<Published>>,
    publication: Option<Publication>,
    /// The role the scribe knows of.
    role: Option<(bool, Option<String>)>,
    asked: Option<Instant>,
    uuid: Option<String>,
    complained: Option<String>,
}

struct Publication {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<(), LinkError>>,
}

/// Says that a thread ended, however it did.
struct Ended(mpsc::UnboundedSender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Daemon {
    async fn start(config: Config) -> Result<Self, DaemonError> {
        let counters = Arc::new(Counters::default());
        let nudge = Arc::new(Notify::new());
        let opened = Journal::open(&config.state.join("journal"), config.limits)?;
        let uuid = opened.journal.state().cluster_uuid.clone();
        tracing::info!(
            epoch = %opened.journal.state().epoch,
            operations = opened.recalled.len(),
            anew = opened.anew,
            "journal opened"
        );
        let queue = QueueDir::new(config.ganeti.queue.clone(), config.ganeti.job_file_max)
            .map_err(system("watch directories"))?;
        let role = master::read(&config.ganeti.ssconf, config.node.as_deref());
        let settings = Settings {
            prefixes: config.prefixes.clone(),
            cluster: role.map(|role| role.cluster).unwrap_or_default(),
            list_interval: config.ganeti.list_interval,
            archive_depth: config.ganeti.archive_depth,
        };
        let (scribe, orders) = Scribe::new(
            settings,
            queue,
            opened,
            Arc::clone(&counters),
            Arc::clone(&nudge),
        )
        .map_err(system("make an eventfd"))?;
        let (to, scribe_ended) = mpsc::unbounded_channel();
        let scribe = std::thread::Builder::new()
            .name(String::from("scribe"))
            .stack_size(1 << 20)
            .spawn(move || {
                let _ended = Ended(to);
                scribe.run()
            })
            .map_err(system("start the thread that journals"))?;
        let daemon = Self {
            socket: QuerySocket {
                path: config.ganeti.query_socket.clone(),
                bound: config.ganeti.query_timeout,
            },
            config,
            counters,
            health: Arc::default(),
            nudge,
            respite: Arc::default(),
            orders,
            scribe: Some(scribe),
            scribe_ended,
            published: watch::Sender::new(None),
            publication: None,
            role: None,
            asked: None,
            uuid,
            complained: None,
        };
        daemon.listen().await?;
        Ok(daemon)
    }

    async fn listen(&self) -> Result<(), DaemonError> {
        let sources = Sources {
            counters: Arc::clone(&self.counters),
            health: Arc::clone(&self.health),
            published: self.published.subscribe(),
            prefixes: self.config.prefixes.clone(),
        };
        if let Some(address) = self.config.metrics {
            let listener = TcpListener::bind(address).await;
            let listener = listener.map_err(system(format!("listen on {address}")))?;
            tokio::spawn(http::serve_metrics(listener, sources.clone()));
        }
        if let Some(pull) = &self.config.pull {
            if let Some((certificate, key)) = &pull.tls {
                http::acceptor(certificate, key).map_err(system("use pull.certificate"))?;
            }
            let listener = TcpListener::bind(pull.listen).await;
            let listener = listener.map_err(system(format!("listen on {}", pull.listen)))?;
            tokio::spawn(http::serve_journal(listener, pull.clone(), sources));
        }
        Ok(())
    }

    async fn serve(mut self) -> Result<(), DaemonError> {
        let hook = |kind| signal(kind).map_err(system("take signals"));
        let mut stops = [
            hook(SignalKind::terminate())?,
            hook(SignalKind::interrupt())?,
        ];
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let watchdog = sd_notify::watchdog_enabled().map(|period| period / 2);
        let (mut fed, mut beats) = (Instant::now(), 0);
        let mut ready = false;
        loop {
            tokio::select! {
                () = any(&mut stops) => break,
                _ = self.scribe_ended.recv() => return Err(self.end_of_scribe()),
                ended = end_of(&mut self.publication) => {
                    self.publication = None;
                    self.published.send_replace(None);
                    ended?;
                }
                () = self.orders.listed(), if !ready => {
                    ready = true;
                    tell(&[NotifyState::Ready]);
                    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
                }
                _ = tick.tick() => {
                    self.look().await?;
                    let now = self.counters.beats.value();
                    if watchdog.is_some_and(|period| fed.elapsed() >= period) && now != beats {
                        (fed, beats) = (Instant::now(), now);
                        tell(&[NotifyState::Watchdog]);
                    }
                }
            }
        }
        tell(&[NotifyState::Stopping]);
        self.withdraw().await;
        self.orders.give(Order::Stop);
        let _ = self.scribe_ended.recv().await;
        match self.scribe.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended?,
            Some(Err(_)) => return Err(DaemonError::ScribePanicked),
            None => {}
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Looks who the master is, and publishes or leaves off.
    async fn look(&mut self) -> Result<(), DaemonError> {
        let role = match master::read(&self.config.ganeti.ssconf, self.config.node.as_deref()) {
            Ok(role) => role,
            Err(error) => {
                // While Ganeti is writing, or the node is in no cluster: nothing changes.
                self.trouble(Some(format!("read Ganeti's ssconf: {error}")));
                return Ok(());
            }
        };
        let master = role.is_master();
        self.counters.master.set(u64::from(master));
        if !master {
            self.withdraw().await;
            self.take_role(false, None).await?;
            self.trouble(None);
            return Ok(());
        }
        self.ask_cluster().await;
        let Some(uuid) = self.uuid.clone() else {
            self.trouble(Some(String::from(
                "Ganeti does not tell the cluster's UUID: nothing is published yet",
            )));
            return Ok(());
        };
        if self.role != Some((true, Some(uuid.clone()))) {
            self.withdraw().await;
        }
        if let Some(view) = self.take_role(true, Some(uuid.clone())).await?
            && self.publication.is_none()
        {
            self.publish(&role, uuid, view);
        }
        self.trouble(self.unwell());
        Ok(())
    }

    /// What is wrong on a master.
    fn unwell(&self) -> Option<String> {
        if self.counters.connected.value() == 0 && self.counters.connection_errors.value() > 0 {
            return Some(String::from("not connected to the control plane"));
        }
        None
    }

    fn trouble(&mut self, trouble: Option<String>) {
        if trouble != self.complained {
            if let Some(trouble) = &trouble {
                tracing::warn!("{trouble}");
            }
            self.complained.clone_from(&trouble);
        }
        self.health.set(trouble);
    }

    async fn ask_cluster(&mut self) {
        let due = self
            .asked
            .is_none_or(|asked| self.uuid.is_none() || asked.elapsed() > SAME_CLUSTER);
        if !due {
            return;
        }
        match self.socket.cluster_uuid().await {
            Ok(uuid) => {
                self.asked = Some(Instant::now());
                self.uuid = Some(uuid);
            }
            Err(error) => tracing::debug!("{}", chain(&error)),
        }
    }

    /// Lets the scribe know the role; the view of the journal that goes with it.
    async fn take_role(
        &mut self,
        master: bool,
        cluster_uuid: Option<String>,
    ) -> Result<Option<View>, DaemonError> {
        let role = Some((master, cluster_uuid.clone()));
        if self.role == role && (!master || self.publication.is_some()) {
            return Ok(None);
        }
        let (reply, answer) = oneshot::channel();
        self.orders.give(Order::Role {
            master,
            cluster_uuid,
            reply,
        });
        match answer.await {
            Ok(Ok(view)) => {
                if self.role.as_ref().map(|role| role.0) != Some(master) {
                    tracing::info!(master, "role");
                }
                self.role = role;
                Ok(Some(view))
            }
            Ok(Err(error)) => {
                self.counters.journal_errors.more();
                tracing::error!("{}", chain(&error));
                Ok(None)
            }
            Err(_) => Err(self.end_of_scribe()),
        }
    }

    fn publish(&mut self, role: &Role, cluster_uuid: String, view: View) {
        let composer = Composer {
            cluster: role.cluster.clone(),
            cluster_uuid: cluster_uuid.clone(),
            socket: self.socket.clone(),
            counters: Arc::clone(&self.counters),
            respite: Arc::clone(&self.respite),
        };
        self.published.send_replace(Some(Published {
            view: view.clone(),
            composer: composer.clone(),
        }));
        let publisher = Publisher {
            view,
            composer,
            node: role.node.clone(),
            prefixes: self.config.prefixes.clone(),
            interval: self.config.heartbeat,
            nudge: Arc::clone(&self.nudge),
            counters: Arc::clone(&self.counters),
        };
        let (stop, stopped) = watch::channel(false);
        let task = match &self.config.transport {
            Way::Amqp(settings) => {
                let amqp = Amqp::new(settings.clone(), self.config.prefixes.clone(), APP);
                tokio::task::spawn_local(publisher.run(amqp, stopped))
            }
            Way::Https(settings) => {
                let identity = Identity {
                    cluster: role.cluster.clone(),
                    cluster_uuid,
                };
                let https = Https::new(settings.clone(), watch::channel(identity).1);
                tokio::task::spawn_local(publisher.run(https, stopped))
            }
        };
        self.publication = Some(Publication { stop, task });
    }

    /// Leaves off publishing, once what is on its way is acknowledged or late.
    async fn withdraw(&mut self) {
        if let Some(publication) = self.publication.take() {
            self.published.send_replace(None);
            let _ = publication.stop.send(true);
            if let Ok(Err(error)) = publication.task.await {
                tracing::error!("{}", chain(&error));
            }
        }
    }

    fn end_of_scribe(&mut self) -> DaemonError {
        match self.scribe.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error.into(),
            Some(Ok(Ok(())) | Err(_)) | None => DaemonError::ScribePanicked,
        }
    }
}

/// Waits until publication ends of itself.
async fn end_of(publication: &mut Option<Publication>) -> Result<(), LinkError> {
    match publication {
        Some(publication) => match (&mut publication.task).await {
            Ok(ended) => ended,
            Err(error) => {
                // The daemon goes on, and publishes anew from the cursor.
                tracing::error!("publication panicked: {error}");
                Ok(())
            }
        },
        None => std::future::pending().await,
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "tell the service manager");
    }
}

async fn any(signals: &mut [Signal; 2]) {
    let [first, second] = signals;
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}
