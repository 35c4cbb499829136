//! snf-ifup: one NIC of a Ganeti VM comes up or goes down. Environment → request → facts → plan → apply.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Parser, Subcommand};
use ifup::announce::{self, AnnounceError, Announcer};
use ifup::apply::{ApplyError, apply, apply_all, chain};
use ifup::call::{Action, Call, call};
use ifup::config::{self, Config};
use ifup::host::Host;
use ifup::lock::{Lock, Purpose};
use ifup::netlink::link_before_fork;
use ifup::plan::{self, Plan};
use ifup::request::{IfName, Request, Variables};
use ifup::step::Announcement;
use ifup::{file, nft};

/// Wires one TAP of a Ganeti VM. Ganeti calls it under its own names; everything about the NIC is in the environment.
#[derive(Parser)]
#[command(name = "snf-ifup", version)]
struct Arguments {
    /// The configuration; the default need not exist.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print what would be done, as commands, and do nothing.
    #[arg(long, global = true)]
    dry_run: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Clone, Copy)]
enum Command {
    /// The NIC comes up.
    Up,
    /// The NIC goes down; while its TAP is in use, as soon as it is not.
    Down {
        /// Do not wait until the TAP is out of use.
        #[arg(long)]
        now: bool,
    },
    /// Print the constant nft rules.
    Rules,
    /// Check the configuration.
    CheckConfig,
}

/// Why the call failed: 64 for what the caller has to mend, 1 for the rest.
enum Failure {
    Usage(anyhow::Error),
    Failed(anyhow::Error),
}

fn main() -> ExitCode {
    let (code, error) = match run() {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => (64, error),
        Err(Failure::Failed(error)) => (1, error),
    };
    // Ganeti copies this into the job: one line, the last.
    say(&format!(
        "snf-ifup: {}",
        format!("{error:#}").replace('\n', "; ")
    ));
    ExitCode::from(code)
}

fn run() -> Result<(), Failure> {
    let variables = environment();
    let argv0 = std::env::args().next().unwrap_or_default();
    let action = variables.get("ACTION").map(String::as_str);
    let called = call(&argv0, action).map_err(|error| Failure::Usage(error.into()))?;
    let arguments = match called {
        Call::Ganeti(_) => Arguments {
            config: None,
            dry_run: false,
            command: None,
        },
        Call::Own(_) => match Arguments::try_parse() {
            Ok(arguments) => arguments,
            Err(error) if error.use_stderr() => {
                return Err(Failure::Usage(anyhow!(error.render().to_string())));
            }
            Err(help) => {
                print(&help.render().to_string());
                return Ok(());
            }
        },
    };
    let config = read_config(arguments.config.as_ref()).map_err(Failure::Usage)?;
    let dry_run = arguments.dry_run;
    match (called, arguments.command) {
        (_, Some(Command::CheckConfig)) => Ok(()),
        (_, Some(Command::Rules)) => {
            print(&nft::script());
            Ok(())
        }
        (Call::Ganeti(Action::Up) | Call::Own(_), Some(Command::Up))
        | (Call::Ganeti(Action::Up) | Call::Own(Some(Action::Up)), None) => {
            up(&variables, &config, dry_run)
        }
        (_, Some(Command::Down { now })) => down(&variables, &config, dry_run, now),
        (Call::Ganeti(Action::Down) | Call::Own(Some(Action::Down)), None) => {
            down(&variables, &config, dry_run, false)
        }
        (Call::Own(None), None) | (Call::Ganeti(Action::Down), Some(Command::Up)) => Err(
            Failure::Usage(anyhow!("say up or down, or set ACTION; see --help")),
        ),
    }
}

fn up(variables: &Variables, config: &Config, dry_run: bool) -> Result<(), Failure> {
    let request = Request::from_variables(variables, &config.tags).map_err(failed)?;
    let tap = &request.tap;
    let lock = (!dry_run).then(|| Lock::take(&config.run_dir, tap, Purpose::Change));
    let _lock = lock
        .transpose()
        .with_context(|| tap.to_string())
        .map_err(Failure::Failed)?;
    let mut host = Host::open().map_err(failed)?;
    let facts = host.facts(&request, config).map_err(failed)?;
    let plan = plan::up(&request, &facts, config).map_err(failed)?;
    for warning in &plan.warnings {
        say(&format!("snf-ifup: {tap}: warning: {warning}"));
    }
    if dry_run {
        show(&plan);
        return Ok(());
    }
    apply(&mut host, plan.changes())
        .with_context(|| tap.to_string())
        .map_err(Failure::Failed)?;
    drop(host);
    let announcements: Vec<Announcement> = plan.announcements().cloned().collect();
    if let Some(link) = facts.tap
        && let Err(error) = tell(&announcements, tap, link.index)
    {
        // The NIC is up; its neighbours learn where it is from its traffic.
        say(&format!(
            "snf-ifup: {tap}: warning: announce: {}",
            chain(&error)
        ));
    }
    Ok(())
}

/// The first announcement before Ganeti goes on, the others from a child.
fn tell(announcements: &[Announcement], tap: &IfName, tap_index: u32) -> Result<(), AnnounceError> {
    if announcements.is_empty() {
        return Ok(());
    }
    let announcer = Announcer::open()?;
    let sent = announcements
        .iter()
        .map(|announcement| announcer.announce(announcement));
    let first = sent.fold(Ok(()), Result::and);
    announcer.repeat(announcements, tap, tap_index)?;
    first
}

fn down(variables: &Variables, config: &Config, dry_run: bool, now: bool) -> Result<(), Failure> {
    let tap = Request::tap_of(variables).map_err(failed)?;
    if dry_run {
        let mut host = Host::open().map_err(failed)?;
        let facts = host.facts_of_tap(&tap, config).map_err(failed)?;
        show(&plan::down(&tap, &facts, config));
        return Ok(());
    }
    // No runtime before a fork: tokio keeps files for all of its runtimes, and the child closes them.
    let link = link_before_fork(&tap)
        .with_context(|| tap.to_string())
        .map_err(Failure::Failed)?;
    if let Some(link) = link.filter(|link| link.carrier && !now) {
        say(&format!(
            "snf-ifup: {tap}: still in use: goes down as soon as it is not"
        ));
        return announce::detached(None, || down_later(&tap, link.index, config)).map_err(failed);
    }
    take_down(&tap, config, None)
}

/// Waits in the background until the TAP with this index is gone, then takes down what is left of it, unless another TAP
/// of its name came up meanwhile. One such child waits for a TAP, however often Ganeti asks.
fn down_later(tap: &IfName, index: u32, config: &Config) {
    let Ok(Some(_waiting)) = Lock::try_take(&config.run_dir, tap, Purpose::Wait) else {
        return;
    };
    let limit = Duration::from_secs(config.down_wait);
    if announce::wait(limit, || !announce::is_there(tap, index)) {
        return;
    }
    // Nobody is left to tell; the next up or down of the name tries again.
    let _ = take_down(tap, config, Some(index));
}

/// Takes down what stands for the TAP; with `index`, unless that is another TAP's of the same name.
fn take_down(tap: &IfName, config: &Config, index: Option<u32>) -> Result<(), Failure> {
    let _lock = Lock::take(&config.run_dir, tap, Purpose::Change).map_err(failed)?;
    let mut host = Host::open().map_err(failed)?;
    let facts = host.facts_of_tap(tap, config).map_err(failed)?;
    let stands_for = facts.standing.record.as_ref().map(|record| record.ifindex);
    if index.is_some() && stands_for.is_some() && stands_for != index {
        return Ok(());
    }
    let plan = plan::down(tap, &facts, config);
    apply_all(&mut host, &plan.steps).map_err(|errors| {
        let all: Vec<String> = errors
            .iter()
            .map(|error: &ApplyError| chain(error))
            .collect();
        Failure::Failed(anyhow!("{tap}: {}", all.join("; ")))
    })
}

fn show(plan: &Plan) {
    let text: String = plan.steps.iter().map(|step| format!("{step}\n")).collect();
    print(&text);
}

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Failed(error.into())
}

fn read_config(path: Option<&PathBuf>) -> anyhow::Result<Config> {
    let named = path.map_or(config::PATH.into(), Clone::clone);
    let text = file::read(&named)?;
    if text.is_none() && path.is_some() {
        return Err(anyhow!("{}: no such file", named.display()));
    }
    Config::parse(&text.unwrap_or_default()).with_context(|| named.display().to_string())
}

/// Ganeti's variables; what is not text is none of ours.
fn environment() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[expect(clippy::print_stderr, reason = "stderr is what Ganeti shows of us")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::print_stdout, reason = "what the operator asked to see")]
fn print(text: &str) {
    print!("{text}");
}
