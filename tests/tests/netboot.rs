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

const FIRST: &str = "#!ipxe\nchain http://10.77.0.1/second.ipxe\n";
/// The effect of the downloaded script: it asks for a file whose name says what the machine was given.
const SECOND: &str = "#!ipxe\nimgfetch http://10.77.0.1/done/${ip}/${netmask}/${gateway}/${dns}/${hostname} ||\n\
                      sleep 3600\n";

fn boots(changes: &str, first: &str) {
    in_world(TOOLS, |world| {
        let scene = Served::new(world, Attachment::Bridged, changes)?;
        scene.client.wire.unplug()?;
        let files = [
            ("first.ipxe", FIRST.to_owned()),
            ("second.ipxe", SECOND.to_owned()),
        ];
        let address = Ipv4Addr::new(10, 77, 0, 1);
        let server = BootServer::start(&scene.router.namespace, address, &files)?;
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

#[test]
fn ipxe_runs_a_script_from_tftp() {
    boots(
        "BOOT_SERVER=10.77.0.1\nBOOT_FILE_IPXE=first.ipxe",
        "tftp first.ipxe",
    );
}

#[test]
fn ipxe_runs_a_script_from_http() {
    boots(
        "BOOT_FILE_IPXE=http://10.77.0.1/first.ipxe",
        "http /first.ipxe",
    );
}
