//! What users and operators have done to networks: made, changed, removed.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, IntoActiveModel};
use serde_json::json;
use uuid::Uuid;

use super::groups;
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::{self, Cloud};
use crate::db::entity::network;
use crate::db::intents::NewIntent;
use crate::db::quotas::{self, Usage};
use crate::db::{DbError, intents, networks as read, rows, servers};
use crate::deeds;
use crate::lifecycle::NetworkStep;
use crate::ports::prefix_octets;
use crate::quota::Limits;
use crate::rapi::body;
use crate::rapi::naming::Named;

/// The first octet of prefixes that are chosen: locally administered, of single stations.
const FIRST: u8 = 0xaa;

/// A network that is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Free words.
    pub description: String,
    /// What guests are told, bytes.
    pub mtu: Option<i32>,
    /// The domain guests are told.
    pub dns_domain: Option<String>,
    /// What only administrators may say.
    pub placed: Placed,
}

/// Where a network is, and who may use it: for administrators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placed {
    /// Every project may use it.
    pub is_shared: bool,
    /// Floating addresses come from it.
    pub is_external: bool,
    /// `bridged` or `routed`.
    pub mode: Option<String>,
    /// Bridge or routing table.
    pub link: Option<String>,
    /// First three octets of its hardware addresses.
    pub mac_prefix: Option<String>,
    /// Its Ganeti tags.
    pub tags: Option<String>,
    /// Whose it is, if not who makes it.
    pub project: Option<i64>,
}

/// Makes networks, all or none.
///
/// # Errors
/// 403 for what only administrators may say, 409 over quota or where a prefix is taken, 400 where it cannot be.
pub async fn create(
    cloud: &Cloud,
    who: &Principal,
    new: &[Wanted],
) -> Result<Vec<network::Model>, Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| made(&tx, cloud, who, new, now).await)
        .await
}

async fn made(
    tx: &DatabaseTransaction,
    cloud: &Cloud,
    who: &Principal,
    new: &[Wanted],
    now: DateTime<Utc>,
) -> Result<Vec<network::Model>, Fault> {
    let mut made = Vec::new();
    for new in new {
        let placed = &new.placed;
        if *placed != Placed::default() {
            who.administers()?;
        }
        let project = placed.project.unwrap_or(who.project_id);
        quotas::lock(tx, project).await?;
        let limits = Limits::new(cloud.config.quota, &quotas::limits(tx, project).await?);
        let more = Usage {
            networks: 1,
            ..Usage::default()
        };
        limits.check(quotas::usage(tx, project).await?, more)?;
        let taken = read::mac_prefixes(tx).await?;
        let mac_prefix = match &placed.mac_prefix {
            Some(prefix) => {
                let [a, b, c] = prefix_octets(prefix)?;
                let prefix = format!("{a:02x}:{b:02x}:{c:02x}");
                if taken.contains(&prefix) {
                    return Err(Fault::Conflict(format!(
                        "another network has the prefix {prefix}"
                    )));
                }
                prefix
            }
            None => free_prefix(|prefix| taken.contains(prefix)).ok_or_else(|| {
                Fault::Unavailable(String::from("no prefix of hardware addresses is left"))
            })?,
        };
        let defaults = &cloud.config.networks;
        let is_placed = placed.link.is_some();
        let tags = placed.tags.clone().unwrap_or_else(|| match is_placed {
            true => String::new(),
            false => defaults.tags.clone(),
        });
        let row = network::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            project_id: Set(Some(project)),
            user_id: Set(Some(who.user_id)),
            name: Set(new.name.clone()),
            description: Set(new.description.clone()),
            mode: Set(placed.mode.clone().unwrap_or_else(|| defaults.mode.clone())),
            link: Set(placed.link.clone().unwrap_or_else(|| defaults.link.clone())),
            mac_prefix: Set(mac_prefix),
            tags: Set(tags),
            is_shared: Set(placed.is_shared),
            is_external: Set(placed.is_external),
            is_drained: Set(false),
            mtu: Set(new.mtu),
            dns_domain: Set(new.dns_domain.clone()),
            status: Set(String::from("ACTIVE")),
            created_at: Set(now),
            updated_at: Set(now),
            deletion: Set(0),
            ..Default::default()
        };
        let row = rows::insert(tx, row).await?;
        deeds::note(
            tx,
            who,
            ("network", "create"),
            row.uuid,
            201,
            json!({"name": row.name}),
            now,
        )
        .await?;
        made.push(row);
    }
    Ok(made)
}

/// A prefix that nobody has, from a place by chance on: so that two who ask at once seldom choose the same.
fn free_prefix(is_taken: impl Fn(&str) -> bool) -> Option<String> {
    let [a, b, ..] = *Uuid::new_v4().as_bytes();
    let start = u16::from_be_bytes([a, b]);
    let mut each = (0..=u16::MAX).map(|step| {
        let [b, c] = start.wrapping_add(step).to_be_bytes();
        format!("{FIRST:02x}:{b:02x}:{c:02x}")
    });
    each.find(|prefix| prefix != "aa:00:00" && !is_taken(prefix))
}

/// What changes of a network.
#[derive(Debug, Clone, Default)]
pub struct NetworkChange {
    /// Its name.
    pub name: Option<String>,
    /// Free words.
    pub description: Option<String>,
    /// What guests are told.
    pub mtu: Option<i32>,
    /// What guests are told.
    pub dns_domain: Option<Option<String>>,
    /// For administrators: every project may use it.
    pub is_shared: Option<bool>,
    /// For administrators: floating addresses come from it.
    pub is_external: Option<bool>,
}

/// Locks a network that who asks may change.
///
/// # Errors
/// 404, or 403 where it is seen but another's.
pub async fn locked(
    tx: &DatabaseTransaction,
    who: &Principal,
    uuid: Uuid,
) -> Result<network::Model, Fault> {
    let missing = || Fault::not_found("network", uuid);
    let seen = read::network(tx, who.into(), uuid)
        .await?
        .ok_or_else(missing)?;
    if !who.is_admin() && seen.project_id != Some(who.project_id) {
        return Err(Fault::Forbidden(String::from(
            "the network is another project's",
        )));
    }
    let mut locked = read::lock_networks(tx, [seen.id]).await?;
    locked.remove(&seen.id).ok_or_else(missing)
}

/// What guests are told reaches a cluster with the network: it does not change there.
///
/// # Errors
/// 409 where the network is on a cluster.
pub async fn is_nowhere(tx: &DatabaseTransaction, row: &network::Model) -> Result<(), Fault> {
    if read::places(tx, row.id).await?.is_empty() {
        return Ok(());
    }
    let uuid = row.uuid;
    Err(Fault::Conflict(format!(
        "network {uuid} is on a cluster: what its guests are told does not change any more"
    )))
}

/// Changes a network.
///
/// # Errors
/// 404, 403, 409, or the database's own.
pub async fn update(
    cloud: &Cloud,
    who: &Principal,
    uuid: Uuid,
    change: &NetworkChange,
) -> Result<network::Model, Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let tx = &*tx;
            let row = locked(tx, who, uuid).await?;
            if change.is_shared.is_some() || change.is_external.is_some() {
                who.administers()?;
            }
            let mtu = change.mtu.or(row.mtu);
            let domain = change
                .dns_domain
                .clone()
                .unwrap_or_else(|| row.dns_domain.clone());
            if mtu != row.mtu || domain != row.dns_domain {
                is_nowhere(tx, &row).await?;
            }
            let (shared, external) = (row.is_shared, row.is_external);
            if shared && change.is_shared == Some(false) && read::others_use(tx, &row).await? {
                return Err(Fault::Conflict(String::from(
                    "other projects use the network",
                )));
            }
            let mut changed = row.into_active_model();
            if let Some(name) = &change.name {
                changed.name = Set(name.clone());
            }
            if let Some(words) = &change.description {
                changed.description = Set(words.clone());
            }
            changed.mtu = Set(mtu);
            changed.dns_domain = Set(domain);
            changed.is_shared = Set(change.is_shared.unwrap_or(shared));
            changed.is_external = Set(change.is_external.unwrap_or(external));
            changed.updated_at = Set(now);
            let row = rows::update(tx, changed).await?;
            deeds::note(tx, who, ("network", "update"), uuid, 200, json!({}), now).await?;
            Ok(row)
        })
        .await
}

/// Removes a network that nobody uses, here at once and from its clusters later.
///
/// # Errors
/// 404, 403, 409 where it is in use, or the database's own.
pub async fn delete(cloud: &Cloud, who: &Principal, uuid: Uuid) -> Result<(), Fault> {
    who.writes()?;
    let now = cloud::now();
    let done = cloud.db.write(async |tx| {
        let tx = &*tx;
        let row = locked(tx, who, uuid).await?;
        if read::network_is_used(tx, row.id).await? {
            return Err(Fault::InUse {
                what: "network",
                id: uuid.to_string(),
                reason: String::from("there are one or more ports or floating IPs on it"),
            });
        }
        leave(tx, cloud, who, &row, now).await?;
        for subnet in read::lock_subnets(tx, [row.id])
            .await?
            .remove(&row.id)
            .unwrap_or_default()
        {
            read::drop_subnet(tx, subnet, now).await?;
        }
        let id = row.id;
        let mut gone = row.into_active_model();
        gone.deletion = Set(id);
        gone.updated_at = Set(now);
        rows::update(tx, gone).await?;
        deeds::note(tx, who, ("network", "delete"), uuid, 204, json!({}), now).await?;
        Ok(())
    });
    done.await?;
    cloud.bells.intents.notify_one();
    Ok(())
}

/// Has a network taken from each cluster it is on: from each node group, then as a whole.
async fn leave(
    tx: &DatabaseTransaction,
    cloud: &Cloud,
    who: &Principal,
    row: &network::Model,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let name = Named::Network(row.id).name(&cloud.config.prefix);
    for place in read::places(tx, row.id).await? {
        let Some(on) = servers::backend(tx, place.backend_id).await? else {
            continue;
        };
        let mut after = intents::last_open_of_network(tx, row.id, on.id).await?;
        let mut steps: Vec<_> = groups(&on)
            .map(|group| {
                (
                    NetworkStep::Disconnect,
                    body::disconnect_network(&name, group),
                )
            })
            .collect();
        steps.push((NetworkStep::Remove, body::remove_network(&name, &[])));
        let count = steps.len();
        for (at, (step, request)) in steps.into_iter().enumerate() {
            let new = NewIntent {
                after_id: after,
                is_last: at + 1 == count,
                request_id: Some(who.request_id.clone()),
                ..NewIntent::of_network(step, (row.id, on.id), request.to_json())
            };
            after = Some(intents::insert(tx, new, now).await?.id);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_free_prefix_is_found() {
        assert_eq!(
            free_prefix(|prefix| prefix != "aa:12:34").as_deref(),
            Some("aa:12:34")
        );
        assert_eq!(free_prefix(|_| true), None);
        assert_eq!(free_prefix(|prefix| prefix != "aa:00:00"), None);
    }
}
