//! This node in its cluster: its name and whether it is the master, by Ganeti's ssconf files, read anew each time; the
//! cluster's UUID, which only the master can ask for.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::eventd::luxi::QuerySocket;
use crate::eventd::master::{self, Role};

/// How long Ganeti may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long Ganeti is left alone after it did not answer.
const RESPITE: Duration = Duration::from_secs(10);

/// Who knows.
#[derive(Debug)]
pub struct Membership {
    ssconf: PathBuf,
    node: Option<String>,
    socket: QuerySocket,
    uuid: Mutex<Asked>,
}

#[derive(Debug, Default, Clone)]
struct Asked {
    uuid: Option<String>,
    until: Option<Instant>,
}

impl Membership {
    /// By the files in `ssconf`; `node` is our name, where that is configured; `socket` is luxid's.
    #[must_use]
    pub fn new(ssconf: PathBuf, node: Option<String>, socket: PathBuf) -> Self {
        Self {
            ssconf,
            node,
            socket: QuerySocket {
                path: socket,
                bound: PATIENCE,
            },
            uuid: Mutex::default(),
        }
    }

    /// What the files say now.
    ///
    /// # Errors
    /// When one cannot be read: the node is in no cluster, or Ganeti is just writing.
    pub fn role(&self) -> io::Result<Role> {
        master::read(&self.ssconf, self.node.as_deref())
    }

    /// The cluster's UUID; `None` on other nodes than the master, or when Ganeti does not tell.
    pub async fn cluster_uuid(&self, role: &Role) -> Option<String> {
        if !role.is_master() {
            return None;
        }
        let known = self.known();
        if known.until.is_some_and(|until| Instant::now() < until) {
            return known.uuid;
        }
        let answer = self.socket.cluster_uuid().await;
        let asked = match answer {
            Ok(uuid) => Asked {
                uuid: Some(uuid),
                until: Some(Instant::now() + BELIEVED),
            },
            Err(error) => {
                tracing::debug!(%error, "Ganeti does not tell the cluster's UUID");
                Asked {
                    uuid: known.uuid,
                    until: Some(Instant::now() + RESPITE),
                }
            }
        };
        let uuid = asked.uuid.clone();
        *self.uuid.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        uuid
    }

    fn known(&self) -> Asked {
        let asked = self.uuid.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}
