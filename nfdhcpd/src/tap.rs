//! Frames out to VMs: one packet socket for all TAPs. A packet's fourth step.
//!
//! The socket has protocol 0, so no frame of any VM ever visits it, and it passes the queueing discipline by, so a VM
//! that reads nothing holds back its own frames only: they are refused and counted.

use std::fmt;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::wire::Frame;

/// The packet socket.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
}

/// Why there is no packet socket.
#[derive(Debug, thiserror::Error)]
#[error("open a packet socket")]
pub struct TapError(#[source] io::Error);

/// What became of an outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames the kernel took.
    pub sent: usize,
    /// Frames refused: the TAP's ring is full.
    pub full: usize,
    /// Frames refused: the TAP is down or gone.
    pub gone: usize,
    /// Frames refused for another reason.
    pub failed: usize,
}

impl Tap {
    /// Opens the socket.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub fn open() -> Result<Self, TapError> {
        open_socket().map(|fd| Self { fd }).map_err(TapError)
    }

    /// Sends the outbox's frames and empties it. A frame that is refused does not keep back those behind it.
    pub fn send(&self, outbox: &mut Outbox) -> Sent {
        let mut result = Sent::default();
        let frames = outbox.frames.get(..outbox.len).unwrap_or_default();
        let taps = outbox.taps.get(..outbox.len).unwrap_or_default();
        let mut done = 0;
        while let (Some(frames @ [_, ..]), Some(taps)) = (frames.get(done..), taps.get(done..)) {
            match send_messages(self.fd.as_fd(), frames, taps) {
                Ok(sent @ 1..) => {
                    result.sent += sent;
                    done += sent;
                    continue;
                }
                Ok(_) => result.failed += 1,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::ENOBUFS | libc::EAGAIN) => result.full += 1,
                    Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => result.gone += 1,
                    _ => result.failed += 1,
                },
            }
            done += 1;
        }
        outbox.len = 0;
        result
    }
}

/// Frames that wait to be sent together, in buffers that are used again.
pub struct Outbox {
    frames: Box<[Frame]>,
    taps: Box<[u32]>,
    len: usize,
}

impl Outbox {
    /// Room for `frames` frames.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        Self {
            frames: vec![Frame::new(); frames].into_boxed_slice(),
            taps: vec![0; frames].into_boxed_slice(),
            len: 0,
        }
    }

    /// The next frame to write; `None` when the outbox is full. It is sent only once it is put with [`Outbox::put`].
    pub fn vacant(&mut self) -> Option<&mut Frame> {
        self.frames.get_mut(self.len)
    }

    /// The frame written last goes to the TAP of this interface index.
    pub fn put(&mut self, tap: u32) {
        if let Some(slot) = self.taps.get_mut(self.len) {
            *slot = tap;
            self.len += 1;
        }
    }

    /// How many frames wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when no frame waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[expect(
    unsafe_code,
    reason = "nix's packet socket has no protocol 0 and no queueing bypass"
)]
fn open_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; a descriptor >= 0 is ours alone.
    let fd = unsafe {
        let raw = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(raw)
    };
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to an int that lives through the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(fd)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Messages in one system call.
const CHUNK: usize = 32;

#[expect(
    unsafe_code,
    reason = "nix's sendmmsg allocates and has no per-message link address"
)]
fn send_messages(fd: BorrowedFd<'_>, frames: &[Frame], taps: &[u32]) -> io::Result<usize> {
    let count = frames.len().min(taps.len()).min(CHUNK);
    let mut addresses = [const { MaybeUninit::<libc::sockaddr_ll>::uninit() }; CHUNK];
    let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; CHUNK];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; CHUNK];
    let slots = addresses.iter_mut().zip(&mut parts).zip(&mut headers);
    for ((frame, tap), ((address, part), header)) in frames.iter().zip(taps).zip(slots) {
        let bytes = frame.as_slice();
        let address = address.write(libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as libc::c_ushort,
            sll_protocol: ether_type(bytes),
            sll_ifindex: tap.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        });
        let part = part.write(libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        });
        // SAFETY: all-zero bytes are a valid mmsghdr: null pointers and zero lengths.
        let header = header.write(unsafe { mem::zeroed() });
        header.msg_hdr.msg_name = (&raw mut *address).cast();
        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: the first `count` headers are written and point to an address and a part each, each part to the bytes of
    // a frame, which the kernel only reads; all live through the call.
    let sent = unsafe {
        let count = count as libc::c_uint;
        libc::sendmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count,
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The frame's EtherType, in network order as the address wants it.
fn ether_type(frame: &[u8]) -> u16 {
    frame
        .get(12..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}
