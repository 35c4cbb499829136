//! What Ganeti does, by real jobs on real VMs, arrives at a real broker as Ganeti wrote it down.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use system_tests::lab::layout::{self, BRIDGED_NETWORK, PUBLISHER, RAPI, RAPI_PASSWORD, RAPI_USER};
use system_tests::lab::record::Operation;
use system_tests::lab::{COMMAND, Hypervisor, Instance, Lab};
use system_tests::wait::{self, SOON};

use crate::arrivals::{Arrivals, journal_equals, state};
use crate::{BOOT, fresh_with_broker, with};

/// Counts what was not ours.
const FOREIGN: &str = "snf_eventd_foreign_operations_total";

#[test]
#[ignore = "takes minutes: make test-lab"]
fn every_operation_arrives_as_ganeti_wrote_it_down() {
    with(|| {
        let lab = fresh_with_broker(3)?;
        let master = lab.master()?;
        let foreign = master.eventd_figure(FOREIGN).unwrap_or_default();
        let mut arrivals = Arrivals::default();

        let vm = Instance::add(
            &lab,
            "snf-kvm",
            Hypervisor::Kvm,
            &lab.node(1)?,
            &[BRIDGED_NETWORK],
        )?;
        let console = vm.console()?;
        // While it boots.
        life_without_a_guest(&lab)?;
        others(&lab)?;
        networks(&lab)?;
        let addresses = vm.addresses()?;
        let address = addresses.first().context("a NIC")?;
        console.tells("address4", BOOT, |told| told.starts_with(address.as_str()))?;
        life_with_a_guest(&lab, vm)?;

        let record = arrivals.equal(&lab)?;
        journal_equals(&lab, &record)?;
        details(&arrivals, &record)?;
        hooks_are_told(&lab)?;
        // Creating and removing the operator's VM, and what it took to make the cluster.
        let counted = master.eventd_figure(FOREIGN).unwrap_or_default() - foreign;
        ensure!(counted >= 2.0, "{counted} foreign operations counted");
        println!(
            "{} last states of {} operations, {} messages",
            Arrivals::count(&record),
            record.len(),
            arrivals.messages.len()
        );
        lab.down()
    });
}

/// What needs no guest: all of it without delay.
fn life_without_a_guest(lab: &Lab) -> Result<()> {
    let (master, third) = (lab.master()?, lab.node(3)?);
    let full = layout::full_name(third.name());
    let vm = Instance::add(lab, "snf-fake", Hypervisor::Fake, &lab.node(2)?, &[])?;
    vm.act(&["reboot", "--type=hard", "--shutdown-timeout=0"])?;
    vm.tag("synnefo:hostname:one")?;
    vm.act(&["failover", "-f", "-n", &full])?;
    vm.migrate(&lab.node(2)?)?;
    vm.act(&["modify", "-B", "vcpus=2"])?;
    // Three operations in one job, and the second fails: there is no disk to install on.
    let path = format!("/2/instances/{}/reinstall?reason=snf:42", vm.name());
    api(lab, "POST", &path)?;
    // Somebody holds the node: a migration waits for it, and is canceled, if it is not too late for that.
    let second = layout::full_name("node2");
    master.run("gnt-debug", &["delay", "--submit", "-n", &second, "10"])?;
    vm.act(&["migrate", "--submit", "-f", "-n", &full])?;
    let jobs = master.run("gnt-job", &["list", "--no-headers", "-o", "id"])?;
    let last = jobs.split_whitespace().last().context("a job")?;
    let canceled = master.command("gnt-job").args(["cancel", last]).output()?;
    println!(
        "cancel: {}",
        String::from_utf8_lossy(&canceled.stdout).trim()
    );
    lab.ended()?;
    vm.stop()?;
    // It is stopped: this job fails.
    ensure!(vm.migrate(&third).is_err(), "a stopped VM was migrated");
    let path = "/2/instances/snf-none.gnt.test/startup";
    api(lab, "PUT", path)?;
    let job = "gnt-job watch $(gnt-job list --no-headers -o id | tail -n1) || true";
    master.shell(job)?;
    vm.start()?;
    vm.remove()
}

/// What needs QEMU; hot-removal wants a guest that lets go.
fn life_with_a_guest(lab: &Lab, vm: Instance<'_>) -> Result<()> {
    let other = lab.node(2)?;
    let network = format!("network={}", BRIDGED_NETWORK.name);
    let nic = format!("--net=add:ip=pool,{network},name=hot");
    vm.act(&["modify", "--hotplug", &nic])?;
    ensure!(vm.taps()?.len() == 2, "{:?}", vm.taps()?);
    vm.act(&["modify", "--hotplug", "--net=hot:remove"])?;
    ensure!(vm.addresses()?.len() == 1, "{:?}", vm.addresses()?);
    vm.migrate(&other)?;
    vm.act(&["reboot", "--type=hard", "--shutdown-timeout=0"])?;
    vm.stop()?;
    vm.start()?;
    vm.remove()
}

/// An operator's VM, whose name is not one of ours.
fn others(lab: &Lab) -> Result<()> {
    Instance::add(lab, "operators", Hypervisor::Fake, &lab.node(3)?, &[])?.remove()
}

/// A network of ours, and the cluster's parameters.
fn networks(lab: &Lab) -> Result<()> {
    let master = lab.master()?;
    for words in [
        "add --network=10.80.0.0/24 --no-conflicts-check snf-net-1",
        "connect --nic-parameters=mode=bridged,link=br0 --no-conflicts-check snf-net-1 default",
        "disconnect snf-net-1 default",
        "remove snf-net-1",
    ] {
        master.run("gnt-network", &words.split(' ').collect::<Vec<_>>())?;
    }
    master.run("gnt-cluster", &["modify", "--candidate-pool-size=3"])?;
    Ok(())
}

/// Asks the remote API, as the controller does.
fn api(lab: &Lab, method: &str, path: &str) -> Result<String> {
    let user = format!("{RAPI_USER}:{RAPI_PASSWORD}");
    let address = format!("{RAPI}{path}");
    let words = ["-sfk", "-u", &user, "-X", method, &address];
    lab.switch()?.run("curl", &words)
}

/// The master's agent tells what Ganeti's hooks said of our instances' NICs, and each node's agent of the node.
fn hooks_are_told(lab: &Lab) -> Result<()> {
    let text = |body: &Value, key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    let ours: BTreeSet<String> = ["snf-fake.gnt.test", "snf-kvm.gnt.test"]
        .map(str::to_owned)
        .into();
    let mut hooks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let heard = wait::until("hooks on both are told of", SOON, || {
        for message in lab.take("snf-events-net")? {
            let body = &message.body;
            let user = message
                .properties
                .user_id()
                .as_ref()
                .map(ToString::to_string);
            ensure!(user.as_deref() == Some(PUBLISHER), "from {user:?}: {body}");
            let instance = text(body, "instance").context("an instance")?;
            ensure!(ours.contains(&instance), "not ours: {body}");
            let hook = text(body, "hook").context("a hook")?;
            hooks.entry(instance).or_default().insert(hook);
        }
        let both = hooks
            .values()
            .filter(|hooks| hooks.contains("instance-add"));
        Ok(both.count() == ours.len())
    });
    println!("hooks told of: {hooks:?}");
    heard?;
    let mut nodes = BTreeSet::new();
    wait::until("all nodes report", COMMAND, || {
        let reports = lab.take("snf-events-node")?;
        nodes.extend(
            reports
                .iter()
                .filter_map(|report| text(&report.body, "node")),
        );
        Ok(nodes.len() == lab.nodes().len())
    })
}

/// Every last state of an instance that is there afterwards has its UUID and serial number, and that number never falls.
fn details(arrivals: &Arrivals, record: &[Operation]) -> Result<()> {
    let mut serials: BTreeMap<String, u64> = BTreeMap::new();
    let mut seen = 0;
    for operation in record {
        let is_there = operation.opcode != "OP_INSTANCE_REMOVE"
            && operation.on.as_deref() != Some("snf-none.gnt.test");
        if !operation.is_ours() || !is_there || operation.opcode.contains("NETWORK") {
            continue;
        }
        let this = (operation.job, operation.index, operation.status.clone());
        let last = arrivals.messages.iter().find(|m| state(&m.body) == this);
        let body = &last.context("it has come")?.body;
        let Some(name) = body.get("instance").and_then(Value::as_str) else {
            continue;
        };
        let uuid = body.get("instance_uuid").and_then(Value::as_str);
        let serial = body.get("serial_no").and_then(Value::as_u64);
        let (Some(uuid), Some(serial)) = (uuid, serial) else {
            anyhow::bail!("no details of {name}: {body}");
        };
        let before = serials.insert(uuid.to_owned(), serial).unwrap_or(0);
        ensure!(serial >= before, "{name} fell from {before}: {body}");
        seen += 1;
    }
    ensure!(seen > 10 && serials.len() == 2, "{seen} of {serials:?}");
    Ok(())
}
