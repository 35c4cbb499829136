//! One row in, one row changed.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, DatabaseTransaction, EntityTrait, IntoActiveModel,
};

use super::DbError;

/// Adds a row; answers with it as it is kept.
///
/// # Errors
/// The database's own.
pub async fn insert<A>(
    tx: &DatabaseTransaction,
    row: A,
) -> Result<<A::Entity as EntityTrait>::Model, DbError>
where
    A: ActiveModelTrait + ActiveModelBehavior + Send,
    <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
{
    Ok(row.insert(tx).await?)
}

/// Changes what is set of a row; answers with it as it is kept.
///
/// # Errors
/// The database's own.
pub async fn update<A>(
    tx: &DatabaseTransaction,
    row: A,
) -> Result<<A::Entity as EntityTrait>::Model, DbError>
where
    A: ActiveModelTrait + ActiveModelBehavior + Send,
    <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
{
    Ok(row.update(tx).await?)
}
