//! Servers whose state is in doubt.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::DbError;
use super::entity::server;

/// Those that have been in doubt for longest.
///
/// # Errors
/// The database's own.
pub async fn oldest(
    connection: &impl ConnectionTrait,
    most: u64,
) -> Result<Vec<server::Model>, DbError> {
    let found = server::Entity::find()
        .filter(server::Column::DoubtfulAt.is_not_null())
        .filter(server::Column::Deletion.eq(0))
        .order_by_asc(server::Column::DoubtfulAt)
        .limit(most)
        .all(connection)
        .await?;
    Ok(found)
}
