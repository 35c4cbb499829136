//! What a service tells its manager (sd_notify(3)): the manager's end of the socket.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;

const SOCKET: &str = "/run/notify";

/// How often somebody who waits looks whether what he waits for can still come.
const LOOK: Duration = Duration::from_millis(50);

/// The manager's end.
#[derive(Debug)]
pub struct Notifications {
    socket: UnixDatagram,
}

impl Notifications {
    /// Listens in a namespace, for a program of any user.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(namespace: &Namespace) -> Result<Self> {
        let path = namespace.path(SOCKET);
        // That of a program that was here before may be left.
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).context("bind the notification socket")?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666))?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Self { socket })
    }

    /// Where the socket is, inside the namespace: the program's `NOTIFY_SOCKET`.
    #[must_use]
    pub fn socket(&self) -> &'static str {
        SOCKET
    }

    /// The first message that `wanted` says yes to; earlier ones are passed over. While none comes, `wanted` is asked
    /// about an empty one, so that it can tell that waiting is in vain.
    ///
    /// # Errors
    /// When none comes within `bound`, with those that did, or the first error of `wanted`.
    pub fn told(
        &self,
        bound: Duration,
        mut wanted: impl FnMut(&str) -> Result<bool>,
    ) -> Result<String> {
        let end = Instant::now() + bound;
        let mut others = Vec::new();
        while Instant::now() < end {
            let told = self.next()?;
            if wanted(&told)? {
                return Ok(told);
            }
            others.extend(Some(told).filter(|told| !told.is_empty()));
        }
        bail!("the service manager was not told it within {bound:?}, only {others:?}")
    }

    /// The first message with this line, as [`Notifications::told`].
    ///
    /// # Errors
    /// When none comes within `bound`.
    pub fn line(&self, wanted: &str, bound: Duration) -> Result<String> {
        self.told(bound, |told| Ok(told.lines().any(|line| line == wanted)))
            .with_context(|| wanted.to_owned())
    }

    fn next(&self) -> Result<String> {
        let mut room = [0; 4096];
        match self.socket.recv(&mut room) {
            Ok(length) => {
                let told = room.get(..length).unwrap_or_default();
                Ok(String::from_utf8_lossy(told).into_owned())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(String::new()),
            Err(error) => Err(error).context("hear what the service manager is told"),
        }
    }
}
