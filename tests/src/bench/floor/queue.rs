//! NFQUEUE, as little of it as the floor needs: one netlink socket for all queues, packets in, verdicts out.
//!
//! `linux/netfilter/nfnetlink.h`, `linux/netfilter/nfnetlink_queue.h`; numbers of attributes as there.
#![expect(
    unsafe_code,
    reason = "recvmmsg without a wrapper's work per packet; a socket option nix lacks"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};

use crate::bench::frames::at;

const SUBSYSTEM: u16 = 3 << 8;
const MSG_VERDICT: u16 = SUBSYSTEM | 1;
const MSG_CONFIG: u16 = SUBSYSTEM | 2;
const MSG_VERDICT_BATCH: u16 = SUBSYSTEM | 3;
/// NLM_F_REQUEST, NLM_F_ACK.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// Bytes of a packet that are copied, and room for them and their attributes.
const COPY: u32 = 1500;
const ROOM: usize = 2048;
/// Set by nfdhcpd's rules: the mark is the TAP's interface index.
const MARKED: u32 = 0x4000_0000;

/// A packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) queue: u16,
    pub(super) id: u32,
    /// Interface index of the TAP.
    pub(super) device: u32,
    /// Ethernet source.
    pub(super) source: [u8; 6],
    /// From the IP header on.
    pub(super) payload: &'a [u8],
}

/// The queues, on one socket.
pub(super) struct Queues {
    socket: OwnedFd,
    /// One packet one, VERDICT; more, VERDICT_BATCH.
    size: usize,
    rooms: Vec<[u8; ROOM]>,
    /// Point into `rooms`.
    #[expect(dead_code, reason = "the kernel reads it through `headers`")]
    vectors: Vec<libc::iovec>,
    /// Point into `vectors`.
    headers: Vec<libc::mmsghdr>,
}

impl Queues {
    pub(super) fn open(numbers: &[u16], size: usize) -> Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .context("netlink socket")?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).context("bind netlink socket")?;
        setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).context("SO_RCVBUFFORCE")?;
        let on: libc::c_int = 1;
        // SAFETY: the option's value is one int.
        let outcome = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_NETLINK,
                libc::NETLINK_NO_ENOBUFS,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error()).context("NETLINK_NO_ENOBUFS");
        }

        let mut rooms = vec![[0; ROOM]; size];
        let mut vectors: Vec<libc::iovec> = rooms
            .iter_mut()
            .map(|room| libc::iovec {
                iov_base: room.as_mut_ptr().cast(),
                iov_len: ROOM,
            })
            .collect();
        let headers = vectors.iter_mut().map(header).collect();
        let queues = Self {
            socket,
            size,
            rooms,
            vectors,
            headers,
        };
        for number in numbers {
            // NFQA_CFG_CMD: NFQNL_CFG_CMD_BIND.
            queues.configure(*number, 1, &[1, 0, 0, 0])?;
            // NFQA_CFG_PARAMS: the copy range, NFQNL_COPY_PACKET.
            queues.configure(*number, 2, &[&COPY.to_be_bytes()[..], &[2]].concat())?;
            // NFQA_CFG_QUEUE_MAXLEN.
            queues.configure(*number, 3, &8192u32.to_be_bytes())?;
        }
        Ok(queues)
    }

    fn configure(&self, queue: u16, attribute: u16, value: &[u8]) -> Result<()> {
        self.say(MSG_CONFIG, REQUEST | ACK, queue, attribute, value)?;
        let mut room = [0; ROOM];
        let length = recv(
            self.socket.as_raw_fd(),
            &mut room,
            nix::sys::socket::MsgFlags::empty(),
        )?;
        let code = room
            .get(..length)
            .and_then(|answer| at(answer, 16))
            .map(i32::from_ne_bytes);
        match code {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code))
                .with_context(|| format!("configure queue {queue}, attribute {attribute}")),
            None => bail!("configure queue {queue}: short answer"),
        }
    }

    fn say(&self, kind: u16, flags: u16, queue: u16, attribute: u16, value: &[u8]) -> Result<()> {
        let mut message = [0u8; 48];
        let padded = value.len().next_multiple_of(4);
        let length = 24 + padded;
        let mut parts: [&[u8]; 8] = [&[]; 8];
        let (whole, kind, flags) = (
            (length as u32).to_ne_bytes(),
            kind.to_ne_bytes(),
            flags.to_ne_bytes(),
        );
        let (queue, attribute) = (queue.to_be_bytes(), attribute.to_ne_bytes());
        let size = (4 + value.len() as u16).to_ne_bytes();
        parts.copy_from_slice(&[
            &whole,
            &kind,
            &flags,
            &[0; 8],
            &[0, 0],
            &queue,
            &size,
            &attribute,
        ]);
        let mut place = 0;
        for part in parts.into_iter().chain([value]) {
            if let Some(room) = message.get_mut(place..place + part.len()) {
                room.copy_from_slice(part);
            }
            place += part.len();
        }
        let message = message.get(..length).context("a short message")?;
        send(
            self.socket.as_raw_fd(),
            message,
            nix::sys::socket::MsgFlags::empty(),
        )
        .context("send to netfilter")?;
        Ok(())
    }

    /// Waits for packets and hands over each that there is, up to the batch's size.
    pub(super) fn receive(&mut self, mut take: impl FnMut(Packet<'_>)) -> Result<()> {
        // SAFETY: `headers` point to `vectors`, these to `rooms`; all three live and do not move.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.size as libc::c_uint,
                libc::MSG_WAITFORONE,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count)
            .map_err(|_| io::Error::last_os_error())
            .context("receive from the queues")?;
        for (room, header) in self.rooms.iter().zip(&self.headers).take(count) {
            let message = room.get(..header.msg_len as usize).unwrap_or_default();
            if let Some(packet) = parse(message) {
                take(packet);
            }
        }
        Ok(())
    }

    /// The verdict NF_DROP for all packets of a queue up to a number.
    pub(super) fn drop_up_to(&self, queue: u16, id: u32) -> Result<()> {
        let mut verdict = [0; 8];
        let (decision, number) = verdict.split_at_mut(4);
        decision.copy_from_slice(&0u32.to_be_bytes());
        number.copy_from_slice(&id.to_be_bytes());
        // NFQA_VERDICT_HDR.
        let kind = if self.size == 1 {
            MSG_VERDICT
        } else {
            MSG_VERDICT_BATCH
        };
        self.say(kind, REQUEST, queue, 2, &verdict)
    }
}

fn header(vector: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: all bytes zero is an empty header.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header
}

fn parse(message: &[u8]) -> Option<Packet<'_>> {
    if at::<2>(message, 4)? != SUBSYSTEM.to_ne_bytes() {
        return None;
    }
    let queue = u16::from_be_bytes(at(message, 18)?);
    let mut packet = Packet {
        queue,
        id: 0,
        device: 0,
        source: [0; 6],
        payload: &[],
    };
    let (mut physical, mut device, mut mark) = (0, 0, 0);
    let mut rest = message.get(20..)?;
    while let (Some(length), Some(kind)) = (at(rest, 0), at(rest, 2)) {
        let length = usize::from(u16::from_ne_bytes(length));
        let value = rest.get(4..length)?;
        let number = || at(value, 0).map(u32::from_be_bytes);
        match u16::from_ne_bytes(kind) {
            1 => packet.id = number()?,
            3 => mark = number()?,
            5 => device = number()?,
            7 => physical = number()?,
            9 => packet.source = at(value, 4)?,
            10 => packet.payload = value,
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    packet.device = if mark & MARKED != 0 {
        mark & !MARKED
    } else if physical != 0 {
        physical
    } else {
        device
    };
    Some(packet)
}
