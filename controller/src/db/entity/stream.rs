//! How far a publisher's journal was taken in: only to find gaps.

use sea_orm::entity::prelude::*;

/// How far a publisher's journal was taken in: only to find gaps.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "streams")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The cluster.
    pub backend_id: i64,
    /// `eventd`, or `agent`.
    pub publisher: String,
    /// The node it is on.
    pub node: String,
    /// The journal's life.
    pub epoch: String,
    /// All numbers up to this were taken in, or superseded.
    pub contiguous: i64,
    /// The highest number seen.
    pub highest: i64,
    /// When something was last heard of it.
    pub heard_at: DateTimeUtc,
    /// The publisher's.
    pub version: Option<String>,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
