//! A size of servers.

use sea_orm::entity::prelude::*;

/// A size of servers.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "flavors")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Its name, unique among those that are not deleted.
    pub name: String,
    /// Virtual processors.
    pub vcpus: i32,
    /// Memory, MiB.
    pub ram: i32,
    /// Disk, GiB.
    pub disk: i32,
    /// How it is stored: `drbd`, `plain`, `file`, `diskless`, …
    pub disk_template: String,
    /// Whether every project may use it.
    pub is_public: bool,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// 0, or the row's own number once it is deleted.
    pub deletion: i64,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
