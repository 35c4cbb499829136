//! Bridges whose own IPv6 is disabled.
//!
//! The host's stack drops a bridge's IPv6 packets before any rule sees them when `disable_ipv6` is set there. Such a
//! bridge is told to call the IPv6 rules itself for what passes it (`nf_call_ip6tables`, br_netfilter): our inet table
//! then meets the marked packets while they are still in the bridge. It costs all IPv6 frames of this bridge, so it is
//! done only where it has to.

use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};
use snf_nft::{Element, IfName, Operation, Value};

use super::plan::{CALLS_IP6, bridge_table};

/// Why a bridge's IPv6 packets cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Nothing would act on the bridge's flag.
    #[error(
        "IPv6 is disabled on it and the module br_netfilter is not loaded: load it, or set \
         net.ipv6.conf.{0}.disable_ipv6 to 0"
    )]
    NoBrNetfilter(IfName),
    /// The flag cannot be set.
    #[error("cannot turn on its nf_call_ip6tables")]
    Flag(#[source] Errno),
}

/// Sees to it that IPv6 packets marked in the bridge reach the inet table. True when its flag had to be turned on.
pub(super) fn open(name: IfName, ifindex: u32) -> Result<bool, BridgeError> {
    // A setting that cannot be read is none: a kernel without IPv6, or a bridge that has just gone.
    let disabled = read(&format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6")) == Some(1);
    if !disabled {
        return Ok(false);
    }
    match read("/proc/sys/net/bridge/bridge-nf-call-ip6tables") {
        None => Err(BridgeError::NoBrNetfilter(name)),
        Some(1) => Ok(false),
        Some(_) if calls_ip6(ifindex).map_err(BridgeError::Flag)? => Ok(false),
        Some(_) => set_calls_ip6(ifindex, true)
            .map(|()| true)
            .map_err(BridgeError::Flag),
    }
}

/// Takes back what [`open`] did; a bridge that is gone is no matter.
pub(super) fn close(name: IfName) {
    if let Ok(ifindex) = nix::net::if_::if_nametoindex(name.as_str()) {
        let _gone = set_calls_ip6(ifindex, false);
    }
}

/// Records in the bridge table that these bridges' flags are ours.
pub(super) fn called_ip6(bridges: &[IfName]) -> Operation {
    Operation::AddElements {
        table: bridge_table(),
        set: CALLS_IP6.to_owned(),
        elements: bridges
            .iter()
            .map(|name| Element::new([Value::IfName(*name)]))
            .collect(),
    }
}

fn read(path: &str) -> Option<u8> {
    std::fs::read_to_string(PathBuf::from(path))
        .ok()?
        .trim()
        .parse()
        .ok()
}

const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;
/// Bytes of `struct nlmsghdr` and of `struct ifinfomsg`.
const HEADERS: usize = 32;

/// Whether the bridge calls the IPv6 rules (RTM_GETLINK).
fn calls_ip6(ifindex: u32) -> Result<bool, Errno> {
    let answer = ask(&message(libc::RTM_GETLINK, 0, ifindex, &[]))?;
    let flag = [
        libc::IFLA_LINKINFO,
        libc::IFLA_INFO_DATA,
        IFLA_BR_NF_CALL_IP6TABLES,
    ]
    .iter()
    .try_fold(
        answer.get(HEADERS..).unwrap_or_default(),
        |attributes, kind| find(attributes, *kind),
    );
    Ok(flag.and_then(<[u8]>::first) == Some(&1))
}

/// Sets whether it does (RTM_NEWLINK).
fn set_calls_ip6(ifindex: u32, on: bool) -> Result<(), Errno> {
    let flag = attribute(IFLA_BR_NF_CALL_IP6TABLES, &[u8::from(on)]);
    let kind = attribute(libc::IFLA_INFO_KIND, b"bridge\0");
    let of_kind = attribute(libc::IFLA_INFO_DATA, &flag);
    let body = attribute(libc::IFLA_LINKINFO, &[kind, of_kind].concat());
    ask(&message(libc::RTM_NEWLINK, libc::NLM_F_ACK, ifindex, &body)).map(drop)
}

fn message(kind: u16, flags: libc::c_int, ifindex: u32, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADERS + attributes.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADERS + attributes.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    // struct ifinfomsg: family and type, index, flags and change.
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&ifindex.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(attributes);
    message
}

/// Sends a request and gives the first message of the answer.
fn ask(request: &[u8]) -> Result<Vec<u8>, Errno> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    send(fd.as_raw_fd(), request, MsgFlags::empty())?;
    let mut answer = vec![0; 32 << 10];
    let length = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    answer.truncate(length);
    let kind = answer
        .get(4..6)
        .and_then(|kind| kind.first_chunk())
        .map(|k| u16::from_ne_bytes(*k));
    if kind != Some(libc::NLMSG_ERROR as u16) {
        return Ok(answer);
    }
    // struct nlmsgerr follows the header.
    match answer
        .get(16..)
        .and_then(|body| body.first_chunk())
        .map(|c| i32::from_ne_bytes(*c))
    {
        Some(0) => Ok(answer),
        Some(code) => Err(Errno::from_raw(code.wrapping_neg())),
        None => Err(Errno::EBADMSG),
    }
}

/// The value of the attribute of this kind.
fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let [l0, l1, k0, k1] = *attributes.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([k0, k1]) & 0x3fff == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut out = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}
