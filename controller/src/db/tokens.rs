//! Tokens: what they stand for. Only their digests are kept.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter,
};
use uuid::Uuid;

use super::DbError;
use super::entity::{application_credential, domain, project, role_assignment, token, user};
use crate::api::principal::Role;

/// A domain, as it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its public name.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
}

/// A user or a project, as it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its row.
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Its name in its domain.
    pub name: String,
    /// Its domain.
    pub domain: Domain,
}

/// The application credential a token was got with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its row.
    pub id: i64,
    /// Its public name.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it may make and delete its like.
    pub unrestricted: bool,
}

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The token's row.
    pub token_id: i64,
    /// Who.
    pub user: Named,
    /// Where, if anywhere.
    pub project: Option<Named>,
    /// What the user is there, the mightiest first.
    pub roles: Vec<Role>,
    /// The application credential it was got with.
    pub credential: Option<Credential>,
    /// How it was got.
    pub methods: Vec<String>,
    /// What logs may call it.
    pub audit_id: String,
    /// From when.
    pub issued_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

#[derive(Debug, FromQueryResult)]
struct Row {
    token_id: i64,
    methods: String,
    audit_id: String,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    user_id: i64,
    user_uuid: Uuid,
    user_name: String,
    user_domain_uuid: Uuid,
    user_domain_name: String,
    project_id: Option<i64>,
    project_uuid: Option<Uuid>,
    project_name: Option<String>,
    project_domain_uuid: Option<Uuid>,
    project_domain_name: Option<String>,
    credential_id: Option<i64>,
    credential_uuid: Option<Uuid>,
    credential_name: Option<String>,
    credential_roles: Option<String>,
    credential_unrestricted: Option<bool>,
    role: Option<String>,
}

impl Row {
    fn credential(&self) -> Option<Credential> {
        Some(Credential {
            id: self.credential_id?,
            uuid: self.credential_uuid?,
            name: self.credential_name.clone()?,
            unrestricted: self.credential_unrestricted?,
        })
    }

    fn project(&self) -> Option<Named> {
        Some(Named {
            id: self.project_id?,
            uuid: self.project_uuid?,
            name: self.project_name.clone()?,
            domain: Domain {
                uuid: self.project_domain_uuid?,
                name: self.project_domain_name.clone()?,
            },
        })
    }
}

/// What the token of this digest stands for at `now`; nothing when it has ended, when its user, project or a domain of theirs
/// is disabled, or when its user has no role in its project any more.
///
/// # Errors
/// The database's own.
pub async fn bearer(
    connection: &impl ConnectionTrait,
    digest: &str,
    now: DateTime<Utc>,
) -> Result<Option<Bearer>, DbError> {
    let of_project = Alias::new("project_domains");
    let t = |column: token::Column| Expr::col((token::Entity, column));
    let u = |column: user::Column| Expr::col((user::Entity, column));
    let d = |column: domain::Column| Expr::col((domain::Entity, column));
    let p = |column: project::Column| Expr::col((project::Entity, column));
    let pd = |column: domain::Column| Expr::col((of_project.clone(), column));
    let c = |column: application_credential::Column| {
        Expr::col((application_credential::Entity, column))
    };
    let r = |column: role_assignment::Column| Expr::col((role_assignment::Entity, column));
    let query = Query::select()
        .expr_as(t(token::Column::Id), "token_id")
        .expr_as(t(token::Column::Methods), "methods")
        .expr_as(t(token::Column::AuditId), "audit_id")
        .expr_as(t(token::Column::IssuedAt), "issued_at")
        .expr_as(t(token::Column::ExpiresAt), "expires_at")
        .expr_as(u(user::Column::Id), "user_id")
        .expr_as(u(user::Column::Uuid), "user_uuid")
        .expr_as(u(user::Column::Name), "user_name")
        .expr_as(d(domain::Column::Uuid), "user_domain_uuid")
        .expr_as(d(domain::Column::Name), "user_domain_name")
        .expr_as(t(token::Column::ProjectId), "project_id")
        .expr_as(p(project::Column::Uuid), "project_uuid")
        .expr_as(p(project::Column::Name), "project_name")
        .expr_as(pd(domain::Column::Uuid), "project_domain_uuid")
        .expr_as(pd(domain::Column::Name), "project_domain_name")
        .expr_as(c(application_credential::Column::Id), "credential_id")
        .expr_as(c(application_credential::Column::Uuid), "credential_uuid")
        .expr_as(c(application_credential::Column::Name), "credential_name")
        .expr_as(
            c(application_credential::Column::Unrestricted),
            "credential_unrestricted",
        )
        .expr_as(c(application_credential::Column::Roles), "credential_roles")
        .expr_as(r(role_assignment::Column::Role), "role")
        .from(token::Entity)
        .inner_join(
            user::Entity,
            u(user::Column::Id).equals((token::Entity, token::Column::UserId)),
        )
        .inner_join(
            domain::Entity,
            d(domain::Column::Id).equals((user::Entity, user::Column::DomainId)),
        )
        .left_join(
            project::Entity,
            p(project::Column::Id)
                .equals((token::Entity, token::Column::ProjectId))
                .and(p(project::Column::Enabled).eq(true)),
        )
        .join_as(
            sea_orm::JoinType::LeftJoin,
            domain::Entity,
            of_project.clone(),
            pd(domain::Column::Id)
                .equals((project::Entity, project::Column::DomainId))
                .and(pd(domain::Column::Enabled).eq(true)),
        )
        .left_join(
            application_credential::Entity,
            c(application_credential::Column::Id)
                .equals((token::Entity, token::Column::ApplicationCredentialId)),
        )
        .left_join(
            role_assignment::Entity,
            r(role_assignment::Column::UserId)
                .equals((token::Entity, token::Column::UserId))
                .and(
                    r(role_assignment::Column::ProjectId)
                        .equals((token::Entity, token::Column::ProjectId)),
                ),
        )
        .and_where(t(token::Column::Digest).eq(digest))
        .and_where(t(token::Column::ExpiresAt).gt(now))
        .and_where(u(user::Column::Enabled).eq(true))
        .and_where(d(domain::Column::Enabled).eq(true))
        .to_owned();
    let statement = connection.get_database_backend().build(&query);
    let rows = Row::find_by_statement(statement).all(connection).await?;
    Ok(read(&rows))
}

/// A row for each role.
fn read(rows: &[Row]) -> Option<Bearer> {
    let first = rows.first()?;
    let project = first.project();
    let mut roles: Vec<Role> = rows
        .iter()
        .filter_map(|row| Role::parse(row.role.as_deref()?))
        .collect();
    if let Some(granted) = &first.credential_roles {
        let granted: Vec<_> = granted.split(',').filter_map(Role::parse).collect();
        roles.retain(|role| granted.contains(role));
    }
    roles.sort_unstable();
    roles.dedup();
    if first.project_id.is_some() && (project.is_none() || roles.is_empty()) {
        return None;
    }
    Some(Bearer {
        token_id: first.token_id,
        user: Named {
            id: first.user_id,
            uuid: first.user_uuid,
            name: first.user_name.clone(),
            domain: Domain {
                uuid: first.user_domain_uuid,
                name: first.user_domain_name.clone(),
            },
        },
        project,
        roles,
        credential: first.credential(),
        methods: first.methods.split(',').map(str::to_owned).collect(),
        audit_id: first.audit_id.clone(),
        issued_at: first.issued_at,
        expires_at: first.expires_at,
    })
}

/// A token to be given out.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    /// [`crate::secret::digest`] of it.
    pub digest: &'a str,
    /// Whose.
    pub user_id: i64,
    /// For which project.
    pub project_id: Option<i64>,
    /// The credential it is got with.
    pub credential_id: Option<i64>,
    /// How it is got.
    pub methods: &'a [&'a str],
    /// What logs may call it.
    pub audit_id: &'a str,
    /// From when.
    pub issued_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// Keeps a token.
///
/// # Errors
/// The database's own.
pub async fn add(connection: &impl ConnectionTrait, new: &NewToken<'_>) -> Result<(), DbError> {
    let row = token::ActiveModel {
        id: ActiveValue::NotSet,
        digest: ActiveValue::Set(new.digest.to_owned()),
        user_id: ActiveValue::Set(new.user_id),
        project_id: ActiveValue::Set(new.project_id),
        application_credential_id: ActiveValue::Set(new.credential_id),
        methods: ActiveValue::Set(new.methods.join(",")),
        audit_id: ActiveValue::Set(new.audit_id.to_owned()),
        issued_at: ActiveValue::Set(new.issued_at),
        expires_at: ActiveValue::Set(new.expires_at),
    };
    token::Entity::insert(row).exec(connection).await?;
    Ok(())
}

/// Ends a token.
///
/// # Errors
/// The database's own.
pub async fn remove(connection: &impl ConnectionTrait, id: i64) -> Result<(), DbError> {
    token::Entity::delete_by_id(id).exec(connection).await?;
    Ok(())
}

/// Ends all tokens of a user.
///
/// # Errors
/// The database's own.
pub async fn remove_of_user(
    connection: &impl ConnectionTrait,
    user_id: i64,
) -> Result<(), DbError> {
    token::Entity::delete_many()
        .filter(token::Column::UserId.eq(user_id))
        .exec(connection)
        .await?;
    Ok(())
}
