//! What an operator does from the shell: each verb is a function that changes rows, in one transaction with its audit entry,
//! and answers with what is to be shown.

mod account;
mod backend;
mod catalog;
mod network;
mod queue;
mod server;
mod shown;

use clap::Subcommand;
use serde_json::Value;

use crate::backends::BackendError;
use crate::backends::refresh::RefreshError;
use crate::cloud::{self, Cloud};
use crate::db::audit::{self, Actor, Deed};
use crate::db::{Conflict, DbError, Tx};
use crate::rapi::RapiError;
use crate::seal::SealError;
use crate::secret::SecretError;

pub use shown::Shown;

/// Why a verb is not done.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// It was asked for wrongly.
    #[error("{0}")]
    Usage(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Refused(String),
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The database's own.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Ganeti's.
    #[error(transparent)]
    Rapi(#[from] RapiError),
    /// A cluster's row.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A cluster's numbers.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The keys.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// New secrets.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Conflict for ManageError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_conflict())
    }
}

/// The verbs.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Add a Ganeti cluster: its certificate is shown, its credentials are tried, its numbers are read.
    BackendAdd(backend::Add),
    /// List the clusters.
    BackendList,
    /// Change how a cluster is spoken to, or what is asked of it.
    BackendModify(backend::Modify),
    /// Forget a cluster that has no servers.
    BackendRemove {
        /// Its name, UUID or number.
        backend: String,
    },
    /// Read what clusters have.
    BackendRefresh {
        /// Its name, UUID or number; all, if it is left out.
        backend: Option<String>,
    },
    /// Make the tokens that a cluster's programs post with; those it had are worth nothing from now on. Printed once.
    BackendCredentials(backend::Credentials),
    /// Make a flavor.
    FlavorCreate(catalog::NewFlavor),
    /// List the flavors.
    FlavorList,
    /// Delete a flavor; servers keep what they have.
    FlavorDelete {
        /// Its name, UUID or number.
        flavor: String,
    },
    /// Register an image: an OS of Ganeti's with its parameters.
    ImageRegister(catalog::NewImage),
    /// List the images.
    ImageList,
    /// Make a network.
    NetworkCreate(network::NewNetwork),
    /// List the networks.
    NetworkList,
    /// Give a network its addresses.
    SubnetCreate(network::NewSubnet),
    /// List the subnets.
    SubnetList,
    /// List the servers.
    ServerList {
        /// Those that are gone too.
        #[arg(long)]
        all: bool,
    },
    /// Show a server.
    ServerShow {
        /// Its UUID, number or instance name.
        server: String,
    },
    /// Tell how a server came to be as it is: calls, intents, jobs, events, rows.
    ServerExplain {
        /// Its UUID, number or instance name.
        server: String,
    },
    /// Make a user, or give one another role.
    UserCreate(account::NewUser),
    /// Make a project.
    ProjectCreate {
        /// Its name.
        name: String,
        /// Free words.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the projects.
    ProjectList,
    /// Say what a project may have.
    QuotaSet {
        /// Its name, UUID or number.
        project: String,
        /// As in `instances=20`; -1 is any number, `default` is what the configuration says.
        #[arg(required = true, value_name = "RESOURCE=MOST")]
        most: Vec<String>,
    },
    /// List the messages that could not be taken in.
    QueueInspect {
        /// With their bodies.
        #[arg(long)]
        bodies: bool,
    },
    /// Take such messages in again.
    QueueRetry {
        /// Their numbers; all, if none is given.
        letters: Vec<i64>,
    },
}

/// Does what was asked.
///
/// # Errors
/// See [`ManageError`].
pub async fn run(cloud: &Cloud, command: Command) -> Result<Shown, ManageError> {
    match command {
        Command::BackendAdd(add) => backend::add(cloud, add).await,
        Command::BackendList => backend::list(cloud).await,
        Command::BackendModify(modify) => backend::modify(cloud, modify).await,
        Command::BackendRemove { backend } => backend::remove(cloud, &backend).await,
        Command::BackendRefresh { backend } => backend::refresh(cloud, backend.as_deref()).await,
        Command::BackendCredentials(wanted) => backend::credentials(cloud, wanted).await,
        Command::FlavorCreate(new) => catalog::create_flavor(cloud, new).await,
        Command::FlavorList => catalog::list_flavors(cloud).await,
        Command::FlavorDelete { flavor } => catalog::delete_flavor(cloud, &flavor).await,
        Command::ImageRegister(new) => catalog::register_image(cloud, new).await,
        Command::ImageList => catalog::list_images(cloud).await,
        Command::NetworkCreate(new) => network::create(cloud, new).await,
        Command::NetworkList => network::list(cloud).await,
        Command::SubnetCreate(new) => network::create_subnet(cloud, new).await,
        Command::SubnetList => network::list_subnets(cloud).await,
        Command::ServerList { all } => server::list(cloud, all).await,
        Command::ServerShow { server } => server::show(cloud, &server).await,
        Command::ServerExplain { server } => server::explain(cloud, &server).await,
        Command::UserCreate(new) => account::create_user(cloud, new).await,
        Command::ProjectCreate { name, description } => {
            account::create_project(cloud, &name, &description).await
        }
        Command::ProjectList => account::list_projects(cloud).await,
        Command::QuotaSet { project, most } => account::set_quota(cloud, &project, &most).await,
        Command::QueueInspect { bodies } => queue::inspect(cloud, bodies).await,
        Command::QueueRetry { letters } => queue::retry(cloud, &letters).await,
    }
}

/// The one thing of this name; `kind` is for people.
fn only<M>(mut found: Vec<M>, kind: &str, key: &str) -> Result<M, ManageError> {
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(ManageError::Refused(format!(
            "several {kind}s are called {key:?}: say its UUID"
        ))),
        (None, _) => Err(ManageError::Refused(format!("there is no {kind} {key:?}"))),
    }
}

/// Writes down what is done, in the transaction that does it.
async fn note(
    tx: &Tx,
    (kind, verb): (&str, &str),
    target: String,
    detail: Value,
) -> Result<(), DbError> {
    let deed = Deed {
        action: &format!("{kind}.{verb}"),
        kind,
        target: Some(target),
        result: 0,
        detail,
    };
    audit::record(&**tx, &Actor::program("snf-manage"), deed, cloud::now()).await
}

/// The first line of a file: a secret, which command lines would show to everybody.
fn secret_of(path: &std::path::Path) -> Result<String, ManageError> {
    let text = std::fs::read_to_string(path).map_err(|source| ManageError::Read {
        path: path.display().to_string(),
        source,
    })?;
    let line = text.lines().next().unwrap_or_default().to_owned();
    if line.is_empty() {
        let path = path.display();
        return Err(ManageError::Usage(format!(
            "{path}: there is no secret in it"
        )));
    }
    Ok(line)
}
