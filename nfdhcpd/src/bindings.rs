//! Which binding file is in force for which TAP. Pure: told of files and devices, it says what changes.
//!
//! One write of a file serves one TAP, the one that has its name when the file is written, or when there is none, the
//! next that appears. A device that later comes by the same name is another VM's: it is served only when the file is
//! written anew. A write is told from the one before by its `Stamp`; which interface index it was for is recorded, so
//! that a restart changes nothing of it.
//!
//! ```text
//!  written, no TAP         TAP appears            TAP gone
//!  ───────────────► Waiting ─────────► For(index) ────────► For(index), stale
//!  written, TAP there ─────────────────────▲  ▲                 │
//!                                             └── written anew ─┘
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};

use nfdhcpd_binding::Binding;

use crate::link::Link;
use crate::responder::Attachment;
use snf_nft::IfName;

/// One write of a file, told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Time of the last write, seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Bytes.
    pub size: u64,
}

/// What a file held when it was read.
#[derive(Debug, Clone)]
pub struct Read {
    /// Which write it was.
    pub stamp: Stamp,
    /// The binding, or why it is refused.
    pub content: Result<Binding, String>,
}

/// What a start knows of a file beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Written since the host booted, and not known to be for any TAP.
    Fresh,
    /// Recorded as written for the TAP of this interface index.
    Recorded(u32),
    /// Written before the host booted: for a TAP that is gone.
    EarlierBoot,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Change {
    /// The TAP is served by this binding from now on.
    Serve {
        /// Its name.
        name: IfName,
        /// Its interface index.
        tap: u32,
        /// How it is attached.
        attachment: Attachment,
        /// What it is served.
        binding: Box<Binding>,
    },
    /// The TAP is served no more.
    Withdraw {
        /// Its name.
        name: IfName,
        /// Its interface index.
        tap: u32,
        /// The device is gone: nothing can be sent to it.
        gone: bool,
    },
    /// The file is to be read again, and told by [`Bindings::read_again`].
    Read(IfName),
    /// The write is for the TAP of this interface index: to be recorded.
    Claim {
        /// The file's name.
        name: IfName,
        /// Which write.
        stamp: Stamp,
        /// The TAP's interface index.
        tap: u32,
    },
    /// The redirect of this TAP may have changed.
    Redirect(IfName),
    /// The file is refused.
    Refuse {
        /// The file's name.
        name: IfName,
        /// Key, value, reason.
        reason: String,
        /// The last good binding stays in force.
        last_good: bool,
    },
}

/// How a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// In force for the TAP of this interface index.
    InForce(u32),
    /// Waits for its TAP to appear.
    Waiting,
    /// Written for a TAP that is gone; what has its name now is another.
    Stale,
    /// Refused; perhaps the last good binding is in force.
    Refused {
        /// Key, value, reason.
        reason: &'a str,
        /// The interface index for which the last good one is in force.
        last_good: Option<u32>,
    },
}

/// Whom the redirect takes packets from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirected {
    /// The TAP; `None` while it does not exist.
    pub tap: Option<Link>,
    /// The bridge it is a port of.
    pub bridge: Option<Link>,
}

/// All files and devices.
#[derive(Debug, Default)]
pub struct Bindings {
    entries: BTreeMap<IfName, Entry>,
    links: HashMap<u32, Link>,
    by_name: HashMap<IfName, u32>,
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    claim: Claim,
    refused: Option<Box<str>>,
    waiting: Option<Box<Binding>>,
    in_force: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Waiting,
    For(u32),
    EarlierBoot,
}

impl Bindings {
    /// A file that was there at the start, after all devices were told.
    pub fn found(&mut self, name: IfName, read: Read, origin: Origin, out: &mut Vec<Change>) {
        let here = self.by_name.get(&name).copied();
        let claim = match origin {
            Origin::Fresh => return self.written(name, read, out),
            Origin::Recorded(index) if here == Some(index) => {
                return self.written(name, read, out);
            }
            Origin::Recorded(index) => Claim::For(index),
            Origin::EarlierBoot => Claim::EarlierBoot,
        };
        let refused = read.content.err().map(String::into_boxed_str);
        let entry = Entry {
            stamp: read.stamp,
            claim,
            refused,
            waiting: None,
            in_force: None,
        };
        self.entries.insert(name, entry);
    }

    /// A file was written.
    pub fn written(&mut self, name: IfName, read: Read, out: &mut Vec<Change>) {
        let link = self.link(name).copied();
        let old = self.entries.remove(&name);
        let mut entry = Entry {
            stamp: read.stamp,
            claim: Claim::Waiting,
            refused: None,
            waiting: None,
            in_force: old.as_ref().and_then(|old| old.in_force),
        };
        let content = match (read.content, link) {
            (
                Ok(_),
                Some(Link {
                    is_bridge: true, ..
                }),
            ) => Err(String::from(
                "the device is a bridge: a binding is for a TAP, whose name the file has",
            )),
            (content, _) => content,
        };
        if let Some(link) = link {
            entry.claim = Claim::For(link.index);
            if old.is_none_or(|old| old.stamp != entry.stamp || old.claim != entry.claim) {
                out.push(Change::Claim {
                    name,
                    stamp: entry.stamp,
                    tap: link.index,
                });
            }
        }
        match (content, link) {
            (Err(reason), _) => {
                entry.refused = Some(reason.as_str().into());
                out.push(Change::Refuse {
                    name,
                    reason,
                    last_good: entry.in_force.is_some(),
                });
            }
            (Ok(binding), None) => entry.waiting = Some(Box::new(binding)),
            (Ok(binding), Some(link)) => {
                entry.in_force = Some(link.index);
                out.push(self.serve(&link, binding));
            }
        }
        self.entries.insert(name, entry);
        out.push(Change::Redirect(name));
    }

    /// A file was read again, as [`Change::Read`] asked: the same write as before brings its binding back into force
    /// for the same TAP only.
    pub fn read_again(&mut self, name: IfName, read: Read, out: &mut Vec<Change>) {
        let Some(entry) = self.entries.get(&name) else {
            return;
        };
        if entry.stamp != read.stamp {
            return self.written(name, read, out);
        }
        let Some(link) = self.link(name).copied() else {
            return;
        };
        if entry.claim == Claim::For(link.index)
            && !link.is_bridge
            && let Ok(binding) = read.content
        {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.in_force = Some(link.index);
            }
            out.push(self.serve(&link, binding));
            out.push(Change::Redirect(name));
        }
    }

    /// A file is gone.
    pub fn removed(&mut self, name: IfName, out: &mut Vec<Change>) {
        let Some(entry) = self.entries.remove(&name) else {
            return;
        };
        if let Some(tap) = entry.in_force {
            out.push(Change::Withdraw {
                name,
                tap,
                gone: false,
            });
        }
        out.push(Change::Redirect(name));
    }

    /// Devices, all there are: at the start, and when events were lost.
    pub fn links(&mut self, links: &[Link], out: &mut Vec<Change>) {
        let here: HashSet<u32> = links.iter().map(|link| link.index).collect();
        let gone: Vec<u32> = self
            .links
            .keys()
            .copied()
            .filter(|i| !here.contains(i))
            .collect();
        for index in gone {
            self.link_gone(index, out);
        }
        // Bridges first: whether a port is bridged is asked of them.
        let (bridges, others): (Vec<&Link>, Vec<&Link>) =
            links.iter().partition(|link| link.is_bridge);
        for link in bridges.into_iter().chain(others) {
            self.link_here(*link, out);
        }
    }

    /// A device is there, new or changed.
    pub fn link_here(&mut self, link: Link, out: &mut Vec<Change>) {
        let before = self.links.get(&link.index).copied();
        if before == Some(link) {
            return;
        }
        if let Some(before) = before
            && before.name != link.name
        {
            self.link_gone(link.index, out);
        }
        if let Some(other) = self.by_name.get(&link.name).copied()
            && other != link.index
        {
            self.link_gone(other, out);
        }
        let attached = before.map(|before| self.attachment(&before));
        self.links.insert(link.index, link);
        if link.is_bridge {
            self.bridge_changed(link, out);
        }
        let appeared = self.by_name.insert(link.name, link.index).is_none();
        let reattached = !appeared && attached != Some(self.attachment(&link));
        let moved = before.is_some_and(|b| (b.master, b.mac) != (link.master, link.mac));
        let Some(entry) = self.entries.get_mut(&link.name) else {
            return;
        };
        match entry.claim {
            Claim::Waiting if link.is_bridge => {
                let reason = String::from("the device is a bridge: a binding is for a TAP");
                entry.refused = Some(reason.as_str().into());
                entry.waiting = None;
                out.push(Change::Refuse {
                    name: link.name,
                    reason,
                    last_good: false,
                });
            }
            Claim::Waiting => {
                entry.claim = Claim::For(link.index);
                let stamp = entry.stamp;
                out.push(Change::Claim {
                    name: link.name,
                    stamp,
                    tap: link.index,
                });
                if let Some(binding) = entry.waiting.take() {
                    entry.in_force = Some(link.index);
                    out.push(self.serve(&link, *binding));
                }
            }
            Claim::For(index) if index == link.index && (appeared || reattached) => {
                out.push(Change::Read(link.name));
            }
            Claim::For(_) | Claim::EarlierBoot => {}
        }
        if appeared || reattached || moved {
            out.push(Change::Redirect(link.name));
        }
    }

    /// The device of this interface index is gone, or has another name.
    pub fn link_gone(&mut self, index: u32, out: &mut Vec<Change>) {
        let Some(link) = self.links.remove(&index) else {
            return;
        };
        if self.by_name.get(&link.name) == Some(&index) {
            self.by_name.remove(&link.name);
        }
        if let Some(entry) = self.entries.get_mut(&link.name) {
            if entry.in_force == Some(index) {
                entry.in_force = None;
                out.push(Change::Withdraw {
                    name: link.name,
                    tap: index,
                    gone: true,
                });
            }
            out.push(Change::Redirect(link.name));
        }
    }

    /// How a file stands; `None` when there is none of this name.
    #[must_use]
    pub fn standing(&self, name: IfName) -> Option<Standing<'_>> {
        let entry = self.entries.get(&name)?;
        Some(match (&entry.refused, entry.in_force, entry.claim) {
            (Some(reason), last_good, _) => Standing::Refused { reason, last_good },
            (None, Some(tap), _) => Standing::InForce(tap),
            (None, None, Claim::Waiting) => Standing::Waiting,
            (None, None, Claim::For(_) | Claim::EarlierBoot) => Standing::Stale,
        })
    }

    /// Whom the redirect takes packets from on account of this file: its TAP, or the one it waits for. `None`: nobody.
    #[must_use]
    pub fn redirected(&self, name: IfName) -> Option<Redirected> {
        let entry = self.entries.get(&name)?;
        let link = self.link(name);
        match (entry.claim, link) {
            (_, Some(link)) if link.is_bridge => None,
            (Claim::Waiting, None) => Some(Redirected {
                tap: None,
                bridge: None,
            }),
            (Claim::For(index), Some(link)) if index == link.index => Some(Redirected {
                tap: Some(*link),
                bridge: self.bridge_of(link).copied(),
            }),
            (Claim::Waiting | Claim::For(_) | Claim::EarlierBoot, _) => None,
        }
    }

    /// The interface index of the TAP the file, or its last good write, is in force for.
    #[must_use]
    pub fn in_force(&self, name: IfName) -> Option<u32> {
        self.entries.get(&name)?.in_force
    }

    /// True when the file's newest write is refused.
    #[must_use]
    pub fn is_refused(&self, name: IfName) -> bool {
        self.entries
            .get(&name)
            .is_some_and(|entry| entry.refused.is_some())
    }

    /// Which write of a file is known.
    #[must_use]
    pub fn stamp(&self, name: IfName) -> Option<Stamp> {
        self.entries.get(&name).map(|entry| entry.stamp)
    }

    /// All claims: name, write, the interface index it is for.
    pub fn claims(&self) -> impl Iterator<Item = (IfName, Stamp, u32)> {
        self.entries
            .iter()
            .filter_map(|(name, entry)| match entry.claim {
                Claim::For(tap) => Some((*name, entry.stamp, tap)),
                Claim::Waiting | Claim::EarlierBoot => None,
            })
    }

    /// Names of all files, in order.
    pub fn names(&self) -> impl Iterator<Item = IfName> {
        self.entries.keys().copied()
    }

    /// The device of this name.
    #[must_use]
    pub fn link(&self, name: IfName) -> Option<&Link> {
        self.links.get(self.by_name.get(&name)?)
    }

    /// The device of this interface index.
    #[must_use]
    pub fn link_by_index(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// The bridge a device is a port of.
    #[must_use]
    pub fn bridge_of(&self, link: &Link) -> Option<&Link> {
        self.links
            .get(&link.master?)
            .filter(|master| master.is_bridge)
    }

    fn attachment(&self, link: &Link) -> Attachment {
        match self.bridge_of(link) {
            Some(bridge) => Attachment::Bridged {
                bridge: bridge.index,
            },
            None => Attachment::Routed,
        }
    }

    fn serve(&self, link: &Link, binding: Binding) -> Change {
        Change::Serve {
            name: link.name,
            tap: link.index,
            attachment: self.attachment(link),
            binding: Box::new(binding),
        }
    }

    /// A bridge's address is in the redirect of each of its ports.
    fn bridge_changed(&self, bridge: Link, out: &mut Vec<Change>) {
        let ports = self.entries.keys().filter(|name| {
            self.link(**name)
                .is_some_and(|link| link.master == Some(bridge.index))
        });
        out.extend(ports.map(|name| Change::Redirect(*name)));
    }
}

#[cfg(test)]
mod tests;
