//! The thread that reads and journals: hears of changed files or finds them, reads them, and keeps their events.
//!
//! Hints only save time: everything is listed at the start, at an interval, when hints were lost, and on becoming
//! master. Files that changed while one batch was made last make the next (group commit).

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use ifup::apply::chain;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use snf_events::{JobId, Prefix};
use tokio::sync::{Notify, oneshot};

use super::counters::Counters;
use super::events::{self, Context};
use super::job_file::{self, Job};
use super::journal::record::Subject;
use super::journal::{Journal, JournalError, News, Opened, View};
use super::queue_dir::{QueueDir, Shelf, Stamp, Unreadable};
use super::seen::Seen;

/// Files read before their events are made last.
const BATCH: usize = 256;
/// A thread that has nothing to do beats so often.
const BEAT: Duration = Duration::from_secs(1);

/// What the scribe is told.
#[derive(Debug)]
pub enum Order {
    /// The node is the master now, or not; answered with the epoch in force.
    Role {
        /// Whether it is.
        master: bool,
        /// The cluster's UUID, once known.
        cluster_uuid: Option<String>,
        /// Who waits.
        reply: oneshot::Sender<Result<View, JournalError>>,
    },
    /// Leave off.
    Stop,
}

/// How the scribe is reached.
#[derive(Debug, Clone)]
pub struct Orders {
    to: mpsc::Sender<Order>,
    wake: Arc<EventFd>,
    listed: Arc<Notify>,
}

impl Orders {
    /// Waits until the queue was listed, or could not be.
    pub async fn listed(&self) {
        self.listed.notified().await;
    }

    /// Gives an order. One that ended hears none.
    pub fn give(&self, order: Order) {
        if self.to.send(order).is_ok() {
            let _ = self.wake.write(1);
        }
    }
}

/// What is to be known of the queue and its owner.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose events are kept.
    pub prefixes: Vec<Prefix>,
    /// The cluster's name, as far as known.
    pub cluster: String,
    /// Time between two lists.
    pub list_interval: Duration,
    /// With nothing known, how many archived jobs below the highest are looked at.
    pub archive_depth: u64,
}

/// What a list found.
struct Listed {
    live: BTreeSet<JobId>,
    /// Files that are not known as they stand, in the order of their jobs.
    found: Vec<(Shelf, JobId)>,
}

/// The thread's own.
#[derive(Debug)]
pub struct Scribe {
    settings: Settings,
    queue: QueueDir,
    journal: Journal,
    seen: Seen,
    counters: Arc<Counters>,
    heartbeat: Arc<Notify>,
    orders: mpsc::Receiver<Order>,
    wake: Arc<EventFd>,
    /// True once the archive was searched as deep as it is without a journal.
    searched: bool,
    /// Up to here the search came before; its jobs are taken in the order of their numbers.
    taken: JobId,
    listed: Arc<Notify>,
    next_list: Instant,
}

impl Scribe {
    /// Takes over queue and journal; tells how to reach it.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn new(
        settings: Settings,
        queue: QueueDir,
        opened: Opened,
        counters: Arc<Counters>,
        heartbeat: Arc<Notify>,
    ) -> io::Result<(Self, Orders)> {
        let (to, orders) = mpsc::channel();
        let wake = Arc::new(EventFd::from_flags(
            nix::sys::eventfd::EfdFlags::EFD_CLOEXEC | nix::sys::eventfd::EfdFlags::EFD_NONBLOCK,
        )?);
        let listed = Arc::new(Notify::new());
        let mut seen = Seen::default();
        for known in &opened.recalled {
            let Subject {
                job,
                received,
                op_index,
                ..
            } = known.subject;
            seen.recall(job, received, op_index, known.status);
        }
        let scribe = Self {
            settings,
            queue,
            journal: opened.journal,
            seen,
            counters,
            heartbeat,
            orders,
            wake: Arc::clone(&wake),
            searched: false,
            taken: JobId(0),
            listed: Arc::clone(&listed),
            next_list: now(),
        };
        Ok((scribe, Orders { to, wake, listed }))
    }

    /// Works until told to stop.
    ///
    /// # Errors
    /// When nobody can tell what is on disk: the journal must be opened anew.
    pub fn run(mut self) -> Result<(), JournalError> {
        loop {
            self.counters.beats.more();
            if !self.obey()? {
                return Ok(());
            }
            let hints = self.queue.hints();
            if hints.list {
                self.counters.hints_lost.more();
                self.next_list = now();
            }
            let hinted: Vec<_> = hints
                .jobs
                .into_iter()
                .map(|job| (Shelf::Live, job))
                .collect();
            if let Err(error) = self.take(&hinted) {
                self.journal_failed(error)?;
            }
            if now() >= self.next_list
                && let Err(error) = self.list()
            {
                self.journal_failed(error)?;
            }
            self.wait();
        }
    }

    fn wait(&self) {
        let left = self.next_list.saturating_duration_since(now()).min(BEAT);
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1));
        let mut sources = [
            PollFd::new(self.queue.descriptor(), PollFlags::POLLIN),
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
        ];
        // Woken by a signal or in time: there is a look around either way.
        let _ = poll(&mut sources, timeout.unwrap_or(PollTimeout::ZERO));
        let _ = self.wake.read();
    }

    /// Carries out what was ordered; false when that was to stop.
    fn obey(&mut self) -> Result<bool, JournalError> {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Stop => return Ok(false),
                Order::Role {
                    master,
                    cluster_uuid,
                    reply,
                } => {
                    let done = self.take_role(master, cluster_uuid);
                    if let Err(error @ JournalError::Sync { .. }) = done {
                        return Err(error);
                    }
                    // Whoever asked and is gone does not need to know.
                    let _ = reply.send(done.map(|()| self.journal.view()));
                }
            }
        }
        Ok(true)
    }

    fn take_role(&mut self, master: bool, uuid: Option<String>) -> Result<(), JournalError> {
        let before = self.journal.state();
        let other_cluster = match (&before.cluster_uuid, &uuid) {
            (Some(before), Some(now)) => before != now,
            _ => false,
        };
        let uuid = uuid.or_else(|| before.cluster_uuid.clone());
        if master && self.journal.is_empty() && !other_cluster {
            // Nobody knows this epoch yet: it begins here, and the list that follows is its first.
            self.next_list = now();
            self.journal.set_state(master, uuid)
        } else if master && (!before.master || other_cluster) {
            // What other candidates saw is in the queue directory too: first all of it, then the new epoch.
            self.list()?;
            self.journal.renew(master, uuid)?;
            tracing::info!(epoch = %self.journal.state().epoch, "new epoch");
            Ok(())
        } else {
            self.journal.set_state(master, uuid)
        }
    }

    /// A journal that cannot be written now is tried again; the job files are still there.
    fn journal_failed(&mut self, error: JournalError) -> Result<(), JournalError> {
        self.counters.journal_errors.more();
        if let JournalError::Sync { .. } = error {
            return Err(error);
        }
        tracing::error!("{}", chain(&error));
        self.next_list = now() + BEAT;
        Ok(())
    }

    /// Looks at everything that may have changed.
    fn list(&mut self) -> Result<(), JournalError> {
        self.next_list = now() + self.settings.list_interval;
        // Before the list: what changes during it is heard of.
        let watched = self.queue.watch();
        match watched.and_then(|()| self.find()) {
            Ok(Listed { live, found }) => {
                let count = self.counters.journaled.value();
                for files in found.chunks(BATCH) {
                    self.take(files)?;
                    self.taken = files.last().map_or(self.taken, |(_, job)| *job);
                    // Of an archive of any size no more is remembered than of a small one.
                    self.seen.prune(&live);
                }
                let news = self.counters.journaled.value() - count;
                self.counters.found_by_list.add(news);
                let highest = self.seen.highest().unwrap_or(JobId(0));
                let view = self.journal.view();
                if let Err(error) = view.listed(highest) {
                    tracing::warn!(%error, "keep how far the queue is listed");
                }
                self.searched = true;
                self.counters.lists.more();
                self.counters.listed_at.set(unix_milliseconds());
            }
            Err(error) => {
                let path = self.queue.path().display();
                tracing::error!(%path, %error, "list the job queue");
                self.counters.lists_failed.more();
                self.next_list = now() + BEAT.max(self.settings.list_interval / 10);
            }
        }
        self.listed.notify_one();
        Ok(())
    }

    /// Looks for files that are not known as they stand.
    fn find(&mut self) -> io::Result<Listed> {
        let live = self.queue.live()?;
        let mut found: Vec<(Shelf, JobId)> = Vec::new();
        for job in &live {
            match self.queue.stamp(Shelf::Live, *job) {
                Ok(stamp) if self.seen.has_read(*job, stamp) => {}
                Ok(_) | Err(_) => found.push((Shelf::Live, *job)),
            }
        }
        let from = self.archive_from(&live)?;
        let mut archived = self.queue.archived(from)?;
        archived.extend(self.seen.unfinished_but(&live));
        let open = archived
            .into_iter()
            .filter(|job| !self.seen.is_settled(*job) && !live.contains(job));
        found.extend(open.map(|job| (Shelf::Archive, job)));
        // In the order of their numbers: older jobs' ends are told first.
        found.sort_by_key(|(_, job)| *job);
        self.counters.live_jobs.set(live.len() as u64);
        self.seen.prune(&live);
        self.counters.known_jobs.set(self.seen.count() as u64);
        Ok(Listed { live, found })
    }

    /// From which job on the archive is looked at: from the last list on, and with nothing known, as deep as configured.
    fn archive_from(&self, live: &BTreeSet<JobId>) -> io::Result<JobId> {
        if self.searched {
            return Ok(self.seen.low_water());
        }
        let listed = self.journal.view().mark().listed;
        if listed.0 > 0 {
            return Ok(Seen::low_water_below(listed));
        }
        let highest = live.last().copied().max(self.queue.highest_archived()?);
        let depth = self.settings.archive_depth;
        let deep = JobId(highest.map_or(0, |job| job.0.saturating_sub(depth)));
        // What an attempt journaled before the disk failed is not journaled again.
        Ok(deep.max(Seen::low_water_below(self.taken)))
    }

    /// Reads files and journals what is new in them.
    fn take(&mut self, files: &[(Shelf, JobId)]) -> Result<(), JournalError> {
        for batch in files.chunks(BATCH) {
            let mut taken = Vec::new();
            for (shelf, job) in batch {
                taken.extend(self.read(*shelf, *job));
                self.counters.beats.more();
            }
            self.journal.commit()?;
            for (job, stamp, count) in taken {
                self.seen.remember(&job, stamp);
                self.counters.journaled.add(count);
            }
            self.journal.tidy()?;
            self.counters.journal_bytes.set(self.journal.bytes());
        }
        Ok(())
    }

    /// Reads a file and appends its events; what is to be remembered once they are kept.
    fn read(&mut self, shelf: Shelf, id: JobId) -> Option<(Job, Stamp, u64)> {
        let (content, stamp) = match self.queue.read(shelf, id) {
            Err(Unreadable::Gone) if shelf == Shelf::Live => {
                match self.queue.read(Shelf::Archive, id) {
                    Err(error) => return self.not_read(Shelf::Archive, id, error),
                    Ok(read) => read,
                }
            }
            Err(error) => return self.not_read(shelf, id, error),
            Ok(read) => read,
        };
        if self.seen.has_read(id, stamp) {
            return None;
        }
        self.counters.files_read.more();
        let job = match job_file::parse(id, &content) {
            Ok(job) => job,
            Err(error) => {
                tracing::warn!(job.id = %id, %error, "skipped a file of the job queue");
                self.counters.files_malformed.more();
                self.seen.remember_malformed(id, stamp);
                return None;
            }
        };
        drop(content);
        let context = Context {
            cluster: &self.settings.cluster,
            prefixes: &self.settings.prefixes,
            written: stamp.modified().into(),
        };
        let found = events::from_job(&job, &self.seen.news(&job), context);
        self.counters.foreign.add(found.foreign);
        if found.heartbeat {
            self.heartbeat.notify_one();
        }
        let count = found.events.len() as u64;
        for event in found.events {
            tracing::debug!(job.id = %id, key = %event.key, status = %event.status, "journal");
            self.journal.append(News {
                subject: Subject {
                    job: id,
                    received: job.received,
                    op_index: event.op_index,
                    prefix: event.prefix,
                },
                status: event.status,
                key: event.key,
                body: event.message.encode(),
                written: unix_milliseconds(),
            });
        }
        Some((job, stamp, count))
    }

    fn not_read<T>(&mut self, shelf: Shelf, id: JobId, error: Unreadable) -> Option<T> {
        match error {
            Unreadable::Gone => {
                // Neither here nor there: between two places it is found in a later list.
                if shelf == Shelf::Archive && self.seen.missed(id) {
                    tracing::warn!(job.id = %id, "an unfinished job's file is gone");
                    self.counters.jobs_vanished.more();
                }
            }
            Unreadable::TooLarge { stamp, .. } => {
                if !self.seen.has_read(id, stamp) {
                    tracing::error!(job.id = %id, %error, "skipped a file of the job queue");
                    self.counters.files_too_large.more();
                    self.seen.remember_malformed(id, stamp);
                }
            }
            Unreadable::NoFile | Unreadable::Read(_) => {
                if self.seen.complain(id) {
                    let error = chain(&error);
                    tracing::error!(job.id = %id, "skipped a file of the job queue: {error}");
                    self.counters.files_unreadable.more();
                }
            }
        }
        None
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the shell: the one clock of the scribe"
)]
fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the shell: the one clock of the scribe"
)]
pub(super) fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
