//! Users' public keys.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::DbError;
use super::entity::{key_pair, user};

/// A user's keys, by name.
///
/// # Errors
/// The database's own.
pub async fn of_user(
    connection: &impl ConnectionTrait,
    user_id: i64,
) -> Result<Vec<key_pair::Model>, DbError> {
    let found = key_pair::Entity::find()
        .filter(key_pair::Column::UserId.eq(user_id))
        .order_by_asc(key_pair::Column::Name);
    Ok(found.all(connection).await?)
}

/// A user's key of this name.
///
/// # Errors
/// The database's own.
pub async fn named(
    connection: &impl ConnectionTrait,
    user_id: i64,
    name: &str,
) -> Result<Option<key_pair::Model>, DbError> {
    let found = key_pair::Entity::find()
        .filter(key_pair::Column::UserId.eq(user_id))
        .filter(key_pair::Column::Name.eq(name));
    Ok(found.one(connection).await?)
}

/// How many a user has. Until the transaction ends nobody else counts this user's.
///
/// # Errors
/// The database's own.
pub async fn count(tx: &DatabaseTransaction, user_id: i64) -> Result<u64, DbError> {
    user::Entity::find_by_id(user_id)
        .lock_exclusive()
        .one(tx)
        .await?;
    let found = key_pair::Entity::find().filter(key_pair::Column::UserId.eq(user_id));
    Ok(found.count(tx).await?)
}

/// A key to be kept.
#[derive(Debug, Clone)]
pub struct NewKey<'a> {
    /// Whose.
    pub user_id: i64,
    /// Its name.
    pub name: &'a str,
    /// MD5 of it, in pairs of digits.
    pub fingerprint: &'a str,
    /// Its line.
    pub public_key: &'a str,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Keeps one.
///
/// # Errors
/// The user has one of this name, or the database's own.
pub async fn add(tx: &DatabaseTransaction, new: &NewKey<'_>) -> Result<key_pair::Model, DbError> {
    let row = key_pair::ActiveModel {
        id: ActiveValue::NotSet,
        user_id: ActiveValue::Set(new.user_id),
        name: ActiveValue::Set(new.name.to_owned()),
        kind: ActiveValue::Set(String::from("ssh")),
        fingerprint: ActiveValue::Set(new.fingerprint.to_owned()),
        public_key: ActiveValue::Set(new.public_key.to_owned()),
        created_at: ActiveValue::Set(new.now),
    };
    Ok(key_pair::Entity::insert(row)
        .exec_with_returning(tx)
        .await?)
}

/// Removes one.
///
/// # Errors
/// The database's own.
pub async fn remove(tx: &DatabaseTransaction, id: i64) -> Result<(), DbError> {
    key_pair::Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}
