//! Messages that wait to be published, on disk: a file each, whole or not there, and in force when [`Spool::put`] returns.
//!
//! It is bounded: what is full drops progress first, of the instance that has most of it, and what an operation did to an
//! instance's NICs only when there is no progress left. Nothing is sent twice in a new shape: a message gets its number
//! and its bytes once, when it is put in, and keeps both over restarts.

mod files;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use snf_events::routing::Kind as Queue;
use snf_events::{Epoch, Prefix, RoutingKey, Sequence};
use tokio::sync::Notify;

use crate::transport::{Outgoing, Ticket};
use files::{Files, Kept};

/// Bounds of what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most messages.
    pub messages: usize,
    /// Most bytes.
    pub bytes: u64,
}

/// What waits here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `ganeti-net-status`
    Net,
    /// Progress.
    Progress,
}

impl Kind {
    /// Its label in figures.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Progress => "progress",
        }
    }

    const fn queue(self) -> Queue {
        match self {
            Self::Net => Queue::Net,
            Self::Progress => Queue::Progress,
        }
    }

    /// A lost marker of doubt is a doubt nobody has; a lost percentage is nothing.
    const fn is_mandatory(self) -> bool {
        matches!(self, Self::Net)
    }
}

/// A message that is to be put in.
#[derive(Debug, Clone)]
pub struct Letter {
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub prefix: Prefix,
    /// What it is about.
    pub instance: String,
    /// What of the instance it tells: a newer one that tells the same takes its place. `None`: nothing does.
    pub tells: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Put {
    /// It waits.
    pub waits: bool,
    /// An older one that said the same was taken out.
    pub replaced: bool,
    /// Messages of each kind that were dropped, itself among them: net, progress.
    pub dropped: (u64, u64),
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
    /// When the oldest was put in, milliseconds since 1970; 0: none waits.
    pub oldest: u64,
}

/// The spool.
#[derive(Debug)]
pub struct Spool {
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Debug)]
struct Inner {
    files: Files,
    limits: Limits,
    epochs: BTreeMap<Kind, Epoch>,
    given: BTreeMap<(Kind, Prefix), Sequence>,
    entries: BTreeMap<u64, Entry>,
    bytes: u64,
    last: u64,
    /// The newest of each kind that tells something of an instance.
    newest: HashMap<(Kind, String, String), u64>,
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    instance: String,
    tells: Option<String>,
    bytes: u64,
    at: u64,
}

impl Spool {
    /// Opens the spool under a state directory, with what an earlier life left there. `epochs`: new ones, for what is put in
    /// from now on.
    ///
    /// # Errors
    /// The directory cannot be made or read. A file that cannot be used is removed, and said.
    pub fn open(state: &Path, limits: Limits, epochs: [Epoch; 2]) -> io::Result<Self> {
        let (files, kept) = Files::open(&state.join("spool"))?;
        let [net, progress] = epochs;
        let mut inner = Inner {
            files,
            limits,
            epochs: BTreeMap::from([(Kind::Net, net), (Kind::Progress, progress)]),
            given: BTreeMap::new(),
            entries: BTreeMap::new(),
            bytes: 0,
            last: 0,
            newest: HashMap::new(),
        };
        for (number, kept, bytes) in kept {
            inner.enter(number, &kept, bytes);
        }
        let mut put = Put::default();
        inner.make_room(0, 0, &mut put);
        if put.dropped != (0, 0) {
            tracing::warn!(dropped = ?put.dropped, "the spool is smaller than what was left in it");
        }
        Ok(Self {
            inner: Mutex::new(inner),
            news: Notify::new(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Its parts are changed one at a time, and files are written whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in; `body` makes its bytes, given life and number. On disk when it returns. `now`: milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// It cannot be written: then it is lost.
    pub fn put(
        &self,
        letter: &Letter,
        now: u64,
        body: impl FnOnce(&Epoch, Sequence) -> Vec<u8>,
    ) -> io::Result<Put> {
        let put = self.inner().put(letter, now, body)?;
        if put.waits {
            self.news.notify_one();
        }
        Ok(put)
    }

    /// Waits until something was put in.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// The numbers of what waits above `after`, at most `room`, the lowest first.
    #[must_use]
    pub fn numbers(&self, after: u64, room: usize) -> Vec<u64> {
        let inner = self.inner();
        let above = inner.entries.range(after + 1..).take(room);
        above.map(|(number, _)| *number).collect()
    }

    /// A message as it is sent; `None` when it waits no more.
    #[must_use]
    pub fn read(&self, number: u64) -> Option<Outgoing> {
        self.inner().read(number)
    }

    /// Takes a message out: it is stored on the other side. Its kind; `None` when it waited no more.
    pub fn take_out(&self, number: u64) -> Option<Kind> {
        let mut inner = self.inner();
        let kind = inner.entries.get(&number)?.kind;
        inner.remove(number);
        Some(kind)
    }

    /// Takes a message out unsent, if it is progress.
    pub fn drop_progress(&self, number: u64) -> bool {
        let mut inner = self.inner();
        let entry = inner.entries.get(&number);
        let is_progress = entry.is_some_and(|entry| entry.kind == Kind::Progress);
        if is_progress {
            inner.remove(number);
        }
        is_progress
    }

    /// How much waits.
    #[must_use]
    pub fn level(&self) -> Level {
        let inner = self.inner();
        let oldest = inner.entries.values().next();
        Level {
            messages: inner.entries.len() as u64,
            bytes: inner.bytes,
            oldest: oldest.map_or(0, |entry| entry.at),
        }
    }
}

impl Inner {
    fn put(
        &mut self,
        letter: &Letter,
        now: u64,
        body: impl FnOnce(&Epoch, Sequence) -> Vec<u8>,
    ) -> io::Result<Put> {
        let mut put = Put::default();
        let Some(epoch) = self.epochs.get(&letter.kind).cloned() else {
            return Ok(put);
        };
        let stream = (letter.kind, letter.prefix.clone());
        let sequence = self.given.get(&stream).copied().unwrap_or_default().next();
        let kept = Kept {
            kind: letter.kind,
            prefix: letter.prefix.clone(),
            instance: letter.instance.clone(),
            tells: letter.tells.clone(),
            at: now,
            sequence,
            body: body(&epoch, sequence),
            epoch,
        };
        self.given.insert(stream, sequence);
        let text = kept.encode();
        let bytes = text.len() as u64;
        let older = kept
            .place()
            .and_then(|place| self.newest.get(&place).copied());
        let (spared, freed) = match older.and_then(|older| self.entries.get(&older)) {
            Some(entry) => (1, entry.bytes),
            None => (0, 0),
        };
        if !self.may_enter(letter.kind, bytes) {
            put.drop_one(letter.kind);
            return Ok(put);
        }
        // The newer is there before the older goes.
        self.make_room_for(1 - spared, bytes.saturating_sub(freed), older, &mut put);
        let number = self.last + 1;
        self.files.write(number, &text)?;
        self.enter(number, &kept, bytes);
        if let Some(older) = older.filter(|older| self.entries.contains_key(older)) {
            self.remove(older);
            put.replaced = true;
        }
        put.waits = true;
        Ok(put)
    }

    /// False for what fits in no way: larger than all, or progress while there is none that could be dropped for it.
    fn may_enter(&self, kind: Kind, bytes: u64) -> bool {
        let of_others = |entry: &&Entry| kind == Kind::Progress && entry.kind == Kind::Net;
        let (count, held) = self
            .entries
            .values()
            .filter(of_others)
            .fold((0, 0), |(count, held), entry| {
                (count + 1, held + entry.bytes)
            });
        count < self.limits.messages && held + bytes <= self.limits.bytes
    }

    fn make_room(&mut self, messages: usize, bytes: u64, put: &mut Put) {
        self.make_room_for(messages, bytes, None, put);
    }

    fn make_room_for(&mut self, messages: usize, bytes: u64, spare: Option<u64>, put: &mut Put) {
        while self.entries.len() + messages > self.limits.messages
            || self.bytes + bytes > self.limits.bytes
        {
            let Some((number, kind)) = self.least(spare) else {
                return;
            };
            self.remove(number);
            put.drop_one(kind);
        }
    }

    /// What is dropped first: the oldest progress of the instance that has most; without any, the oldest of all.
    fn least(&self, spare: Option<u64>) -> Option<(u64, Kind)> {
        let entries = || {
            let all = self.entries.iter();
            all.filter(move |(number, _)| Some(**number) != spare)
        };
        let progress = || entries().filter(|(_, entry)| entry.kind == Kind::Progress);
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (_, entry) in progress() {
            *counts.entry(&entry.instance).or_default() += 1;
        }
        let most = counts.values().max().copied();
        let first = match most {
            Some(most) => {
                progress().find(|(_, entry)| counts.get(entry.instance.as_str()) == Some(&most))
            }
            None => entries().next(),
        };
        first.map(|(number, entry)| (*number, entry.kind))
    }

    fn enter(&mut self, number: u64, kept: &Kept, bytes: u64) {
        self.last = number.max(self.last);
        self.bytes += bytes;
        if let Some(place) = kept.place() {
            self.newest.insert(place, number);
        }
        let entry = Entry {
            kind: kept.kind,
            instance: kept.instance.clone(),
            tells: kept.tells.clone(),
            bytes,
            at: kept.at,
        };
        self.entries.insert(number, entry);
    }

    fn remove(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else {
            return;
        };
        self.bytes -= entry.bytes;
        if let Some(tells) = entry.tells {
            let place = (entry.kind, entry.instance, tells);
            if self.newest.get(&place) == Some(&number) {
                self.newest.remove(&place);
            }
        }
        // One that stays is sent again after a restart: that is allowed.
        self.files.remove(number);
    }

    fn read(&mut self, number: u64) -> Option<Outgoing> {
        self.entries.get(&number)?;
        match self.files.read(number) {
            Ok(kept) => Some(Outgoing {
                ticket: Ticket(number),
                id: format!("{}/{}/{}", kept.epoch, kept.prefix.word(), kept.sequence),
                key: kept.key(),
                mandatory: kept.kind.is_mandatory(),
                epoch: kept.epoch,
                sequence: kept.sequence,
                prefix: kept.prefix,
                body: kept.body,
            }),
            Err(error) => {
                tracing::error!(%error, number, "a message of the spool cannot be read: it is lost");
                self.remove(number);
                None
            }
        }
    }
}

impl Kept {
    fn place(&self) -> Option<(Kind, String, String)> {
        Some((self.kind, self.instance.clone(), self.tells.clone()?))
    }

    fn key(&self) -> RoutingKey {
        self.kind.queue().key(&self.prefix)
    }
}

impl Put {
    const fn drop_one(&mut self, kind: Kind) {
        match kind {
            Kind::Net => self.dropped.0 += 1,
            Kind::Progress => self.dropped.1 += 1,
        }
    }
}

#[cfg(test)]
mod tests;
