//! What a cluster has written, as one archive: a folder a node, with the overlay's marks.
//!
//! Programs of ours are not in it: they are another layer of the overlay, laid out anew for each lab. Nor is what our
//! services keep: the journal of events would be that of another time.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};

use super::{Lab, Plan, guest};
use crate::progress::Progress;

/// What a snapshot depends on, beside Ganeti's own version: what makes a cluster.
const RECIPE: [&str; 4] = [
    include_str!("cluster.rs"),
    include_str!("layout.rs"),
    include_str!("node.rs"),
    include_str!("root.rs"),
];

/// The extended attributes by which an overlay tells what it hides.
const MARKS: &str = "--xattrs-include=trusted.overlay.*";

/// Saves all nodes of `lab`.
pub(super) fn save(lab: &Lab, file: &Path, progress: &Progress) -> Result<()> {
    let running = lab.master()?.run(
        "gnt-instance",
        &[
            "list",
            "--no-headers",
            "-o",
            "name",
            "--filter",
            "oper_state",
        ],
    )?;
    let running = running.split_whitespace().collect::<Vec<_>>().join(", ");
    ensure!(
        running.is_empty(),
        "instances run, and would not after a restore: {running}"
    );
    progress.now("stopping the cluster's daemons");
    for node in lab.nodes() {
        node.run("/usr/lib/ganeti/daemon-util", &["stop-all"])?;
    }
    progress.now("saving what the nodes have written");
    let folder = file
        .parent()
        .filter(|folder| *folder != Path::new(""))
        .unwrap_or(Path::new("."));
    let new = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("make a file in {}", folder.display()))?;
    let mut command = Command::new("tar");
    command
        .args(["--create", "--xattrs", MARKS, "--numeric-owner"])
        .args(["--exclude=*/upper/var/lib/snf-*", "--file"])
        .arg(new.path());
    for node in lab.nodes() {
        let upper = lab.written(node.name());
        let places = upper
            .parent()
            .and_then(Path::parent)
            .context("a node has a folder")?;
        command
            .arg("-C")
            .arg(places)
            .arg(format!("{}/upper", node.name()));
    }
    run(&mut command)?;
    new.persist(file)
        .with_context(|| format!("keep {}", file.display()))?;
    progress.done(&format!("saved to {}", file.display()));
    Ok(())
}

/// How many nodes a snapshot has.
///
/// # Errors
/// When it cannot be read.
pub fn nodes(file: &Path) -> Result<usize> {
    ensure!(file.exists(), "there is no snapshot {}", file.display());
    let mut command = Command::new("tar");
    command
        .args(["--list", "--exclude=*/upper/*", "--file"])
        .arg(file);
    let list = run(&mut command)?;
    let count = list
        .lines()
        .filter(|line| line.ends_with("/upper/"))
        .count();
    ensure!(count > 0, "{} is no snapshot of a lab", file.display());
    Ok(count)
}

/// Puts one node's part into its upper directory.
pub(super) fn unpack(file: &Path, node: &str, upper: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args([
        "--extract",
        "--xattrs",
        MARKS,
        "--numeric-owner",
        "--same-permissions",
    ]);
    command.args(["--strip-components=2", "--file"]).arg(file);
    command.arg("-C").arg(upper).arg(format!("{node}/upper"));
    run(&mut command).map(|_| ())
}

/// A snapshot of a fresh cluster of `nodes` nodes, kept in the build folder; made the first time, and again when the
/// recipe or Ganeti has changed.
///
/// # Errors
/// When the cluster cannot be made or saved.
pub fn cached(nodes: usize, progress: &Progress) -> Result<PathBuf> {
    let version = run(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "ganeti-3.0"]))?;
    let mut hasher = DefaultHasher::new();
    (RECIPE, version).hash(&mut hasher);
    let name = format!("lab-{nodes}-{:016x}.tar", hasher.finish());
    let folder = guest()?;
    let file = folder.join(&name);
    let lock = fs::File::create(folder.join("lab.lock")).context("make a lock")?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .context("wait for another lab to be saved")?;
    if file.exists() {
        return Ok(file);
    }
    forget(&folder, nodes)?;
    let plan = Plan::new(&format!("snapshot-{}", std::process::id()), nodes)?;
    let lab = Lab::up(&plan, progress)?;
    let saved = save(&lab, &file, progress);
    lab.down()?;
    saved.map(|()| file)
}

/// Removes snapshots that no longer serve.
fn forget(folder: &Path, nodes: usize) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.starts_with(&format!("lab-{nodes}-")) {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| shown.clone())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{shown}: {}: {errors}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
