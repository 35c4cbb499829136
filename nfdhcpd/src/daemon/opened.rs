//! What the daemon opens as root, before it gives root's rights up and before there is a second thread.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::DaemonError;
use crate::claims::{Claims, Recorded};
use crate::clock::Clock;
use crate::config::{Absent, Config, Rules};
use crate::counters::Counters;
use crate::ctl::SOCKET;
use crate::netlink::Links;
use crate::packets::{Key, Notice, PacketThread, Shared};
use crate::policer::{Bucket, Policy};
use crate::ports::Ports;
use crate::privileges;
use crate::queue::{Queue, Waker};
use crate::tap::Tap;
use crate::trace::Tracer;
use crate::watch::Directory;

/// Everything opened with root's rights, before there is a second thread.
#[derive(Debug)]
pub struct Opened {
    pub(super) config: Config,
    pub(super) path: Option<PathBuf>,
    pub(super) threads: Vec<PacketThread>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) wakers: Vec<Waker>,
    pub(super) shared: Arc<Shared>,
    pub(super) notices: mpsc::Receiver<Notice>,
    pub(super) directory: Directory,
    pub(super) links: Links,
    pub(super) claims: Claims,
    pub(super) recorded: Recorded,
    pub(super) control: std::os::unix::net::UnixListener,
    pub(super) metrics: Option<std::net::TcpListener>,
    pub(super) queue_figures: Option<File>,
}

/// Notices under way; more are lost.
const NOTICES: usize = 1024;

impl Opened {
    /// Opens everything `config` names, and gives up root's rights. `path`: where SIGHUP reads the configuration.
    ///
    /// # Errors
    /// When something cannot be opened, or rights cannot be given up.
    pub fn new(config: Config, path: Option<PathBuf>) -> Result<Self, DaemonError> {
        let identity = match config.user.as_deref() {
            None => None,
            Some(user) => {
                let found = privileges::look_up(user)?;
                if found.is_none() {
                    tracing::warn!(user, "there is no such user: staying who we are");
                }
                found.map(|identity| (user, identity))
            }
        };
        let (notify, notices) = mpsc::channel(NOTICES);
        let key = match config.rules {
            Rules::Managed { .. } => Key::Mark(config.mark),
            Rules::External => Key::Device(config.unserved),
        };
        let shared = Arc::new(Shared {
            ports: ArcSwap::from_pointee(Ports::new(Policy::from(config.rate))),
            tap: Tap::open()?,
            key,
            clock: Clock::start(),
            tracer: Tracer::default(),
            notices: notify,
            passing: Bucket::default(),
            stop: AtomicBool::new(false),
        });
        let threads = open_queues(&config, &shared)?;
        let counters = threads.iter().map(PacketThread::counters).collect();
        let wakers = threads.iter().map(|thread| thread.queue().waker());
        let wakers = wakers.collect::<io::Result<_>>();
        let wakers = wakers.map_err(|source| DaemonError::System {
            act: "keep a second descriptor of a queue",
            source,
        })?;
        make_directory(&config.runtime, identity.map(|(_, identity)| identity))?;
        let directory = Directory::open(&config.bindings)?;
        let links = Links::open()?;
        let (claims, recorded) = Claims::open(&config.runtime.join("claims"))?;
        let control = listen(
            &config.runtime.join(SOCKET),
            identity.map(|(_, identity)| identity),
        )?;
        let metrics = config.metrics.map(listen_for_scrapers).transpose()?;
        let queue_figures = File::open("/proc/net/netfilter/nfnetlink_queue").ok();
        privileges::drop_all_but_network(identity)?;
        Ok(Self {
            config,
            path,
            threads,
            counters,
            wakers,
            shared,
            notices,
            directory,
            links,
            claims,
            recorded,
            control,
            metrics,
            queue_figures,
        })
    }
}

/// A thread for each queue: all shards of each protocol.
fn open_queues(config: &Config, shared: &Arc<Shared>) -> Result<Vec<PacketThread>, DaemonError> {
    let fail_open = matches!(
        config.rules,
        Rules::Managed {
            on_absent: Absent::Pass
        }
    );
    let mut threads = Vec::new();
    for (protocol, first) in config.queues.first() {
        for shard in 0..config.queues.shards {
            let queue = Queue::open(first + shard, protocol, config.queues.length, fail_open)?;
            threads.push(PacketThread::new(queue, Arc::clone(shared)));
        }
    }
    Ok(threads)
}

fn object(act: &'static str, object: impl ToString) -> impl FnOnce(io::Error) -> DaemonError {
    let object = object.to_string();
    move |source| DaemonError::Object {
        act,
        object,
        source,
    }
}

fn make_directory(path: &Path, owner: Option<privileges::Identity>) -> Result<(), DaemonError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(object("make the directory", path.display()))?;
    if let Some(owner) = owner {
        // Without the right to, it is ours already, or opening what is in it fails with the reason.
        let _ = chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()));
    }
    Ok(())
}

fn listen(
    path: &Path,
    owner: Option<privileges::Identity>,
) -> Result<std::os::unix::net::UnixListener, DaemonError> {
    // A socket that a killed daemon left; a running one still has its queues, and we did not get here.
    let _ = std::fs::remove_file(path);
    let listener = std::os::unix::net::UnixListener::bind(path)
        .map_err(object("listen on", path.display()))?;
    let allowed = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660));
    allowed.map_err(object("set the mode of", path.display()))?;
    if let Some(owner) = owner {
        let _ = chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()));
    }
    listener
        .set_nonblocking(true)
        .map_err(object("listen on", path.display()))?;
    Ok(listener)
}

fn listen_for_scrapers(
    address: std::net::SocketAddr,
) -> Result<std::net::TcpListener, DaemonError> {
    let listener = std::net::TcpListener::bind(address).map_err(object("listen on", address))?;
    listener
        .set_nonblocking(true)
        .map_err(object("listen on", address))?;
    Ok(listener)
}
