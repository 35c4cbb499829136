//! What passes a device, taken down from a packet socket beside it: for guests, whose wire is in QEMU.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind,
    recvmsg, setsockopt, socket, sockopt,
};

use crate::frame::{Direction, Frame};
use crate::namespace::Namespace;

/// A running capture. Dropping it stops it.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    /// Takes down all frames of `device`.
    ///
    /// # Errors
    /// When the socket cannot be made or there is no such device.
    pub fn start(namespace: &Namespace, device: &str) -> Result<Self> {
        let socket = namespace.inside(|| {
            let socket = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::EthAll,
            )
            .context("open a packet socket")?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
            let pause = nix::sys::time::TimeVal::new(0, 50_000);
            setsockopt(&socket, sockopt::ReceiveTimeout, &pause)?;
            bind(socket.as_raw_fd(), &address(device)?)
                .with_context(|| format!("bind to {device}"))?;
            Ok(socket)
        })?;
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let (frames, stop) = (Arc::clone(&frames), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(frame) = receive(&socket) {
                        frames
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(frame);
                    }
                }
            }
        });
        Ok(Self {
            frames,
            stop,
            reader: Some(reader),
        })
    }

    /// All frames so far.
    #[must_use]
    pub fn record(&self) -> Vec<Frame> {
        self.frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Where a packet socket is bound to see all of a device.
#[expect(
    unsafe_code,
    reason = "nix makes no sockaddr_ll from an interface index"
)]
fn address(device: &str) -> Result<LinkAddr> {
    use nix::sys::socket::SockaddrLike;
    let index = nix::net::if_::if_nametoindex(device).with_context(|| device.to_owned())?;
    let raw = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: u16::try_from(libc::ETH_P_ALL)?.to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of_val(&raw))?;
    // SAFETY: a whole `sockaddr_ll`, with its length.
    unsafe { LinkAddr::from_raw((&raw const raw).cast(), Some(length)) }
        .context("a link-layer address")
}

fn receive(socket: &OwnedFd) -> Option<Frame> {
    let mut room = vec![0; 65536];
    let mut control = nix::cmsg_space!(libc::timespec);
    let mut parts = [std::io::IoSliceMut::new(&mut room)];
    let message = recvmsg::<LinkAddr>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )
    .ok()?;
    let at = message.cmsgs().ok()?.find_map(|control| {
        if let ControlMessageOwned::ScmTimestampns(at) = control {
            Some(Duration::from(at))
        } else {
            None
        }
    })?;
    let outgoing = message.address?.as_ref().sll_pkttype == libc::PACKET_OUTGOING;
    let length = message.bytes;
    room.truncate(length);
    Some(Frame {
        at: SystemTime::UNIX_EPOCH + at,
        direction: if outgoing {
            Direction::Answered
        } else {
            Direction::Asked
        },
        partial_checksum: false,
        bytes: room,
    })
}
