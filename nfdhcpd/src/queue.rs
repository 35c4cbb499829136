//! NFQUEUE: packets of VMs in, verdicts out. A packet's first step and its last.
//!
//! A batch of packets is taken in one `recvmmsg`. What is not ours is accepted packet by packet; one batch verdict
//! then drops all others up to the last one taken. A `Batch` gives its verdicts when it ends, however it ends, so
//! every packet gets exactly one.

mod message;

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::wire::Protocol;

pub use message::Packet;
use message::{Attributes, COPY_RANGE};

/// Packets taken at once: bounds one queue's turn.
pub const BATCH: usize = 32;

/// Bytes for one message: the packet's copy, headers and attributes.
const SLOT: usize = COPY_RANGE as usize + 512;

/// Socket receive buffer. 8192 packets of DHCP size fit.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;

/// One NFQUEUE we listen on.
#[derive(Debug)]
pub struct Queue {
    fd: OwnedFd,
    number: u16,
    protocol: Protocol,
    slots: Box<[[u8; SLOT]]>,
    verdicts: Vec<u8>,
    /// How many packets are asked for.
    wanted: usize,
}

/// Whether to wait when no packet is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until there is one, or a [`Waker`] wakes.
    ForOne,
    /// No.
    Not,
}

/// Wakes the thread that waits for a queue's packets.
#[derive(Debug)]
pub struct Waker {
    fd: OwnedFd,
    number: u16,
}

/// What went wrong with a queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// No netlink socket.
    #[error("open a netfilter socket for queue {number}")]
    Open {
        /// Queue number.
        number: u16,
        /// Why.
        source: io::Error,
    },
    /// Another program listens.
    #[error("queue {number} is taken: another program listens on it")]
    Taken {
        /// Queue number.
        number: u16,
    },
    /// The kernel refuses a setting.
    #[error("{act} of queue {number}")]
    Configure {
        /// Which setting.
        act: &'static str,
        /// Queue number.
        number: u16,
        /// Why.
        source: io::Error,
    },
    /// The kernel could not hand over packets: they are dropped, and the queue goes on.
    #[error("queue {number} lost packets: its socket buffer was full")]
    Overrun {
        /// Queue number.
        number: u16,
    },
    /// Nothing can be read any more.
    #[error("receive from queue {number}")]
    Receive {
        /// Queue number.
        number: u16,
        /// Why.
        source: io::Error,
    },
    /// A verdict was not taken.
    #[error("give a verdict to queue {number}")]
    Verdict {
        /// Queue number.
        number: u16,
        /// Why.
        source: io::Error,
    },
}

impl Queue {
    /// Listens on queue `number`; `length` packets wait in it at most. When it is full, further ones are dropped, or
    /// with `fail_open` go on.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, or when another program listens on the queue.
    pub fn open(
        number: u16,
        protocol: Protocol,
        length: u32,
        fail_open: bool,
    ) -> Result<Self, QueueError> {
        let fd = open_socket().map_err(|source| QueueError::Open { number, source })?;
        let queue = Self {
            fd,
            number,
            protocol,
            slots: vec![[0; SLOT]; BATCH].into_boxed_slice(),
            verdicts: Vec::with_capacity(message::VERDICT * (BATCH + 1)),
            wanted: 1,
        };
        match queue.configure("bind", &message::bind(number)) {
            Err(QueueError::Configure { source, .. })
                if source.raw_os_error() == Some(libc::EPERM) && may_configure() =>
            {
                return Err(QueueError::Taken { number });
            }
            bound => bound?,
        }
        queue.configure("set the copy mode", &message::copy_packets(number))?;
        queue.configure("set the length", &message::length(number, length))?;
        if fail_open {
            queue.configure("set fail-open", &message::fail_open(number))?;
        }
        Ok(queue)
    }

    /// Which protocol's packets the queue holds.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The queue's number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// What wakes the thread that waits in [`Queue::receive`].
    ///
    /// # Errors
    /// Without a free descriptor.
    pub fn waker(&self) -> io::Result<Waker> {
        Ok(Waker {
            fd: self.fd.try_clone()?,
            number: self.number,
        })
    }

    /// Takes what is there, up to [`BATCH`] packets. `Ok` with an empty batch: nothing was there.
    ///
    /// # Errors
    /// [`QueueError::Overrun`] is to be counted and survived; [`QueueError::Receive`] means the queue is lost.
    pub fn receive(&mut self, wait: Wait) -> Result<Batch<'_>, QueueError> {
        let mut lengths = [0; BATCH];
        let slots = self.slots.get_mut(..self.wanted).unwrap_or_default();
        let taken = match receive_messages(self.fd.as_fd(), wait, slots, &mut lengths) {
            Ok(taken) => taken,
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => 0,
                Some(libc::ENOBUFS) => {
                    return Err(QueueError::Overrun {
                        number: self.number,
                    });
                }
                _ => {
                    return Err(QueueError::Receive {
                        number: self.number,
                        source: error,
                    });
                }
            },
        };
        // Twice as many, and two at least: a lone packet is not charged for the room of a full batch.
        self.wanted = (2 * taken).clamp(2, BATCH);
        self.verdicts.clear();
        Ok(Batch {
            queue: self,
            lengths,
            taken,
            strange: 0,
            last: None,
        })
    }

    fn configure(&self, act: &'static str, request: &[u8]) -> Result<(), QueueError> {
        let number = self.number;
        let failed = |source| QueueError::Configure {
            act,
            number,
            source,
        };
        send(self.fd.as_fd(), request).map_err(failed)?;
        let mut answer = [0; 512];
        loop {
            let received = receive_one(self.fd.as_fd(), &mut answer).map_err(failed)?;
            let bytes = answer.get(..received).unwrap_or_default();
            match message::acknowledgement(bytes) {
                Some(0) => return Ok(()),
                Some(code) => return Err(failed(io::Error::from_raw_os_error(code))),
                None => {} // a packet, before the queue is wholly set up: the kernel drops it when it unbinds
            }
        }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Waker {
    /// Wakes: asks the kernel to acknowledge a request that changes nothing.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    pub fn wake(&self) -> io::Result<()> {
        send(self.fd.as_fd(), &message::nothing(self.number))
    }
}

/// Packets taken together. Ends with a verdict for each, also when it is dropped in a panic.
#[derive(Debug)]
pub struct Batch<'q> {
    queue: &'q mut Queue,
    lengths: [usize; BATCH],
    taken: usize,
    strange: u64,
    last: Option<u32>,
}

impl Batch<'_> {
    /// How many messages were taken.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.taken
    }

    /// True when nothing was there.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// The packet at `place`; `None` when the message there is not one. From now on it is dropped with the batch
    /// unless it is accepted.
    pub fn packet(&mut self, place: usize) -> Option<Packet<'_>> {
        let length = *self.lengths.get(place)?;
        let bytes = self.queue.slots.get(place)?.get(..length)?;
        let Some(attributes) = Attributes::decode(bytes) else {
            // What a waker asked for is an acknowledgement.
            self.strange += u64::from(message::acknowledgement(bytes) != Some(0));
            return None;
        };
        self.last = Some(attributes.id);
        Some(attributes.into_packet(self.queue.protocol))
    }

    /// How many messages, of those looked at, were neither a packet nor a waker's.
    #[must_use]
    pub const fn strange(&self) -> u64 {
        self.strange
    }

    /// Lets a packet of this batch go on.
    pub fn accept(&mut self, id: u32) {
        message::accept(&mut self.queue.verdicts, self.queue.number, id);
    }

    /// Gives the verdicts.
    ///
    /// # Errors
    /// When the kernel does not take them.
    pub fn finish(mut self) -> Result<(), QueueError> {
        self.spend()
    }

    fn spend(&mut self) -> Result<(), QueueError> {
        let Some(last) = self.last.take() else {
            return Ok(());
        };
        let number = self.queue.number;
        message::drop_up_to(&mut self.queue.verdicts, number, last);
        let sent = send(self.queue.fd.as_fd(), &self.queue.verdicts);
        self.queue.verdicts.clear();
        sent.map_err(|source| QueueError::Verdict { number, source })
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // After `finish` there is nothing left to spend; in a panic there is nobody to tell.
        let _ = self.spend();
    }
}

/// The kernel says the same to those who may not and of a queue that is another's.
fn may_configure() -> bool {
    caps::has_cap(
        None,
        caps::CapSet::Effective,
        caps::Capability::CAP_NET_ADMIN,
    )
    .unwrap_or(false)
}

#[expect(
    unsafe_code,
    reason = "nix has no netfilter netlink socket with these options"
)]
fn open_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; a descriptor >= 0 is ours alone.
    let fd = unsafe {
        let raw = libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_NETFILTER,
        );
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(raw)
    };
    // The plain option is capped by rmem_max; without CAP_NET_ADMIN over the host it has to do.
    if set_option(
        fd.as_fd(),
        libc::SOL_SOCKET,
        libc::SO_RCVBUFFORCE,
        RECEIVE_BUFFER,
    )
    .is_err()
    {
        set_option(
            fd.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            RECEIVE_BUFFER,
        )?;
    }
    // An overrun then drops the packets that do not fit, and not all until the socket is empty.
    set_option(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_NO_ENOBUFS, 1)?;
    Ok(fd)
}

#[expect(unsafe_code, reason = "nix does not know these options")]
fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer is to an int that lives through the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[expect(unsafe_code, reason = "nix's recvmmsg allocates per call")]
fn receive_messages(
    fd: BorrowedFd<'_>,
    wait: Wait,
    slots: &mut [[u8; SLOT]],
    lengths: &mut [usize; BATCH],
) -> io::Result<usize> {
    let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let wanted = slots.len().min(BATCH);
    for ((slot, part), header) in slots.iter_mut().zip(&mut parts).zip(&mut headers) {
        let part = part.write(libc::iovec {
            iov_base: slot.as_mut_ptr().cast(),
            iov_len: SLOT,
        });
        // SAFETY: all-zero bytes are a valid mmsghdr: null pointers and zero lengths.
        let header = header.write(unsafe { mem::zeroed() });
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
    }
    let flags = match wait {
        Wait::ForOne => libc::MSG_WAITFORONE,
        Wait::Not => libc::MSG_DONTWAIT,
    };
    // SAFETY: the first `wanted` headers are written and point to one part each, each part to one slot of SLOT bytes;
    // all live through the call.
    let taken = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            wanted as libc::c_uint,
            flags,
            ptr::null_mut(),
        )
    };
    let taken = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
    for (length, header) in lengths.iter_mut().zip(&headers).take(taken.min(wanted)) {
        // SAFETY: it is one of the first `wanted`.
        *length = unsafe { header.assume_init_ref() }.msg_len as usize;
    }
    Ok(taken)
}

fn receive_one(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = nix::sys::socket::MsgFlags::empty();
    Ok(nix::sys::socket::recv(fd.as_raw_fd(), buffer, flags)?)
}

fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let flags = nix::sys::socket::MsgFlags::empty();
    nix::sys::socket::send(fd.as_raw_fd(), bytes, flags)?;
    Ok(())
}
