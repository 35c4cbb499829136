//! What bringing up one NIC takes: the real snf-ifup with Ganeti's environment, beside few NICs and beside many.
//!
//! The floor is the kernel's own part: `ip -batch` with the lines of the same plan that change links, rules and routes.
//! It starts as quickly beside few NICs as beside many, so all it takes longer is the kernel's.

use std::fs;
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

/// The names Ganeti calls by.
const UP: &str = "/etc/ganeti/kvm-vif-bridge";
const DOWN: &str = "/etc/ganeti/kvm-ifdown-custom";
/// Lines for `ip`, in the host's namespace.
const BATCH: &str = "/run/floor";

/// A host whose NICs snf-ifup has brought up.
pub(crate) struct Node {
    pub(crate) host: Host,
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
             {few} and beside {many} that it brought up before, by turns; /bin/true started the same way for comparison. \
             Floor: `ip -batch` with the plan's changes of links, rules and routes, on the same TAPs."
        ),
        columns: vec![
            "NIC",
            "start of /bin/true, ms",
            "up beside few, ms",
            "up beside many, ms",
            "ratio of medians",
            "floor beside few, ms",
            "floor beside many, ms",
            "ratio less the floor's growth",
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
        let [
            mut nothing,
            mut few_ms,
            mut many_ms,
            mut floor_few,
            mut floor_many,
        ] = [const { Vec::new() }; 5];
        for sample in 1..=samples {
            progress.say(&format!("ifup: {mode} NIC {sample}"));
            let mut empty = large.host.namespace.command("true");
            nothing.push(milliseconds(run(&mut empty)?));
            few_ms.push(milliseconds(small.once()?));
            many_ms.push(milliseconds(large.once()?));
            floor_few.push(milliseconds(small.floor()?));
            floor_many.push(milliseconds(large.floor()?));
        }
        figures.push(json!({
            "mode": mode, "few": few_ms, "many": many_ms, "floor_few": floor_few, "floor_many": floor_many,
        }));
        let of = |times: Vec<f64>| Spread::of(times).context("a NIC");
        let (nothing, beside_few, beside_many) = (of(nothing)?, of(few_ms)?, of(many_ms)?);
        let (floor_few, floor_many) = (of(floor_few)?, of(floor_many)?);
        let ratio = beside_many.median / beside_few.median;
        let kernel = floor_many.median - floor_few.median;
        let own = (beside_many.median - kernel) / beside_few.median;
        section.rows.push(vec![
            mode.to_owned(),
            number(nothing.median),
            spread(beside_few),
            spread(beside_many),
            number(ratio),
            spread(floor_few),
            spread(floor_many),
            number(own),
        ]);
        let about = format!("one {mode} NIC up beside {many}");
        section
            .targets
            .push(Target::new(about, Bound::AtMost(10.0), "ms", beside_many));
        let about = format!("one {mode} NIC up beside {many}, against beside {few}");
        let found = Spread {
            median: ratio,
            min: ratio,
            max: ratio,
        };
        let mut target = Target::new(about, Bound::AtMost(1.2), "×", found);
        target.measured = format!("{}; less the floor's growth {}", number(ratio), number(own));
        section.targets.push(target);
    }
    section.figures = json!(figures);
    Ok(vec![section])
}

impl Node {
    /// Brings up so many NICs, `bridged` or `routed`.
    ///
    /// # Errors
    /// When a device cannot be had or snf-ifup fails.
    pub(crate) fn new(world: &World, mode: &'static str, nics: usize) -> Result<Self> {
        let host = Host::new(world, &format!("{mode}{nics}"))?;
        let uplink = host.bridge("br0")?;
        if mode == "routed" {
            route(&host)?;
        }
        let mut node = Self {
            host,
            mode,
            taps: vec![uplink],
        };
        for number in 0..nics {
            let name = tap_name(number);
            node.taps.push(node.host.tap(&name)?);
            run(&mut node.script(number, UP)?)?;
            node.host
                .namespace
                .ip(&format!("link set {name} group {GROUP}"))?;
        }
        Ok(node)
    }

    /// Writes what Ganeti's KVM keeps of the instances the first `nics` NICs are of.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn runtimes(&self, nics: usize) -> Result<()> {
        let base = self.host.namespace.path("/run/ganeti/kvm-hypervisor");
        fs::create_dir_all(base.join("conf"))?;
        for number in 0..nics {
            let variables = self.variables(number)?;
            let of = |name: &str| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| value.as_str())
            };
            let words = |name: &str| of(name).unwrap_or_default().split(' ').collect::<Vec<_>>();
            let nic = json!([{
                "mac": of("MAC"), "ip": of("IP"), "uuid": of("INTERFACE_UUID"), "network": of("NETWORK_UUID"),
                "nicparams": {"mode": of("MODE"), "link": of("LINK"), "vlan": ""},
                "netinfo": {
                    "name": of("NETWORK_NAME"), "uuid": of("NETWORK_UUID"), "serial_no": 1,
                    "network": of("NETWORK_SUBNET"), "gateway": of("NETWORK_GATEWAY"),
                    "network6": of("NETWORK_SUBNET6"), "gateway6": of("NETWORK_GATEWAY6"),
                    "mac_prefix": of("NETWORK_MAC_PREFIX"), "tags": words("NETWORK_TAGS"),
                },
            }]);
            let instance = of("INSTANCE").context("an instance")?;
            let runtime = json!([["qemu"], nic, {"acpi": true}, []]).to_string();
            fs::write(base.join(format!("conf/{instance}.runtime")), runtime)?;
            let taps = base.join("nic").join(instance);
            fs::create_dir_all(&taps)?;
            fs::write(taps.join("0"), tap_name(number))?;
        }
        Ok(())
    }

    /// The time one more NIC takes to come up; then it is gone again.
    fn once(&mut self) -> Result<Duration> {
        let number = self.taps.len();
        let tap = self.host.tap(&tap_name(number))?;
        let taken = run(&mut self.script(number, UP)?)?;
        drop(tap);
        run(&mut self.script(number, DOWN)?)?;
        Ok(taken)
    }

    /// The time `ip` takes for the links, rules and routes of one more NIC's plan; values under `/proc/sys` are set before.
    /// No proxy entries: for those `ip` itself reads a list of all devices.
    fn floor(&mut self) -> Result<Duration> {
        let number = self.taps.len();
        let tap = self.host.tap(&tap_name(number))?;
        let plan = self
            .script(number, "snf-ifup")?
            .args(["--dry-run", "up"])
            .output()?;
        let plan = String::from_utf8(plan.stdout)?;
        for setting in plan
            .lines()
            .filter_map(|line| line.strip_prefix("sysctl -w "))
        {
            let (key, value) = setting.split_once('=').context("a sysctl's value")?;
            self.host.namespace.sysctl(key, value)?;
        }
        let mut taken = Duration::ZERO;
        for family in ["-4", "-6"] {
            let lines = plan.lines().filter_map(|line| line.strip_prefix("ip "));
            let batch: String = lines
                .filter(|line| line.starts_with("-6 ") == (family == "-6"))
                .map(|line| line.trim_start_matches("-6 "))
                .filter(|line| !line.starts_with("neigh "))
                .map(|line| format!("{line}\n"))
                .collect();
            if batch.is_empty() {
                continue;
            }
            self.host.namespace.write(BATCH, &batch)?;
            let mut ip = self.host.namespace.command("ip");
            taken += run(ip.args([family, "-batch", BATCH]))?;
        }
        // So that all of it is on record, and goes.
        run(&mut self.script(number, UP)?)?;
        drop(tap);
        run(&mut self.script(number, DOWN)?)?;
        Ok(taken)
    }

    /// snf-ifup by this name with Ganeti's variables.
    fn script(&self, number: usize, name: &str) -> Result<Command> {
        let mut command = self
            .host
            .namespace
            .command(world::programs().join("snf-ifup"));
        command.arg0(name).env_clear();
        command.envs(self.variables(number)?);
        Ok(command)
    }

    /// What Ganeti tells about a NIC.
    fn variables(&self, number: usize) -> Result<Vec<(&'static str, String)>> {
        let vm = Vm(u32::try_from(number)?);
        let [a, b, c, d, e, f] = vm.mac();
        let (link, tags) = match self.mode {
            "bridged" => ("br0", "nfdhcpd private-filtered"),
            _ => (TABLE, "nfdhcpd ip-less-routed"),
        };
        let mut variables = vec![
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
        ];
        if self.mode == "bridged" {
            variables.push(("BRIDGE", "br0".to_owned()));
        }
        Ok(variables)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        remove_taps(&self.host);
    }
}

/// What a node has to have for routed NICs (`ifup/docs/snf-ifup.md`).
fn route(host: &Host) -> Result<()> {
    for line in [
        format!("address add {GATEWAY}/16 dev br0"),
        format!("route add default dev br0 table {TABLE}"),
        format!("route add {SUBNET} dev br0 table {TABLE}"),
        format!("-6 route add default dev br0 table {TABLE}"),
        format!("-6 route add {PREFIX6}/64 dev br0 table {TABLE}"),
        format!("rule add iif br0 lookup {TABLE} priority 100"),
        format!("-6 rule add iif br0 lookup {TABLE} priority 100"),
    ] {
        host.namespace.ip(&line)?;
    }
    for key in [
        "net/ipv4/ip_forward",
        "net/ipv4/conf/br0/proxy_arp",
        "net/ipv6/conf/all/forwarding",
    ] {
        host.namespace.sysctl(key, "1")?;
    }
    Ok(())
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
