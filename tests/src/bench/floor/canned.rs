//! The floor's answers: one template per message, the few bytes that differ patched in.

use super::queue::Packet;
use crate::bench::frames::{
    ETHERNET, IPV4, IPV6, UDP, VNET_HEADER, Vm, at, dhcpv4, dhcpv6, finish6, ndp,
};

/// The templates, each with an empty virtio header in front as the frame builders make them.
pub(super) struct Canned {
    offer: Vec<u8>,
    router: Vec<u8>,
    neighbor: Vec<u8>,
    lease6: Vec<u8>,
    information6: Vec<u8>,
}

impl Canned {
    pub(super) fn new() -> Self {
        let make = |build: &dyn Fn(&mut Vec<u8>)| {
            let mut frame = Vec::new();
            build(&mut frame);
            frame
        };
        Self {
            offer: make(&dhcpv4::canned_offer),
            router: make(&ndp::canned_router),
            neighbor: make(&ndp::canned_neighbor),
            lease6: make(&|out| dhcpv6::canned_answer(true, out)),
            information6: make(&|out| dhcpv6::canned_answer(false, out)),
        }
    }

    /// Writes the answer to a packet, virtio header in front; nothing when it is too short to be answered.
    pub(super) fn answer(&self, packet: Packet<'_>, frame: &mut Vec<u8>) {
        frame.clear();
        let written = match packet.queue {
            42 => self.dhcpv4(packet, frame),
            43 => solicited(&self.router, packet, frame),
            44 => solicited(&self.neighbor, packet, frame),
            _ => self.dhcpv6(packet, frame),
        };
        if written.is_none() {
            frame.clear();
        }
    }

    /// Writes a router advertisement to all nodes.
    pub(super) fn advertise(&self, frame: &mut Vec<u8>) {
        frame.clone_from(&self.router);
        put(frame, 0, &[0x33, 0x33, 0, 0, 0, 1]);
        put(
            frame,
            ETHERNET + 24,
            &[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        );
        finish6(frame, 58);
    }

    fn dhcpv4(&self, packet: Packet<'_>, frame: &mut Vec<u8>) -> Option<()> {
        let bootp = packet.payload.get(IPV4 + UDP..)?;
        let (xid, mac): ([u8; 4], [u8; 6]) = (at(bootp, 4)?, at(bootp, 28)?);
        // In the load's messages option 53 comes first.
        let asked = *bootp.get(242)?;
        frame.clone_from(&self.offer);
        put(frame, 0, &mac);
        put(frame, dhcpv4::BOOTP + 4, &xid);
        put(frame, dhcpv4::BOOTP + 16, &Vm::of_mac(mac).ip().octets());
        put(frame, dhcpv4::BOOTP + 28, &mac);
        put(
            frame,
            dhcpv4::CANNED_KIND,
            &[if asked == 1 {
                dhcpv4::OFFER
            } else {
                dhcpv4::ACK
            }],
        );
        Some(())
    }

    fn dhcpv6(&self, packet: Packet<'_>, frame: &mut Vec<u8>) -> Option<()> {
        use dhcpv6::canned::{ADDRESS, CLIENT, KIND};
        let message = packet.payload.get(IPV6 + UDP..)?;
        let [asked, a, b, c] = at(message, 0)?;
        frame.clone_from(if asked == 11 {
            &self.information6
        } else {
            &self.lease6
        });
        addressed(packet, frame)?;
        put(
            frame,
            KIND,
            &[
                if asked == 1 {
                    dhcpv6::ADVERTISE
                } else {
                    dhcpv6::REPLY
                },
                a,
                b,
                c,
            ],
        );
        put(frame, CLIENT, &packet.source);
        if asked != 11 {
            put(frame, ADDRESS, &Vm::of_mac(packet.source).ip6().octets());
        }
        finish(frame, 17);
        Some(())
    }
}

fn solicited(template: &[u8], packet: Packet<'_>, frame: &mut Vec<u8>) -> Option<()> {
    frame.extend_from_slice(template);
    addressed(packet, frame)?;
    finish(frame, 58);
    Some(())
}

/// To where the packet came from.
fn addressed(packet: Packet<'_>, frame: &mut [u8]) -> Option<()> {
    put(frame, 0, &packet.source);
    put(frame, ETHERNET + 24, &at::<16>(packet.payload, 8)?);
    Some(())
}

/// The checksum again, its field being zero at first.
fn finish(frame: &mut [u8], next: u8) {
    let field = ETHERNET + IPV6 + if next == 17 { 6 } else { 2 };
    put(frame, field, &[0, 0]);
    finish6(frame, next);
}

/// Writes at a place counted from Ethernet.
fn put(frame: &mut [u8], place: usize, bytes: &[u8]) {
    let place = VNET_HEADER + place;
    if let Some(room) = frame.get_mut(place..place + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::client::{Client, Heard, Load};

    /// The VM's packet as the queue would hand it over.
    fn asked(queue: u16, vm: Vm, frame: &[u8]) -> Packet<'_> {
        let payload = &frame[VNET_HEADER + ETHERNET..];
        Packet {
            queue,
            id: 1,
            device: 7,
            source: vm.mac(),
            payload,
        }
    }

    #[test]
    fn every_load_is_content_with_the_canned_answers() {
        let canned = Canned::new();
        for (load, queue) in [
            (Load::Dhcp4, 42),
            (Load::Rs, 43),
            (Load::Ns, 44),
            (Load::Dhcp6, 45),
            (Load::Info6, 45),
        ] {
            let vm = Vm(777);
            let mut client = Client::new(vm);
            let (mut question, mut answer) = (Vec::new(), Vec::new());
            client.begin(load, &mut question);
            loop {
                canned.answer(asked(queue, vm, &question), &mut answer);
                match client.hear(load, &answer, &mut question) {
                    Heard::Send => {}
                    Heard::Done => break,
                    heard @ (Heard::Nothing | Heard::Wrong | Heard::Nak) => {
                        panic!("{load:?}: {heard:?}")
                    }
                }
            }
        }
    }

    #[test]
    fn a_packet_that_is_too_short_gets_no_answer() {
        let packet = Packet {
            queue: 42,
            id: 1,
            device: 7,
            source: [0; 6],
            payload: &[0; 40],
        };
        let mut answer = vec![1];
        Canned::new().answer(packet, &mut answer);
        assert!(answer.is_empty());
    }
}
