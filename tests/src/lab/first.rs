//! A lab's first process: init of the pid namespace that holds everything, and owner of the tmpfs all places write to.
//!
//! Nobody enters it: it sees the machine's own files. The switch shares its network.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;

use super::layout::{
    self, BRIDGE, BRIDGE_UPLINK, BRIDGED_NETWORK, BROKER, ROUTED_BRIDGE, ROUTED_NETWORK,
    ROUTED_UPLINK,
};
use super::state::{self, Order, Running, State};
use super::{birth, install};

/// How much the places of a lab may write in all. Memory is taken for what is written only.
const ROOM: &str = "size=8g,mode=755";

const NONE: Option<&str> = None;

/// The part of the lab's folder that is the tmpfs; empty for those outside.
pub(super) fn own(folder: &Path) -> PathBuf {
    folder.join("own")
}

/// The `/proc` of who started the lab.
pub(super) fn outer_proc(folder: &Path) -> PathBuf {
    own(folder).join("outer-proc")
}

/// What our packages bring.
pub(super) fn packages(folder: &Path) -> PathBuf {
    own(folder).join("packages")
}

/// Makes the lab, tells of it on stdout, and stays.
///
/// # Errors
/// When a part cannot be made; everything goes with the process then.
pub fn run(folder: &Path) -> Result<Infallible> {
    let first = birth::announce(Path::new("/proc"))?;
    let (since, _) = state::started(first).context("read when this process was started")?;
    let order = State::order(folder)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("private mounts")?;
    let own = own(folder);
    fs::create_dir(&own).with_context(|| format!("create {}", own.display()))?;
    mount(
        Some("lab"),
        &own,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(ROOM),
    )
    .context("mount a tmpfs")?;
    let outer = outer_proc(folder);
    fs::create_dir(&outer)?;
    mount(Some("/proc"), &outer, NONE, MsFlags::MS_BIND, NONE).context("keep the outer /proc")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), NONE).context("mount /proc")?;
    fs::write("/proc/sys/kernel/hostname", "lab").context("set the host name")?;

    let installed = install::lay_out(&order.programs, &packages(folder))?;
    wire()?;
    let mut places = Vec::new();
    let names = (1..=order.nodes).map(layout::node);
    let broker = order.broker.then(|| BROKER.to_owned());
    for name in names.chain([layout::SWITCH.to_owned()]).chain(broker) {
        let pid = start_place(&order, folder, &name).with_context(|| format!("start {name}"))?;
        places.push((name, pid));
    }
    let running = Running {
        id: order.id,
        first,
        since,
        places,
        installed,
    };
    State::in_folder(folder)?.write_running(&running)?;
    birth::say(&serde_json::to_string(&running)?)?;
    let null = fs::File::options().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(null).context("close stdout")?;
    let folder = folder.to_owned();
    thread::spawn(move || {
        if !birth::may_stay() {
            // Nobody is left to tell of a failure; everything in the lab ends with this process.
            let _ = leave_nothing(&folder);
            std::process::exit(1);
        }
    });
    reap()
}

/// Removes the lab's folder, and nothing of what is mounted in it.
fn leave_nothing(folder: &Path) -> Result<()> {
    umount2(&own(folder), MntFlags::MNT_DETACH).context("unmount the tmpfs")?;
    State::in_folder(folder)?.remove()
}

/// The switch's bridges, with the routers of the VMs' networks.
fn wire() -> Result<()> {
    ip("link set lo up")?;
    for bridge in [BRIDGE, ROUTED_BRIDGE] {
        ip(&format!(
            "link add {bridge} type bridge stp_state 0 forward_delay 0"
        ))?;
        ip(&format!("link set {bridge} up"))?;
    }
    ip(&format!(
        "addr add {}/24 dev {BRIDGE}",
        layout::SWITCH_ADDRESS
    ))?;
    for (network, bridge) in [(BRIDGED_NETWORK, BRIDGE), (ROUTED_NETWORK, ROUTED_BRIDGE)] {
        ip(&format!("addr add {}/24 dev {bridge}", network.router))?;
        ip(&format!(
            "addr add {}/64 dev {bridge} nodad",
            network.router6
        ))?;
    }
    Ok(())
}

/// A place's wires: its own end, the switch's end, and the switch's bridge.
fn wires(name: &str) -> Vec<(&'static str, String, &'static str)> {
    match (layout::number(name), name) {
        (Some(number), _) => vec![
            (BRIDGE_UPLINK, format!("n{number}a"), BRIDGE),
            (ROUTED_UPLINK, format!("n{number}b"), ROUTED_BRIDGE),
        ],
        (None, BROKER) => vec![(BRIDGE_UPLINK, BROKER.to_owned(), BRIDGE)],
        (None, _) => Vec::new(),
    }
}

/// Starts a place's own first process and gives it its wires; one without any shares our network.
fn start_place(order: &Order, folder: &Path, name: &str) -> Result<i32> {
    let mut command = Command::new(order.programs.join("lab"));
    command.arg("boot").arg(folder).arg(name);
    let wires = wires(name);
    let kinds = match wires.as_slice() {
        [] => birth::EVERYTHING,
        _ => birth::EVERYTHING.union(CloneFlags::CLONE_NEWNET),
    };
    let born = birth::start(command, kinds, &folder.join("log"))?;
    let network = outer_proc(folder).join(format!("{}/ns/net", born.pid));
    for (uplink, end, bridge) in wires {
        ip(&format!(
            "link add {end} type veth peer name {uplink} netns {}",
            network.display()
        ))?;
        ip(&format!("link set {end} master {bridge} up"))?;
    }
    let pid = born.pid;
    let (_, answer) = born.go()?;
    ensure!(answer == super::boot::READY, "it says {answer:?}");
    Ok(pid)
}

/// Runs `ip` with the words of `arguments`, here.
pub(super) fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .context("start ip")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {errors}");
    Ok(())
}

/// Collects what ends, for ever: what has lost its parent becomes a child of this process.
fn reap() -> Result<Infallible> {
    loop {
        match nix::sys::wait::wait() {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::ECHILD) => nix::unistd::pause(),
            Err(error) => return Err(error).context("wait for children"),
        }
    }
}
