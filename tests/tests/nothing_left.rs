//! A test or the demo, killed half-way, leaves the host as it was.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use system_tests::served::{Attachment, Served};
use system_tests::untouched;
use system_tests::wait::{SOON, until};
use system_tests::world::{can_run, in_world};

/// In the environment of what is killed, and so of all it starts.
const MARK: &str = "SNF_NOTHING_LEFT";

/// Fetching and building included.
const HALF_WAY: Duration = Duration::from_secs(120);

/// The processes that have the mark in their environment.
fn marked(mark: &str) -> Result<Vec<String>> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // A process may end while it is looked at.
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
        {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            found.push(format!("{} {}", path.display(), name.trim()));
        }
    }
    Ok(found)
}

/// Starts `command`, kills it once all of `programs` run, and compares.
fn leaves_nothing(mut command: Command, mark: &str, programs: &[&str]) -> Result<()> {
    let mark = format!("{}-{mark}", std::process::id());
    let before = untouched::state()?;
    let mut child = command
        .env(MARK, &mark)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let half_way = until(&format!("{programs:?} run"), HALF_WAY, || {
        let running = marked(&mark)?;
        Ok(programs
            .iter()
            .all(|name| running.iter().any(|one| one.contains(name))))
    });
    child.kill()?;
    child.wait()?;
    half_way?;
    until("all that it started is gone", SOON, || {
        Ok(marked(&mark)?.is_empty())
    })
    .with_context(|| format!("{:?}", marked(&mark)))?;
    for (name, was) in before {
        until(&format!("{name}: as before"), SOON, || {
            Ok(untouched::state()?.get(name) == Some(&was))
        })
        .with_context(|| {
            let after = untouched::state().unwrap_or_default();
            format!("before: {was}\nafter: {:?}", after.get(name))
        })?;
    }
    Ok(())
}

#[test]
fn a_test_killed_half_way_leaves_the_host_as_it_was() {
    if !can_run(&["nft", "udhcpc"]) {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "a_test_that_never_ends"]);
    leaves_nothing(command, "test", &["nfdhcpd", "udhcpc"]).unwrap();
}

#[test]
#[ignore = "it never ends: the test above kills it"]
fn a_test_that_never_ends() {
    in_world(&["udhcpc"], |world| {
        let scene = Served::new(world, Attachment::Bridged, "")?;
        let _udhcpc = scene.client.start("udhcpc", &["-f", "-i", "eth0"])?;
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    });
}

#[test]
fn the_demo_killed_half_way_leaves_the_host_as_it_was() {
    if !can_run(&["nft", "qemu-system-x86_64"]) {
        return;
    }
    let command = Command::new(env!("CARGO_BIN_EXE_demo"));
    leaves_nothing(command, "demo", &["nfdhcpd", "qemu-system"]).unwrap();
}
