//! The record of which write of a binding file was for which TAP: what a restart must not forget.
//!
//! A line per claim, appended; the last line of a name counts. Kept in the runtime directory, which a reboot empties,
//! as a reboot gives all interface indexes anew.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::bindings::Stamp;
use snf_nft::IfName;

/// The open record.
#[derive(Debug)]
pub struct Claims {
    path: PathBuf,
    file: File,
    lines: usize,
}

/// What was recorded of a name: which write, and the interface index it was for.
pub type Recorded = HashMap<IfName, (Stamp, u32)>;

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
#[error("keep the record of claims {}", path.display())]
pub struct ClaimsError {
    path: PathBuf,
    source: io::Error,
}

/// Superfluous lines after which the record is written anew.
const SUPERFLUOUS: usize = 4096;

impl Claims {
    /// Opens the record, made if it is not there, and reads it.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(path: &Path) -> Result<(Self, Recorded), ClaimsError> {
        let failed = |source| ClaimsError {
            path: path.to_owned(),
            source,
        };
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let recorded = text.lines().filter_map(parse).collect();
        Ok((
            Self {
                path: path.to_owned(),
                file,
                lines: text.lines().count(),
            },
            recorded,
        ))
    }

    /// Appends a claim.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, name: IfName, stamp: Stamp, tap: u32) -> Result<(), ClaimsError> {
        self.lines += 1;
        self.write(line(name, stamp, tap).as_bytes())
    }

    /// True when so many lines are superfluous that the record is to be written anew.
    #[must_use]
    pub const fn is_long(&self, live: usize) -> bool {
        self.lines > live.saturating_add(SUPERFLUOUS)
    }

    /// Writes the record anew, with these claims only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rewrite(
        &mut self,
        claims: impl Iterator<Item = (IfName, Stamp, u32)>,
    ) -> Result<(), ClaimsError> {
        let mut text = String::new();
        self.lines = 0;
        for (name, stamp, tap) in claims {
            text.push_str(&line(name, stamp, tap));
            self.lines += 1;
        }
        let emptied = self
            .file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|source| ClaimsError {
            path: self.path.clone(),
            source,
        })?;
        self.write(text.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ClaimsError> {
        let failed = |source| ClaimsError {
            path: self.path.clone(),
            source,
        };
        self.file.write_all(bytes).map_err(failed)
    }
}

fn line(name: IfName, stamp: Stamp, tap: u32) -> String {
    let Stamp {
        inode,
        modified: (seconds, nanoseconds),
        size,
    } = stamp;
    format!("{name} {tap} {inode} {seconds} {nanoseconds} {size}\n")
}

fn parse(line: &str) -> Option<(IfName, (Stamp, u32))> {
    let mut words = line.split(' ');
    let name = words.next()?.parse().ok()?;
    let tap = words.next()?.parse().ok()?;
    let stamp = Stamp {
        inode: words.next()?.parse().ok()?,
        modified: (words.next()?.parse().ok()?, words.next()?.parse().ok()?),
        size: words.next()?.parse().ok()?,
    };
    Some((name, (stamp, tap)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_read_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("claims");
        let name = |text: &str| text.parse().unwrap();
        let stamp = |inode| Stamp {
            inode,
            modified: (-1, 5),
            size: 7,
        };
        let (mut claims, recorded) = Claims::open(&path).unwrap();
        assert!(recorded.is_empty());
        claims.add(name("tap0"), stamp(1), 4).unwrap();
        claims.add(name("tap1"), stamp(2), 5).unwrap();
        claims.add(name("tap0"), stamp(3), 6).unwrap();
        claims.write(b"tap2 9").unwrap();
        let (mut claims, recorded) = Claims::open(&path).unwrap();
        let expected =
            Recorded::from([(name("tap0"), (stamp(3), 6)), (name("tap1"), (stamp(2), 5))]);
        assert_eq!(recorded, expected);
        claims
            .rewrite([(name("tap1"), stamp(2), 5)].into_iter())
            .unwrap();
        claims.add(name("tap3"), stamp(4), 7).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "tap1 5 2 -1 5 7\ntap3 7 4 -1 5 7\n");
    }
}
