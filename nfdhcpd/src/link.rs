//! Network devices as the kernel tells of them: names, interface indexes, who is whose port.

use nfdhcpd_binding::MacAddr;
use snf_nft::IfName;

/// A device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: IfName,
    /// It is a bridge.
    pub is_bridge: bool,
    /// Interface index of the device it is a port of.
    pub master: Option<u32>,
    /// Its hardware address; zero when it has none of six bytes.
    pub mac: MacAddr,
    /// It is up (IFF_UP).
    pub up: bool,
}

/// A change of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// A device is there, new or changed.
    Here(Link),
    /// The device of this interface index is gone.
    Gone(u32),
}
