//! Ends of intents, and what they do to servers and NICs.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder};

use super::DbError;
use super::entity::{intent, port, server};
use super::intents::OPEN;
use crate::lifecycle::OperState;

/// Ends an intent; false: it has ended before.
///
/// # Errors
/// The database's own.
pub async fn end(
    tx: &DatabaseTransaction,
    id: i64,
    state: &str,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = intent::Entity::update_many()
        .col_expr(intent::Column::State, Expr::value(state))
        .col_expr(intent::Column::Error, Expr::value(error))
        .col_expr(intent::Column::LeasedBy, Expr::value(None::<String>))
        .col_expr(
            intent::Column::LeasedUntil,
            Expr::value(None::<DateTime<Utc>>),
        )
        // A secret is needed no more.
        .col_expr(intent::Column::Secrets, Expr::value(None::<String>))
        .col_expr(intent::Column::UpdatedAt, Expr::value(now))
        .filter(intent::Column::Id.eq(id))
        .filter(intent::Column::State.is_in(OPEN))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// The open intents that come directly after one.
///
/// # Errors
/// The database's own.
pub async fn open_after(tx: &DatabaseTransaction, id: i64) -> Result<Vec<intent::Model>, DbError> {
    let rows = intent::Entity::find()
        .filter(intent::Column::AfterId.eq(id))
        .filter(intent::Column::State.is_in(OPEN))
        .order_by_asc(intent::Column::Id)
        .all(tx)
        .await?;
    Ok(rows)
}

/// What went wrong with a server.
#[derive(Debug, Clone, Copy)]
pub struct Fault<'a> {
    /// HTTP status.
    pub code: i32,
    /// What its user is told.
    pub message: &'a str,
    /// The task that ends so; another one that has begun since is left alone.
    pub task: Option<&'a str>,
    /// Whether it is its creation: then there is no server.
    pub is_creation: bool,
}

/// Tells a server what went wrong with it, and ends its task.
///
/// # Errors
/// The database's own.
pub async fn fault(
    tx: &DatabaseTransaction,
    id: i64,
    fault: Fault<'_>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    server::Entity::update_many()
        .col_expr(server::Column::FaultCode, Expr::value(fault.code))
        .col_expr(server::Column::FaultMessage, Expr::value(fault.message))
        .col_expr(server::Column::FaultAt, Expr::value(now))
        .col_expr(server::Column::UpdatedAt, Expr::value(now))
        .filter(server::Column::Id.eq(id))
        .filter(server::Column::Deletion.eq(0))
        .exec(tx)
        .await?;
    if fault.is_creation {
        server::Entity::update_many()
            .col_expr(
                server::Column::OperState,
                Expr::value(OperState::Error.as_str()),
            )
            .filter(server::Column::Id.eq(id))
            .filter(server::Column::OperState.eq(OperState::Build.as_str()))
            .exec(tx)
            .await?;
        port::Entity::update_many()
            .col_expr(port::Column::State, Expr::value("ERROR"))
            .col_expr(port::Column::UpdatedAt, Expr::value(now))
            .filter(port::Column::ServerId.eq(id))
            .filter(port::Column::Deletion.eq(0))
            .exec(tx)
            .await?;
    }
    let ends = match fault.task {
        Some(task) => Condition::all().add(server::Column::Task.eq(task)),
        None => return Ok(()),
    };
    server::Entity::update_many()
        .col_expr(server::Column::Task, Expr::value(None::<String>))
        .filter(server::Column::Id.eq(id))
        .filter(ends)
        .exec(tx)
        .await?;
    Ok(())
}

/// Says how a NIC stands, if it is not deleted.
///
/// # Errors
/// The database's own.
pub async fn port_state(
    tx: &DatabaseTransaction,
    id: i64,
    state: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    port::Entity::update_many()
        .col_expr(port::Column::State, Expr::value(state))
        .col_expr(port::Column::UpdatedAt, Expr::value(now))
        .filter(port::Column::Id.eq(id))
        .filter(port::Column::Deletion.eq(0))
        .exec(tx)
        .await?;
    Ok(())
}
