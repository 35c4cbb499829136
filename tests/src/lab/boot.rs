//! A place's first process: gives it a root, a name and what belongs to its kind, starts what runs in it, and stays as
//! its init.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};

use super::layout::{self, BROKER};
use super::place::MARKER;
use super::service::Services;
use super::state::{Order, State};
use super::{birth, broker, first, node, root};

/// What a place's first process says when the place stands.
pub(super) const READY: &str = "ready";

const NONE: Option<&str> = None;

/// Makes the place `name` of the lab in `folder`, says so on stdout, and stays.
///
/// # Errors
/// When a part cannot be made.
pub fn run(folder: &Path, name: &str) -> Result<Infallible> {
    birth::announce(&first::outer_proc(folder))?;
    let order = State::order(folder)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("private mounts")?;
    root::enter(&root::make(&order, folder, name)?)?;
    write(MARKER, &format!("{} {name}\n", order.id))?;
    write("/proc/sys/kernel/hostname", &layout::full_name(name))?;
    names(&order, name)?;
    let mut services = match (layout::number(name), name) {
        (Some(number), _) => node::furnish(number)?,
        (None, BROKER) => broker::furnish()?,
        (None, _) => Services::default(),
    };
    services.tend();
    birth::say(READY)?;
    let null = fs::File::options().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(null).context("close stdout")?;
    services.run()
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

/// Writes a file, here.
pub(super) fn write(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {path}"))
}

/// Runs a program to its end, here.
pub(super) fn run_tool(program: &str, arguments: &[&str]) -> Result<()> {
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
