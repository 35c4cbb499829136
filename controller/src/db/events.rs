//! What a batch of messages concerns: read and locked, and written back where it has changed.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait,
    IntoActiveModel, Iterable, ModelTrait, PrimaryKeyToColumn, QueryFilter, QueryOrder,
    QuerySelect,
};
use snf_events::{JobStatus, Prefix};
use uuid::Uuid;

use super::DbError;
use super::entity::{
    address, backend, backend_network, dead_letter, inbox_entry, intent, job, port, server,
};
use crate::dispatcher::rows::{Key, Rows, Slot};

/// What is asked for, on behalf of a batch.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Instances: cluster and name.
    pub instances: BTreeSet<(i64, String)>,
    /// Networks' numbers.
    pub networks: BTreeSet<i64>,
    /// Jobs: cluster and number.
    pub jobs: BTreeSet<(i64, i64)>,
    /// Intents, by the token in a job's reason.
    pub tokens: BTreeSet<Uuid>,
}

/// The clusters, by their UUIDs.
///
/// # Errors
/// The database's own.
pub async fn backends(connection: &impl ConnectionTrait) -> Result<Vec<backend::Model>, DbError> {
    Ok(backend::Entity::find().all(connection).await?)
}

/// Reads and locks: servers in the order of their numbers, then what belongs to them.
///
/// # Errors
/// The database's own.
pub async fn load(
    transaction: &DatabaseTransaction,
    wanted: &Wanted,
    prefix: Prefix,
) -> Result<Rows, DbError> {
    let mut rows = Rows::new(prefix);
    load_servers(transaction, wanted, &mut rows).await?;
    let servers: Vec<i64> = rows.servers.keys().copied().collect();
    load_intents(transaction, wanted, &servers, &mut rows).await?;
    load_jobs(transaction, wanted, &mut rows).await?;
    if !wanted.networks.is_empty() {
        let networks = wanted.networks.iter().copied();
        let found = backend_network::Entity::find()
            .filter(backend_network::Column::NetworkId.is_in(networks))
            .order_by_asc(backend_network::Column::Id)
            .lock_exclusive()
            .all(transaction)
            .await?;
        rows.backend_networks = found.into_iter().map(Slot::loaded).collect();
    }
    if !servers.is_empty() {
        let ports = port::Entity::find()
            .filter(port::Column::ServerId.is_in(servers))
            .filter(port::Column::Deletion.eq(0))
            .order_by_asc(port::Column::Id)
            .lock_exclusive()
            .all(transaction)
            .await?;
        let numbers: Vec<i64> = ports.iter().map(|port| port.id).collect();
        rows.ports = ports
            .into_iter()
            .map(|port| (port.id, Slot::loaded(port)))
            .collect();
        if !numbers.is_empty() {
            let addresses = address::Entity::find()
                .filter(address::Column::PortId.is_in(numbers))
                .order_by_asc(address::Column::Id)
                .all(transaction)
                .await?;
            let each = addresses.into_iter();
            rows.addresses = each
                .map(|address| (address.id, Slot::loaded(address)))
                .collect();
        }
    }
    Ok(rows)
}

async fn load_servers(
    transaction: &DatabaseTransaction,
    wanted: &Wanted,
    rows: &mut Rows,
) -> Result<(), DbError> {
    if wanted.instances.is_empty() {
        return Ok(());
    }
    let clusters: BTreeSet<i64> = wanted
        .instances
        .iter()
        .map(|(backend, _)| *backend)
        .collect();
    let names = wanted.instances.iter().map(|(_, name)| name.clone());
    let found = server::Entity::find()
        .filter(server::Column::BackendId.is_in(clusters))
        .filter(server::Column::InstanceName.is_in(names))
        .order_by_asc(server::Column::Id)
        .lock_exclusive()
        .all(transaction)
        .await?;
    // Of several under one name the living one is meant, and otherwise the youngest: a late message finds what it is about.
    let mut living = BTreeSet::new();
    for server in found {
        let Some(name) = server.instance_name.clone() else {
            continue;
        };
        let place = (server.backend_id, name);
        if !wanted.instances.contains(&place) {
            continue;
        }
        if server.deletion == 0 {
            living.insert(place.clone());
        } else if living.contains(&place) {
            continue;
        }
        rows.names.insert(place, server.id);
        rows.servers.insert(server.id, Slot::loaded(server));
    }
    Ok(())
}

async fn load_intents(
    transaction: &DatabaseTransaction,
    wanted: &Wanted,
    servers: &[i64],
    rows: &mut Rows,
) -> Result<(), DbError> {
    let open = [intent::WAITING, intent::SENDING, intent::SUBMITTED];
    let mut any = Condition::any().add(
        Condition::all()
            .add(intent::Column::ServerId.is_in(servers.iter().copied()))
            .add(intent::Column::State.is_in(open)),
    );
    if !wanted.tokens.is_empty() {
        any = any.add(intent::Column::Uuid.is_in(wanted.tokens.iter().copied()));
    }
    if !wanted.jobs.is_empty() {
        let jobs = wanted.jobs.iter().map(|(_, job)| *job);
        any = any.add(intent::Column::JobId.is_in(jobs));
    }
    let found = intent::Entity::find()
        .filter(any)
        .order_by_asc(intent::Column::Id)
        .lock_exclusive()
        .all(transaction)
        .await?;
    let mut waiting: Vec<i64> = found.iter().map(|intent| intent.id).collect();
    rows.intents = found
        .into_iter()
        .map(|row| (row.id, Slot::loaded(row)))
        .collect();
    // A network's intents have servers' behind them.
    while !waiting.is_empty() {
        let behind = intent::Entity::find()
            .filter(intent::Column::AfterId.is_in(std::mem::take(&mut waiting)))
            .filter(intent::Column::State.is_in(open))
            .order_by_asc(intent::Column::Id)
            .lock_exclusive()
            .all(transaction)
            .await?;
        for row in behind {
            if let Entry::Vacant(place) = rows.intents.entry(row.id) {
                waiting.push(row.id);
                place.insert(Slot::loaded(row));
            }
        }
    }
    Ok(())
}

async fn load_jobs(
    transaction: &DatabaseTransaction,
    wanted: &Wanted,
    rows: &mut Rows,
) -> Result<(), DbError> {
    let clusters: BTreeSet<i64> = wanted.jobs.iter().map(|(backend, _)| *backend).collect();
    for backend in clusters {
        let mine = || {
            let jobs = wanted
                .jobs
                .iter()
                .filter(|(cluster, _)| *cluster == backend);
            jobs.map(|(_, job)| *job)
        };
        let seen = inbox_entry::Entity::find()
            .filter(inbox_entry::Column::BackendId.eq(backend))
            .filter(inbox_entry::Column::JobId.is_in(mine()))
            .all(transaction)
            .await?;
        for row in seen {
            let key = key(row.backend_id, row.job_id, row.received, row.op_index);
            if let Ok(status) = row.status.parse::<JobStatus>() {
                rows.inbox.insert((key, status.as_str()), Slot::loaded(row));
            }
        }
        let jobs = job::Entity::find()
            .filter(job::Column::BackendId.eq(backend))
            .filter(job::Column::JobId.is_in(mine()))
            .all(transaction)
            .await?;
        for row in jobs {
            let key = key(row.backend_id, row.job_id, row.received, row.op_index);
            rows.jobs.insert(key, Slot::loaded(row));
        }
    }
    Ok(())
}

const fn key(backend: i64, job: i64, received: i64, op_index: i32) -> Key {
    Key {
        backend,
        job,
        received,
        op_index,
    }
}

/// Writes what is new and what has changed: of a row that was there, only the columns that differ.
///
/// # Errors
/// The database's own; of two who take in the same message at once, the second's is a conflict.
pub async fn save(transaction: &DatabaseTransaction, rows: Rows) -> Result<(), DbError> {
    let Rows {
        inbox,
        jobs,
        servers,
        intents,
        backend_networks,
        ports,
        addresses,
        freed,
        ..
    } = rows;
    // First what has a unique key: whoever is second finds out before anything else is written.
    write::<inbox_entry::Entity, _>(transaction, inbox.into_values()).await?;
    write::<job::Entity, _>(transaction, jobs.into_values()).await?;
    write::<server::Entity, _>(transaction, servers.into_values()).await?;
    write::<intent::Entity, _>(transaction, intents.into_values()).await?;
    write::<backend_network::Entity, _>(transaction, backend_networks).await?;
    write::<port::Entity, _>(transaction, ports.into_values()).await?;
    let kept = addresses
        .into_values()
        .filter(|slot| !freed.contains(&slot.row.id));
    write::<address::Entity, _>(transaction, kept).await?;
    if !freed.is_empty() {
        address::Entity::delete_many()
            .filter(address::Column::Id.is_in(freed))
            .exec(transaction)
            .await?;
    }
    Ok(())
}

async fn write<E, A>(
    transaction: &DatabaseTransaction,
    slots: impl IntoIterator<Item = Slot<E::Model>>,
) -> Result<(), DbError>
where
    E: EntityTrait,
    E::Model: IntoActiveModel<A> + Clone + PartialEq + Sync,
    A: ActiveModelTrait<Entity = E> + Send + sea_orm::ActiveModelBehavior,
    E::Column: Iterable,
    E::PrimaryKey: Iterable + PrimaryKeyToColumn<Column = E::Column>,
{
    let mut news = Vec::new();
    for slot in slots {
        match slot.loaded {
            None => {
                let mut active = slot.row.into_active_model().reset_all();
                for key in E::PrimaryKey::iter() {
                    active.not_set(key.into_column());
                }
                news.push(active);
            }
            Some(loaded) if loaded == slot.row => {}
            Some(loaded) => {
                let mut active = loaded.clone().into_active_model();
                for column in E::Column::iter() {
                    let value = slot.row.get(column);
                    if loaded.get(column) != value {
                        active.set(column, value);
                    }
                }
                E::update(active).exec(transaction).await?;
            }
        }
    }
    if !news.is_empty() {
        E::insert_many(news)
            .exec_without_returning(transaction)
            .await?;
    }
    Ok(())
}

/// Keeps a message that cannot be taken in.
///
/// # Errors
/// The database's own.
pub async fn bury(
    connection: &impl ConnectionTrait,
    letter: dead_letter::ActiveModel,
) -> Result<(), DbError> {
    dead_letter::Entity::insert(letter)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}
