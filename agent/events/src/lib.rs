//! What a Ganeti cluster tells the control plane, and how: Ganeti's words, events, routing keys, the broker's topology,
//! the HTTPS transport's bodies, and the tags by which the control plane tells hosts what a VM is to get.
//!
//! Both sides import it, so that each word is written once. Pure but for [`topology`], which asks a broker.

pub mod agent;
pub mod ganeti;
pub mod identity;
pub mod intake;
pub mod message;
pub mod routing;
pub mod tag;
#[cfg(feature = "broker")]
pub mod topology;

pub use agent::{AgentMessage, NetStatus, NodeReport, Origin, Progress};
pub use ganeti::{JobId, JobStatus, OpCode, Subject, Timestamp};
pub use identity::{Epoch, NaturalKey, Sequence};
pub use message::{ClusterStatus, Heartbeat, Message, NetworkStatus, OpStatus};
pub use routing::{Prefix, RoutingKey};
