//! The lab: real Ganeti clusters. What takes minutes is ignored here; `make test-lab` runs it.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails and speaks"
)]

use std::fs;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use system_tests::lab::layout::{self, BRIDGED_NETWORK, ROUTED_NETWORK};
use system_tests::lab::{self, Hypervisor, Instance, Lab, Pings, Place, Plan};
use system_tests::progress::Progress;
use system_tests::wait::{self, SOON};
use system_tests::world::can_run;
use system_tests::{guest, untouched};

const NEEDS: &[&str] = &[
    "rabbitmqctl",
    "gnt-cluster",
    "sshd",
    "nsenter",
    "curl",
    "ping",
    "qemu-system-x86_64",
];

/// How long a guest may take from its start to its address.
const BOOT: Duration = Duration::from_secs(120);

/// What `gnt-cluster verify` says of a kernel without the magic key, which no namespace can mend.
const NO_SYSRQ: &str = "/proc/sysrq-trigger";

fn new_name() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", std::process::id())
}

/// A fresh cluster, out of the snapshot that the first test to want one makes. It ends with the test.
fn fresh(nodes: usize) -> Result<Lab> {
    planned(&Plan::new(&new_name(), nodes)?)
}

fn fresh_with_broker(nodes: usize) -> Result<Lab> {
    planned(&Plan::new(&new_name(), nodes)?.with_broker()?)
}

fn planned(plan: &Plan) -> Result<Lab> {
    guest::prepare(|step| println!("{step}"))?;
    let progress = Progress::new();
    let snapshot = lab::cached(plan.nodes, &progress)?;
    Lab::restore(plan, &snapshot, &progress)
}

/// Runs `body`, unless what it needs is missing.
fn with(body: impl FnOnce() -> Result<()>) {
    if !can_run(NEEDS) {
        return;
    }
    if let Err(error) = body() {
        panic!("{error:#}");
    }
}

/// What `gnt-cluster verify` complains about.
fn complaints(master: &Place) -> Result<Vec<String>> {
    let output = master.command("gnt-cluster").arg("verify").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        said.contains("Verifying node status"),
        "verify said:\n{said}"
    );
    let key = Path::new(NO_SYSRQ).exists();
    let complaints = said
        .lines()
        .filter(|line| line.contains("ERROR") || line.contains("WARNING"))
        .filter(|line| key || !line.contains(NO_SYSRQ));
    Ok(complaints.map(ToOwned::to_owned).collect())
}

fn answers(lab: &Lab, address: &str) -> Result<()> {
    let switch = lab.switch()?;
    wait::until(&format!("{address} answers a ping"), SOON, || {
        Ok(switch.run("ping", &["-c1", "-W1", address]).is_ok())
    })
}

/// The processes that are in one of `namespaces`, or see a mount of the folder.
fn traces(namespaces: &[PathBuf], folder: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        // Any of these may end while it is looked at.
        let kinds = ["net", "mnt", "pid", "uts", "ipc"].map(|kind| process.join("ns").join(kind));
        let own = kinds.iter().filter_map(|kind| fs::read_link(kind).ok());
        let inside = own.into_iter().any(|own| namespaces.contains(&own));
        let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        if inside || mounts.contains(folder) {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            found.push(format!("{} {}", process.display(), name.trim()));
        }
    }
    Ok(found)
}

/// The namespaces of a lab's places.
fn namespaces(lab: &Lab) -> Result<Vec<PathBuf>> {
    let places = lab.nodes().into_iter().chain([lab.switch()?]);
    let mut found = Vec::new();
    for place in places {
        for kind in ["net", "mnt", "pid", "uts", "ipc"] {
            found.push(fs::read_link(format!("/proc/{}/ns/{kind}", place.pid()))?);
        }
    }
    Ok(found)
}

/// Whether everything in `namespaces` is in the control groups of this process: then none was made.
fn control_groups(namespaces: &[PathBuf]) -> Result<()> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    for process in traces(namespaces, "no folder")? {
        let place = process.split(' ').next().unwrap_or_default();
        let groups = fs::read_to_string(Path::new(place).join("cgroup"));
        // It may have ended.
        let other = groups.is_ok_and(|groups| groups != own);
        ensure!(!other, "{process} is in a control group of its own");
    }
    Ok(())
}

fn command(words: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(words).stdin(Stdio::null());
    system_tests::program::printed(command, &format!("lab {}", words.join(" ")))
}

#[test]
fn one_node_comes_up_serves_a_guest_and_leaves_nothing() {
    with(|| {
        let before = untouched::state()?;
        let name = new_name();
        let said = command(&["up", "--no-broker", "--nodes", "1", "--name", &name])?;
        for part in [
            layout::RAPI,
            layout::RAPI_PASSWORD,
            "node1",
            "gnt-instance add",
        ] {
            ensure!(said.contains(part), "no {part:?} in:\n{said}");
        }
        let again = command(&["up", "--no-broker", "--nodes", "1", "--name", &name]);
        ensure!(again.is_err(), "a second lab took the name of the first");
        let lab = Lab::find(&name)?;
        let own = namespaces(&lab)?;

        let inside = command(&["enter", "--name", &name, "node1", "cat", "/etc/hostname"])?;
        ensure!(
            inside == "node1.gnt.test\n",
            "node1 calls itself {inside:?}"
        );
        let complaints = complaints(&lab.node(1)?)?;
        ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
        let vm = Instance::add(
            &lab,
            "vm",
            Hypervisor::Kvm,
            &lab.node(1)?,
            &[BRIDGED_NETWORK],
        )?;
        let console = vm.console()?;
        let addresses = vm.addresses()?;
        let address = addresses.first().context("a NIC")?;
        console.tells("address4", BOOT, |told| told.starts_with(address.as_str()))?;
        answers(&lab, address)?;

        control_groups(&own)?;
        command(&["down", "--name", &name])?;
        let left = traces(&own, &name)?;
        ensure!(left.is_empty(), "left: {}", left.join(", "));
        for (part, was) in before {
            wait::until(&format!("{part}: as before"), SOON, || {
                Ok(untouched::state()?.get(part) == Some(&was))
            })?;
        }
        ensure!(!Path::new("/run/snf-lab").join(&name).exists());
        Ok(())
    });
}

#[test]
fn a_lab_goes_with_who_was_making_it() {
    with(|| {
        let name = new_name();
        let mut child = Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(["up", "--no-broker", "--nodes", "1", "--name", &name])
            .stdout(Stdio::null())
            .spawn()?;
        let lab = wait::for_fact("the lab stands", SOON, || Ok(Lab::find(&name).ok()));
        let own = lab.as_ref().map_or(Ok(Vec::new()), namespaces);
        child.kill()?;
        child.wait()?;
        let (_, own) = (lab?, own?);
        wait::until("all of it is gone", SOON, || {
            let folder = Path::new("/run/snf-lab").join(&name);
            Ok(traces(&own, &name)?.is_empty() && !folder.exists())
        })
    });
}

#[test]
#[ignore = "takes minutes: make test-lab"]
fn three_nodes_verify_without_a_complaint() {
    with(|| {
        let lab = fresh(3)?;
        let complaints = complaints(&lab.node(1)?)?;
        ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
        for node in lab.nodes() {
            let bridge = node.run("sha256sum", &["/etc/ganeti/kvm-vif-bridge"])?;
            let first = lab
                .node(1)?
                .run("sha256sum", &["/etc/ganeti/kvm-vif-bridge"])?;
            ensure!(bridge == first, "{}: another kvm-vif-bridge", node.name());
            node.run("nfdhcpd", &["ctl", "list"])?;
        }
        lab.down()
    });
}

#[test]
#[ignore = "takes minutes: make test-lab"]
fn two_labs_know_nothing_of_each_other() {
    with(|| {
        let (one, other) = (fresh(1)?, fresh(1)?);
        one.node(1)?.write("/etc/only-here", "one\n")?;
        one.node(1)?
            .run("gnt-cluster", &["add-tags", "only-here"])?;
        ensure!(
            !Path::new("/etc/only-here").exists(),
            "written on the machine"
        );
        ensure!(
            other.node(1)?.run("cat", &["/etc/only-here"]).is_err(),
            "written in the other"
        );
        let tags = other.node(1)?.run("gnt-cluster", &["list-tags"])?;
        ensure!(tags.is_empty(), "the other cluster has {tags:?}");
        one.down()?;
        other.node(1)?.run("gnt-node", &["list"])?;
        other.down()
    });
}

#[test]
#[ignore = "takes minutes: make test-lab"]
fn a_service_is_up_again_when_it_ends_and_down_when_it_is_stopped() {
    with(|| {
        let lab = fresh(1)?;
        let node = lab.node(1)?;
        let was = node.service("nfdhcpd").context("nfdhcpd runs")?;
        node.run("kill", &["-KILL", &was.to_string()])?;
        wait::until("nfdhcpd is up again", SOON, || {
            Ok(node.service("nfdhcpd").is_some_and(|now| now != was))
        })?;
        wait::until("it answers", SOON, || {
            Ok(node.run("nfdhcpd", &["ctl", "list"]).is_ok())
        })?;
        node.stop_service("nfdhcpd")?;
        ensure!(
            node.run("nfdhcpd", &["ctl", "list"]).is_err(),
            "it is not down"
        );
        node.start_service("nfdhcpd")?;
        wait::until("it answers", SOON, || {
            Ok(node.run("nfdhcpd", &["ctl", "list"]).is_ok())
        })?;
        lab.down()
    });
}

#[test]
#[ignore = "takes minutes: make test-lab"]
fn the_broker_is_in_a_network_of_its_own_and_comes_back() {
    with(|| {
        let lab = fresh_with_broker(1)?;
        let broker = lab.broker().context("a broker")?;
        let answers = || {
            lab.switch()?.inside(|| {
                let address = (layout::BROKER_ADDRESS.parse::<IpAddr>()?, 5672);
                Ok(TcpStream::connect(address).is_ok())
            })
        };
        ensure!(answers()?, "it does not listen");
        broker.stop_service("rabbitmq-server")?;
        ensure!(!answers()?, "it listens still");
        broker.start_service("rabbitmq-server")?;
        wait::until("the broker listens again", lab::COMMAND, answers)?;
        lab.down()
    });
}

#[test]
#[ignore = "takes minutes: make test-lab"]
fn what_ganeti_does_reaches_the_broker() {
    with(|| {
        let lab = fresh_with_broker(1)?;
        let vm = Instance::add(&lab, "snf-1", Hypervisor::Fake, &lab.node(1)?, &[])?;
        vm.remove()?;
        let broker = lab.broker().context("a broker")?;
        // Two jobs, and each of them has at least a last state.
        wait::until("both jobs are told of", SOON, || {
            let queues = broker.run("rabbitmqctl", &["-q", "list_queues"])?;
            let count = queues
                .lines()
                .filter_map(|line| line.split_once('\t'))
                .find_map(|(name, count)| (name == "snf-events-op").then_some(count));
            Ok(count.is_some_and(|count| count.parse::<u32>().is_ok_and(|count| count >= 2)))
        })
        .with_context(|| {
            let log = lab
                .node(1)
                .and_then(|node| node.run("cat", &["/var/log/snf-ganeti-eventd.log"]));
            log.unwrap_or_default()
        })?;
        lab.down()
    });
}

#[test]
#[ignore = "takes minutes: make test-lab"]
fn another_node_becomes_the_master() {
    with(|| {
        let lab = fresh(3)?;
        lab.node(2)?.run("gnt-cluster", &["master-failover"])?;
        ensure!(
            lab.master()?.name() == "node2",
            "the master is {}",
            lab.master()?.name()
        );
        let user = format!("{}:{}", layout::RAPI_USER, layout::RAPI_PASSWORD);
        let address = format!("{}/2/info", layout::RAPI);
        wait::until("the remote API answers from there", lab::COMMAND, || {
            let asked = lab.switch()?.run("curl", &["-sfku", &user, &address]);
            Ok(asked.is_ok_and(|told| told.contains("\"master\": \"node2.gnt.test\"")))
        })?;
        lab.down()
    });
}

#[test]
#[ignore = "takes minutes: make test-lab"]
fn a_guest_keeps_its_addresses_through_two_live_migrations() {
    with(|| {
        let lab = fresh(3)?;
        let (first, second) = (lab.node(1)?, lab.node(2)?);
        let vm = Instance::add(
            &lab,
            "vm",
            Hypervisor::Kvm,
            &first,
            &[BRIDGED_NETWORK, ROUTED_NETWORK],
        )?;
        let console = vm.console()?;
        let addresses = vm.addresses()?;
        let [bridged, routed] = addresses.as_slice() else {
            anyhow::bail!("{addresses:?} are not two addresses");
        };
        console.tells("address4", BOOT, |told| told.starts_with(bridged.as_str()))?;
        console.tells("eth1_address4", BOOT, |told| {
            told.starts_with(routed.as_str())
        })?;
        for address in &addresses {
            answers(&lab, address)?;
        }
        let switch = lab.switch()?;
        let pings = [
            Pings::begin(&switch, bridged)?,
            Pings::begin(&switch, routed)?,
        ];
        for target in [&second, &first] {
            vm.migrate(target)?;
            ensure!(vm.taps()?.len() == 2, "{}: {:?}", target.name(), vm.taps()?);
            for address in &addresses {
                answers(&lab, address)?;
            }
        }
        for (pings, address) in pings.into_iter().zip(&addresses) {
            let (sent, answered) = pings.count()?;
            println!(
                "{address}: {} of {sent} pings lost in two migrations",
                sent - answered
            );
            ensure!(answered > 0, "{address} answered none of {sent} pings");
        }
        let console = vm.console()?;
        vm.shut_down()?;
        console.tells("poweroff", SOON, |_| true)?;
        vm.remove()?;
        let left = first.run("gnt-instance", &["list", "--no-headers"])?;
        ensure!(left.is_empty(), "still there: {left}");
        for node in lab.nodes() {
            let links = node.run("ip", &["-br", "link"])?;
            ensure!(!links.contains("tap"), "{}: {links}", node.name());
        }
        lab.down()
    });
}
