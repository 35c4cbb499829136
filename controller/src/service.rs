//! A program of several parts: it ends when it is told to, or when a part does; every part gets the time to finish its work.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long parts may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Told to every part: when to end.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until the program is to end.
    pub async fn wanted(&self) {
        let mut watched = self.0.clone();
        // That nobody is left to say so means the same.
        let _ = watched.wait_for(|wanted| *wanted).await;
    }

    /// Whether the program is to end.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }
}

/// Says when to end; dropped, it says so too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Says so.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Both ends.
#[must_use]
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

/// The parts that run.
#[derive(Debug)]
pub struct Parts {
    running: JoinSet<&'static str>,
    stopper: Stopper,
    stop: Stop,
}

impl Default for Parts {
    fn default() -> Self {
        let (stopper, stop) = stop();
        Self {
            running: JoinSet::new(),
            stopper,
            stop,
        }
    }
}

impl Parts {
    /// Starts a part, which runs until `Stop` is wanted.
    pub fn start<F>(&mut self, name: &'static str, part: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let part = part(self.stop.clone());
        self.running.spawn(async move {
            part.await;
            name
        });
    }

    /// Tells systemd that all is ready, waits for SIGTERM or SIGINT, then for the parts; tells whether all went well.
    pub async fn run(mut self) -> bool {
        let signals = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        );
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            tracing::error!("signals cannot be waited for");
            return false;
        };
        notify(sd_notify::NotifyState::Ready);
        let mut beat = tokio::time::interval(
            sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |period| period / 3),
        );
        let went_well = loop {
            tokio::select! {
                _ = terminate.recv() => break true,
                _ = interrupt.recv() => break true,
                _ = beat.tick() => notify(sd_notify::NotifyState::Watchdog),
                ended = self.running.join_next() => {
                    tell(ended);
                    break false;
                }
            }
        };
        notify(sd_notify::NotifyState::Stopping);
        self.stopper.stop();
        let all = async {
            let mut went_well = went_well;
            while let Some(ended) = self.running.join_next().await {
                went_well &= ended.is_ok();
            }
            went_well
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(went_well) => went_well,
            Err(_) => {
                tracing::warn!("not all work was finished in time");
                false
            }
        }
    }
}

fn tell(ended: Option<Result<&'static str, tokio::task::JoinError>>) {
    match ended {
        Some(Ok(name)) => tracing::error!(part = name, "a part has ended"),
        Some(Err(error)) => tracing::error!(%error, "a part has failed"),
        None => tracing::error!("there is nothing to do"),
    }
}

fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd is not told");
    }
}
