//! The database: SQLite, PostgreSQL or MariaDB, told by its URL. All SQL is below here.
//!
//! Every transaction that writes is begun as one ([`Db::begin`]), reads committed rows, and may be refused because another
//! was faster: then it is tried again from its first line ([`Db::write`]). Nothing outside the database happens inside one.

pub mod accounts;
pub mod audit;
pub mod backend_networks;
pub mod backends;
pub mod credentials;
pub mod doubts;
pub mod entity;
pub mod events;
pub mod explain;
pub mod flavors;
pub mod images;
pub mod intents;
pub mod key_pairs;
pub mod lookup;
pub mod migrations;
pub mod networks;
pub mod outbox;
pub mod outcomes;
pub mod quotas;
pub mod rows;
pub mod senders;
pub mod servers;
pub mod streams;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    IsolationLevel, RuntimeErr, SqlErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};

/// How long one waits for a connection, and SQLite for its one writer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a transaction that others are in the way of is tried.
const ATTEMPTS: u32 = 8;

/// Why the database does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The URL names none of the three.
    #[error(
        "{url}: the database's URL begins with sqlite:, postgres: or mysql:, as in sqlite:/var/lib/synnefo/controller.db"
    )]
    Url {
        /// The URL, without a password.
        url: String,
    },
    /// It is not there.
    #[error("connect to {url}")]
    Connect {
        /// The URL, without a password.
        url: String,
        /// Why not.
        #[source]
        source: DbErr,
    },
    /// Its tables are older than this program.
    #[error("the database lacks {0}: run `snf-controller migrate`")]
    Behind(String),
    /// Its tables are newer than this program.
    #[error("the database was migrated by a newer version ({0}): run that one")]
    Ahead(String),
    /// Its tables cannot be changed.
    #[error("migrate the database")]
    Migrate(#[source] DbErr),
    /// The body of a transaction let it escape.
    #[error("a transaction outlives its body")]
    Kept,
    /// A statement failed.
    #[error("the database failed")]
    Statement(#[from] DbErr),
}

impl DbError {
    /// Whether the same may succeed when it is tried again: others were in the way.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Statement(error) if is_conflict(error))
    }

    /// Whether a row like it is there already: a unique index says so.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        let Self::Statement(error) = self else {
            return false;
        };
        matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
    }
}

/// PostgreSQL 40001 and 40P01, MariaDB 1213 and 1205, SQLite's busy and locked.
fn is_conflict(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))
    | DbErr::Conn(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let Some(error) = error.as_database_error() else {
        return false;
    };
    let code = error.code().unwrap_or_default();
    let number = error
        .try_downcast_ref::<sea_orm::sqlx::mysql::MySqlDatabaseError>()
        .map(sea_orm::sqlx::mysql::MySqlDatabaseError::number);
    // What was looked for and not found is there now: whoever tries again finds it, and refuses or takes another.
    error.is_unique_violation()
        || matches!(
            &*code,
            "40001" | "40P01" | "5" | "6" | "261" | "262" | "517"
        )
        || matches!(number, Some(1213 | 1205 | 1020))
}

/// The database.
#[derive(Debug, Clone)]
pub struct Db {
    connection: DatabaseConnection,
}

impl Db {
    /// Connects.
    ///
    /// # Errors
    /// It is none of the three, or cannot be reached.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, DbError> {
        let shown = without_password(url);
        let known = ["sqlite:", "postgres:", "postgresql:", "mysql:"];
        if !known.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(DbError::Url { url: shown });
        }
        let mut options = ConnectOptions::new(url);
        options
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            .connect_timeout(PATIENCE)
            .sqlx_logging(false)
            .map_sqlx_sqlite_opts(|options| {
                options
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    // A message is acknowledged after the commit: it must outlive a power failure.
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .busy_timeout(PATIENCE)
            });
        let connection = Database::connect(options).await;
        let connection = connection.map_err(|source| DbError::Connect { url: shown, source })?;
        Ok(Self { connection })
    }

    /// Which of the three it is.
    #[must_use]
    pub fn kind(&self) -> DbBackend {
        self.connection.get_database_backend()
    }

    /// For reading outside a transaction.
    #[must_use]
    pub const fn reader(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Begins a transaction that writes.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbError> {
        let options = TransactionOptions {
            // SQLite has one writer, and sees what was committed before it began.
            isolation_level: (self.kind() != DbBackend::Sqlite)
                .then_some(IsolationLevel::ReadCommitted),
            access_mode: None,
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        };
        // Whoever waits for this may be dropped, as a request is that its client has broken off. A connection that was being
        // told to begin then goes back to the others with a transaction open on its server (MariaDB refuses the next one):
        // so it is begun whatever happens, and rolled back.
        let connection = self.connection.clone();
        let begun = tokio::spawn(async move { connection.begin_with_options(options).await });
        let begun = begun.await.map_err(|error| {
            DbErr::Conn(RuntimeErr::Internal(format!(
                "begin a transaction: {error}"
            )))
        })?;
        Ok(begun?)
    }

    /// Runs a transaction, again where others were in the way: `db.write(async |tx| act(&tx, …).await)`.
    ///
    /// The transaction is handed over by value, since futures of closures that borrow their argument are not known to be
    /// `Send`, which routes and tasks ask for.
    ///
    /// # Errors
    /// What `body` returns, or the database's own.
    pub async fn write<T, E, F>(&self, mut body: impl FnMut(Tx) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: From<DbError> + Conflict,
    {
        let mut attempt = 1;
        loop {
            let transaction = Arc::new(self.begin().await?);
            let done = body(Tx(Arc::clone(&transaction))).await;
            // The body has ended, and what it was given with it.
            let transaction = Arc::into_inner(transaction).ok_or(DbError::Kept)?;
            let done = match done {
                Ok(value) => {
                    let committed = transaction.commit().await;
                    committed
                        .map(|()| value)
                        .map_err(|error| DbError::from(error).into())
                }
                Err(error) => {
                    // What it was refused for counts, not that this fails too.
                    let _ = transaction.rollback().await;
                    Err(error)
                }
            };
            match done {
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => {
                    tokio::time::sleep(pause(attempt)).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// Brings the tables at `url` up to this program's version. Several may try at once: one does it.
    ///
    /// # Errors
    /// A newer program was here, the database is away, or refuses.
    pub async fn migrate(url: &str) -> Result<(), DbError> {
        // One connection: a lock belongs to the one that took it.
        let db = Self::connect(url, 1).await?;
        let checked = match db.check().await {
            Err(DbError::Behind(_)) => match migrations::bring_up(&db.connection).await {
                Ok(()) => db.check().await,
                Err(error) => Err(DbError::Migrate(error)),
            },
            checked => checked,
        };
        db.close().await;
        checked
    }

    /// Whether the tables are this program's.
    ///
    /// # Errors
    /// [`DbError::Behind`], [`DbError::Ahead`], or the database's own.
    pub async fn check(&self) -> Result<(), DbError> {
        let ours = migrations::names();
        let theirs = migrations::applied(&self.connection).await?;
        if let Some(strange) = theirs.iter().find(|name| !ours.contains(name)) {
            return Err(DbError::Ahead(strange.clone()));
        }
        if let Some(missing) = ours.iter().find(|name| !theirs.contains(name)) {
            return Err(DbError::Behind(missing.clone()));
        }
        Ok(())
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), DbError> {
        Ok(self.connection.ping().await?)
    }

    /// Ends all connections.
    pub async fn close(self) {
        // Whatever was not committed is rolled back by the server.
        let _ = self.connection.close().await;
    }
}

/// A transaction of [`Db::write`].
#[derive(Debug)]
pub struct Tx(Arc<DatabaseTransaction>);

impl std::ops::Deref for Tx {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.0
    }
}

/// An error that may say that others were in the way.
pub trait Conflict {
    /// Whether it does.
    fn is_conflict(&self) -> bool;
}

impl Conflict for DbError {
    fn is_conflict(&self) -> bool {
        Self::is_conflict(self)
    }
}

/// 5 ms, 10 ms, … apart, so that two who are in each other's way do not meet again: the process's own number spreads them.
fn pause(attempt: u32) -> Duration {
    let spread = u64::from(std::process::id() % 7);
    Duration::from_millis((5 + spread) << attempt.min(6))
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((login, place)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://snf:se@cret@db/x", "postgres://snf@db/x"),
            ("mysql://snf@db/x", "mysql://snf@db/x"),
            ("sqlite:/var/lib/x.db", "sqlite:/var/lib/x.db"),
            ("sqlite:///var/lib/x.db", "sqlite:///var/lib/x.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
