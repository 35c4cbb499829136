//! Networks on clusters.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::DbError;
use super::entity::{backend_network, network, subnet};

/// Asked for, not there yet.
pub const PENDING: &str = "PENDING";
/// There, on all node groups.
pub const ACTIVE: &str = "ACTIVE";
/// Ganeti refused it.
pub const ERROR: &str = "ERROR";
/// Removed.
pub const DELETED: &str = "DELETED";

/// A network with its subnets, its row locked: one at a time decides whether it must be brought to a cluster.
///
/// # Errors
/// The database's own.
pub async fn lock_network(
    tx: &DatabaseTransaction,
    network_id: i64,
) -> Result<Option<(network::Model, Vec<subnet::Model>)>, DbError> {
    let found = network::Entity::find_by_id(network_id)
        .lock_exclusive()
        .one(tx)
        .await?;
    let Some(found) = found else {
        return Ok(None);
    };
    let subnets = subnet::Entity::find()
        .filter(subnet::Column::NetworkId.eq(network_id))
        .filter(subnet::Column::Deletion.eq(0))
        .order_by_asc(subnet::Column::IpVersion)
        .all(tx)
        .await?;
    Ok(Some((found, subnets)))
}

/// How a network stands on a cluster; `None`: it never was there.
///
/// # Errors
/// The database's own.
pub async fn find(
    tx: &DatabaseTransaction,
    network_id: i64,
    backend_id: i64,
) -> Result<Option<backend_network::Model>, DbError> {
    let found = backend_network::Entity::find()
        .filter(backend_network::Column::NetworkId.eq(network_id))
        .filter(backend_network::Column::BackendId.eq(backend_id))
        .lock_exclusive()
        .one(tx)
        .await?;
    Ok(found)
}

/// Says how a network stands on a cluster; the network's row is locked.
///
/// # Errors
/// The database's own.
pub async fn set_state(
    tx: &DatabaseTransaction,
    (network_id, backend_id): (i64, i64),
    state: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let state = ActiveValue::Set(state.to_owned());
    let updated_at = ActiveValue::Set(now);
    if let Some(found) = find(tx, network_id, backend_id).await? {
        let mut row: backend_network::ActiveModel = found.into();
        row.oper_state = state;
        row.updated_at = updated_at;
        row.update(tx).await?;
        return Ok(());
    }
    let row = backend_network::ActiveModel {
        id: ActiveValue::NotSet,
        network_id: ActiveValue::Set(network_id),
        backend_id: ActiveValue::Set(backend_id),
        oper_state: state,
        job_id: ActiveValue::Set(None),
        created_at: ActiveValue::Set(now),
        updated_at,
    };
    row.insert(tx).await?;
    Ok(())
}
