//! A node whose agent is told by Ganeti's own hooks, and puts right what drifts under a running guest.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use system_tests::lab::layout::{BRIDGED_NETWORK, ROUTED_NETWORK};
use system_tests::lab::standing::{differences, whole};
use system_tests::lab::{COMMAND, Hypervisor, Instance, Lab, Place};
use system_tests::wait::{self, SOON};

use crate::{BOOT, answers, fresh, with};

const HOOK: &str = "/etc/ganeti/hooks/instance-modify-post.d/snf-ganeti-hook";

#[test]
#[ignore = "takes minutes: make test-lab"]
fn what_drifts_under_a_guest_is_put_right_and_tags_reach_it() {
    with(|| {
        let lab = fresh(1)?;
        let node = lab.node(1)?;
        let vm = Instance::add(
            &lab,
            "vm",
            Hypervisor::Kvm,
            &node,
            &[BRIDGED_NETWORK, ROUTED_NETWORK],
        )?;
        let console = vm.console()?;
        let addresses = vm.addresses()?;
        for (fact, address) in ["address4", "eth1_address4"].iter().zip(&addresses) {
            console.tells(fact, BOOT, |told| told.starts_with(address.as_str()))?;
            answers(&lab, address)?;
        }
        tags_reach_it(&node, &vm)?;
        drifts(&lab, &node, &vm, &addresses)?;
        nobody_listens(&node, &vm)?;
        vm.stop()?;
        vm.remove()?;
        lab.down()
    });
}

/// Tag operations run no hooks: a modification that changes nothing brings the tags, and the guest goes on.
fn tags_reach_it(node: &Place, vm: &Instance<'_>) -> Result<()> {
    let pid = format!("/run/ganeti/kvm-hypervisor/pid/{}", vm.name());
    let before = node.run("cat", &[&pid])?;
    let hooks = figure(node, "hooks")?;
    vm.tag("synnefo:hostname:renamed.example.org")?;
    vm.tag("synnefo:network:0:protected")?;
    vm.act(&["modify", "-B", "vcpus=1"])?;
    wait::until("the agent was told", SOON, || {
        Ok(figure(node, "hooks")? > hooks)
    })?;
    let taps = vm.taps()?;
    let tap = taps.first().context("a TAP")?;
    wait::until("the host name is in the binding", SOON, || {
        let binding = node.run("cat", &[&format!("/var/lib/nfdhcpd/{tap}")])?;
        Ok(binding.contains("HOSTNAME=renamed.example.org"))
    })?;
    // No profile is served yet: the agent says so of the tag, which has reached it, too.
    let story = node.run("snf-agent", &["tap", tap])?;
    ensure!(story.contains("synnefo:network:0:protected"), "{story}");
    ensure!(node.run("cat", &[&pid])? == before, "QEMU was started anew");
    Ok(())
}

/// Each in turn, and then the whole node is as it was.
fn drifts(lab: &Lab, node: &Place, vm: &Instance<'_>, addresses: &[String]) -> Result<()> {
    let taps = vm.taps()?;
    let [bridged, routed] = taps.as_slice() else {
        anyhow::bail!("{taps:?} are not two TAPs");
    };
    let was = settled(node)?;
    for drift in [
        "nft flush ruleset".to_owned(),
        format!("ip link set {bridged} nomaster"),
        format!("rm /var/lib/nfdhcpd/{bridged} /var/lib/nfdhcpd/{routed}"),
        format!("ip link set {routed} down"),
    ] {
        let restored = figure(node, "restored")?;
        let began = Instant::now();
        node.shell(&drift)?;
        back(node, &was).with_context(|| drift.clone())?;
        let took = began.elapsed().as_secs_f64();
        let count = figure(node, "restored")? - restored;
        println!("{drift}: in order {took:.1} s later, {count} TAPs restored");
        ensure!(count > 0, "{drift}: not counted");
        for address in addresses {
            answers(lab, address)?;
        }
    }
    let daemon = node.service("nfdhcpd").context("nfdhcpd runs")?;
    node.run("kill", &["-KILL", &daemon.to_string()])?;
    for tap in &taps {
        wait::until("nfdhcpd serves it again", SOON, || {
            let shown = node.run("nfdhcpd", &["ctl", "show", tap]);
            Ok(shown.is_ok_and(|shown| shown.contains("in force")))
        })?;
    }
    back(node, &was).context("nfdhcpd killed")
}

/// The hook is done at once though nobody is there to be told: the job goes on, without a word.
fn nobody_listens(node: &Place, vm: &Instance<'_>) -> Result<()> {
    node.stop_service("snf-agent")?;
    vm.act(&["modify", "-B", "vcpus=1"])?;
    let list = ["list", "--no-headers", "-o", "id,status,oplog"];
    let jobs = node.run("gnt-job", &list)?;
    let last = jobs.lines().last().context("a job")?;
    ensure!(last.contains("success"), "{last}");
    ensure!(!last.contains("snf-ganeti-hook"), "{last}");
    let began = Instant::now();
    let output = node.command(HOOK).output()?;
    println!(
        "the hook with the agent stopped, entering the node included: {:?}",
        began.elapsed()
    );
    ensure!(output.status.success(), "{}", output.status);
    ensure!(output.stdout.is_empty() && output.stderr.is_empty());
    node.start_service("snf-agent")
}

/// The node once nothing is to be done any more.
fn settled(node: &Place) -> Result<BTreeMap<String, String>> {
    wait::until("nothing is to be done", COMMAND, || {
        let plan = node.run("snf-agent", &["status", "--json"])?;
        let plan: Value = serde_json::from_str(&plan)?;
        let taps = plan.get("taps").and_then(Value::as_array);
        let taps = taps.context("TAPs")?;
        let sound = |tap: &Value| tap.get("standing") == Some(&"sound".into());
        Ok(taps.len() == 2 && taps.iter().all(sound))
    })?;
    whole(node)
}

/// Waits until all of the node is as it was.
fn back(node: &Place, was: &BTreeMap<String, String>) -> Result<()> {
    let mut found = String::new();
    wait::until("the node is as it was", COMMAND, || {
        found = differences(was, &whole(node)?);
        Ok(found.is_empty())
    })
    .with_context(|| found.clone())
}

/// A figure of the running agent.
fn figure(node: &Place, name: &str) -> Result<u64> {
    let status = node.run("snf-agent", &["status", "--json"])?;
    let status: Value = serde_json::from_str(&status)?;
    let figure = status.get("agent").and_then(|agent| agent.get(name));
    figure.and_then(Value::as_u64).context(name.to_owned())
}
