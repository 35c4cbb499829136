//! Devices from rtnetlink: all at once, then each change.
//!
//! Read by hand, a message at a time: ten thousand devices must not become ten thousand heaps of attributes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nfdhcpd_binding::MacAddr;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};

use crate::link::{Link, LinkEvent};
use snf_nft::IfName;

/// The socket on which the kernel tells of devices.
#[derive(Debug)]
pub struct Links {
    fd: OwnedFd,
    buffer: Box<[u8]>,
}

/// What went wrong with rtnetlink.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// No socket.
    #[error("open a route netlink socket")]
    Open(#[source] io::Error),
    /// No list of devices.
    #[error("list the network devices")]
    List(#[source] io::Error),
    /// Events were lost: list the devices anew.
    #[error("events of network devices were lost")]
    Overrun,
    /// Nothing can be read any more.
    #[error("read events of network devices")]
    Read(#[source] io::Error),
}

const BUFFER: usize = 64 << 10;
const RECEIVE_BUFFER: usize = 8 << 20;
const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
/// Leave the statistics out (RTEXT_FILTER_SKIP_STATS).
const SKIP_STATISTICS: u32 = 1 << 3;

impl Links {
    /// From now on, every change is kept for [`Links::events`].
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self, LinksError> {
        let fd = open_socket().map_err(LinksError::Open)?;
        // Capped without CAP_NET_ADMIN over the host; an overrun is survived.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER));
        Ok(Self {
            fd,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        })
    }

    /// All devices, and what changed while they were listed, in order.
    ///
    /// # Errors
    /// When the kernel does not list them.
    pub fn list(&mut self) -> Result<Vec<Link>, LinksError> {
        for _ in 0..8 {
            let mut events = Vec::new();
            send(self.fd.as_raw_fd(), &list_request(), MsgFlags::empty())
                .map_err(|errno| LinksError::List(errno.into()))?;
            loop {
                match self.receive(MsgFlags::empty(), &mut events) {
                    Ok(Part::More) => {}
                    Ok(Part::Done) => return Ok(settled(events)),
                    Ok(Part::Interrupted) | Err(LinksError::Overrun) => break,
                    Err(LinksError::Read(source)) => return Err(LinksError::List(source)),
                    Err(error) => return Err(error),
                }
            }
        }
        Err(LinksError::List(io::Error::from_raw_os_error(libc::EINTR)))
    }

    /// Appends the changes that wait; returns when none does.
    ///
    /// # Errors
    /// [`LinksError::Overrun`]: list the devices anew. [`LinksError::Read`]: the socket is lost.
    pub fn events(&mut self, out: &mut Vec<LinkEvent>) -> Result<(), LinksError> {
        loop {
            match self.receive(MsgFlags::MSG_DONTWAIT, out) {
                Ok(_) => {}
                Err(LinksError::Read(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self, flags: MsgFlags, out: &mut Vec<LinkEvent>) -> Result<Part, LinksError> {
        let length = match recv(self.fd.as_raw_fd(), &mut self.buffer, flags) {
            Ok(length) => length,
            Err(nix::errno::Errno::EINTR) => return Ok(Part::More),
            Err(nix::errno::Errno::ENOBUFS) => return Err(LinksError::Overrun),
            Err(errno) => return Err(LinksError::Read(errno.into())),
        };
        decode(self.buffer.get(..length).unwrap_or_default(), out)
            .map_err(|code| LinksError::Read(io::Error::from_raw_os_error(code)))
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Links {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// What remains of a list and the events amid it.
fn settled(events: Vec<LinkEvent>) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::with_capacity(events.len());
    let mut place = std::collections::HashMap::new();
    for event in events {
        match event {
            LinkEvent::Here(link) => match place.get(&link.index) {
                Some(at) => {
                    if let Some(slot) = links.get_mut(*at) {
                        *slot = link;
                    }
                }
                None => {
                    place.insert(link.index, links.len());
                    links.push(link);
                }
            },
            LinkEvent::Gone(index) => {
                if let Some(at) = place.remove(&index)
                    && at < links.len()
                {
                    links.swap_remove(at);
                    if let Some(moved) = links.get(at) {
                        place.insert(moved.index, at);
                    }
                }
            }
        }
    }
    links
}

/// What one datagram was.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    More,
    Done,
    Interrupted,
}

/// Reads a datagram's messages; the error is the kernel's error number.
fn decode(mut bytes: &[u8], out: &mut Vec<LinkEvent>) -> Result<Part, i32> {
    while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let length = length as usize;
        let Some(message) = bytes.get(HEADER..length) else {
            break;
        };
        let flags = u16_at(bytes, 6).unwrap_or(0);
        if i32::from(flags) & libc::NLM_F_DUMP_INTR != 0 {
            return Ok(Part::Interrupted);
        }
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(Part::Done),
            libc::NLMSG_ERROR => {
                let code = u32_at(message, 0).unwrap_or(0).cast_signed();
                return if code == 0 {
                    Ok(Part::Done)
                } else {
                    Err(code.saturating_neg())
                };
            }
            _ => {}
        }
        match kind {
            libc::RTM_NEWLINK => out.extend(link(message).map(LinkEvent::Here)),
            libc::RTM_DELLINK => out.extend(link(message).map(|link| LinkEvent::Gone(link.index))),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Part::More)
}

/// A device; `None` for messages of a family, which tell of a bridge's ports and not of devices.
fn link(message: &[u8]) -> Option<Link> {
    if message.first().copied() != Some(libc::AF_UNSPEC as u8) {
        return None;
    }
    let mut link = Link {
        index: u32_at(message, 4)?,
        name: "?".parse().ok()?,
        is_bridge: false,
        master: None,
        mac: MacAddr([0; 6]),
        up: u32_at(message, 8)? & libc::IFF_UP as u32 != 0,
    };
    let mut name = None;
    for (kind, value) in Attributes(message.get(LINK_HEADER..)?) {
        match kind {
            libc::IFLA_IFNAME => name = device_name(value),
            libc::IFLA_MASTER => link.master = u32_at(value, 0).filter(|index| *index != 0),
            libc::IFLA_ADDRESS => {
                if let Ok(octets) = <[u8; 6]>::try_from(value) {
                    link.mac = MacAddr(octets);
                }
            }
            libc::IFLA_LINKINFO => {
                link.is_bridge = Attributes(value).any(|(kind, value)| {
                    kind == libc::IFLA_INFO_KIND && value.starts_with(b"bridge\0")
                });
            }
            _ => {}
        }
    }
    link.name = name?;
    Some(link)
}

fn device_name(value: &[u8]) -> Option<IfName> {
    let text = value.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Kind and value of each attribute.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & 0x3fff;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u16::from_ne_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u32::from_ne_bytes(*chunk))
}

/// RTM_GETLINK for all devices.
fn list_request() -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + LINK_HEADER + 8);
    out.extend_from_slice(&((HEADER + LINK_HEADER + 8) as u32).to_ne_bytes());
    out.extend_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    out.extend_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    out.extend_from_slice(&[0; 8 + LINK_HEADER]);
    out.extend_from_slice(&8u16.to_ne_bytes());
    out.extend_from_slice(&libc::IFLA_EXT_MASK.to_ne_bytes());
    out.extend_from_slice(&SKIP_STATISTICS.to_ne_bytes());
    out
}

fn open_socket() -> io::Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(
        fd.as_raw_fd(),
        &NetlinkAddr::new(0, libc::RTMGRP_LINK as u32),
    )?;
    Ok(fd)
}
