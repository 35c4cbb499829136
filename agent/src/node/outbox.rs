//! What a hook or the progress monitor said → a message of ours in the spool, or a number in the figures.

use std::sync::Arc;

use snf_events::agent::NoProgress;
use snf_events::{AgentMessage, Epoch, NetStatus, Origin, Prefix, Progress, Sequence, Timestamp};

use super::counters::{Counters, more};
use super::environment::{Heard, Told};
use super::membership::Membership;
use super::net_status::{is_told, nics};
use super::spool::{Kind, Letter, Put, Spool};
use crate::eventd::master::Role;

/// What all messages of a node are about to say of where they are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The node's role; `None`: it is in no cluster, or Ganeti is just writing.
    pub role: Option<Role>,
    /// The cluster's UUID, where it is known.
    pub cluster_uuid: Option<String>,
}

impl Sender {
    /// Looks who we are.
    pub async fn of(membership: &Membership) -> Self {
        let role = membership.role().ok();
        let cluster_uuid = match &role {
            Some(role) => membership.cluster_uuid(role).await,
            None => None,
        };
        Self { role, cluster_uuid }
    }

    /// Whether the node is the master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.role.as_ref().is_some_and(Role::is_master)
    }

    /// The fields of a message.
    #[must_use]
    pub fn origin(&self, epoch: &Epoch, prefix: &Prefix, sequence: Sequence) -> Origin {
        let host = || {
            let name = nix::unistd::gethostname().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        Origin {
            node: self
                .role
                .as_ref()
                .map_or_else(host, |role| role.node.clone()),
            cluster: self.role.as_ref().map(|role| role.cluster.clone()),
            cluster_uuid: self.cluster_uuid.clone(),
            epoch: epoch.clone(),
            prefix: prefix.clone(),
            sequence,
        }
    }
}

/// Where messages are made.
#[derive(Debug)]
pub struct Outbox {
    /// Where they wait.
    pub spool: Spool,
    /// Who we are.
    pub membership: Membership,
    /// Whose messages are published.
    pub prefixes: Vec<Prefix>,
    /// What is counted.
    pub counters: Arc<Counters>,
}

impl Outbox {
    fn owner(&self, instance: &str) -> Option<&Prefix> {
        self.prefixes.iter().find(|prefix| prefix.owns(instance))
    }

    /// A hook spoke: on the master, what it said of the instance's NICs goes out. On other nodes, and of operations that leave
    /// NICs as they are, nothing does: one node speaks for all.
    pub fn hook(&self, told: &Told, sender: &Sender) {
        let heard = match told {
            Told::Keep(heard) | Told::Rename { to: heard, .. } => heard,
            Told::Forget(_) => return,
        };
        if !sender.is_master() || !is_told(&heard.hook) {
            return;
        }
        let Some(prefix) = self.owner(&heard.instance) else {
            self.counters.figures().publication.foreign += 1;
            return;
        };
        let letter = Letter {
            kind: Kind::Net,
            prefix: prefix.clone(),
            instance: heard.instance.clone(),
            tells: Some("nics".to_owned()),
        };
        self.put(&letter, heard.at, |epoch, sequence| {
            net_status(heard, sender.origin(epoch, prefix, sequence)).encode()
        });
    }

    /// The progress monitor spoke. `now`: milliseconds since 1970.
    pub fn progress(&self, text: &[u8], sender: &Sender, now: u64) {
        let progress = match Progress::decode(text) {
            Ok(progress) => progress,
            Err(refusal) => {
                tracing::debug!(reason = %refusal, "progress was refused");
                let refused = &mut self.counters.figures().publication.progress_refused;
                more(refused, label(&refusal));
                return;
            }
        };
        let Some(prefix) = self.owner(progress.instance()).cloned() else {
            self.counters.figures().publication.foreign += 1;
            return;
        };
        let letter = Letter {
            kind: Kind::Progress,
            prefix: prefix.clone(),
            instance: progress.instance().to_owned(),
            tells: progress
                .is_superseded_by_newer()
                .then(|| progress.kind().to_owned()),
        };
        self.put(&letter, now, |epoch, sequence| {
            progress.encode_from(&sender.origin(epoch, &prefix, sequence))
        });
    }

    fn put(&self, letter: &Letter, now: u64, body: impl FnOnce(&Epoch, Sequence) -> Vec<u8>) {
        let outcome = self.spool.put(letter, now, body);
        let level = self.spool.level();
        let mut figures = self.counters.figures();
        let publication = &mut figures.publication;
        publication.waiting(level);
        let put = match outcome {
            Ok(put) => put,
            Err(error) => {
                let instance = letter.instance.as_str();
                tracing::error!(%error, instance, "a message could not be spooled: it is lost");
                more(&mut publication.lost, letter.kind.label());
                return;
            }
        };
        let Put {
            waits,
            replaced,
            dropped: (net, progress),
        } = put;
        publication.replaced += u64::from(replaced);
        if waits {
            more(&mut publication.spooled, letter.kind.label());
        }
        for (kind, count) in [(Kind::Net, net), (Kind::Progress, progress)] {
            if count == 0 {
                continue;
            }
            // A full spool goes on being full: said once, and again when the next thousand is reached.
            let before = publication
                .dropped
                .entry(kind.label().to_owned())
                .or_default();
            if *before / 1000 != (*before + count) / 1000 || *before == 0 {
                tracing::error!(
                    kind = kind.label(),
                    dropped = *before + count,
                    "the spool is full: messages are dropped"
                );
            }
            *before += count;
        }
    }
}

fn net_status(heard: &Heard, origin: Origin) -> AgentMessage {
    AgentMessage::Net(NetStatus {
        instance: heard.instance.clone(),
        nics: nics(heard),
        hook: heard.hook.clone(),
        event_time: moment(heard.at),
        origin,
    })
}

/// Milliseconds since 1970, as messages have it.
#[must_use]
pub fn moment(milliseconds: u64) -> Timestamp {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
    let microseconds = u32::try_from(milliseconds % 1000 * 1000).unwrap_or(0);
    (seconds, microseconds).into()
}

const fn label(refusal: &NoProgress) -> &'static str {
    match refusal {
        NoProgress::NoObject => "no_object",
        NoProgress::TooLong => "too_long",
        NoProgress::Type(_) => "type",
        NoProgress::Without(_) => "incomplete",
    }
}
