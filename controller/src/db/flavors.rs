//! Sizes of servers.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::DbError;
use super::entity::flavor;

/// All that are not deleted, in the order they were made.
///
/// # Errors
/// The database's own.
pub async fn all(connection: &impl ConnectionTrait) -> Result<Vec<flavor::Model>, DbError> {
    let all = flavor::Entity::find()
        .filter(flavor::Column::Deletion.eq(0))
        .order_by_asc(flavor::Column::Id);
    Ok(all.all(connection).await?)
}

/// The one of this UUID, deleted or not.
///
/// # Errors
/// The database's own.
pub async fn find(
    connection: &impl ConnectionTrait,
    uuid: Uuid,
) -> Result<Option<flavor::Model>, DbError> {
    let found = flavor::Entity::find().filter(flavor::Column::Uuid.eq(uuid));
    Ok(found.one(connection).await?)
}
