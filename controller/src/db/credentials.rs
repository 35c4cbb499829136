//! Application credentials: secrets of a user's for programs, each for one project.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::DbError;
use super::entity::{application_credential, token};

/// The credential of this UUID.
///
/// # Errors
/// The database's own.
pub async fn find(
    connection: &impl ConnectionTrait,
    uuid: Uuid,
) -> Result<Option<application_credential::Model>, DbError> {
    let found = application_credential::Entity::find()
        .filter(application_credential::Column::Uuid.eq(uuid));
    Ok(found.one(connection).await?)
}

/// A user's credential of this name.
///
/// # Errors
/// The database's own.
pub async fn named(
    connection: &impl ConnectionTrait,
    user_id: i64,
    name: &str,
) -> Result<Option<application_credential::Model>, DbError> {
    let found = application_credential::Entity::find()
        .filter(application_credential::Column::UserId.eq(user_id))
        .filter(application_credential::Column::Name.eq(name));
    Ok(found.one(connection).await?)
}

/// A user's credentials, by name.
///
/// # Errors
/// The database's own.
pub async fn of_user(
    connection: &impl ConnectionTrait,
    user_id: i64,
) -> Result<Vec<application_credential::Model>, DbError> {
    let found = application_credential::Entity::find()
        .filter(application_credential::Column::UserId.eq(user_id))
        .order_by_asc(application_credential::Column::Name);
    Ok(found.all(connection).await?)
}

/// A credential to be kept.
#[derive(Debug, Clone)]
pub struct NewCredential<'a> {
    /// Whose.
    pub user_id: i64,
    /// For which project.
    pub project_id: i64,
    /// Its name.
    pub name: &'a str,
    /// Free words.
    pub description: &'a str,
    /// [`crate::secret::digest`] of the secret.
    pub secret_digest: &'a str,
    /// Its roles, separated by commas.
    pub roles: &'a str,
    /// Whether it may make and delete its like.
    pub unrestricted: bool,
    /// Until when.
    pub expires_at: Option<DateTime<Utc>>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Keeps one.
///
/// # Errors
/// The user has one of this name, or the database's own.
pub async fn add(
    connection: &impl ConnectionTrait,
    new: &NewCredential<'_>,
) -> Result<application_credential::Model, DbError> {
    let row = application_credential::ActiveModel {
        id: ActiveValue::NotSet,
        uuid: ActiveValue::Set(Uuid::new_v4()),
        user_id: ActiveValue::Set(new.user_id),
        project_id: ActiveValue::Set(new.project_id),
        name: ActiveValue::Set(new.name.to_owned()),
        description: ActiveValue::Set(new.description.to_owned()),
        secret_digest: ActiveValue::Set(new.secret_digest.to_owned()),
        roles: ActiveValue::Set(new.roles.to_owned()),
        unrestricted: ActiveValue::Set(new.unrestricted),
        expires_at: ActiveValue::Set(new.expires_at),
        created_at: ActiveValue::Set(new.now),
    };
    Ok(application_credential::Entity::insert(row)
        .exec_with_returning(connection)
        .await?)
}

/// Removes one, and the tokens it was used for.
///
/// # Errors
/// The database's own.
pub async fn remove(connection: &impl ConnectionTrait, id: i64) -> Result<(), DbError> {
    token::Entity::delete_many()
        .filter(token::Column::ApplicationCredentialId.eq(id))
        .exec(connection)
        .await?;
    application_credential::Entity::delete_by_id(id)
        .exec(connection)
        .await?;
    Ok(())
}
