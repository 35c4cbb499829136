//! The netlink socket: a transaction out, the kernel's answer in.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};

use crate::attribute::{Attributes, Messages};
use crate::operation::Operation;
use crate::transaction::Transaction;

/// What went wrong between us and nf_tables.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be made.
    #[error("cannot open a netlink socket to netfilter")]
    Open(#[source] Errno),
    /// The kernel refused one operation, and so all of the transaction.
    #[error("the kernel refuses \"{operation}\"{}", explained(.explanation))]
    Refused {
        /// The operation's text.
        operation: String,
        /// The kernel's own words, if any.
        explanation: Option<String>,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The kernel refused the transaction as a whole.
    #[error("the kernel refuses the transaction of {operations} messages")]
    TransactionRefused {
        /// How many.
        operations: u32,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The transaction could not be handed over.
    #[error("cannot send {bytes} bytes to nf_tables")]
    Send {
        /// How many.
        bytes: usize,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The answer could not be read.
    #[error("cannot read the answer of nf_tables")]
    Receive(#[source] Errno),
    /// Neither a refusal nor an acknowledgement came.
    #[error("nf_tables gave no answer")]
    NoAnswer,
    /// The kernel cannot list this.
    #[error("cannot list {what}")]
    List {
        /// What was to be listed.
        what: String,
        /// Why.
        #[source]
        errno: Errno,
    },
}

impl Error {
    /// The kernel's error number, where there is one.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Open(errno)
            | Self::Receive(errno)
            | Self::Refused { errno, .. }
            | Self::TransactionRefused { errno, .. }
            | Self::Send { errno, .. }
            | Self::List { errno, .. } => Some(*errno),
            Self::NoAnswer => None,
        }
    }
}

fn explained(explanation: &Option<String>) -> String {
    explanation
        .as_ref()
        .map(|text| format!(" ({text})"))
        .unwrap_or_default()
}

/// A netlink socket to nf_tables. Needs CAP_NET_ADMIN in its network namespace. A table added as owned lives as long.
pub struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

/// The kernel fills at most 32 KiB per message of a list.
const BUFFER: usize = 64 * 1024;

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Error::Open`]
    pub fn open() -> Result<Self, Error> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .map_err(Error::Open)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(Error::Open)?;
        set_netlink_option(&fd, libc::NETLINK_CAP_ACK).map_err(Error::Open)?;
        set_netlink_option(&fd, libc::NETLINK_EXT_ACK).map_err(Error::Open)?;
        Ok(Self {
            fd,
            buffer: vec![0; BUFFER],
            sequence: 0,
        })
    }

    /// Has the kernel take all operations of the transaction, in one step for every packet, or none.
    ///
    /// # Errors
    /// [`Error::Refused`] names the first refused operation; nothing has changed then.
    pub fn commit(&mut self, transaction: Transaction) -> Result<(), Error> {
        if transaction.is_empty() {
            return Ok(());
        }
        let (batch, transaction) = transaction.finish();
        self.send(&batch)?;
        // The kernel works inside send: all its answers are here already.
        let (mut acknowledged, mut refusal) = (false, None);
        let last = transaction.sequence - 1;
        while let Some(length) = self.receive(MsgFlags::MSG_DONTWAIT)? {
            for message in (Messages {
                rest: self.buffer.get(..length).unwrap_or_default(),
            }) {
                if message.kind != libc::NLMSG_ERROR as u16 {
                    continue;
                }
                match errno_of(message.payload) {
                    None => acknowledged |= message.sequence == last,
                    Some(errno) => {
                        refusal.get_or_insert_with(|| {
                            match transaction.operation_at(message.sequence) {
                                Some(operation) => Error::Refused {
                                    operation: operation.to_owned(),
                                    explanation: explanation(message.flags, message.payload),
                                    errno,
                                },
                                None => Error::TransactionRefused {
                                    operations: last,
                                    errno,
                                },
                            }
                        });
                    }
                }
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None if acknowledged => Ok(()),
            None => Err(Error::NoAnswer),
        }
    }

    /// Commits deletions of things that may not be there: in one transaction when all are there, else each, and each
    /// element, in its own. (The kernel's own forgiving deletions need Linux 6.3.)
    ///
    /// # Errors
    /// As [`Socket::commit`], but never for a thing that is absent.
    pub fn destroy(&mut self, deletions: &[Operation]) -> Result<(), Error> {
        let absent = |error: &Error| error.errno() == Some(Errno::ENOENT);
        match self.commit(deletions.iter().collect()) {
            Err(error) if absent(&error) => {}
            other => return other,
        }
        for deletion in deletions.iter().flat_map(Operation::single) {
            match self.commit([deletion].iter().collect()) {
                Err(error) if !absent(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next sequence number for a request outside a transaction.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends one datagram, however long.
    pub(crate) fn send(&mut self, datagram: &[u8]) -> Result<(), Error> {
        // The kernel takes a datagram up to the buffer's size less its own overhead, and doubles what is asked for.
        let wanted = datagram.len() + 4096;
        if setsockopt(&self.fd, sockopt::SndBufForce, &wanted).is_err() {
            // Without the right to exceed the system's limit the limit itself may be enough; send says if not.
            let _best = setsockopt(&self.fd, sockopt::SndBuf, &wanted);
        }
        loop {
            match send(self.fd.as_raw_fd(), datagram, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(Error::Send {
                        bytes: datagram.len(),
                        errno,
                    });
                }
            }
        }
    }

    /// Receives one datagram into the buffer; `None` when none is there and `MSG_DONTWAIT` was given.
    pub(crate) fn receive(&mut self, flags: MsgFlags) -> Result<Option<usize>, Error> {
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, flags) {
                Ok(length) => return Ok(Some(length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(Error::Receive(errno)),
            }
        }
    }

    /// What the last [`Socket::receive`] left.
    pub(crate) fn received(&self, length: usize) -> Messages<'_> {
        Messages {
            rest: self.buffer.get(..length).unwrap_or_default(),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The error of a `struct nlmsgerr`; `None` is an acknowledgement.
pub(crate) fn errno_of(payload: &[u8]) -> Option<Errno> {
    let code = i32::from_ne_bytes(*payload.first_chunk()?);
    (code != 0).then(|| Errno::from_raw(code.wrapping_neg()))
}

/// The kernel's words in an extended acknowledgement: attributes behind the error and the refused message's header.
fn explanation(flags: u16, payload: &[u8]) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    if flags & libc::NLM_F_ACK_TLVS as u16 == 0 {
        return None;
    }
    let attributes = Attributes {
        rest: payload.get(20..)?,
    };
    attributes.text(NLMSGERR_ATTR_MSG).map(str::to_owned)
}

/// Sets a boolean option of netlink sockets.
#[expect(unsafe_code, reason = "nix has no netlink socket options")]
fn set_netlink_option(fd: &OwnedFd, option: libc::c_int) -> nix::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length are those of one live c_int, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}
