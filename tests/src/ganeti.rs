//! Ganeti's part: the environment its script gets for a NIC, as recorded from a real cluster.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use nfdhcpd_binding::MacAddr;

use crate::host::Host;
use crate::program::Program;
use crate::wait;
use crate::world;

/// Where Ganeti to 3.1 looks for the script.
pub const SCRIPT: &str = "/etc/ganeti/kvm-vif-bridge";

/// The hardware address of [`BRIDGED`].
pub const BRIDGED_MAC: MacAddr = MacAddr([0xaa, 0x00, 0x77, 0x51, 0xad, 0xbc]);
/// The hardware address of [`ROUTED`].
pub const ROUTED_MAC: MacAddr = MacAddr([0xaa, 0x00, 0x00, 0x63, 0xbc, 0x42]);

/// A NIC of a bridged network.
pub const BRIDGED: &[(&str, &str)] = &[
    ("BRIDGE", "br0"),
    ("INSTANCE", "bridged.example.org"),
    ("INTERFACE", "tap0"),
    ("INTERFACE_INDEX", "0"),
    ("INTERFACE_UUID", "ff7053d8-b2ff-464a-8f68-c9da6aa35a20"),
    ("IP", "10.77.0.2"),
    ("LINK", "br0"),
    ("MAC", "aa:00:77:51:ad:bc"),
    ("MODE", "bridged"),
    ("NETWORK_GATEWAY", "10.77.0.1"),
    ("NETWORK_GATEWAY6", "2001:db8:77::1"),
    ("NETWORK_MAC_PREFIX", "aa:00:77"),
    ("NETWORK_NAME", "netbr"),
    ("NETWORK_SUBNET", "10.77.0.0/24"),
    ("NETWORK_SUBNET6", "2001:db8:77::/64"),
    (
        "NETWORK_TAGS",
        "private-filtered nfdhcpd synnefo:dns:10.77.0.53 synnefo:search:example.org",
    ),
    ("NETWORK_UUID", "2eb2d251-135d-4540-88ac-679ea0674d7f"),
    ("TAGS", "front synnefo:test1"),
    ("VLAN", ""),
];

/// A NIC of a routed network; its table is [`TABLE`].
pub const ROUTED: &[(&str, &str)] = &[
    ("INSTANCE", "routed.example.org"),
    ("INTERFACE", "tap1"),
    ("INTERFACE_INDEX", "0"),
    ("INTERFACE_UUID", "b9122bfd-6b3b-495f-9b5c-44e4fc158775"),
    ("IP", "10.79.0.2"),
    ("LINK", TABLE),
    ("MAC", "aa:00:00:63:bc:42"),
    ("MODE", "routed"),
    ("NETWORK_GATEWAY", "10.79.0.1"),
    ("NETWORK_GATEWAY6", "2001:db8:79::1"),
    ("NETWORK_NAME", "netrapi"),
    ("NETWORK_SUBNET", "10.79.0.0/24"),
    ("NETWORK_SUBNET6", "2001:db8:79::/64"),
    (
        "NETWORK_TAGS",
        "ip-less-routed nfdhcpd synnefo:dns:10.79.0.53 synnefo:mtu:1400",
    ),
    ("NETWORK_UUID", "216e93aa-a810-4fe3-a8df-04045047ae5a"),
    ("TAGS", "t1"),
    ("VLAN", ""),
];

/// The routing table of the routed network.
pub const TABLE: &str = "rt79";

impl Host {
    /// Installs snf-ifup where Ganeti calls it.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn install_ifup(&self) -> Result<()> {
        let ifup = world::programs().join("snf-ifup");
        let make = "mkdir -p /etc/ganeti && ln -sf \"$0\" /etc/ganeti/kvm-vif-bridge";
        let ifup = ifup.to_str().context("a path of ours is text")?;
        self.namespace.run("sh", &["-c", make, ifup]).map(|_| ())
    }

    /// Runs the installed script for a NIC as Ganeti's node daemon does: environment only, no arguments, in `/`, with
    /// umask 077 and stdin closed; `changes` replace variables of `nic`.
    ///
    /// # Errors
    /// When it fails; what it printed, which Ganeti would copy into the job, is in the error.
    pub fn ifup(&self, nic: &[(&str, &str)], changes: &[(&str, &str)]) -> Result<String> {
        let mut command = self.namespace.command(SCRIPT);
        command.current_dir("/").env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/sbin:/usr/sbin");
        command.envs([
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C"),
            ("TERM", "dumb"),
        ]);
        command
            .envs(nic.iter().copied())
            .envs(changes.iter().copied());
        close_to_others(&mut command);
        Program::start("snf-ifup", command)?.success(wait::SOON)
    }

    /// Makes what routed networks stand on: routing table [`TABLE`] with prefix and router on `uplink`, forwarding, and
    /// answering for others on the uplink.
    ///
    /// # Errors
    /// When the kernel refuses a part.
    pub fn routed_network(&self, uplink: &str) -> Result<()> {
        self.namespace
            .write("/etc/iproute2/rt_tables", &routing_tables())?;
        for parameter in routed_parameters(uplink) {
            self.namespace.sysctl(&parameter, "1")?;
        }
        for step in routed_steps(uplink, "10.79.0.254/24") {
            self.namespace.ip(&step)?;
        }
        Ok(())
    }
}

/// What a node with routed networks has in `/etc/iproute2/rt_tables`.
#[must_use]
pub fn routing_tables() -> String {
    format!("79 {TABLE}\n")
}

/// The kernel parameters a node with routed networks on `uplink` sets to 1.
#[must_use]
pub fn routed_parameters(uplink: &str) -> [String; 4] {
    [
        "net/ipv4/ip_forward".to_owned(),
        "net/ipv6/conf/all/forwarding".to_owned(),
        format!("net/ipv4/conf/{uplink}/proxy_arp"),
        format!("net/ipv6/conf/{uplink}/proxy_ndp"),
    ]
}

/// What makes routing table [`TABLE`] on `uplink`, as words for `ip`; `own` is the node's address there.
#[must_use]
pub fn routed_steps(uplink: &str, own: &str) -> [String; 7] {
    [
        format!("addr add {own} dev {uplink} noprefixroute"),
        format!("route add 10.79.0.0/24 dev {uplink} table {TABLE}"),
        format!("route add default via 10.79.0.1 dev {uplink} table {TABLE}"),
        format!("-6 route add 2001:db8:79::/64 dev {uplink} table {TABLE}"),
        format!("-6 route add default via 2001:db8:79::1 dev {uplink} table {TABLE}"),
        format!("rule add iif {uplink} lookup {TABLE}"),
        format!("-6 rule add iif {uplink} lookup {TABLE}"),
    ]
}

#[expect(unsafe_code, reason = "the umask is set between fork and exec")]
fn close_to_others(command: &mut std::process::Command) {
    // SAFETY: one system call that cannot fail.
    unsafe {
        command.pre_exec(|| {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
            Ok(())
        });
    }
}
