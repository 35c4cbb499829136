//! An address range of a network: at most one of each version.

use sea_orm::entity::prelude::*;

/// An address range of a network: at most one of each version.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "subnets")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// The network.
    pub network_id: i64,
    /// Whose it is.
    pub project_id: Option<i64>,
    /// Its name.
    pub name: String,
    /// 4 or 6.
    pub ip_version: i16,
    /// The prefix.
    pub cidr: String,
    /// Its router.
    pub gateway: Option<String>,
    /// Whether guests are told their addresses.
    pub dhcp: bool,
    /// `slaac`, `stateless`, `stateful`.
    pub ipv6_mode: Option<String>,
    /// Where addresses are taken from: `[{"start", "end"}]`.
    pub pools: Json,
    /// Name servers guests are told, an array.
    pub dns_servers: Json,
    /// Routes guests are told: `[{"destination", "nexthop"}]`.
    pub host_routes: Json,
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
