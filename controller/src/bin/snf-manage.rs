//! `snf-manage`: the operator's console. Talks to the database, and where it must to Ganeti; not to the API.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use controller::cloud::Cloud;
use controller::config::Config;
use controller::db::Db;
use controller::manage::{self, Command, ManageError};
use controller::seal::Seal;

/// The cloud's rows, from the operator's shell.
#[derive(Debug, Parser)]
#[command(name = "snf-manage", version)]
struct Arguments {
    /// The configuration file [default: /etc/snf/snf-controller.toml, which may be missing].
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// For machines: JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// What to do.
    #[command(subcommand)]
    command: Command,
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
    let config = match Config::read(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            complain(&error.into());
            return ExitCode::from(USAGE);
        }
    };
    match run(arguments.command, config, arguments.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            match error.downcast_ref::<ManageError>() {
                Some(ManageError::Usage(_)) => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn complain(error: &anyhow::Error) {
    // Nobody is left to tell when this cannot be written.
    let _ = writeln!(io::stderr(), "snf-manage: {error:#}");
}

fn run(command: Command, config: Config, json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let seal = Seal::read(&config.keys)?;
        let db = Db::connect(&config.database.url, 2).await?;
        db.check().await?;
        let cloud = Cloud::new(db, config, seal);
        let shown = manage::run(&cloud, command).await?;
        let text = if json { shown.json() } else { shown.text() };
        cloud.db.close().await;
        io::stdout().write_all(text.as_bytes())?;
        Ok(())
    })
}
