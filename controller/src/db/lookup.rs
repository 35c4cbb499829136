//! Things by what an operator calls them: name, UUID or number.

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::DbError;
use super::entity::{
    backend, dead_letter, flavor, image, network, project, quota, server, subnet, user,
};

fn called<C: ColumnTrait>(key: &str, id: C, uuid: C, name: Option<C>) -> Condition {
    let mut any = Condition::any();
    if let Some(name) = name {
        any = any.add(name.eq(key));
    }
    if let Ok(wanted) = key.parse::<Uuid>() {
        any = any.add(uuid.eq(wanted));
    }
    if let Ok(number) = key.parse::<i64>() {
        any = any.add(id.eq(number));
    }
    any
}

macro_rules! by_key {
    ($($(#[$about:meta])* $function:ident: $module:ident, $name:expr, $there:expr;)*) => {
        $(
            $(#[$about])*
            ///
            /// # Errors
            /// The database's own.
            pub async fn $function(
                connection: &impl ConnectionTrait,
                key: &str,
            ) -> Result<Vec<$module::Model>, DbError> {
                use $module::Column;
                let there: Option<Condition> = $there;
                let found = $module::Entity::find()
                    .filter(called(key, Column::Id, Column::Uuid, $name))
                    .filter(there.unwrap_or_else(Condition::all))
                    .order_by_asc(Column::Id);
                Ok(found.all(connection).await?)
            }
        )*
    };
}

by_key! {
    /// Clusters.
    backends: backend, Some(Column::Name), None;
    /// Flavors that are not deleted.
    flavors: flavor, Some(Column::Name), Some(Condition::all().add(Column::Deletion.eq(0)));
    /// Images that are not deleted.
    images: image, Some(Column::Name), Some(Condition::all().add(Column::Deletion.eq(0)));
    /// Networks that are not deleted.
    networks: network, Some(Column::Name), Some(Condition::all().add(Column::Deletion.eq(0)));
    /// Projects.
    projects: project, Some(Column::Name), None;
    /// Users.
    users: user, Some(Column::Name), None;
    /// Servers, those that are gone too.
    servers: server, Some(Column::InstanceName), None;
}

macro_rules! all {
    ($($(#[$about:meta])* $function:ident: $module:ident;)*) => {
        $(
            $(#[$about])*
            ///
            /// # Errors
            /// The database's own.
            pub async fn $function(
                connection: &impl ConnectionTrait,
            ) -> Result<Vec<$module::Model>, DbError> {
                let all = $module::Entity::find().order_by_asc($module::Column::Id);
                Ok(all.all(connection).await?)
            }
        )*
    };
}

all! {
    /// All flavors.
    all_flavors: flavor;
    /// All images.
    all_images: image;
    /// All networks.
    all_networks: network;
    /// All subnets.
    all_subnets: subnet;
    /// All servers.
    all_servers: server;
    /// All messages that could not be taken in.
    all_letters: dead_letter;
    /// All projects.
    all_projects: project;
}

/// A project's own bound on something.
///
/// # Errors
/// The database's own.
pub async fn quota(
    connection: &impl ConnectionTrait,
    project: i64,
    resource: &str,
) -> Result<Option<quota::Model>, DbError> {
    let found = quota::Entity::find()
        .filter(quota::Column::ProjectId.eq(project))
        .filter(quota::Column::Resource.eq(resource));
    Ok(found.one(connection).await?)
}

/// Forgets a message that could not be taken in.
///
/// # Errors
/// The database's own.
pub async fn forget_letter(connection: &impl ConnectionTrait, id: i64) -> Result<(), DbError> {
    dead_letter::Entity::delete_by_id(id)
        .exec(connection)
        .await?;
    Ok(())
}
