//! A user's public key.

use sea_orm::entity::prelude::*;

/// A user's public key.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "key_pairs")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Whose it is.
    pub user_id: i64,
    /// Its name, unique for its user.
    pub name: String,
    /// `ssh`.
    pub kind: String,
    /// As `ssh-keygen -l -E md5` prints it.
    pub fingerprint: String,
    /// The key's line.
    #[sea_orm(column_type = "Text")]
    pub public_key: String,
    /// When it was imported.
    pub created_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
