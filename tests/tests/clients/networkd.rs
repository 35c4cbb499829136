//! systemd-networkd: DHCPv4 with a client identifier, router advertisements from its own link-local
//! address, and DHCPv6 as they say.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dhcproto::{v4, v6};
use system_tests::client::Client;
use system_tests::frame::{Message, dhcpv4_type};
use system_tests::program::Program;
use system_tests::served::{Attachment, Served};
use system_tests::wait::{SOON, until};
use system_tests::world::in_world;

const TOOLS: &[&str] = &["systemd-networkd"];

const NETWORK: &str = "\
[Match]
Name=eth0
[Network]
DHCP=yes
IPv6AcceptRA=yes
IPv6LinkLocalAddressGenerationMode=random
[DHCPv4]
UseMTU=yes
UseDomains=yes
[DHCPv6]
UseDomains=yes
[IPv6AcceptRA]
UseMTU=yes
UseDomains=yes
";

/// Without init and udev: a read-only /sys tells networkd that nobody will announce devices.
fn start(client: &Client) -> Result<Program> {
    client
        .namespace
        .write("/run/systemd/network/eth0.network", NETWORK)?;
    client
        .namespace
        .run("mount", &["-o", "remount,ro", "/sys"])?;
    client.start("/lib/systemd/systemd-networkd", &[])
}

fn gets_what_its_binding_says(attachment: Attachment) {
    in_world(TOOLS, |world| {
        let changes = "MODE6=stateful\nIP6=2001:db8:77::10\nLEASE=60";
        let scene = Served::new(world, attachment, changes)?;
        let client = &scene.client;
        let _networkd = start(client)?;
        scene.client_is_configured()?;
        client.has_route("-4", "default", "10.77.0.1")?;
        client.has_route("-4", "198.51.100.0/24", "10.77.0.254")?;
        client.has_address("2001:db8:77::10".parse()?)?;
        client.wire.carries_dhcpv6(v6::MessageType::Reply, SOON)?;
        let index = client.namespace.ip_json("link show dev eth0")?;
        let index = index.first().and_then(|link| link.get("ifindex")).cloned();
        let index = index.unwrap_or_default();
        let state = || {
            client
                .namespace
                .read(&format!("/run/systemd/netif/links/{index}"))
        };
        until("networkd knows name servers and domains", SOON, || {
            let state = state()?;
            let known = |word: &str| state.contains(word);
            Ok(known("10.77.0.53") && known("2001:db8:77::53") && known("example.org"))
        })
        .with_context(|| state().unwrap_or_default())?;
        let lease = client
            .namespace
            .read(&format!("/run/systemd/netif/leases/{index}"))?;
        for line in [
            "HOSTNAME=web1.example.org",
            "MTU=1450",
            "SERVER_ADDRESS=10.77.0.1",
        ] {
            ensure!(
                lease.lines().any(|had| had == line),
                "the lease has no {line}:\n{lease}"
            );
        }

        // Half of the lease later it renews by itself.
        client.wire.forget();
        let soon = Duration::from_secs(45);
        let renewal = client.wire.carries_dhcpv4(v4::MessageType::Request, soon)?;
        ensure!(
            renewal.ciaddr().octets() == [10, 77, 0, 2],
            "renewing, it names its address"
        );
        client.wire.carries_dhcpv4(v4::MessageType::Ack, SOON)?;
        scene.nothing_leaked()
    });
}

#[test]
fn networkd_gets_and_renews_what_its_binding_says_bridged() {
    gets_what_its_binding_says(Attachment::Bridged);
}

#[test]
fn networkd_gets_and_renews_what_its_binding_says_routed() {
    gets_what_its_binding_says(Attachment::Routed);
}

/// By its own clock, as RFC 2131 §4.4.5 has it: at T1 it asks its server, which never hears of it, at T2 anybody.
#[test]
fn networkd_rebinds_when_its_renewals_are_lost() {
    in_world(&[TOOLS, &["nft"]].concat(), |world| {
        let scene = Served::new(world, Attachment::Bridged, "LEASE=60")?;
        let client = &scene.client;
        for rule in [
            "add table netdev lost",
            "add chain netdev lost egress { type filter hook egress device eth0 priority 0; }",
            "add rule netdev lost egress ether daddr != ff:ff:ff:ff:ff:ff udp dport 67 counter drop",
        ] {
            client.namespace.run("nft", &[rule])?;
        }
        let _networkd = start(client)?;
        scene.client_is_configured()?;
        client.wire.forget();
        let lease = Duration::from_secs(60);
        let rebinding = client
            .wire
            .carries_dhcpv4(v4::MessageType::Request, lease + SOON)?;
        ensure!(
            rebinding.ciaddr().octets() == [10, 77, 0, 2],
            "rebinding, it names its address"
        );
        for option in [
            v4::OptionCode::RequestedIpAddress,
            v4::OptionCode::ServerIdentifier,
        ] {
            let had = rebinding.opts().get(option);
            ensure!(had.is_none(), "rebinding, it names no {option:?}: {had:?}");
        }
        let answer = client.wire.carries_dhcpv4(v4::MessageType::Ack, SOON)?;
        ensure!(answer.yiaddr().octets() == [10, 77, 0, 2]);
        let lost = client.namespace.run("nft", &["list", "ruleset"])?;
        ensure!(!lost.contains("packets 0 "), "no renewal was tried: {lost}");
        client.has_address([10, 77, 0, 2].into())?;
        for (_, message) in client.wire.messages() {
            let Message::Dhcpv4(message) = message else {
                continue;
            };
            let kind = dhcpv4_type(&message);
            ensure!(
                matches!(kind, Some(v4::MessageType::Request | v4::MessageType::Ack)),
                "neither asked anew nor refused: {message}"
            );
        }
        scene.nothing_leaked()
    });
}
