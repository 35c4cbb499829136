//! The bytes of nfnetlink_queue (linux/netfilter/nfnetlink_queue.h): a packet's message read, requests written.

use nfdhcpd_binding::MacAddr;

use crate::wire::{Inbound, Protocol};

/// Bytes of a packet that are copied to us: over any MTU that an answer depends on.
pub(super) const COPY_RANGE: u32 = 2048;

/// Bytes of one verdict: netlink header, netfilter header, verdict attribute.
pub(super) const VERDICT: usize = 32;

const SUBSYSTEM_QUEUE: u16 = 3 << 8;
const MESSAGE_PACKET: u16 = SUBSYSTEM_QUEUE;
const MESSAGE_VERDICT: u16 = SUBSYSTEM_QUEUE | 1;
const MESSAGE_CONFIG: u16 = SUBSYSTEM_QUEUE | 2;
const MESSAGE_VERDICT_BATCH: u16 = SUBSYSTEM_QUEUE | 3;

const ATTRIBUTE_PACKET_HEADER: u16 = 1;
const ATTRIBUTE_VERDICT: u16 = 2;
const ATTRIBUTE_MARK: u16 = 3;
const ATTRIBUTE_IN_DEVICE: u16 = 5;
const ATTRIBUTE_PHYSICAL_IN_DEVICE: u16 = 7;
const ATTRIBUTE_HARDWARE_ADDRESS: u16 = 9;
const ATTRIBUTE_PAYLOAD: u16 = 10;
const ATTRIBUTE_SKB: u16 = 14;

const SKB_CHECKSUM_NOT_READY: u32 = 1;
const SKB_CHECKSUM_NOT_VERIFIED: u32 = 4;

const CONFIG_COMMAND: u16 = 1;
const CONFIG_PARAMETERS: u16 = 2;
const CONFIG_LENGTH: u16 = 3;
const CONFIG_MASK: u16 = 4;
const CONFIG_FLAGS: u16 = 5;
const COMMAND_BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const FLAG_FAIL_OPEN: u32 = 1;

const VERDICT_DROP: u32 = 0;
const VERDICT_ACCEPT: u32 = 1;

const NETLINK_HEADER: usize = 16;
const NETFILTER_HEADER: usize = 4;

/// A packet as the queue hands it over.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Names the packet to its queue.
    pub id: u32,
    /// The packet's mark, 0 when it has none.
    pub mark: u32,
    /// The device it came in on; a bridge, when it came through one.
    pub in_device: Option<u32>,
    /// The bridge's port it came in on.
    pub physical_in_device: Option<u32>,
    /// What the answer depends on.
    pub inbound: Inbound<'a>,
}

/// The attributes of a packet's message that we use.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    pub(super) id: u32,
    mark: u32,
    in_device: Option<u32>,
    physical_in_device: Option<u32>,
    source: Option<MacAddr>,
    skb: u32,
    payload: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// `None` for any other message, and for one without a packet header.
    pub(super) fn decode(message: &'a [u8]) -> Option<Self> {
        if u16_at(message, 4)? != MESSAGE_PACKET {
            return None;
        }
        let length = u32_at(message, 0)? as usize;
        let mut rest = message.get(NETLINK_HEADER + NETFILTER_HEADER..length.min(message.len()))?;
        let mut id = None;
        let mut found = Self {
            id: 0,
            mark: 0,
            in_device: None,
            physical_in_device: None,
            source: None,
            skb: 0,
            payload: &[],
        };
        while let Some((kind, value, behind)) = attribute(rest) {
            match kind {
                ATTRIBUTE_PACKET_HEADER => id = be32(value),
                ATTRIBUTE_MARK => found.mark = be32(value).unwrap_or(0),
                ATTRIBUTE_IN_DEVICE => found.in_device = be32(value),
                ATTRIBUTE_PHYSICAL_IN_DEVICE => found.physical_in_device = be32(value),
                ATTRIBUTE_HARDWARE_ADDRESS => found.source = hardware_address(value),
                ATTRIBUTE_SKB => found.skb = be32(value).unwrap_or(0),
                ATTRIBUTE_PAYLOAD => found.payload = value,
                _ => {}
            }
            rest = behind;
        }
        found.id = id?;
        Some(found)
    }

    pub(super) const fn into_packet(self, protocol: Protocol) -> Packet<'a> {
        let not_ready = self.skb & SKB_CHECKSUM_NOT_READY != 0;
        let not_verified = self.skb & SKB_CHECKSUM_NOT_VERIFIED != 0;
        Packet {
            id: self.id,
            mark: self.mark,
            in_device: self.in_device,
            physical_in_device: self.physical_in_device,
            inbound: Inbound {
                protocol,
                source: self.source,
                verify_checksum: not_verified && !not_ready,
                payload: self.payload,
            },
        }
    }
}

/// Kind, value and what is behind the first attribute.
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16_at(bytes, 0)?);
    let kind = u16_at(bytes, 2)? & 0x3fff;
    let value = bytes.get(4..length)?;
    Some((
        kind,
        value,
        bytes.get(length.next_multiple_of(4)..).unwrap_or_default(),
    ))
}

fn hardware_address(value: &[u8]) -> Option<MacAddr> {
    let length = value
        .first_chunk::<2>()
        .map(|bytes| u16::from_be_bytes(*bytes))?;
    let octets = value.get(4..)?.first_chunk::<6>()?;
    (length == 6).then_some(MacAddr(*octets))
}

fn be32(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u16::from_ne_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u32::from_ne_bytes(*chunk))
}

/// The error number an acknowledgement carries, 0 for success; `None` for another message.
pub(super) fn acknowledgement(message: &[u8]) -> Option<i32> {
    if i32::from(u16_at(message, 4)?) != libc::NLMSG_ERROR {
        return None;
    }
    u32_at(message, NETLINK_HEADER).map(|code| code.cast_signed().saturating_neg())
}

pub(super) fn bind(queue: u16) -> Vec<u8> {
    config(queue, &[(CONFIG_COMMAND, &[COMMAND_BIND, 0, 0, 0])])
}

pub(super) fn copy_packets(queue: u16) -> Vec<u8> {
    let [a, b, c, d] = COPY_RANGE.to_be_bytes();
    config(queue, &[(CONFIG_PARAMETERS, &[a, b, c, d, COPY_PACKET])])
}

pub(super) fn length(queue: u16, packets: u32) -> Vec<u8> {
    config(queue, &[(CONFIG_LENGTH, &packets.to_be_bytes())])
}

pub(super) fn fail_open(queue: u16) -> Vec<u8> {
    let flag = FLAG_FAIL_OPEN.to_be_bytes();
    config(queue, &[(CONFIG_FLAGS, &flag), (CONFIG_MASK, &flag)])
}

/// Changes nothing and is acknowledged all the same.
pub(super) fn nothing(queue: u16) -> Vec<u8> {
    config(queue, &[])
}

/// A request for an acknowledged change of a queue.
fn config(queue: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    header(&mut out, MESSAGE_CONFIG, flags, queue);
    for (kind, value) in attributes {
        out.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    let length = out.len() as u32;
    if let Some(field) = out.first_chunk_mut() {
        *field = length.to_ne_bytes();
    }
    out
}

/// Appends: this packet goes on.
pub(super) fn accept(out: &mut Vec<u8>, queue: u16, id: u32) {
    verdict(out, MESSAGE_VERDICT, queue, VERDICT_ACCEPT, id);
}

/// Appends: all packets handed over up to this one, and still without a verdict, are dropped.
pub(super) fn drop_up_to(out: &mut Vec<u8>, queue: u16, id: u32) {
    verdict(out, MESSAGE_VERDICT_BATCH, queue, VERDICT_DROP, id);
}

fn verdict(out: &mut Vec<u8>, kind: u16, queue: u16, verdict: u32, id: u32) {
    header(out, kind, libc::NLM_F_REQUEST as u16, queue);
    out.extend_from_slice(&12u16.to_ne_bytes());
    out.extend_from_slice(&ATTRIBUTE_VERDICT.to_ne_bytes());
    out.extend_from_slice(&verdict.to_be_bytes());
    out.extend_from_slice(&id.to_be_bytes());
}

/// Netlink header, with the length of a verdict, and netfilter header.
fn header(out: &mut Vec<u8>, kind: u16, flags: u16, queue: u16) {
    out.extend_from_slice(&(VERDICT as u32).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&[0; 8]); // sequence, port
    out.extend_from_slice(&[libc::AF_UNSPEC as u8, 0]); // family, version 0
    out.extend_from_slice(&queue.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    /// A message as the kernel sends it, with these attributes.
    fn message(attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = attributes.concat();
        let mut out = ((20 + body.len()) as u32).to_ne_bytes().to_vec();
        out.extend(MESSAGE_PACKET.to_ne_bytes());
        out.extend([0; 10]);
        out.extend([libc::AF_INET as u8, 0, 0, 42]);
        out.extend(body);
        out
    }

    fn packet_header(id: u32) -> Vec<u8> {
        let mut value = id.to_be_bytes().to_vec();
        value.extend([0x08, 0, 0]);
        attribute(ATTRIBUTE_PACKET_HEADER, &value)
    }

    #[test]
    fn a_packet_with_all_its_attributes_is_read() {
        let bytes = message(&[
            packet_header(77),
            attribute(ATTRIBUTE_IN_DEVICE, &5u32.to_be_bytes()),
            attribute(ATTRIBUTE_PHYSICAL_IN_DEVICE, &6u32.to_be_bytes()),
            attribute(ATTRIBUTE_MARK, &0x4000_0006u32.to_be_bytes()),
            attribute(
                ATTRIBUTE_HARDWARE_ADDRESS,
                &[0, 6, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0],
            ),
            attribute(99, b"of a later kernel"),
            attribute(ATTRIBUTE_SKB, &SKB_CHECKSUM_NOT_VERIFIED.to_be_bytes()),
            attribute(ATTRIBUTE_PAYLOAD, b"odd"),
        ]);
        let packet = Attributes::decode(&bytes)
            .unwrap()
            .into_packet(Protocol::Dhcpv4);
        assert_eq!((packet.id, packet.mark), (77, 0x4000_0006));
        assert_eq!(
            (packet.in_device, packet.physical_in_device),
            (Some(5), Some(6))
        );
        assert_eq!(packet.inbound.source, Some(MacAddr([2, 0, 0, 0, 0, 9])));
        assert_eq!(packet.inbound.payload, b"odd");
        assert!(packet.inbound.verify_checksum);
    }

    /// A virtio guest leaves its checksum to the card: such a packet is neither malformed nor spoofed.
    #[test]
    fn a_checksum_is_verified_unless_the_kernel_says_otherwise() {
        for (skb, verified) in [
            (None, false),
            (Some(0), false),
            (Some(SKB_CHECKSUM_NOT_VERIFIED), true),
            (Some(SKB_CHECKSUM_NOT_READY), false),
            (
                Some(SKB_CHECKSUM_NOT_READY | SKB_CHECKSUM_NOT_VERIFIED),
                false,
            ),
        ] {
            let skb = skb.map(|flags: u32| attribute(ATTRIBUTE_SKB, &flags.to_be_bytes()));
            let bytes = message(&[packet_header(1), skb.unwrap_or_default()]);
            let packet = Attributes::decode(&bytes)
                .unwrap()
                .into_packet(Protocol::Dhcpv4);
            assert_eq!(packet.inbound.verify_checksum, verified, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_packet_is_not_read_and_no_length_is_trusted() {
        assert!(Attributes::decode(&[]).is_none());
        assert!(Attributes::decode(&bind(42)).is_none());
        assert!(Attributes::decode(&message(&[])).is_none());
        let whole = message(&[packet_header(1), attribute(ATTRIBUTE_PAYLOAD, &[7; 40])]);
        for length in 0..whole.len() {
            // Cut off anywhere; and every length field of every value.
            let _ = Attributes::decode(&whole[..length]);
            for value in [0, 1, 3, 4, 5, 255] {
                let mut damaged = whole.clone();
                damaged[length] = value;
                let _ = Attributes::decode(&damaged);
            }
        }
        let mut endless = message(&[packet_header(1), attribute(ATTRIBUTE_PAYLOAD, &[7; 4])]);
        endless[20..22].copy_from_slice(&0u16.to_ne_bytes());
        assert!(Attributes::decode(&endless).is_none());
    }

    #[test]
    fn acknowledgements_carry_the_error_number() {
        let mut bytes = 36u32.to_ne_bytes().to_vec();
        bytes.extend((libc::NLMSG_ERROR as u16).to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend((-libc::EBUSY).to_ne_bytes());
        assert_eq!(acknowledgement(&bytes), Some(libc::EBUSY));
        assert_eq!(acknowledgement(&message(&[])), None);
    }

    #[test]
    fn verdicts_are_of_the_size_that_is_reserved() {
        let mut out = Vec::new();
        accept(&mut out, 0, 7);
        drop_up_to(&mut out, 0, 9);
        assert_eq!(out.len(), 2 * VERDICT);
        assert_eq!(out[VERDICT - 8..VERDICT], [0, 0, 0, 1, 0, 0, 0, 7]);
        assert_eq!(out[2 * VERDICT - 8..], [0, 0, 0, 0, 0, 0, 0, 9]);
    }
}
