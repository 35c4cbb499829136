//! What drifted is put right; what is not ours is left alone.

use anyhow::{Context, ensure};
use system_tests::ganeti::{BRIDGED, ROUTED};
use system_tests::node::{EVERY_SECOND, NEVER, Node};
use system_tests::wait::{self, SOON};
use system_tests::world::in_world;

use super::ROUTED_INSTANCE;

/// Each drift by itself, and the host as it was within a look.
#[test]
fn what_drifted_is_put_right() {
    in_world(&["nft", "curl"], |world| {
        let node = Node::new(world)?;
        let _taps = [node.start(BRIDGED)?, node.start(ROUTED)?];
        let before = node.state()?;
        let agent = node.agent(EVERY_SECOND)?;
        ensure!(node.figure("restored")? == 0, "{}", agent.output()?);
        for (drift, restored) in [
            ("nft flush ruleset", 2),
            ("nft flush chain inet snf check_source", 1),
            ("nft delete element bridge snf filtered '{ tap0 }'", 1),
            ("nft delete element arp snf gateway '{ tap1 }'", 1),
            ("ip link set tap0 nomaster", 1),
            ("ip link set tap0 address 02:00:00:00:00:99", 1),
            ("ip link set tap1 down", 1),
            ("rm /var/lib/nfdhcpd/tap0", 1),
            ("echo IP=10.77.0.99 >> /var/lib/nfdhcpd/tap0", 1),
            ("ip rule del iif tap1", 1),
            ("ip route flush dev tap1 table rt79", 1),
            (
                "ip -6 neigh flush proxy; ip -6 neigh del proxy 2001:db8:79:0:a800:ff:fe63:bc42 dev eth1",
                1,
            ),
            ("echo 0 > /proc/sys/net/ipv4/conf/tap1/proxy_arp", 1),
        ] {
            let count = node.figure("restored")?;
            // Some of these say that part of it was not there.
            let _ = node.host.namespace.run("sh", &["-c", drift]);
            wait::until(&format!("{drift:?} is put right"), SOON, || {
                Ok(node.figure("restored")? >= count + restored)
            })
            .with_context(|| agent.output().unwrap_or_default())?;
            node.is_again(&before).with_context(|| drift.to_owned())?;
        }
        let link = node.host.namespace.ip("link show tap0")?;
        ensure!(
            link.contains("master br0") && link.contains("fe:00:77:51:ad:bc"),
            "{link}"
        );
        let metrics = || {
            let of = &node.host.namespace;
            of.run("curl", &["-s", "http://127.0.0.1:9548/metrics"])
        };
        wait::until("both are sound at the next look", SOON, || {
            Ok(metrics()?.contains("snf_agent_taps{standing=\"sound\"} 2\n"))
        })?;
        let metrics = metrics()?;
        ensure!(
            metrics.contains("snf_agent_steps_total{kind=\"binding\"} 2\n"),
            "{metrics}"
        );
        let health = node
            .host
            .namespace
            .run("curl", &["-s", "http://127.0.0.1:9548/health"])?;
        ensure!(health == "well\n", "{health}");
        Ok(())
    });
}

/// What an event tells of is put right at once.
#[test]
fn a_tap_that_left_its_bridge_is_back_before_the_next_look() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let _tap = node.start(BRIDGED)?;
        let _agent = node.agent(NEVER)?;
        node.host.namespace.ip("link set tap0 nomaster")?;
        node.is_port("tap0", "br0")?;
        ensure!(node.figure("rounds")? == 1);
        Ok(())
    });
}

#[test]
fn what_is_not_ours_is_left_alone() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        // Another script's TAP, though Ganeti names it.
        let _foreign = node.host.bridged_tap("tap0", "br0")?;
        node.runtime(BRIDGED)?;
        let _agent = node.agent(EVERY_SECOND)?;
        node.host.namespace.ip("link set tap0 nomaster")?;
        let rounds = node.figure("rounds")?;
        wait::until("two looks went by", SOON, || {
            Ok(node.figure("rounds")? >= rounds + 2)
        })?;
        ensure!(!node.host.namespace.ip("link show tap0")?.contains("master"));
        let told = node.ask(&["tap", "tap0"])?;
        ensure!(
            told.contains("snf-ifup has no record of this device"),
            "{told}"
        );
        // Ours, but of an instance that Ganeti's files do not name.
        let _ours = node.start(ROUTED)?;
        node.forget(ROUTED_INSTANCE)?;
        node.host.namespace.run("rm", &["/var/lib/nfdhcpd/tap1"])?;
        let told = node.json(&["tap", "tap1"])?;
        ensure!(told["standing"] == "no_nic", "{told}");
        ensure!(node.figure("restored")? == 0);
        Ok(())
    });
}

/// A call of snf-ifup that holds the TAP's lock is not interfered with; what cannot be put right is told once.
#[test]
fn a_bridge_that_is_missing_is_told_once_and_counted() {
    in_world(&["nft"], |world| {
        let node = Node::new(world)?;
        let _tap = node.start(BRIDGED)?;
        let agent = node.agent(EVERY_SECOND)?;
        node.host.namespace.ip("link del br0")?;
        agent.says("LINK=br0: there is no such bridge", SOON)?;
        wait::until("it was tried again", SOON, || {
            Ok(node.figure("failures")? >= 3)
        })?;
        ensure!(
            agent.output()?.matches("there is no such bridge").count() == 1,
            "{}",
            agent.output()?
        );
        let text = node.ask(&["status"])?;
        ensure!(
            text.contains("failed") && text.contains("no such bridge"),
            "{text}"
        );
        node.host.namespace.ip("link add br0 type bridge")?;
        node.host.namespace.ip("link set br0 up")?;
        node.is_port("tap0", "br0")
    });
}
