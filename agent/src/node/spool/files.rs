//! The spool's files: `NUMBER.json` each, written beside and renamed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use snf_events::{Epoch, Prefix, Sequence};

use super::Kind;

/// What a file that is only being written is called.
const NEW: &str = "new";

/// A message as it is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) kind: Kind,
    pub(super) prefix: Prefix,
    pub(super) instance: String,
    pub(super) tells: Option<String>,
    /// Milliseconds since 1970.
    pub(super) at: u64,
    pub(super) epoch: Epoch,
    pub(super) sequence: Sequence,
    /// JSON.
    pub(super) body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    kind: Kind,
    prefix: Prefix,
    instance: String,
    tells: Option<String>,
    at: u64,
    epoch: Epoch,
    sequence: Sequence,
    body: Box<RawValue>,
}

impl Kept {
    /// Its file's text.
    pub(super) fn encode(&self) -> Vec<u8> {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        let written = Written {
            kind: self.kind,
            prefix: self.prefix.clone(),
            instance: self.instance.clone(),
            tells: self.tells.clone(),
            at: self.at,
            epoch: self.epoch.clone(),
            sequence: self.sequence,
            // Bodies are JSON that we made.
            body: RawValue::from_string(body).unwrap_or_default(),
        };
        serde_json::to_vec(&written).unwrap_or_default()
    }

    fn decode(text: &[u8]) -> io::Result<Self> {
        let written: Written = serde_json::from_slice(text)?;
        Ok(Self {
            kind: written.kind,
            prefix: written.prefix,
            instance: written.instance,
            tells: written.tells,
            at: written.at,
            epoch: written.epoch,
            sequence: written.sequence,
            body: String::from(Box::<str>::from(written.body)).into_bytes(),
        })
    }
}

/// A message that was found: its number, itself, the length of its file.
pub(super) type Found = (u64, Kept, u64);

/// The directory.
#[derive(Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    /// Opens the directory, and reads what is in it: number, message, length; in order.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Vec<Found>)> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.map_err(|error| named("make", directory, &error))?;
        let files = Self(directory.to_owned());
        let mut kept = Vec::new();
        let entries = fs::read_dir(directory).map_err(|error| named("list", directory, &error))?;
        for entry in entries {
            let path = entry
                .map_err(|error| named("list", directory, &error))?
                .path();
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name
                .and_then(|name| name.strip_suffix(".json"))
                .and_then(|stem| stem.parse().ok());
            let read = match number {
                Some(number) => fs::read(&path)
                    .and_then(|text| Ok((number, Kept::decode(&text)?, text.len() as u64))),
                None if name == Some(NEW) => {
                    let _ = fs::remove_file(&path);
                    continue;
                }
                None => continue,
            };
            match read {
                Ok(read) => kept.push(read),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a message of the spool cannot be read: it is removed");
                    let _ = fs::remove_file(&path);
                }
            }
        }
        kept.sort_unstable_by_key(|(number, ..)| *number);
        Ok((files, kept))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:020}.json"))
    }

    /// Writes a message; it stays over a power cut when this returns.
    pub(super) fn write(&self, number: u64, text: &[u8]) -> io::Result<()> {
        let (new, path) = (self.0.join(NEW), self.path(number));
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.0)?.sync_all()
        });
        written.map_err(|error| named("write", &path, &error))
    }

    pub(super) fn read(&self, number: u64) -> io::Result<Kept> {
        let path = self.path(number);
        let read = fs::read(&path).and_then(|text| Kept::decode(&text));
        read.map_err(|error| named("read", &path, &error))
    }

    pub(super) fn remove(&self, number: u64) {
        let path = self.path(number);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "remove a message from the spool");
        }
    }
}

fn named(act: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{act} {}: {error}", path.display()))
}
