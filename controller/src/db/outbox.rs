//! Which intent is sent next, by whom, and how far that is.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::DbError;
use super::entity::{backend, intent, job};
use super::intents::{SENDING, SUBMITTED, WAITING};

/// What it comes after is done.
const TURN: &str = "(intents.after_id IS NULL OR EXISTS (
    SELECT 1 FROM intents b WHERE b.id = intents.after_id AND b.state = 'done'))";
/// A server does one thing after the other, in the order they were asked for.
const SERVER: &str = "NOT EXISTS (
    SELECT 1 FROM intents e WHERE e.server_id = intents.server_id AND e.id < intents.id
    AND e.state IN ('waiting', 'sending', 'submitted'))";
/// So does a network on a cluster.
const NETWORK: &str = "(intents.server_id IS NOT NULL OR intents.network_id IS NULL OR NOT EXISTS (
    SELECT 1 FROM intents n WHERE n.network_id = intents.network_id AND n.backend_id = intents.backend_id
    AND n.server_id IS NULL AND n.id < intents.id AND n.state IN ('waiting', 'sending', 'submitted')))";
/// And none of the networks that a server's NICs are on is on its way there.
const NETWORKS_OF_SERVER: &str = "(intents.server_id IS NULL OR NOT EXISTS (
    SELECT 1 FROM intents n JOIN ports p ON p.network_id = n.network_id
    WHERE (p.server_id = intents.server_id OR p.id = intents.port_id) AND n.backend_id = intents.backend_id
    AND n.server_id IS NULL AND n.id < intents.id AND n.state IN ('waiting', 'sending', 'submitted')))";

/// Who leases, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Lease<'a> {
    /// The worker.
    pub worker: &'a str,
    /// From when.
    pub now: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
}

/// Takes the first intent whose turn it is, on a cluster that is neither offline nor among `resting`. What others hold is
/// passed over; a lease that has run out holds nothing.
///
/// # Errors
/// The database's own.
pub async fn lease(
    tx: &DatabaseTransaction,
    lease: Lease<'_>,
    resting: &[i64],
) -> Result<Option<intent::Model>, DbError> {
    let reachable = Query::select()
        .column(backend::Column::Id)
        .from(backend::Entity)
        .and_where(backend::Column::Offline.eq(false))
        .to_owned();
    let is_free = Condition::any()
        .add(intent::Column::LeasedUntil.is_null())
        .add(intent::Column::LeasedUntil.lt(lease.now));
    let mut wanted = intent::Entity::find()
        .filter(intent::Column::State.is_in([WAITING, SENDING]))
        .filter(intent::Column::NotBefore.lte(lease.now))
        .filter(is_free)
        .filter(intent::Column::BackendId.in_subquery(reachable))
        .filter(Expr::cust(TURN))
        .filter(Expr::cust(SERVER))
        .filter(Expr::cust(NETWORK))
        .filter(Expr::cust(NETWORKS_OF_SERVER));
    if !resting.is_empty() {
        wanted = wanted.filter(intent::Column::BackendId.is_not_in(resting.iter().copied()));
    }
    let found = wanted
        .order_by_asc(intent::Column::Id)
        .limit(1)
        // SQLite has one writer at a time, and no such words.
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .one(tx)
        .await?;
    let Some(mut found) = found else {
        return Ok(None);
    };
    let taken = intent::Entity::update_many()
        .col_expr(intent::Column::LeasedBy, Expr::value(lease.worker))
        .col_expr(intent::Column::LeasedUntil, Expr::value(lease.until))
        .filter(intent::Column::Id.eq(found.id))
        .filter(intent::Column::State.eq(found.state.clone()))
        .exec(tx)
        .await?;
    found.leased_by = Some(lease.worker.to_owned());
    found.leased_until = Some(lease.until);
    Ok((taken.rows_affected == 1).then_some(found))
}

/// Holds an intent longer; false: it is not held any more.
///
/// # Errors
/// The database's own.
pub async fn renew(
    connection: &impl ConnectionTrait,
    id: i64,
    lease: Lease<'_>,
) -> Result<bool, DbError> {
    let done = intent::Entity::update_many()
        .col_expr(intent::Column::LeasedUntil, Expr::value(lease.until))
        .filter(held(id, lease.worker))
        .exec(connection)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Notes, before anything is sent, that it will be, and what the highest job is now; the first such number stays. False: it
/// is not held any more, and must not be sent.
///
/// # Errors
/// The database's own.
pub async fn sending(
    tx: &DatabaseTransaction,
    id: i64,
    highest_job: i64,
    lease: Lease<'_>,
) -> Result<bool, DbError> {
    let first = Expr::col(intent::Column::HighestJob).if_null(highest_job);
    let done = intent::Entity::update_many()
        .col_expr(intent::Column::State, Expr::value(SENDING))
        .col_expr(intent::Column::HighestJob, first)
        .col_expr(
            intent::Column::Attempts,
            Expr::col(intent::Column::Attempts).add(1),
        )
        .col_expr(intent::Column::LeasedUntil, Expr::value(lease.until))
        .col_expr(intent::Column::UpdatedAt, Expr::value(lease.now))
        .filter(held(id, lease.worker))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Notes the job. That there is one is true whoever holds the intent; what has ended meanwhile, by an event that was faster,
/// only learns its number.
///
/// # Errors
/// The database's own.
pub async fn submitted(
    tx: &DatabaseTransaction,
    id: i64,
    job: i64,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    intent::Entity::update_many()
        .col_expr(intent::Column::State, Expr::value(SUBMITTED))
        .col_expr(intent::Column::Error, Expr::value(None::<String>))
        .filter(intent::Column::Id.eq(id))
        .filter(intent::Column::State.is_in([WAITING, SENDING]))
        .exec(tx)
        .await?;
    intent::Entity::update_many()
        .col_expr(intent::Column::JobId, Expr::value(job))
        .col_expr(intent::Column::LeasedBy, Expr::value(None::<String>))
        .col_expr(
            intent::Column::LeasedUntil,
            Expr::value(None::<DateTime<Utc>>),
        )
        // A secret is needed no more.
        .col_expr(intent::Column::Secrets, Expr::value(None::<String>))
        .col_expr(intent::Column::UpdatedAt, Expr::value(now))
        .filter(intent::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Puts an intent off, and gives its lease back.
///
/// # Errors
/// The database's own.
pub async fn put_off(
    tx: &DatabaseTransaction,
    id: i64,
    lease: Lease<'_>,
    (state, why): (&str, &str),
) -> Result<(), DbError> {
    intent::Entity::update_many()
        .col_expr(intent::Column::State, Expr::value(state))
        .col_expr(intent::Column::Error, Expr::value(why))
        .col_expr(intent::Column::NotBefore, Expr::value(lease.until))
        .col_expr(intent::Column::LeasedBy, Expr::value(None::<String>))
        .col_expr(
            intent::Column::LeasedUntil,
            Expr::value(None::<DateTime<Utc>>),
        )
        .col_expr(intent::Column::UpdatedAt, Expr::value(lease.now))
        .filter(held(id, lease.worker))
        .exec(tx)
        .await?;
    Ok(())
}

/// Gives all leases of a worker back. What may have been sent is looked for from `lease.until` on, when it can be seen.
///
/// # Errors
/// The database's own.
pub async fn release(tx: &DatabaseTransaction, lease: Lease<'_>) -> Result<u64, DbError> {
    intent::Entity::update_many()
        .col_expr(intent::Column::NotBefore, Expr::value(lease.until))
        .filter(intent::Column::LeasedBy.eq(lease.worker))
        .filter(intent::Column::State.eq(SENDING))
        .exec(tx)
        .await?;
    let done = intent::Entity::update_many()
        .col_expr(intent::Column::LeasedBy, Expr::value(None::<String>))
        .col_expr(
            intent::Column::LeasedUntil,
            Expr::value(None::<DateTime<Utc>>),
        )
        .filter(intent::Column::LeasedBy.eq(lease.worker))
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

/// The highest job of a cluster that we ever heard of: any job that is still to come is above.
///
/// # Errors
/// The database's own.
pub async fn highest_known_job(
    connection: &impl ConnectionTrait,
    backend_id: i64,
) -> Result<i64, DbError> {
    let told = job::Entity::find()
        .select_only()
        .column_as(job::Column::JobId.max(), "highest")
        .filter(job::Column::BackendId.eq(backend_id))
        .into_tuple::<Option<i64>>()
        .one(connection)
        .await?;
    let made = intent::Entity::find()
        .select_only()
        .column_as(intent::Column::JobId.max(), "highest")
        .filter(intent::Column::BackendId.eq(backend_id))
        .into_tuple::<Option<i64>>()
        .one(connection)
        .await?;
    let known = [told.flatten(), made.flatten()];
    Ok(known.into_iter().flatten().max().unwrap_or_default())
}

fn held(id: i64, worker: &str) -> Condition {
    Condition::all()
        .add(intent::Column::Id.eq(id))
        .add(intent::Column::LeasedBy.eq(worker))
        .add(intent::Column::State.is_in([WAITING, SENDING]))
}
