//! A network that servers are attached to.

use sea_orm::entity::prelude::*;

/// A network that servers are attached to.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "networks")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Whose it is; none: the operator's.
    pub project_id: Option<i64>,
    /// Who made it.
    pub user_id: Option<i64>,
    /// Its name.
    pub name: String,
    /// Free words.
    #[sea_orm(column_type = "Text")]
    pub description: String,
    /// `bridged` or `routed`.
    pub mode: String,
    /// Bridge or routing table on the nodes.
    pub link: String,
    /// First three octets of its hardware addresses, `aa:00:01`.
    pub mac_prefix: String,
    /// Ganeti tags it gets, separated by spaces: `nfdhcpd`, `private-filtered`, `ip-less-routed`.
    pub tags: String,
    /// Whether every project may use it.
    pub is_shared: bool,
    /// Whether floating addresses come from it.
    pub is_external: bool,
    /// No new NICs.
    pub is_drained: bool,
    /// What guests are told, bytes.
    pub mtu: Option<i32>,
    /// The domain guests are told.
    pub dns_domain: Option<String>,
    /// `ACTIVE`, `BUILD`, `DOWN`, `ERROR`.
    pub status: String,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When its row changed.
    pub updated_at: DateTimeUtc,
    /// 0, or the row's own number once it is deleted.
    pub deletion: i64,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
