//! `make lab` and `tests/lab`: a real Ganeti cluster on this machine, and the way into it.

use std::io::{Write, stdout};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use system_tests::guest;
use system_tests::lab::layout::{
    BRIDGED_NETWORK, BROKER_ADDRESS, BROKER_PASSWORD, BROKER_USER, OS, RAPI, RAPI_PASSWORD,
    RAPI_USER, ROUTED_NETWORK, SWITCH,
};
use system_tests::lab::{self, Lab, Plan, boot, first};
use system_tests::progress::Progress;

/// A real Ganeti cluster in namespaces of this machine.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Args)]
struct Name {
    /// Which lab, when there are several.
    #[arg(long, default_value = "lab")]
    name: String,
}

#[derive(Debug, Args)]
struct Broker {
    /// Without the message broker.
    #[arg(long)]
    no_broker: bool,
}

impl Broker {
    fn of(&self, plan: Plan) -> Result<Plan> {
        if self.no_broker {
            return Ok(plan);
        }
        plan.with_broker()
    }
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Make a cluster, and leave it running.
    Up {
        #[command(flatten)]
        name: Name,
        /// How many nodes.
        #[arg(long, default_value_t = 3)]
        nodes: usize,
        #[command(flatten)]
        broker: Broker,
    },
    /// End it; nothing is left.
    Down {
        #[command(flatten)]
        name: Name,
    },
    /// Run a command in a place, a node for one; a shell when none is given.
    Enter {
        #[command(flatten)]
        name: Name,
        /// `node1`, `node2`, …, `switch` or `broker`.
        place: String,
        /// The command with its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Tell which labs run, and how to use this one.
    Status {
        #[command(flatten)]
        name: Name,
    },
    /// Save what the cluster has written. Its instances must be stopped.
    Snapshot {
        #[command(flatten)]
        name: Name,
        /// Where to.
        file: PathBuf,
    },
    /// Make a cluster out of a snapshot, and leave it running.
    Restore {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        broker: Broker,
        /// What `snapshot` has saved.
        file: PathBuf,
    },
    /// Be a lab's first process.
    #[command(hide = true)]
    First { folder: PathBuf },
    /// Be the first process of a place.
    #[command(hide = true)]
    Boot { folder: PathBuf, place: String },
}

fn main() -> ExitCode {
    match run(Arguments::parse().act) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "errors go there")]
fn complain(error: &str) {
    eprintln!("lab: {error}");
}

fn run(act: Act) -> Result<()> {
    match act {
        Act::Up {
            name,
            nodes,
            broker,
        } => {
            let plan = broker.of(Plan::new(&name.name, nodes)?)?;
            let progress = prepare()?;
            leave(Lab::up(&plan, &progress)?, progress)
        }
        Act::Restore { name, broker, file } => {
            let plan = broker.of(Plan::new(&name.name, lab::nodes_in(&file)?)?)?;
            let progress = prepare()?;
            leave(Lab::restore(&plan, &file, &progress)?, progress)
        }
        Act::Down { name } => {
            Lab::down_by_name(&name.name)?;
            say(&format!("lab {} is gone", name.name));
            Ok(())
        }
        Act::Enter {
            name,
            place,
            command,
        } => enter(&name.name, &place, &command),
        Act::Status { name } => status(&name.name),
        Act::Snapshot { name, file } => Lab::find(&name.name)?.snapshot(&file, &Progress::new()),
        Act::First { folder } => match first::run(&folder)? {},
        Act::Boot { folder, place } => match boot::run(&folder, &place)? {},
    }
}

/// What has to be there before a lab can be.
fn prepare() -> Result<Progress> {
    lab::check_machine()?;
    guest::prepare(|step| say(&format!("  {step}")))?;
    Ok(Progress::new())
}

/// Leaves it running.
fn leave(mut lab: Lab, progress: Progress) -> Result<()> {
    lab.stay()?;
    progress.done("ready");
    drop(progress);
    tell(&lab);
    Ok(())
}

fn enter(name: &str, place: &str, command: &[String]) -> Result<()> {
    let place = Lab::find(name)?.place(place)?;
    let mut inside = match command.split_first() {
        None => place.command("bash"),
        Some((program, arguments)) => {
            let mut inside = place.command(program);
            inside.args(arguments);
            inside
        }
    };
    bail!("{}", inside.exec())
}

fn status(name: &str) -> Result<()> {
    for other in Lab::names()? {
        match Lab::find(&other) {
            Ok(lab) => say(&format!("lab {other}: {} nodes", lab.nodes().len())),
            Err(error) => say(&format!("lab {other}: {error:#}")),
        }
    }
    let lab = Lab::find(name)?;
    let master = lab.master()?;
    let nodes = master.run("gnt-node", &["list", "-o", "name,role,pinst_cnt,sip"])?;
    let instances = master.run(
        "gnt-instance",
        &["list", "-o", "name,hypervisor,pnode,status"],
    )?;
    say(&format!("\n{nodes}\n{instances}"));
    tell(&lab);
    Ok(())
}

/// To people, who may have stopped reading.
fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// How to use it.
fn tell(lab: &Lab) {
    let name = match lab.name() {
        "lab" => String::new(),
        other => format!(" --name {other}"),
    };
    let own = format!("tests/lab enter{name}");
    let broker = lab.broker().map_or_else(String::new, |_| {
        format!(
            "Broker        amqp://{BROKER_USER}:{BROKER_PASSWORD}@{BROKER_ADDRESS}:5672
              {own} broker rabbitmqctl list_queues\n"
        )
    });
    say(&format!(
        "
A node        {own} node1
              {own} node1 gnt-instance list
Remote API    {RAPI}, user {RAPI_USER}, password {RAPI_PASSWORD}, from the switch:
              {own} {SWITCH} curl -sku {RAPI_USER}:{RAPI_PASSWORD} {RAPI}/2/info
An instance   {own} node1 gnt-instance add -t diskless -H kvm -o {OS} -B memory=128M,vcpus=1 \\
                --no-name-check --no-ip-check -n node1.gnt.test --net 0:ip=pool,network={} \\
                --net 1:ip=pool,network={} snf-1.gnt.test
Its console   {own} node1 socat - unix:/run/ganeti/kvm-hypervisor/ctrl/snf-1.gnt.test.serial
Networks      {} has its router {} on the switch, {} {}
{broker}The end       tests/lab down{name}",
        BRIDGED_NETWORK.name,
        ROUTED_NETWORK.name,
        BRIDGED_NETWORK.prefix,
        BRIDGED_NETWORK.router,
        ROUTED_NETWORK.prefix,
        ROUTED_NETWORK.router,
    ));
}
