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
    // An own setting that cannot be read is none: a kernel without IPv6, or a bridge that has just gone.
    let disabled = read(&format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6")) == Some(1);
    let called = || read(&format!("/sys/class/net/{name}/bridge/nf_call_ip6tables")) == Some(1);
    if !disabled || called() {
        return Ok(false);
    }
    match read("/proc/sys/net/bridge/bridge-nf-call-ip6tables") {
        None => Err(BridgeError::NoBrNetfilter(name)),
        Some(1) => Ok(false),
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

/// RTM_NEWLINK with IFLA_BR_NF_CALL_IP6TABLES.
fn set_calls_ip6(ifindex: u32, on: bool) -> Result<(), Errno> {
    const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;
    let mut request = Vec::with_capacity(64);
    request.extend_from_slice(&[0; 4]);
    request.extend_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
    request.extend_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    // struct ifinfomsg: family, type, index, flags, change.
    request.extend_from_slice(&[0; 4]);
    request.extend_from_slice(&ifindex.to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    let flag = attribute(IFLA_BR_NF_CALL_IP6TABLES, &[u8::from(on)]);
    let kind = attribute(libc::IFLA_INFO_KIND, b"bridge\0");
    let of_kind = attribute(libc::IFLA_INFO_DATA, &flag);
    request.extend(attribute(libc::IFLA_LINKINFO, &[kind, of_kind].concat()));
    let length = u32::try_from(request.len()).unwrap_or(u32::MAX);
    if let Some(slot) = request.first_chunk_mut() {
        *slot = length.to_ne_bytes();
    }

    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    send(fd.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // struct nlmsgerr follows the header.
    let code = answer
        .get(16..length)
        .and_then(|body| body.first_chunk())
        .map(|c| i32::from_ne_bytes(*c));
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw(code.wrapping_neg())),
        None => Err(Errno::EBADMSG),
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut out = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}
