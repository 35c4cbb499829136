//! The directory of binding files: what is in it, and what is written to it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nfdhcpd_binding::{Binding, IgnoredLine, TapName, limits};

use crate::bindings::{Read, Stamp};
use snf_nft::IfName;

/// A directory that is watched.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    inotify: Inotify,
    watch: Option<WatchDescriptor>,
    /// Device and inode number of what is watched.
    watched: Option<(u64, u64)>,
    buffer: Box<[u8]>,
}

/// What happened in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileEvent {
    /// The file was written, or moved here.
    Written(IfName),
    /// The file's mode or owner changed: one that could not be read may be readable now.
    Permitted(IfName),
    /// The file is gone.
    Removed(IfName),
    /// Anything may have happened: the directory is to be listed.
    Overrun,
    /// The directory is gone, or another one has its place: it is to be watched anew and listed.
    Replaced,
}

/// What went wrong with the directory.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No inotify.
    #[error("open inotify")]
    Open(#[source] io::Error),
    /// The directory cannot be watched.
    #[error("watch {}", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory cannot be listed.
    #[error("list {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Events cannot be read.
    #[error("read events of {}", path.display())]
    Events {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A file and when it last changed in any way.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its content.
    pub read: Read,
    /// Its lines without effect.
    pub ignored: Vec<IgnoredLine>,
    /// Last change of content, name or mode, seconds since 1970: it cannot be set back.
    pub changed: i64,
}

/// A binding file is never larger; what is behind is not read.
const FILE_MAX: u64 = limits::FILE_BYTES as u64;

impl Directory {
    /// Watches the directory; what happens from now on is kept for [`Directory::events`].
    ///
    /// # Errors
    /// When there is no inotify, or the directory is not there.
    pub fn open(path: &Path) -> Result<Self, WatchError> {
        let mut directory = Self {
            path: path.to_owned(),
            inotify: Inotify::init().map_err(WatchError::Open)?,
            watch: None,
            watched: None,
            buffer: vec![0; 16 << 10].into_boxed_slice(),
        };
        directory.watch()?;
        Ok(directory)
    }

    /// Watches what has the directory's name now.
    ///
    /// # Errors
    /// When the directory is not there.
    pub fn watch(&mut self) -> Result<(), WatchError> {
        if let Some(old) = self.watch.take() {
            // It is gone already when the directory is.
            let _ = self.inotify.watches().remove(old);
        }
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let watched = self.inotify.watches().add(&self.path, mask);
        self.watch = Some(watched.map_err(|source| WatchError::Watch {
            path: self.path.clone(),
            source,
        })?);
        self.watched = identity(&self.path);
        Ok(())
    }

    /// True while what is watched is what has the directory's name.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.watch.is_some() && self.watched.is_some() && self.watched == identity(&self.path)
    }

    /// The directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends what happened; returns when nothing more did.
    ///
    /// # Errors
    /// When inotify fails.
    pub fn events(&mut self, out: &mut Vec<FileEvent>) -> Result<(), WatchError> {
        let Self {
            path,
            inotify,
            watch,
            buffer,
            ..
        } = self;
        loop {
            let events = match inotify.read_events(buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(source) => {
                    return Err(WatchError::Events {
                        path: path.clone(),
                        source,
                    });
                }
            };
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    out.push(FileEvent::Overrun);
                    continue;
                }
                if watch.as_ref() != Some(&event.wd) {
                    continue; // of a directory that was replaced
                }
                let self_gone = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED;
                if event.mask.intersects(self_gone | EventMask::UNMOUNT) {
                    *watch = None;
                    out.push(FileEvent::Replaced);
                    continue;
                }
                let Some(name) = event.name.and_then(binding_name) else {
                    continue;
                };
                out.push(
                    if event
                        .mask
                        .intersects(EventMask::DELETE | EventMask::MOVED_FROM)
                    {
                        FileEvent::Removed(name)
                    } else if event.mask.contains(EventMask::ATTRIB) {
                        FileEvent::Permitted(name)
                    } else {
                        FileEvent::Written(name)
                    },
                );
            }
        }
    }

    /// Names of all binding files.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn list(&self) -> Result<Vec<IfName>, WatchError> {
        let failed = |source| WatchError::List {
            path: self.path.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            names.extend(binding_name(&entry.file_name()));
        }
        Ok(names)
    }

    /// Reads a file; `None` when there is none, or it is no regular file.
    #[must_use]
    pub fn read(&self, name: IfName) -> Option<Found> {
        read_file(&self.path.join(name.as_str()))
    }

    /// Which write a file holds, without reading it.
    #[must_use]
    pub fn stamp(&self, name: IfName) -> Option<Stamp> {
        let metadata = std::fs::metadata(self.path.join(name.as_str())).ok()?;
        metadata.is_file().then(|| stamp(&metadata))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// A file's name as its TAP's; `None` for names no TAP has, and for what editors and writers leave.
fn binding_name(name: &OsStr) -> Option<IfName> {
    TapName::from_file_name(name)?.as_str().parse().ok()
}

/// Reads a binding file; `None` when there is none, or it is no regular file. What cannot be read is refused.
#[must_use]
pub fn read_file(path: &Path) -> Option<Found> {
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let metadata = std::fs::metadata(path).ok()?;
            let reason = format!(
                "cannot be read: {error} (mode {:03o})",
                metadata.mode() & 0o777
            );
            let read = Read {
                stamp: stamp(&metadata),
                content: Err(reason),
            };
            return Some(Found {
                read,
                ignored: Vec::new(),
                changed: metadata.ctime(),
            });
        }
    };
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.size().min(FILE_MAX)).ok()? + 1);
    let mut ignored = Vec::new();
    let content = match file.take(FILE_MAX + 1).read_to_end(&mut bytes) {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(_) => Binding::read_bytes(&bytes)
            .map_err(|error| error.to_string())
            .map(|file| {
                ignored = file.ignored;
                file.binding
            }),
    };
    let read = Read {
        stamp: stamp(&metadata),
        content,
    };
    Some(Found {
        read,
        ignored,
        changed: metadata.ctime(),
    })
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path)
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    Stamp {
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        size: metadata.size(),
    }
}

#[cfg(test)]
mod tests;
