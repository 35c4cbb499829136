//! Floating addresses: a project's own, of an external network. A server has one by a port of its own on that network: nobody
//! translates addresses.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use sea_orm::ActiveValue::Set;
use sea_orm::IntoActiveModel;
use serde_json::json;
use uuid::Uuid;

use crate::allocation;
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::{self, Cloud};
use crate::db::entity::address;
use crate::db::networks::{self as read};
use crate::db::quotas::{self, Usage};
use crate::db::rows;
use crate::quota::Limits;
use crate::{deeds, ports};

/// Takes an address of an external network for a project: the one asked for, or the lowest that is free.
///
/// # Errors
/// 404 for the network, 400 where it is not external or has no such address, 409 over quota, where none is left or it is taken.
pub async fn create(
    cloud: &Cloud,
    who: &Principal,
    network: Uuid,
    wanted: Option<Ipv4Addr>,
) -> Result<address::Model, Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let tx = &*tx;
            let missing = || Fault::not_found("network", network);
            let seen = read::network(tx, who.into(), network)
                .await?
                .ok_or_else(missing)?;
            quotas::lock(tx, who.project_id).await?;
            let limits = quotas::limits(tx, who.project_id).await?;
            let more = Usage {
                floating_ips: 1,
                ..Usage::default()
            };
            let used = quotas::usage(tx, who.project_id).await?;
            Limits::new(cloud.config.quota, &limits).check(used, more)?;
            let row = read::lock_networks(tx, [seen.id])
                .await?
                .remove(&seen.id)
                .ok_or_else(missing)?;
            if !row.is_external {
                return Err(Fault::bad(format!(
                    "Network {network} is not a valid external network"
                )));
            }
            let subnets = read::lock_subnets(tx, [row.id]).await?.remove(&row.id);
            let subnet = subnets
                .into_iter()
                .flatten()
                .find(|subnet| subnet.ip_version == 4);
            let subnet = subnet.ok_or_else(|| {
                Fault::bad(format!(
                    "Network {network} does not contain any IPv4 subnet"
                ))
            })?;
            let ip = match wanted {
                Some(ip) => {
                    let cidr: IpNet = subnet.cidr.parse().map_err(Fault::internal)?;
                    let is_in = ports::pools(&subnet)
                        .iter()
                        .any(|pool| (pool.start..=pool.end).contains(&IpAddr::V4(ip)));
                    if !is_in {
                        return Err(Fault::bad(format!("{ip} is not in a pool of {cidr}")));
                    }
                    if read::address_row(tx, subnet.id, &ip.to_string())
                        .await?
                        .is_some()
                    {
                        return Err(Fault::Conflict(format!(
                            "{ip} is in use on network {network}"
                        )));
                    }
                    ip
                }
                None => {
                    let taken = read::taken(tx, subnet.id).await?;
                    allocation::free_address(&ports::pools(&subnet), &taken)
                        .ok_or_else(|| ports::no_more(&row))?
                }
            };
            let kept = ports::keep(tx, &subnet, "floating", ip.into(), None, now).await?;
            let mut owned = kept.into_active_model();
            owned.project_id = Set(Some(who.project_id));
            owned.user_id = Set(Some(who.user_id));
            let row = rows::update(tx, owned).await?;
            let detail = json!({"address": row.address});
            deeds::note(
                tx,
                who,
                ("floatingip", "create"),
                row.uuid,
                201,
                detail,
                now,
            )
            .await?;
            Ok(row)
        })
        .await
}

/// Gives a floating address back, which no port has.
///
/// # Errors
/// 404, 409 where a port has it, or the database's own.
pub async fn delete(cloud: &Cloud, who: &Principal, uuid: Uuid) -> Result<(), Fault> {
    who.writes()?;
    let now = cloud::now();
    cloud
        .db
        .write(async |tx| {
            let tx = &*tx;
            let missing = || Fault::not_found("floating IP", uuid);
            let seen = read::floating(tx, who.into(), Some(uuid))
                .await?
                .pop()
                .ok_or_else(missing)?;
            let row = read::lock_address(tx, seen.id).await?.ok_or_else(missing)?;
            if row.port_id.is_some() {
                return Err(Fault::InUse {
                    what: "floating IP",
                    id: uuid.to_string(),
                    reason: String::from("a port has it: remove the port first"),
                });
            }
            read::drop_address(tx, row.id).await?;
            let detail = json!({"address": row.address});
            deeds::note(tx, who, ("floatingip", "delete"), uuid, 204, detail, now).await?;
            Ok(())
        })
        .await
}
