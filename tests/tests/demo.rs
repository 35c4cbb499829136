//! The demo is a test too: two real guests, wired by the real snf-ifup, get what their bindings say.

use std::process::Command;

use anyhow::{Context, ensure};
use system_tests::world::can_run;

#[test]
fn both_guests_of_the_demo_get_their_addresses() -> anyhow::Result<()> {
    if !can_run(&["qemu-system-x86_64"]) {
        return Ok(());
    }
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .output()
        .context("run the demo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{said}{errors}", output.status);
    for part in [
        "DHCPDISCOVER",
        "DHCPACK 10.77.0.2",
        "router advertisement prefix 2001:db8:77::/64, no default router",
        "ping 10.77.0.2: answered",
        "ping 2001:db8:77:0:a800:77ff:fe51:adbc: answered",
        "DHCPACK 10.79.0.2",
        "default router fe80::ce47:52ff:fe4e:4554",
        "ping 10.79.0.2: answered",
        "ping 2001:db8:79:0:a800:ff:fe63:bc42: answered",
        "nfdhcpd ctl show tap1",
    ] {
        ensure!(said.contains(part), "no {part:?} in:\n{said}");
    }
    Ok(())
}
