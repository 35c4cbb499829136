//! Compaction: of each operation the newest event stays, and of the acknowledged ones only so many; in place of the
//! others, ranges of numbers that say that they are not lost.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use snf_events::intake::Superseded;
use snf_events::{Epoch, Prefix};

use super::newest::Newest;
use super::record::{self, Entry, Number, Record};
use super::segment::{self, Records};

/// Merges all files of `directory` before the one that begins with `open` into one.
///
/// Every event that is not acknowledged stays, unless a newer one stands for it. While files are exchanged,
/// `generation` is held, and it rises. Gives how many events are left.
///
/// # Errors
/// When the file system refuses; what was there is still there then.
pub(super) fn compact(
    directory: &Path,
    epoch: &Epoch,
    open: Number,
    newest: &mut Newest,
    acknowledged: Number,
    keep: usize,
    generation: &Mutex<u64>,
) -> io::Result<u64> {
    let mut segments = segment::list(directory)?;
    segments.retain(|first| *first < open);
    let Some(first) = segments.first().copied() else {
        return Ok(0);
    };
    let each = |take: &mut dyn FnMut(Entry) -> io::Result<()>| -> io::Result<()> {
        let mut last = Number(0);
        for segment in &segments {
            let mut records = Records::open(&segment::path(directory, *segment), epoch)?;
            while let Some(entry) = records.read()? {
                if entry.number() > last {
                    last = entry.number();
                    take(entry)?;
                }
            }
        }
        Ok(())
    };
    // The newest acknowledged events that nothing supersedes, as many as are kept: all before the oldest of them go.
    let mut kept = VecDeque::with_capacity(keep.max(1));
    let mut is_over = false;
    each(&mut |entry| {
        if let Entry::Event(record) = entry
            && record.number <= acknowledged
            && !newest.is_superseded(&record)
        {
            if kept.len() == keep.max(1) {
                kept.pop_front();
                is_over = true;
            }
            kept.push_back(record.number);
        }
        Ok(())
    })?;
    let oldest_kept = match kept.front() {
        Some(oldest) if is_over => *oldest,
        _ => Number(0),
    };
    newest.forget_below(oldest_kept);
    let new = directory.join("compacting");
    let mut merged = Merged {
        file: BufWriter::new(segment::create(&new, epoch)?),
        gaps: BTreeMap::new(),
        frame: Vec::new(),
    };
    let mut left = 0;
    each(&mut |entry| {
        match entry {
            // Below what is kept nothing is remembered, not even that it was there.
            entry if entry.number() < oldest_kept => Ok(()),
            Entry::Event(record) if newest.is_superseded(&record) => {
                let range = Superseded {
                    from: record.sequence,
                    to: record.sequence,
                };
                merged.gap(record.number, record.subject.prefix, range)
            }
            Entry::Event(record) => {
                if record.status.is_final() && record.number <= acknowledged {
                    newest.forget(&record.subject);
                }
                left += 1;
                merged.event(record)
            }
            Entry::Superseded {
                number,
                prefix,
                range,
            } => merged.gap(number, prefix, range),
        }
    })?;
    merged.finish()?;
    let mut generation = generation.lock().unwrap_or_else(PoisonError::into_inner);
    *generation += 1;
    fs::rename(&new, segment::path(directory, first))?;
    segment::sync_directory(directory)?;
    for segment in segments.iter().skip(1) {
        fs::remove_file(segment::path(directory, *segment))?;
    }
    segment::sync_directory(directory).map(|()| left)
}

struct Merged {
    file: BufWriter<File>,
    gaps: BTreeMap<Prefix, (Number, Superseded)>,
    frame: Vec<u8>,
}

impl Merged {
    fn event(&mut self, record: Record) -> io::Result<()> {
        self.close()?;
        self.write(&Entry::Event(record))
    }

    fn gap(&mut self, number: Number, prefix: Prefix, range: Superseded) -> io::Result<()> {
        match self.gaps.get_mut(&prefix) {
            Some((last, open)) if open.to.next() == range.from => {
                open.to = range.to;
                *last = number;
                return Ok(());
            }
            Some(_) => self.close()?,
            None => {}
        }
        self.gaps.insert(prefix, (number, range));
        Ok(())
    }

    /// Writes the ranges, in the order of their numbers, as all records are.
    fn close(&mut self) -> io::Result<()> {
        let mut gaps: Vec<_> = std::mem::take(&mut self.gaps).into_iter().collect();
        gaps.sort_by_key(|(_, (number, _))| *number);
        for (prefix, (number, range)) in gaps {
            self.write(&Entry::Superseded {
                number,
                prefix,
                range,
            })?;
        }
        Ok(())
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        self.frame.clear();
        record::encode(entry, &mut self.frame);
        self.file.write_all(&self.frame)
    }

    fn finish(mut self) -> io::Result<()> {
        self.close()?;
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }
}
