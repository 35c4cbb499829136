//! Frames to TAPs through one packet socket (packet(7)), `sendmmsg`.
#![expect(unsafe_code, reason = "sendmmsg without a wrapper's work per frame")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::bench::frames::VNET_HEADER;

/// Frames collected, and the socket they leave by.
pub(super) struct Sender {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
    addresses: Vec<libc::sockaddr_ll>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    used: usize,
}

impl Sender {
    /// A socket that receives nothing (protocol 0), and room for `size` frames.
    pub(super) fn open(size: usize) -> Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .context("packet socket")?;
        // SAFETY: all bytes zero is an empty address, vector and header.
        let (address, vector, header) = unsafe { std::mem::zeroed() };
        Ok(Self {
            socket,
            frames: vec![Vec::with_capacity(1536); size],
            addresses: vec![address; size],
            vectors: vec![vector; size],
            headers: vec![header; size],
            used: 0,
        })
    }

    /// The buffer of the next frame, to the device with this index; a virtio header, which is not sent, comes first.
    pub(super) fn frame(&mut self, device: u32) -> &mut Vec<u8> {
        let place = self.used.min(self.frames.len() - 1);
        self.used = place + 1;
        if let Some(address) = self.addresses.get_mut(place) {
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_ifindex = device as i32;
        }
        #[expect(clippy::indexing_slicing, reason = "`place` is below the length")]
        &mut self.frames[place]
    }

    /// Sends what was collected. A frame a device does not take is lost, as on any wire; the others go on.
    pub(super) fn send(&mut self) -> Result<()> {
        let parts = self
            .frames
            .iter()
            .zip(&mut self.addresses)
            .zip(&mut self.vectors);
        let mut ready = 0;
        for ((frame, address), vector) in parts.take(self.used) {
            let Some(frame) = frame.get(VNET_HEADER..).filter(|frame| !frame.is_empty()) else {
                continue;
            };
            vector.iov_base = frame.as_ptr().cast_mut().cast();
            vector.iov_len = frame.len();
            if let Some(header) = self.headers.get_mut(ready) {
                header.msg_hdr.msg_name = (&raw mut *address).cast();
                header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                ready += 1;
            }
        }
        self.used = 0;
        let mut done = 0;
        while done < ready {
            let headers = self
                .headers
                .get_mut(done..)
                .map_or(ptr::null_mut(), <[_]>::as_mut_ptr);
            // SAFETY: the headers from `done` to `ready` point to live frames, addresses and vectors.
            let sent = unsafe {
                libc::sendmmsg(self.socket.as_raw_fd(), headers, (ready - done) as u32, 0)
            };
            match usize::try_from(sent) {
                Ok(sent) => done += sent,
                Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS) => {
                    done += 1;
                }
                Err(_) => return Err(io::Error::last_os_error()).context("send frames"),
            }
        }
        Ok(())
    }
}
