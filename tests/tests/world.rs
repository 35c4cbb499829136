//! The harness itself: what a world promises to the tests that stand on it.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use nfdhcpd_binding::MacAddr;
use system_tests::client::Client;
use system_tests::frame::Direction;
use system_tests::host::Host;
use system_tests::world::in_world;

const MAC: MacAddr = MacAddr([0xaa, 0, 0x77, 0, 0, 1]);

#[test]
fn a_client_reaches_the_uplink_over_tap_and_bridge() {
    in_world(&["busybox"], |world| {
        let host = Host::new(world, "host")?;
        let uplink = host.bridge("br0")?;
        let tap = host.bridged_tap("tap0", "br0")?;
        let client = Client::new(world, "vm", MAC, &tap)?;
        client.namespace.ip("addr add 10.0.0.2/24 dev eth0")?;
        let pinger = client.start("busybox", &["ping", "-c1", "-W2", "10.0.0.1"])?;
        uplink.expect(
            "ARP request of the client",
            Duration::from_secs(5),
            |frame| (frame.get(6..14) == Some(&[0xaa, 0, 0x77, 0, 0, 1, 8, 6])).then_some(()),
        )?;
        drop(pinger);
        ensure!(
            client
                .wire
                .record()
                .iter()
                .any(|frame| frame.direction == Direction::Asked)
        );
        Ok(())
    });
}

#[test]
fn a_virtio_clients_datagrams_have_partial_checksums() {
    in_world(&["busybox"], |world| {
        let host = Host::new(world, "host")?;
        let tap = host.routed_tap("tap0")?;
        let client = Client::new(world, "vm", MAC, &tap)?;
        client.namespace.ip("addr add 10.0.0.2/24 dev eth0")?;
        client
            .namespace
            .ip("neigh add 10.0.0.1 dev eth0 lladdr 02:00:00:00:00:01")?;
        let socket = client
            .namespace
            .inside(|| Ok(std::net::UdpSocket::bind("10.0.0.2:68")?))?;
        socket.send_to(b"x", "10.0.0.1:67")?;
        system_tests::wait::until("the datagram passes", Duration::from_secs(5), || {
            Ok(client
                .wire
                .record()
                .iter()
                .any(|frame| frame.partial_checksum))
        })
    });
}

#[test]
fn a_namespace_keeps_its_files_to_itself() {
    in_world(&[], |world| {
        let one = world.namespace("one")?;
        let other = world.namespace("other")?;
        one.run(
            "sh",
            &[
                "-c",
                "for f in /run /var/lib /tmp /etc; do echo one > $f/mark; done",
            ],
        )?;
        one.run(
            "sh",
            &[
                "-c",
                "echo nameserver 192.0.2.1 > /run/r; cp /run/r /etc/resolv.conf",
            ],
        )
        .ok();
        for place in ["/run/mark", "/var/lib/mark", "/tmp/mark", "/etc/mark"] {
            ensure!(
                one.read(place)? == "one\n",
                "{place} is where it was written"
            );
            ensure!(
                other.read(place)?.is_empty(),
                "{place} is seen by another namespace"
            );
            ensure!(
                !fs::exists(place)?,
                "{place} is seen outside of its namespace"
            );
        }
        Ok(())
    });
}
