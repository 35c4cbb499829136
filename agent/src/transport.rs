//! Ways out of a node: messages are handed over to a broker ([`amqp`]) or to the controller ([`https`]), which say what
//! became of each. What is sent when, and sent again, is the publishers' matter: eventd's and the agent's.

pub mod amqp;
pub mod https;
pub mod settings;

use std::pin::pin;
use std::time::Duration;

use snf_events::topology::TopologyError;
use snf_events::{Epoch, Heartbeat, Prefix, RoutingKey, Sequence};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// What its sender knows a message by until it is settled; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A message that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// What its sender knows it by.
    pub ticket: Ticket,
    /// The life its number belongs to.
    pub epoch: Epoch,
    /// Its number in its prefix's stream.
    pub sequence: Sequence,
    /// Whose it is.
    pub prefix: Prefix,
    /// What it is published with.
    pub key: RoutingKey,
    /// What makes it this message: `message_id`.
    pub id: String,
    /// The body.
    pub body: Vec<u8>,
    /// Whether it is to come back when no queue takes it.
    pub mandatory: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept on the other side.
    Stored,
    /// No queue took it.
    Returned,
    /// It was refused for now.
    Refused,
}

/// Why a connection ended, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The broker fails.
    #[error("{act}")]
    Amqp {
        /// What was tried.
        act: String,
        /// Why not.
        #[source]
        source: lapin::Error,
    },
    /// The broker's topology is not ours.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The controller cannot be reached, or breaks off.
    #[error("{act}")]
    Io {
        /// What was tried.
        act: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The controller answers something else than it should.
    #[error("{url} answers {status}: {reason}")]
    Answer {
        /// Its address.
        url: String,
        /// HTTP status.
        status: u16,
        /// The beginning of the body.
        reason: String,
    },
    /// Nothing is heard.
    #[error("{what} took more than {}s", bound.as_secs())]
    TooSlow {
        /// What was waited for.
        what: String,
        /// How long.
        bound: Duration,
    },
}

impl LinkError {
    /// True when trying again is of no use until an operator has done something.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Topology(TopologyError::Mismatch { .. }))
    }
}

/// A way out.
#[expect(
    async_fn_in_trait,
    reason = "only this crate implements it, and one thread runs it"
)]
pub trait Transport {
    /// A connection.
    type Link: Link;

    /// Makes one; with several hosts, each call tries the next.
    async fn connect(&mut self) -> Result<Self::Link, LinkError>;

    /// How long an acknowledgement may take.
    fn patience(&self) -> Duration;
}

/// A connection.
#[expect(
    async_fn_in_trait,
    reason = "only this crate implements it, and one thread runs it"
)]
pub trait Link {
    /// Sends a message; what becomes of it, [`Link::settled`] tells.
    async fn send(&mut self, outgoing: Outgoing) -> Result<(), LinkError>;

    /// Waits for news of any message that was sent. To be called again after it was dropped.
    async fn settled(&mut self) -> Result<(Ticket, Outcome), LinkError>;

    /// Sends a heartbeat, and does not care whether anybody listens.
    async fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), LinkError>;

    /// Does what can be done before messages that were returned are sent again.
    async fn repair(&mut self) -> Result<(), LinkError>;

    /// Tells whether the other side holds all publishers back.
    fn hold(&self) -> Hold;

    /// Ends it.
    async fn close(self);
}

/// Whether the other side holds all publishers back, and has said so (`connection.blocked`, as RabbitMQ does for an alarm of
/// disk or memory). Nothing is late then; and what was written to this connection would be taken after what another one
/// brings, so that there is no better one.
#[derive(Debug, Clone, Default)]
pub struct Hold(Option<lapin::ConnectionStatus>);

impl Hold {
    /// That of a broker's connection.
    #[must_use]
    pub const fn of(status: lapin::ConnectionStatus) -> Self {
        Self(Some(status))
    }

    /// Whether it does now.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(lapin::ConnectionStatus::blocked)
    }
}

/// Does `act` within `bound`.
pub(crate) async fn bounded<R>(
    what: &str,
    bound: Duration,
    act: impl Future<Output = Result<R, LinkError>>,
) -> Result<R, LinkError> {
    timeout(bound, act).await.unwrap_or_else(|_| {
        Err(LinkError::TooSlow {
            what: what.to_owned(),
            bound,
        })
    })
}

/// Does `act` within `bound`, not counting the time that all are held back; nobody waits for that once `stop` is true.
/// `meanwhile` is done every 200 ms of it.
pub(crate) async fn patiently<R>(
    what: &str,
    bound: Duration,
    hold: &Hold,
    stop: &watch::Receiver<bool>,
    mut meanwhile: impl FnMut(),
    act: impl Future<Output = Result<R, LinkError>>,
) -> Result<R, LinkError> {
    const LOOK: Duration = Duration::from_millis(200);
    let mut act = pin!(act);
    let mut late = Instant::now() + bound;
    loop {
        if let Ok(done) = timeout(LOOK.min(bound), &mut act).await {
            return done;
        }
        meanwhile();
        if hold.is_on() && !*stop.borrow() {
            late = Instant::now() + bound;
        } else if hold.is_on() || Instant::now() >= late {
            let what = what.to_owned();
            return Err(LinkError::TooSlow { what, bound });
        }
    }
}

/// What is settled already, if anything is.
pub(crate) async fn ready<L: Link>(link: &mut L) -> Option<Result<(Ticket, Outcome), LinkError>> {
    tokio::select! {
        biased;
        settled = link.settled() => Some(settled),
        () = std::future::ready(()) => None,
    }
}
