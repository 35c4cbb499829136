//! The first steps of a cloud: keys, tables, and somebody who may do everything. Done again, it changes nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::api::principal::Role;
use crate::cloud;
use crate::config::Config;
use crate::db::audit::{self, Actor, Deed};
use crate::db::{Db, DbError, accounts};
use crate::seal::{self, Seal, SealError};
use crate::secret::{self, SecretError};

/// The domain, the project and the user that a cloud begins with.
pub const DOMAIN: &str = "default";
const ADMIN: &str = "admin";

/// Why a cloud cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A file cannot be made.
    #[error("make {}", path.display())]
    Make {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The keys cannot be used.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database's own.
    #[error(transparent)]
    Db(#[from] DbError),
    /// There is no secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl crate::db::Conflict for BootstrapError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_conflict())
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin {
    /// The user was made with this password, which nobody can tell again.
    Made {
        /// The password.
        password: String,
    },
    /// The user was there; its password is as it was.
    Kept,
}

/// Makes what is missing: the key file, the database's tables, the domain `default`, the project and the user `admin`.
/// Without a `password` one is drawn.
///
/// # Errors
/// See [`BootstrapError`].
pub async fn run(config: &Config, password: Option<String>) -> Result<Admin, BootstrapError> {
    make_keys(&config.keys)?;
    Seal::read(&config.keys)?;
    make_sqlite_file(&config.database.url)?;
    Db::migrate(&config.database.url).await?;
    let db = Db::connect(&config.database.url, 1).await?;
    let done = make_admin(&db, password).await;
    db.close().await;
    done
}

/// Makes domain, project, user and roles, where they are missing.
///
/// # Errors
/// The database's own.
pub async fn make_admin(db: &Db, password: Option<String>) -> Result<Admin, BootstrapError> {
    let password = match password {
        Some(password) => password,
        None => secret::random()?,
    };
    let digest = secret::digest_password(&password)?;
    let is_new = db
        .write(async |tx| -> Result<bool, BootstrapError> {
            let tx = &*tx;
            let now = cloud::now();
            let domain = match accounts::domain_named(tx, DOMAIN).await? {
                Some(domain) => domain,
                None => accounts::add_domain(tx, DOMAIN, now).await?,
            };
            let project = match accounts::project_named(tx, domain.id, ADMIN).await? {
                Some(project) => project,
                None => accounts::add_project(tx, domain.id, ADMIN, "The operator's", now).await?,
            };
            let known = accounts::user_named(tx, domain.id, ADMIN).await?;
            let is_new = known.is_none();
            let user = match known {
                Some(user) => user,
                None => {
                    let home = Some(project.id);
                    accounts::add_user(tx, domain.id, ADMIN, Some(&digest), home, now).await?
                }
            };
            for role in Role::ALL {
                accounts::grant(tx, user.id, project.id, role).await?;
            }
            if is_new {
                let deed = Deed {
                    action: "cloud.bootstrap",
                    kind: "user",
                    target: Some(user.uuid.to_string()),
                    result: 0,
                    detail: json!({ "name": ADMIN }),
                };
                audit::record(tx, &Actor::program("snf-controller"), deed, now).await?;
            }
            Ok(is_new)
        })
        .await?;
    Ok(match is_new {
        true => Admin::Made { password },
        false => Admin::Kept,
    })
}

/// A key file, for its owner alone, unless there is one.
fn make_keys(path: &Path) -> Result<(), BootstrapError> {
    let made = make_file(path)?;
    let Some(mut file) = made else {
        return Ok(());
    };
    let written = file
        .write_all(seal::new_key().as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|source| BootstrapError::Make {
        path: path.to_owned(),
        source,
    })
}

/// SQLite's file, for its owner alone: what SQLite puts beside it is as open as it.
fn make_sqlite_file(url: &str) -> Result<(), BootstrapError> {
    let Some(place) = url.strip_prefix("sqlite:") else {
        return Ok(());
    };
    let place = place.strip_prefix("//").unwrap_or(place);
    let place = place.split('?').next().unwrap_or_default();
    if place.is_empty() || place == ":memory:" {
        return Ok(());
    }
    make_file(Path::new(place)).map(|_| ())
}

/// A new file and the folder it is in; nothing where the file is.
fn make_file(path: &Path) -> Result<Option<fs::File>, BootstrapError> {
    let failed = |path: &Path, source| BootstrapError::Make {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    }
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(source) => Err(failed(path, source)),
    }
}
