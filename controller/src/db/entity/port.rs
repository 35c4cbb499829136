//! A NIC: of a server, or not yet.

use sea_orm::entity::prelude::*;

/// A NIC: of a server, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ports")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Its network.
    pub network_id: i64,
    /// Its server.
    pub server_id: Option<i64>,
    /// Whose it is.
    pub project_id: i64,
    /// Who made it.
    pub user_id: i64,
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Its name in Ganeti; `snf-nic-<id>` unless it was imported.
    pub nic_name: Option<String>,
    /// Its UUID in Ganeti.
    pub nic_uuid: Option<String>,
    /// Its place among the server's NICs.
    pub nic_index: Option<i32>,
    /// `DOWN`, `BUILD`, `ACTIVE`, `ERROR`.
    pub state: String,
    /// `ENABLED`, `DISABLED`, `PROTECTED`.
    pub firewall_profile: Option<String>,
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

/// It is no server's.
pub const DOWN: &str = "DOWN";
/// It is being added to its server, or removed.
pub const BUILD: &str = "BUILD";
/// Its server has it.
pub const ACTIVE: &str = "ACTIVE";
/// It could not be added or removed.
pub const ERROR: &str = "ERROR";
