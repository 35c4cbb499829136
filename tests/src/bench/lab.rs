//! The networks of the benchmark: hosts with many TAPs, and their bindings.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nfdhcpd_binding::MacAddr;
use serde_json::Value;

use super::frames::{GATEWAY, GATEWAY6, GATEWAY6_MAC, PREFIX6, SUBNET, Vm};
use crate::host::{BINDINGS, Host};
use crate::tap::Tap;
use crate::wait;
use crate::world::World;

/// How long thousands of devices may take to come up.
const UP: Duration = Duration::from_secs(120);
/// A bridge takes 1023 ports; one is the LAN's.
pub(crate) const BRIDGE_TAPS: usize = 1000;

/// The device group of all TAPs.
pub(crate) const GROUP: u32 = 77;

/// How the TAPs are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Ports of one bridge, which has a port to the LAN.
    Bridged,
    /// Not in any bridge.
    Routed,
}

/// A host and its VMs' TAPs.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) host: Host,
    pub(crate) taps: Vec<Tap>,
    /// The far side of the bridge's port to the LAN.
    pub(crate) lan: Option<Tap>,
    attachment: Attachment,
}

impl Lab {
    /// A host with `count` TAPs, up.
    ///
    /// # Errors
    /// When the kernel refuses a device.
    pub(crate) fn new(
        world: &World,
        name: &str,
        attachment: Attachment,
        count: usize,
    ) -> Result<Self> {
        let host = Host::new(world, name)?;
        // Nothing of the kernel's own on the wires: no duplicate address detection, no router solicitations.
        for conf in ["all", "default"] {
            host.namespace
                .sysctl(&format!("net/ipv6/conf/{conf}/accept_dad"), "0")?;
            host.namespace
                .sysctl(&format!("net/ipv6/conf/{conf}/router_solicitations"), "0")?;
        }
        let lan = match attachment {
            Attachment::Bridged => Some(host.bridge("br0")?),
            Attachment::Routed => None,
        };
        let mut lab = Self {
            host,
            taps: Vec::new(),
            lan,
            attachment,
        };
        lab.add_taps(count)?;
        Ok(lab)
    }

    /// Adds TAPs that are up; a bridge does not flood to them, so that no server is charged for the other ports.
    ///
    /// # Errors
    /// When the kernel refuses a device.
    pub(crate) fn add_taps(&mut self, count: usize) -> Result<()> {
        let mut batch = String::new();
        for number in self.taps.len()..self.taps.len() + count {
            let name = tap_name(number);
            self.taps.push(self.host.tap(&name)?);
            match self.attachment {
                Attachment::Bridged => {
                    writeln!(batch, "link set {name} master br0 group {GROUP} up")?;
                    writeln!(
                        batch,
                        "link set {name} type bridge_slave flood off mcast_flood off bcast_flood off"
                    )?;
                }
                Attachment::Routed => writeln!(batch, "link set {name} group {GROUP} up")?,
            }
        }
        self.ip_batch(&batch)?;
        self.wait_until_up()
    }

    fn ip_batch(&self, batch: &str) -> Result<()> {
        let mut ip = self.host.namespace.command("ip");
        ip.args(["-batch", "-"]).stdin(Stdio::piped());
        let mut child = ip.spawn().context("start ip")?;
        let mut stdin = child.stdin.take().context("ip's stdin")?;
        stdin.write_all(batch.as_bytes())?;
        drop(stdin);
        let status = child.wait()?;
        ensure!(status.success(), "ip -batch: {status}");
        Ok(())
    }

    /// A bridge port forwards some time after it has come up; frames before that vanish.
    fn wait_until_up(&self) -> Result<()> {
        let (program, arguments, key, value) = match self.attachment {
            Attachment::Bridged => ("bridge", &["-j", "link", "show"][..], "state", "forwarding"),
            Attachment::Routed => ("ip", &["-j", "link", "show", "up"][..], "operstate", "UP"),
        };
        let fact = format!(
            "{} TAPs of {} are up",
            self.taps.len(),
            self.host.namespace.name()
        );
        wait::until(&fact, UP, || {
            let text = self.host.namespace.run(program, arguments)?;
            let devices: Vec<Value> = serde_json::from_str(&text)?;
            let up = devices.iter().filter(|device| {
                let state = device.get(key).and_then(Value::as_str);
                let name = device
                    .get("ifname")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                name.starts_with("tap") && (state == Some(value) || state == Some("UNKNOWN"))
            });
            Ok(up.count() >= self.taps.len())
        })
    }

    /// Writes the bindings of all TAPs from number `first` on.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn bind_all(&self, first: usize) -> Result<()> {
        let directory = self.host.namespace.path(BINDINGS);
        for number in first..self.taps.len() {
            let path = directory.join(tap_name(number));
            fs::write(&path, self.binding(number)?)
                .with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// Puts the binding of one TAP in place.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn bind(&self, number: usize) -> Result<()> {
        self.host.bind(&tap_name(number), &self.binding(number)?)
    }

    /// The text of a binding file with everything a network has.
    fn binding(&self, number: usize) -> Result<String> {
        let vm = Vm(u32::try_from(number)?);
        let indev = match self.attachment {
            Attachment::Bridged => "br0".to_owned(),
            Attachment::Routed => tap_name(number),
        };
        Ok(format!(
            "INDEV={indev}\nMAC={}\nHOSTNAME=vm{number}\nIP={}\nSUBNET={SUBNET}\nGATEWAY={GATEWAY}\n\
             SUBNET6={PREFIX6}/64\nGATEWAY6={GATEWAY6}\nGATEWAY6_MAC={}\nIP6={}\nMODE6=stateful\n\
             NAMESERVERS={GATEWAY},{GATEWAY6}\nTAGS=\"bench two\"\n",
            MacAddr::from(vm.mac()),
            vm.ip(),
            MacAddr::from(GATEWAY6_MAC),
            vm.ip6(),
        ))
    }

    /// The interface indices of all TAPs.
    ///
    /// # Errors
    /// When `ip` fails.
    pub(crate) fn indices(&self) -> Result<Vec<u32>> {
        let text = self.host.namespace.run("ip", &["-j", "link", "show"])?;
        let devices: Vec<Value> = serde_json::from_str(&text)?;
        let mut indices = Vec::new();
        for device in devices {
            let name = device
                .get("ifname")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if name.starts_with("tap")
                && let Some(index) = device.get("ifindex").and_then(Value::as_u64)
            {
                indices.push(u32::try_from(index)?);
            }
        }
        Ok(indices)
    }

    /// Puts the floor's rules in place: what an operator would write with iptables. Bridged TAPs reach them through the
    /// bridge's own br_netfilter flags.
    ///
    /// # Errors
    /// When a rule is refused.
    pub(crate) fn floor_rules(&self) -> Result<()> {
        let namespace = &self.host.namespace;
        if self.attachment == Attachment::Bridged {
            namespace.ip("link set br0 type bridge nf_call_iptables 1 nf_call_ip6tables 1")?;
        }
        for (program, words) in [
            (
                "iptables-nft",
                "-p udp --dport 67 -j NFQUEUE --queue-num 42",
            ),
            (
                "ip6tables-nft",
                "-p icmpv6 --icmpv6-type 133 -j NFQUEUE --queue-num 43",
            ),
            (
                "ip6tables-nft",
                "-p icmpv6 --icmpv6-type 135 -j NFQUEUE --queue-num 44",
            ),
            (
                "ip6tables-nft",
                "-p udp --dport 547 -j NFQUEUE --queue-num 45",
            ),
        ] {
            let rule = ["-t", "mangle", "-A", "PREROUTING"].into_iter();
            namespace.run(program, &rule.chain(words.split(' ')).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        remove_taps(&self.host);
    }
}

/// Removes a host's TAPs all at once: closed one by one, each would wait for a grace period of the kernel's.
pub(crate) fn remove_taps(host: &Host) {
    // Without them nothing is lost but time: they go with their descriptors.
    let _ = host.namespace.ip(&format!("link delete group {GROUP}"));
}

/// The name of the TAP with this number.
pub(crate) fn tap_name(number: usize) -> String {
    format!("tap{number}")
}
