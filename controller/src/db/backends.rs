//! Clusters.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder,
};

use super::DbError;
use super::entity::{
    backend, backend_network, dead_letter, gap, inbox_entry, intent, job, server, stream,
};

/// A cluster by its number.
///
/// # Errors
/// The database's own.
pub async fn by_id(
    connection: &impl ConnectionTrait,
    id: i64,
) -> Result<Option<backend::Model>, DbError> {
    Ok(backend::Entity::find_by_id(id).one(connection).await?)
}

/// All clusters, in the order they were added.
///
/// # Errors
/// The database's own.
pub async fn all(connection: &impl ConnectionTrait) -> Result<Vec<backend::Model>, DbError> {
    let all = backend::Entity::find().order_by_asc(backend::Column::Id);
    Ok(all.all(connection).await?)
}

/// How many servers a cluster has, and how many it had that are still kept.
///
/// # Errors
/// The database's own.
pub async fn servers(connection: &impl ConnectionTrait, id: i64) -> Result<(u64, u64), DbError> {
    let on_it = || server::Entity::find().filter(server::Column::BackendId.eq(id));
    let all = on_it().count(connection).await?;
    let there = on_it().filter(server::Column::Deletion.eq(0));
    let there = there.count(connection).await?;
    Ok((there, all - there))
}

/// Removes a cluster that has and had no servers, with what was heard of it.
///
/// # Errors
/// The database's own.
pub async fn remove(tx: &DatabaseTransaction, id: i64) -> Result<(), DbError> {
    let streams = stream::Entity::find()
        .filter(stream::Column::BackendId.eq(id))
        .all(tx)
        .await?;
    let streams = streams.iter().map(|stream| stream.id);
    gap::Entity::delete_many()
        .filter(gap::Column::StreamId.is_in(streams))
        .exec(tx)
        .await?;
    // What comes after another goes before it.
    intent::Entity::update_many()
        .col_expr(intent::Column::AfterId, Expr::value(None::<i64>))
        .filter(intent::Column::BackendId.eq(id))
        .exec(tx)
        .await?;
    dead_letter::Entity::update_many()
        .col_expr(dead_letter::Column::BackendId, Expr::value(None::<i64>))
        .filter(dead_letter::Column::BackendId.eq(id))
        .exec(tx)
        .await?;
    macro_rules! forget {
        ($($module:ident),*) => {
            $($module::Entity::delete_many()
                .filter($module::Column::BackendId.eq(id))
                .exec(tx)
                .await?;)*
        };
    }
    forget!(stream, inbox_entry, job, intent, backend_network);
    backend::Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}
