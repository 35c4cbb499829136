//! Tells the uplink's neighbours where a routed NIC's addresses are: gratuitous ARP and unsolicited neighbour
//! advertisements, from a raw socket, three times.
//!
//! Both forms of gratuitous ARP are sent, request and reply, because receivers differ in which they believe (RFC 5227 §3
//! recommends the request). The advertisement carries the override flag (RFC 4861 §7.2.6): after a migration neighbours
//! hold another host's hardware address and are to replace it at once.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nfdhcpd_binding::MacAddr;
use nix::net::if_::if_indextoname;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};
use pnet_packet::arp::{ArpHardwareTypes, ArpOperation, ArpOperations, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, NdpOptionTypes, NeighborAdvertFlags,
};
use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Packet, Icmpv6Types, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::MutableIpv6Packet;

use crate::request::IfName;
use crate::step::Announcement;

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV6: usize = 40;
const ADVERTISEMENT: usize = 24;
const OPTION: usize = 8;
/// 33:33:00:00:00:01, where ff02::1 goes (RFC 2464 §7).
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// An announcement was not sent.
#[derive(Debug, thiserror::Error)]
#[error("send on a raw socket")]
pub struct AnnounceError(#[source] io::Error);

/// The raw socket that all announcements of one NIC go out by.
///
/// The kernel lets a raw socket's last holder wait for all processors, some 10 ms: so it is opened once, and the child
/// that repeats the announcements is its last holder.
pub struct Announcer(OwnedFd);

impl Announcer {
    /// Opens the socket.
    ///
    /// # Errors
    /// The kernel gives no raw socket.
    pub fn open() -> Result<Self, AnnounceError> {
        // Protocol 0: nothing is received.
        let flags = SockFlag::SOCK_CLOEXEC;
        let raw = socket(AddressFamily::Packet, SockType::Raw, flags, None);
        raw.map(Self).map_err(|errno| AnnounceError(errno.into()))
    }

    /// Sends the announcement's frames, once.
    ///
    /// # Errors
    /// The uplink does not take a frame.
    pub fn announce(&self, announcement: &Announcement) -> Result<(), AnnounceError> {
        match announcement {
            Announcement::Arp {
                index,
                from,
                address,
                ..
            } => {
                for operation in [ArpOperations::Request, ArpOperations::Reply] {
                    self.send(*index, &gratuitous_arp(*from, *address, operation))?;
                }
                Ok(())
            }
            Announcement::Neighbour {
                index,
                from,
                source,
                address,
                ..
            } => self.send(*index, &advertisement(*from, *source, *address)),
        }
    }

    /// Repeats the announcements after one and after two seconds from a detached child, as long as the TAP is there.
    /// Returns in the parent at once.
    ///
    /// # Errors
    /// The kernel makes no child.
    pub fn repeat(
        self,
        announcements: &[Announcement],
        tap: &IfName,
        tap_index: u32,
    ) -> Result<(), AnnounceError> {
        detached(Some(&self.0), || {
            for _ in 0..2 {
                if !wait(Duration::from_secs(1), || !is_there(tap, tap_index)) {
                    return;
                }
                for announcement in announcements {
                    // Nobody is left to tell; the next one may get through.
                    let _ = self.announce(announcement);
                }
            }
        })
    }

    #[expect(
        unsafe_code,
        reason = "nix has no link address made from an interface index"
    )]
    fn send(&self, index: u32, frame: &[u8]) -> Result<(), AnnounceError> {
        // SAFETY: all fields are integers; zero is valid for each.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as libc::c_ushort;
        to.sll_ifindex = i32::try_from(index).unwrap_or(0);
        let length = libc::socklen_t::try_from(size_of_val(&to)).unwrap_or(0);
        // SAFETY: frame and address outlive the call, and their lengths are their own.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const to).cast(),
                length,
            )
        };
        if sent < 0 {
            Err(AnnounceError(io::Error::last_os_error()))
        } else {
            Ok(())
        }
    }
}

/// Runs `work` in a child of a session of its own that holds none of the caller's files but `keep`: Ganeti waits until the
/// script's output is closed.
///
/// # Errors
/// The kernel makes no child.
#[expect(unsafe_code, reason = "fork and close_range have no safe form")]
pub fn detached(keep: Option<&OwnedFd>, work: impl FnOnce()) -> Result<(), AnnounceError> {
    // SAFETY: this program has one thread, so the child may go on as the parent could.
    match unsafe { fork() }.map_err(|errno| AnnounceError(errno.into()))? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => {
            let _ = setsid();
            let _ = chdir("/");
            if let Ok(null) = std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
            {
                let _ = dup2_stdin(&null);
                let _ = dup2_stdout(&null);
                let _ = dup2_stderr(&null);
            }
            let kept = keep.map_or(2, |file| file.as_raw_fd().cast_unsigned());
            // SAFETY: what is closed is never used again: `work` opens what else it needs, and then the process ends.
            unsafe {
                if kept > 3 {
                    libc::close_range(3, kept - 1, 0);
                }
                libc::close_range(kept + 1, libc::c_uint::MAX, 0);
            }
            work();
            // SAFETY: ends the process without running what the parent registered for its own end.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Sleeps, unless `ended` says so first: false then.
pub fn wait(time: Duration, ended: impl Fn() -> bool) -> bool {
    const NAP: Duration = Duration::from_millis(100);
    let mut left = time;
    while !left.is_zero() {
        if ended() {
            return false;
        }
        let nap = left.min(NAP);
        std::thread::sleep(nap);
        left -= nap;
    }
    !ended()
}

/// Whether the TAP is still the one that had this index.
#[must_use]
pub fn is_there(tap: &IfName, index: u32) -> bool {
    if_indextoname(index).is_ok_and(|name| name.as_bytes() == tap.as_str().as_bytes())
}

/// `None` never happens: the buffers are as long as the packets.
fn gratuitous_arp(from: MacAddr, address: Ipv4Addr, operation: ArpOperation) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + ARP];
    ethernet(&mut frame, from, MacAddr::BROADCAST, EtherTypes::Arp);
    if let Some(mut arp) = frame.get_mut(ETHERNET..).and_then(MutableArpPacket::new) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(operation);
        arp.set_sender_hw_addr(from.octets().into());
        arp.set_sender_proto_addr(address);
        // A reply names its receiver: everybody; a request asks for it.
        let target = if operation == ArpOperations::Reply {
            from.octets()
        } else {
            [0; 6]
        };
        arp.set_target_hw_addr(target.into());
        arp.set_target_proto_addr(address);
    }
    frame
}

fn advertisement(from: MacAddr, source: Ipv6Addr, address: Ipv6Addr) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + IPV6 + ADVERTISEMENT + OPTION];
    ethernet(&mut frame, from, ALL_NODES_MAC, EtherTypes::Ipv6);
    if let Some(mut ip) = frame.get_mut(ETHERNET..).and_then(MutableIpv6Packet::new) {
        ip.set_version(6);
        ip.set_payload_length((ADVERTISEMENT + OPTION) as u16);
        ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
        ip.set_hop_limit(255);
        ip.set_source(source);
        ip.set_destination(ALL_NODES);
    }
    if let Some(bytes) = frame.get_mut(ETHERNET + IPV6..) {
        advertise(bytes, from, address);
        let sum = Icmpv6Packet::new(bytes).map(|icmp| checksum(&icmp, &source, &ALL_NODES));
        if let (Some(sum), Some(field)) = (sum, bytes.get_mut(2..4)) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
    frame
}

fn advertise(bytes: &mut [u8], from: MacAddr, address: Ipv6Addr) {
    if let Some(mut advert) = MutableNeighborAdvertPacket::new(bytes) {
        advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        advert.set_icmpv6_code(Icmpv6Code(0));
        advert.set_flags(NeighborAdvertFlags::Override);
        advert.set_target_addr(address);
    }
    let option = bytes
        .get_mut(ADVERTISEMENT..)
        .and_then(MutableNdpOptionPacket::new);
    if let Some(mut option) = option {
        option.set_option_type(NdpOptionTypes::TargetLLAddr);
        option.set_length(1);
        option.set_data(&from.octets());
    }
}

fn ethernet(frame: &mut [u8], from: MacAddr, to: MacAddr, kind: pnet_packet::ethernet::EtherType) {
    if let Some(mut ethernet) = MutableEthernetPacket::new(frame) {
        ethernet.set_source(from.octets().into());
        ethernet.set_destination(to.octets().into());
        ethernet.set_ethertype(kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    /// Bytes by hand: RFC 826, RFC 5227 §1.2.2.
    #[test]
    fn gratuitous_arp_in_both_forms() {
        let request = gratuitous_arp(FROM, Ipv4Addr::new(10, 79, 0, 2), ArpOperations::Request);
        let head = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2,
            0, 0, 0, 0, 9, 10, 79, 0, 2,
        ];
        assert_eq!(request[..32], head);
        assert_eq!(request[32..], [0, 0, 0, 0, 0, 0, 10, 79, 0, 2]);
        let reply = gratuitous_arp(FROM, Ipv4Addr::new(10, 79, 0, 2), ArpOperations::Reply);
        assert_eq!(reply[20..22], [0, 2]);
        assert_eq!(reply[32..], [2, 0, 0, 0, 0, 9, 10, 79, 0, 2]);
    }

    /// RFC 4861 §4.4: type 136, O set, R and S clear, target link-layer address option; hop limit 255; a sum that checks.
    #[test]
    fn unsolicited_advertisement() {
        let source: Ipv6Addr = "fe80::9".parse().unwrap();
        let address: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let frame = advertisement(FROM, source, address);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame[12..14], [0x86, 0xdd]);
        assert_eq!(frame[18..22], [0, 32, 58, 255]);
        let icmp = &frame[54..];
        assert_eq!(icmp[..2], [136, 0]);
        assert_eq!(icmp[4..8], [0x20, 0, 0, 0]);
        assert_eq!(icmp[8..24], address.octets());
        assert_eq!(icmp[24..], [2, 1, 2, 0, 0, 0, 0, 9]);
        let mut words: Vec<u8> = Vec::new();
        words.extend(source.octets());
        words.extend(ALL_NODES.octets());
        words.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        words.extend(icmp);
        let sum: u32 = words
            .chunks(2)
            .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
