//! What users have done to ports: made before a server has them, named, removed.

use std::net::IpAddr;

use nfdhcpd_binding::MacAddr;
use sea_orm::ActiveValue::Set;
use sea_orm::IntoActiveModel;
use serde_json::json;
use uuid::Uuid;

use super::{NewPort, Port, drop_row, make};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::{self, Cloud};
use crate::db::entity::port;
use crate::db::networks::{self as read};
use crate::db::rows;
use crate::{deeds, servers};

/// A port that is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its network.
    pub network: Uuid,
    /// Its name.
    pub name: String,
    /// Addresses it must have.
    pub fixed: Vec<IpAddr>,
    /// The hardware address it must have.
    pub mac: Option<MacAddr>,
}

/// Makes ports without servers, all or none.
///
/// # Errors
/// 404 for a network, or as [`make`].
pub async fn create(cloud: &Cloud, who: &Principal, new: &[Wanted]) -> Result<Vec<Port>, Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let tx = &*tx;
            let mut ids = Vec::new();
            for wanted in new {
                let missing = || Fault::not_found("network", wanted.network);
                let seen = read::network(tx, who.into(), wanted.network).await?;
                ids.push(seen.ok_or_else(missing)?.id);
            }
            let networks = read::lock_networks(tx, ids.iter().copied()).await?;
            let subnets = read::lock_subnets(tx, networks.keys().copied()).await?;
            let mut made = Vec::new();
            for (wanted, id) in new.iter().zip(&ids) {
                let missing = || Fault::not_found("network", wanted.network);
                let new = NewPort {
                    network: networks.get(id).ok_or_else(missing)?,
                    subnets: subnets.get(id).map_or(&[], Vec::as_slice),
                    fixed: &wanted.fixed,
                    mac: wanted.mac,
                    name: &wanted.name,
                    project: who.project_id,
                    user: who.user_id,
                    server: None,
                };
                let port = make(tx, &new, &cloud.config.prefix, now).await?;
                deeds::note(
                    tx,
                    who,
                    ("port", "create"),
                    port.row.uuid,
                    201,
                    json!({}),
                    now,
                )
                .await?;
                made.push(port);
            }
            Ok(made)
        })
        .await
}

/// Calls a port something else.
///
/// # Errors
/// 404, or the database's own.
pub async fn rename(
    cloud: &Cloud,
    who: &Principal,
    uuid: Uuid,
    name: &str,
) -> Result<port::Model, Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let tx = &*tx;
            let missing = || Fault::not_found("port", uuid);
            let seen = read::port(tx, who.into(), uuid)
                .await?
                .ok_or_else(missing)?;
            let row = read::lock_ports(tx, [seen.id])
                .await?
                .remove(&seen.id)
                .ok_or_else(missing)?;
            let mut named = row.into_active_model();
            named.name = Set(name.to_owned());
            named.updated_at = Set(now);
            let row = rows::update(tx, named).await?;
            deeds::note(tx, who, ("port", "update"), uuid, 200, json!({}), now).await?;
            Ok(row)
        })
        .await
}

/// Removes a port: at once where no server has it, else from its server first.
///
/// # Errors
/// 404, 409 where its server does something else, or the database's own.
pub async fn delete(cloud: &Cloud, who: &Principal, uuid: Uuid) -> Result<(), Fault> {
    who.writes()?;
    let now = cloud::now();
    let server = cloud.db.write(async |tx| {
        let tx = &*tx;
        let missing = || Fault::not_found("port", uuid);
        let seen = read::port(tx, who.into(), uuid)
            .await?
            .ok_or_else(missing)?;
        let row = read::lock_ports(tx, [seen.id])
            .await?
            .remove(&seen.id)
            .ok_or_else(missing)?;
        if let Some(server) = row.server_id {
            return Ok::<_, Fault>(read::server_names(tx, [server]).await?.remove(&server));
        }
        drop_row(tx, row, now).await?;
        deeds::note(tx, who, ("port", "delete"), uuid, 204, json!({}), now).await?;
        Ok(None)
    });
    match server.await? {
        None => Ok(()),
        Some(server) => servers::detach(cloud, who, server, uuid).await,
    }
}
