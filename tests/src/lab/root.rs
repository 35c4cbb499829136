//! A place's root: an overlay of what our packages bring over the machine's own root file system, and of what is written,
//! on the lab's tmpfs, over both. Some of the machine's directories are hidden: its users' homes, its logs, its data.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, mknod};

use super::state::Order;
use super::{first, install, layout, snapshot};

/// Where the guest's kernel and initramfs are in a node.
pub(super) const GUEST: &str = "/srv/snf-guest";

/// Directories of the machine that no place sees, and the rights of the empty ones it gets.
const HIDDEN: [(&str, u32); 11] = [
    ("root", 0o700),
    ("home", 0o755),
    ("srv", 0o755),
    ("mnt", 0o755),
    ("tmp", 0o1777),
    ("etc/rabbitmq", 0o755),
    ("var/lib/ganeti", 0o750),
    ("var/lib/nfdhcpd", 0o755),
    ("var/lib/rabbitmq", 0o755),
    ("var/log/ganeti", 0o755),
    ("var/log/rabbitmq", 0o755),
];

/// Directories of `/run` that daemons expect, and their rights.
const RUNTIME: [(&str, u32); 3] = [("lock", 0o1777), ("sshd", 0o755), ("ganeti", 0o775)];

const NONE: Option<&str> = None;

fn folder_of(folder: &Path, place: &str) -> PathBuf {
    first::own(folder).join("places").join(place)
}

/// The overlay's upper directory: what was written in the place.
pub(super) fn upper(folder: &Path, place: &str) -> PathBuf {
    folder_of(folder, place).join("upper")
}

/// Mounts a place's root, with all that belongs below it, and tells where.
pub(super) fn make(order: &Order, folder: &Path, name: &str) -> Result<PathBuf> {
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
    attach("overlay", &root, &options)?;
    for (directory, mode) in HIDDEN {
        let directory = root.join(directory);
        if !directory.exists() {
            make_directory(&directory, mode)?;
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
    attach("proc", &root.join("proc"), "")?;
    attach("sysfs", &root.join("sys"), "")?;
    bind(Path::new("/dev"), &root.join("dev"))?;
    attach("tmpfs", &root.join("dev/shm"), "mode=1777")?;
    attach("tmpfs", &root.join("run"), "mode=755")?;
    for (directory, mode) in RUNTIME {
        make_directory(&root.join("run").join(directory), mode)?;
    }
    bind(&order.guest, &root.join(GUEST.trim_start_matches('/')))
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
    Ok(fs::set_permissions(path, PermissionsExt::from_mode(mode))?)
}

/// Mounts a file system of this kind, making the place for it.
fn attach(kind: &str, place: &Path, options: &str) -> Result<()> {
    fs::create_dir_all(place).with_context(|| format!("create {}", place.display()))?;
    mount(
        Some(kind),
        place,
        Some(kind),
        MsFlags::empty(),
        Some(options),
    )
    .with_context(|| format!("mount {kind} at {}", place.display()))
}

/// Makes `source`, with what is mounted below it, be at `place` too.
fn bind(source: &Path, place: &Path) -> Result<()> {
    fs::create_dir_all(place).with_context(|| format!("create {}", place.display()))?;
    mount(
        Some(source),
        place,
        NONE,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        NONE,
    )
    .with_context(|| format!("bind {} at {}", source.display(), place.display()))
}

/// Makes `root` the root of this process, and what was the root go away.
pub(super) fn enter(root: &Path) -> Result<()> {
    std::env::set_current_dir(root).context("enter the root")?;
    nix::unistd::pivot_root(".", ".").context("change the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("leave the machine's root")?;
    std::env::set_current_dir("/").context("go to the root")
}
