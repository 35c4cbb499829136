//! Reading a journal while it is written.

use std::io;
use std::sync::PoisonError;

use serde_json::value::RawValue;
use snf_events::intake::{Page, Superseded};
use snf_events::{Prefix, Sequence, intake};

use super::View;
use super::record::{Entry, Number, Record};
use super::segment::{self, End, Records};

/// Reads committed records in order, and waits for nothing.
#[derive(Debug)]
pub struct Reader {
    view: View,
    after: Number,
    file: Option<OpenFile>,
    salvages: bool,
}

#[derive(Debug)]
struct OpenFile {
    first: Number,
    /// Of the files, when this one was opened.
    generation: u64,
    records: Records,
}

impl Reader {
    /// A reader of what follows `after`.
    #[must_use]
    pub fn new(view: &View, after: Number) -> Self {
        Self {
            view: view.clone(),
            after,
            file: None,
            salvages: false,
        }
    }

    /// A reader of everything that is left: what is damaged ends a file, and is no error.
    #[must_use]
    pub fn salvage(view: &View) -> Self {
        Self {
            salvages: true,
            ..Self::new(view, Number(0))
        }
    }

    /// The next event up to `end`, which must be committed; nothing when there is none.
    ///
    /// # Errors
    /// When a file cannot be read, or is damaged.
    pub fn next(&mut self, end: Number) -> io::Result<Option<Record>> {
        loop {
            match self.next_entry(end)? {
                Some(Entry::Event(record)) => return Ok(Some(record)),
                Some(Entry::Superseded { .. }) => {}
                None => return Ok(None),
            }
        }
    }

    /// As [`Reader::next`], with what was left out.
    ///
    /// # Errors
    /// As there.
    pub fn next_entry(&mut self, end: Number) -> io::Result<Option<Entry>> {
        let mut again = false;
        while self.after < end {
            if self.file.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(OpenFile { records, .. }) = &mut self.file else {
                return Ok(None);
            };
            while let Some(entry) = records.read()? {
                if entry.number() > self.after {
                    self.after = entry.number();
                    return Ok(Some(entry));
                }
            }
            let damaged = matches!(records.end(), Some(End::Damaged { .. }));
            if !again {
                // What we still lack is committed by now, if it is in this file.
                again = true;
                records.again()?;
            } else if damaged && !self.salvages {
                return Err(io::Error::other("a file of the journal is damaged"));
            } else if self.open_next()? {
                again = false;
            } else {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Opens the file after the one that is open, or the one in which the number after ours must be; false when there
    /// is none.
    fn open_next(&mut self) -> io::Result<bool> {
        let inner = &self.view.0;
        let generation = inner
            .generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let segments = segment::list(&inner.directory)?;
        let open = self.file.as_ref();
        let next = match open.filter(|open| open.generation == *generation) {
            Some(open) => segments.into_iter().find(|next| *next > open.first),
            None => {
                let reaches = |first: &&Number| first.0 <= self.after.0 + 1;
                segments.iter().rfind(reaches).or(segments.first()).copied()
            }
        };
        let Some(first) = next else {
            return Ok(false);
        };
        let path = segment::path(&inner.directory, first);
        self.file = Some(OpenFile {
            first,
            generation: *generation,
            records: Records::open(&path, &inner.epoch)?,
        });
        Ok(true)
    }
}

/// Most records in a [`Page`].
const PAGE_RECORDS: usize = 1000;
/// A page ends with the record that takes it over so many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// The records of `prefix` after `after`, with what was left out.
///
/// # Errors
/// When a file cannot be read, or a body is no JSON.
pub fn page(
    view: &View,
    prefix: &Prefix,
    after: Sequence,
    mut complete: impl FnMut(Record) -> Option<Vec<u8>>,
) -> io::Result<Page> {
    let committed = view.committed().borrow().clone();
    let newest = committed.streams.get(prefix).copied().unwrap_or_default();
    let mut reader = Reader::new(view, Number(0));
    let mut page = Page {
        epoch: view.epoch().clone(),
        prefix: prefix.clone(),
        oldest: newest.next(),
        newest,
        to: newest,
        records: Vec::new(),
        superseded: Vec::new(),
    };
    let mut bytes = 0;
    while let Some(entry) = reader.next_entry(committed.number)? {
        let (of, from, to) = match &entry {
            Entry::Event(record) => (&record.subject.prefix, record.sequence, record.sequence),
            Entry::Superseded { prefix, range, .. } => (prefix, range.from, range.to),
        };
        if of != prefix {
            continue;
        }
        page.oldest = page.oldest.min(from);
        if to <= after {
            continue;
        }
        if page.records.len() >= PAGE_RECORDS || bytes > PAGE_BYTES {
            page.to = Sequence(from.0.saturating_sub(1));
            break;
        }
        match entry {
            Entry::Event(record) => {
                let (sequence, key) = (record.sequence, record.key.clone());
                let Some(body) = complete(record) else {
                    continue;
                };
                bytes += body.len();
                let text = String::from_utf8(body).map_err(io::Error::other)?;
                let message = RawValue::from_string(text)?;
                page.records.push(intake::Record {
                    sequence,
                    key,
                    message,
                });
            }
            Entry::Superseded { range, .. } => page.superseded.push(Superseded {
                from: range.from.max(after.next()),
                to: range.to,
            }),
        }
    }
    Ok(page)
}
