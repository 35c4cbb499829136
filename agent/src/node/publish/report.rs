//! A node's reports: one for each deployment, with its own instances' TAPs and nobody else's.

use std::collections::BTreeMap;
use std::io;

use snf_events::agent::{DhcpTrouble, Host, Tap, Traffic};
use snf_events::routing::Kind;
use snf_events::{AgentMessage, Epoch, NodeReport, Prefix, Sequence};

use super::Sources;
use crate::node::daemon::now;
use crate::node::dhcp::Listener;
use crate::node::inventory;
use crate::node::outbox::{Sender, moment};
use crate::node::taps::{self, Seen};
use crate::transport::{Outgoing, Ticket};

/// Makes reports.
#[derive(Debug)]
pub(super) struct Reporter {
    sources: Sources,
    listener: Listener,
    epoch: Epoch,
    given: Sequence,
}

impl Reporter {
    pub(super) fn new(sources: Sources) -> io::Result<Self> {
        Ok(Self {
            sources,
            listener: Listener::default(),
            epoch: new_epoch()?,
            given: Sequence(0),
        })
    }

    /// A report for each deployment, as things are now.
    pub(super) async fn reports(&mut self, sender: &Sender, prefixes: &[Prefix]) -> Vec<Outgoing> {
        let mut troubled = self.listener.troubled(&self.sources.nfdhcpd).await;
        let directories = self.sources.directories.clone();
        // Off the loop: a file system may be slow.
        let host = tokio::task::spawn_blocking(move || inventory::host(&directories)).await;
        let host = host.unwrap_or_default();
        let traffic = taps::traffic().unwrap_or_else(|error| {
            tracing::warn!(%error, "the kernel does not tell what passed the TAPs");
            BTreeMap::new()
        });
        self.given = self.given.next();
        prefixes
            .iter()
            .map(|prefix| self.report(sender, prefix, host.clone(), &traffic, &mut troubled))
            .collect()
    }

    fn report(
        &self,
        sender: &Sender,
        prefix: &Prefix,
        host: Host,
        traffic: &BTreeMap<String, Traffic>,
        troubled: &mut BTreeMap<String, DhcpTrouble>,
    ) -> Outgoing {
        let seen = self.sources.taps.seen();
        let total = seen.len();
        let mut taps = Vec::new();
        for (name, one) in seen.iter() {
            let Seen {
                instance: Some(instance),
                index,
                mac,
                standing,
            } = one
            else {
                continue;
            };
            if prefix.owns(instance) {
                taps.push(Tap {
                    tap: name.to_string(),
                    instance: instance.clone(),
                    index: *index,
                    mac: mac.clone(),
                    standing: (*standing).to_owned(),
                    counters: traffic.get(name.as_str()).copied(),
                    dhcp: troubled.remove(name.as_str()),
                });
            }
        }
        drop(seen);
        let message = AgentMessage::Report(Box::new(NodeReport {
            event_time: moment(now()),
            origin: sender.origin(&self.epoch, prefix, self.given),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            interval: self.sources.interval.unwrap_or_default().as_secs(),
            master: sender.is_master(),
            host,
            other_taps: (total - taps.len()) as u64,
            taps,
        }));
        Outgoing {
            ticket: Ticket(0),
            epoch: self.epoch.clone(),
            sequence: self.given,
            prefix: prefix.clone(),
            key: Kind::Node.key(prefix),
            id: format!("{}/{}/{}", self.epoch, prefix.word(), self.given),
            body: message.encode(),
            mandatory: false,
        }
    }
}

/// A random UUID, the kernel's.
pub(crate) fn new_epoch() -> io::Result<Epoch> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    text.trim().parse().map_err(io::Error::other)
}
