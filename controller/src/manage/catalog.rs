//! Flavors and images.

use std::path::PathBuf;

use clap::Args;
use sea_orm::{ActiveValue::Set, IntoActiveModel};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{ManageError, Shown, note, only};
use crate::cloud::{self, Cloud};
use crate::db::entity::{flavor, image};
use crate::db::{Tx, lookup, rows as one};

/// `flavor-create`
#[derive(Debug, Clone, Args)]
pub struct NewFlavor {
    /// Its name.
    name: String,
    /// Virtual processors.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=512))]
    vcpus: i32,
    /// Memory, MiB.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=16_777_216))]
    ram: i32,
    /// Disk, GiB.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..=1_048_576))]
    disk: i32,
    /// How it is stored: `drbd`, `plain`, `file`, `sharedfile`, `ext_…`, `diskless`.
    #[arg(long, default_value = "drbd")]
    disk_template: String,
    /// Only administrators use it.
    #[arg(long)]
    private: bool,
}

/// `image-register`
#[derive(Debug, Clone, Args)]
pub struct NewImage {
    /// Its name.
    name: String,
    /// OS of Ganeti's, as `gnt-os list` has it.
    #[arg(long)]
    os: String,
    /// Parameter of the OS, as in `img_id=debian`; anybody with access to Ganeti reads them.
    #[arg(long, value_name = "NAME=VALUE")]
    os_parameter: Vec<String>,
    /// File with secret parameters of the OS: a JSON object of texts.
    #[arg(long, value_name = "FILE")]
    private_parameters: Option<PathBuf>,
    /// Parameter of the hypervisor, as in `serial_console=false`.
    #[arg(long, value_name = "NAME=VALUE")]
    hypervisor_parameter: Vec<String>,
    /// MiB a flavor must have.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..))]
    min_ram: i32,
    /// GiB a flavor must have.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..))]
    min_disk: i32,
    /// Only for this project.
    #[arg(long)]
    project: Option<String>,
}

const TEMPLATES: [&str; 9] = [
    "blockdev",
    "diskless",
    "drbd",
    "ext",
    "file",
    "gluster",
    "plain",
    "rbd",
    "sharedfile",
];

pub(super) async fn create_flavor(cloud: &Cloud, new: NewFlavor) -> Result<Shown, ManageError> {
    let template = new.disk_template.split('_').next().unwrap_or_default();
    if !TEMPLATES.contains(&template) {
        let known = TEMPLATES.join(", ");
        let words = format!("--disk-template {}: one of {known}", new.disk_template);
        return Err(ManageError::Usage(words));
    }
    if (template == "diskless") != (new.disk == 0) {
        let words = "--disk 0 goes with --disk-template diskless, and nothing else does";
        return Err(ManageError::Usage(words.to_owned()));
    }
    let row = flavor::ActiveModel {
        uuid: Set(Uuid::new_v4()),
        name: Set(new.name.clone()),
        vcpus: Set(new.vcpus),
        ram: Set(new.ram),
        disk: Set(new.disk),
        disk_template: Set(new.disk_template),
        is_public: Set(!new.private),
        created_at: Set(cloud::now()),
        deletion: Set(0),
        ..Default::default()
    };
    let made = cloud.db.write(async |tx: Tx| -> Result<_, ManageError> {
        let same = lookup::flavors(&*tx, &new.name).await?;
        if same.iter().any(|flavor| flavor.name == new.name) {
            let words = format!("there is a flavor {:?} already", new.name);
            return Err(ManageError::Refused(words));
        }
        let made = one::insert(&tx, row.clone()).await?;
        let detail =
            json!({"name": made.name, "vcpus": made.vcpus, "ram": made.ram, "disk": made.disk});
        note(&tx, ("flavor", "create"), made.uuid.to_string(), detail).await?;
        Ok(made)
    });
    let made = made.await?;
    Ok(Shown::Fields(vec![
        ("id", json!(made.id)),
        ("uuid", json!(made.uuid)),
        ("name", json!(made.name)),
    ]))
}

pub(super) async fn list_flavors(cloud: &Cloud) -> Result<Shown, ManageError> {
    let all = lookup::all_flavors(cloud.db.reader()).await?;
    let rows = all.into_iter().filter(|row| row.deletion == 0).map(|row| {
        vec![
            json!(row.id),
            json!(row.uuid),
            json!(row.name),
            json!(row.vcpus),
            json!(row.ram),
            json!(row.disk),
            json!(row.disk_template),
            json!(row.is_public),
        ]
    });
    Ok(Shown::Table {
        columns: &[
            "id",
            "uuid",
            "name",
            "vcpus",
            "ram_mib",
            "disk_gib",
            "disk_template",
            "public",
        ],
        rows: rows.collect(),
    })
}

pub(super) async fn delete_flavor(cloud: &Cloud, key: &str) -> Result<Shown, ManageError> {
    let row = only(
        lookup::flavors(cloud.db.reader(), key).await?,
        "flavor",
        key,
    )?;
    cloud
        .db
        .write(async |tx: Tx| -> Result<(), ManageError> {
            let mut gone = row.clone().into_active_model();
            gone.deletion = Set(row.id);
            one::update(&tx, gone).await?;
            let detail = json!({"name": row.name});
            Ok(note(&tx, ("flavor", "delete"), row.uuid.to_string(), detail).await?)
        })
        .await?;
    Ok(Shown::Fields(vec![("deleted", json!(row.name))]))
}

/// `name=value`, each; `true`, `false` and numbers of hypervisors are such.
fn parameters(given: &[String], typed: bool) -> Result<Map<String, Value>, ManageError> {
    let mut read = Map::new();
    for pair in given {
        let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let words = format!("{pair:?} is not NAME=VALUE");
            return Err(ManageError::Usage(words));
        };
        let value = match value {
            "true" | "false" if typed => Value::Bool(value == "true"),
            text if typed && text.parse::<i64>().is_ok() => {
                text.parse::<i64>().map_or(Value::Null, Value::from)
            }
            text => Value::from(text),
        };
        if read.insert(name.to_owned(), value).is_some() {
            return Err(ManageError::Usage(format!("{name} is given twice")));
        }
    }
    Ok(read)
}

pub(super) async fn register_image(cloud: &Cloud, new: NewImage) -> Result<Shown, ManageError> {
    let os_parameters = parameters(&new.os_parameter, false)?;
    let hypervisor_parameters = parameters(&new.hypervisor_parameter, true)?;
    let uuid = Uuid::new_v4();
    let secrets = match &new.private_parameters {
        None => None,
        Some(path) => {
            let shown = path.display();
            let text = std::fs::read_to_string(path).map_err(|source| ManageError::Read {
                path: shown.to_string(),
                source,
            })?;
            // The parser's words would quote a secret.
            if serde_json::from_str::<std::collections::BTreeMap<String, String>>(&text).is_err() {
                let words = format!("{shown}: not a JSON object of texts");
                return Err(ManageError::Usage(words));
            }
            let place = format!("images/{uuid}/os_parameters_private");
            Some(cloud.seal.seal(&text, &place)?)
        }
    };
    let project = match &new.project {
        None => None,
        Some(key) => {
            let found = lookup::projects(cloud.db.reader(), key).await?;
            Some(only(found, "project", key)?.id)
        }
    };
    let now = cloud::now();
    let row = image::ActiveModel {
        uuid: Set(uuid),
        project_id: Set(project),
        name: Set(new.name),
        os: Set(new.os),
        os_parameters: Set(Value::Object(os_parameters)),
        os_parameters_private: Set(secrets),
        hypervisor_parameters: Set(Value::Object(hypervisor_parameters)),
        min_ram: Set(new.min_ram),
        min_disk: Set(new.min_disk),
        visibility: Set(String::from(if project.is_some() {
            "private"
        } else {
            "public"
        })),
        status: Set(String::from("active")),
        created_at: Set(now),
        updated_at: Set(now),
        deletion: Set(0),
        ..Default::default()
    };
    let made = cloud.db.write(async |tx: Tx| -> Result<_, ManageError> {
        let made = one::insert(&tx, row.clone()).await?;
        let detail = json!({"name": made.name, "os": made.os});
        note(&tx, ("image", "register"), made.uuid.to_string(), detail).await?;
        Ok(made)
    });
    let made = made.await?;
    Ok(Shown::Fields(vec![
        ("id", json!(made.id)),
        ("uuid", json!(made.uuid)),
        ("name", json!(made.name)),
    ]))
}

pub(super) async fn list_images(cloud: &Cloud) -> Result<Shown, ManageError> {
    let all = lookup::all_images(cloud.db.reader()).await?;
    let rows = all.into_iter().filter(|row| row.deletion == 0).map(|row| {
        vec![
            json!(row.id),
            json!(row.uuid),
            json!(row.name),
            json!(row.os),
            json!(row.min_ram),
            json!(row.min_disk),
            json!(row.visibility),
            json!(row.status),
        ]
    });
    Ok(Shown::Table {
        columns: &[
            "id",
            "uuid",
            "name",
            "os",
            "min_ram",
            "min_disk",
            "visibility",
            "status",
        ],
        rows: rows.collect(),
    })
}
