//! A token that was given out; only its digest is kept.

use sea_orm::entity::prelude::*;

/// A token that was given out; only its digest is kept.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tokens")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// SHA-256 of the token, hexadecimal.
    pub digest: String,
    /// Whose it is.
    pub user_id: i64,
    /// What it is scoped to.
    pub project_id: Option<i64>,
    /// The credential it was got with.
    pub application_credential_id: Option<i64>,
    /// How it was got: words of Identity v3, separated by commas.
    pub methods: String,
    /// What logs may call it.
    pub audit_id: String,
    /// From when.
    pub issued_at: DateTimeUtc,
    /// Until when.
    pub expires_at: DateTimeUtc,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
