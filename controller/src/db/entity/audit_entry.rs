//! Who did what, when, from where, and what came of it.

use sea_orm::entity::prelude::*;

/// Who did what, when, from where, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// When.
    pub at: DateTimeUtc,
    /// Who, if it was a user.
    pub user_id: Option<i64>,
    /// Who: the user's name, or the program.
    pub actor: String,
    /// For whom.
    pub project_id: Option<i64>,
    /// The address it came from, or `local`.
    pub source: String,
    /// The request.
    pub request_id: String,
    /// What, as in `server.create`.
    pub action: String,
    /// On what kind of thing.
    pub target_kind: String,
    /// On which: its UUID.
    pub target: Option<String>,
    /// HTTP status, or exit code.
    pub result: i32,
    /// What is worth knowing besides; never a secret.
    pub detail: Json,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
