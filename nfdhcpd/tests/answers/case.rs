//! The given part of a case: what a TAP is served, and a packet.

use std::path::Path;

use nfdhcpd::config::Config;
use nfdhcpd::responder::{Attachment, Served};
use nfdhcpd::wire::{Inbound, Protocol};
use nfdhcpd_binding::MacAddr;

/// What is given.
pub(crate) struct Case {
    /// What the TAP is served.
    pub(crate) served: Served,
    protocol: Protocol,
    payload: Vec<u8>,
    source: Option<MacAddr>,
    verify_checksum: bool,
}

impl Case {
    /// Reads the sections. `packet`'s first line: the protocol, perhaps `from MAC`, perhaps `unverified`; then hexadecimal
    /// digits from the IP header on, `#` before a comment.
    pub(crate) fn parse(given: &str) -> Self {
        let section = |name: &str| {
            let head = format!("--- {name}\n");
            let (_, rest) = given.split_once(&head)?;
            Some(rest.split_once("--- ").map_or(rest, |(body, _)| body))
        };
        let binding = section("binding").expect("a case has a binding");
        let binding = binding
            .parse()
            .unwrap_or_else(|error| panic!("binding: {error}"));
        let config = Config::parse(
            section("configuration").unwrap_or_default(),
            Path::new("case"),
        );
        let settings = config.unwrap_or_else(|error| panic!("{error:?}")).settings;
        let attachment = match section("attachment").map_or("routed", str::trim) {
            "routed" => Attachment::Routed,
            "bridged" => Attachment::Bridged { bridge: 9 },
            other => panic!("attachment {other}"),
        };
        let packet = section("packet").expect("a case has a packet");
        let (head, hex) = packet.split_once('\n').expect("a packet has a head");
        let mut words = head.split_whitespace();
        let protocol = match words.next() {
            Some("dhcpv4") => Protocol::Dhcpv4,
            Some("dhcpv6") => Protocol::Dhcpv6,
            Some("rs") => Protocol::RouterSolicitation,
            Some("ns") => Protocol::NeighborSolicitation,
            other => panic!("protocol {other:?}"),
        };
        let mut source = None;
        let mut verify_checksum = true;
        while let Some(word) = words.next() {
            match word {
                "from" => source = words.next().map(|mac| mac.parse().expect("a MAC")),
                "unverified" => verify_checksum = false,
                other => panic!("{other} in a packet's head"),
            }
        }
        Self {
            served: Served::new(&binding, attachment, &settings),
            protocol,
            payload: unhex(hex),
            source,
            verify_checksum,
        }
    }

    /// The packet.
    pub(crate) fn inbound(&self) -> Inbound<'_> {
        Inbound {
            protocol: self.protocol,
            source: self.source,
            verify_checksum: self.verify_checksum,
            payload: &self.payload,
        }
    }
}

/// Hexadecimal digits, white space between them, `#` before a comment.
fn unhex(text: &str) -> Vec<u8> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let digits: Vec<u8> = lines
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hexadecimal digit")).expect("below 16"))
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
