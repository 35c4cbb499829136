//! What projects have and may have.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait,
    FromQueryResult, QueryFilter, QuerySelect,
};

use super::DbError;
use super::entity::{address, flavor, intent, network, project, quota, server};
use crate::lifecycle::Task;

/// Something there is only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Servers.
    Instances,
    /// Virtual processors.
    Cores,
    /// Memory, MiB.
    Ram,
    /// Disk, GiB.
    Disk,
    /// Floating addresses.
    FloatingIps,
    /// Networks.
    Networks,
}

impl Resource {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Instances,
        Self::Cores,
        Self::Ram,
        Self::Disk,
        Self::FloatingIps,
        Self::Networks,
    ];

    /// The column's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Cores => "cores",
            Self::Ram => "ram",
            Self::Disk => "disk",
            Self::FloatingIps => "floating_ips",
            Self::Networks => "networks",
        }
    }
}

/// So much of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Servers.
    pub instances: i64,
    /// Virtual processors.
    pub cores: i64,
    /// Memory, MiB.
    pub ram: i64,
    /// Disk, GiB.
    pub disk: i64,
    /// Floating addresses.
    pub floating_ips: i64,
    /// Networks.
    pub networks: i64,
}

impl Usage {
    /// So much of this.
    #[must_use]
    pub const fn of(&self, resource: Resource) -> i64 {
        match resource {
            Resource::Instances => self.instances,
            Resource::Cores => self.cores,
            Resource::Ram => self.ram,
            Resource::Disk => self.disk,
            Resource::FloatingIps => self.floating_ips,
            Resource::Networks => self.networks,
        }
    }
}

/// Lets nobody else count this project's things until the transaction ends.
///
/// # Errors
/// The database's own.
pub async fn lock(tx: &DatabaseTransaction, project: i64) -> Result<(), DbError> {
    project::Entity::find_by_id(project)
        .lock_exclusive()
        .one(tx)
        .await?;
    Ok(())
}

/// What the project's own rows say it may have.
///
/// # Errors
/// The database's own.
pub async fn limits(
    db: &impl ConnectionTrait,
    project: i64,
) -> Result<Vec<(Resource, i64)>, DbError> {
    let rows = quota::Entity::find()
        .filter(quota::Column::ProjectId.eq(project))
        .all(db)
        .await?;
    let known = rows.into_iter().filter_map(|row| {
        let mut all = Resource::ALL.into_iter();
        let resource = all.find(|resource| resource.as_str() == row.resource)?;
        Some((resource, row.most))
    });
    Ok(known.collect())
}

#[derive(FromQueryResult)]
struct Size {
    id: i64,
    vcpus: i32,
    ram: i32,
    former_flavor_id: Option<i64>,
    task: Option<String>,
}

#[derive(FromQueryResult)]
struct Sums {
    instances: i64,
    cores: Option<i64>,
    ram: Option<i64>,
    disk: Option<i64>,
}

/// What a project has. A server that is being resized, or may still be reverted, counts as the larger of its sizes.
///
/// # Errors
/// The database's own.
pub async fn usage(db: &impl ConnectionTrait, project: i64) -> Result<Usage, DbError> {
    let theirs = server::Entity::find()
        .filter(server::Column::ProjectId.eq(project))
        .filter(server::Column::Deletion.eq(0));
    let sums = theirs
        .clone()
        .select_only()
        .column_as(server::Column::Id.count(), "instances")
        .column_as(big_sum(server::Column::Vcpus, db), "cores")
        .column_as(big_sum(server::Column::Ram, db), "ram")
        .column_as(big_sum(server::Column::Disk, db), "disk")
        .into_model::<Sums>()
        .one(db)
        .await?;
    let mut usage = Usage::default();
    if let Some(sums) = sums {
        usage.instances = sums.instances;
        usage.cores = sums.cores.unwrap_or_default();
        usage.ram = sums.ram.unwrap_or_default();
        usage.disk = sums.disk.unwrap_or_default();
    }
    let resizing = [Task::Resize, Task::ResizeStopped, Task::RevertResize].map(Task::as_str);
    let between = theirs
        .filter(
            Condition::any()
                .add(server::Column::FormerFlavorId.is_not_null())
                .add(server::Column::Task.is_in(resizing)),
        )
        .select_only()
        .columns([
            server::Column::Id,
            server::Column::Vcpus,
            server::Column::Ram,
            server::Column::FormerFlavorId,
            server::Column::Task,
        ])
        .into_model::<Size>()
        .all(db)
        .await?;
    for size in between {
        let other = match size.former_flavor_id {
            Some(former) => Some(former),
            None if size.task.is_some() => wanted_flavor(db, size.id).await?,
            None => None,
        };
        let Some(other) = other else { continue };
        if let Some(other) = flavor::Entity::find_by_id(other).one(db).await? {
            usage.cores += i64::from(Ord::max(other.vcpus - size.vcpus, 0));
            usage.ram += i64::from(Ord::max(other.ram - size.ram, 0));
        }
    }
    let floating = address::Entity::find()
        .filter(address::Column::ProjectId.eq(project))
        .filter(address::Column::Kind.eq("floating"));
    usage.floating_ips = count(floating, address::Column::Id, db).await?;
    let networks = network::Entity::find()
        .filter(network::Column::ProjectId.eq(project))
        .filter(network::Column::Deletion.eq(0));
    usage.networks = count(networks, network::Column::Id, db).await?;
    Ok(usage)
}

async fn wanted_flavor(db: &impl ConnectionTrait, server: i64) -> Result<Option<i64>, DbError> {
    let open = ["waiting", "sending", "submitted"];
    let wanted = intent::Entity::find()
        .filter(intent::Column::ServerId.eq(server))
        .filter(intent::Column::FlavorId.is_not_null())
        .filter(intent::Column::State.is_in(open))
        .one(db)
        .await?;
    Ok(wanted.and_then(|intent| intent.flavor_id))
}

#[derive(FromQueryResult)]
struct Count {
    found: i64,
}

async fn count<E: EntityTrait>(
    rows: sea_orm::Select<E>,
    column: E::Column,
    db: &impl ConnectionTrait,
) -> Result<i64, DbError> {
    let found = rows.select_only().column_as(column.count(), "found");
    let found = found.into_model::<Count>().one(db).await?;
    Ok(found.map_or(0, |count| count.found))
}

/// A sum is a decimal on PostgreSQL, where the numbers are 64 bits wide, and on MariaDB always.
fn big_sum(column: server::Column, db: &impl ConnectionTrait) -> Expr {
    let is_mariadb = db.get_database_backend() == DbBackend::MySql;
    let kind = if is_mariadb { "SIGNED" } else { "BIGINT" };
    ExprTrait::cast_as(column.sum(), kind)
}
