//! What servers are made from.

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::DbError;
use super::entity::{image, project};

/// An image and its project, if it has one.
pub type Owned = (image::Model, Option<Uuid>);

/// The images that a project sees, those of others among them for an administrator; the newest first.
///
/// # Errors
/// The database's own.
pub async fn seen(
    connection: &impl ConnectionTrait,
    project_id: i64,
    is_admin: bool,
) -> Result<Vec<Owned>, DbError> {
    let mut found = image::Entity::find()
        .filter(image::Column::Deletion.eq(0))
        .order_by_desc(image::Column::Id);
    if !is_admin {
        let own = Condition::any()
            .add(image::Column::Visibility.eq("public"))
            .add(image::Column::ProjectId.eq(project_id));
        found = found.filter(own);
    }
    let rows = found.all(connection).await?;
    owned(connection, rows).await
}

/// The image of this UUID, if the project sees it.
///
/// # Errors
/// The database's own.
pub async fn find(
    connection: &impl ConnectionTrait,
    uuid: Uuid,
    project_id: i64,
    is_admin: bool,
) -> Result<Option<Owned>, DbError> {
    let found = image::Entity::find()
        .filter(image::Column::Uuid.eq(uuid))
        .filter(image::Column::Deletion.eq(0));
    let row = found.one(connection).await?;
    let row = row
        .filter(|row| is_admin || row.visibility == "public" || row.project_id == Some(project_id));
    let rows = owned(connection, row.into_iter().collect()).await?;
    Ok(rows.into_iter().next())
}

async fn owned(
    connection: &impl ConnectionTrait,
    rows: Vec<image::Model>,
) -> Result<Vec<Owned>, DbError> {
    let mut ids: Vec<i64> = rows.iter().filter_map(|row| row.project_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let projects = match ids.is_empty() {
        true => Vec::new(),
        false => {
            let found = project::Entity::find().filter(project::Column::Id.is_in(ids));
            found.all(connection).await?
        }
    };
    let owner = |id| projects.iter().find(|project| project.id == id);
    let all = rows.into_iter().map(|row| {
        let owner = row.project_id.and_then(owner);
        (row, owner.map(|project| project.uuid))
    });
    Ok(all.collect())
}
