//! A new server: quota, flavor, image, networks, a cluster with room, addresses; rows and the intents that make them true.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, IntoActiveModel};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Asked;
use super::attach::{Attachment, Places};
use crate::allocation::{self, Candidate, Need};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::{self, Cloud};
use crate::db::entity::{backend, flavor, image, server};
use crate::db::networks::{self as networks_read, Viewer};
use crate::db::quotas::{self, Usage};
use crate::db::{intents, rows, servers as read};
use crate::deeds;
use crate::lifecycle::{OperState, Step, Task};
use crate::networks;
use crate::ports::Port;
use crate::quota::Limits;
use crate::rapi::body::{self, NewDisk, NewInstance};
use crate::rapi::naming::Named;

/// Longest name of a host (RFC 1123 §2.1, RFC 1035 §2.3.4).
const HOSTNAME_LONGEST: usize = 63;
/// MiB in a GiB.
const MIB: i64 = 1024;

/// Which networks a new server is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Networks {
    /// Nothing was said: the one the project sees; none if there is none; several are refused.
    Unsaid,
    /// The one the project sees, which there must be.
    Auto,
    /// None.
    None,
    /// These.
    These(Vec<Attachment>),
}

/// A server that is asked for.
#[derive(Debug, Clone)]
pub struct NewServer {
    /// Its name.
    pub name: String,
    /// Its flavor, as it was named.
    pub flavor: String,
    /// Its image, as it was named.
    pub image: String,
    /// Its networks.
    pub networks: Networks,
    /// Words on it.
    pub metadata: BTreeMap<String, String>,
    /// How many, at least.
    pub least: u32,
    /// How many, if the quota allows.
    pub most: u32,
}

/// Makes servers, of which the first is what a request for one is answered with.
///
/// # Errors
/// Over quota, nothing of that name, no address or no cluster left, or the database's own.
pub async fn create(
    cloud: &Cloud,
    who: &Principal,
    new: &NewServer,
) -> Result<Vec<server::Model>, Fault> {
    who.writes()?;
    let now = cloud::now();
    let made = cloud
        .db
        .write(async |tx| made(&tx, cloud, who, new, now).await);
    let made = made.await?;
    cloud.bells.intents.notify_one();
    Ok(made)
}

async fn made(
    tx: &DatabaseTransaction,
    cloud: &Cloud,
    who: &Principal,
    new: &NewServer,
    now: DateTime<Utc>,
) -> Result<Vec<server::Model>, Fault> {
    let viewer = Viewer::from(who);
    quotas::lock(tx, who.project_id).await?;
    let flavor = flavor_named(tx, viewer, &new.flavor).await?;
    let image = image_named(tx, viewer, &new.image, &flavor).await?;
    let count = allowed(tx, cloud, who, &flavor, new).await?;
    let attachments = attachments(tx, viewer, &new.networks).await?;
    let places = Places::lock(tx, viewer, &attachments).await?;
    if count > 1 && places.is_for_one() {
        return Err(Fault::bad(
            "a port or a fixed address can be one server's only: ask for one server",
        ));
    }
    let backends = read::backends(tx).await?;
    let mut candidates: Vec<Candidate> = backends.iter().map(candidate).collect();
    let mut servers = Vec::new();
    let mut filled = Vec::new();
    for number in 1..=count {
        let need = Need {
            ram: flavor.ram.into(),
            disk: flavor.disk.into(),
            disk_template: &flavor.disk_template,
        };
        let chosen = allocation::choose_backend(&candidates, need);
        let on = chosen.and_then(|id| backends.iter().find(|backend| backend.id == id));
        let on = on.ok_or_else(|| {
            Fault::Unavailable(String::from(
                "No valid host was found: no cluster takes this flavor now",
            ))
        })?;
        if let Some(candidate) = candidates.iter_mut().find(|each| each.backend == on.id) {
            candidate.memory_free -= need.ram;
            candidate.disk_free -= need.disk * MIB;
            candidate.instances += 1;
        }
        let name = match count {
            1 => new.name.clone(),
            _ => format!("{}-{number}", new.name),
        };
        let what = What {
            flavor: &flavor,
            image: &image,
            on,
            name,
        };
        let server = one(tx, cloud, who, &what, &places, now).await?;
        read::set_metadata(tx, server.id, &new.metadata).await?;
        let detail = json!({"flavor": flavor.uuid, "image": image.uuid, "backend": on.name});
        deeds::note(tx, who, ("server", "create"), server.uuid, 202, detail, now).await?;
        filled.push(on.id);
        servers.push(server);
    }
    // Last, as every project's servers meet here, and in order.
    filled.sort_unstable();
    for on in filled {
        read::fill(tx, on, flavor.ram.into(), i64::from(flavor.disk) * MIB).await?;
    }
    Ok(servers)
}

struct What<'a> {
    flavor: &'a flavor::Model,
    image: &'a image::Model,
    on: &'a backend::Model,
    name: String,
}

async fn one(
    tx: &DatabaseTransaction,
    cloud: &Cloud,
    who: &Principal,
    what: &What<'_>,
    places: &Places,
    now: DateTime<Utc>,
) -> Result<server::Model, Fault> {
    let prefix = &cloud.config.prefix;
    let hostname = hostname(&what.name);
    let row = server::ActiveModel {
        uuid: Set(Uuid::new_v4()),
        project_id: Set(who.project_id),
        user_id: Set(who.user_id),
        name: Set(what.name.clone()),
        backend_id: Set(what.on.id),
        flavor_id: Set(what.flavor.id),
        image_id: Set(Some(what.image.id)),
        hostname: Set(hostname.clone()),
        vcpus: Set(what.flavor.vcpus),
        ram: Set(what.flavor.ram),
        disk: Set(what.flavor.disk),
        oper_state: Set(OperState::Build.as_str().to_owned()),
        task: Set(Some(Task::Build.as_str().to_owned())),
        progress: Set(0),
        created_at: Set(now),
        updated_at: Set(now),
        deletion: Set(0),
        ..Default::default()
    };
    let row = rows::insert(tx, row).await?;
    let name = Named::Server(row.id).name(prefix);
    let mut named = row.into_active_model();
    named.instance_name = Set(Some(name.clone()));
    let row = rows::update(tx, named).await?;
    let ports = places
        .give(tx, who, who.project_id, (row.id, 0), prefix, now)
        .await?;
    let mut after = None;
    for network in places.networks() {
        let asked = networks::Asked {
            prefix,
            request_id: Some(&who.request_id),
            now,
        };
        after = networks::prepare(tx, network, what.on, after, asked).await?;
    }
    let asked = Asked {
        server: &row,
        task: Task::Build,
        request_id: &who.request_id,
        now,
    };
    let request = body::create(&instance(name, what, &ports, cloud, hostname)?, &[]);
    let mut intent = asked.intent(Step::Create, &request);
    intent.after_id = after;
    intent.flavor_id = Some(what.flavor.id);
    intent.secrets = secrets(cloud, what.image, intent.uuid)?;
    asked.want(tx, intent).await?;
    Ok(row)
}

fn instance(
    name: String,
    what: &What<'_>,
    ports: &[Port],
    cloud: &Cloud,
    hostname: Option<String>,
) -> Result<NewInstance, Fault> {
    let template = what
        .flavor
        .disk_template
        .split('_')
        .next()
        .unwrap_or_default();
    let disk = NewDisk {
        name: format!("{name}-disk-0"),
        size: u64::try_from(i64::from(what.flavor.disk) * MIB).map_err(Fault::internal)?,
    };
    let has_disk = template != "diskless" && disk.size > 0;
    Ok(NewInstance {
        os: what.image.os.clone(),
        hypervisor: what.on.hypervisor.clone(),
        disk_template: template.to_owned(),
        vcpus: u32::try_from(what.flavor.vcpus).map_err(Fault::internal)?,
        ram: u32::try_from(what.flavor.ram).map_err(Fault::internal)?,
        disks: has_disk.then_some(disk).into_iter().collect(),
        nics: ports
            .iter()
            .map(|port| port.nic(&cloud.config.prefix))
            .collect(),
        os_parameters: object(&what.image.os_parameters),
        // They come with `intents.secrets`.
        os_parameters_private: Map::new(),
        hypervisor_parameters: object(&what.image.hypervisor_parameters),
        tags: hostname
            .iter()
            .map(|name| format!("synnefo:hostname:{name}"))
            .collect(),
        name,
    })
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// What an image's secret parameters are sealed for.
fn image_place(image: Uuid) -> String {
    format!("images/{image}/os_parameters_private")
}

/// The image's secret parameters, sealed anew for their intent.
fn secrets(cloud: &Cloud, image: &image::Model, intent: Uuid) -> Result<Option<String>, Fault> {
    let Some(sealed) = &image.os_parameters_private else {
        return Ok(None);
    };
    let open = cloud
        .seal
        .open(sealed, &image_place(image.uuid))
        .map_err(Fault::internal)?;
    let sealed = cloud.seal.seal(&open, &intents::secrets_place(intent));
    sealed.map(Some).map_err(Fault::internal)
}

/// A reference is a UUID, or an address that ends in one.
fn reference(text: &str) -> Option<Uuid> {
    text.rsplit('/').next().unwrap_or_default().parse().ok()
}

async fn flavor_named(
    tx: &DatabaseTransaction,
    viewer: Viewer,
    name: &str,
) -> Result<flavor::Model, Fault> {
    let found = match reference(name) {
        Some(uuid) => read::flavor(tx, viewer, uuid).await?,
        None => None,
    };
    found.ok_or_else(|| Fault::bad(format!("Flavor {name} could not be found.")))
}

async fn image_named(
    tx: &DatabaseTransaction,
    viewer: Viewer,
    name: &str,
    flavor: &flavor::Model,
) -> Result<image::Model, Fault> {
    let found = match reference(name) {
        Some(uuid) => read::image(tx, viewer, uuid).await?,
        None => None,
    };
    let image = found.ok_or_else(|| Fault::bad(format!("Image {name} could not be found.")))?;
    if image.status != "active" {
        let uuid = image.uuid;
        return Err(Fault::bad(format!("Image {uuid} is not active.")));
    }
    if image.min_ram > flavor.ram {
        return Err(Fault::bad(
            "Flavor's memory is too small for requested image.",
        ));
    }
    if image.min_disk > flavor.disk {
        return Err(Fault::bad(
            "Flavor's disk is too small for requested image.",
        ));
    }
    Ok(image)
}

/// How many the quota allows, of what was asked for.
async fn allowed(
    tx: &DatabaseTransaction,
    cloud: &Cloud,
    who: &Principal,
    flavor: &flavor::Model,
    new: &NewServer,
) -> Result<u32, Fault> {
    let limits = quotas::limits(tx, who.project_id).await?;
    let limits = Limits::new(cloud.config.quota, &limits);
    let used = quotas::usage(tx, who.project_id).await?;
    let mut count = new.most;
    loop {
        let each = i64::from(count);
        let more = Usage {
            instances: each,
            cores: each * i64::from(flavor.vcpus),
            ram: each * i64::from(flavor.ram),
            disk: each * i64::from(flavor.disk),
            ..Usage::default()
        };
        match limits.check(used, more) {
            Ok(()) => return Ok(count),
            Err(_) if count > new.least => count -= 1,
            Err(fault) => return Err(fault),
        }
    }
}

/// What a request says of networks, as attachments. Where it says nothing Nova looks for the one network of the project, or
/// shared with it (`nova/network/neutron.py`, `_get_available_networks`); external ones are only for who names them.
async fn attachments(
    tx: &DatabaseTransaction,
    viewer: Viewer,
    wanted: &Networks,
) -> Result<Vec<Attachment>, Fault> {
    match wanted {
        Networks::These(attachments) => return Ok(attachments.clone()),
        Networks::None => return Ok(Vec::new()),
        Networks::Unsaid | Networks::Auto => {}
    }
    // An administrator's own and shared networks, not everybody's.
    let viewer = Viewer {
        is_admin: false,
        ..viewer
    };
    let seen = networks_read::networks(tx, viewer).await?;
    let usable = seen.into_iter().filter(|network| {
        let is_own = network.project_id == Some(viewer.project);
        network.is_shared || (is_own && !network.is_external)
    });
    let usable: Vec<_> = usable.collect();
    match &usable[..] {
        [] if *wanted == Networks::Auto => Err(Fault::bad(
            "Unable to automatically allocate a network for project: there is none it sees",
        )),
        [] => Ok(Vec::new()),
        [one] => Ok(vec![Attachment::Network {
            uuid: one.uuid,
            fixed: None,
        }]),
        _ => Err(Fault::Conflict(String::from(
            "Multiple possible networks found, use a Network ID to be more specific.",
        ))),
    }
}

fn candidate(row: &backend::Model) -> Candidate {
    let templates = row
        .disk_templates
        .split(',')
        .map(|name| name.trim().to_owned());
    Candidate {
        backend: row.id,
        is_open: !row.drained && !row.offline,
        disk_templates: templates.filter(|name| !name.is_empty()).collect(),
        memory_total: row.memory_total,
        memory_free: row.memory_free,
        disk_total: row.disk_total,
        disk_free: row.disk_free,
        cpu_total: row.cpu_total,
        instances: row.instance_count,
    }
}

/// What a guest is told to be called: the server's name in letters, digits and hyphens; `None` where nothing is left of it.
#[must_use]
pub fn hostname(name: &str) -> Option<String> {
    let letters = name.chars().filter_map(|letter| match letter {
        ' ' | '_' | '.' | '-' => Some('-'),
        letter if letter.is_ascii_alphanumeric() => Some(letter.to_ascii_lowercase()),
        _ => None,
    });
    let text: String = letters.take(HOSTNAME_LONGEST).collect();
    let text = text.trim_matches('-');
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostname_is_what_is_left_of_a_name() {
        for (name, host) in [
            ("web1", Some("web1")),
            ("My Server_2", Some("my-server-2")),
            ("db.example.org", Some("db-example-org")),
            ("-x-", Some("x")),
            ("Ελλάδα", None),
            ("---", None),
        ] {
            assert_eq!(hostname(name).as_deref(), host, "{name}");
        }
        assert_eq!(hostname(&"a".repeat(200)).map(|name| name.len()), Some(63));
    }
}
