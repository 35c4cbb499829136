//! A server, and what is known of the Ganeti instance behind it.

use sea_orm::entity::prelude::*;

/// A server, and what is known of the Ganeti instance behind it.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "servers")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Whose it is.
    pub project_id: i64,
    /// Who made it.
    pub user_id: i64,
    /// Its name to its user.
    pub name: String,
    /// The cluster it is on.
    pub backend_id: i64,
    /// The instance's name; `snf-<id>` unless it was imported.
    pub instance_name: Option<String>,
    /// The flavor it was made with, or last resized to.
    pub flavor_id: i64,
    /// Its flavor before a resize that is neither confirmed nor reverted.
    pub former_flavor_id: Option<i64>,
    /// What it was made from.
    pub image_id: Option<i64>,
    /// The key that was asked for.
    pub key_pair_name: Option<String>,
    /// What its guest is told to be called.
    pub hostname: Option<String>,
    /// Virtual processors it has.
    pub vcpus: i32,
    /// Memory it has, MiB.
    pub ram: i32,
    /// Disk it has, GiB.
    pub disk: i32,
    /// `crate::lifecycle::OperState`.
    pub oper_state: String,
    /// `crate::lifecycle::Task`.
    pub task: Option<String>,
    /// Percent of its image that is deployed.
    pub progress: i32,
    /// Highest job whose end is known (`crate::order`).
    pub run_job: Option<i64>,
    /// The operation in it.
    pub run_op_index: Option<i32>,
    /// Latest end of an operation that is known, microseconds since 1970 by Ganeti's clock.
    pub run_ended: Option<i64>,
    /// Since when nobody can tell its state from messages; a worker reads it from Ganeti.
    pub doubtful_at: Option<DateTimeUtc>,
    /// The instance's UUID.
    pub instance_uuid: Option<String>,
    /// Ganeti's highest number of its configuration that we know of.
    pub serial_no: Option<i64>,
    /// The number of the configuration that the NICs were last taken over from.
    pub nics_serial_no: Option<i64>,
    /// The same of processors and memory.
    pub size_serial_no: Option<i64>,
    /// The node it runs on.
    pub primary_node: Option<String>,
    /// HTTP status of what went wrong with it.
    pub fault_code: Option<i32>,
    /// What went wrong with it.
    #[sea_orm(column_type = "Text")]
    pub fault_message: Option<String>,
    /// When.
    pub fault_at: Option<DateTimeUtc>,
    /// When it was asked for.
    pub created_at: DateTimeUtc,
    /// When anything its user sees has changed.
    pub updated_at: DateTimeUtc,
    /// When it first ran.
    pub launched_at: Option<DateTimeUtc>,
    /// When it was removed.
    pub deleted_at: Option<DateTimeUtc>,
    /// 0, or the row's own number once it is removed.
    pub deletion: i64,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
