//! Notice of changes that other programs make to a table.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::attribute::Messages;
use crate::object::Table;
use crate::socket::{Error, Socket};
use crate::uapi::*;

/// What happened to the watched tables since the last look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing, or only what the own socket did.
    None,
    /// Somebody else deleted or added something, or notices were lost: look, and repair.
    Foreign,
}

/// A socket that hears of every change of the namespace's ruleset.
pub struct Monitor {
    fd: OwnedFd,
    tables: Vec<Table>,
    own_port: u32,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Starts to listen for changes of these tables by others than `own`.
    ///
    /// # Errors
    /// [`Error::Open`]
    pub fn open(own: &Socket, tables: Vec<Table>) -> Result<Self, Error> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkNetFilter,
        )
        .map_err(Error::Open)?;
        let group = 1 << (libc::NFNLGRP_NFTABLES - 1);
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, group)).map_err(Error::Open)?;
        Ok(Self {
            fd,
            tables,
            own_port: own.port,
            buffer: vec![0; 32 * 1024],
        })
    }

    /// Reads all that has come, without waiting. To be called when the descriptor is readable.
    ///
    /// # Errors
    /// [`Error::Receive`]
    pub fn read(&mut self) -> Result<Change, Error> {
        let mut change = Change::None;
        loop {
            match recv(
                self.fd.as_raw_fd(),
                &mut self.buffer,
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(length) => {
                    if self.is_foreign(length) {
                        change = Change::Foreign;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(change),
                // The kernel had more to say than the buffer holds: anything may have happened.
                Err(Errno::ENOBUFS) => change = Change::Foreign,
                Err(errno) => return Err(Error::Receive(errno)),
            }
        }
    }

    fn is_foreign(&self, length: usize) -> bool {
        (Messages {
            rest: self.buffer.get(..length).unwrap_or_default(),
        })
        .any(|message| {
            // In every message but that of a new generation attribute 1 is the name of the table.
            let subject = message.attributes().text(NFTA_TABLE_NAME);
            message.kind != nft_message(libc::NFT_MSG_NEWGEN)
                && message.port != self.own_port
                && self.tables.iter().any(|table| {
                    message.family() == Some(table.family.number())
                        && subject == Some(table.name.as_str())
                })
        })
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
