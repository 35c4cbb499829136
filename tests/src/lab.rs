//! A lab: a real Ganeti cluster in namespaces of one machine, left running until it is taken down.
//!
//! One process, `lab first`, is init of a pid namespace that holds everything: killing it ends every daemon and guest,
//! and with them go all namespaces, mounts and devices. Below it each [`Place`] (the switch, the nodes) has an init of
//! its own, a root that is an overlay over the machine's, and a network. What is written in a place stays in a tmpfs
//! that only the lab sees. On the machine itself stands one folder, `/run/snf-lab/NAME`.
//!
//! A lab goes with the program that made it, however that ends, unless it has been told to [`Lab::stay`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::broker::client::{self, Delivered};
use crate::progress::Progress;
use crate::wait;
use crate::world;

mod birth;
pub mod boot;
mod broker;
mod clock;
mod cluster;
pub mod first;
mod install;
mod instance;
pub mod layout;
mod node;
mod place;
pub mod record;
mod root;
mod service;
mod snapshot;
pub mod standing;
mod state;

pub use instance::{Console, Hypervisor, Instance, Pings};
pub use place::Place;
pub use snapshot::{cached, nodes as nodes_in};

use birth::Tie;
use layout::{BROKER, SWITCH};
use state::{Order, Running, State};

/// How many nodes a lab may have: what the addresses have room for.
pub const MOST_NODES: usize = 9;

/// What the programs in the nodes need of the machine, beside the packages' daemons.
const NEEDS: [&str; 6] = [
    "ip",
    "gnt-cluster",
    "sshd",
    "nsenter",
    "curl",
    "qemu-system-x86_64",
];

/// A lab that runs. Dropping the one that made it ends it, unless it was told to stay.
#[derive(Debug)]
pub struct Lab {
    state: State,
    running: Running,
    tie: Option<Tie>,
}

/// What a lab is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name: the name of its folder.
    pub name: String,
    /// How many nodes.
    pub nodes: usize,
    /// Whether a message broker is beside them.
    pub broker: bool,
}

impl Plan {
    /// A lab of `nodes` nodes, without a broker.
    ///
    /// # Errors
    /// When the name is not made of small letters, digits and `-`, or the number of nodes is out of range.
    pub fn new(name: &str, nodes: usize) -> Result<Self> {
        State::check_name(name)?;
        ensure!(
            (1..=MOST_NODES).contains(&nodes),
            "a lab has 1 to {MOST_NODES} nodes, not {nodes}"
        );
        Ok(Self {
            name: name.to_owned(),
            nodes,
            broker: false,
        })
    }

    /// The same with a broker beside.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn with_broker(self) -> Result<Self> {
        ensure!(
            broker::is_installed(),
            "needs rabbitmq-server (see packaging/setup/packages.txt)"
        );
        Ok(Self {
            broker: true,
            ..self
        })
    }
}

impl Lab {
    /// Makes a cluster from nothing.
    ///
    /// # Errors
    /// When the machine lacks something, a lab of that name runs, or Ganeti refuses. Nothing is left then.
    pub fn up(plan: &Plan, progress: &Progress) -> Result<Self> {
        let lab = Self::start(plan, None, progress)?;
        match cluster::make(&lab, progress).and_then(|()| lab.broker_answers(progress)) {
            Ok(()) => Ok(lab),
            Err(error) => Err(lab.abandon(error)),
        }
    }

    /// Brings a cluster back from a snapshot.
    ///
    /// # Errors
    /// As [`Lab::up`], or when the snapshot cannot be read.
    pub fn restore(plan: &Plan, snapshot: &Path, progress: &Progress) -> Result<Self> {
        let nodes = snapshot::nodes(snapshot)?;
        ensure!(
            plan.nodes == nodes,
            "{} has {nodes} nodes, not {}",
            snapshot.display(),
            plan.nodes
        );
        let lab = Self::start(plan, Some(snapshot), progress)?;
        match cluster::wake(&lab, progress).and_then(|()| lab.broker_answers(progress)) {
            Ok(()) => Ok(lab),
            Err(error) => Err(lab.abandon(error)),
        }
    }

    fn broker_answers(&self, progress: &Progress) -> Result<()> {
        match self.broker() {
            Some(_) => broker::answers(self, progress),
            None => Ok(()),
        }
    }

    /// The running lab of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(name: &str) -> Result<Self> {
        State::check_name(name)?;
        let state = State::of(name);
        let running = state.running()?;
        ensure!(
            running.is_alive(),
            "lab {name} is dead; `tests/lab down` takes away what is left"
        );
        Ok(Self {
            state,
            running,
            tie: None,
        })
    }

    /// Lets it run on when this program has ended.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn stay(&mut self) -> Result<()> {
        self.tie.take().map_or(Ok(()), Tie::stay)
    }

    /// The namespaces and programs, without a cluster.
    fn start(plan: &Plan, snapshot: Option<&Path>, progress: &Progress) -> Result<Self> {
        check_machine()?;
        progress.now("making the namespaces");
        let state = State::create(&plan.name)?;
        match start_in(&state, plan, snapshot) {
            Ok((tie, running)) => {
                let tie = Some(tie);
                let lab = Self {
                    state,
                    running,
                    tie,
                };
                progress.done(&format!(
                    "{} and {SWITCH} stand, with {}",
                    counted(plan.nodes),
                    lab.running.installed.join(", ")
                ));
                Ok(lab)
            }
            Err(error) => {
                let error = match state.log() {
                    log if log.is_empty() => error,
                    log => error.context(format!("the lab's log:\n{log}")),
                };
                state.remove()?;
                Err(error)
            }
        }
    }

    /// Takes down what a failed start has made; what went wrong, with what the nodes said.
    fn abandon(self, error: anyhow::Error) -> anyhow::Error {
        let log = self.state.log();
        let error = error.context(format!("the lab's log:\n{log}"));
        match self.down() {
            Ok(()) => error,
            Err(again) => error.context(format!("and it cannot be taken down: {again:#}")),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// The programs of ours that its nodes have.
    #[must_use]
    pub fn installed(&self) -> &[String] {
        &self.running.installed
    }

    /// A node, counted from 1.
    ///
    /// # Errors
    /// When the lab has no such node.
    pub fn node(&self, number: usize) -> Result<Place> {
        self.place(&layout::node(number))
    }

    /// All nodes, the first one first.
    #[must_use]
    pub fn nodes(&self) -> Vec<Place> {
        let places = self.running.places.iter();
        let nodes = places.filter(|(name, _)| layout::number(name).is_some());
        nodes.map(|(name, pid)| self.at(name, *pid)).collect()
    }

    /// The node that is the master now.
    ///
    /// # Errors
    /// When no node says so of itself.
    pub fn master(&self) -> Result<Place> {
        let says_so = |node: &Place| {
            let told = fs::read_to_string(node.path("/var/lib/ganeti/ssconf_master_node"));
            told.is_ok_and(|told| told.trim() == layout::full_name(node.name()))
        };
        let found = self.nodes().into_iter().find(says_so);
        found.context("no node says that it is the master")
    }

    /// The network between the nodes: the world outside of the cluster, with the routers of the VMs' networks.
    ///
    /// # Errors
    /// Never, for a lab that was started by this program.
    pub fn switch(&self) -> Result<Place> {
        self.place(SWITCH)
    }

    /// The message broker, in a lab that has one.
    #[must_use]
    pub fn broker(&self) -> Option<Place> {
        self.place(BROKER).ok()
    }

    /// Takes everything that is in a queue of the broker now, as the control plane.
    ///
    /// # Errors
    /// When there is no broker, or it fails.
    pub fn take(&self, queue: &str) -> Result<Vec<Delivered>> {
        broker::connected(self, async |connection| {
            let channel = connection.create_channel().await?;
            client::take(&channel, queue).await
        })
    }

    /// A node, the switch or the broker, by name.
    ///
    /// # Errors
    /// When the lab has no such place.
    pub fn place(&self, name: &str) -> Result<Place> {
        let found = self.running.places.iter().find(|(place, _)| place == name);
        let Some((name, pid)) = found else {
            let names: Vec<_> = self
                .running
                .places
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            bail!(
                "lab {} has no {name}; it has {}",
                self.name(),
                names.join(", ")
            );
        };
        Ok(self.at(name, *pid))
    }

    fn at(&self, name: &str, pid: i32) -> Place {
        Place::new(name, pid, &self.running.id)
    }

    /// Saves what the cluster has written, to be restored in another lab. Instances must not run; Ganeti's daemons are
    /// stopped for it and started again.
    ///
    /// # Errors
    /// When an instance runs or a file cannot be saved.
    pub fn snapshot(&self, file: &Path, progress: &Progress) -> Result<()> {
        snapshot::save(self, file, progress)?;
        cluster::wake(self, progress)
    }

    /// Where a place keeps what was written in it, as seen from the machine.
    fn written(&self, place: &str) -> PathBuf {
        let own = root::upper(&self.state.folder, place);
        let root = format!("/proc/{}/root", self.running.first);
        Path::new(&root).join(own.strip_prefix("/").unwrap_or(&own))
    }

    /// Ends everything and removes the folder.
    ///
    /// # Errors
    /// When something does not go.
    pub fn down(self) -> Result<()> {
        if self.running.is_alive() {
            kill(Pid::from_raw(self.running.first), Signal::SIGKILL).context("kill the lab")?;
        }
        wait::until("all of the lab's processes are gone", wait::SOON, || {
            Ok(!self.running.is_alive())
        })?;
        self.state.remove()
    }

    /// Takes down the lab of that name, also one that is dead or was never whole.
    ///
    /// # Errors
    /// When there is none, or something does not go.
    pub fn down_by_name(name: &str) -> Result<()> {
        State::check_name(name)?;
        let state = State::of(name);
        match state.running() {
            Ok(running) => Self {
                state,
                running,
                tie: None,
            }
            .down(),
            Err(error) if !state.folder.exists() => Err(error),
            Err(_) => state.remove(),
        }
    }

    /// The names of the labs that have a folder, running or not.
    ///
    /// # Errors
    /// When the folders cannot be listed.
    pub fn names() -> Result<Vec<String>> {
        State::names()
    }
}

fn counted(nodes: usize) -> String {
    match nodes {
        1 => "1 node".to_owned(),
        nodes => format!("{nodes} nodes"),
    }
}

fn start_in(state: &State, plan: &Plan, snapshot: Option<&Path>) -> Result<(Tie, Running)> {
    let order = Order {
        id: state::new_id()?,
        nodes: plan.nodes,
        broker: plan.broker,
        programs: programs()?,
        guest: guest()?,
        snapshot: snapshot
            .map(fs::canonicalize)
            .transpose()
            .context("find the snapshot")?,
    };
    state.write_order(&order)?;
    let mut command = Command::new(order.programs.join("lab"));
    command.arg("first").arg(&state.folder);
    let kinds = birth::EVERYTHING.union(CloneFlags::CLONE_NEWNET);
    let (tie, answer) = birth::start(command, kinds, &state.log_file())?.go()?;
    let running = serde_json::from_str(&answer).context("read what the lab says of itself")?;
    Ok((tie, running))
}

/// What keeps a lab from running here.
///
/// # Errors
/// Names it.
pub fn check_machine() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "needs root, to make namespaces"
    );
    for tool in NEEDS {
        ensure!(
            world::find_tool(tool).is_some(),
            "needs {tool} (see packaging/setup/packages.txt)"
        );
    }
    ensure!(
        Path::new("/dev/net/tun").exists(),
        "needs /dev/net/tun, for the guests' TAPs"
    );
    ensure!(
        !Path::new("/var/lib/ganeti/ssconf_cluster_name").exists() || world::is_inside(),
        "this machine is itself a node of a Ganeti cluster (/var/lib/ganeti is in use): not here"
    );
    Ok(())
}

/// Where the programs to install, and `lab` itself, are.
fn programs() -> Result<PathBuf> {
    if world::is_inside() {
        Ok(world::programs())
    } else {
        world::programs_outside()
    }
}

/// Where the guest's kernel and initramfs are.
fn guest() -> Result<PathBuf> {
    if world::is_inside() {
        Ok(world::cache())
    } else {
        world::cache_outside()
    }
}

/// How long one of Ganeti's commands may take on a busy machine.
pub const COMMAND: Duration = Duration::from_secs(180);
