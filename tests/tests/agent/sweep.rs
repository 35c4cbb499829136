//! What is left of NICs that are gone is taken away.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use system_tests::ganeti::{BRIDGED, ROUTED};
use system_tests::node::{NEVER, Node};
use system_tests::tap::Tap;
use system_tests::wait::{self, SOON};
use system_tests::world::in_world;

use super::{BRIDGED_INSTANCE, ROUTED_INSTANCE};

/// Ganeti to 3.1 tells nobody that a NIC is gone.
#[test]
fn nothing_is_left_of_taps_that_are_gone() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        // A first NIC makes the constant tables, which stay.
        drop(node.start(BRIDGED)?);
        node.forget(BRIDGED_INSTANCE)?;
        let agent = node.agent(NEVER)?;
        wait::until(
            "the first is swept",
            SOON,
            || Ok(node.figure("swept")? == 1),
        )?;
        // Another's: a binding made by hand, an element of a table of the operator's, a rule.
        node.host.bind("foreign0", "MAC=aa:00:00:00:00:01\n")?;
        node.host.namespace.ip("rule add iif foreign0 lookup 79")?;
        let before = node.state()?;
        let bridged = node.start(BRIDGED)?;
        let routed = node.start(ROUTED)?;
        ensure!(node.state()? != before, "two NICs leave no trace");
        drop(bridged);
        node.forget(BRIDGED_INSTANCE)?;
        // QEMU crashed: Ganeti's files are still there.
        drop(routed);
        node.is_again(&before)?;
        let said = agent.says("swept", SOON)?;
        ensure!(
            said.contains("ip rule del") || said.contains("rule"),
            "{said}"
        );
        wait::until("both are counted", SOON, || Ok(node.figure("swept")? == 3))?;
        ensure!(node.json(&["tap", "tap0"])?["standing"] == "no_record");
        Ok(())
    });
}

#[test]
fn what_was_left_while_the_agent_was_away_is_swept_at_its_start() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        drop(node.start(ROUTED)?);
        let plan = node.ask(&["reconcile", "--dry-run"])?;
        ensure!(plan.starts_with("# tap1 -: gone"), "{plan}");
        let by_ifup = {
            let mut command = node.host.program("snf-ifup");
            command.args(["down", "--dry-run"]).env("INTERFACE", "tap1");
            String::from_utf8(command.output()?.stdout)?
        };
        ensure!(
            plan.ends_with(&by_ifup) && !by_ifup.is_empty(),
            "{plan}\n{by_ifup}"
        );
        ensure!(
            !node
                .host
                .namespace
                .read("/run/snf-ifup/taps/tap1")?
                .is_empty(),
            "a dry run changes nothing"
        );
        let _agent = node.agent(NEVER)?;
        ensure!(
            node.host
                .namespace
                .read("/run/snf-ifup/taps/tap1")?
                .is_empty()
        );
        ensure!(!node.host.namespace.ip("rule")?.contains("tap1"));
        ensure!(node.ask(&["reconcile", "--dry-run"])?.is_empty());
        Ok(())
    });
}

/// Ganeti starts it again at once, on another TAP: what the first left is not what the second needs.
#[test]
fn a_nic_that_came_back_on_another_tap_keeps_its_address() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        drop(node.start(ROUTED)?);
        let again = node.host.tap("tap2")?;
        node.host.ifup(ROUTED, &[("INTERFACE", "tap2")])?;
        let proxies = || node.host.namespace.ip("-6 neigh show proxy");
        let before = proxies()?;
        ensure!(before.contains("2001:db8:79:"), "{before}");
        let agent = node.agent(NEVER)?;
        agent.says("rm /run/snf-ifup/taps/tap1", SOON)?;
        ensure!(proxies()? == before, "{}", agent.output()?);
        drop(again);
        wait::until("the last one takes it away", SOON, || {
            Ok(proxies()?.is_empty())
        })
    });
}

/// Room for a burst: not a bound of the product.
#[test]
fn many_taps_that_go_at_once_are_all_swept() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let _agent = node.agent(NEVER)?;
        let taps: Result<Vec<Tap>> = (10..40)
            .map(|number| {
                let tap = node.host.tap(&format!("tap{number}"))?;
                let mac = format!("aa:00:77:51:00:{number:02x}");
                let name = format!("tap{number}");
                node.host
                    .ifup(BRIDGED, &[("INTERFACE", &name), ("MAC", &mac)])?;
                Ok(tap)
            })
            .collect();
        drop(taps?);
        wait::until("no record is left", Duration::from_secs(30), || {
            Ok(
                fs::read_dir(node.host.namespace.path("/run/snf-ifup/taps"))?
                    .next()
                    .is_none(),
            )
        })?;
        let rules = node.host.namespace.run("nft", &["list", "ruleset"])?;
        ensure!(
            !rules.contains("tap1") && !rules.contains("tap3"),
            "{rules}"
        );
        Ok(())
    });
}

#[test]
fn what_was_said_of_instances_that_are_elsewhere_is_forgotten() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let _tap = node.start(BRIDGED)?;
        let agent = node.agent(NEVER)?;
        let words = |instance: &str| {
            let path = format!("/var/lib/snf-agent/instances/{instance}.json");
            node.host.namespace.path(&path)
        };
        // Two were just heard of: the one that runs here, and one that does not.
        for (instance, nic) in [(BRIDGED_INSTANCE, BRIDGED), (ROUTED_INSTANCE, ROUTED)] {
            node.hook(nic, &[])?;
            wait::until("what the hook said is kept", SOON, || {
                Ok(words(instance).exists())
            })?;
        }
        drop(agent);
        let mut heard: Value = serde_json::from_slice(&fs::read(words(BRIDGED_INSTANCE))?)?;
        heard["at"] = json!(1);
        fs::write(words(BRIDGED_INSTANCE), heard.to_string())?;
        // And one that does not was heard of long ago.
        let moved = "moved.example.org";
        heard["instance"] = json!(moved);
        fs::write(words(moved), heard.to_string())?;
        let _agent = node.agent(NEVER)?;
        ensure!(words(BRIDGED_INSTANCE).exists(), "it runs here");
        ensure!(words(ROUTED_INSTANCE).exists(), "it may be about to start");
        ensure!(!words(moved).exists(), "it is elsewhere");
        Ok(())
    });
}

/// Bindings outlive a reboot, records and everything in the kernel do not.
#[test]
fn bindings_that_no_record_names_are_swept_unless_they_are_anothers() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let binding = |tap: &str| node.host.namespace.read(&format!("/var/lib/nfdhcpd/{tap}"));
        drop(node.start(BRIDGED)?);
        node.forget(BRIDGED_INSTANCE)?;
        let left = binding("tap0")?;
        let lives = node.start(ROUTED)?;
        node.host
            .namespace
            .run("rm", &["-r", "/run/snf-ifup/taps"])?;
        node.host.bind("tap7", &left)?;
        node.host.bind("foreign0", "MAC=aa:00:00:00:00:01\n")?;
        node.host.bind("foreign1", &format!("# by hand\n{left}"))?;
        let plan = node.ask(&["reconcile", "--dry-run"])?;
        ensure!(plan.contains("rm /var/lib/nfdhcpd/tap0"), "{plan}");
        ensure!(
            !plan.contains("foreign") && !plan.contains("tap1"),
            "{plan}"
        );
        let _agent = node.agent(NEVER)?;
        ensure!(node.figure("swept")? == 2);
        for (tap, stays) in [
            ("tap0", false),
            ("tap7", false),
            ("tap1", true),
            ("foreign0", true),
            ("foreign1", true),
        ] {
            let path = node.host.namespace.path(&format!("/var/lib/nfdhcpd/{tap}"));
            ensure!(path.exists() == stays, "{tap}");
        }
        let told = node.ask(&["status"])?;
        ensure!(
            told.contains("foreign0  -") && told.contains("no_record"),
            "{told}"
        );
        drop(lives);
        Ok(())
    });
}
