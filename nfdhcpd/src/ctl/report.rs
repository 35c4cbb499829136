//! What the daemon answers, as JSON has it.

use std::collections::BTreeMap;

use nfdhcpd_binding::MacAddr;
use serde::{Deserialize, Serialize};

use crate::bindings::Standing;
use crate::explain::{Facts, explain};
use crate::link::Link;
use crate::ports::Port;
use crate::serving::Serving;
use crate::story::{Event, Story};
use crate::trace::Traced;
use crate::wire::Protocol;
use snf_nft::IfName;

/// A file in `list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The TAP's name.
    pub tap: String,
    /// How the file stands: `in force`, `waiting`, `stale`, `refused`, `none`.
    pub standing: String,
    /// The TAP's interface index, when it exists.
    pub ifindex: Option<u32>,
    /// The bridge it is a port of.
    pub bridge: Option<String>,
    /// The VM's hardware address, when it is served.
    pub mac: Option<String>,
    /// Its IPv4 address.
    pub ip: Option<String>,
    /// Its IPv6 address.
    pub ip6: Option<String>,
    /// Packets answered.
    pub answered: u64,
    /// Packets not answered.
    pub ignored: u64,
}

/// One TAP in `show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    /// As in `list`.
    #[serde(flatten)]
    pub row: Row,
    /// The file's path.
    pub file: String,
    /// Device and bridge are up.
    pub up: bool,
    /// What was asked last and what became of it, per protocol.
    pub last: Vec<Last>,
    /// Packets per outcome.
    pub outcomes: Vec<OutcomeCount>,
    /// Why the VM did not get what it asked, each a sentence.
    pub why: Vec<String>,
}

/// The last messages of one protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Protocol.
    pub protocol: String,
    /// What was asked.
    pub asked: String,
    /// What became of it.
    pub outcome: String,
    /// It was answered.
    pub answered: bool,
    /// How long ago, milliseconds.
    pub ago_ms: u64,
}

/// Packets with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCount {
    /// The outcome's label, as in the metrics.
    pub outcome: String,
    /// How many.
    pub count: u32,
}

/// A packet in `trace`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceLine {
    /// Milliseconds since the daemon started.
    pub at_ms: u64,
    /// Protocol.
    pub protocol: String,
    /// Ethernet source.
    pub from: Option<String>,
    /// What was asked.
    pub asked: String,
    /// What became of it.
    pub outcome: String,
    /// Microseconds from taking its batch to its answer.
    pub took_us: f64,
}

/// `health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// All is well.
    pub ok: bool,
    /// What is not, each a sentence.
    pub problems: Vec<String>,
    /// TAPs that are served.
    pub bindings: u64,
    /// The daemon's version.
    pub version: String,
}

/// `list`, a row at a time: ten thousand need not be there at once.
pub fn list(serving: &Serving) -> impl Iterator<Item = Row> {
    serving.bindings.names().map(|name| row(serving, name))
}

/// `show`. `redirect`: what is wrong with it, by bridge, or by nothing for all of it; `None` when it is not ours. `now`:
/// milliseconds of the stories' clock.
#[must_use]
pub fn show(
    serving: &Serving,
    name: IfName,
    redirect: Option<&BTreeMap<String, String>>,
    now: u64,
) -> Show {
    let managed = redirect.is_some();
    let link = serving.bindings.link(name);
    let bridge = link.and_then(|link| serving.bindings.bridge_of(link));
    let trouble = redirect.and_then(|troubles| {
        let of_bridge = bridge.and_then(|bridge| troubles.get(bridge.name.as_str()));
        troubles.get("").or(of_bridge)
    });
    let port = port(serving, name);
    let story = port.map(|port| &port.record.story);
    let file = serving
        .directory()
        .join(name.as_str())
        .display()
        .to_string();
    let standing = serving.bindings.standing(name);
    let why = explain(&Facts {
        file: &file,
        standing,
        link,
        bridge,
        story,
        managed,
        trouble: trouble.map(String::as_str),
    });
    Show {
        row: row(serving, name),
        up: link.is_some_and(|link| link.up) && bridge.is_none_or(|bridge| bridge.up),
        last: story.map(|story| last(story, now)).unwrap_or_default(),
        outcomes: story.map(outcomes).unwrap_or_default(),
        why,
        file,
    }
}

fn port(serving: &Serving, name: IfName) -> Option<&Port> {
    serving
        .port(serving.bindings.in_force(name)?)
        .map(AsRef::as_ref)
}

fn row(serving: &Serving, name: IfName) -> Row {
    let link = serving.bindings.link(name);
    let port = port(serving, name);
    let (mut answered, mut ignored) = (0, 0);
    for (outcome, count) in port.iter().flat_map(|port| port.record.story.counts()) {
        let side = if outcome.is_reply() {
            &mut answered
        } else {
            &mut ignored
        };
        *side += u64::from(count);
    }
    Row {
        tap: name.to_string(),
        standing: String::from(standing_label(serving.bindings.standing(name))),
        ifindex: link.map(|link| link.index),
        bridge: link
            .and_then(|link: &Link| Some(serving.bindings.bridge_of(link)?.name.to_string())),
        mac: port.map(|port| port.served.mac.to_string()),
        ip: port.and_then(|port| Some(port.addresses.ip?.to_string())),
        ip6: port.and_then(|port| Some(port.addresses.ip6?.to_string())),
        answered,
        ignored,
    }
}

/// A standing's word, as in `list` and the metrics.
#[must_use]
pub const fn standing_label(standing: Option<Standing<'_>>) -> &'static str {
    match standing {
        None => "none",
        Some(Standing::InForce(_)) => "in force",
        Some(Standing::Waiting) => "waiting",
        Some(Standing::Stale) => "stale",
        Some(Standing::Refused { .. }) => "refused",
    }
}

fn last(story: &Story, now: u64) -> Vec<Last> {
    let mut events: Vec<(Protocol, Event)> = Vec::new();
    for protocol in Protocol::ALL {
        let both = [story.answered(protocol), story.unanswered(protocol)];
        events.extend(both.into_iter().flatten().map(|event| (protocol, event)));
    }
    events.sort_by_key(|(_, event)| event.at);
    let line = |(protocol, event): (Protocol, Event)| Last {
        protocol: String::from(protocol.label()),
        asked: event.asked.to_string(),
        outcome: event.outcome.to_string(),
        answered: event.outcome.is_reply(),
        ago_ms: now.saturating_sub(event.at),
    };
    events.into_iter().map(line).collect()
}

fn outcomes(story: &Story) -> Vec<OutcomeCount> {
    let counts = story.counts();
    counts
        .map(|(outcome, count)| OutcomeCount {
            outcome: outcome.label().into(),
            count,
        })
        .collect()
}

impl From<Traced> for TraceLine {
    fn from(traced: Traced) -> Self {
        let Traced {
            event,
            source,
            taken,
            ..
        } = traced;
        Self {
            at_ms: event.at,
            protocol: String::from(event.asked.protocol().label()),
            from: source.as_ref().map(MacAddr::to_string),
            asked: event.asked.to_string(),
            outcome: event.outcome.to_string(),
            took_us: taken as f64 / 1000.0,
        }
    }
}
