//! snf-ganeti-eventd's command line.

use std::path::PathBuf;
use std::process::ExitCode;

use agent::command_line::CommandLine;
use agent::eventd::config::{Config, DEFAULT_PATH};
use agent::eventd::daemon;
use clap::{Parser, Subcommand};

/// Tells the control plane what Ganeti's job queue says, and loses nothing.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, short, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
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
    /// Check the configuration.
    CheckConfig,
}

/// What is logged unless the command line says otherwise.
const FILTER: &str = "info,lapin=off";

const PROGRAM: CommandLine = CommandLine("snf-ganeti-eventd");

fn main() -> ExitCode {
    run().err().unwrap_or(ExitCode::SUCCESS)
}

fn run() -> Result<(), ExitCode> {
    let arguments: Arguments = PROGRAM.arguments()?;
    let config = Config::read(&arguments.config).map_err(|error| PROGRAM.misused(&error))?;
    let log = match arguments.command {
        Some(Command::CheckConfig) => return Ok(()),
        Some(Command::Run { log }) => log,
        None => FILTER.to_owned(),
    };
    PROGRAM.log(&log)?;
    daemon::run(config).map_err(|error| PROGRAM.failed(&error))
}
