//! nfdhcpd's command line.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use nfdhcpd::config::{Config, DEFAULT_PATH};
use nfdhcpd::ctl::{Request, SOCKET, client};
use nfdhcpd::daemon::Opened;
use nfdhcpd::serving::chain;
use nfdhcpd::{allocator, import, redirect, rules, watch};

/// Answers DHCP, DHCPv6, router and neighbour solicitations of this host's VMs, at their TAPs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file; without it, /etc/nfdhcpd/nfdhcpd.toml if it is there, else all defaults.
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
        /// What is logged: error, warn, info, debug, trace, or a filter as in nfdhcpd=debug.
        #[arg(long, default_value = "info", value_name = "FILTER")]
        log: String,
    },
    /// Check the configuration.
    CheckConfig,
    /// Check binding files.
    CheckBinding {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Turn the original's nfdhcpd.conf into ours, on standard output.
    ImportConfig {
        /// The original's file.
        old: PathBuf,
    },
    /// The managed redirect.
    Rules {
        #[command(subcommand)]
        what: RulesCommand,
    },
    /// Ask the running daemon.
    Ctl {
        /// Its control socket; without it, the configuration's.
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// JSON instead of tables.
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        question: Ask,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum RulesCommand {
    /// What the kernel has, and how it differs from what should be there.
    Show,
    /// Take all of it away; the daemon must not be running.
    Remove,
}

#[derive(Debug, Subcommand)]
enum Ask {
    /// All binding files, and how they stand.
    List,
    /// What a TAP's VM asked, what it got and, when it got nothing, why.
    Show {
        /// The TAP's name.
        tap: String,
    },
    /// A TAP's packets as they are answered, until interrupted.
    Trace {
        /// The TAP's name.
        tap: String,
    },
    /// What is counted.
    Stats,
    /// Whether the daemon does its work; the exit code says it too.
    Health,
}

impl From<Ask> for Request {
    fn from(ask: Ask) -> Self {
        match ask {
            Ask::List => Self::List,
            Ask::Show { tap } => Self::Show { tap },
            Ask::Trace { tap } => Self::Trace { tap },
            Ask::Stats => Self::Stats,
            Ask::Health => Self::Health,
        }
    }
}

/// Exit code for a wrong command line, configuration or binding (EX_USAGE).
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
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "nfdhcpd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let path = arguments.config;
    let run = Command::Run {
        log: String::from("info"),
    };
    match arguments.command.unwrap_or(run) {
        Command::Run { log } => serve(path, &log),
        Command::CheckConfig => Ok(match read_config(path) {
            Ok(_) => ExitCode::SUCCESS,
            Err(code) => code,
        }),
        Command::CheckBinding { files } => check_bindings(&files),
        Command::ImportConfig { old } => {
            let text = std::fs::read_to_string(&old);
            let text = text.with_context(|| format!("read {}", old.display()))?;
            let ours = import::import(&text).with_context(|| old.display().to_string())?;
            io::stdout()
                .write_all(ours.as_bytes())
                .context("write the configuration")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Rules {
            what: RulesCommand::Remove,
        } => {
            rules::remove()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Rules {
            what: RulesCommand::Show,
        } => {
            let (config, _) = match read_config(path) {
                Ok(read) => read,
                Err(code) => return Ok(code),
            };
            let text = match redirect::settings(&config) {
                Some(settings) => rules::show(&settings)?,
                None => String::from("the rules are external: nfdhcpd has none\n"),
            };
            io::stdout()
                .write_all(text.as_bytes())
                .context("write the rules")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Ctl {
            socket,
            json,
            question,
        } => {
            let socket = match socket {
                Some(socket) => socket,
                None => match read_config(path) {
                    Ok((config, _)) => config.runtime.join(SOCKET),
                    Err(code) => return Ok(code),
                },
            };
            client::ask(&socket, &question.into(), json, &mut io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The configuration and the file it is from; what is wrong with it is said, and the exit code returned.
fn read_config(path: Option<PathBuf>) -> Result<(Config, Option<PathBuf>), ExitCode> {
    let path = path.or_else(|| {
        let default = Path::new(DEFAULT_PATH);
        default.exists().then(|| default.to_owned())
    });
    let config = match &path {
        Some(path) => Config::read(path),
        None => Config::parse("", Path::new(DEFAULT_PATH)),
    };
    config.map(|config| (config, path)).map_err(|error| {
        let _ = writeln!(io::stderr(), "nfdhcpd: {}", chain(&error));
        ExitCode::from(USAGE)
    })
}

fn check_bindings(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut out = io::stdout();
    for path in files {
        let path_text = path.display();
        let Some(found) = watch::read_file(path) else {
            writeln!(out, "{path_text}: there is no such file")?;
            code = ExitCode::FAILURE;
            continue;
        };
        for line in &found.ignored {
            writeln!(out, "{path_text}: {line}")?;
        }
        match found.read.content {
            Ok(binding) => writeln!(out, "{path_text}: ok, for {}", binding.mac)?,
            Err(reason) => {
                writeln!(out, "{path_text}: {reason}")?;
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn serve(path: Option<PathBuf>, log: &str) -> anyhow::Result<ExitCode> {
    let (config, path) = match read_config(path) {
        Ok(read) => read,
        Err(code) => return Ok(code),
    };
    let filter = match tracing_subscriber::EnvFilter::try_new(log) {
        Ok(filter) => filter,
        Err(error) => {
            let _ = writeln!(io::stderr(), "nfdhcpd: --log {log}: {error}");
            return Ok(ExitCode::from(USAGE));
        }
    };
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
    allocator::one_arena();
    Opened::new(config, path)?.run()?;
    Ok(ExitCode::SUCCESS)
}
