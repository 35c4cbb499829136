//! The iPXE ROM of QEMU's network card: a machine without disk or kernel boots what its binding says.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use system_tests::guest::Guest;
use system_tests::netboot::BootServer;
use system_tests::served::{Attachment, MAC, Served};
use system_tests::wait::until;
use system_tests::world::in_world;

const TOOLS: &[&str] = &["qemu-system-x86_64", "/usr/lib/ipxe/qemu/efi-virtio.rom"];
/// Firmware, ROM, leases and two files, emulated on a busy machine.
const BOOT: Duration = Duration::from_secs(60);

fn boots(attachment: Attachment, binding: fn(Ipv4Addr) -> String, first: &str) {
    in_world(TOOLS, |world| {
        let server = match attachment {
            Attachment::Bridged => Ipv4Addr::new(10, 77, 0, 1),
            Attachment::Routed => Ipv4Addr::new(10, 79, 0, 1),
        };
        let scene = Served::new(world, attachment, &binding(server))?;
        scene.client.wire.unplug()?;
        if attachment == Attachment::Routed {
            let router = &scene.router.namespace;
            router.ip("route add 10.77.0.0/24 via 10.79.0.254")?;
        }
        // The effect of the scripts: a file is asked for whose name says what the machine was given.
        let given = "${ip}/${netmask}/${gateway}/${dns}/${hostname}";
        let files = [
            (
                "first.ipxe",
                format!("#!ipxe\nchain http://{server}/second.ipxe\n"),
            ),
            (
                "second.ipxe",
                format!("#!ipxe\nimgfetch http://{server}/done/{given} ||\nsleep 3600\n"),
            ),
        ];
        let server = BootServer::start(&scene.router.namespace, server, &files)?;
        let host = &scene.host.namespace;
        let machine = Guest::boot_from_network(host, "machine", scene.tap.clone(), MAC)?;
        let done = "http /done/10.77.0.2/255.255.255.0/10.77.0.1/10.77.0.53/web1.example.org";
        for asked in [first, "http /second.ipxe", done] {
            until(&format!("the machine asks for {asked}"), BOOT, || {
                Ok(server.requests().iter().any(|request| request == asked))
            })
            .with_context(|| format!("it asked for {:?}", server.requests()))
            .with_context(|| machine.qemu.output().unwrap_or_default())?;
        }
        scene.nothing_leaked()
    });
}

fn by_tftp(server: Ipv4Addr) -> String {
    format!("BOOT_SERVER={server}\nBOOT_FILE_IPXE=first.ipxe")
}

fn by_http(server: Ipv4Addr) -> String {
    format!("BOOT_FILE_IPXE=http://{server}/first.ipxe")
}

#[test]
fn ipxe_runs_a_script_from_tftp_bridged() {
    boots(Attachment::Bridged, by_tftp, "tftp first.ipxe");
}

#[test]
fn ipxe_runs_a_script_from_http_bridged() {
    boots(Attachment::Bridged, by_http, "http /first.ipxe");
}

#[test]
fn ipxe_runs_a_script_from_tftp_routed() {
    boots(Attachment::Routed, by_tftp, "tftp first.ipxe");
}
