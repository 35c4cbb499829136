//! How far publication is, on disk: two slots, written in turn, so that one is always whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use snf_events::JobId;

use super::record::Number;

const SLOT: usize = 28;

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// All events up to this one are acknowledged.
    pub acknowledged: Number,
    /// The highest job when the directory was last listed wholly.
    pub listed: JobId,
}

/// The file `cursor` of a journal.
#[derive(Debug)]
pub struct Cursor {
    file: File,
    generation: u64,
}

impl Cursor {
    /// Opens it, or makes it, and reads what is kept.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(directory: &Path) -> io::Result<(Self, Mark)> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(directory.join("cursor"))?;
        let mut newest = (0, Mark::default());
        for slot in [0, 1] {
            let mut bytes = [0; SLOT];
            let read = file.read_at(&mut bytes, slot * SLOT as u64)?;
            if let Some(found) = decode(&bytes).filter(|_| read == SLOT)
                && found.0 > newest.0
            {
                newest = found;
            }
        }
        let (generation, mark) = newest;
        Ok((Self { file, generation }, mark))
    }

    /// Keeps a new mark and makes it last.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&mut self, mark: Mark) -> io::Result<()> {
        let generation = self.generation + 1;
        let place = (generation % 2) * SLOT as u64;
        self.file.write_all_at(&encode(generation, mark), place)?;
        self.file.sync_data()?;
        self.generation = generation;
        Ok(())
    }
}

fn encode(generation: u64, mark: Mark) -> Vec<u8> {
    let numbers = [generation, mark.acknowledged.0, mark.listed.0];
    let mut bytes = numbers.map(u64::to_le_bytes).concat();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; SLOT]) -> Option<(u64, Mark)> {
    let (numbers, sum) = bytes.split_at(SLOT - 4);
    if crc32fast::hash(numbers).to_le_bytes() != sum {
        return None;
    }
    let mut numbers = numbers
        .as_chunks()
        .0
        .iter()
        .map(|bytes| u64::from_le_bytes(*bytes));
    let generation = numbers.next()?;
    let mark = Mark {
        acknowledged: Number(numbers.next()?),
        listed: JobId(numbers.next()?),
    };
    Some((generation, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u64) -> Mark {
        Mark {
            acknowledged: Number(number),
            listed: JobId(number * 2),
        }
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (mut cursor, start) = Cursor::open(path).unwrap();
        assert_eq!(start, Mark::default());
        for number in 1..=3 {
            cursor.write(mark(number)).unwrap();
            assert_eq!(Cursor::open(path).unwrap().1, mark(number));
        }
        // The third was written over the first; a torn third leaves the second.
        let file = path.join("cursor");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[SLOT + 9] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(Cursor::open(path).unwrap().1, mark(2));
    }
}
