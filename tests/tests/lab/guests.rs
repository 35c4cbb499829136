//! Guests on the move, and what is left of them on the nodes they were on: nothing.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use system_tests::lab::layout::{BRIDGED_NETWORK, ROUTED_NETWORK};
use system_tests::lab::standing::{HEARD, differences, whole};
use system_tests::lab::{COMMAND, Hypervisor, Instance, Lab, Pings, Place};
use system_tests::wait::{self, SOON};

use crate::{BOOT, answers, fresh, with};

#[test]
#[ignore = "takes minutes: make test-lab"]
fn a_guest_keeps_its_addresses_and_leaves_nothing_where_it_was() {
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
        two_migrations(&lab, &vm, &addresses)?;

        let marks = marks(&vm, &addresses)?;
        let empty = nothing_of(&second, &marks).context("migrated away")?;
        let console = vm.console()?;
        vm.shut_down()?;
        console.tells("poweroff", SOON, |_| true)?;
        nothing_of(&first, &marks).context("shut down")?;

        vm.act(&["failover", "-f", "-n", "node2.gnt.test"])?;
        vm.start()?;
        ensure!(vm.taps()?.len() == 2, "{:?}", vm.taps()?);
        as_before(&second, &empty, false).context("started again")?;
        let pid = format!("/run/ganeti/kvm-hypervisor/pid/{}", vm.name());
        second.shell(&format!("kill -KILL $(cat {pid})"))?;
        as_before(&second, &empty, true).context("crashed")?;
        vm.stop()?;
        vm.remove()?;
        for node in lab.nodes() {
            let left = nothing_of(&node, &marks).with_context(|| node.name().to_owned())?;
            ensure!(
                left.get(HEARD).is_none_or(String::is_empty),
                "{}: {left:?}",
                node.name()
            );
        }
        lab.down()
    });
}

/// There and back, answering all the while.
fn two_migrations(lab: &Lab, vm: &Instance<'_>, addresses: &[String]) -> Result<()> {
    let switch = lab.switch()?;
    let pings = addresses.iter().map(|to| Pings::begin(&switch, to));
    let pings = pings.collect::<Result<Vec<_>>>()?;
    for target in [lab.node(2)?, lab.node(1)?] {
        vm.migrate(&target)?;
        ensure!(vm.taps()?.len() == 2, "{}: {:?}", target.name(), vm.taps()?);
        for address in addresses {
            answers(lab, address)?;
        }
    }
    for (pings, address) in pings.into_iter().zip(addresses) {
        let (sent, answered) = pings.count()?;
        println!(
            "{address}: {} of {sent} pings lost in two migrations",
            sent - answered
        );
        ensure!(answered > 0, "{address} answered none of {sent} pings");
    }
    Ok(())
}

/// How the name of a TAP begins, as a value.
const TAP: &str = "\"tap";

/// What tells of an instance wherever it stands: its TAPs' names, its addresses and its cards' addresses.
fn marks(vm: &Instance<'_>, addresses: &[String]) -> Result<Vec<String>> {
    let cards = vm.field("nic.macs")?;
    let cards = cards.split(',').map(ToOwned::to_owned);
    let mut marks: Vec<String> = addresses.iter().cloned().chain(cards).collect();
    marks.push(TAP.to_owned());
    Ok(marks)
}

/// Whether a text has a mark in it, and not as the beginning of something longer.
fn tells(text: &str, mark: &str) -> bool {
    let after = |at: usize| text.get(at + mark.len()..)?.chars().next();
    let mut next = text.match_indices(mark).map(|(at, _)| after(at));
    match mark {
        TAP => next.any(|next| next.is_some_and(|next| next.is_ascii_digit())),
        _ => next.any(|next| next.is_none_or(|next| !next.is_ascii_hexdigit())),
    }
}

/// Waits until nothing on a node tells of an instance, and returns what is there; what the hooks said of it is not looked at.
fn nothing_of(node: &Place, marks: &[String]) -> Result<BTreeMap<String, String>> {
    let mut left = String::new();
    let gone = wait::for_fact("nothing is left", COMMAND, || {
        let parts = whole(node)?;
        let told = parts.iter().filter(|(name, _)| *name != HEARD);
        let lines = told.flat_map(|(name, part)| part.lines().map(move |line| (name, line)));
        let left_over: Vec<_> = lines
            .filter(|(_, line)| marks.iter().any(|mark| tells(line, mark)))
            .collect();
        left = format!("{left_over:#?}");
        Ok((left == "[]").then_some(parts))
    });
    gone.with_context(|| format!("{}: {left}", node.name()))
}

/// Waits until all of a node is as it was, or, if not `same`, until something is not.
fn as_before(node: &Place, was: &BTreeMap<String, String>, same: bool) -> Result<()> {
    let without_words = |mut parts: BTreeMap<String, String>| {
        parts.remove(HEARD);
        parts
    };
    let was = without_words(was.clone());
    let mut found = String::new();
    wait::until("the node is as it was", COMMAND, || {
        found = differences(&was, &without_words(whole(node)?));
        Ok(found.is_empty() == same)
    })
    .with_context(|| found.clone())
}
