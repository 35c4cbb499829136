//! An epoch's directory: reading what it holds, the file `current` that names it, and removing what is over.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use snf_events::{Epoch, JobStatus, Prefix, Sequence};

use super::newest::Newest;
use super::record::{Entry, Number, Subject};
use super::segment::{self, End, Records};
use super::{JournalError, State};

/// What an epoch's files hold.
pub(super) struct Found {
    pub(super) last: Number,
    pub(super) streams: BTreeMap<Prefix, Sequence>,
    pub(super) newest: Newest,
    pub(super) statuses: HashMap<Subject, JobStatus>,
    pub(super) records: u64,
    /// By stream.
    pub(super) acknowledged: BTreeMap<Prefix, Sequence>,
    /// Records are missing that were there once.
    pub(super) lost: bool,
}

pub(super) fn read_epoch(
    directory: &Path,
    epoch: &Epoch,
    acknowledged: Number,
) -> io::Result<Found> {
    let mut found = Found {
        last: Number(0),
        streams: BTreeMap::new(),
        newest: Newest::default(),
        records: 0,
        statuses: HashMap::new(),
        acknowledged: BTreeMap::new(),
        lost: false,
    };
    let segments = segment::list(directory)?;
    for first in &segments {
        let path = segment::path(directory, *first);
        let mut records = Records::open(&path, epoch)?;
        while let Some(entry) = records.read()? {
            if entry.number() <= found.last {
                continue;
            }
            found.last = entry.number();
            let (prefix, sequence) = match entry {
                Entry::Event(mut record) => {
                    // One text for all: most are of one prefix.
                    if let Some((prefix, _)) = found.streams.get_key_value(&record.subject.prefix) {
                        record.subject.prefix = prefix.clone();
                    }
                    let subject = record.subject;
                    let prefix = subject.prefix.clone();
                    found.records += 1;
                    found
                        .newest
                        .add(subject.clone(), record.number, record.status);
                    found.statuses.insert(subject, record.status);
                    (prefix, record.sequence)
                }
                Entry::Superseded { prefix, range, .. } => (prefix, range.to),
            };
            if found.last <= acknowledged {
                found.acknowledged.insert(prefix.clone(), sequence);
            }
            let stream = found.streams.entry(prefix).or_default();
            *stream = sequence.max(*stream);
        }
        if let Some(End::Damaged { sound }) = records.end() {
            if Some(first) == segments.last() {
                tracing::warn!(path = %path.display(), sound, "cut a damaged end off the journal");
                truncate(&path, sound)?;
            } else {
                tracing::error!(path = %path.display(), sound, "the journal is damaged");
                found.lost = true;
            }
        }
    }
    Ok(found)
}

/// Cuts a file; one without a sound first line goes altogether.
fn truncate(path: &Path, sound: u64) -> io::Result<()> {
    if sound == 0 {
        return fs::remove_file(path);
    }
    let file = File::options().write(true).open(path)?;
    file.set_len(sound)?;
    file.sync_all()
}

pub(super) fn read_state(root: &Path) -> Option<State> {
    let text = fs::read(root.join("current")).ok()?;
    let state: State = serde_json::from_slice(&text).ok()?;
    root.join(state.epoch.as_str()).is_dir().then_some(state)
}

pub(super) fn write_state(root: &Path, state: &State) -> Result<(), JournalError> {
    let (path, new) = (root.join("current"), root.join("current.new"));
    // Three plain fields.
    let text = serde_json::to_vec(state).unwrap_or_default();
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, &path))
        .and_then(|()| segment::sync_directory(root));
    written.map_err(JournalError::io("write", &path))
}

/// Removes what earlier epochs left.
pub(super) fn sweep(root: &Path, epoch: &Epoch) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_epoch = name
            .to_str()
            .is_some_and(|name| name.parse::<Epoch>().is_ok_and(|other| other != *epoch));
        if is_epoch && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "remove an epoch that is over");
        }
    }
}

/// A random UUID, the kernel's.
pub(super) fn new_epoch() -> Result<Epoch, JournalError> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let text = fs::read_to_string(path).map_err(JournalError::io("read", path))?;
    let parsed = text.trim().parse().map_err(io::Error::other);
    parsed.map_err(JournalError::io("read", path))
}
