//! What the hooks say, and the story that is told.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use system_tests::ganeti::BRIDGED;
use system_tests::node::{CONFIG, NEVER, Node};
use system_tests::served::CONFIGURATION;
use system_tests::wait::{self, SOON};
use system_tests::world::{in_world, programs};

use super::BRIDGED_INSTANCE;

#[test]
fn what_hooks_say_reaches_the_story_and_survives_a_restart() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let _tap = node.start(BRIDGED)?;
        let mut agent = node.agent(NEVER)?;
        node.hook(
            BRIDGED,
            &[("GANETI_POST_INSTANCE_TAGS", "synnefo:hostname:web1 front")],
        )?;
        node.is_bound("tap0", "HOSTNAME=web1\n")?;
        let told = node.json(&["explain", BRIDGED_INSTANCE])?;
        ensure!(
            told[0]["hooks"]["tags"] == json!(["front", "synnefo:hostname:web1"]),
            "{told}"
        );
        ensure!(told[0]["standing"] == "sound", "{told}");
        ensure!(agent.stop(Signal::SIGTERM)?.success());
        let mut agent = node.agent(NEVER)?;
        let text = node.ask(&["explain", BRIDGED_INSTANCE])?;
        ensure!(text.contains("tags: front synnefo:hostname:web1"), "{text}");
        node.hook(BRIDGED, &[("GANETI_HOOKS_PATH", "instance-remove")])?;
        wait::until("the agent has forgotten the instance", SOON, || {
            Ok(node.json(&["explain", BRIDGED_INSTANCE])?[0]["hooks"].is_null())
        })?;
        // A killed agent's socket is in nobody's way.
        agent.signal(Signal::SIGKILL)?;
        agent.wait(SOON)?;
        node.agent(NEVER).map(drop)
    });
}

#[test]
fn malformed_hooks_are_refused_with_their_reason_and_counted() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let agent = node.agent(NEVER)?;
        for (changes, reason) in [
            (
                ("GANETI_POST_INSTANCE_NIC_COUNT", "9"),
                "GANETI_POST_INSTANCE_NIC1_MAC is not set",
            ),
            (("GANETI_HOOKS_PHASE", "pre"), "GANETI_HOOKS_PHASE=\"pre\""),
            (
                ("GANETI_INSTANCE_NAME", "../../etc/x"),
                "not an instance's name",
            ),
        ] {
            node.hook(BRIDGED, &[changes])?;
            agent.says(reason, SOON)?;
        }
        let status = node.json(&["status"])?;
        ensure!(
            status["agent"]["hooks_refused"]
                == json!({"malformed": 1, "missing": 1, "not_ours": 1}),
            "{status}"
        );
        let mut stranger = node.host.namespace.command("setpriv");
        stranger.args(["--reuid=65534", "--clear-groups"]);
        stranger
            .arg(programs().join("snf-agent"))
            .args(["status", "--json"]);
        let told = stranger.output()?;
        ensure!(
            !String::from_utf8_lossy(&told.stdout).contains("rounds"),
            "{told:?}"
        );
        Ok(())
    });
}

#[test]
fn the_story_says_what_nfdhcpd_answered() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let nfdhcpd = node.host.nfdhcpd(CONFIGURATION)?;
        let _tap = node.start(BRIDGED)?;
        nfdhcpd.serves("tap0")?;
        let told = node.ask(&["explain", BRIDGED_INSTANCE])?;
        for part in [
            "tap0 of bridged.example.org: sound",
            "NETWORK_NAME        netbr",
            "port of br0, up, in use",
            "  element  stands  bridge snf filtered { \"tap0\" }",
            "  binding  stands  aa:00:77:51:ad:bc",
            "nothing to do",
            "binding in force",
        ] {
            ensure!(told.contains(part), "{part:?} is not in:\n{told}");
        }
        node.host.namespace.run("nft", &["flush", "ruleset"])?;
        let told = node.ask(&["tap", "tap0"])?;
        ensure!(told.contains("MISSING  bridge snf filtered"), "{told}");
        ensure!(
            told.contains("drifted") && told.contains("MISSING"),
            "{told}"
        );
        println!("{told}\n{}", node.ask(&["status"])?);
        Ok(())
    });
}

#[test]
fn a_wrong_configuration_is_refused_with_its_key() {
    in_world(&[], |world| {
        let node = Node::new(world)?;
        node.host.namespace.write(CONFIG, "intervall = 5\n")?;
        let mut command = node.host.program("snf-agent");
        let output = command.arg("check-config").output()?;
        ensure!(output.status.code() == Some(64), "{output:?}");
        ensure!(
            String::from_utf8_lossy(&output.stderr).contains("intervall"),
            "{output:?}"
        );
        node.host.namespace.write(CONFIG, "")?;
        node.ask(&["check-config"]).map(drop)
    });
}

/// `gnt-network add-tags` runs no hook: the next hook of an instance tells it.
#[test]
fn a_networks_new_tags_reach_the_nic_and_what_was_not_plugged_waits() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let tap = node.start(BRIDGED)?;
        let mut agent = node.agent(NEVER)?;
        let filtered = || -> Result<bool> {
            let set = ["list", "set", "bridge", "snf", "filtered"];
            Ok(node.host.namespace.run("nft", &set)?.contains("tap0"))
        };
        ensure!(filtered()?);
        let changes = [
            (
                "GANETI_POST_INSTANCE_NIC0_NETWORK_TAGS",
                "synnefo:dns:10.77.0.99 nfdhcpd",
            ),
            ("GANETI_POST_INSTANCE_NIC0_IP", "10.77.0.9"),
        ];
        node.hook(BRIDGED, &changes)?;
        node.is_bound("tap0", "NAMESERVERS=10.77.0.99\n")?;
        node.is_bound("tap0", "\nIP=10.77.0.2\n")?;
        wait::until("the VM may send as anybody", SOON, || Ok(!filtered()?))?;
        ensure!(agent.stop(Signal::SIGTERM)?.success());
        let _agent = node.agent(NEVER)?;
        ensure!(node.figure("restored")? == 0, "{}", agent.output()?);
        let pending = json!([{"what": "ip", "from": "10.77.0.2", "to": "10.77.0.9"}]);
        let told = node.json(&["explain", BRIDGED_INSTANCE])?;
        ensure!(told[0]["pending"] == pending, "{told}");
        ensure!(told[0]["standing"] == "sound", "{told}");
        let waits = "pending until the next start: ip 10.77.0.2 -> 10.77.0.9";
        for words in [vec!["tap", "tap0"], vec!["status"]] {
            let told = node.ask(&words)?;
            ensure!(told.contains(waits), "{told}");
        }
        // Started again: snf-ifup is told what holds from now on, and the hook's word is an old one.
        drop(tap);
        wait::until(
            "the first is swept",
            SOON,
            || Ok(node.figure("swept")? == 1),
        )?;
        let mut nic = BRIDGED.to_vec();
        for (name, value) in &mut nic {
            match *name {
                "IP" => *value = "10.77.0.9",
                "NETWORK_TAGS" => *value = "nfdhcpd synnefo:dns:10.77.0.55",
                _ => {}
            }
        }
        let _tap = node.start(&nic)?;
        let told = node.json(&["tap", "tap0"])?;
        ensure!(
            told["standing"] == "sound" && told["pending"] == json!([]),
            "{told}"
        );
        node.is_bound("tap0", "NAMESERVERS=10.77.0.55\n")
    });
}
