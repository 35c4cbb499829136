//! What a cluster is and has, read from it: at `backend-add`, and every quarter of an hour.

use std::time::Duration;

use sea_orm::{ActiveValue::Set, IntoActiveModel};
use serde::Deserialize;

use super::rapi;
use crate::cloud::{self, Cloud};
use crate::db::entity::backend;
use crate::db::{DbError, Tx, backends as rows, rows as one};
use crate::rapi::{Rapi, RapiError};
use crate::service::Stop;

/// How often clusters are read.
const EVERY: Duration = Duration::from_secs(15 * 60);

/// Why a cluster's numbers are as they were.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It cannot be spoken to.
    #[error(transparent)]
    Backend(#[from] super::BackendError),
    /// It does not answer.
    #[error(transparent)]
    Rapi(#[from] RapiError),
    /// The database's own.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Behind the address is another cluster by now, maybe of the same name.
    #[error("{backend} was the cluster {expected}, and {found} answers now")]
    Another {
        /// The cluster's name.
        backend: String,
        /// The UUID we know.
        expected: String,
        /// The UUID it has.
        found: String,
    },
}

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Templates that disks can be stored by.
    pub disk_templates: Vec<String>,
    /// Its node groups.
    pub node_groups: Vec<String>,
    /// MiB of the nodes that take instances.
    pub memory_total: i64,
    /// MiB.
    pub memory_free: i64,
    /// MiB.
    pub disk_total: i64,
    /// MiB.
    pub disk_free: i64,
    /// Processors.
    pub cpu_total: i64,
    /// Primary instances.
    pub instances: i64,
}

#[derive(Deserialize)]
struct Info {
    name: String,
    uuid: String,
    enabled_disk_templates: Vec<String>,
    ipolicy: Policy,
}

#[derive(Deserialize)]
struct Policy {
    #[serde(rename = "disk-templates")]
    disk_templates: Vec<String>,
}

/// A node that does not answer has no numbers.
#[derive(Deserialize)]
struct Node {
    vm_capable: bool,
    drained: bool,
    offline: bool,
    cnodes: Option<i64>,
    mtotal: Option<i64>,
    mfree: Option<i64>,
    dtotal: Option<f64>,
    dfree: Option<f64>,
    ctotal: Option<i64>,
    pinst_cnt: Option<i64>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
}

/// Reads a cluster.
///
/// # Errors
/// See [`RapiError`].
pub async fn read(rapi: &Rapi) -> Result<Facts, RapiError> {
    let info: Info = rapi.get("/2/info").await?;
    let nodes: Vec<Node> = rapi.get("/2/nodes?bulk=1").await?;
    let groups: Vec<Group> = rapi.get("/2/groups").await?;
    let takes =
        |node: &&Node| node.vm_capable && !node.drained && !node.offline && node.cnodes.is_some();
    let sum = |pick: fn(&Node) -> Option<i64>| nodes.iter().filter(takes).filter_map(pick).sum();
    let allowed = |template: &String| info.ipolicy.disk_templates.contains(template);
    Ok(Facts {
        disk_templates: info
            .enabled_disk_templates
            .iter()
            .filter(|template| allowed(template))
            .cloned()
            .collect(),
        name: info.name,
        uuid: info.uuid,
        node_groups: groups.into_iter().map(|group| group.name).collect(),
        memory_total: sum(|node| node.mtotal),
        memory_free: sum(|node| node.mfree),
        // Of the storage in use by default; with decimals for some.
        disk_total: sum(|node| node.dtotal.map(|size| size as i64)),
        disk_free: sum(|node| node.dfree.map(|size| size as i64)),
        cpu_total: sum(|node| node.ctotal),
        instances: sum(|node| node.pinst_cnt),
    })
}

impl Facts {
    /// Writes them into a row.
    pub fn fill(self, row: &mut backend::ActiveModel) {
        let now = cloud::now();
        row.cluster_uuid = Set(Some(self.uuid));
        row.disk_templates = Set(self.disk_templates.join(","));
        row.node_groups = Set(self.node_groups.join(","));
        row.memory_total = Set(self.memory_total);
        row.memory_free = Set(self.memory_free);
        row.disk_total = Set(self.disk_total);
        row.disk_free = Set(self.disk_free);
        row.cpu_total = Set(self.cpu_total);
        row.instance_count = Set(self.instances);
        row.refreshed_at = Set(Some(now));
        row.updated_at = Set(now);
    }
}

/// Reads a cluster, and keeps what it says.
///
/// # Errors
/// See [`RefreshError`].
pub async fn refresh(
    cloud: &Cloud,
    backend: &backend::Model,
) -> Result<backend::Model, RefreshError> {
    let facts = read(&rapi(&cloud.seal, backend)?).await?;
    if let Some(expected) = backend
        .cluster_uuid
        .as_ref()
        .filter(|uuid| **uuid != facts.uuid)
    {
        return Err(RefreshError::Another {
            backend: backend.name.clone(),
            expected: expected.clone(),
            found: facts.uuid,
        });
    }
    let mut row = backend::ActiveModel {
        id: Set(backend.id),
        ..Default::default()
    };
    facts.fill(&mut row);
    let written = cloud
        .db
        .write(async |tx: Tx| -> Result<_, DbError> { one::update(&tx, row.clone()).await });
    Ok(written.await?)
}

/// Reads all clusters that are not offline, every quarter of an hour.
pub async fn run(cloud: Cloud, stop: Stop) {
    while !stop.is_wanted() {
        match rows::all(cloud.db.reader()).await {
            Ok(backends) => {
                for backend in backends.iter().filter(|backend| !backend.offline) {
                    if let Err(error) = refresh(&cloud, backend).await {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(backend = backend.name, error, "the cluster is not read");
                    }
                }
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "clusters are not read");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.wanted() => {}
        }
    }
}

/// A row of a cluster as it is, to be changed.
#[must_use]
pub fn changing(backend: &backend::Model) -> backend::ActiveModel {
    let mut row = backend.clone().into_active_model();
    row.updated_at = Set(cloud::now());
    row
}
