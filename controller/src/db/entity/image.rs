//! What a server is made from: one of Ganeti's OS definitions with its parameters.

use sea_orm::entity::prelude::*;

/// What a server is made from: one of Ganeti's OS definitions with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "images")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Who registered it; none: the operator.
    pub project_id: Option<i64>,
    /// Its name.
    pub name: String,
    /// `os+variant`.
    pub os: String,
    /// Parameters of the OS, an object of texts; anybody with access to Ganeti reads them.
    pub os_parameters: Json,
    /// Secret parameters: the same, sealed.
    #[sea_orm(column_type = "Text")]
    pub os_parameters_private: Option<String>,
    /// Parameters of the hypervisor, an object.
    pub hypervisor_parameters: Json,
    /// MiB a flavor must have.
    pub min_ram: i32,
    /// GiB a flavor must have.
    pub min_disk: i32,
    /// `public`, `private`.
    pub visibility: String,
    /// `active`, `deactivated`.
    pub status: String,
    /// When it was registered.
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
