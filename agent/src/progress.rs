//! snf-progress-monitor's part: what an image's deployment says of itself, handed to the node's agent and never waited for.
//!
//! [`copy`] runs a command and measures it, [`objects`] finds what a helper writes in a stream of bytes; [`Speaker`] hands
//! both over as messages. The deployment goes on whether or not anybody listens.

pub mod copy;
pub mod objects;

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use snf_events::{Progress, Timestamp};

use crate::hook;

/// What a message begins with; the length of the rest follows, in decimal, and a newline.
pub const GREETING: &str = "snf-progress 1 ";

/// What lines on stderr begin with.
pub const MARK: &str = "[MONITOR]";

/// How long an agent is left alone that did not take a message in time: the next ones must not wait as well.
const RESPITE: Duration = Duration::from_secs(1);

/// Hands messages over, and repeats them on stderr.
#[derive(Debug)]
pub struct Speaker {
    socket: PathBuf,
    silent_until: Option<Instant>,
}

impl Speaker {
    /// To the agent that listens at `socket`.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            silent_until: None,
        }
    }

    /// Hands a message over, within milliseconds or not at all.
    #[expect(clippy::disallowed_methods, reason = "the deadline's clock")]
    pub fn tell(&mut self, progress: &Progress) {
        let body = progress.encode();
        echo(&String::from_utf8_lossy(&body));
        let now = Instant::now();
        if self.silent_until.is_some_and(|until| now < until) {
            return;
        }
        let mut message = format!("{GREETING}{}\n", body.len()).into_bytes();
        message.extend(body);
        let handed = hook::hand_over(&self.socket, &message, now + hook::PATIENCE);
        // An agent that is not there is told the next one, one that is slow is not.
        self.silent_until = handed
            .is_err_and(|error| matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock))
            .then(|| Instant::now() + RESPITE);
    }
}

/// A line on stderr; nobody may be there to read it.
pub fn echo(line: &str) {
    let _ = writeln!(std::io::stderr(), "{MARK} {line}");
}

/// The time, as messages have it.
#[expect(clippy::disallowed_methods, reason = "the program's clock")]
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    (seconds, since.subsec_micros()).into()
}
