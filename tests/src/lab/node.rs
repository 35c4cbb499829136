//! What belongs to a node before it is one of a cluster: its network, its secure shell, its services.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::Result;

use super::boot::{run_tool, write};
use super::first::ip;
use super::install;
use super::layout::{self, BRIDGE, BRIDGE_UPLINK, ROUTED_UPLINK};
use super::service::Services;
use crate::ganeti;

/// Furnishes node `number`, here; its services are still to be started.
pub(super) fn furnish(number: usize) -> Result<Services> {
    network(number)?;
    secure_shell()?;
    ganeti_files()?;
    for users in install::users() {
        run_tool("systemd-sysusers", &[&users])?;
    }
    Services::find(&install::units())
}

/// The bridge with the node's address, and what routed networks stand on.
fn network(number: usize) -> Result<()> {
    for family in ["ip", "ip6", "arp"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}tables");
        if Path::new(&path).exists() {
            write(&path, "0")?;
        }
    }
    for step in [
        "link set lo up".to_owned(),
        format!("link add {BRIDGE} type bridge stp_state 0 forward_delay 0"),
        format!("link set {BRIDGE_UPLINK} master {BRIDGE} up"),
        format!("addr add {}/24 dev {BRIDGE}", layout::address(number)),
        format!("link set {BRIDGE} up"),
        format!("link set {ROUTED_UPLINK} up"),
        format!("route add default via {}", layout::SWITCH_ADDRESS),
    ] {
        ip(&step)?;
    }
    let own = format!("10.79.0.{}/24", 240 + number);
    write("/etc/iproute2/rt_tables", &ganeti::routing_tables())?;
    for parameter in ganeti::routed_parameters(ROUTED_UPLINK) {
        write(&format!("/proc/sys/{parameter}"), "1")?;
    }
    for step in ganeti::routed_steps(ROUTED_UPLINK, &own) {
        ip(&step)?;
    }
    Ok(())
}

/// Ganeti's own way between its nodes.
fn secure_shell() -> Result<()> {
    fs::create_dir_all("/root/.ssh")?;
    fs::set_permissions("/root/.ssh", PermissionsExt::from_mode(0o700))?;
    run_tool("ssh-keygen", &["-A"])?;
    write(
        "/etc/ssh/sshd_config",
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\nSubsystem sftp internal-sftp\n",
    )?;
    run_tool("/usr/sbin/sshd", &["-E", "/var/log/sshd.log"])
}

/// What has to be there before a node becomes one.
fn ganeti_files() -> Result<()> {
    let storage = [
        "/srv/ganeti/file-storage",
        "/srv/ganeti/shared-file-storage",
    ];
    for directory in storage {
        fs::create_dir_all(directory)?;
    }
    write(
        "/etc/ganeti/file-storage-paths",
        &(storage.join("\n") + "\n"),
    )?;
    fs::set_permissions(
        "/etc/ganeti/file-storage-paths",
        PermissionsExt::from_mode(0o600),
    )?;
    // Debian's default listens on the loopback only.
    let path = "/etc/default/ganeti";
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("RAPI_ARGS="))
        .collect();
    lines.push("RAPI_ARGS=\"--require-authentication\"");
    write(path, &(lines.join("\n") + "\n"))?;
    os_definition()
}

/// An OS that installs nothing: instances have to have one.
fn os_definition() -> Result<()> {
    let folder = Path::new("/srv/ganeti/os/noop");
    fs::create_dir_all(folder)?;
    for (name, text) in [
        ("ganeti_api_version", "20\n"),
        ("variants.list", "default\n"),
        (
            "parameters.list",
            "img_id the image\nimg_passwd its password\nimg_format its format\nimg_properties its properties\n",
        ),
        ("create", "#!/bin/sh\n"),
    ] {
        write(&folder.join(name).to_string_lossy(), text)?;
    }
    fs::set_permissions(folder.join("create"), PermissionsExt::from_mode(0o755))?;
    for name in ["import", "export", "rename", "verify"] {
        let link = folder.join(name);
        if !link.exists() {
            symlink("create", link)?;
        }
    }
    Ok(())
}
