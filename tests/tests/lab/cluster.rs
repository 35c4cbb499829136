//! Labs themselves: they come up whole, know nothing of each other, and leave nothing.

use std::fs;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use system_tests::lab::layout::{self, BRIDGED_NETWORK};
use system_tests::lab::{self, Hypervisor, Instance, Lab, Place};
use system_tests::untouched;
use system_tests::wait::{self, SOON};

use crate::{BOOT, answers, fresh, fresh_with_broker, new_name, with};

/// What `gnt-cluster verify` says of a kernel without the magic key, which no namespace can mend.
const NO_SYSRQ: &str = "/proc/sysrq-trigger";

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
