//! snf-controller's command line.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use controller::api::{self, health};
use controller::backends::refresh;
use controller::bootstrap::{self, Admin};
use controller::cloud::Cloud;
use controller::config::Config;
use controller::db::Db;
use controller::doubts;
use controller::outbox::{Outbox, Settings};
use controller::seal::Seal;
use controller::service::Parts;
use tokio::net::TcpListener;

/// A cloud on Ganeti: the OpenStack API, its database, and the jobs.
#[derive(Debug, Parser)]
#[command(name = "snf-controller", version)]
struct Arguments {
    /// The configuration file [default: /etc/snf/snf-controller.toml, which may be missing].
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a filter as in controller=debug.
    #[arg(
        long,
        global = true,
        default_value = "info,sqlx=warn",
        value_name = "FILTER"
    )]
    log: String,
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make keys, tables, and the user admin, where they are missing; its password is printed, once.
    Bootstrap {
        /// Take the password from this file's first line.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Bring the database's tables up to this version.
    Migrate,
    /// Check the configuration.
    CheckConfig,
    /// Answer requests.
    Api,
    /// Do everything in one process.
    Serve,
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
            complain(&anyhow::Error::from(error));
            return ExitCode::from(USAGE);
        }
    };
    if let Err(error) = log(&arguments.log) {
        complain(&error.context(format!("--log {}", arguments.log)));
        return ExitCode::from(USAGE);
    }
    match run(arguments.command, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn complain(error: &anyhow::Error) {
    // Nobody is left to tell when this cannot be written.
    let _ = writeln!(io::stderr(), "snf-controller: {error:#}");
}

fn log(filter: &str) -> anyhow::Result<()> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(filter)?)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    // The journal has its own time.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        subscriber.without_time().init();
    } else {
        subscriber.init();
    }
    Ok(())
}

fn run(command: Command, config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start threads")?;
    runtime.block_on(async {
        match command {
            Command::CheckConfig => Ok(()),
            Command::Migrate => Ok(Db::migrate(&config.database.url).await?),
            Command::Bootstrap { password_file } => {
                make_cloud(&config, password_file.as_deref()).await
            }
            Command::Api => serve(config, |_, _| {}).await,
            Command::Serve => serve(config, workers).await,
        }
    })
}

async fn make_cloud(config: &Config, password_file: Option<&Path>) -> anyhow::Result<()> {
    let given = password_file.map(read_password).transpose()?;
    let is_given = given.is_some();
    let done = bootstrap::run(config, given).await?;
    let mut out = io::stdout().lock();
    match done {
        Admin::Made { password } if !is_given => {
            writeln!(out, "user: admin\nproject: admin\npassword: {password}")?;
        }
        Admin::Made { .. } => writeln!(out, "user: admin\nproject: admin")?,
        Admin::Kept => writeln!(out, "the user admin is there; its password is as it was")?,
    }
    Ok(())
}

fn read_password(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    anyhow::ensure!(
        !password.is_empty(),
        "{}: no password in it",
        path.display()
    );
    Ok(password)
}

/// What `serve` does besides the API: a line for each worker.
fn workers(parts: &mut Parts, cloud: &Cloud) {
    parts.start("doubts", |stop| doubts::run(cloud.clone(), stop));
    parts.start("outbox", |stop| {
        Outbox::new(cloud.clone(), Settings::default()).run(stop)
    });
    parts.start("refresh", |stop| refresh::run(cloud.clone(), stop));
}

async fn serve(config: Config, more: impl FnOnce(&mut Parts, &Cloud)) -> anyhow::Result<()> {
    let seal = Seal::read(&config.keys).context("run `snf-controller bootstrap` first?")?;
    let db = Db::connect(&config.database.url, config.database.connections).await?;
    db.check().await?;
    let cloud = Cloud::new(db, config, seal);
    let mut parts = Parts::default();
    let listener = listen(cloud.config.api.listen).await?;
    tracing::info!(address = %cloud.config.api.listen, "listening");
    let router = api::router(cloud.clone());
    parts.start("api", |stop| api::serve(listener, router, stop));
    if let Some(address) = cloud.config.metrics {
        let listener = listen(address).await?;
        let router = health::router(cloud.clone());
        parts.start("metrics", |stop| api::serve(listener, router, stop));
    }
    more(&mut parts, &cloud);
    anyhow::ensure!(parts.run().await, "not all went well: see the log");
    cloud.db.close().await;
    tracing::info!("stopped");
    Ok(())
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("listen on {address}"))
}
