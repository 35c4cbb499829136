//! snf-ganeti-hook's part: Ganeti's environment as one message, handed to the node's agent and never waited for.
//!
//! Ganeti runs post hooks one after another and a job ends only behind them: the message is written to a socket that does
//! not block, within a few milliseconds or not at all. A kernel buffer holds it until the agent reads.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};

/// Where the agent listens; the hook has no configuration to look it up in.
pub const SOCKET: &str = "/run/snf-agent/agent.sock";

/// What a hook's message begins with; the length of the rest follows, in decimal, and a newline.
pub const GREETING: &str = "snf-hook 1 ";

/// How long the hook tries: a fifth of the 50 ms that it may take.
pub const PATIENCE: Duration = Duration::from_millis(10);

/// Pause between two tries to connect to an agent that has a full backlog.
const PAUSE: Duration = Duration::from_millis(1);

/// The environment as a message: the greeting, then `NAME=value` and a zero byte for each variable, whatever bytes it is of.
#[must_use]
pub fn message(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in environment {
        body.extend_from_slice(name.as_bytes());
        body.push(b'=');
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    let mut message = format!("{GREETING}{}\n", body.len()).into_bytes();
    message.append(&mut body);
    message
}

/// Writes the message to the agent's socket, until `deadline` at the latest.
///
/// # Errors
/// Nobody listens, or the kernel has no room for it in time; the agent discards what is not whole.
#[expect(
    clippy::disallowed_methods,
    reason = "the deadline is against this clock"
)]
pub fn hand_over(path: &Path, message: &[u8], deadline: Instant) -> io::Result<()> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    while let Err(errno) = connect(stream.as_raw_fd(), &address) {
        if errno != Errno::EAGAIN || Instant::now() >= deadline {
            return Err(errno.into());
        }
        std::thread::sleep(PAUSE);
    }
    let mut rest = message;
    while !rest.is_empty() {
        match send(stream.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(Errno::EAGAIN | Errno::EINTR) => wait_for_room(&stream, deadline)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the deadline is against this clock"
)]
fn wait_for_room(stream: &OwnedFd, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let left = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
    let mut ends = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut ends, PollTimeout::from(left)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_the_environment_whatever_its_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(b"\xff=\n".to_vec());
        let message = message([("A".into(), "1=2".into()), ("B".into(), odd)]);
        assert_eq!(message, b"snf-hook 1 12\nA=1=2\0B=\xff=\n\0");
    }
}
