//! The kernel's own autoconfiguration, and the tools of package ndisc6.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};
use system_tests::frame::Message;
use system_tests::served::{Attachment, Served};
use system_tests::wait::{SOON, until};
use system_tests::world::{World, in_world};

const EUI64: &str = "2001:db8:77:0:a800:77ff:fe51:adbc";
/// The constant hardware address of a routed TAP makes this the router's address on every host.
const ROUTER: &str = "fe80::ce47:52ff:fe4e:4554";

/// With the card down, so that its first solicitation is still to come.
fn scene(world: &World, attachment: Attachment, changes: &str) -> Result<Served> {
    let scene = Served::new(world, attachment, changes)?;
    scene.client.namespace.ip("link set eth0 down")?;
    scene.client.slaac()?;
    scene.client.namespace.ip("link set eth0 up")?;
    Ok(scene)
}

#[test]
fn the_kernel_takes_prefix_router_routes_and_mtu_routed() {
    in_world(&[], |world| {
        let changes = "ROUTES=2001:db8:88::/48@2001:db8:77::1";
        let scene = scene(world, Attachment::Routed, changes)?;
        let client = &scene.client;
        let length = client.has_address(EUI64.parse()?)?;
        ensure!(length == 64, "the address has /{length}");
        client.has_route("-6", "default", ROUTER)?;
        client.has_route("-6", "2001:db8:88::/48", ROUTER)?;
        until("IPv6 uses the advertised MTU", SOON, || {
            let path = "/proc/sys/net/ipv6/conf/eth0/mtu";
            Ok(client.namespace.run("cat", &[path])?.trim() == "1450")
        })?;
        scene.nothing_leaked()
    });
}

#[test]
fn the_kernel_takes_the_prefix_and_no_router_bridged() {
    in_world(&[], |world| {
        let scene = scene(world, Attachment::Bridged, "")?;
        scene.client.has_address(EUI64.parse()?)?;
        ensure!(
            scene.client.gateway("-6", "default")?.is_none(),
            "a bridged network's router is not this host, yet it was announced as one"
        );
        scene.nothing_leaked()
    });
}

#[test]
fn a_privacy_address_is_served_too() {
    in_world(&[], |world| {
        let scene = Served::new(world, Attachment::Routed, "")?;
        let client = &scene.client;
        client.namespace.ip("link set eth0 down")?;
        client
            .namespace
            .sysctl("net/ipv6/conf/eth0/addr_gen_mode", "3")?; // random, RFC 7217
        client.slaac()?;
        client.namespace.ip("link set eth0 up")?;
        client.has_route("-6", "default", ROUTER)?;
        until(
            "an address in the prefix that does not follow from the hardware address",
            SOON,
            || {
                let all = client.namespace.addresses("eth0")?;
                let mut texts = all.iter().map(|(address, _)| address.to_string());
                Ok(texts.any(|text| text.starts_with("2001:db8:77:") && text != EUI64))
            },
        )
    });
}

#[test]
fn rdisc6_sees_the_router_and_its_options() {
    in_world(&["rdisc6"], |world| {
        let scene = Served::new(world, Attachment::Routed, "MODE6=stateless")?;
        let said = scene.client.namespace.run("rdisc6", &["-1", "eth0"])?;
        for part in [
            ROUTER,
            "2001:db8:77::/64",
            "2001:db8:77::53",
            "example.org",
            "Stateful other conf.      :          Yes",
            "1450",
        ] {
            ensure!(said.contains(part), "no {part} in:\n{said}");
        }
        Ok(())
    });
}

#[test]
fn ndisc6_finds_the_routers_hardware_address() {
    in_world(&["ndisc6"], |world| {
        let scene = scene(world, Attachment::Routed, "")?;
        scene.client.has_address(EUI64.parse()?)?;
        for target in [ROUTER, "2001:db8:77::1"] {
            let said = scene
                .client
                .namespace
                .run("ndisc6", &["-1", target, "eth0"])?;
            let upper = said.to_uppercase();
            ensure!(upper.contains("CC:47:52:4E:45:54"), "{target}: {said}");
        }
        // For a neighbour the router answers under its own address, which ndisc6 does not take: look at the wire.
        let neighbor = "2001:db8:77::abcd";
        let _ndisc6 = scene.client.start("ndisc6", &["-1", neighbor, "eth0"])?;
        let neighbor: Ipv6Addr = neighbor.parse()?;
        scene
            .client
            .wire
            .carries("an answer for a neighbour", SOON, |_, message| {
                let Message::NeighborAdvertisement { target } = message else {
                    return None;
                };
                (*target == neighbor).then_some(())
            })?;
        Ok(())
    });
}

#[test]
fn nobody_answers_for_the_clients_own_address() {
    in_world(&[], |world| {
        let scene = scene(world, Attachment::Routed, "")?;
        let client = &scene.client;
        client.has_address(EUI64.parse()?)?;
        // Duplicate address detection on: an answer for the client's own address would take it away.
        client.namespace.ip("link set eth0 down")?;
        client
            .namespace
            .sysctl("net/ipv6/conf/eth0/accept_dad", "1")?;
        client.namespace.ip("link set eth0 up")?;
        client.has_address(EUI64.parse()?)?;
        Ok(())
    });
}
