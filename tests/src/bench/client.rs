//! One VM of the load: what it says next, and whether what it hears is right. Pure: the clock is an argument.

use std::net::Ipv4Addr;

use super::frames::{self, ETHERNET, VNET_HEADER, Vm, dhcpv4, dhcpv6, ndp};

/// What the VMs do; one exchange each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Load {
    /// DISCOVER, OFFER, REQUEST, ACK.
    Dhcp4,
    /// Router solicitation and advertisement.
    Rs,
    /// Neighbour solicitation and advertisement.
    Ns,
    /// Solicit, Advertise, Request, Reply.
    Dhcp6,
    /// Information-request and Reply.
    Info6,
}

impl Load {
    /// As in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dhcp4 => "DHCPv4 4-way",
            Self::Rs => "RS-RA",
            Self::Ns => "NS-NA",
            Self::Dhcp6 => "DHCPv6 4-way",
            Self::Info6 => "DHCPv6 information",
        }
    }
}

/// Where a VM is in its exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// The first message is out.
    Asking,
    /// The second one, after the offer.
    Requesting,
}

/// What an incoming frame means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not an answer to what was asked.
    Nothing,
    /// The next message is in the buffer.
    Send,
    /// The exchange is complete.
    Done,
    /// An answer with another VM's address, network or router; the exchange is over.
    Wrong,
    /// DHCPNAK; the exchange is over.
    Nak,
}

/// One VM.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    vm: Vm,
    stage: Stage,
    xid: u32,
    /// Nanoseconds: when the exchange was due.
    pub(crate) begun: u64,
    /// Nanoseconds: when its last message left.
    pub(crate) sent: u64,
    server: Ipv4Addr,
}

impl Client {
    /// A VM that has asked nothing.
    pub(crate) fn new(vm: Vm) -> Self {
        // No two VMs use each other's numbers, whatever their order.
        let xid = vm.0 << 12;
        Self {
            vm,
            stage: Stage::Idle,
            xid,
            begun: 0,
            sent: 0,
            server: Ipv4Addr::UNSPECIFIED,
        }
    }

    /// In an exchange.
    pub(crate) fn busy(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// Gives up the exchange.
    pub(crate) fn abandon(&mut self) {
        self.stage = Stage::Idle;
    }

    /// Starts, or starts again; the first message is in `out`.
    pub(crate) fn begin(&mut self, load: Load, out: &mut Vec<u8>) {
        self.stage = Stage::Asking;
        self.xid = self.xid.wrapping_add(1) & 0xff_ffff;
        match load {
            Load::Dhcp4 => dhcpv4::discover(self.vm, self.xid, out),
            Load::Rs => ndp::router_solicitation(self.vm, out),
            Load::Ns => ndp::neighbor_solicitation(self.vm, out),
            Load::Dhcp6 => dhcpv6::solicit(self.vm, self.xid, out),
            Load::Info6 => dhcpv6::information_request(self.vm, self.xid, out),
        }
    }

    /// Takes a frame as read from the TAP.
    pub(crate) fn hear(&mut self, load: Load, frame: &[u8], out: &mut Vec<u8>) -> Heard {
        let Some(frame) = frame
            .get(VNET_HEADER..)
            .filter(|frame| frame.len() > ETHERNET)
        else {
            return Heard::Nothing;
        };
        if self.stage == Stage::Idle {
            return Heard::Nothing;
        }
        let heard = match load {
            Load::Dhcp4 => self.hear_dhcpv4(frame, out),
            Load::Dhcp6 | Load::Info6 => self.hear_dhcpv6(load, frame, out),
            Load::Rs => ndp::read_router(frame)
                .map(|prefix| prefix == frames::PREFIX6)
                .map(done),
            Load::Ns => ndp::read_neighbor(frame)
                .map(|target| target == frames::GATEWAY6)
                .map(done),
        };
        let heard = heard.unwrap_or(Heard::Nothing);
        match heard {
            Heard::Done | Heard::Wrong | Heard::Nak => self.stage = Stage::Idle,
            Heard::Send => self.stage = Stage::Requesting,
            Heard::Nothing => {}
        }
        heard
    }

    fn hear_dhcpv4(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Option<Heard> {
        let heard = dhcpv4::read(self.vm, frame)?;
        if heard.xid != self.xid {
            return None;
        }
        match (self.stage, heard.kind) {
            (_, dhcpv4::NAK) => Some(Heard::Nak),
            (Stage::Asking, dhcpv4::OFFER) if heard.address == self.vm.ip() => {
                self.server = heard.server;
                dhcpv4::request(self.vm, self.xid, self.server, out);
                Some(Heard::Send)
            }
            (Stage::Requesting, dhcpv4::ACK) => Some(done(heard.address == self.vm.ip())),
            (Stage::Asking, dhcpv4::OFFER) => Some(Heard::Wrong),
            _ => None,
        }
    }

    fn hear_dhcpv6(&mut self, load: Load, frame: &[u8], out: &mut Vec<u8>) -> Option<Heard> {
        let heard = dhcpv6::read(self.vm, frame)?;
        if heard.xid != self.xid {
            return None;
        }
        let right = heard.address == Some(self.vm.ip6());
        match (load, self.stage, heard.kind) {
            (Load::Info6, Stage::Asking, dhcpv6::REPLY) => Some(done(heard.address.is_none())),
            (Load::Dhcp6, Stage::Asking, dhcpv6::ADVERTISE) if right => {
                dhcpv6::request(self.vm, self.xid, heard.server, out);
                Some(Heard::Send)
            }
            (Load::Dhcp6, Stage::Requesting, dhcpv6::REPLY) => Some(done(right)),
            (Load::Dhcp6, Stage::Asking, dhcpv6::ADVERTISE) => Some(Heard::Wrong),
            _ => None,
        }
    }
}

const fn done(right: bool) -> Heard {
    if right { Heard::Done } else { Heard::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(canned: fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut answer = Vec::new();
        canned(&mut answer);
        answer
    }

    #[test]
    fn a_vm_asks_requests_and_is_done() {
        let mut client = Client::new(Vm(0));
        let mut out = Vec::new();
        client.begin(Load::Dhcp4, &mut out);
        let mut answer = answered(dhcpv4::canned_offer);
        assert_eq!(
            client.hear(Load::Dhcp4, &answer, &mut out),
            Heard::Nothing,
            "another xid"
        );

        let bootp = VNET_HEADER + dhcpv4::BOOTP;
        answer[bootp + 4..][..4].copy_from_slice(&client.xid.to_be_bytes());
        answer[bootp + 16..][..4].copy_from_slice(&Vm(0).ip().octets());
        assert_eq!(client.hear(Load::Dhcp4, &answer, &mut out), Heard::Send);
        assert_eq!(out[VNET_HEADER + dhcpv4::BOOTP + 242], 3, "a REQUEST");
        assert_eq!(
            client.hear(Load::Dhcp4, &answer, &mut out),
            Heard::Nothing,
            "a second OFFER"
        );

        answer[VNET_HEADER + dhcpv4::CANNED_KIND] = dhcpv4::ACK;
        assert_eq!(client.hear(Load::Dhcp4, &answer, &mut out), Heard::Done);
        assert!(!client.busy());
    }

    #[test]
    fn another_vms_address_is_wrong() {
        let mut client = Client::new(Vm(0));
        let mut out = Vec::new();
        client.begin(Load::Dhcp4, &mut out);
        let mut answer = answered(dhcpv4::canned_offer);
        let bootp = VNET_HEADER + dhcpv4::BOOTP;
        answer[bootp + 4..][..4].copy_from_slice(&client.xid.to_be_bytes());
        answer[bootp + 16..][..4].copy_from_slice(&Vm(1).ip().octets());
        assert_eq!(client.hear(Load::Dhcp4, &answer, &mut out), Heard::Wrong);
    }

    #[test]
    fn one_advertisement_is_an_exchange() {
        let mut client = Client::new(Vm(0));
        let mut out = Vec::new();
        client.begin(Load::Rs, &mut out);
        assert_eq!(
            client.hear(Load::Rs, &answered(ndp::canned_router), &mut out),
            Heard::Done
        );
        client.begin(Load::Ns, &mut out);
        assert_eq!(
            client.hear(Load::Ns, &answered(ndp::canned_router), &mut out),
            Heard::Nothing
        );
        assert_eq!(
            client.hear(Load::Ns, &answered(ndp::canned_neighbor), &mut out),
            Heard::Done
        );
    }
}
