//! Why a VM got nothing: what an operator asks first. Pure: facts in, sentences out.

use crate::bindings::Standing;
use crate::link::Link;
use crate::outcome::Outcome;
use crate::story::Story;
use crate::wire::Protocol;

/// What is known of one TAP.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The file's path.
    pub file: &'a str,
    /// How the file stands; `None` when there is none.
    pub standing: Option<Standing<'a>>,
    /// The device; `None` when there is none.
    pub link: Option<&'a Link>,
    /// The bridge it is a port of.
    pub bridge: Option<&'a Link>,
    /// What its VM asked; `None` when it is not served.
    pub story: Option<&'a Story>,
    /// The redirect is ours.
    pub managed: bool,
    /// What is wrong with the redirect of this TAP.
    pub trouble: Option<&'a str>,
}

/// What stands between the VM and its address, each a sentence; nothing when it was answered all it asked.
#[must_use]
pub fn explain(facts: &Facts<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    reasons.extend(of_file(facts));
    reasons.extend(of_device(facts));
    reasons.extend(
        facts
            .trouble
            .map(|trouble| format!("its requests are not all taken: {trouble}")),
    );
    if let (
        Some(
            Standing::InForce(_)
            | Standing::Refused {
                last_good: Some(_), ..
            },
        ),
        Some(story),
    ) = (facts.standing, facts.story)
    {
        reasons.extend(of_story(facts, story));
    }
    reasons
}

fn of_file(facts: &Facts<'_>) -> Option<String> {
    let file = facts.file;
    match facts.standing {
        None => Some(format!(
            "there is no binding file {file}: nobody asked for this TAP to be served (is its network tagged nfdhcpd, \
             and did ifup run?)"
        )),
        Some(Standing::Refused { reason, last_good }) => {
            let instead = match last_good {
                Some(_) => "the last good binding is served",
                None => "nothing is served",
            };
            Some(format!(
                "the binding file {file} is refused: {reason}; {instead}"
            ))
        }
        Some(Standing::Stale) => Some(format!(
            "the binding file {file} was written for an earlier device of this name, and another VM must not get its \
             address: it serves this TAP once it is written anew"
        )),
        Some(Standing::Waiting | Standing::InForce(_)) => None,
    }
}

fn of_device(facts: &Facts<'_>) -> Option<String> {
    match (facts.link, facts.bridge) {
        (None, _) => Some(String::from("there is no network device of this name")),
        (Some(link), _) if !link.up => Some(format!("{} is down", link.name)),
        (Some(_), Some(bridge)) if !bridge.up => Some(format!(
            "the bridge {} is down: no request arrives",
            bridge.name
        )),
        (Some(_), _) => None,
    }
}

fn of_story(facts: &Facts<'_>, story: &Story) -> Vec<String> {
    if story.counts().next().is_none() {
        let rules = if facts.managed {
            "`nfdhcpd rules show` tells whether the redirect is in place"
        } else {
            "the rules are external: do they queue this TAP's packets?"
        };
        return vec![format!(
            "no request has arrived since the TAP is served: has the VM booted, and does it ask? {rules}"
        )];
    }
    let mut reasons: Vec<String> = Protocol::ALL
        .into_iter()
        .filter_map(|protocol| {
            let refused = story.unanswered(protocol)?;
            let answered = story.answered(protocol).map_or(0, |event| event.at);
            let unheard = refused.at >= answered && refused.outcome.is_trouble();
            unheard.then(|| format!("{} is not answered: {}", refused.asked, refused.outcome))
        })
        .collect();
    let often = |label| {
        let mut counts = story.counts();
        counts
            .find(|(outcome, _)| outcome.label() == label)
            .map(|(_, count)| count)
    };
    if let (Some(count), Some(mac)) = (often("spoofed"), story.spoofer()) {
        reasons.push(format!(
            "{count} packets came from foreign hardware addresses, the last from {mac} (MACSPOOF=yes allows them)"
        ));
    }
    if let Some(count) = often("rate_limited") {
        reasons.push(format!(
            "{count} packets were over the TAP's rate ([rate] per_second, burst)"
        ));
    }
    if let Some(count) = often("decline") {
        reasons.push(format!(
            "{count} times the VM found its address in use by somebody else"
        ));
    }
    reasons
}

impl Outcome {
    /// True for outcomes after which a VM that wants an address has none.
    fn is_trouble(self) -> bool {
        !matches!(
            self.label(),
            "release" | "not_proxied" | "no_opinion" | "other_server"
        ) && !self.is_reply()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asked::Asked;
    use crate::responder::{Decision, Ignored, Reply};
    use crate::story::Event;
    use nfdhcpd_binding::MacAddr;

    fn link(up: bool) -> Link {
        let name = "tap0".parse().unwrap();
        Link {
            index: 7,
            name,
            is_bridge: false,
            master: None,
            mac: MacAddr([2; 6]),
            up,
        }
    }

    fn facts<'a>(standing: Option<Standing<'a>>, link: Option<&'a Link>) -> Facts<'a> {
        Facts {
            file: "/b/tap0",
            standing,
            link,
            bridge: None,
            story: None,
            managed: true,
            trouble: None,
        }
    }

    #[track_caller]
    fn says(facts: &Facts<'_>, expected: &[&str]) {
        let reasons = explain(facts);
        assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
        for (reason, part) in reasons.iter().zip(expected) {
            assert!(reason.contains(part), "{reason:?} has no {part:?}");
        }
    }

    #[test]
    fn no_file_no_device() {
        says(
            &facts(None, None),
            &["no binding file /b/tap0", "no network device"],
        );
        says(
            &facts(Some(Standing::Waiting), None),
            &["no network device"],
        );
        says(
            &facts(Some(Standing::Stale), Some(&link(true))),
            &["written for an earlier device"],
        );
        let refused = Standing::Refused {
            reason: "line 1: IP=x: no",
            last_good: None,
        };
        says(
            &facts(Some(refused), Some(&link(false))),
            &["line 1: IP=x: no", "tap0 is down"],
        );
    }

    #[test]
    fn a_bridge_that_is_down_lets_nothing_through() {
        let (tap, bridge) = (link(true), link(false));
        let story = Story::default();
        let facts = Facts {
            bridge: Some(&bridge),
            story: Some(&story),
            ..facts(Some(Standing::InForce(7)), Some(&tap))
        };
        says(&facts, &["bridge tap0 is down", "no request has arrived"]);
    }

    #[test]
    fn trouble_with_the_redirect_is_told() {
        let tap = link(true);
        let facts = Facts {
            trouble: Some("IPv6 is disabled on br0"),
            ..facts(Some(Standing::InForce(7)), Some(&tap))
        };
        says(&facts, &["not all taken: IPv6 is disabled on br0"]);
    }

    #[test]
    fn what_was_asked_in_vain() {
        let tap = link(true);
        let story = Story::default();
        let tell = |at, protocol, kind, decision| {
            let asked = Asked::from_kind(protocol, kind);
            let event = Event {
                at,
                asked,
                outcome: Outcome::from(decision),
            };
            story.tell(protocol, event, Some(MacAddr([2, 0, 0, 0, 0, 9])));
        };
        let facts = Facts {
            story: Some(&story),
            ..facts(Some(Standing::InForce(7)), Some(&tap))
        };
        tell(1, Protocol::Dhcpv4, 1, Decision::Ignore(Ignored::Spoofed));
        tell(
            1,
            Protocol::NeighborSolicitation,
            0,
            Decision::Ignore(Ignored::NotProxied),
        );
        let spoofed =
            "1 packets came from foreign hardware addresses, the last from 02:00:00:00:00:09";
        says(&facts, &["DHCPDISCOVER is not answered", spoofed]);
        tell(2, Protocol::Dhcpv4, 1, Decision::Reply(Reply::Offer));
        tell(2, Protocol::Dhcpv6, 1, Decision::Ignore(Ignored::NoAddress));
        says(
            &facts,
            &[
                "Solicit is not answered: the binding has no address",
                spoofed,
            ],
        );
    }
}
