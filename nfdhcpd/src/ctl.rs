//! `nfdhcpd ctl`: questions to the running daemon, over its control socket.
//!
//! One line of JSON asks, one line of JSON answers; `trace` answers with a line per packet until the asker goes.

pub mod client;
pub mod report;
pub mod server;

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, oneshot};

use crate::trace::Traced;

/// The control socket's name in the runtime directory.
pub const SOCKET: &str = "ctl.sock";

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "ask")]
pub enum Request {
    /// All files, and how they stand.
    List,
    /// One TAP: what its VM asked, what it got, why not.
    Show {
        /// The TAP's name.
        tap: String,
    },
    /// One TAP's packets as they come.
    Trace {
        /// The TAP's name.
        tap: String,
    },
    /// All figures.
    Stats,
    /// Whether the daemon does its work.
    Health,
}

/// A question on its way to the daemon's loop, with where the answer goes.
#[derive(Debug)]
pub enum Question {
    /// Of the control socket; the answer is JSON.
    Ask {
        /// What is asked.
        request: Request,
        /// Where the answer goes.
        reply: oneshot::Sender<String>,
    },
    /// Of the control socket: watch a TAP.
    Watch {
        /// The TAP's name.
        tap: String,
        /// The TAP's interface index and its packets, among others'; `None` when no such TAP is served.
        reply: oneshot::Sender<Option<(u32, broadcast::Receiver<Traced>)>>,
    },
    /// Of a scraper; the answer is Prometheus' text.
    Metrics {
        /// Where the answer goes.
        reply: oneshot::Sender<String>,
    },
}
