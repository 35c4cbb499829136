//! Which message a packet is, for people: read after the decision, which never depends on it.

use std::fmt;

use crate::wire::Protocol;

/// What a VM asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    protocol: Protocol,
    /// Option 53, or the DHCPv6 message type; 0 when it cannot be read.
    kind: u8,
}

impl Asked {
    /// Looks at a packet from its IP header on.
    #[must_use]
    pub fn read(protocol: Protocol, payload: &[u8]) -> Self {
        let kind = match protocol {
            Protocol::Dhcpv4 => dhcpv4_type(payload),
            Protocol::Dhcpv6 => payload.get(48).copied(),
            Protocol::RouterSolicitation | Protocol::NeighborSolicitation => None,
        };
        Self {
            protocol,
            kind: kind.unwrap_or(0),
        }
    }

    /// The message type by which [`Asked::from_kind`] makes it again.
    #[must_use]
    pub const fn kind(self) -> u8 {
        self.kind
    }

    /// The message's protocol.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        self.protocol
    }

    /// A message by its protocol and type.
    #[must_use]
    pub const fn from_kind(protocol: Protocol, kind: u8) -> Self {
        Self { protocol, kind }
    }
}

/// Value of option 53.
fn dhcpv4_type(payload: &[u8]) -> Option<u8> {
    let header = usize::from(payload.first()? & 0x0f) * 4;
    let mut rest = payload.get(header + 8 + 240..)?;
    loop {
        match rest {
            [53, 1, kind, ..] => return Some(*kind),
            [0, behind @ ..] => rest = behind,
            [255, ..] => return None,
            [_, length, behind @ ..] => rest = behind.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.protocol, self.kind) {
            (Protocol::RouterSolicitation, _) => "RouterSolicitation",
            (Protocol::NeighborSolicitation, _) => "NeighborSolicitation",
            (Protocol::Dhcpv4, 1) => "DHCPDISCOVER",
            (Protocol::Dhcpv4, 3) => "DHCPREQUEST",
            (Protocol::Dhcpv4, 4) => "DHCPDECLINE",
            (Protocol::Dhcpv4, 7) => "DHCPRELEASE",
            (Protocol::Dhcpv4, 8) => "DHCPINFORM",
            (Protocol::Dhcpv6, 1) => "Solicit",
            (Protocol::Dhcpv6, 3) => "Request",
            (Protocol::Dhcpv6, 4) => "Confirm",
            (Protocol::Dhcpv6, 5) => "Renew",
            (Protocol::Dhcpv6, 6) => "Rebind",
            (Protocol::Dhcpv6, 8) => "Release",
            (Protocol::Dhcpv6, 9) => "Decline",
            (Protocol::Dhcpv6, 11) => "Information-request",
            (Protocol::Dhcpv4, kind) => return write!(f, "DHCP message type {kind}"),
            (Protocol::Dhcpv6, kind) => return write!(f, "DHCPv6 message type {kind}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_type_wherever_it_stands() {
        let mut packet = vec![0x46];
        packet.resize(24 + 8 + 240, 0);
        packet.extend([0, 12, 2, b'v', b'm', 53, 1, 3, 255]);
        assert_eq!(
            Asked::read(Protocol::Dhcpv4, &packet).to_string(),
            "DHCPREQUEST"
        );
        packet.truncate(24 + 8 + 240 + 3);
        assert_eq!(
            Asked::read(Protocol::Dhcpv4, &packet).to_string(),
            "DHCP message type 0"
        );
        assert_eq!(
            Asked::read(Protocol::Dhcpv4, &[]).to_string(),
            "DHCP message type 0"
        );
        let mut solicit = vec![0; 48];
        solicit.push(1);
        assert_eq!(
            Asked::read(Protocol::Dhcpv6, &solicit).to_string(),
            "Solicit"
        );
    }
}
