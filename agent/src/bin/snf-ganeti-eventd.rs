//! snf-ganeti-eventd's command line.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
        #[arg(long, default_value = "info,lapin=off", value_name = "FILTER")]
        log: String,
    },
    /// Check the configuration.
    CheckConfig,
}

/// Exit code for a wrong command line or configuration (`EX_USAGE`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell when this cannot be written.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let run = Command::Run {
        log: String::from("info,lapin=off"),
    };
    let done =
        read_config(&arguments.config).and_then(|config| match arguments.command.unwrap_or(run) {
            Command::CheckConfig => Ok(()),
            Command::Run { log } => serve(config, &log),
        });
    done.err().unwrap_or(ExitCode::SUCCESS)
}

fn complain(what: &str) {
    // Nobody is left to tell when this cannot be written.
    let _ = writeln!(io::stderr(), "snf-ganeti-eventd: {what}");
}

fn read_config(path: &Path) -> Result<Config, ExitCode> {
    Config::read(path).map_err(|error| {
        complain(&daemon::chain(&error));
        ExitCode::from(USAGE)
    })
}

fn serve(config: Config, log: &str) -> Result<(), ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_new(log).map_err(|error| {
        complain(&format!("--log {log}: {error}"));
        ExitCode::from(USAGE)
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    // The journal has its own time.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        subscriber.without_time().init();
    } else {
        subscriber.init();
    }
    daemon::run(config).map_err(|error| {
        complain(&daemon::chain(&error));
        ExitCode::FAILURE
    })
}
