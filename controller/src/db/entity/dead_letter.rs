//! A message that could not be taken in, kept for an operator.

use sea_orm::entity::prelude::*;

/// A message that could not be taken in, kept for an operator.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letters")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Where it came from, if that is known.
    pub backend_id: Option<i64>,
    /// Whose credential it came with: `cluster` or `node`. Tried again, it may say no more than then.
    pub sender: Option<String>,
    /// `amqp` or `https`.
    pub transport: String,
    /// The key it came with.
    pub routing_key: String,
    /// The message.
    #[sea_orm(column_type = "Text")]
    pub body: String,
    /// Why it could not be taken in.
    #[sea_orm(column_type = "Text")]
    pub reason: String,
    /// How often it was tried.
    pub attempts: i32,
    /// When it came.
    pub received_at: DateTimeUtc,
    /// When it was last tried again.
    pub retried_at: Option<DateTimeUtc>,
}

/// None is followed: rows are joined where they are asked for.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
