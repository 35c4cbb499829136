//! ISC dhclient with Debian's script and hooks.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use dhcproto::{v4, v6};
use nix::sys::signal::Signal;
use system_tests::client::Client;
use system_tests::program::Program;
use system_tests::served::{Attachment, Served};
use system_tests::wait::{SOON, until};
use system_tests::world::in_world;

const TOOLS: &[&str] = &["dhclient"];
const STATEFUL_ADDRESS: &str = "2001:db8:77::10";

fn start(client: &Client, mode: &[&str]) -> Result<Program> {
    client.namespace.write("/var/lib/dhcp/leases", "")?;
    start_again(client, mode)
}

/// With what it remembers.
fn start_again(client: &Client, mode: &[&str]) -> Result<Program> {
    let common = [
        "-d",
        "-v",
        "-lf",
        "/var/lib/dhcp/leases",
        "-pf",
        "/run/dhclient.pid",
        "eth0",
    ];
    client.start("dhclient", &[mode, &common].concat())
}

fn gets_what_its_binding_says(attachment: Attachment) {
    in_world(TOOLS, |world| {
        let scene = Served::new(world, attachment, "")?;
        let client = &scene.client;
        let dhclient = start(client, &["-4"])?;
        scene.client_is_configured()?;
        dhclient.says("bound to", SOON)?;
        client.has_route("-4", "default", "10.77.0.1")?;
        client.has_route("-4", "198.51.100.0/24", "10.77.0.254")?;
        client.resolves_by(&["search example.org. example.net.", "nameserver 10.77.0.53"])?;
        client.is_called("web1.example.org")?;

        // Killed and started again, it asks for what it had (RFC 2131 §4.3.2, INIT-REBOOT).
        drop(dhclient);
        client.wire.forget();
        let dhclient = start_again(client, &["-4"])?;
        let request = client.wire.carries_dhcpv4(v4::MessageType::Request, SOON)?;
        ensure!(
            request
                .opts()
                .get(v4::OptionCode::RequestedIpAddress)
                .is_some()
        );
        client.wire.carries_dhcpv4(v4::MessageType::Ack, SOON)?;
        dhclient.says("bound to", SOON)?;

        // And is told when that is not its own any more.
        drop(dhclient);
        client.wire.forget();
        scene.move_to(Ipv4Addr::new(10, 77, 0, 3), "")?;
        let _dhclient = start_again(client, &["-4"])?;
        client.wire.carries_dhcpv4(v4::MessageType::Nak, SOON)?;
        client.has_address(IpAddr::from([10, 77, 0, 3]))?;
        scene.nothing_leaked()
    });
}

#[test]
fn dhclient_gets_its_address_and_is_refused_another_bridged() {
    gets_what_its_binding_says(Attachment::Bridged);
}

#[test]
fn dhclient_gets_its_address_and_is_refused_another_routed() {
    gets_what_its_binding_says(Attachment::Routed);
}

#[test]
fn dhclient_gives_its_address_back() {
    in_world(TOOLS, |world| {
        let scene = Served::new(world, Attachment::Bridged, "")?;
        let client = &scene.client;
        let dhclient = start(client, &["-4"])?;
        scene.client_is_configured()?;
        dhclient.says("bound to", SOON)?;
        // The release is unicast, and its script takes the address away at once: what still waits for the server's hardware
        // address then is never sent.
        client.pings(IpAddr::from([10, 77, 0, 1]), SOON)?;
        drop(dhclient);
        let mut release = start_again(client, &["-4", "-r"])?;
        release.success(SOON)?;
        client.wire.carries_dhcpv4(v4::MessageType::Release, SOON)?;
        scene.nothing_leaked()
    });
}

fn gets_a_stateful_ipv6_address(attachment: Attachment) {
    in_world(TOOLS, |world| {
        let changes = format!("MODE6=stateful\nIP6={STATEFUL_ADDRESS}");
        let scene = Served::new(world, attachment, &changes)?;
        let client = &scene.client;
        let dhclient = start(client, &["-6"])?;
        client.has_address(STATEFUL_ADDRESS.parse()?)?;
        client.resolves_by(&[
            "search example.org. example.net.",
            "nameserver 2001:db8:77::53",
        ])?;
        for kind in [
            v6::MessageType::Solicit,
            v6::MessageType::Advertise,
            v6::MessageType::Request,
            v6::MessageType::Reply,
        ] {
            client.wire.carries_dhcpv6(kind, SOON)?;
        }

        until("the lease is written down", SOON, || {
            Ok(client
                .namespace
                .read("/var/lib/dhcp/leases")?
                .contains("iaaddr"))
        })?;

        // Started again it asks whether it is still on its link (RFC 8415 §18.2.3).
        dhclient.signal(Signal::SIGKILL)?;
        client.wire.forget();
        let dhclient = start_again(client, &["-6"])?;
        client.wire.carries_dhcpv6(v6::MessageType::Confirm, SOON)?;
        client.wire.carries_dhcpv6(v6::MessageType::Reply, SOON)?;

        dhclient.signal(Signal::SIGKILL)?;
        client.wire.forget();
        let mut release = start_again(client, &["-6", "-r"])?;
        release.success(SOON)?;
        client.wire.carries_dhcpv6(v6::MessageType::Release, SOON)?;
        client.wire.carries_dhcpv6(v6::MessageType::Reply, SOON)?;
        scene.nothing_leaked()
    });
}

#[test]
fn dhclient_6_gets_confirms_and_releases_its_address_bridged() {
    gets_a_stateful_ipv6_address(Attachment::Bridged);
}

#[test]
fn dhclient_6_gets_confirms_and_releases_its_address_routed() {
    gets_a_stateful_ipv6_address(Attachment::Routed);
}

#[test]
fn dhclient_6_stateless_gets_name_servers_and_search_list() {
    in_world(TOOLS, |world| {
        let scene = Served::new(world, Attachment::Bridged, "MODE6=stateless")?;
        let _dhclient = start(&scene.client, &["-6", "-S"])?;
        let lines = [
            "search example.org. example.net.",
            "nameserver 2001:db8:77::53",
        ];
        scene.client.resolves_by(&lines)?;
        scene
            .client
            .wire
            .carries_dhcpv6(v6::MessageType::InformationRequest, SOON)?;
        scene.nothing_leaked()
    });
}

#[test]
fn dhclient_6_renews_and_rebinds_its_address() {
    in_world(TOOLS, |world| {
        let lifetimes = "[dhcpv6]\npreferred_lifetime = 10\nvalid_lifetime = 20\n";
        let configuration = format!("{}{lifetimes}", system_tests::served::CONFIGURATION);
        let changes = format!("MODE6=stateful\nIP6={STATEFUL_ADDRESS}");
        let scene = Served::configured(world, Attachment::Bridged, &changes, &configuration)?;
        let client = &scene.client;
        let _dhclient = start(client, &["-6"])?;
        client.has_address(STATEFUL_ADDRESS.parse()?)?;
        client.wire.carries_dhcpv6(v6::MessageType::Renew, SOON)?;

        // With nobody to answer the renewal it turns to any server (RFC 8415 §18.2.5).
        scene.nfdhcpd.program.signal(Signal::SIGSTOP)?;
        client.wire.forget();
        client.wire.carries_dhcpv6(v6::MessageType::Rebind, SOON)?;
        scene.nfdhcpd.program.signal(Signal::SIGCONT)?;
        until("the rebinding is answered", SOON, || {
            Ok(client
                .wire
                .carries_dhcpv6(v6::MessageType::Reply, SOON)
                .is_ok())
        })?;
        client.has_address(STATEFUL_ADDRESS.parse()?)?;
        scene.nothing_leaked()
    });
}
