//! BusyBox udhcpc with Debian's script.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use dhcproto::v4::MessageType;
use nix::sys::signal::Signal;
use system_tests::client::Client;
use system_tests::program::Program;
use system_tests::served::{Attachment, Served};
use system_tests::wait::{SOON, until};
use system_tests::world::in_world;

const TOOLS: &[&str] = &["udhcpc", "busybox"];

/// Keeps what udhcpc was told, then does with it what Debian does.
const SCRIPT: &str = "#!/bin/sh\nenv > /run/$1\nexec /etc/udhcpc/default.script \"$@\"\n";

fn start(client: &Client) -> Result<Program> {
    client.namespace.write("/run/script", SCRIPT)?;
    client.namespace.run("chmod", &["755", "/run/script"])?;
    client.start(
        "udhcpc",
        &[
            "-f",
            "-i",
            "eth0",
            "-s",
            "/run/script",
            "-O",
            "search",
            "-O",
            "staticroutes",
            "-O",
            "mtu",
            "-t",
            "10",
            "-T",
            "1",
            "-A",
            "1",
        ],
    )
}

fn told(client: &Client, event: &str, key: &str) -> Result<String> {
    let lease = client.namespace.read(&format!("/run/{event}"))?;
    let value = lease
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Ok(value
        .with_context(|| format!("{event} told no {key}:\n{lease}"))?
        .to_owned())
}

fn gets_what_its_binding_says(attachment: Attachment) {
    in_world(TOOLS, |world| {
        let scene = Served::new(world, attachment, "LEASE=3600")?;
        let client = &scene.client;
        let udhcpc = start(client)?;
        scene.client_is_configured()?;
        client.has_route("-4", "default", "10.77.0.1")?;
        client.resolves_by(&["domain example.org", "nameserver 10.77.0.53"])?;
        for (key, value) in [
            ("hostname", "web1.example.org"),
            ("search", "example.org example.net"),
            (
                "staticroutes",
                "198.51.100.0/24 10.77.0.254 0.0.0.0/0 10.77.0.1",
            ),
            ("lease", "3600"),
            ("serverid", "10.77.0.1"),
        ] {
            let had = told(client, "bound", key)?;
            ensure!(had == value, "{key} is {had:?}, not {value:?}");
        }

        client.wire.forget();
        udhcpc.signal(Signal::SIGUSR1)?;
        let request = client.wire.carries_dhcpv4(MessageType::Request, SOON)?;
        ensure!(
            request.ciaddr().octets() == [10, 77, 0, 2],
            "renewing, it names its address"
        );
        client.wire.carries_dhcpv4(MessageType::Ack, SOON)?;
        until("udhcpc has renewed", SOON, || {
            Ok(!client.namespace.read("/run/renew")?.is_empty())
        })?;

        client.wire.forget();
        udhcpc.signal(Signal::SIGUSR2)?;
        client.wire.carries_dhcpv4(MessageType::Release, SOON)?;
        client.lost_address(IpAddr::from([10, 77, 0, 2]))?;
        scene.nothing_leaked()
    });
}

#[test]
fn udhcpc_gets_renews_and_releases_bridged() {
    gets_what_its_binding_says(Attachment::Bridged);
}

#[test]
fn udhcpc_gets_renews_and_releases_routed() {
    gets_what_its_binding_says(Attachment::Routed);
}

#[test]
fn udhcpc_renewing_after_its_binding_changed_is_refused_and_asks_anew() {
    in_world(TOOLS, |world| {
        let scene = Served::new(world, Attachment::Bridged, "")?;
        let udhcpc = start(&scene.client)?;
        scene.client_is_configured()?;
        scene.move_to(Ipv4Addr::new(10, 77, 0, 3), "")?;
        udhcpc.signal(Signal::SIGUSR1)?;
        scene.client.wire.carries_dhcpv4(MessageType::Nak, SOON)?;
        scene.client.has_address(IpAddr::from([10, 77, 0, 3]))?;
        scene.client.lost_address(IpAddr::from([10, 77, 0, 2]))?;
        scene.nothing_leaked()
    });
}
