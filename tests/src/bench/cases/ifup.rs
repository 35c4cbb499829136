//! What bringing up one NIC takes: the real snf-ifup with Ganeti's environment, beside few NICs and beside many.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::bench::command::{Arguments, Progress};
use crate::bench::cpu::on_cpu;
use crate::bench::frames::{GATEWAY, GATEWAY6, PREFIX6, SUBNET, Vm};
use crate::bench::lab::{GROUP, remove_taps, tap_name};
use crate::bench::report::{Bound, Faults, Section, Target, number, spread};
use crate::bench::server::SERVER_CPU;
use crate::bench::stats::Spread;
use crate::host::Host;
use crate::tap::Tap;
use crate::world::{self, World};

/// The routing table of the routed network.
const TABLE: &str = "4077";

/// A host whose NICs snf-ifup has brought up.
struct Node {
    host: Host,
    mode: &'static str,
    taps: Vec<Tap>,
}

/// See the module.
///
/// # Errors
/// When a device cannot be had or snf-ifup fails.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let (few, many) = if arguments.quick { (2, 10) } else { (10, 1000) };
    let samples = if arguments.quick { 2 } else { 30 };
    let mut section = Section {
        name: "ifup",
        title: format!(
            "snf-ifup as /etc/ganeti/kvm-vif-bridge, from the fork to the end of its output, {samples} NICs beside \
             {few} and beside {many} that it brought up before, by turns; /bin/true started the same way for comparison."
        ),
        columns: vec![
            "NIC",
            "start of /bin/true, ms",
            "up beside few, ms",
            "up beside many, ms",
            "ratio of medians",
        ],
        rows: Vec::new(),
        targets: Vec::new(),
        faults: Faults::default(),
        figures: json!([]),
    };
    let mut figures = Vec::new();
    for mode in ["bridged", "routed"] {
        progress.say(&format!("ifup: {few} and {many} {mode} NICs"));
        let mut small = Node::new(world, mode, few)?;
        let mut large = Node::new(world, mode, many)?;
        // The announcements of the last ones are over after two seconds.
        std::thread::sleep(Duration::from_secs(if arguments.quick { 0 } else { 3 }));
        let (mut nothing, mut beside_few, mut beside_many) = (Vec::new(), Vec::new(), Vec::new());
        for sample in 1..=samples {
            progress.say(&format!("ifup: {mode} NIC {sample}"));
            let mut empty = large.host.namespace.command("true");
            nothing.push(milliseconds(run(&mut empty)?));
            beside_few.push(milliseconds(small.once()?));
            beside_many.push(milliseconds(large.once()?));
        }
        figures.push(json!({ "mode": mode, "few": beside_few, "many": beside_many }));
        let [nothing, beside_few, beside_many] =
            [nothing, beside_few, beside_many].map(|times| Spread::of(times).context("a NIC"));
        let (nothing, beside_few, beside_many) = (nothing?, beside_few?, beside_many?);
        let ratio = beside_many.median / beside_few.median;
        section.rows.push(vec![
            mode.to_owned(),
            number(nothing.median),
            spread(beside_few),
            spread(beside_many),
            number(ratio),
        ]);
        let about = format!("one {mode} NIC up beside {many}");
        section
            .targets
            .push(Target::new(about, Bound::AtMost(10.0), "ms", beside_many));
        let about = format!("one {mode} NIC up beside {many}, against beside {few}");
        let ratio = Spread {
            median: ratio,
            min: ratio,
            max: ratio,
        };
        section
            .targets
            .push(Target::new(about, Bound::AtMost(1.2), "×", ratio));
    }
    section.figures = json!(figures);
    Ok(vec![section])
}

impl Node {
    fn new(world: &World, mode: &'static str, nics: usize) -> Result<Self> {
        let host = Host::new(world, &format!("{mode}{nics}"))?;
        let uplink = host.bridge("br0")?;
        if mode == "routed" {
            host.namespace
                .ip(&format!("address add {GATEWAY}/16 dev br0"))?;
            host.namespace
                .ip(&format!("route add default dev br0 table {TABLE}"))?;
            host.namespace
                .ip(&format!("route add {SUBNET} dev br0 table {TABLE}"))?;
            host.namespace
                .ip(&format!("-6 route add {PREFIX6}/64 dev br0 table {TABLE}"))?;
        }
        let mut node = Self {
            host,
            mode,
            taps: vec![uplink],
        };
        for number in 0..nics {
            let name = tap_name(number);
            node.taps.push(node.host.tap(&name)?);
            run(&mut node.script(number, "up")?)?;
            node.host
                .namespace
                .ip(&format!("link set {name} group {GROUP}"))?;
        }
        Ok(node)
    }

    /// The time one more NIC takes to come up; then it is gone again.
    fn once(&mut self) -> Result<Duration> {
        let number = self.taps.len();
        let tap = self.host.tap(&tap_name(number))?;
        let taken = run(&mut self.script(number, "up")?)?;
        drop(tap);
        run(&mut self.script(number, "down")?)?;
        Ok(taken)
    }

    /// Ganeti's call.
    fn script(&self, number: usize, action: &str) -> Result<Command> {
        let vm = Vm(u32::try_from(number)?);
        let mut command = self
            .host
            .namespace
            .command(world::programs().join("snf-ifup"));
        let name = if action == "up" {
            "kvm-vif-bridge"
        } else {
            "kvm-ifdown-custom"
        };
        command.arg0(format!("/etc/ganeti/{name}")).env_clear();
        let [a, b, c, d, e, f] = vm.mac();
        let (link, tags) = match self.mode {
            "bridged" => ("br0", "nfdhcpd private-filtered"),
            _ => (TABLE, "nfdhcpd ip-less-routed"),
        };
        for (key, value) in [
            (
                "PATH",
                "/usr/sbin:/usr/bin:/sbin:/bin:/sbin:/usr/sbin".to_owned(),
            ),
            ("HOME", "/root".to_owned()),
            ("LC_ALL", "C".to_owned()),
            ("INSTANCE", format!("vm{number}.example.org")),
            ("INTERFACE", tap_name(number)),
            ("INTERFACE_INDEX", "0".to_owned()),
            (
                "INTERFACE_UUID",
                format!("ff7053d8-b2ff-464a-8f68-{number:012}"),
            ),
            (
                "MAC",
                format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
            ),
            ("IP", vm.ip().to_string()),
            ("MODE", self.mode.to_owned()),
            ("LINK", link.to_owned()),
            ("TAGS", String::new()),
            ("VLAN", String::new()),
            ("NETWORK_NAME", "bench".to_owned()),
            (
                "NETWORK_UUID",
                "2eb2d251-135d-4540-88ac-679ea0674d7f".to_owned(),
            ),
            ("NETWORK_SUBNET", SUBNET.to_owned()),
            ("NETWORK_GATEWAY", GATEWAY.to_string()),
            ("NETWORK_SUBNET6", format!("{PREFIX6}/64")),
            ("NETWORK_GATEWAY6", GATEWAY6.to_string()),
            ("NETWORK_MAC_PREFIX", "52:54:00".to_owned()),
            ("NETWORK_TAGS", tags.to_owned()),
        ] {
            command.env(key, value);
        }
        if self.mode == "bridged" {
            command.env("BRIDGE", "br0");
        }
        Ok(command)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        remove_taps(&self.host);
    }
}

/// Runs a command as Ganeti does, to the end of its output.
fn run(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let output = on_cpu(SERVER_CPU, || Ok(command.output()?))?;
    let taken = start.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
    Ok(taken)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
