//! Hears of devices that come, change and go: rtnetlink's link events, names only. A hint: everything is looked at by the
//! clock as well.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};

use ifup::request::IfName;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvmsg,
    setsockopt, socket, sockopt,
};

/// What the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// Something about a device of this name.
    Of(IfName),
    /// Events were lost: it may be anything.
    Lost,
}

/// The socket.
#[derive(Debug)]
pub struct Links {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// Multicast group of link events, as a bit (`RTMGRP_LINK`).
const GROUP: u32 = 1;
/// Room for events while everything is being looked at: a thousand TAPs' at once.
const ROOM: usize = 4 << 20;
const MESSAGE_HEADER: usize = 16;
/// Length of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
const IFLA_IFNAME: u16 = 3;

impl Links {
    /// Listens in the calling thread's network namespace.
    ///
    /// # Errors
    /// No socket.
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        // Less room is no harm: then events get lost, and that is told.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ROOM)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &ROOM));
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
        Ok(Self {
            socket,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Waits for the next events and gives them to `each`.
    ///
    /// # Errors
    /// The socket is of no more use.
    pub fn wait(&mut self, mut each: impl FnMut(LinkEvent)) -> io::Result<()> {
        let mut room = [IoSliceMut::new(&mut self.buffer)];
        let received =
            recvmsg::<NetlinkAddr>(self.socket.as_raw_fd(), &mut room, None, MsgFlags::empty());
        let length = match received {
            // Only the kernel is believed: any process may send here.
            Ok(message) if message.address.is_none_or(|from| from.pid() != 0) => return Ok(()),
            Ok(message) => message.bytes,
            Err(Errno::ENOBUFS) => {
                each(LinkEvent::Lost);
                return Ok(());
            }
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        for name in names(self.buffer.get(..length).unwrap_or_default()) {
            each(LinkEvent::Of(name));
        }
        Ok(())
    }
}

/// The device names in a datagram of link messages.
fn names(mut datagram: &[u8]) -> Vec<IfName> {
    let mut found = Vec::new();
    while let Some([l0, l1, l2, l3, k0, k1]) = datagram.first_chunk() {
        let length = u32::from_ne_bytes([*l0, *l1, *l2, *l3]) as usize;
        let Some(message) = datagram.get(..length).filter(|_| length >= MESSAGE_HEADER) else {
            break;
        };
        if [libc::RTM_NEWLINK, libc::RTM_DELLINK].contains(&u16::from_ne_bytes([*k0, *k1])) {
            found.extend(name(message));
        }
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    found
}

fn name(message: &[u8]) -> Option<IfName> {
    let mut rest = message.get(MESSAGE_HEADER + LINK_HEADER..)?;
    loop {
        let [l0, l1, k0, k1] = *rest.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([k0, k1]) == IFLA_IFNAME {
            let text = std::str::from_utf8(value).ok()?;
            return text.trim_end_matches('\0').parse().ok();
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(MESSAGE_HEADER + LINK_HEADER + attributes.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(MESSAGE_HEADER + LINK_HEADER, 0);
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn names_are_found_and_damage_is_passed() {
        let mut attributes = vec![8, 0, 1, 0, 9, 9, 9, 9];
        attributes.extend([9, 0, 3, 0]);
        attributes.extend(b"tap0\0\0\0\0");
        let whole = message(libc::RTM_DELLINK, &attributes);
        let twice = [whole.clone(), whole.clone()].concat();
        assert_eq!(
            names(&twice),
            ["tap0".parse().unwrap(), "tap0".parse().unwrap()]
        );
        assert_eq!(names(&message(libc::RTM_NEWROUTE, &attributes)), []);
        for end in 0..whole.len() {
            assert!(names(&whole[..end]).len() <= 1);
        }
        assert_eq!(names(&[0; 64]), []);
    }
}
