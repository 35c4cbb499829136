//! Live migration: a VM moves to another host, where another nfdhcpd answers it, and notices nothing.

use anyhow::{Result, ensure};
use dhcproto::v4;
use dhcproto::v6;
use nix::sys::signal::Signal;
use system_tests::client::{CARD, Client};
use system_tests::frame::{Message, dhcpv4_type, read};
use system_tests::ganeti::TABLE;
use system_tests::host::{Host, Nfdhcpd};
use system_tests::served::{Attachment, MAC, ROUTED_TAP_MAC, ROUTER_MAC, binding};
use system_tests::tap::Tap;
use system_tests::wait::SOON;
use system_tests::world::{World, in_world};

const CONFIGURATION: &str = "\
user = \"nobody\"
[dhcpv6]
preferred_lifetime = 20
valid_lifetime = 40
";
const ADDRESS6: &str = "2001:db8:77::10";
const SCRIPT: &str = "#!/bin/sh\nenv > /run/$1\nexec /etc/udhcpc/default.script \"$@\"\n";

/// A host with one TAP, its uplink in the hands of a router of the same address everywhere.
struct Node {
    tap: Tap,
    _nfdhcpd: Nfdhcpd,
    _router: Client,
    _host: Host,
}

fn node(world: &World, name: &str, attachment: Attachment, tap: &str) -> Result<Node> {
    let host = Host::new(world, name)?;
    let (uplink, address) = match attachment {
        Attachment::Bridged => (host.bridge("br0")?, "10.77.0.1/24"),
        Attachment::Routed => {
            let uplink = host.uplink("up1")?;
            host.routed_network("up1")?;
            (uplink, "10.79.0.1/24")
        }
    };
    // Another device first, so that nothing depends on interface indexes being the same.
    let _other = (name == "target").then(|| host.tap("tap7")).transpose()?;
    let far = match attachment {
        Attachment::Bridged => host.bridged_tap(tap, "br0")?,
        Attachment::Routed => {
            let far = host.tap(tap)?;
            host.namespace
                .ip(&format!("link set {tap} address cc:47:52:4e:45:54 up"))?;
            host.namespace
                .ip(&format!("rule add iif {tap} lookup {TABLE}"))?;
            host.namespace
                .ip(&format!("route add 10.77.0.2 dev {tap} table {TABLE}"))?;
            host.namespace
                .sysctl(&format!("net/ipv4/conf/{tap}/proxy_arp"), "1")?;
            host.namespace
                .sysctl(&format!("net/ipv4/neigh/{tap}/proxy_delay"), "0")?;
            far
        }
    };
    let router = Client::new(world, &format!("router-{name}"), ROUTER_MAC, &uplink)?;
    router
        .namespace
        .ip(&format!("addr add {address} dev {CARD}"))?;
    let nfdhcpd = host.nfdhcpd(CONFIGURATION)?;
    host.bind(tap, &binding(&format!("MODE6=stateful\nIP6={ADDRESS6}")))?;
    nfdhcpd.serves(tap)?;
    Ok(Node {
        tap: far,
        _nfdhcpd: nfdhcpd,
        _router: router,
        _host: host,
    })
}

fn moves_and_notices_nothing(attachment: Attachment) {
    in_world(&["udhcpc", "busybox", "dhclient"], |world| {
        let source = node(world, "source", attachment, "tap0")?;
        let client = Client::new(world, "vm", MAC, &source.tap)?;
        client.namespace.ip("link set eth0 down")?;
        client.slaac()?;
        client.namespace.ip("link set eth0 up")?;
        client.has_link_local_address()?;
        client.namespace.write("/run/script", SCRIPT)?;
        client.namespace.run("chmod", &["755", "/run/script"])?;
        let udhcpc = client.start(
            "udhcpc",
            &["-f", "-i", CARD, "-s", "/run/script", "-A", "1"],
        )?;
        let leases = ["-lf", "/var/lib/dhcp/leases", "-pf", "/run/dhclient.pid"];
        client.namespace.write("/var/lib/dhcp/leases", "")?;
        let _dhclient =
            client.start("dhclient", &[&["-6", "-d"], &leases[..], &[CARD]].concat())?;
        client.has_address([10, 77, 0, 2].into())?;
        client.has_address(ADDRESS6.parse()?)?;
        if attachment == Attachment::Routed {
            client.has_route("-6", "default", "fe80::ce47:52ff:fe4e:4554")?;
        }
        let routes = client.gateway("-6", "default")?;

        let target = node(world, "target", attachment, "tap3")?;
        client.wire.plug(&target.tap)?;
        client.wire.forget();
        drop(source);

        udhcpc.signal(Signal::SIGUSR1)?;
        client.wire.carries_dhcpv4(v4::MessageType::Ack, SOON)?;
        client.wire.carries_dhcpv6(v6::MessageType::Renew, SOON)?;
        client.wire.carries_dhcpv6(v6::MessageType::Reply, SOON)?;
        for (_, message) in client.wire.messages() {
            if let Message::Dhcpv4(message) = &message {
                let kind = dhcpv4_type(message);
                let noticed = [v4::MessageType::Nak, v4::MessageType::Discover];
                let noticed = kind.is_some_and(|kind| noticed.contains(&kind));
                ensure!(!noticed, "the VM was refused or had to ask anew: {message}");
            }
            if let Message::Dhcpv6(message) = &message {
                let kind = message.msg_type();
                ensure!(
                    kind != v6::MessageType::Solicit,
                    "the VM had to solicit anew"
                );
            }
        }
        let after = client.gateway("-6", "default")?;
        ensure!(
            after == routes,
            "the default route was {routes:?} and is {after:?}"
        );
        client.has_route("-4", "default", "10.77.0.1")?;
        client.has_address(ADDRESS6.parse()?)?;
        Ok(())
    });
}

#[test]
fn a_bridged_vm_renews_at_its_new_host() {
    moves_and_notices_nothing(Attachment::Bridged);
}

#[test]
fn a_routed_vm_renews_at_its_new_host() {
    moves_and_notices_nothing(Attachment::Routed);
}

/// What the binding says must be enough: nothing of the host's own may get in.
#[test]
fn two_hosts_tell_a_vm_the_same() {
    in_world(&[], |world| {
        let mut told = Vec::new();
        for name in ["source", "target"] {
            let node = node(world, name, Attachment::Routed, "tap0")?;
            let mut answers = Vec::new();
            for frame in [
                system_tests::frame::build::discover(MAC, 1)?,
                system_tests::frame::build::router_solicitation(MAC)?,
            ] {
                node.tap.send(&frame)?;
                answers.push(node.tap.expect("an answer", SOON, |frame| {
                    // To the VM alone: advertisements to all come when they come.
                    let addressed = [MAC.octets(), ROUTED_TAP_MAC.octets()].concat();
                    let ours = frame.get(..12) == Some(&addressed) && read(frame).is_some();
                    ours.then(|| frame.to_vec())
                })?);
            }
            told.push(answers);
        }
        ensure!(
            told.first() == told.last(),
            "the hosts tell different things: {told:?}"
        );
        Ok(())
    });
}
