//! A Ganeti cluster.

use sea_orm::entity::prelude::*;

/// A Ganeti cluster.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "backends")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// The cluster's name.
    pub name: String,
    /// The cluster's UUID: names are used again, this is not.
    pub cluster_uuid: Option<String>,
    /// Where its remote API is.
    pub host: String,
    /// Its port, 5080.
    pub port: i32,
    /// As whom we speak to it.
    pub rapi_user: String,
    /// Its password, sealed (`crate::seal`).
    #[sea_orm(column_type = "Text")]
    pub rapi_password: String,
    /// `fingerprint` or `authority`.
    pub trust_kind: String,
    /// SHA-256 of the certificate, or the authority's PEM.
    #[sea_orm(column_type = "Text")]
    pub trust: String,
    /// `auto`, `agent` or `agentless`: who tells what the cluster did.
    pub mode: String,
    /// `kvm`, `fake`, `xen-pvm`, `xen-hvm`.
    pub hypervisor: String,
    /// Templates it can store disks by, separated by commas.
    pub disk_templates: String,
    /// Its node groups' names, separated by commas: networks are connected to each.
    #[sea_orm(column_type = "Text")]
    pub node_groups: String,
    /// No new servers.
    pub drained: bool,
    /// Nothing is asked of it.
    pub offline: bool,
    /// MiB of all nodes that take instances.
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
    pub instance_count: i64,
    /// When these numbers were read.
    pub refreshed_at: Option<DateTimeUtc>,
    /// SHA-256 of the token its eventd posts with.
    pub eventd_token_digest: Option<String>,
    /// SHA-256 of the token its nodes' agents post with: progress and reports only.
    pub agent_token_digest: Option<String>,
    /// The broker user its eventd publishes as.
    pub broker_user: Option<String>,
    /// When it was added.
    pub created_at: DateTimeUtc,
    /// When its row changed.
    pub updated_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
