//! A place's first process: gives it a root, a name, a network and files, starts what runs in it, and stays as its init.
//!
//! The root is an overlay: what our packages bring over the machine's own root file system, and what is written, on the
//! lab's tmpfs, over both. Some of the machine's directories are hidden: its users' homes, its keys, its logs.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, mknod};

use super::first::{self, ip};
use super::layout::{self, BRIDGE, BRIDGE_UPLINK, ROUTED_UPLINK};
use super::place::MARKER;
use super::service::Services;
use super::state::{Order, State};
use super::{birth, install, snapshot};
use crate::ganeti;

/// What a place's first process says when the place stands.
pub(super) const READY: &str = "ready";

/// Where the guest's kernel and initramfs are in a node.
pub const GUEST: &str = "/srv/snf-guest";

/// Directories of the machine that no place sees, and the rights of the empty ones it gets.
const HIDDEN: [(&str, u32); 8] = [
    ("root", 0o700),
    ("home", 0o755),
    ("srv", 0o755),
    ("mnt", 0o755),
    ("tmp", 0o1777),
    ("var/lib/ganeti", 0o750),
    ("var/lib/nfdhcpd", 0o755),
    ("var/log/ganeti", 0o755),
];

const NONE: Option<&str> = None;

fn folder_of(folder: &Path, place: &str) -> PathBuf {
    first::own(folder).join("places").join(place)
}

/// The overlay's upper directory: what was written in the place.
pub(super) fn upper(folder: &Path, place: &str) -> PathBuf {
    folder_of(folder, place).join("upper")
}

/// Makes the place `name` of the lab in `folder`, says so on stdout, and stays.
///
/// # Errors
/// When a part cannot be made.
pub fn run(folder: &Path, name: &str) -> Result<Infallible> {
    birth::announce(&first::outer_proc(folder))?;
    let order = State::order(folder)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("private mounts")?;
    let root = root(&order, folder, name)?;
    enter(&root)?;
    fs::write(MARKER, format!("{} {name}\n", order.id)).context("write the marker")?;
    write("/proc/sys/kernel/hostname", &layout::full_name(name))?;
    names(&order, name)?;
    let mut services = Services::default();
    if let Some(number) = layout::number(name) {
        network(number)?;
        secure_shell()?;
        ganeti_files()?;
        for users in install::users() {
            run_tool("systemd-sysusers", &[&users])?;
        }
        services = Services::find(&install::units())?;
        services.tend();
    }
    birth::say(READY)?;
    let null = fs::File::options().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(null).context("close stdout")?;
    services.run()
}

/// Mounts the place's root, with all that belongs below it.
fn root(order: &Order, folder: &Path, name: &str) -> Result<PathBuf> {
    let own = folder_of(folder, name);
    let (upper, work, root) = (own.join("upper"), own.join("work"), own.join("root"));
    for directory in [&upper, &work, &root] {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    let saved = layout::number(name).and(order.snapshot.as_deref());
    match saved {
        Some(file) => {
            snapshot::unpack(file, name, &upper)?;
            install::uncover(&upper)?;
        }
        None => hide(&upper)?,
    }
    let options = format!(
        "lowerdir={}:/,upperdir={},workdir={}",
        first::packages(folder).display(),
        upper.display(),
        work.display()
    );
    let options = Some(options.as_str());
    mount(
        Some("overlay"),
        &root,
        Some("overlay"),
        MsFlags::empty(),
        options,
    )
    .context("mount an overlay")?;
    for (directory, mode) in HIDDEN {
        let directory = root.join(directory);
        if !directory.exists() {
            fs::create_dir_all(&directory)?;
            fs::set_permissions(&directory, PermissionsExt::from_mode(mode))?;
        }
    }
    below(order, &root)?;
    Ok(root)
}

/// Hides the machine's directories: a device 0:0 in the upper part stands for what is not there.
fn hide(upper: &Path) -> Result<()> {
    for (directory, _) in HIDDEN {
        let place = upper.join(directory);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        mknod(&place, SFlag::S_IFCHR, Mode::empty(), 0)
            .with_context(|| format!("hide {directory}"))?;
    }
    Ok(())
}

/// The file systems below a root.
fn below(order: &Order, root: &Path) -> Result<()> {
    let place = |name: &str| -> Result<PathBuf> {
        let place = root.join(name);
        fs::create_dir_all(&place).with_context(|| format!("create {}", place.display()))?;
        Ok(place)
    };
    let tmpfs = |name, options| {
        mount(
            Some("tmpfs"),
            &place(name)?,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options),
        )
        .with_context(|| format!("mount /{name}"))
    };
    mount(
        Some("proc"),
        &place("proc")?,
        Some("proc"),
        MsFlags::empty(),
        NONE,
    )
    .context("mount /proc")?;
    mount(
        Some("sysfs"),
        &place("sys")?,
        Some("sysfs"),
        MsFlags::empty(),
        NONE,
    )
    .context("mount /sys")?;
    mount(
        Some("/dev"),
        &place("dev")?,
        NONE,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        NONE,
    )
    .context("bind /dev")?;
    tmpfs("dev/shm", "mode=1777")?;
    tmpfs("run", "mode=755")?;
    for (directory, mode) in [("lock", 0o1777), ("sshd", 0o755), ("ganeti", 0o775)] {
        let directory = place(&format!("run/{directory}"))?;
        fs::set_permissions(directory, PermissionsExt::from_mode(mode))?;
    }
    mount(
        Some(&order.guest),
        &place(GUEST.trim_start_matches('/'))?,
        NONE,
        MsFlags::MS_BIND,
        NONE,
    )
    .context("bind the guest's kernel")
}

/// Makes `root` the root of this process, and what was the root go away.
fn enter(root: &Path) -> Result<()> {
    std::env::set_current_dir(root).context("enter the root")?;
    match nix::unistd::pivot_root(".", ".") {
        Ok(()) => umount2(".", MntFlags::MNT_DETACH).context("leave the machine's root")?,
        // The machine's root is no mount of its own: we are in a chroot.
        Err(nix::errno::Errno::EINVAL) => {
            nix::unistd::chroot(".").context("change the root")?;
        }
        Err(error) => return Err(error).context("change the root"),
    }
    std::env::set_current_dir("/").context("go to the root")
}

/// Host name and names of others.
fn names(order: &Order, name: &str) -> Result<()> {
    write("/etc/hostname", &format!("{}\n", layout::full_name(name)))?;
    write("/etc/hosts", &layout::hosts(order.nodes))?;
    // May be a link to where no file is here. Empty: unknown names are told at once.
    let _ = fs::remove_file("/etc/resolv.conf");
    write("/etc/resolv.conf", "")?;
    let text = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("hosts:"))
        .collect();
    lines.push("hosts: files");
    write("/etc/nsswitch.conf", &(lines.join("\n") + "\n"))
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

fn write(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {path}"))
}

fn run_tool(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("start {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {}: {errors}",
        arguments.join(" ")
    );
    Ok(())
}
