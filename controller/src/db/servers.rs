//! Rows of servers, their metadata, and what they are made from.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait,
    Order, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::DbError;
use super::entity::{backend, flavor, image, server, server_metadata};
use super::networks::Viewer;

/// The server of this UUID, if it is seen and there.
///
/// # Errors
/// The database's own.
pub async fn server(
    db: &impl ConnectionTrait,
    viewer: Viewer,
    uuid: Uuid,
) -> Result<Option<server::Model>, DbError> {
    let found = server::Entity::find()
        .filter(server::Column::Uuid.eq(uuid))
        .filter(server::Column::Deletion.eq(0))
        .filter(owned(viewer));
    Ok(found.one(db).await?)
}

/// The same, locked.
///
/// # Errors
/// The database's own.
pub async fn lock(
    tx: &DatabaseTransaction,
    viewer: Viewer,
    uuid: Uuid,
) -> Result<Option<server::Model>, DbError> {
    let found = server::Entity::find()
        .filter(server::Column::Uuid.eq(uuid))
        .filter(server::Column::Deletion.eq(0))
        .filter(owned(viewer))
        .lock_exclusive();
    Ok(found.one(tx).await?)
}

fn owned(viewer: Viewer) -> Condition {
    if viewer.is_admin {
        return Condition::all();
    }
    Condition::all().add(server::Column::ProjectId.eq(viewer.project))
}

/// The flavor of this UUID, if it may be chosen.
///
/// # Errors
/// The database's own.
pub async fn flavor(
    db: &impl ConnectionTrait,
    viewer: Viewer,
    uuid: Uuid,
) -> Result<Option<flavor::Model>, DbError> {
    let mut found = flavor::Entity::find()
        .filter(flavor::Column::Uuid.eq(uuid))
        .filter(flavor::Column::Deletion.eq(0));
    if !viewer.is_admin {
        found = found.filter(flavor::Column::IsPublic.eq(true));
    }
    Ok(found.one(db).await?)
}

/// The flavor of this number, deleted or not.
///
/// # Errors
/// The database's own.
pub async fn flavor_by_id(
    db: &impl ConnectionTrait,
    id: i64,
) -> Result<Option<flavor::Model>, DbError> {
    Ok(flavor::Entity::find_by_id(id).one(db).await?)
}

/// The image of this UUID, if it may be used.
///
/// # Errors
/// The database's own.
pub async fn image(
    db: &impl ConnectionTrait,
    viewer: Viewer,
    uuid: Uuid,
) -> Result<Option<image::Model>, DbError> {
    let mut found = image::Entity::find()
        .filter(image::Column::Uuid.eq(uuid))
        .filter(image::Column::Deletion.eq(0));
    if !viewer.is_admin {
        found = found.filter(
            Condition::any()
                .add(image::Column::Visibility.eq("public"))
                .add(image::Column::ProjectId.eq(viewer.project)),
        );
    }
    Ok(found.one(db).await?)
}

/// The image of this number, deleted or not.
///
/// # Errors
/// The database's own.
pub async fn image_by_id(
    db: &impl ConnectionTrait,
    id: i64,
) -> Result<Option<image::Model>, DbError> {
    Ok(image::Entity::find_by_id(id).one(db).await?)
}

/// All clusters.
///
/// # Errors
/// The database's own.
pub async fn backends(db: &impl ConnectionTrait) -> Result<Vec<backend::Model>, DbError> {
    let all = backend::Entity::find().order_by_asc(backend::Column::Id);
    Ok(all.all(db).await?)
}

/// The cluster of this number.
///
/// # Errors
/// The database's own.
pub async fn backend(
    db: &impl ConnectionTrait,
    id: i64,
) -> Result<Option<backend::Model>, DbError> {
    Ok(backend::Entity::find_by_id(id).one(db).await?)
}

/// A cluster is counted fuller by an instance, until its own numbers are read again.
///
/// # Errors
/// The database's own.
pub async fn fill(
    tx: &DatabaseTransaction,
    backend: i64,
    ram: i64,
    disk: i64,
) -> Result<(), DbError> {
    use backend::Column::{DiskFree, Id, InstanceCount, MemoryFree};
    backend::Entity::update_many()
        .col_expr(MemoryFree, ExprTrait::sub(Expr::col(MemoryFree), ram))
        .col_expr(DiskFree, ExprTrait::sub(Expr::col(DiskFree), disk))
        .col_expr(InstanceCount, ExprTrait::add(Expr::col(InstanceCount), 1))
        .filter(Id.eq(backend))
        .exec(tx)
        .await?;
    Ok(())
}

/// The words on servers.
///
/// # Errors
/// The database's own.
pub async fn metadata(
    db: &impl ConnectionTrait,
    servers: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, BTreeMap<String, String>>, DbError> {
    let servers: BTreeSet<i64> = servers.into_iter().collect();
    let rows = server_metadata::Entity::find()
        .filter(server_metadata::Column::ServerId.is_in(servers))
        .all(db)
        .await?;
    let mut found: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
    for row in rows {
        let words = found.entry(row.server_id).or_default();
        words.insert(row.meta_key, row.meta_value);
    }
    Ok(found)
}

/// Has exactly these words on a server, which is locked.
///
/// # Errors
/// The database's own.
pub async fn set_metadata(
    tx: &DatabaseTransaction,
    server: i64,
    words: &BTreeMap<String, String>,
) -> Result<(), DbError> {
    server_metadata::Entity::delete_many()
        .filter(server_metadata::Column::ServerId.eq(server))
        .exec(tx)
        .await?;
    if words.is_empty() {
        return Ok(());
    }
    let rows = words
        .iter()
        .map(|(key, value)| server_metadata::ActiveModel {
            server_id: Set(server),
            meta_key: Set(key.clone()),
            meta_value: Set(value.clone()),
            ..Default::default()
        });
    server_metadata::Entity::insert_many(rows)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// By what servers are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// When they were asked for.
    Created,
    /// When they changed.
    Updated,
    /// Their names.
    Name,
    /// Their UUIDs.
    Uuid,
}

/// Which servers.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of this project; `None`: of all.
    pub project: Option<i64>,
    /// Changed since, deleted ones among them.
    pub since: Option<DateTime<Utc>>,
    /// Only deleted ones.
    pub deleted: bool,
    /// Of this flavor.
    pub flavor: Option<Uuid>,
    /// Of this image.
    pub image: Option<Uuid>,
    /// In what order.
    pub sort: Sort,
    /// The lowest first.
    pub ascending: bool,
}

/// A piece of the list, after a server of it.
///
/// # Errors
/// The database's own.
pub async fn list(
    db: &impl ConnectionTrait,
    wanted: &Wanted,
    after: Option<&server::Model>,
    most: u64,
) -> Result<Vec<server::Model>, DbError> {
    let mut found = server::Entity::find();
    if let Some(project) = wanted.project {
        found = found.filter(server::Column::ProjectId.eq(project));
    }
    if wanted.deleted {
        found = found.filter(server::Column::Deletion.ne(0));
    } else if wanted.since.is_none() {
        found = found.filter(server::Column::Deletion.eq(0));
    }
    if let Some(since) = wanted.since {
        found = found.filter(server::Column::UpdatedAt.gte(since));
    }
    if let Some(uuid) = wanted.flavor {
        let row = flavor::Entity::find().filter(flavor::Column::Uuid.eq(uuid));
        let id = row.one(db).await?.map_or(0, |flavor| flavor.id);
        found = found.filter(server::Column::FlavorId.eq(id));
    }
    if let Some(uuid) = wanted.image {
        let row = image::Entity::find().filter(image::Column::Uuid.eq(uuid));
        let id = row.one(db).await?.map_or(0, |image| image.id);
        found = found.filter(server::Column::ImageId.eq(id));
    }
    let column = match wanted.sort {
        Sort::Created => server::Column::CreatedAt,
        Sort::Updated => server::Column::UpdatedAt,
        Sort::Name => server::Column::Name,
        Sort::Uuid => server::Column::Uuid,
    };
    if let Some(last) = after {
        let value: sea_orm::Value = match wanted.sort {
            Sort::Created => last.created_at.into(),
            Sort::Updated => last.updated_at.into(),
            Sort::Name => last.name.clone().into(),
            Sort::Uuid => last.uuid.into(),
        };
        let beyond = |column: server::Column, value: sea_orm::Value| match wanted.ascending {
            true => column.gt(value),
            false => column.lt(value),
        };
        let beside = Condition::all()
            .add(ColumnTrait::eq(&column, value.clone()))
            .add(beyond(server::Column::Id, last.id.into()));
        found = found.filter(Condition::any().add(beyond(column, value)).add(beside));
    }
    let order = || match wanted.ascending {
        true => Order::Asc,
        false => Order::Desc,
    };
    let found = found
        .order_by(column, order())
        .order_by(server::Column::Id, order())
        .limit(most);
    Ok(found.all(db).await?)
}

/// A server of this UUID, whoever's, deleted or not: where a list goes on.
///
/// # Errors
/// The database's own.
pub async fn marker(
    db: &impl ConnectionTrait,
    project: Option<i64>,
    uuid: Uuid,
) -> Result<Option<server::Model>, DbError> {
    let mut found = server::Entity::find().filter(server::Column::Uuid.eq(uuid));
    if let Some(project) = project {
        found = found.filter(server::Column::ProjectId.eq(project));
    }
    Ok(found.one(db).await?)
}

/// The UUIDs of flavors, by their numbers.
///
/// # Errors
/// The database's own.
pub async fn flavor_names(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Uuid>, DbError> {
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let rows: Vec<(i64, Uuid)> = flavor::Entity::find()
        .filter(flavor::Column::Id.is_in(ids))
        .select_only()
        .columns([flavor::Column::Id, flavor::Column::Uuid])
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().collect())
}

/// The UUIDs of images, by their numbers.
///
/// # Errors
/// The database's own.
pub async fn image_names(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Uuid>, DbError> {
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let rows: Vec<(i64, Uuid)> = image::Entity::find()
        .filter(image::Column::Id.is_in(ids))
        .select_only()
        .columns([image::Column::Id, image::Column::Uuid])
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().collect())
}

/// The UUIDs of users, by their numbers.
///
/// # Errors
/// The database's own.
pub async fn user_names(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Uuid>, DbError> {
    use super::entity::user::{Column, Entity};
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let rows: Vec<(i64, Uuid)> = Entity::find()
        .filter(Column::Id.is_in(ids))
        .select_only()
        .columns([Column::Id, Column::Uuid])
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().collect())
}
