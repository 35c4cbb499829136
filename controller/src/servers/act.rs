//! Start, stop, reboot, resize and removal: [`lifecycle::accept`] decides, its steps become intents.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, IntoActiveModel};
use serde_json::json;
use uuid::Uuid;

use super::{Asked, instance, locked, refused, set_task};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::{self, Cloud};
use crate::db::entity::{flavor, server};
use crate::db::quotas::{self, Usage};
use crate::db::{DbError, intents, rows, servers as read};
use crate::deeds;
use crate::lifecycle::{self, Accepted, Action, Step, Task};
use crate::quota::Limits;
use crate::rapi::{Submission, body};

/// Nova's word for an action, as in `Cannot 'stop' instance …`.
const fn word(action: Action) -> &'static str {
    match action {
        Action::Start => "start",
        Action::Stop => "stop",
        Action::Reboot { .. } => "reboot",
        Action::Resize | Action::ResizeStopped => "resize",
        Action::ConfirmResize => "confirmResize",
        Action::RevertResize => "revertResize",
        Action::Connect => "attach_interface",
        Action::Disconnect => "detach_interface",
        Action::Firewall => "firewallProfile",
        Action::Delete => "delete",
    }
}

/// Start, stop, reboot, confirm and revert a resize.
///
/// # Errors
/// 404, 409 where it cannot be now, or the database's own.
pub async fn act(
    cloud: &Cloud,
    who: &Principal,
    uuid: Uuid,
    action: Action,
) -> Result<server::Model, Fault> {
    who.writes()?;
    let now = cloud::now();
    let row = cloud
        .db
        .write(async |tx| acted(&tx, who, uuid, action, None, now).await);
    let row = row.await?;
    cloud.bells.intents.notify_one();
    Ok(row)
}

/// Removes a server, whatever it does: what was not sent yet is not sent.
///
/// # Errors
/// 404, or the database's own.
pub async fn delete(cloud: &Cloud, who: &Principal, uuid: Uuid) -> Result<(), Fault> {
    who.writes()?;
    let now = cloud::now();
    let done = cloud.db.write(async |tx| {
        let tx = &*tx;
        let row = acted(tx, who, uuid, Action::Delete, None, now).await?;
        Ok::<_, Fault>(row)
    });
    done.await?;
    cloud.bells.intents.notify_one();
    Ok(())
}

/// Gives a server another flavor.
///
/// # Errors
/// 400 where it cannot be that flavor, 403 over quota, 404, 409 where it cannot be now, or the database's own.
pub async fn resize(
    cloud: &Cloud,
    who: &Principal,
    uuid: Uuid,
    action: Action,
    flavor: &str,
) -> Result<server::Model, Fault> {
    who.writes()?;
    let now = cloud::now();
    let row = cloud.db.write(async |tx| {
        let tx = &*tx;
        let seen = read::server(tx, who.into(), uuid).await?;
        let seen = seen.ok_or_else(|| super::not_found(uuid))?;
        // The project before the server, as everywhere.
        quotas::lock(tx, seen.project_id).await?;
        let wanted = match flavor.parse() {
            Ok(uuid) => read::flavor(tx, who.into(), uuid).await?,
            Err(_) => None,
        };
        let wanted = wanted.ok_or_else(|| Fault::bad("Unable to locate requested flavor."))?;
        fits(tx, cloud, &seen, &wanted).await?;
        acted(tx, who, uuid, action, Some(&wanted), now).await
    });
    let row = row.await?;
    cloud.bells.intents.notify_one();
    Ok(row)
}

async fn fits(
    tx: &DatabaseTransaction,
    cloud: &Cloud,
    server: &server::Model,
    wanted: &flavor::Model,
) -> Result<(), Fault> {
    if wanted.id == server.flavor_id {
        return Err(Fault::bad("When resizing, instances must change flavor!"));
    }
    let now = read::flavor_by_id(tx, server.flavor_id).await?;
    let is_same_store = now.is_none_or(|now| now.disk_template == wanted.disk_template);
    if wanted.disk != server.disk || !is_same_store {
        return Err(Fault::bad(
            "a server keeps its disk when it is resized: choose a flavor of the same disk",
        ));
    }
    let image = match server.image_id {
        Some(image) => read::image_by_id(tx, image).await?,
        None => None,
    };
    if image.is_some_and(|image| image.min_ram > wanted.ram) {
        return Err(Fault::bad(
            "Flavor's memory is too small for requested image.",
        ));
    }
    let limits = quotas::limits(tx, server.project_id).await?;
    let used = quotas::usage(tx, server.project_id).await?;
    let more = Usage {
        cores: i64::from(wanted.vcpus - server.vcpus),
        ram: i64::from(wanted.ram - server.ram),
        ..Usage::default()
    };
    Limits::new(cloud.config.quota, &limits).check(used, more)
}

async fn acted(
    tx: &DatabaseTransaction,
    who: &Principal,
    uuid: Uuid,
    action: Action,
    flavor: Option<&flavor::Model>,
    now: DateTime<Utc>,
) -> Result<server::Model, Fault> {
    let (row, standing) = locked(tx, who, uuid).await?;
    let accepted = lifecycle::accept(standing, action)
        .map_err(|refusal| refused(&row, standing, word(action), refusal))?;
    let (task, steps) = match accepted {
        Accepted::Do(task, steps) => (task, steps),
        Accepted::Rows => {
            let mut kept = row.into_active_model();
            kept.former_flavor_id = Set(None);
            kept.updated_at = Set(now);
            let row = rows::update(tx, kept).await?;
            noted(tx, who, &row, action, now).await?;
            return Ok(row);
        }
    };
    let former;
    let flavor = match (task, row.former_flavor_id) {
        (Task::RevertResize, Some(id)) => {
            former = read::flavor_by_id(tx, id).await?;
            former.as_ref()
        }
        _ => flavor,
    };
    if task == Task::Destroy {
        intents::give_up(tx, row.id, now).await?;
    }
    let row = set_task(tx, row, task, now).await?;
    let asked = Asked {
        server: &row,
        task,
        request_id: &who.request_id,
        now,
    };
    let mut after = None;
    for (place, step) in steps.iter().enumerate() {
        let mut intent = asked.intent(*step, &submission(&row, *step, flavor)?);
        intent.is_last = place + 1 == steps.len();
        intent.after_id = after;
        if *step == Step::SetSize {
            intent.flavor_id = flavor.map(|flavor| flavor.id);
        }
        after = Some(asked.want(tx, intent).await?);
    }
    noted(tx, who, &row, action, now).await?;
    Ok(row)
}

async fn noted(
    tx: &DatabaseTransaction,
    who: &Principal,
    row: &server::Model,
    action: Action,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let status = match action {
        Action::Delete | Action::ConfirmResize => 204,
        Action::Start
        | Action::Stop
        | Action::Reboot { .. }
        | Action::Resize
        | Action::ResizeStopped
        | Action::RevertResize
        | Action::Connect
        | Action::Disconnect
        | Action::Firewall => 202,
    };
    let hard = action == Action::Reboot { hard: true };
    let detail = if hard {
        json!({"type": "HARD"})
    } else {
        json!({})
    };
    deeds::note(
        tx,
        who,
        ("server", word(action)),
        row.uuid,
        status,
        detail,
        now,
    )
    .await
}

fn submission(
    row: &server::Model,
    step: Step,
    flavor: Option<&flavor::Model>,
) -> Result<Submission, Fault> {
    let name = instance(row)?;
    let unknown = || Fault::Conflict(format!("instance {}: no such step", row.uuid));
    Ok(match step {
        Step::Startup => body::startup(name),
        Step::Shutdown => body::shutdown(name),
        Step::RebootSoft => body::reboot(name, false),
        Step::RebootHard => body::reboot(name, true),
        Step::Remove => body::remove(name),
        Step::SetSize => {
            let flavor = flavor.ok_or_else(|| {
                Fault::Conflict(format!("instance {}: the flavor to take is gone", row.uuid))
            })?;
            let vcpus = u32::try_from(flavor.vcpus).map_err(Fault::internal)?;
            let ram = u32::try_from(flavor.ram).map_err(Fault::internal)?;
            body::set_size(name, vcpus, ram)
        }
        Step::Create
        | Step::AddNic
        | Step::RemoveNic
        | Step::RemoveTags
        | Step::AddTags
        | Step::Announce => return Err(unknown()),
    })
}
