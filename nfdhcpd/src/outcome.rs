//! What became of a packet, as counters and people name it.

use std::fmt;

use crate::responder::{Decision, Ignored, Reply};
use crate::wire::Protocol;

/// The end of one packet's trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome(u8);

/// Each outcome: group, metric label, words for people. The order gives the numbers.
const NAMES: [(&str, &str, &str); Outcome::COUNT] = [
    ("replied", "offer", "DHCPOFFER"),
    ("replied", "ack", "DHCPACK"),
    ("replied", "inform_ack", "DHCPACK without lease"),
    ("replied", "nak", "DHCPNAK"),
    ("replied", "advertise6", "Advertise"),
    ("replied", "reply6", "Reply"),
    ("replied", "information_reply6", "Reply without address"),
    (
        "replied",
        "refusal6",
        "a refusal: there is no such address for it",
    ),
    ("replied", "release_reply6", "Reply to its release"),
    (
        "replied",
        "decline_reply6",
        "Reply to its decline: the VM found its address in use by somebody else",
    ),
    ("replied", "router_advertisement", "RouterAdvertisement"),
    ("replied", "neighbor_advertisement", "NeighborAdvertisement"),
    (
        "replied",
        "advertisement_to_all",
        "RouterAdvertisement to all nodes",
    ),
    ("ignored", "malformed", "malformed"),
    (
        "ignored",
        "spoofed",
        "from a hardware address that is not the binding's",
    ),
    ("ignored", "no_binding", "the TAP has no binding in force"),
    (
        "ignored",
        "no_address",
        "the binding has no address or prefix of this family",
    ),
    ("ignored", "other_server", "for another server"),
    ("ignored", "from_server", "a message only servers send"),
    (
        "ignored",
        "unknown_type",
        "a type of message nobody answers",
    ),
    ("ignored", "release", "released"),
    (
        "ignored",
        "decline",
        "declined: the VM found its address in use by somebody else",
    ),
    (
        "ignored",
        "identifier",
        "an identifier is missing, or must not be there",
    ),
    (
        "ignored",
        "not_multicast",
        "sent to one server's address, which must go to all",
    ),
    (
        "ignored",
        "no_opinion",
        "about addresses nothing is known of",
    ),
    (
        "ignored",
        "not_proxied",
        "for an address that is not answered for",
    ),
    ("ignored", "rate_limited", "over the TAP's rate"),
    ("ignored", "too_large", "the answer does not fit a frame"),
    ("passed", "not_ours", "not for us: let through"),
    ("failed", "panicked", "a defect of nfdhcpd: see its log"),
];

impl Outcome {
    /// How many there are.
    pub const COUNT: usize = 30;

    const LAST_REPLY: u8 = 12;
    const SPOOFED: u8 = 14;
    const NOT_OURS: u8 = 28;

    /// Answering panicked.
    pub const PANICKED: Self = Self(29);

    /// All, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0u8..).take(Self::COUNT).map(Self)
    }

    /// Its number, below [`Outcome::COUNT`].
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The outcome of a number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    /// True when the VM said that its address is in use by somebody else.
    #[must_use]
    pub fn is_decline(self) -> bool {
        self == Self::from(Decision::Ignore(Ignored::Decline))
            || self == Self::from(Decision::Reply(Reply::DeclineReply6))
    }

    /// False for replies of another protocol.
    #[must_use]
    pub fn may_be_of(self, protocol: Protocol) -> bool {
        match (self.group(), self.label()) {
            ("replied", "offer" | "ack" | "inform_ack" | "nak") => protocol == Protocol::Dhcpv4,
            ("replied", "router_advertisement" | "advertisement_to_all") => {
                protocol == Protocol::RouterSolicitation
            }
            ("replied", "neighbor_advertisement") => protocol == Protocol::NeighborSolicitation,
            ("replied", _) => protocol == Protocol::Dhcpv6,
            _ => true,
        }
    }

    /// `replied`, `ignored`, `passed` or `failed`.
    #[must_use]
    pub fn group(self) -> &'static str {
        self.names().0
    }

    /// True when the VM got an answer, or will.
    #[must_use]
    pub const fn is_reply(self) -> bool {
        self.0 <= Self::LAST_REPLY
    }

    /// True when the packet goes on.
    #[must_use]
    pub const fn passes(self) -> bool {
        self.0 == Self::NOT_OURS
    }

    /// True when the packet came from a foreign hardware address.
    #[must_use]
    pub const fn is_spoofed(self) -> bool {
        self.0 == Self::SPOOFED
    }

    /// Metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str, &'static str) {
        NAMES.get(usize::from(self.0)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names().2)
    }
}

impl From<Decision> for Outcome {
    fn from(decision: Decision) -> Self {
        Self(match decision {
            Decision::Reply(Reply::Offer) => 0,
            Decision::Reply(Reply::Ack) => 1,
            Decision::Reply(Reply::InformAck) => 2,
            Decision::Reply(Reply::Nak) => 3,
            Decision::Reply(Reply::Advertise6) => 4,
            Decision::Reply(Reply::Reply6) => 5,
            Decision::Reply(Reply::InformationReply6) => 6,
            Decision::Reply(Reply::Refusal6) => 7,
            Decision::Reply(Reply::ReleaseReply6) => 8,
            Decision::Reply(Reply::DeclineReply6) => 9,
            Decision::Reply(Reply::RouterAdvertisement) => 10,
            Decision::Reply(Reply::NeighborAdvertisement) => 11,
            Decision::Advertise => 12,
            Decision::Ignore(Ignored::Malformed) => 13,
            Decision::Ignore(Ignored::Spoofed) => 14,
            Decision::Ignore(Ignored::NoBinding) => 15,
            Decision::Ignore(Ignored::NoAddress) => 16,
            Decision::Ignore(Ignored::OtherServer) => 17,
            Decision::Ignore(Ignored::FromServer) => 18,
            Decision::Ignore(Ignored::UnknownType) => 19,
            Decision::Ignore(Ignored::Release) => 20,
            Decision::Ignore(Ignored::Decline) => 21,
            Decision::Ignore(Ignored::Identifier) => 22,
            Decision::Ignore(Ignored::NotMulticast) => 23,
            Decision::Ignore(Ignored::NoOpinion) => 24,
            Decision::Ignore(Ignored::NotProxied) => 25,
            Decision::Ignore(Ignored::RateLimited) => 26,
            Decision::Ignore(Ignored::TooLarge) => 27,
            Decision::NotOurs => 28,
        })
    }
}

impl Protocol {
    /// All four, in the order of [`Protocol::number`].
    pub const ALL: [Self; 4] = [
        Self::Dhcpv4,
        Self::RouterSolicitation,
        Self::NeighborSolicitation,
        Self::Dhcpv6,
    ];

    /// 0 to 3.
    #[must_use]
    pub const fn number(self) -> usize {
        match self {
            Self::Dhcpv4 => 0,
            Self::RouterSolicitation => 1,
            Self::NeighborSolicitation => 2,
            Self::Dhcpv6 => 3,
        }
    }

    /// Metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dhcpv4 => "dhcpv4",
            Self::RouterSolicitation => "rs",
            Self::NeighborSolicitation => "ns",
            Self::Dhcpv6 => "dhcpv6",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for (decision, label) in [
            (Decision::Reply(Reply::Offer), "offer"),
            (Decision::Reply(Reply::Ack), "ack"),
            (Decision::Reply(Reply::InformAck), "inform_ack"),
            (Decision::Reply(Reply::Nak), "nak"),
            (Decision::Reply(Reply::Advertise6), "advertise6"),
            (Decision::Reply(Reply::Reply6), "reply6"),
            (
                Decision::Reply(Reply::InformationReply6),
                "information_reply6",
            ),
            (Decision::Reply(Reply::Refusal6), "refusal6"),
            (Decision::Reply(Reply::ReleaseReply6), "release_reply6"),
            (Decision::Reply(Reply::DeclineReply6), "decline_reply6"),
            (
                Decision::Reply(Reply::RouterAdvertisement),
                "router_advertisement",
            ),
            (
                Decision::Reply(Reply::NeighborAdvertisement),
                "neighbor_advertisement",
            ),
            (Decision::Advertise, "advertisement_to_all"),
            (Decision::Ignore(Ignored::Malformed), "malformed"),
            (Decision::Ignore(Ignored::Spoofed), "spoofed"),
            (Decision::Ignore(Ignored::NoBinding), "no_binding"),
            (Decision::Ignore(Ignored::NoAddress), "no_address"),
            (Decision::Ignore(Ignored::OtherServer), "other_server"),
            (Decision::Ignore(Ignored::FromServer), "from_server"),
            (Decision::Ignore(Ignored::UnknownType), "unknown_type"),
            (Decision::Ignore(Ignored::Release), "release"),
            (Decision::Ignore(Ignored::Decline), "decline"),
            (Decision::Ignore(Ignored::Identifier), "identifier"),
            (Decision::Ignore(Ignored::NotMulticast), "not_multicast"),
            (Decision::Ignore(Ignored::NoOpinion), "no_opinion"),
            (Decision::Ignore(Ignored::NotProxied), "not_proxied"),
            (Decision::Ignore(Ignored::RateLimited), "rate_limited"),
            (Decision::Ignore(Ignored::TooLarge), "too_large"),
            (Decision::NotOurs, "not_ours"),
        ] {
            assert_eq!(Outcome::from(decision).label(), label);
        }
        for outcome in Outcome::all() {
            assert_eq!(outcome.is_reply(), outcome.group() == "replied");
            assert_eq!(outcome.passes(), outcome.group() == "passed");
            assert_eq!(outcome.is_spoofed(), outcome.label() == "spoofed");
        }
        assert_eq!(Outcome::PANICKED.label(), "panicked");
        let labels: std::collections::BTreeSet<_> = Outcome::all().map(Outcome::label).collect();
        assert_eq!(labels.len(), Outcome::COUNT);
    }
}
