//! Publication: what waits in the spool goes out until it is stored on the other side; reports go out by the clock, or not at
//! all. Nothing on the node waits for any of it.

mod flight;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ifup::apply::chain;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::counters::{Counters, more};
use super::outbox::{Outbox, Sender};
use super::spool::Kind;
use super::taps::Taps;
use crate::transport::amqp::Amqp;
use crate::transport::https::{Https, Identity};
use crate::transport::settings::Way;
use crate::transport::{Link, LinkError, Outcome, Outgoing, Ticket, Transport, bounded, ready};
use flight::{Flight, WINDOW};
use report::Reporter;
pub(crate) use report::new_epoch;

/// Who publishes: `app_id`.
pub const APP: &str = "snf-agent";
/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The first.
const PAUSE: Duration = Duration::from_millis(250);
/// Answers of the controller that say that a batch is at fault, not the moment.
const UNFIT: [u16; 3] = [400, 413, 422];
/// How often progress may be part of such a batch.
const STRIKES: u32 = 3;
/// Tickets from here on are reports'.
const REPORTS: u64 = 1 << 63;

/// What reports are made of, beside who we are.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The TAPs.
    pub taps: Arc<Taps>,
    /// nfdhcpd's control socket.
    pub nfdhcpd: PathBuf,
    /// Directories whose file systems are told.
    pub directories: Vec<PathBuf>,
    /// Time between two reports; `None`: there are none.
    pub interval: Option<Duration>,
}

/// Who publishes.
#[derive(Debug)]
pub struct Publisher {
    outbox: Arc<Outbox>,
    counters: Arc<Counters>,
    reporter: Reporter,
    identity: watch::Sender<Identity>,
    interval: Option<Duration>,
    reports: u64,
    /// How often what is on its way was part of a batch at fault.
    strikes: BTreeMap<u64, u32>,
}

impl Publisher {
    /// A publisher of what is in the outbox, and of reports.
    ///
    /// # Errors
    /// The kernel gives no UUID for the life of its reports.
    pub fn new(outbox: Arc<Outbox>, sources: Sources) -> std::io::Result<Self> {
        Ok(Self {
            counters: Arc::clone(&outbox.counters),
            interval: sources.interval,
            reporter: Reporter::new(sources)?,
            identity: watch::Sender::default(),
            reports: 0,
            strikes: BTreeMap::new(),
            outbox,
        })
    }

    /// Publishes by the way that is configured, until `stop` is true.
    pub async fn publish(self, way: Way, stop: watch::Receiver<bool>) {
        match way {
            Way::Amqp(settings) => {
                let amqp = Amqp::new(settings, self.outbox.prefixes.clone(), APP);
                self.run(amqp, stop).await;
            }
            Way::Https(settings) => {
                let https = Https::new(settings, self.identity.subscribe());
                self.run(https, stop).await;
            }
        }
    }

    /// Publishes until `stop` is true. What fails is tried again, whatever it is: the node has other work to do as well.
    pub async fn run<T: Transport>(mut self, mut transport: T, mut stop: watch::Receiver<bool>) {
        let mut pause = Duration::ZERO;
        loop {
            let link = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                link = async {
                    sleep(pause).await;
                    self.look().await;
                    transport.connect().await
                } => link,
            };
            let ended = match link {
                Ok(link) => {
                    self.is_connected();
                    let began = Instant::now();
                    let mut flight = Flight::default();
                    let patience = transport.patience();
                    let ended = self.serve(link, &mut flight, patience, &mut stop).await;
                    if let Err(LinkError::Answer { status, .. }) = &ended
                        && UNFIT.contains(status)
                    {
                        self.strike(&flight).await;
                    }
                    self.counters.figures().publication.connected = false;
                    if began.elapsed() > PAUSE_MAX {
                        pause = Duration::ZERO;
                    }
                    ended
                }
                Err(error) => Err(error),
            };
            let Err(error) = ended else {
                return;
            };
            self.counters.figures().publication.connection_errors += 1;
            if error.is_mismatch() {
                tracing::error!("{}", chain(&error));
            } else {
                tracing::warn!("{}", chain(&error));
            }
            pause = (pause * 2).clamp(PAUSE, PAUSE_MAX);
        }
    }

    fn is_connected(&self) {
        let mut figures = self.counters.figures();
        figures.publication.connections += 1;
        figures.publication.connected = true;
    }

    /// Looks who we are.
    async fn look(&self) -> Sender {
        let sender = Sender::of(&self.outbox.membership).await;
        let role = sender.role.as_ref();
        let identity = Identity {
            cluster: role.map_or_else(String::new, |role| role.cluster.clone()),
            cluster_uuid: sender.cluster_uuid.clone().unwrap_or_default(),
        };
        self.identity.send_if_modified(|known| {
            let differs = *known != identity;
            *known = identity;
            differs
        });
        sender
    }

    /// Publishes over one connection, until it breaks or `stop` is true.
    async fn serve<L: Link>(
        &mut self,
        mut link: L,
        flight: &mut Flight,
        patience: Duration,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), LinkError> {
        // The first tick is at once: who has been away is heard of as soon as it is back.
        let mut reports = interval(self.interval.unwrap_or(PAUSE_MAX));
        reports.set_missed_tick_behavior(MissedTickBehavior::Skip);
        tracing::info!(waiting = self.outbox.spool.level().messages, "connected");
        loop {
            loop {
                let news = self.next(flight).await;
                if news.is_empty() {
                    break;
                }
                for outgoing in news {
                    bounded("sending", patience, link.send(outgoing)).await?;
                }
                while let Some(settled) = ready(&mut link).await {
                    self.settle(flight, settled?).await;
                }
            }
            let retry = flight.next_retry();
            let overdue = flight.oldest_sent().map(|sent| sent + patience);
            tokio::select! {
                settled = link.settled() => {
                    self.settle(flight, settled?).await;
                    if flight.returned_anew() {
                        bounded("declaring the topology", patience, link.repair()).await?;
                    }
                }
                () = self.outbox.spool.news() => {}
                () = until(retry), if retry.is_some() => {}
                () = until(overdue), if overdue.is_some() => {
                    let what = String::from("an acknowledgement");
                    return Err(LinkError::TooSlow { what, bound: patience });
                }
                _ = reports.tick(), if self.interval.is_some() => {
                    for outgoing in self.report().await {
                        flight.sent(outgoing.ticket.0);
                        bounded("sending", patience, link.send(outgoing)).await?;
                    }
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        // What is not acknowledged waits on disk for the next start.
        let _ = tokio::time::timeout(PAUSE_MAX / 10, link.close()).await;
        Ok(())
    }

    /// The next messages of the spool; none when there is no room, or nothing to send. Off the loop: a disk may be slow.
    async fn next(&self, flight: &mut Flight) -> Vec<Outgoing> {
        loop {
            let mut due = flight.due();
            let room = WINDOW.saturating_sub(flight.on_their_way() + due.len());
            let after = flight.read();
            let outbox = Arc::clone(&self.outbox);
            let read = tokio::task::spawn_blocking(move || {
                let fresh = outbox.spool.numbers(after, room);
                let last = fresh.last().copied();
                due.extend(fresh);
                let read = due
                    .iter()
                    .map(|number| (*number, outbox.spool.read(*number)));
                (last, read.collect::<Vec<_>>())
            });
            let Ok((last, read)) = read.await else {
                return Vec::new();
            };
            if let Some(last) = last {
                flight.has_read(last);
            }
            let is_all = read.is_empty();
            let mut news = Vec::with_capacity(read.len());
            for (number, outgoing) in read {
                match outgoing {
                    Some(outgoing) => {
                        flight.sent(number);
                        news.push(outgoing);
                    }
                    // A newer one took its place, or it was dropped.
                    None => flight.forget(number),
                }
            }
            if is_all || !news.is_empty() {
                return news;
            }
        }
    }

    /// The controller will not have what is on its way, as it is. What helpers write must not be in the way of everything else:
    /// progress that was part of it several times is dropped.
    async fn strike(&mut self, flight: &Flight) {
        let mut unfit = Vec::new();
        for number in flight.numbers_sent() {
            let strikes = self.strikes.entry(number).or_default();
            *strikes += 1;
            if *strikes >= STRIKES {
                unfit.push(number);
            }
        }
        if unfit.is_empty() {
            return;
        }
        self.strikes.clear();
        let outbox = Arc::clone(&self.outbox);
        let dropped = tokio::task::spawn_blocking(move || {
            let progress = unfit
                .iter()
                .filter(|number| outbox.spool.drop_progress(**number));
            let dropped = progress.count() as u64;
            (dropped, outbox.spool.level())
        });
        if let Ok((dropped, level)) = dropped.await {
            tracing::error!(
                dropped,
                "the controller will not have progress: it is dropped"
            );
            let mut figures = self.counters.figures();
            figures.publication.waiting(level);
            let label = Kind::Progress.label().to_owned();
            *figures.publication.dropped.entry(label).or_default() += dropped;
        }
    }

    async fn settle(&self, flight: &mut Flight, (ticket, outcome): (Ticket, Outcome)) {
        let Ticket(number) = ticket;
        if number >= REPORTS {
            flight.forget(number);
            let mut figures = self.counters.figures();
            match outcome {
                Outcome::Stored => more(&mut figures.publication.published, "report"),
                // The next one says all that it said.
                Outcome::Returned | Outcome::Refused => figures.publication.refused += 1,
            }
            return;
        }
        match outcome {
            Outcome::Stored => {
                flight.forget(number);
                let outbox = Arc::clone(&self.outbox);
                let taken = tokio::task::spawn_blocking(move || {
                    let kind = outbox.spool.take_out(number);
                    (kind, outbox.spool.level())
                });
                if let Ok((kind, level)) = taken.await {
                    let mut figures = self.counters.figures();
                    figures.publication.waiting(level);
                    if let Some(kind) = kind {
                        more(&mut figures.publication.published, kind.label());
                    }
                }
            }
            Outcome::Returned => {
                if flight.again(number, true) {
                    tracing::error!("no queue takes what hooks say; it waits");
                }
                self.counters.figures().publication.returned += 1;
            }
            Outcome::Refused => {
                flight.again(number, false);
                self.counters.figures().publication.refused += 1;
            }
        }
    }

    async fn report(&mut self) -> Vec<Outgoing> {
        let sender = self.look().await;
        let mut reports = self.reporter.reports(&sender, &self.outbox.prefixes).await;
        for outgoing in &mut reports {
            self.reports += 1;
            outgoing.ticket = Ticket(REPORTS + self.reports);
        }
        reports
    }
}

async fn until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        sleep_until(moment).await;
    }
}
