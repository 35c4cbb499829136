//! Whose a credential is.

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter};

use super::DbError;
use super::entity::backend;
use crate::dispatcher::Sender;

/// The cluster, or its nodes' agents, that a token's digest belongs to.
///
/// # Errors
/// The database's own.
pub async fn with_token(
    connection: &impl ConnectionTrait,
    digest: &str,
) -> Result<Option<Sender>, DbError> {
    let either = Condition::any()
        .add(backend::Column::EventdTokenDigest.eq(digest))
        .add(backend::Column::AgentTokenDigest.eq(digest));
    let found = backend::Entity::find()
        .filter(either)
        .one(connection)
        .await?;
    Ok(found.map(|backend| {
        if backend.eventd_token_digest.as_deref() == Some(digest) {
            Sender::Cluster(backend.id)
        } else {
            Sender::Node(backend.id)
        }
    }))
}
