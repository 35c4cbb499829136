//! Publication: what is journaled goes out, in order, until it is acknowledged.
//!
//! Up to [`WINDOW`] events are on their way. One that is returned or refused is sent again, with a growing pause, unless
//! a newer one of its operation stands for it; a connection that breaks is made anew, and everything that was not
//! acknowledged goes out again. Duplicates are allowed, a status that falls is not: an event for which a newer one is
//! journaled is never sent. The cursor moves only over events that are acknowledged or superseded, and is kept on disk
//! after that.

pub mod compose;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ifup::apply::chain;
use snf_events::message::StreamState;
use snf_events::{Heartbeat, JobId, JobStatus, OpCode, Prefix, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::counters::Counters;
use super::journal::View;
use super::journal::record::Number;
use super::scribe::unix_milliseconds;
use crate::transport::{Hold, Link, LinkError, Outgoing, Transport, bounded, patiently, ready};
use compose::Composer;
use window::Window;

/// Events on their way at once.
pub const WINDOW: usize = 256;

/// With so many messages made and not sent, the next ones are not made yet: what they say of their instances would be old.
const STOCK: usize = 64;

/// How often the cursor is kept, when it moved.
const KEEP: Duration = Duration::from_millis(200);
/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long acknowledgements are awaited when publication is to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Who publishes.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// What is published.
    pub view: View,
    /// Makes the bodies.
    pub composer: Composer,
    /// This node.
    pub node: String,
    /// The deployments.
    pub prefixes: Vec<Prefix>,
    /// Time between two heartbeats.
    pub interval: Duration,
    /// Asked for a heartbeat at once.
    pub nudge: Arc<Notify>,
    /// What is counted.
    pub counters: Arc<Counters>,
}

impl Publisher {
    /// Publishes until `stop` is true.
    ///
    /// # Errors
    /// When the broker's topology is another one, at the first connection: an operator's matter.
    pub async fn run<T: Transport>(
        mut self,
        mut transport: T,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), LinkError> {
        let mut window = Window::new(self.view.clone(), Arc::clone(&self.counters));
        let mut pause = Duration::ZERO;
        let mut first = true;
        loop {
            let link = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                link = async { sleep(pause).await; transport.connect().await } => link,
            };
            let ended = match link {
                Ok(link) => {
                    first = false;
                    self.counters.connections.more();
                    self.counters.connected.set(1);
                    let began = Instant::now();
                    let patience = transport.patience();
                    let ended = self.serve(link, &mut window, patience, &mut stop).await;
                    self.counters.connected.set(0);
                    if began.elapsed() > PAUSE_MAX {
                        pause = Duration::ZERO;
                    }
                    ended
                }
                Err(error) => Err(error),
            };
            window.start_again();
            window.report_and_keep().await;
            match ended {
                Ok(()) => return Ok(()),
                Err(error) if first && error.is_mismatch() => return Err(error),
                Err(error) => {
                    self.counters.connection_errors.more();
                    tracing::warn!("{}", chain(&error));
                    pause = (pause * 2).clamp(Duration::from_millis(250), PAUSE_MAX);
                }
            }
        }
    }

    /// Publishes over one connection, until it breaks or `stop` is true.
    async fn serve<L: Link>(
        &mut self,
        mut link: L,
        window: &mut Window,
        patience: Duration,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), LinkError> {
        let mut committed = self.view.committed();
        let mut keep = interval(KEEP);
        keep.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut beat = interval(self.interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        tracing::info!(backlog = window.backlog(), "connected");
        // Made while others are on their way, so that there is always one for the room an acknowledgement makes.
        let mut composing = None;
        let mut stock: VecDeque<Outgoing> = VecDeque::new();
        let hold = link.hold();
        let mut held: Option<Instant> = None;
        loop {
            held = note_hold(&hold, held);
            while window.has_room()
                && let Some(outgoing) = stock.pop_front()
            {
                window.sends(Number(outgoing.ticket.0));
                let sent = link.send(outgoing);
                let report = || {
                    held = note_hold(&hold, held);
                    window.report();
                };
                patiently("sending", patience, &hold, stop, report, sent).await?;
            }
            if composing.is_none()
                && stock.len() < STOCK
                && let Some(records) = window.next_batch()
            {
                composing = Some(Box::pin(self.composer.compose_all(records)));
            }
            let retry = window.next_retry();
            // The time that all are held back does not count.
            let oldest = window.oldest_sent();
            let overdue = oldest.map(|sent| held.map_or(sent, |held| held.max(sent)) + patience);
            tokio::select! {
                composed = end_of(&mut composing), if composing.is_some() => {
                    composing = None;
                    stock.extend(window.finish(composed, &self.composer));
                }
                settled = link.settled(), if window.is_waiting() => {
                    let mut next = Some(settled);
                    while let Some(settled) = next {
                        let (ticket, outcome) = settled?;
                        window.settle(Number(ticket.0), outcome);
                        next = ready(&mut link).await;
                    }
                    if window.returned_anew() {
                        bounded("declaring the topology", patience, link.repair()).await?;
                    }
                }
                _ = committed.changed() => {}
                () = until(retry), if retry.is_some() => {}
                () = until(overdue), if overdue.is_some() => {
                    let what = String::from("an acknowledgement");
                    return Err(LinkError::TooSlow { what, bound: patience });
                }
                _ = keep.tick() => window.report(),
                // One more would only wait behind the events.
                _ = beat.tick(), if !hold.is_on() => self.beat(&mut link, window, patience, true).await?,
                () = self.nudge.notified(), if !hold.is_on() => {
                    self.beat(&mut link, window, patience, true).await?;
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let farewell = async {
            while window.is_waiting() {
                let (ticket, outcome) = link.settled().await?;
                window.settle(Number(ticket.0), outcome);
            }
            self.beat(&mut link, window, patience, false).await
        };
        // What is not acknowledged by then goes out again after the next start.
        let _ = timeout(FAREWELL, farewell).await;
        window.report_and_keep().await;
        let _ = timeout(FAREWELL, link.close()).await;
        Ok(())
    }

    async fn beat<L: Link>(
        &self,
        link: &mut L,
        window: &Window,
        patience: Duration,
        master: bool,
    ) -> Result<(), LinkError> {
        let heartbeat = self.heartbeat(window, master);
        bounded("a heartbeat", patience, link.heartbeat(&heartbeat)).await?;
        self.counters.heartbeats.more();
        Ok(())
    }

    fn heartbeat(&self, window: &Window, master: bool) -> Heartbeat {
        let committed = self.view.committed().borrow().clone();
        let streams = self.prefixes.iter().map(|prefix| StreamState {
            prefix: prefix.clone(),
            sequence: committed.streams.get(prefix).copied().unwrap_or_default(),
            cursor: window.cursor(prefix),
        });
        let now = unix_milliseconds();
        let oldest = self.counters.oldest_written.value();
        let lag = if oldest == 0 {
            0
        } else {
            now.saturating_sub(oldest)
        };
        Heartbeat {
            cluster: self.composer.cluster.clone(),
            operation: OpCode::TagsSet,
            status: JobStatus::Waiting,
            job: JobId(0),
            event_time: moment(now),
            logmsg: None,
            result: serde_json::Value::Null,
            cluster_uuid: Some(self.composer.cluster_uuid.clone()),
            node: self.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            master,
            epoch: self.view.epoch().clone(),
            streams: streams.collect(),
            lag_seconds: lag as f64 / 1000.0,
        }
    }
}

fn moment(milliseconds: u64) -> Timestamp {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
    let microseconds = u32::try_from(milliseconds % 1000 * 1000).unwrap_or(0);
    (seconds, microseconds).into()
}

/// When all publishers were last known to be held back; says so when it begins, and when it ends.
fn note_hold(hold: &Hold, before: Option<Instant>) -> Option<Instant> {
    /// A hold that was seen so long ago has ended.
    const OVER: Duration = Duration::from_secs(1);
    let now = Instant::now();
    let was_on = before.is_some_and(|at| now - at < OVER);
    match (was_on, hold.is_on()) {
        (false, true) => {
            tracing::warn!("the broker holds publishers back: an alarm of disk or memory?");
        }
        (true, false) => {
            tracing::info!("the broker lets publishers go on");
        }
        (true, true) | (false, false) => {}
    }
    if hold.is_on() { Some(now) } else { before }
}

/// Waits for what is under way, if anything is.
async fn end_of<F: Future + Unpin>(under_way: &mut Option<F>) -> F::Output {
    match under_way {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        sleep_until(moment).await;
    }
}
