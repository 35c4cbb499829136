//! The cable between a host's TAP and a client's network card: what QEMU is to a guest.
//!
//! The client's card is a TAP too, in the client's namespace; a thread carries frames between the two far sides, header
//! and all, so that the client's partial checksums reach the host as a virtio guest's do. It keeps a record, and it can
//! be moved to the TAP of another host while the client runs: live migration, as the client sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use dhcproto::{v4, v6};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

use crate::frame::{self, Direction, Frame, Message};
use crate::tap::{HEADER, LARGEST, Tap};
use crate::wait;

#[derive(Debug)]
struct Shared {
    card: Tap,
    host: Mutex<Option<Tap>>,
    record: Mutex<Vec<Frame>>,
}

/// A running wire. Dropping it stops it.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    wake: File,
    pump: Option<JoinHandle<Result<()>>>,
}

impl Wire {
    /// A wire from the client's card to nowhere.
    ///
    /// # Errors
    /// When the thread's pipe cannot be made.
    pub fn new(card: Tap) -> Result<Self> {
        let shared = Arc::new(Shared {
            card,
            host: Mutex::new(None),
            record: Mutex::new(Vec::new()),
        });
        let (wait, wake) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("make a pipe")?;
        let pump = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.pump(File::from(wait))
        });
        Ok(Self {
            shared,
            wake: File::from(wake),
            pump: Some(pump),
        })
    }

    /// Connects the client to `tap`, instead of to what it was connected to.
    ///
    /// # Errors
    /// When the wire's thread has died.
    pub fn plug(&self, tap: &Tap) -> Result<()> {
        self.set_host(Some(tap.clone()))
    }

    /// Disconnects the client; frames it sends are lost. Its card keeps its carrier, as a guest's in migration.
    ///
    /// # Errors
    /// When the wire's thread has died.
    pub fn unplug(&self) -> Result<()> {
        self.set_host(None)
    }

    fn set_host(&self, tap: Option<Tap>) -> Result<()> {
        *lock(&self.shared.host) = tap;
        (&self.wake)
            .write_all(&[1])
            .context("wake the wire's thread")
    }

    /// All frames so far.
    #[must_use]
    pub fn record(&self) -> Vec<Frame> {
        lock(&self.shared.record).clone()
    }

    /// What all frames so far say, without those that are not our business.
    #[must_use]
    pub fn messages(&self) -> Vec<(Direction, Message)> {
        let read = |frame: Frame| Some((frame.direction, frame::read(&frame.bytes)?));
        self.record().into_iter().filter_map(read).collect()
    }

    /// Waits for a message in which `look` finds something; all since the beginning, or since [`Wire::forget`], count.
    ///
    /// # Errors
    /// When none has passed within `bound`; all messages that did are in the error.
    pub fn carries<T>(
        &self,
        what: &str,
        bound: Duration,
        mut look: impl FnMut(Direction, &Message) -> Option<T>,
    ) -> Result<T> {
        wait::for_fact(&format!("{what} on the wire"), bound, || {
            Ok(self
                .messages()
                .iter()
                .find_map(|(direction, message)| look(*direction, message)))
        })
        .with_context(|| {
            let shown = self.messages().into_iter();
            shown
                .map(|(direction, message)| format!("\n  {direction:?} {message}"))
                .collect::<String>()
        })
    }

    /// Waits until exactly `frame` has passed.
    ///
    /// # Errors
    /// When it has not within `bound`, naming `what`.
    pub fn carries_frame(&self, what: &str, bound: Duration, frame: &[u8]) -> Result<()> {
        wait::until(&format!("{what} on the wire"), bound, || {
            Ok(self.record().iter().any(|passed| passed.bytes == frame))
        })
    }

    /// Waits for a DHCPv4 message of a kind, as [`Wire::carries`].
    ///
    /// # Errors
    /// As [`Wire::carries`].
    pub fn carries_dhcpv4(&self, kind: v4::MessageType, bound: Duration) -> Result<v4::Message> {
        self.carries(&format!("DHCPv4 {kind:?}"), bound, |_, message| {
            let Message::Dhcpv4(message) = message else {
                return None;
            };
            (frame::dhcpv4_type(message) == Some(kind)).then(|| (**message).clone())
        })
    }

    /// Waits for a DHCPv6 message of a kind, as [`Wire::carries`].
    ///
    /// # Errors
    /// As [`Wire::carries`].
    pub fn carries_dhcpv6(&self, kind: v6::MessageType, bound: Duration) -> Result<v6::Message> {
        self.carries(&format!("DHCPv6 {kind:?}"), bound, |_, message| {
            let Message::Dhcpv6(message) = message else {
                return None;
            };
            (message.msg_type() == kind).then(|| (**message).clone())
        })
    }

    /// Forgets the frames so far.
    pub fn forget(&self) {
        lock(&self.shared.record).clear();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The pipe's end is the thread's sign to stop; it can do nothing about an error it met.
        let (_, unused) = match pipe2(nix::fcntl::OFlag::O_CLOEXEC) {
            Ok(pair) => pair,
            Err(_) => return,
        };
        self.wake = File::from(unused);
        if let Some(pump) = self.pump.take() {
            let _ = pump.join();
        }
    }
}

impl Shared {
    fn pump(&self, mut wait: File) -> Result<()> {
        let mut room = vec![0; LARGEST];
        loop {
            let waited_for = lock(&self.host).clone();
            let mut ends = vec![
                PollFd::new(wait.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.card.file().as_fd(), PollFlags::POLLIN),
            ];
            if let Some(host) = &waited_for {
                ends.push(PollFd::new(host.file().as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut ends, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error).context("poll the wire's ends"),
            }
            let ready: Vec<bool> = ends.iter().map(|end| end.any() == Some(true)).collect();
            if ready.first() == Some(&true) && wait.read(&mut [0])? == 0 {
                return Ok(());
            }
            // Held while frames pass: who has unplugged the wire reads the TAP itself, and every frame is then his.
            let mut host = lock(&self.host);
            while let Some(length) = self.card.receive_raw(&mut room)? {
                self.carry(Direction::Asked, room.get(..length), host.as_ref());
            }
            while let Some(tap) = host.as_ref() {
                match tap.receive_raw(&mut room) {
                    Ok(Some(length)) => {
                        self.carry(Direction::Answered, room.get(..length), Some(&self.card));
                    }
                    Ok(None) => break,
                    Err(_) => *host = None, // the TAP was removed under us: as unplugged
                }
            }
        }
    }

    fn carry(&self, direction: Direction, bytes: Option<&[u8]>, to: Option<&Tap>) {
        let (Some((header, frame)), Some(to)) =
            (bytes.and_then(|bytes| bytes.split_at_checked(HEADER)), to)
        else {
            return;
        };
        lock(&self.record).push(Frame {
            at: SystemTime::now(),
            direction,
            partial_checksum: header.first().is_some_and(|flags| flags & 1 != 0),
            bytes: frame.to_vec(),
        });
        // A frame for a card that is down is lost, as on any wire.
        let _ = to.send_raw(&[header, frame].concat());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
