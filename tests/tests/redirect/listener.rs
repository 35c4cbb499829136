//! A listener on NFQUEUEs that drops what it gets and tells of it: the least that stands for the daemon.
//! (`linux/netfilter/nfnetlink_queue.h`)

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use system_tests::namespace::Namespace;

const VERDICT: u16 = 3 << 8 | 1;
const CONFIG: u16 = 3 << 8 | 2;
const NF_DROP: u32 = 0;

/// A packet that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) queue: u16,
    pub(crate) mark: u32,
    pub(crate) payload: Vec<u8>,
}

/// Bound to some queues of a namespace.
pub(crate) struct Listener {
    socket: OwnedFd,
}

impl Listener {
    pub(crate) fn open(
        namespace: &Namespace,
        queues: impl Iterator<Item = u16> + Send,
    ) -> Result<Self> {
        namespace.inside(|| {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkNetFilter,
            )?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20))?;
            let listener = Self { socket };
            for queue in queues {
                listener.configure(queue, 1, &[1, 0, 0, 0])?; // bind
                listener.configure(queue, 2, &[0, 0, 0xff, 0xff, 2])?; // copy packets
                listener.configure(queue, 3, &8192_u32.to_be_bytes())?; // length
            }
            Ok(listener)
        })
    }

    /// All packets that are there now; each is dropped.
    pub(crate) fn drain(&self) -> Result<Vec<Queued>> {
        let mut packets = Vec::new();
        let mut room = vec![0; 1 << 17];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut room, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(packets),
                Err(errno) => return Err(errno.into()),
            };
            let message = &room[..length];
            let queue = u16::from_be_bytes([message[18], message[19]]);
            let mut packet = Queued {
                queue,
                mark: 0,
                payload: Vec::new(),
            };
            let (mut id, mut rest) = (None, &message[20..]);
            while let [l0, l1, k0, k1, ..] = *rest {
                let length = usize::from(u16::from_ne_bytes([l0, l1]));
                let value = &rest[4..length];
                match u16::from_ne_bytes([k0, k1]) & 0x3fff {
                    1 => id = value.first_chunk().map(|id| u32::from_be_bytes(*id)),
                    3 => packet.mark = u32::from_be_bytes(value.try_into()?),
                    10 => packet.payload = value.to_vec(),
                    _ => {}
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
            let id = id.unwrap();
            let verdict = [NF_DROP.to_be_bytes(), id.to_be_bytes()].concat();
            self.say(VERDICT, 1, queue, 2, &verdict)?;
            packets.push(packet);
        }
    }

    fn configure(&self, queue: u16, attribute: u16, value: &[u8]) -> Result<()> {
        self.say(CONFIG, 1 | 4, queue, attribute, value)?;
        let mut room = [0; 256];
        recv(self.socket.as_raw_fd(), &mut room, MsgFlags::empty())?;
        let code = i32::from_ne_bytes(room[16..20].try_into()?);
        ensure!(code == 0, "queue {queue}, attribute {attribute}: {code}");
        Ok(())
    }

    fn say(&self, kind: u16, flags: u16, queue: u16, attribute: u16, value: &[u8]) -> Result<()> {
        let padded = value.len().next_multiple_of(4);
        let mut message = Vec::new();
        message.extend(u32::try_from(24 + padded)?.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend([0, 0]);
        message.extend(queue.to_be_bytes());
        message.extend(u16::try_from(4 + value.len())?.to_ne_bytes());
        message.extend(attribute.to_ne_bytes());
        message.extend(value);
        message.resize(24 + padded, 0);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty())?;
        Ok(())
    }
}
