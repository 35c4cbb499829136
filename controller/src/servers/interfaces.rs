//! NICs that come and go while a server is there.

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use serde_json::json;
use uuid::Uuid;

use super::attach::{Attachment, Places};
use super::{Asked, instance, locked, refused, set_task};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::{self, Cloud};
use crate::db::entity::port;
use crate::db::{networks as networks_read, servers as read};
use crate::deeds;
use crate::lifecycle::{self, Action, Step, Task};
use crate::networks;
use crate::ports::{self, Port};
use crate::rapi::body;
use crate::rapi::naming::Named;

/// Gives a server a NIC.
///
/// # Errors
/// 404, 400 and 409 as for a new server, 409 where it cannot be now, or the database's own.
pub async fn attach(
    cloud: &Cloud,
    who: &Principal,
    uuid: Uuid,
    wanted: &Attachment,
) -> Result<Port, Fault> {
    who.writes()?;
    let now = cloud::now();
    let port = cloud
        .db
        .write(async |tx| attached(&tx, cloud, who, uuid, wanted, now).await);
    let port = port.await?;
    cloud.bells.intents.notify_one();
    Ok(port)
}

async fn attached(
    tx: &DatabaseTransaction,
    cloud: &Cloud,
    who: &Principal,
    uuid: Uuid,
    wanted: &Attachment,
    now: DateTime<Utc>,
) -> Result<Port, Fault> {
    let prefix = &cloud.config.prefix;
    let (row, standing) = locked(tx, who, uuid).await?;
    lifecycle::accept(standing, Action::Connect)
        .map_err(|refusal| refused(&row, standing, "attach_interface", refusal))?;
    let has = networks_read::ports_of(tx, [row.id]).await?;
    let has = has.get(&row.id).map_or(&[][..], Vec::as_slice);
    if has.len() >= ports::MOST {
        let most = ports::MOST;
        return Err(Fault::bad(format!(
            "a server has at most {most} interfaces"
        )));
    }
    let last = has.iter().filter_map(|port| port.nic_index).max();
    let place = (row.id, last.map_or(0, |last| last + 1));
    let places = Places::lock(tx, who.into(), std::slice::from_ref(wanted)).await?;
    let made = places
        .give(tx, who, row.project_id, place, prefix, now)
        .await?;
    let port = made
        .into_iter()
        .next()
        .ok_or_else(|| Fault::bad("no port is named"))?;
    let on = read::backend(tx, row.backend_id).await?;
    let on = on.ok_or_else(|| Fault::Unavailable(String::from("its cluster is gone")))?;
    let request_id = &*who.request_id;
    let asked = networks::Asked {
        prefix,
        request_id: Some(request_id),
        now,
    };
    let after = networks::prepare(tx, port.row.network_id, &on, None, asked).await?;
    let row = set_task(tx, row, Task::Connect, now).await?;
    let asked = Asked {
        server: &row,
        task: Task::Connect,
        request_id,
        now,
    };
    let request = body::add_nic(instance(&row)?, &port.nic(prefix), &[]);
    let mut intent = asked.intent(Step::AddNic, &request);
    intent.after_id = after;
    intent.port_id = Some(port.row.id);
    intent.network_id = Some(port.row.network_id);
    asked.want(tx, intent).await?;
    let detail = json!({"port": port.row.uuid});
    deeds::note(
        tx,
        who,
        ("server", "attach_interface"),
        uuid,
        200,
        detail,
        now,
    )
    .await?;
    Ok(port)
}

/// Takes a NIC from a server; its port goes when Ganeti has done it.
///
/// # Errors
/// 404, 409 where it cannot be now, or the database's own.
pub async fn detach(cloud: &Cloud, who: &Principal, server: Uuid, port: Uuid) -> Result<(), Fault> {
    who.writes()?;
    let now = cloud::now();
    let done = cloud.db.write(async |tx| {
        let tx = &*tx;
        let (row, standing) = locked(tx, who, server).await?;
        let found = networks_read::ports_of(tx, [row.id]).await?;
        let found = found
            .get(&row.id)
            .and_then(|ports| ports.iter().find(|each| each.uuid == port));
        let found = found.ok_or_else(|| Fault::not_found("port", port))?;
        lifecycle::accept(standing, Action::Disconnect)
            .map_err(|refusal| refused(&row, standing, "detach_interface", refusal))?;
        let row = set_task(tx, row, Task::Disconnect, now).await?;
        let asked = Asked {
            server: &row,
            task: Task::Disconnect,
            request_id: &who.request_id,
            now,
        };
        let request = body::remove_nic(instance(&row)?, &nic_name(found, cloud));
        let mut intent = asked.intent(Step::RemoveNic, &request);
        intent.port_id = Some(found.id);
        intent.network_id = Some(found.network_id);
        asked.want(tx, intent).await?;
        let detail = json!({"port": port});
        deeds::note(
            tx,
            who,
            ("server", "detach_interface"),
            server,
            202,
            detail,
            now,
        )
        .await?;
        Ok::<_, Fault>(())
    });
    done.await?;
    cloud.bells.intents.notify_one();
    Ok(())
}

fn nic_name(port: &port::Model, cloud: &Cloud) -> String {
    let own = || Named::Port(port.id).name(&cloud.config.prefix);
    port.nic_name.clone().unwrap_or_else(own)
}
