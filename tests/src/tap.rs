//! A TAP, opened as Ganeti opens it (`IFF_TAP | IFF_NO_PI | IFF_VNET_HDR`), with its far side in our hands.
//!
//! What is written to it the host receives from the VM; what the host sends to the VM is read from it. Each frame
//! carries a `struct virtio_net_hdr` (virtio 1.2 §5.1.6), which can say that its checksum is still to be filled in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::namespace::Namespace;

/// Bytes of `struct virtio_net_hdr` before each frame.
pub const HEADER: usize = 10;
/// Room for any frame with its header.
pub const LARGEST: usize = 65536 + HEADER;

const NEEDS_CSUM: u8 = 1;

mod ioctls {
    //! The requests of `linux/if_tun.h`.
    nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(set_offload, libc::TUNSETOFFLOAD);
}

/// A TAP and its far side.
#[derive(Debug, Clone)]
pub struct Tap {
    name: String,
    file: Arc<File>,
}

impl Tap {
    /// Makes the TAP `name` in a namespace. It is down, as Ganeti's when its script runs.
    ///
    /// # Errors
    /// When the kernel refuses it, as for a name in use.
    #[expect(
        unsafe_code,
        reason = "TUNSETIFF and TUNSETOFFLOAD have no safe wrapper"
    )]
    pub fn open(namespace: &Namespace, name: &str) -> Result<Self> {
        ensure!(
            name.len() < libc::IFNAMSIZ,
            "{name}: longer than a device's name may be"
        );
        let file = namespace.inside(|| {
            let mut flags = 0;
            for flag in [libc::IFF_TAP, libc::IFF_NO_PI, libc::IFF_VNET_HDR] {
                flags |= i16::try_from(flag)?;
            }
            let mut request = libc::ifreq {
                ifr_name: [0; libc::IFNAMSIZ],
                ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
            };
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = i8::try_from(from)?;
            }
            let file = File::options()
                .read(true)
                .write(true)
                .open("/dev/net/tun")
                .context("open /dev/net/tun")?;
            // SAFETY: `request` is a whole `ifreq` with a terminated name.
            unsafe { ioctls::set_interface(file.as_raw_fd(), &raw const request) }
                .with_context(|| format!("make TAP {name}"))?;
            // SAFETY: the argument is a number. As QEMU when the guest's driver takes partial checksums.
            unsafe { ioctls::set_offload(file.as_raw_fd(), libc::TUN_F_CSUM.cast_signed()) }
                .with_context(|| format!("offload of TAP {name}"))?;
            Ok(file)
        })?;
        nix::fcntl::fcntl(
            &file,
            nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
        )?;
        Ok(Self {
            name: name.to_owned(),
            file: Arc::new(file),
        })
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The far side itself, as QEMU gets it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Sends a whole frame, all checksums filled in, from the VM to the host.
    ///
    /// # Errors
    /// When the TAP is down or the frame refused.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.send_raw(&[&[0; HEADER], frame].concat())
    }

    /// Sends a frame whose transport checksum is partial: only the pseudo-header's sum is in it, as from a virtio guest.
    /// `start` is where the transport header begins, `offset` where in it the checksum is.
    ///
    /// # Errors
    /// As [`Tap::send`].
    pub fn send_partial(&self, frame: &[u8], start: u16, offset: u16) -> Result<()> {
        let mut bytes = vec![NEEDS_CSUM, 0, 0, 0, 0, 0];
        bytes.extend(start.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend(frame);
        self.send_raw(&bytes)
    }

    /// Sends header and frame as they are.
    ///
    /// # Errors
    /// As [`Tap::send`].
    pub fn send_raw(&self, bytes: &[u8]) -> Result<()> {
        let written = (&*self.file)
            .write(bytes)
            .with_context(|| format!("write to TAP {}", self.name))?;
        ensure!(
            written == bytes.len(),
            "TAP {} took {written} of {} bytes",
            self.name,
            bytes.len()
        );
        Ok(())
    }

    /// Header and frame that wait to be read; `None` if none does.
    ///
    /// # Errors
    /// When the TAP is gone.
    pub fn receive_raw(&self, room: &mut [u8]) -> Result<Option<usize>> {
        match (&*self.file).read(room) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read from TAP {}", self.name)),
        }
    }

    /// The next frame the host sends to the VM; `None` if none comes within `bound`.
    ///
    /// # Errors
    /// When the TAP is gone.
    pub fn receive(&self, bound: Duration) -> Result<Option<Vec<u8>>> {
        let end = Instant::now() + bound;
        let mut room = vec![0; LARGEST];
        loop {
            if let Some(length) = self.receive_raw(&mut room)? {
                return Ok(room.get(HEADER..length).map(<[u8]>::to_vec));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let milliseconds = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
            let mut ends = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ends, PollTimeout::from(milliseconds)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => bail!("poll TAP {}: {error}", self.name),
            }
        }
    }

    /// The next frame that `wanted` says yes to; others are passed over.
    ///
    /// # Errors
    /// When none comes within `bound`, naming `what`.
    pub fn expect<T>(
        &self,
        what: &str,
        bound: Duration,
        mut wanted: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + bound;
        while let Some(frame) = self.receive(end.saturating_duration_since(Instant::now()))? {
            if let Some(found) = wanted(&frame) {
                return Ok(found);
            }
        }
        bail!("{}: no {what} within {bound:?}", self.name)
    }

    /// All frames that come until it has been quiet for `pause`.
    ///
    /// # Errors
    /// When the TAP is gone.
    pub fn drain(&self, pause: Duration) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.receive(pause)? {
            frames.push(frame);
        }
        Ok(frames)
    }
}
