//! The lab: real Ganeti clusters, our programs in their nodes, a broker beside. What takes minutes is ignored here;
//! `make test-lab` runs it.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails and speaks"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use system_tests::guest;
use system_tests::lab::{self, Lab, Plan};
use system_tests::progress::Progress;
use system_tests::wait::{self, SOON};
use system_tests::world::can_run;

mod arrivals;
mod clocks;
mod cluster;
mod drift;
mod events;
mod faults;
mod guests;

const NEEDS: &[&str] = &[
    "rabbitmqctl",
    "gnt-cluster",
    "sshd",
    "nsenter",
    "curl",
    "ping",
    "qemu-system-x86_64",
];

/// How long a guest may take from its start to its address.
const BOOT: Duration = Duration::from_secs(120);

fn new_name() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", std::process::id())
}

/// A fresh cluster, out of the snapshot that the first test to want one makes. It ends with the test.
fn fresh(nodes: usize) -> Result<Lab> {
    planned(&Plan::new(&new_name(), nodes)?)
}

/// The same with a broker beside.
fn fresh_with_broker(nodes: usize) -> Result<Lab> {
    planned(&Plan::new(&new_name(), nodes)?.with_broker()?)
}

fn planned(plan: &Plan) -> Result<Lab> {
    guest::prepare(|step| println!("{step}"))?;
    let progress = Progress::new();
    let snapshot = lab::cached(plan.nodes, &progress)?;
    Lab::restore(plan, &snapshot, &progress)
}

/// Runs `body`, unless what it needs is missing.
fn with(body: impl FnOnce() -> Result<()>) {
    if !can_run(NEEDS) {
        return;
    }
    if let Err(error) = body() {
        panic!("{error:#}");
    }
}

/// Waits until an address answers the switch.
fn answers(lab: &Lab, address: &str) -> Result<()> {
    let switch = lab.switch()?;
    wait::until(&format!("{address} answers a ping"), SOON, || {
        Ok(switch.run("ping", &["-c1", "-W1", address]).is_ok())
    })
}
