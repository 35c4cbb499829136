//! What the command lines of the daemons have in common: parsing, exit codes, complaints, the log.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser;
use ifup::apply::chain;
use tracing_subscriber::EnvFilter;

/// Exit code for a wrong command line or configuration (`EX_USAGE`).
const USAGE: u8 = 64;

/// A program, by the name it complains under.
#[derive(Debug, Clone, Copy)]
pub struct CommandLine(pub &'static str);

impl CommandLine {
    /// The arguments.
    ///
    /// # Errors
    /// What to exit with: help and version are shown, or the arguments are wrong, which is said.
    pub fn arguments<A: Parser>(self) -> Result<A, ExitCode> {
        A::try_parse().map_err(|error| {
            // Nobody is left to tell when this cannot be written.
            let _ = error.print();
            if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            }
        })
    }

    /// What was asked for in a wrong way, on stderr; what to exit with.
    pub fn misused(self, error: &(dyn Error + 'static)) -> ExitCode {
        self.complain(&chain(error));
        ExitCode::from(USAGE)
    }

    /// What failed, on stderr; what to exit with.
    pub fn failed(self, error: &(dyn Error + 'static)) -> ExitCode {
        self.complain(&chain(error));
        ExitCode::FAILURE
    }

    /// Logs what `filter` lets through to stderr, with the time unless the journal has its own.
    ///
    /// # Errors
    /// What to exit with: it is no filter, which is said.
    pub fn log(self, filter: &str) -> Result<(), ExitCode> {
        let filter = EnvFilter::try_new(filter).map_err(|error| {
            self.complain(&format!("--log {filter}: {error}"));
            ExitCode::from(USAGE)
        })?;
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_target(false)
            .with_ansi(io::stderr().is_terminal());
        if std::env::var_os("JOURNAL_STREAM").is_some() {
            subscriber.without_time().init();
        } else {
            subscriber.init();
        }
        Ok(())
    }

    fn complain(self, what: &str) {
        // Nobody is left to tell when this cannot be written.
        let _ = writeln!(io::stderr(), "{}: {what}", self.0);
    }
}
