//! The tables, version by version. A version that was released is never changed: what differs comes in the next, in two
//! steps where running programs of both versions must get along (first what is added, a release later what is dropped).

mod m0001;

use sea_orm::sea_query::Query;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, FromQueryResult, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

/// All versions, in order.
#[derive(Debug)]
pub struct Migrator;

/// Where the database says which versions were applied.
const TABLE: &str = "seaql_migrations";

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m0001::Migration)]
    }
}

/// The names of all versions.
#[must_use]
pub fn names() -> Vec<String> {
    let all = Migrator::migrations();
    all.iter().map(|each| each.name().to_owned()).collect()
}

#[derive(FromQueryResult)]
struct Applied {
    version: String,
}

/// The names of the versions that were applied.
///
/// # Errors
/// The database's own.
pub async fn applied(connection: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    if !SchemaManager::new(connection).has_table(TABLE).await? {
        return Ok(Vec::new());
    }
    let query = Query::select().column("version").from(TABLE).to_owned();
    let statement = connection.get_database_backend().build(&query);
    let rows = Applied::find_by_statement(statement)
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// Applies what is missing, while nobody else does. Where tables can be made in a transaction, all of it happens or nothing.
///
/// # Errors
/// The database's own.
pub async fn bring_up(connection: &DatabaseConnection) -> Result<(), DbErr> {
    let kind = connection.get_database_backend();
    if kind == DbBackend::MySql {
        let lock = "SELECT GET_LOCK('snf_controller_migrate', 600)";
        connection.execute_unprepared(lock).await?;
        let done = Migrator::up(connection, None).await;
        let release = "SELECT RELEASE_LOCK('snf_controller_migrate')";
        connection.execute_unprepared(release).await?;
        return done;
    }
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = connection.begin_with_options(options).await?;
    if kind == DbBackend::Postgres {
        // Its number is ours alone: the program's name in ASCII.
        let lock = "SELECT pg_advisory_xact_lock(1936613933)";
        transaction.execute_unprepared(lock).await?;
    }
    Migrator::up(&transaction, None).await?;
    transaction.commit().await
}
