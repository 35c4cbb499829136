//! A user's words on a server.

use sea_orm::entity::prelude::*;

/// A user's words on a server.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "server_metadata")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The server.
    pub server_id: i64,
    /// The word.
    pub meta_key: String,
    /// What it says.
    pub meta_value: String,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
