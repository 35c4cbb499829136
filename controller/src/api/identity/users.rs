//! Users, to look at; and one's own password.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::projects::{self, Projects, domain_ids, is_asked_for};
use super::{Empty, ListLinks, SelfLink};
use crate::api::body::{Json, Pairs, Path};
use crate::api::fault::Fault;
use crate::api::principal::Caller;
use crate::cloud::{self, Cloud};
use crate::db::audit::{self, Deed};
use crate::db::entity::user;
use crate::db::{accounts, tokens};
use crate::secret;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    id: String,
    name: String,
    domain_id: String,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_project_id: Option<String>,
    password_expires_at: Option<String>,
    options: Empty,
    links: SelfLink,
}

/// Several.
#[derive(Debug, Serialize, ToSchema)]
pub struct Users {
    users: Vec<User>,
    links: ListLinks,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneUser {
    user: User,
}

impl User {
    fn of(cloud: &Cloud, row: user::Model, domain_id: String, home: Option<Uuid>) -> Self {
        let id = row.uuid.simple().to_string();
        Self {
            links: SelfLink::to(cloud, &format!("/users/{id}")),
            id,
            name: row.name,
            domain_id,
            enabled: row.enabled,
            email: row.email,
            default_project_id: home.map(|uuid| uuid.simple().to_string()),
            password_expires_at: None,
            options: Empty {},
        }
    }
}

/// The user that a path names: oneself, or anybody for an administrator.
pub(super) async fn named(cloud: &Cloud, caller: &Caller, id: &str) -> Result<user::Model, Fault> {
    let unknown = || Fault::not_found("user", id);
    let uuid = Uuid::parse_str(id).map_err(|_| unknown())?;
    if uuid != caller.bearer.user.uuid {
        caller.administers()?;
    }
    let found = accounts::user(cloud.db.reader(), uuid).await?;
    found.ok_or_else(unknown)
}

/// All users, for administrators.
#[utoipa::path(get, path = "/v3/users", tag = "identity",
    params(("name" = Option<String>, Query), ("enabled" = Option<String>, Query), ("domain_id" = Option<String>, Query)),
    responses((status = 200, body = Users)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    caller: Caller,
    query: Pairs,
) -> Result<Json<Users>, Fault> {
    caller.administers()?;
    let domains = domain_ids(&cloud).await?;
    let projects = accounts::projects(cloud.db.reader()).await?;
    let rows = accounts::users(cloud.db.reader()).await?;
    let users = rows.into_iter().filter_map(|row| {
        let domain = domains.get(&row.domain_id).cloned().unwrap_or_default();
        let home = row.default_project_id;
        let home = projects.iter().find(|project| Some(project.id) == home);
        let home = home.map(|project| project.uuid);
        is_asked_for(&query, &row.name, row.enabled, &domain)
            .then(|| User::of(&cloud, row, domain, home))
    });
    Ok(Json(Users {
        users: users.collect(),
        links: ListLinks::to(&cloud, "/users"),
    }))
}

/// A user: oneself, or anybody for an administrator.
#[utoipa::path(get, path = "/v3/users/{user_id}", tag = "identity", params(("user_id" = String, Path)),
    responses((status = 200, body = OneUser)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<OneUser>, Fault> {
    let row = named(&cloud, &caller, &id).await?;
    let domains = domain_ids(&cloud).await?;
    let domain = domains.get(&row.domain_id).cloned().unwrap_or_default();
    let home = match row.default_project_id {
        Some(home) => accounts::project_of(cloud.db.reader(), home).await?,
        None => None,
    };
    let user = User::of(&cloud, row, domain, home.map(|project| project.uuid));
    Ok(Json(OneUser { user }))
}

/// The projects a user has a role in.
#[utoipa::path(get, path = "/v3/users/{user_id}/projects", tag = "identity", params(("user_id" = String, Path)),
    responses((status = 200, body = Projects)))]
pub(super) async fn projects(
    State(cloud): State<Cloud>,
    caller: Caller,
    Path(id): Path<String>,
    query: Pairs,
) -> Result<Json<Projects>, Fault> {
    let user = named(&cloud, &caller, &id).await?;
    let rows = accounts::projects_of(cloud.db.reader(), user.id).await?;
    projects::listed(&cloud, rows, &query, &format!("/users/{id}/projects")).await
}

/// A change of one's password.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PasswordChange {
    user: Passwords,
}

#[derive(Debug, Deserialize, ToSchema)]
struct Passwords {
    original_password: String,
    password: String,
}

/// Changes one's password; all tokens of the user end.
#[utoipa::path(post, path = "/v3/users/{user_id}/password", tag = "identity", params(("user_id" = String, Path)),
    request_body = PasswordChange, responses((status = 204)))]
pub(super) async fn change_password(
    State(cloud): State<Cloud>,
    caller: Caller,
    Path(id): Path<String>,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode, Fault> {
    let uuid = Uuid::parse_str(&id).ok();
    if uuid != Some(caller.bearer.user.uuid) {
        return Err(Fault::Forbidden(String::from(
            "nobody changes another's password here",
        )));
    }
    if caller.bearer.credential.is_some() {
        return Err(Fault::Forbidden(String::from(
            "an application credential does not change passwords",
        )));
    }
    if change.user.password.is_empty() {
        return Err(Fault::bad("the new password is empty"));
    }
    let user = named(&cloud, &caller, &id).await?;
    let attempt = (user.name.clone(), caller.source.clone());
    let now = tokio::time::Instant::now();
    cloud
        .rates
        .failures
        .look(&attempt, now)
        .map_err(|wait| Fault::TooMany {
            seconds: crate::api::rate::seconds(wait),
        })?;
    let kept = user.password_digest.clone();
    let fits = secret::check_password(change.user.original_password, kept).await;
    if !fits.map_err(Fault::internal)? {
        // Whether there was room is told to the next.
        let _ = cloud.rates.failures.take(attempt, now);
        return Err(Fault::unauthorized());
    }
    let digest = secret::new_password(change.user.password).await;
    let digest = digest.map_err(Fault::internal)?;
    cloud
        .db
        .write(async |tx| -> Result<(), Fault> {
            let tx = &*tx;
            accounts::set_password(tx, user.clone(), Some(&digest)).await?;
            tokens::remove_of_user(tx, user.id).await?;
            let deed = Deed {
                action: "user.password",
                kind: "user",
                target: Some(user.uuid.to_string()),
                result: 204,
                detail: json!({}),
            };
            Ok(audit::record(tx, &caller.actor(), deed, cloud::now()).await?)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
