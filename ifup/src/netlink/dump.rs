//! Lists that may be long: read as raw messages, so that what is not looked for is not decoded, and left off as soon as
//! the answer is known. A socket of its own, closed with the list: what the kernel has not written yet it never writes.
//! And it writes no part of a list ahead: each is looked at before it is taken, and there is no room for the next.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of netlink-packet-route grow: what is not known is not ours"
)]

use std::io;
use std::ops::ControlFlow;

use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::NetlinkError;

/// Room for what the kernel fills per read of a list.
const BUFFER: usize = 8 * 1024;
/// The socket's receive buffer, as small as the kernel makes it: it writes the next part of a list as soon as a part is
/// looked at, unless what waits there takes more than half of this.
const NO_ROOM: libc::c_int = 1;
const HEADER: usize = 16;

/// One message of a list, not decoded yet.
pub(super) struct Raw<'a>(&'a [u8]);

impl Raw<'_> {
    /// The value of the first attribute of this number behind a family header of `header` bytes: enough to tell whether
    /// the message is worth decoding.
    pub(super) fn attribute(&self, header: usize, kind: u16) -> Option<&[u8]> {
        let mut rest = self.0.get(HEADER + header..)?;
        loop {
            let [l0, l1, k0, k1] = *rest.first_chunk()?;
            let length = usize::from(u16::from_ne_bytes([l0, l1]));
            let value = rest.get(4..length)?;
            if u16::from_ne_bytes([k0, k1]) == kind {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }

    /// The message.
    pub(super) fn decode(&self) -> Result<RouteNetlinkMessage, NetlinkError> {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(self.0)
            .map_err(|error| NetlinkError::Answer(error.to_string()))?;
        match message.payload {
            NetlinkPayload::InnerMessage(message) => Ok(message),
            other => Err(NetlinkError::Answer(format!("{other:?}"))),
        }
    }
}

/// Asks for a list and gives its messages to `each`, until that breaks or the list ends. The kernel filters by what the
/// request's header and attributes say (`NETLINK_GET_STRICT_CHK`).
pub(super) fn dump(
    request: RouteNetlinkMessage,
    each: impl FnMut(Raw<'_>) -> Result<ControlFlow<()>, NetlinkError>,
) -> Result<(), NetlinkError> {
    exchange(request, NLM_F_DUMP, each)
}

/// Asks for one thing and gives it to `each`.
pub(super) fn get(
    request: RouteNetlinkMessage,
    mut each: impl FnMut(Raw<'_>) -> Result<(), NetlinkError>,
) -> Result<(), NetlinkError> {
    exchange(request, 0, |raw| each(raw).map(|()| ControlFlow::Break(())))
}

fn exchange(
    request: RouteNetlinkMessage,
    flags: u16,
    mut each: impl FnMut(Raw<'_>) -> Result<ControlFlow<()>, NetlinkError>,
) -> Result<(), NetlinkError> {
    let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
    socket.bind_auto().map_err(NetlinkError::Open)?;
    socket
        .set_netlink_get_strict_chk(true)
        .map_err(NetlinkError::Open)?;
    socket.set_rx_buf_sz(NO_ROOM).map_err(NetlinkError::Open)?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | flags;
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    socket
        .send_to(&buffer, &SocketAddr::new(0, 0), 0)
        .map_err(NetlinkError::Refused)?;
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        let seen = socket.recv(&mut buffer, libc::MSG_PEEK);
        seen.map_err(NetlinkError::Refused)?;
        let mut rest = buffer.as_slice();
        while let Some((kind, message, behind)) = split(rest) {
            rest = behind;
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => return Err(NetlinkError::Refused(errno(message))),
                libc::NLMSG_NOOP => {}
                _ => {
                    if each(Raw(message))?.is_break() {
                        return Ok(());
                    }
                }
            }
        }
        buffer.clear();
        socket.recv(&mut buffer, 0).map_err(NetlinkError::Refused)?;
    }
}

/// The first message of a datagram: its type, its bytes, what is behind it.
fn split(rest: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let [l0, l1, l2, l3, k0, k1, ..] = rest.first_chunk::<HEADER>()?;
    let length = usize::try_from(u32::from_ne_bytes([*l0, *l1, *l2, *l3])).ok()?;
    let message = rest.get(..length)?;
    let behind = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    (length >= HEADER).then_some((u16::from_ne_bytes([*k0, *k1]), message, behind))
}

fn errno(message: &[u8]) -> io::Error {
    let code = message
        .get(HEADER..HEADER + 4)
        .and_then(|code| code.first_chunk());
    io::Error::from_raw_os_error(-code.map_or(-libc::EPROTO, |code| i32::from_ne_bytes(*code)))
}
