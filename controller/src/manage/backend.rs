//! Clusters.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use snf_events::JobId;
use uuid::Uuid;

use super::{ManageError, Shown, note, only, secret_of};
use crate::backends::refresh::{self, Facts, changing};
use crate::backends::{self, TRUST_AUTHORITY, TRUST_FINGERPRINT, password_place};
use crate::cloud::{self, Cloud};
use crate::db::entity::backend;
use crate::db::{Tx, backends as rows, lookup, rows as one};
use crate::rapi::{Endpoint, Fingerprint, Rapi, RapiError, Trust, look};
use crate::secret;

/// A job nobody has: to cancel it needs the right to write, and does nothing.
const NO_JOB: JobId = JobId(999_999_999_999);

/// Who tells what a cluster did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// Its eventd; while that is silent, we ask.
    Auto,
    /// Its eventd only.
    Agent,
    /// Nobody: we ask.
    Agentless,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Agent => "agent",
            Self::Agentless => "agentless",
        }
    }
}

/// Whose certificate is accepted.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(super) struct Trusted {
    /// Only the certificate with this SHA-256.
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    /// One for the host's name that an authority in this file signed.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The one that is shown now.
    #[arg(long)]
    yes: bool,
}

/// `backend-add`
#[derive(Debug, Clone, Args)]
pub struct Add {
    /// Where its remote API is.
    host: String,
    /// Its port.
    #[arg(long, default_value_t = 5080)]
    port: u16,
    /// As whom we speak to it.
    #[arg(long)]
    user: String,
    /// File with that user's password.
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
    #[command(flatten)]
    trusted: Trusted,
    /// Its name here [default: the cluster's].
    #[arg(long)]
    name: Option<String>,
    /// What its instances run on.
    #[arg(long, default_value = "kvm")]
    hypervisor: String,
    /// Who tells what it did.
    #[arg(long, value_enum, default_value = "auto")]
    mode: Mode,
    /// Put no servers on it yet.
    #[arg(long)]
    drained: bool,
}

/// `backend-modify`
#[derive(Debug, Clone, Args)]
pub struct Modify {
    /// Its name, UUID or number.
    backend: String,
    /// Where its remote API is.
    #[arg(long)]
    host: Option<String>,
    /// Its port.
    #[arg(long)]
    port: Option<u16>,
    /// As whom we speak to it.
    #[arg(long)]
    user: Option<String>,
    /// File with that user's password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    trusted: Trusted,
    /// What its instances run on.
    #[arg(long)]
    hypervisor: Option<String>,
    /// Who tells what it did.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// No new servers.
    #[arg(long)]
    drained: Option<bool>,
    /// Nothing is asked of it; what is wanted waits.
    #[arg(long)]
    offline: Option<bool>,
    /// Write without asking the cluster first.
    #[arg(long)]
    no_check: bool,
}

/// `backend-credentials`
#[derive(Debug, Clone, Args)]
pub struct Credentials {
    /// Its name, UUID or number.
    backend: String,
    /// Only the one of its eventd.
    #[arg(long, conflicts_with = "agent")]
    eventd: bool,
    /// Only the one of its nodes' agents, which may tell of progress and of nodes, and nothing else.
    #[arg(long)]
    agent: bool,
    /// The broker user that its eventd publishes as.
    #[arg(long, value_name = "USER")]
    broker_user: Option<String>,
}

const HYPERVISORS: [&str; 4] = ["kvm", "fake", "xen-pvm", "xen-hvm"];

fn check_hypervisor(name: &str) -> Result<(), ManageError> {
    if HYPERVISORS.contains(&name) {
        return Ok(());
    }
    let known = HYPERVISORS.join(", ");
    let words = format!("--hypervisor {name}: one of {known}");
    Err(ManageError::Usage(words))
}

/// `None`: nothing was said of it.
async fn trust(wanted: &Trusted, host: &str, port: u16) -> Result<Option<Trust>, ManageError> {
    if let Some(fingerprint) = wanted.fingerprint {
        return Ok(Some(Trust::Pinned(fingerprint)));
    }
    if let Some(path) = &wanted.ca {
        let pem = std::fs::read_to_string(path).map_err(|source| ManageError::Read {
            path: path.display().to_string(),
            source,
        })?;
        return Ok(Some(Trust::Authority(pem)));
    }
    if !wanted.yes {
        return Ok(None);
    }
    Ok(Some(Trust::Pinned(look_at(host, port).await?)))
}

async fn look_at(host: &str, port: u16) -> Result<Fingerprint, ManageError> {
    let looked = look(host, port).await;
    looked.map_err(|source| {
        let endpoint = format!("{host}:{port}");
        ManageError::Rapi(RapiError::Connect { endpoint, source })
    })
}

fn columns_of(trust: &Trust) -> (String, String) {
    match trust {
        Trust::Pinned(fingerprint) => (TRUST_FINGERPRINT.to_owned(), fingerprint.to_string()),
        Trust::Authority(pem) => (TRUST_AUTHORITY.to_owned(), pem.clone()),
    }
}

/// Reads the cluster, as somebody who may write.
async fn check(rapi: &Rapi) -> Result<Facts, ManageError> {
    match rapi.cancel(NO_JOB).await {
        Err(RapiError::Refused {
            status: 401 | 403,
            message,
            ..
        }) => {
            let words = format!("the cluster does not let this user write: {message}");
            return Err(ManageError::Refused(words));
        }
        Err(error @ (RapiError::Connect { .. } | RapiError::Stranger { .. })) => {
            return Err(error.into());
        }
        // What it says of a job that nobody has is its own affair.
        _ => {}
    }
    Ok(refresh::read(rapi).await?)
}

pub(super) async fn add(cloud: &Cloud, new: Add) -> Result<Shown, ManageError> {
    check_hypervisor(&new.hypervisor)?;
    let Some(trust) = trust(&new.trusted, &new.host, new.port).await? else {
        let found = look_at(&new.host, new.port).await?;
        return Err(ManageError::Usage(format!(
            "{}:{} shows the certificate\n  {found}\nCompare it with `openssl x509 -noout -fingerprint -sha256 -in /var/lib/ganeti/rapi.pem` \
             on the master, and say --fingerprint, --ca or --yes.",
            new.host, new.port
        )));
    };
    let password = secret_of(&new.password_file)?;
    let uuid = Uuid::new_v4();
    let sealed = cloud.seal.seal(&password, &password_place(uuid))?;
    let (trust_kind, trusted) = columns_of(&trust);
    let rapi = Rapi::new(Endpoint {
        host: new.host.clone(),
        port: new.port,
        user: new.user.clone(),
        password,
        trust,
    });
    let facts = check(&rapi).await?;
    let name = new.name.clone().unwrap_or_else(|| facts.name.clone());
    let known = rows::all(cloud.db.reader()).await?;
    let is_same = |each: &&backend::Model| {
        each.name == name || each.cluster_uuid.as_ref() == Some(&facts.uuid)
    };
    if let Some(same) = known.iter().find(is_same) {
        let words = format!("it is there already, as {}", same.name);
        return Err(ManageError::Refused(words));
    }
    let now = cloud::now();
    let mut row = backend::ActiveModel {
        uuid: Set(uuid),
        name: Set(name),
        host: Set(new.host),
        port: Set(i32::from(new.port)),
        rapi_user: Set(new.user),
        rapi_password: Set(sealed),
        trust_kind: Set(trust_kind),
        trust: Set(trusted),
        mode: Set(new.mode.as_str().to_owned()),
        hypervisor: Set(new.hypervisor),
        drained: Set(new.drained),
        offline: Set(false),
        created_at: Set(now),
        ..Default::default()
    };
    facts.fill(&mut row);
    let made = cloud.db.write(async |tx: Tx| -> Result<_, ManageError> {
        let made = one::insert(&tx, row.clone()).await?;
        let detail = json!({"name": made.name, "host": made.host, "trust": made.trust_kind});
        note(&tx, ("backend", "add"), made.uuid.to_string(), detail).await?;
        Ok(made)
    });
    Ok(fields(&made.await?))
}

fn fields(row: &backend::Model) -> Shown {
    let trust = match row.trust_kind.as_str() {
        TRUST_FINGERPRINT => row.trust.clone(),
        _ => String::from("an authority's"),
    };
    Shown::Fields(vec![
        ("id", json!(row.id)),
        ("uuid", json!(row.uuid)),
        ("name", json!(row.name)),
        ("cluster_uuid", json!(row.cluster_uuid)),
        (
            "rapi",
            json!(format!("{}@{}:{}", row.rapi_user, row.host, row.port)),
        ),
        ("certificate", json!(trust)),
        ("mode", json!(row.mode)),
        ("hypervisor", json!(row.hypervisor)),
        ("disk_templates", json!(row.disk_templates)),
        ("node_groups", json!(row.node_groups)),
        ("drained", json!(row.drained)),
        ("offline", json!(row.offline)),
    ])
}

pub(super) async fn list(cloud: &Cloud) -> Result<Shown, ManageError> {
    let mut shown = Vec::new();
    for row in rows::all(cloud.db.reader()).await? {
        let (servers, _) = rows::servers(cloud.db.reader(), row.id).await?;
        shown.push(vec![
            json!(row.id),
            json!(row.name),
            json!(format!("{}:{}", row.host, row.port)),
            json!(row.drained),
            json!(row.offline),
            json!(servers),
            json!(format!("{}/{}", row.memory_free, row.memory_total)),
            json!(format!("{}/{}", row.disk_free, row.disk_total)),
            json!(row.cpu_total),
            json!(row.mode),
            json!(row.refreshed_at.map(|at| at.to_rfc3339())),
        ]);
    }
    Ok(Shown::Table {
        columns: &[
            "id",
            "name",
            "rapi",
            "drained",
            "offline",
            "servers",
            "memory_mib",
            "disk_mib",
            "cpus",
            "mode",
            "refreshed_at",
        ],
        rows: shown,
    })
}

async fn named(cloud: &Cloud, key: &str) -> Result<backend::Model, ManageError> {
    only(
        lookup::backends(cloud.db.reader(), key).await?,
        "cluster",
        key,
    )
}

pub(super) async fn modify(cloud: &Cloud, wanted: Modify) -> Result<Shown, ManageError> {
    let before = named(cloud, &wanted.backend).await?;
    let mut after = before.clone();
    let mut changes = Vec::new();
    let mut change = |name: &str, value: Value| changes.push(format!("{name}={value}"));
    if let Some(host) = wanted.host {
        change("host", json!(host));
        after.host = host;
    }
    if let Some(port) = wanted.port {
        change("port", json!(port));
        after.port = i32::from(port);
    }
    if let Some(user) = wanted.user {
        change("user", json!(user));
        after.rapi_user = user;
    }
    if let Some(path) = wanted.password_file {
        let place = password_place(before.uuid);
        change("password", json!("another"));
        after.rapi_password = cloud.seal.seal(&secret_of(&path)?, &place)?;
    }
    let port = u16::try_from(after.port).unwrap_or_default();
    if let Some(trust) = trust(&wanted.trusted, &after.host, port).await? {
        (after.trust_kind, after.trust) = columns_of(&trust);
        change("trust", json!(after.trust_kind));
    }
    if let Some(hypervisor) = wanted.hypervisor {
        check_hypervisor(&hypervisor)?;
        change("hypervisor", json!(hypervisor));
        after.hypervisor = hypervisor;
    }
    if let Some(mode) = wanted.mode {
        change("mode", json!(mode.as_str()));
        after.mode = mode.as_str().to_owned();
    }
    if let Some(drained) = wanted.drained {
        change("drained", json!(drained));
        after.drained = drained;
    }
    if let Some(offline) = wanted.offline {
        change("offline", json!(offline));
        after.offline = offline;
    }
    if changes.is_empty() {
        return Err(ManageError::Usage(String::from("nothing to change")));
    }
    let is_moved = (
        &before.host,
        before.port,
        &before.rapi_user,
        &before.rapi_password,
        &before.trust,
    ) != (
        &after.host,
        after.port,
        &after.rapi_user,
        &after.rapi_password,
        &after.trust,
    );
    if is_moved && !wanted.no_check {
        let facts = check(&backends::rapi(&cloud.seal, &after)?).await?;
        if before
            .cluster_uuid
            .as_ref()
            .is_some_and(|uuid| *uuid != facts.uuid)
        {
            let words = format!(
                "another cluster answers there: {} {}",
                facts.name, facts.uuid
            );
            return Err(ManageError::Refused(words));
        }
    }
    let row =
        sea_orm::ActiveModelTrait::reset_all(sea_orm::IntoActiveModel::into_active_model(after));
    let row = backend::ActiveModel {
        updated_at: Set(cloud::now()),
        ..row
    };
    let made = cloud.db.write(async |tx: Tx| -> Result<_, ManageError> {
        let made = one::update(&tx, row.clone()).await?;
        let detail = json!({ "changes": changes });
        note(&tx, ("backend", "modify"), made.uuid.to_string(), detail).await?;
        Ok(made)
    });
    let made = made.await?;
    cloud.bells.intents.notify_waiters();
    Ok(fields(&made))
}

pub(super) async fn remove(cloud: &Cloud, key: &str) -> Result<Shown, ManageError> {
    let row = named(cloud, key).await?;
    cloud
        .db
        .write(async |tx: Tx| -> Result<(), ManageError> {
            match rows::servers(&*tx, row.id).await? {
                (0, 0) => {}
                (0, gone) => {
                    return Err(ManageError::Refused(format!(
                        "{gone} servers that it had are still kept ([retention] deleted): \
                         `backend-modify {key} --offline true` leaves it alone meanwhile"
                    )));
                }
                (there, _) => {
                    let words = format!("there are {there} servers on it");
                    return Err(ManageError::Refused(words));
                }
            }
            rows::remove(&tx, row.id).await?;
            let detail = json!({"name": row.name});
            Ok(note(&tx, ("backend", "remove"), row.uuid.to_string(), detail).await?)
        })
        .await?;
    Ok(Shown::Fields(vec![("removed", json!(row.name))]))
}

pub(super) async fn refresh(cloud: &Cloud, key: Option<&str>) -> Result<Shown, ManageError> {
    let backends = match key {
        Some(key) => vec![named(cloud, key).await?],
        None => rows::all(cloud.db.reader()).await?,
    };
    for backend in backends
        .iter()
        .filter(|each| key.is_some() || !each.offline)
    {
        refresh::refresh(cloud, backend).await?;
    }
    list(cloud).await
}

pub(super) async fn credentials(cloud: &Cloud, wanted: Credentials) -> Result<Shown, ManageError> {
    let before = named(cloud, &wanted.backend).await?;
    let mut row = changing(&before);
    let mut shown = vec![("backend", json!(before.name))];
    let mut made = Vec::new();
    if !wanted.agent {
        let token = secret::random()?;
        row.eventd_token_digest = Set(Some(secret::digest(&token)));
        shown.push(("eventd_token", json!(token)));
        made.push("eventd");
    }
    if !wanted.eventd {
        let token = secret::random()?;
        row.agent_token_digest = Set(Some(secret::digest(&token)));
        shown.push(("agent_token", json!(token)));
        made.push("agent");
    }
    if let Some(user) = wanted.broker_user {
        shown.push(("broker_user", json!(user)));
        row.broker_user = Set(Some(user));
    }
    cloud
        .db
        .write(async |tx: Tx| -> Result<(), ManageError> {
            let row = one::update(&tx, row.clone()).await?;
            let detail = json!({ "made": made });
            Ok(note(
                &tx,
                ("backend", "credentials"),
                row.uuid.to_string(),
                detail,
            )
            .await?)
        })
        .await?;
    Ok(Shown::Fields(shown))
}
