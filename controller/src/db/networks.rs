//! Rows of networks, subnets, ports and addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult,
    QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::DbError;
use super::entity::{address, backend_network, network, port, server, subnet};

/// Who looks, and so what is seen.
#[derive(Debug, Clone, Copy)]
pub struct Viewer {
    /// Its project.
    pub project: i64,
    /// It sees everybody's.
    pub is_admin: bool,
}

impl Viewer {
    /// Networks of the project, and those that all may use or take floating addresses from.
    fn networks(self) -> Condition {
        if self.is_admin {
            return Condition::all();
        }
        Condition::any()
            .add(network::Column::ProjectId.eq(self.project))
            .add(network::Column::IsShared.eq(true))
            .add(network::Column::IsExternal.eq(true))
    }
}

/// The network of this UUID, if it is seen.
///
/// # Errors
/// The database's own.
pub async fn network(
    db: &impl ConnectionTrait,
    viewer: Viewer,
    uuid: Uuid,
) -> Result<Option<network::Model>, DbError> {
    let found = network::Entity::find()
        .filter(network::Column::Uuid.eq(uuid))
        .filter(network::Column::Deletion.eq(0))
        .filter(viewer.networks());
    Ok(found.one(db).await?)
}

/// All networks that are seen, in the order they were made.
///
/// # Errors
/// The database's own.
pub async fn networks(
    db: &impl ConnectionTrait,
    viewer: Viewer,
) -> Result<Vec<network::Model>, DbError> {
    let found = network::Entity::find()
        .filter(network::Column::Deletion.eq(0))
        .filter(viewer.networks())
        .order_by_asc(network::Column::Id);
    Ok(found.all(db).await?)
}

/// Networks by their numbers, whoever sees them.
///
/// # Errors
/// The database's own.
pub async fn networks_by_id(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, network::Model>, DbError> {
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let found = network::Entity::find().filter(network::Column::Id.is_in(ids));
    let found = found.all(db).await?;
    Ok(found.into_iter().map(|row| (row.id, row)).collect())
}

/// Locks networks, in the order of their numbers; those that are gone are not there.
///
/// # Errors
/// The database's own.
pub async fn lock_networks(
    tx: &DatabaseTransaction,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, network::Model>, DbError> {
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let mut locked = BTreeMap::new();
    for id in ids {
        let row = network::Entity::find_by_id(id)
            .filter(network::Column::Deletion.eq(0))
            .lock_exclusive();
        if let Some(row) = row.one(tx).await? {
            locked.insert(id, row);
        }
    }
    Ok(locked)
}

/// Locks a network's subnets, in the order of their numbers.
///
/// # Errors
/// The database's own.
pub async fn lock_subnets(
    tx: &DatabaseTransaction,
    networks: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Vec<subnet::Model>>, DbError> {
    let networks: BTreeSet<i64> = networks.into_iter().collect();
    let found = subnet::Entity::find()
        .filter(subnet::Column::NetworkId.is_in(networks))
        .filter(subnet::Column::Deletion.eq(0))
        .order_by_asc(subnet::Column::Id)
        .lock_exclusive();
    Ok(by(found.all(tx).await?, |subnet| subnet.network_id))
}

/// The subnets of networks, in the order they were made.
///
/// # Errors
/// The database's own.
pub async fn subnets_of(
    db: &impl ConnectionTrait,
    networks: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Vec<subnet::Model>>, DbError> {
    let networks: BTreeSet<i64> = networks.into_iter().collect();
    let found = subnet::Entity::find()
        .filter(subnet::Column::NetworkId.is_in(networks))
        .filter(subnet::Column::Deletion.eq(0))
        .order_by_asc(subnet::Column::Id);
    Ok(by(found.all(db).await?, |subnet| subnet.network_id))
}

/// The subnet of this UUID with its network, if that is seen.
///
/// # Errors
/// The database's own.
pub async fn subnet(
    db: &impl ConnectionTrait,
    viewer: Viewer,
    uuid: Uuid,
) -> Result<Option<(subnet::Model, network::Model)>, DbError> {
    let found = subnet::Entity::find()
        .filter(subnet::Column::Uuid.eq(uuid))
        .filter(subnet::Column::Deletion.eq(0));
    let Some(subnet) = found.one(db).await? else {
        return Ok(None);
    };
    let network = network::Entity::find_by_id(subnet.network_id).filter(viewer.networks());
    Ok(network.one(db).await?.map(|network| (subnet, network)))
}

fn by<T>(rows: Vec<T>, key: impl Fn(&T) -> i64) -> BTreeMap<i64, Vec<T>> {
    let mut grouped: BTreeMap<i64, Vec<T>> = BTreeMap::new();
    for row in rows {
        grouped.entry(key(&row)).or_default().push(row);
    }
    grouped
}

/// The hardware-address prefixes of all networks.
///
/// # Errors
/// The database's own.
pub async fn mac_prefixes(db: &impl ConnectionTrait) -> Result<BTreeSet<String>, DbError> {
    let rows: Vec<String> = network::Entity::find()
        .filter(network::Column::Deletion.eq(0))
        .select_only()
        .column(network::Column::MacPrefix)
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Whether a NIC has this hardware address.
///
/// # Errors
/// The database's own.
pub async fn mac_is_taken(db: &impl ConnectionTrait, mac: &str) -> Result<bool, DbError> {
    let row = port::Entity::find()
        .filter(port::Column::Mac.eq(mac))
        .filter(port::Column::Deletion.eq(0));
    Ok(row.one(db).await?.is_some())
}

#[derive(FromQueryResult)]
struct Taken {
    address: String,
}

/// A subnet's IPv4 addresses that are taken.
///
/// # Errors
/// The database's own.
pub async fn taken(db: &impl ConnectionTrait, subnet: i64) -> Result<BTreeSet<Ipv4Addr>, DbError> {
    let rows = address::Entity::find()
        .filter(address::Column::SubnetId.eq(subnet))
        .select_only()
        .column(address::Column::Address)
        .into_model::<Taken>()
        .all(db)
        .await?;
    let read = rows.iter().filter_map(|row| row.address.parse().ok());
    Ok(read.collect())
}

/// Who has an address of a subnet.
///
/// # Errors
/// The database's own.
pub async fn address_row(
    db: &impl ConnectionTrait,
    subnet: i64,
    text: &str,
) -> Result<Option<address::Model>, DbError> {
    let row = address::Entity::find()
        .filter(address::Column::SubnetId.eq(subnet))
        .filter(address::Column::Address.eq(text));
    Ok(row.one(db).await?)
}

/// Whether a subnet has addresses that are taken.
///
/// # Errors
/// The database's own.
pub async fn subnet_is_used(db: &impl ConnectionTrait, subnet: i64) -> Result<bool, DbError> {
    let row = address::Entity::find().filter(address::Column::SubnetId.eq(subnet));
    Ok(row.one(db).await?.is_some())
}

/// Whether a network has NICs, or addresses that are taken.
///
/// # Errors
/// The database's own.
pub async fn network_is_used(db: &impl ConnectionTrait, network: i64) -> Result<bool, DbError> {
    let nic = port::Entity::find()
        .filter(port::Column::NetworkId.eq(network))
        .filter(port::Column::Deletion.eq(0));
    if nic.one(db).await?.is_some() {
        return Ok(true);
    }
    let address = address::Entity::find()
        .filter(address::Column::NetworkId.eq(network))
        .filter(address::Column::Kind.ne("external"));
    Ok(address.one(db).await?.is_some())
}

/// The clusters a network was asked to be made on, and is not gone from.
///
/// # Errors
/// The database's own.
pub async fn places(
    db: &impl ConnectionTrait,
    network: i64,
) -> Result<Vec<backend_network::Model>, DbError> {
    let rows = backend_network::Entity::find()
        .filter(backend_network::Column::NetworkId.eq(network))
        .filter(backend_network::Column::OperState.ne("DELETED"));
    Ok(rows.all(db).await?)
}

/// What of a port is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct PortFilter {
    /// Its UUID.
    pub uuid: Option<Uuid>,
    /// Its network's number.
    pub network: Option<i64>,
    /// Its server's number.
    pub server: Option<i64>,
}

/// Ports that are seen, in the order they were made.
///
/// # Errors
/// The database's own.
pub async fn ports(
    db: &impl ConnectionTrait,
    viewer: Viewer,
    wanted: PortFilter,
) -> Result<Vec<port::Model>, DbError> {
    let mut found = port::Entity::find().filter(port::Column::Deletion.eq(0));
    if !viewer.is_admin {
        found = found.filter(port::Column::ProjectId.eq(viewer.project));
    }
    if let Some(uuid) = wanted.uuid {
        found = found.filter(port::Column::Uuid.eq(uuid));
    }
    if let Some(network) = wanted.network {
        found = found.filter(port::Column::NetworkId.eq(network));
    }
    if let Some(server) = wanted.server {
        found = found.filter(port::Column::ServerId.eq(server));
    }
    Ok(found.order_by_asc(port::Column::Id).all(db).await?)
}

/// The port of this UUID, if it is seen.
///
/// # Errors
/// The database's own.
pub async fn port(
    db: &impl ConnectionTrait,
    viewer: Viewer,
    uuid: Uuid,
) -> Result<Option<port::Model>, DbError> {
    let wanted = PortFilter {
        uuid: Some(uuid),
        ..PortFilter::default()
    };
    Ok(ports(db, viewer, wanted).await?.pop())
}

/// Locks ports, in the order of their numbers; those that are gone are not there.
///
/// # Errors
/// The database's own.
pub async fn lock_ports(
    tx: &DatabaseTransaction,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, port::Model>, DbError> {
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let mut locked = BTreeMap::new();
    for id in ids {
        let row = port::Entity::find_by_id(id)
            .filter(port::Column::Deletion.eq(0))
            .lock_exclusive();
        if let Some(row) = row.one(tx).await? {
            locked.insert(id, row);
        }
    }
    Ok(locked)
}

/// The ports of servers, in the order of the servers' NICs.
///
/// # Errors
/// The database's own.
pub async fn ports_of(
    db: &impl ConnectionTrait,
    servers: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Vec<port::Model>>, DbError> {
    let servers: BTreeSet<i64> = servers.into_iter().collect();
    let found = port::Entity::find()
        .filter(port::Column::ServerId.is_in(servers))
        .filter(port::Column::Deletion.eq(0))
        .order_by_asc(port::Column::NicIndex)
        .order_by_asc(port::Column::Id);
    let found = found.all(db).await?;
    Ok(by(found, |port| port.server_id.unwrap_or_default()))
}

/// The addresses of ports, IPv4 first.
///
/// # Errors
/// The database's own.
pub async fn addresses_of(
    db: &impl ConnectionTrait,
    ports: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Vec<address::Model>>, DbError> {
    let ports: BTreeSet<i64> = ports.into_iter().collect();
    let found = address::Entity::find()
        .filter(address::Column::PortId.is_in(ports))
        .order_by_asc(address::Column::Id);
    let found = found.all(db).await?;
    let mut grouped = by(found, |address| address.port_id.unwrap_or_default());
    for addresses in grouped.values_mut() {
        addresses.sort_by_key(|address| address.address.contains(':'));
    }
    Ok(grouped)
}

/// Floating addresses that are seen, in the order they were taken.
///
/// # Errors
/// The database's own.
pub async fn floating(
    db: &impl ConnectionTrait,
    viewer: Viewer,
    uuid: Option<Uuid>,
) -> Result<Vec<address::Model>, DbError> {
    let mut found = address::Entity::find().filter(address::Column::Kind.eq("floating"));
    if !viewer.is_admin {
        found = found.filter(address::Column::ProjectId.eq(viewer.project));
    }
    if let Some(uuid) = uuid {
        found = found.filter(address::Column::Uuid.eq(uuid));
    }
    Ok(found.order_by_asc(address::Column::Id).all(db).await?)
}

/// The UUIDs of projects.
///
/// # Errors
/// The database's own.
pub async fn project_names(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Uuid>, DbError> {
    use super::entity::project::{Column, Entity};
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

/// The UUIDs of servers.
///
/// # Errors
/// The database's own.
pub async fn server_names(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Uuid>, DbError> {
    use server::{Column, Entity};
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

/// A port's addresses are free again, but floating ones stay with who has them.
///
/// # Errors
/// The database's own.
pub async fn release(
    tx: &DatabaseTransaction,
    port: i64,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), DbError> {
    use sea_orm::sea_query::Expr;
    address::Entity::update_many()
        .col_expr(address::Column::PortId, Expr::value(None::<i64>))
        .col_expr(address::Column::UpdatedAt, Expr::value(now))
        .filter(address::Column::PortId.eq(port))
        .filter(address::Column::Kind.eq("floating"))
        .exec(tx)
        .await?;
    address::Entity::delete_many()
        .filter(address::Column::PortId.eq(port))
        .exec(tx)
        .await?;
    Ok(())
}

/// Whether other projects than its own have ports on a network.
///
/// # Errors
/// The database's own.
pub async fn others_use(
    db: &impl ConnectionTrait,
    network: &network::Model,
) -> Result<bool, DbError> {
    let theirs = port::Entity::find()
        .filter(port::Column::NetworkId.eq(network.id))
        .filter(port::Column::ProjectId.ne(network.project_id.unwrap_or_default()))
        .filter(port::Column::Deletion.eq(0));
    Ok(theirs.one(db).await?.is_some())
}

/// Takes a subnet away, which has no addresses but those that somebody outside has.
///
/// # Errors
/// The database's own.
pub async fn drop_subnet(
    tx: &DatabaseTransaction,
    row: subnet::Model,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), DbError> {
    use sea_orm::ActiveValue::Set;
    address::Entity::delete_many()
        .filter(address::Column::SubnetId.eq(row.id))
        .filter(address::Column::Kind.eq("external"))
        .exec(tx)
        .await?;
    let id = row.id;
    let mut gone = sea_orm::IntoActiveModel::into_active_model(row);
    gone.deletion = Set(id);
    gone.updated_at = Set(now);
    super::rows::update(tx, gone).await?;
    Ok(())
}

/// Takes an address away.
///
/// # Errors
/// The database's own.
pub async fn drop_address(tx: &DatabaseTransaction, id: i64) -> Result<(), DbError> {
    address::Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

/// Locks an address.
///
/// # Errors
/// The database's own.
pub async fn lock_address(
    tx: &DatabaseTransaction,
    id: i64,
) -> Result<Option<address::Model>, DbError> {
    let row = address::Entity::find_by_id(id).lock_exclusive();
    Ok(row.one(tx).await?)
}

/// UUIDs of ports.
///
/// # Errors
/// The database's own.
pub async fn port_names(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Uuid>, DbError> {
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let rows: Vec<(i64, Uuid)> = port::Entity::find()
        .filter(port::Column::Id.is_in(ids))
        .select_only()
        .columns([port::Column::Id, port::Column::Uuid])
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().collect())
}
