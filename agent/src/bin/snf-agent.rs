//! snf-agent's command line.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::command_line::CommandLine;
use agent::hook::SOCKET;
use agent::node::config::Config;
use agent::node::round::{Mode, Standing};
use agent::node::story::{Story, Teller};
use agent::node::{daemon, report};
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use ifup::request::IfName;

/// Keeps a Ganeti node's NICs as they should be, and tells their story.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration; the default, /etc/snf/snf-agent.toml, need not exist.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to do; without it, `run`.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, in the foreground.
    Run {
        /// What is logged: error, warn, info, debug, trace, or a filter as in agent=debug.
        #[arg(long, default_value = FILTER, value_name = "FILTER")]
        log: String,
    },
    /// Look at all TAPs once, put right what is not as it should be, and say what was done.
    Reconcile {
        /// Print what would be done, as commands, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// The node's TAPs and how they stand.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The whole story of an instance's NICs.
    Explain {
        /// The instance's name.
        instance: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The whole story of a TAP.
    Tap {
        /// The TAP's name.
        tap: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check the configuration.
    CheckConfig,
}

/// What is logged unless the command line says otherwise.
const FILTER: &str = "info,lapin=off";

const PROGRAM: CommandLine = CommandLine("snf-agent");

fn main() -> ExitCode {
    run().unwrap_or_else(|code| code)
}

fn run() -> Result<ExitCode, ExitCode> {
    let arguments: Arguments = PROGRAM.arguments()?;
    let config = Config::read(arguments.config.as_deref());
    let config = config.map_err(|error| PROGRAM.misused(&error))?;
    let done = match arguments.command {
        None => return serve(config, FILTER),
        Some(Command::Run { log }) => return serve(config, &log),
        Some(Command::CheckConfig) => Ok(ExitCode::SUCCESS),
        Some(Command::Reconcile { dry_run }) => reconcile(config, dry_run),
        Some(Command::Status { json }) => status(config, json),
        Some(Command::Explain { instance, json }) => explain(config, &instance, json),
        Some(Command::Tap { tap, json }) => tell_tap(config, &tap, json),
    };
    done.map_err(|error| PROGRAM.failed(error.as_ref()))
}

fn serve(config: Config, log: &str) -> Result<ExitCode, ExitCode> {
    PROGRAM.log(log)?;
    daemon::run(config).map_err(|error| PROGRAM.failed(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("write the answer")
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("write the answer")?;
    text.push('\n');
    print(&text)
}

fn reconcile(config: Config, dry_run: bool) -> anyhow::Result<ExitCode> {
    let mode = if dry_run { Mode::Tell } else { Mode::Mend };
    let findings = Teller::open(config)?.round(mode)?;
    print(&report::plan(&findings))?;
    let has_failed = findings
        .iter()
        .any(|finding| matches!(finding.standing, Standing::Failed(_)));
    Ok(if has_failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn status(config: Config, json: bool) -> anyhow::Result<ExitCode> {
    let status = Teller::open(config)?.status(Path::new(SOCKET))?;
    if json {
        print_json(&status)?;
    } else {
        print(&report::status(&status, daemon::now()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(config: Config, instance: &str, json: bool) -> anyhow::Result<ExitCode> {
    let mut teller = Teller::open(config)?;
    let taps = teller.taps_of(instance)?;
    let stories: Vec<Story> = taps.iter().map(|tap| teller.story(tap)).collect();
    if json {
        print_json(&stories)?;
    } else if let Some(heard) = teller.heard(instance).filter(|_| stories.is_empty()) {
        print(&report::heard(&heard, daemon::now()))?;
    } else {
        anyhow::ensure!(
            !stories.is_empty(),
            "{instance}: no TAP on this node is this instance's, and no hook spoke of it"
        );
        let each: Vec<String> = stories
            .iter()
            .map(|story| report::story(story, daemon::now()))
            .collect();
        print(&each.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_tap(config: Config, tap: &str, json: bool) -> anyhow::Result<ExitCode> {
    let name: IfName = tap.parse().with_context(|| tap.to_owned())?;
    let story = Teller::open(config)?.story(&name);
    if json {
        print_json(&story)?;
    } else {
        print(&report::story(&story, daemon::now()))?;
    }
    Ok(ExitCode::SUCCESS)
}
