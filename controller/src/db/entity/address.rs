//! An address that is taken. Free ones have no row.

use sea_orm::entity::prelude::*;

/// An address that is taken. Free ones have no row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "addresses")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name, as a floating address.
    pub uuid: Uuid,
    /// Its network.
    pub network_id: i64,
    /// Its range.
    pub subnet_id: i64,
    /// The address, in its shortest form.
    pub address: String,
    /// `fixed`, `floating`, or `external`: Ganeti says that somebody else has it.
    pub kind: String,
    /// The NIC that has it.
    pub port_id: Option<i64>,
    /// Whose it is, of a floating one.
    pub project_id: Option<i64>,
    /// Who took it.
    pub user_id: Option<i64>,
    /// When it was taken.
    pub created_at: DateTimeUtc,
    /// When its row changed.
    pub updated_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// It goes with its NIC.
pub const FIXED: &str = "fixed";
/// It stays its project's when its NIC goes.
pub const FLOATING: &str = "floating";
/// Somebody else has it, says Ganeti.
pub const EXTERNAL: &str = "external";
