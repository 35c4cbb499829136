//! A file of the journal: a line that says what it is, then records in rising order of their numbers.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use snf_events::Epoch;

use super::record::{self, Entry, Number};

/// What a file ends with; before it, the number of its first record in 20 digits.
const SUFFIX: &str = ".journal";

/// The first line's length: `snf-eventd journal 1 <epoch>\n`.
const OPENING: usize = 21 + 36 + 1;

fn opening(epoch: &Epoch) -> String {
    format!("snf-eventd journal 1 {epoch}\n")
}

/// Where the file is whose first record is `first`.
#[must_use]
pub fn path(directory: &Path, first: Number) -> PathBuf {
    directory.join(format!("{:020}{SUFFIX}", first.0))
}

/// The first numbers of a directory's files, in order.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(directory: &Path) -> io::Result<Vec<Number>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        found.extend(number.map(Number));
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes an empty file and makes it last, but for its name ([`sync_directory`]).
///
/// # Errors
/// When the file system refuses.
pub fn create(path: &Path, epoch: &Epoch) -> io::Result<File> {
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)?;
    file.write_all(opening(epoch).as_bytes())?;
    file.sync_all()?;
    Ok(file)
}

/// Makes the names in a directory last.
///
/// # Errors
/// When the file system refuses.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// How a file's records ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With the file.
    Clean,
    /// In bytes that are no record, from this place of the file on.
    Damaged {
        /// Length of what is sound.
        sound: u64,
    },
}

/// Reads a file's records one after the other.
#[derive(Debug)]
pub struct Records {
    file: BufReader<File>,
    place: u64,
    end: Option<End>,
}

impl Records {
    /// Opens the file at `path`, of the journal `epoch`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path, epoch: &Epoch) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(64 << 10, File::open(path)?);
        let mut line = [0; OPENING];
        let read = read_up_to(&mut file, &mut line)?;
        let is_ours = line.get(..read) == Some(opening(epoch).as_bytes());
        let (place, end) = if is_ours {
            (OPENING as u64, None)
        } else {
            (0, Some(End::Damaged { sound: 0 }))
        };
        Ok(Self { file, place, end })
    }

    /// How the file ended; `None` before it did.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The next record; nothing at the end. A file that grows can be asked again if it ended [`End::Clean`]ly.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> io::Result<Option<Entry>> {
        if let Some(End::Damaged { .. }) = self.end {
            return Ok(None);
        }
        let mut head = [0; record::HEAD];
        match read_up_to(&mut self.file, &mut head)? {
            0 => {
                self.end = Some(End::Clean);
                return Ok(None);
            }
            record::HEAD => {}
            _ => return Ok(self.damaged()),
        }
        let Ok((length, sum)) = record::decode_head(head) else {
            return Ok(self.damaged());
        };
        let mut payload = vec![0; length];
        if read_up_to(&mut self.file, &mut payload)? != length {
            return Ok(self.damaged());
        }
        match record::decode(&payload, sum) {
            Ok(entry) => {
                self.place += (record::HEAD + length) as u64;
                self.end = None;
                Ok(Some(entry))
            }
            Err(record::Damaged) => Ok(self.damaged()),
        }
    }

    /// Goes back to where the sound part ended, to read what was written since.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn again(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.place))?;
        self.end = None;
        Ok(())
    }

    fn damaged(&mut self) -> Option<Entry> {
        self.end = Some(End::Damaged { sound: self.place });
        None
    }
}

/// Fills `room` as far as the file goes.
fn read_up_to(file: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(left @ [_, ..]) = room.get_mut(length..) {
        match file.read(left) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
