//! The agent's socket: what hooks say comes in here, and questions of `snf-agent` itself. Root only.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ifup::apply::chain;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::counters::{Counters, more};
use super::daemon::{Nudge, now};
use super::environment::{MESSAGE_MAX, Refusal, Told, told};
use super::outbox::{Outbox, Sender};
use super::store::Store;
use crate::hook::GREETING;
use crate::progress;

/// The line that asks for the figures; the answer is JSON.
pub const FIGURES: &str = "figures\n";

/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most connections at a time; others wait in the backlog.
const CONNECTIONS: usize = 32;
/// Longest first line.
const LINE_MAX: usize = 64;

/// Where hooks' words go.
#[derive(Debug)]
pub struct Intake {
    /// On disk.
    pub store: Store,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Whom to wake.
    pub nudges: mpsc::SyncSender<Nudge>,
    /// Who tells the control plane; `None`: nobody does.
    pub outbox: Option<Arc<Outbox>>,
}

/// The socket that systemd holds for us, or one of our own at `path`, open to root only.
///
/// # Errors
/// It cannot be made.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = match handed_over() {
        Some(listener) => listener,
        None => bind(path)?,
    };
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn bind(path: &Path) -> io::Result<StdListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // That of an agent that was here before; a living one's place is taken.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = StdListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[expect(unsafe_code, reason = "systemd hands sockets over by number")]
fn handed_over() -> Option<StdListener> {
    let mut sockets = sd_notify::listen_fds().ok()?;
    let first = sockets.next()?;
    // SAFETY: listen_fds names descriptors that systemd opened for this process and that nothing else here owns.
    Some(StdListener::from(unsafe { OwnedFd::from_raw_fd(first) }))
}

/// Takes connections for as long as the agent runs.
pub async fn serve(listener: UnixListener, intake: Arc<Intake>) {
    let permits = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let intake = Arc::clone(&intake);
                tokio::spawn(async move {
                    if tokio::time::timeout(PATIENCE, converse(stream, intake))
                        .await
                        .is_err()
                    {
                        tracing::warn!("a connection to the agent's socket took too long");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the agent's socket");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, intake: Arc<Intake>) {
    if !stream.peer_cred().is_ok_and(|peer| peer.uid() == 0) {
        intake.counters.figures().strangers += 1;
        return;
    }
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < LINE_MAX {
        match stream.read_u8().await {
            Ok(byte) => line.push(byte),
            Err(_) => break,
        }
    }
    if line == FIGURES.as_bytes() {
        let figures = intake.counters.figures().clone();
        let answer = serde_json::to_vec(&figures).unwrap_or_default();
        // An asker that is gone is nobody's loss.
        let _ = stream.write_all(&answer).await;
        return;
    }
    let is_progress = line.starts_with(progress::GREETING.as_bytes());
    let greeting = if is_progress {
        progress::GREETING
    } else {
        GREETING
    };
    let body = body(&mut stream, &line, greeting).await;
    // Whoever spoke has gone on: Ganeti is asked behind their back.
    let sender = match &intake.outbox {
        Some(outbox) => Some(Sender::of(&outbox.membership).await),
        None => None,
    };
    // Off the loop: a disk may be slow.
    let taken = tokio::task::spawn_blocking(move || {
        if is_progress {
            intake.take_progress(body, sender.as_ref());
        } else {
            intake.take(body, sender.as_ref());
        }
    });
    let _ = taken.await;
}

async fn body(stream: &mut UnixStream, line: &[u8], greeting: &str) -> Result<Vec<u8>, Refusal> {
    let length = std::str::from_utf8(line).ok().and_then(|line| {
        line.strip_prefix(greeting)?
            .strip_suffix('\n')?
            .parse()
            .ok()
    });
    let Some(announced) = length else {
        return Err(Refusal::Malformed {
            variable: "the greeting".to_owned(),
            reason: "neither a hook's nor the progress monitor's",
        });
    };
    if announced > MESSAGE_MAX {
        return Err(Refusal::NotWhole { announced, got: 0 });
    }
    let mut body = Vec::with_capacity(announced);
    let most = u64::try_from(announced).unwrap_or(u64::MAX);
    // What broke off is shorter than announced.
    let _ = stream.take(most).read_to_end(&mut body).await;
    match body.len() {
        got if got < announced => Err(Refusal::NotWhole { announced, got }),
        _ => Ok(body),
    }
}

impl Intake {
    /// Keeps what a hook said, and wakes who acts on it.
    fn take(&self, body: Result<Vec<u8>, Refusal>, sender: Option<&Sender>) {
        let told = match body.and_then(|body| told(&body, now())) {
            Ok(told) => told,
            Err(refusal) => {
                tracing::warn!(reason = %refusal, "a hook's environment was refused");
                more(&mut self.counters.figures().hooks_refused, refusal.label());
                return;
            }
        };
        let instance = match &told {
            Told::Keep(heard) | Told::Rename { to: heard, .. } => &heard.instance,
            Told::Forget(instance) => instance,
        };
        match self.store.take(&told) {
            Ok(()) => {
                tracing::debug!(instance, "a hook was heard");
                self.counters.figures().hooks += 1;
            }
            Err(error) => {
                tracing::error!(
                    instance,
                    error = chain(&error),
                    "a hook's words could not be kept"
                );
                self.counters.figures().hooks_lost += 1;
            }
        }
        // Full: everything is going to be looked at anyway.
        let _ = self.nudges.try_send(Nudge::Instance(instance.clone()));
        if let (Some(outbox), Some(sender)) = (&self.outbox, sender) {
            outbox.hook(&told, sender);
        }
    }

    /// Spools what the progress monitor said.
    fn take_progress(&self, body: Result<Vec<u8>, Refusal>, sender: Option<&Sender>) {
        let body = match body {
            Ok(body) => body,
            Err(refusal) => {
                tracing::debug!(reason = %refusal, "progress was refused");
                let mut figures = self.counters.figures();
                let refused = &mut figures.publication.progress_refused;
                more(refused, refusal.label());
                return;
            }
        };
        // Without a control plane there is nobody to tell.
        if let (Some(outbox), Some(sender)) = (&self.outbox, sender) {
            outbox.progress(&body, sender, now());
        }
    }
}
