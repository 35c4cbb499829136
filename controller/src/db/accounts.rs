//! Domains, projects, users, and what a user is in a project.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::DbError;
use super::entity::{domain, project, role_assignment, user};
use crate::api::principal::Role;

/// The domain of this name. Case does not count: `Default` in a client's file means `default`.
///
/// # Errors
/// The database's own.
pub async fn domain_named(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<domain::Model>, DbError> {
    let folded = Expr::expr(Func::lower(Expr::col(domain::Column::Name)));
    let found = domain::Entity::find().filter(folded.eq(name.to_lowercase()));
    Ok(found.one(connection).await?)
}

/// The domain of this UUID.
///
/// # Errors
/// The database's own.
pub async fn domain(
    connection: &impl ConnectionTrait,
    uuid: Uuid,
) -> Result<Option<domain::Model>, DbError> {
    let found = domain::Entity::find().filter(domain::Column::Uuid.eq(uuid));
    Ok(found.one(connection).await?)
}

/// The domain of this row.
///
/// # Errors
/// The database's own.
pub async fn domain_of(
    connection: &impl ConnectionTrait,
    id: i64,
) -> Result<Option<domain::Model>, DbError> {
    Ok(domain::Entity::find_by_id(id).one(connection).await?)
}

/// All domains, by name.
///
/// # Errors
/// The database's own.
pub async fn domains(connection: &impl ConnectionTrait) -> Result<Vec<domain::Model>, DbError> {
    let all = domain::Entity::find().order_by_asc(domain::Column::Name);
    Ok(all.all(connection).await?)
}

/// The project of this UUID.
///
/// # Errors
/// The database's own.
pub async fn project(
    connection: &impl ConnectionTrait,
    uuid: Uuid,
) -> Result<Option<project::Model>, DbError> {
    let found = project::Entity::find().filter(project::Column::Uuid.eq(uuid));
    Ok(found.one(connection).await?)
}

/// The project of this row.
///
/// # Errors
/// The database's own.
pub async fn project_of(
    connection: &impl ConnectionTrait,
    id: i64,
) -> Result<Option<project::Model>, DbError> {
    Ok(project::Entity::find_by_id(id).one(connection).await?)
}

/// The domain's project of this name.
///
/// # Errors
/// The database's own.
pub async fn project_named(
    connection: &impl ConnectionTrait,
    domain_id: i64,
    name: &str,
) -> Result<Option<project::Model>, DbError> {
    let found = project::Entity::find()
        .filter(project::Column::DomainId.eq(domain_id))
        .filter(project::Column::Name.eq(name));
    Ok(found.one(connection).await?)
}

/// All projects, by name.
///
/// # Errors
/// The database's own.
pub async fn projects(connection: &impl ConnectionTrait) -> Result<Vec<project::Model>, DbError> {
    let all = project::Entity::find().order_by_asc(project::Column::Name);
    Ok(all.all(connection).await?)
}

/// The enabled projects that a user has a role in, by name.
///
/// # Errors
/// The database's own.
pub async fn projects_of(
    connection: &impl ConnectionTrait,
    user_id: i64,
) -> Result<Vec<project::Model>, DbError> {
    let mut roles = role_assignment::Entity::find()
        .select_only()
        .column(role_assignment::Column::ProjectId)
        .filter(role_assignment::Column::UserId.eq(user_id));
    let found = project::Entity::find()
        .filter(project::Column::Id.in_subquery(QuerySelect::query(&mut roles).take()))
        .filter(project::Column::Enabled.eq(true))
        .order_by_asc(project::Column::Name);
    Ok(found.all(connection).await?)
}

/// The user of this UUID.
///
/// # Errors
/// The database's own.
pub async fn user(
    connection: &impl ConnectionTrait,
    uuid: Uuid,
) -> Result<Option<user::Model>, DbError> {
    let found = user::Entity::find().filter(user::Column::Uuid.eq(uuid));
    Ok(found.one(connection).await?)
}

/// The user of this row.
///
/// # Errors
/// The database's own.
pub async fn user_of(
    connection: &impl ConnectionTrait,
    id: i64,
) -> Result<Option<user::Model>, DbError> {
    Ok(user::Entity::find_by_id(id).one(connection).await?)
}

/// The domain's user of this name.
///
/// # Errors
/// The database's own.
pub async fn user_named(
    connection: &impl ConnectionTrait,
    domain_id: i64,
    name: &str,
) -> Result<Option<user::Model>, DbError> {
    let found = user::Entity::find()
        .filter(user::Column::DomainId.eq(domain_id))
        .filter(user::Column::Name.eq(name));
    Ok(found.one(connection).await?)
}

/// All users, by name.
///
/// # Errors
/// The database's own.
pub async fn users(connection: &impl ConnectionTrait) -> Result<Vec<user::Model>, DbError> {
    let all = user::Entity::find().order_by_asc(user::Column::Name);
    Ok(all.all(connection).await?)
}

/// What a user is in a project, the mightiest first.
///
/// # Errors
/// The database's own.
pub async fn roles(
    connection: &impl ConnectionTrait,
    user_id: i64,
    project_id: i64,
) -> Result<Vec<Role>, DbError> {
    let found = role_assignment::Entity::find()
        .filter(role_assignment::Column::UserId.eq(user_id))
        .filter(role_assignment::Column::ProjectId.eq(project_id));
    let rows = found.all(connection).await?;
    let mut roles: Vec<Role> = rows
        .iter()
        .filter_map(|row| Role::parse(&row.role))
        .collect();
    roles.sort_unstable();
    Ok(roles)
}

/// Makes a domain.
///
/// # Errors
/// There is one of this name, or the database's own.
pub async fn add_domain(
    connection: &impl ConnectionTrait,
    name: &str,
    now: DateTime<Utc>,
) -> Result<domain::Model, DbError> {
    let row = domain::ActiveModel {
        id: ActiveValue::NotSet,
        uuid: ActiveValue::Set(Uuid::new_v4()),
        name: ActiveValue::Set(name.to_owned()),
        enabled: ActiveValue::Set(true),
        created_at: ActiveValue::Set(now),
    };
    Ok(domain::Entity::insert(row)
        .exec_with_returning(connection)
        .await?)
}

/// Makes a project.
///
/// # Errors
/// The domain has one of this name, or the database's own.
pub async fn add_project(
    connection: &impl ConnectionTrait,
    domain_id: i64,
    name: &str,
    description: &str,
    now: DateTime<Utc>,
) -> Result<project::Model, DbError> {
    let row = project::ActiveModel {
        id: ActiveValue::NotSet,
        uuid: ActiveValue::Set(Uuid::new_v4()),
        domain_id: ActiveValue::Set(domain_id),
        name: ActiveValue::Set(name.to_owned()),
        description: ActiveValue::Set(description.to_owned()),
        enabled: ActiveValue::Set(true),
        created_at: ActiveValue::Set(now),
    };
    Ok(project::Entity::insert(row)
        .exec_with_returning(connection)
        .await?)
}

/// Makes a user. `password` is what is kept of it ([`crate::secret::digest_password`]).
///
/// # Errors
/// The domain has one of this name, or the database's own.
pub async fn add_user(
    connection: &impl ConnectionTrait,
    domain_id: i64,
    name: &str,
    password: Option<&str>,
    default_project_id: Option<i64>,
    now: DateTime<Utc>,
) -> Result<user::Model, DbError> {
    let row = user::ActiveModel {
        id: ActiveValue::NotSet,
        uuid: ActiveValue::Set(Uuid::new_v4()),
        domain_id: ActiveValue::Set(domain_id),
        name: ActiveValue::Set(name.to_owned()),
        email: ActiveValue::Set(None),
        password_digest: ActiveValue::Set(password.map(str::to_owned)),
        default_project_id: ActiveValue::Set(default_project_id),
        enabled: ActiveValue::Set(true),
        created_at: ActiveValue::Set(now),
    };
    Ok(user::Entity::insert(row)
        .exec_with_returning(connection)
        .await?)
}

/// Gives a user another password, or (none) lets no password in.
///
/// # Errors
/// The database's own.
pub async fn set_password(
    connection: &impl ConnectionTrait,
    user: user::Model,
    password: Option<&str>,
) -> Result<(), DbError> {
    let mut row = user.into_active_model();
    row.password_digest = ActiveValue::Set(password.map(str::to_owned));
    user::Entity::update(row).exec(connection).await?;
    Ok(())
}

/// Gives a user a role in a project, unless it has it.
///
/// # Errors
/// The database's own.
pub async fn grant(
    connection: &impl ConnectionTrait,
    user_id: i64,
    project_id: i64,
    role: Role,
) -> Result<(), DbError> {
    if roles(connection, user_id, project_id)
        .await?
        .contains(&role)
    {
        return Ok(());
    }
    let row = role_assignment::ActiveModel {
        id: ActiveValue::NotSet,
        user_id: ActiveValue::Set(user_id),
        project_id: ActiveValue::Set(project_id),
        role: ActiveValue::Set(role.as_str().to_owned()),
    };
    role_assignment::Entity::insert(row)
        .exec(connection)
        .await?;
    Ok(())
}

/// Takes a role in a project from a user; tells whether it had it.
///
/// # Errors
/// The database's own.
pub async fn revoke(
    connection: &impl ConnectionTrait,
    user_id: i64,
    project_id: i64,
    role: Role,
) -> Result<bool, DbError> {
    let gone = role_assignment::Entity::delete_many()
        .filter(role_assignment::Column::UserId.eq(user_id))
        .filter(role_assignment::Column::ProjectId.eq(project_id))
        .filter(role_assignment::Column::Role.eq(role.as_str()))
        .exec(connection)
        .await?;
    Ok(gone.rows_affected > 0)
}
