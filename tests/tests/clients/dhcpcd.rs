//! dhcpcd with Debian's configuration and hooks, on both families.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dhcproto::v4::{Message, MessageType};
use dhcproto::v6;
use nix::sys::signal::Signal;
use system_tests::client::Client;
use system_tests::program::Program;
use system_tests::served::{Attachment, ROUTED_TAP_MAC, ROUTER_MAC, Served};
use system_tests::wait::{SOON, until};
use system_tests::world::in_world;

const TOOLS: &[&str] = &["dhcpcd"];

/// In the foreground; without the seconds it listens for others on its new address.
fn start(client: &Client, options: &[&str]) -> Result<Program> {
    client
        .namespace
        .sysctl("net/ipv6/conf/eth0/accept_ra", "0")?;
    let common = [
        "-B",
        "-d",
        "--noarp",
        "--noipv4ll",
        "-o",
        "host_name,interface_mtu",
    ];
    client.start("dhcpcd", &[&common, options, &["eth0"]].concat())
}

/// Tells dhcpcd something by a signal, again until it acts: it misses those that come while a hook of its runs.
fn told(dhcpcd: &Program, client: &Client, what: Signal, kind: MessageType) -> Result<Message> {
    client.wire.forget();
    let mut seen = Ok(None);
    until(&format!("{what} leads to a DHCPv4 {kind:?}"), SOON, || {
        dhcpcd.signal(what)?;
        seen = client
            .wire
            .carries_dhcpv4(kind, Duration::from_secs(2))
            .map(Some);
        Ok(seen.is_ok())
    })?;
    seen?.context("it was seen")
}

fn gets_what_its_binding_says(attachment: Attachment) {
    in_world(TOOLS, |world| {
        let scene = Served::new(world, attachment, "MODE6=stateless")?;
        let client = &scene.client;
        let dhcpcd = start(client, &[])?;
        scene.client_is_configured()?;
        client.has_route("-4", "default", "10.77.0.1")?;
        client.has_route("-4", "198.51.100.0/24", "10.77.0.254")?;
        client.resolves_by(&[
            "search example.org example.net",
            "nameserver 10.77.0.53",
            "nameserver 2001:db8:77::53",
        ])?;
        client.is_called("web1.example.org")?;
        until("an address in the advertised prefix", SOON, || {
            let all = client.namespace.addresses("eth0")?;
            Ok(all
                .iter()
                .any(|(address, _)| address.to_string().starts_with("2001:db8:77:0:")))
        })?;
        client
            .wire
            .carries_dhcpv6(v6::MessageType::InformationRequest, SOON)?;

        let renewal = told(&dhcpcd, client, Signal::SIGUSR1, MessageType::Request)?;
        ensure!(
            renewal.ciaddr().octets() == [10, 77, 0, 2],
            "renewing, it names its address"
        );
        client.wire.carries_dhcpv4(MessageType::Ack, SOON)?;

        told(&dhcpcd, client, Signal::SIGHUP, MessageType::Request)?; // rebind
        client.wire.carries_dhcpv4(MessageType::Ack, SOON)?;

        scene.move_to(Ipv4Addr::new(10, 77, 0, 3), "MODE6=stateless")?;
        told(&dhcpcd, client, Signal::SIGHUP, MessageType::Nak)?;
        client.has_address(IpAddr::from([10, 77, 0, 3]))?;
        client.lost_address(IpAddr::from([10, 77, 0, 2]))?;

        // It takes its address away right behind the message, which is lost if the router is not known by then.
        let router = match attachment {
            Attachment::Bridged => ROUTER_MAC,
            Attachment::Routed => ROUTED_TAP_MAC,
        };
        let known = format!("neigh replace 10.77.0.1 lladdr {router} dev eth0 nud permanent");
        client.namespace.ip(&known)?;
        told(&dhcpcd, client, Signal::SIGALRM, MessageType::Release)?;
        scene.nothing_leaked()
    });
}

#[test]
fn dhcpcd_lives_through_a_whole_lease_bridged() {
    gets_what_its_binding_says(Attachment::Bridged);
}

#[test]
fn dhcpcd_lives_through_a_whole_lease_routed() {
    gets_what_its_binding_says(Attachment::Routed);
}
