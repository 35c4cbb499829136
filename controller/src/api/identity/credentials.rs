//! Application credentials: what programs log in with.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::tokens::RoleName;
use super::users::named;
use super::{ListLinks, SelfLink, moment};
use crate::api::body::{Json, Pairs, Path, reply};
use crate::api::fault::Fault;
use crate::api::principal::{Caller, Role};
use crate::cloud::{self, Cloud};
use crate::db::audit::{self, Deed};
use crate::db::credentials::{self, NewCredential};
use crate::db::entity::application_credential::Model;
use crate::db::{accounts, entity::user};
use crate::secret;

/// Characters that a secret of the client's own must have: only its digest is kept, and that is quick to compute.
const SHORTEST: usize = 20;

/// Moments are sent to MariaDB as TIMESTAMP, which makes NULL of later ones: that would mean never.
const LATEST: i64 = i32::MAX as i64;

/// A credential.
#[derive(Debug, Serialize, ToSchema)]
pub struct Credential {
    id: String,
    name: String,
    description: Option<String>,
    user_id: String,
    project_id: String,
    roles: Vec<RoleName>,
    expires_at: Option<String>,
    unrestricted: bool,
    system: Option<String>,
    links: SelfLink,
    /// Told once, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneCredential {
    application_credential: Credential,
}

/// Several.
#[derive(Debug, Serialize, ToSchema)]
pub struct Credentials {
    application_credentials: Vec<Credential>,
    links: ListLinks,
}

impl Credential {
    fn of(cloud: &Cloud, user: &user::Model, project: Uuid, row: &Model) -> Self {
        let (id, user_id) = (row.uuid.simple(), user.uuid.simple());
        Self {
            links: SelfLink::to(
                cloud,
                &format!("/users/{user_id}/application_credentials/{id}"),
            ),
            id: id.to_string(),
            name: row.name.clone(),
            description: (!row.description.is_empty()).then(|| row.description.clone()),
            user_id: user_id.to_string(),
            project_id: project.simple().to_string(),
            roles: row
                .roles
                .split(',')
                .filter_map(Role::parse)
                .map(RoleName::from)
                .collect(),
            expires_at: row.expires_at.map(moment),
            unrestricted: row.unrestricted,
            system: None,
            secret: None,
        }
    }
}

async fn written(
    cloud: &Cloud,
    user: &user::Model,
    rows: &[Model],
) -> Result<Vec<Credential>, Fault> {
    let projects = accounts::projects(cloud.db.reader()).await?;
    let project = |id| projects.iter().find(|project| project.id == id);
    let all = rows.iter().filter_map(|row| {
        let project = project(row.project_id)?;
        Some(Credential::of(cloud, user, project.uuid, row))
    });
    Ok(all.collect())
}

/// A user's credentials.
#[utoipa::path(get, path = "/v3/users/{user_id}/application_credentials", tag = "identity",
    params(("user_id" = String, Path), ("name" = Option<String>, Query)), responses((status = 200, body = Credentials)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    caller: Caller,
    Path(id): Path<String>,
    query: Pairs,
) -> Result<Json<Credentials>, Fault> {
    let user = named(&cloud, &caller, &id).await?;
    let mut rows = credentials::of_user(cloud.db.reader(), user.id).await?;
    if let Some(name) = query.last("name") {
        rows.retain(|row| row.name == name);
    }
    Ok(Json(Credentials {
        application_credentials: written(&cloud, &user, &rows).await?,
        links: ListLinks::to(&cloud, &format!("/users/{id}/application_credentials")),
    }))
}

/// One of a user's credentials.
async fn found(cloud: &Cloud, user: &user::Model, id: &str) -> Result<Model, Fault> {
    let unknown = || Fault::not_found("application credential", id);
    let uuid = Uuid::parse_str(id).map_err(|_| unknown())?;
    let row = credentials::find(cloud.db.reader(), uuid).await?;
    row.filter(|row| row.user_id == user.id).ok_or_else(unknown)
}

/// A credential.
#[utoipa::path(get, path = "/v3/users/{user_id}/application_credentials/{credential_id}", tag = "identity",
    params(("user_id" = String, Path), ("credential_id" = String, Path)), responses((status = 200, body = OneCredential)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    caller: Caller,
    Path((user, id)): Path<(String, String)>,
) -> Result<Json<OneCredential>, Fault> {
    let user = named(&cloud, &caller, &user).await?;
    let row = found(&cloud, &user, &id).await?;
    let one = written(&cloud, &user, &[row]).await?.into_iter().next();
    let application_credential =
        one.ok_or_else(|| Fault::not_found("application credential", &id))?;
    Ok(Json(OneCredential {
        application_credential,
    }))
}

/// A credential to be made.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Create {
    application_credential: New,
}

#[derive(Debug, Deserialize, ToSchema)]
struct New {
    name: String,
    description: Option<String>,
    secret: Option<String>,
    roles: Option<Vec<RoleReference>>,
    expires_at: Option<String>,
    unrestricted: Option<bool>,
    access_rules: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct RoleReference {
    id: Option<String>,
    name: Option<String>,
}

/// Oneself, in a project, logged in with more than a restricted credential.
fn may_change(caller: &Caller, user: &user::Model) -> Result<(), Fault> {
    let is_self = user.id == caller.bearer.user.id;
    let credential = caller.bearer.credential.as_ref();
    if is_self && credential.is_none_or(|credential| credential.unrestricted) {
        return Ok(());
    }
    Err(Fault::Forbidden(String::from(
        "only the user itself, or an unrestricted credential of it, changes application credentials",
    )))
}

impl New {
    fn roles(&self, caller: &Caller) -> Result<Vec<Role>, Fault> {
        // The CLI sends an empty list where none is asked for.
        let Some(asked) = self.roles.as_ref().filter(|asked| !asked.is_empty()) else {
            return Ok(caller.bearer.roles.clone());
        };
        let mut roles = Vec::new();
        for reference in asked {
            let name = reference.name.as_ref().or(reference.id.as_ref());
            let name = name.ok_or_else(|| Fault::bad("a role is told by its id or its name"))?;
            let role = Role::parse(name).filter(|role| caller.bearer.roles.contains(role));
            roles.push(role.ok_or_else(|| Fault::bad(format!("you do not have the role {name}")))?);
        }
        roles.sort_unstable();
        roles.dedup();
        Ok(roles)
    }

    fn expires_at(&self) -> Result<Option<DateTime<Utc>>, Fault> {
        let Some(text) = &self.expires_at else {
            return Ok(None);
        };
        let parsed = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
        let parsed = parsed.or_else(|_| {
            let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f");
            naive.map(|at| at.and_utc())
        });
        let at =
            parsed.map_err(|_| Fault::bad("expires_at is a time as in 2030-01-31T00:00:00Z"))?;
        if at <= cloud::now() {
            return Err(Fault::bad("expires_at is in the past"));
        }
        if at.timestamp() > LATEST {
            return Err(Fault::bad("expires_at is before 2038-01-19T03:14:07Z"));
        }
        Ok(Some(chrono::SubsecRound::trunc_subsecs(at, 6)))
    }

    fn check(&self) -> Result<(), Fault> {
        if self.name.trim().is_empty() || self.name.chars().count() > 255 {
            return Err(Fault::bad("a name has 1 to 255 characters"));
        }
        if self
            .description
            .as_ref()
            .is_some_and(|text| text.len() > 10_000)
        {
            return Err(Fault::bad("a description has at most 10000 bytes"));
        }
        if self
            .secret
            .as_ref()
            .is_some_and(|text| text.len() < SHORTEST)
        {
            return Err(Fault::bad(format!(
                "a secret has at least {SHORTEST} characters; without one, one is drawn"
            )));
        }
        if self
            .access_rules
            .as_ref()
            .is_some_and(|rules| !rules.is_empty())
        {
            return Err(Fault::bad("access rules are not supported"));
        }
        Ok(())
    }
}

/// Makes a credential for the token's project.
#[utoipa::path(post, path = "/v3/users/{user_id}/application_credentials", tag = "identity",
    params(("user_id" = String, Path)), request_body = Create, responses((status = 201, body = OneCredential)))]
pub(super) async fn create(
    State(cloud): State<Cloud>,
    caller: Caller,
    Path(id): Path<String>,
    Json(Create {
        application_credential: new,
    }): Json<Create>,
) -> Result<Response, Fault> {
    let user = named(&cloud, &caller, &id).await?;
    may_change(&caller, &user)?;
    let project = caller.bearer.project.as_ref();
    let project = project
        .ok_or_else(|| Fault::Forbidden(String::from("the token is not scoped to a project")))?;
    new.check()?;
    let roles = new.roles(&caller)?;
    let roles: Vec<&str> = roles.into_iter().map(Role::as_str).collect();
    let expires_at = new.expires_at()?;
    let secret = match &new.secret {
        Some(secret) => secret.clone(),
        None => secret::random().map_err(Fault::internal)?,
    };
    let row = NewCredential {
        user_id: user.id,
        project_id: project.id,
        name: &new.name,
        description: new.description.as_deref().unwrap_or_default(),
        secret_digest: &secret::digest(&secret),
        roles: &roles.join(","),
        unrestricted: new.unrestricted.unwrap_or_default(),
        expires_at,
        now: cloud::now(),
    };
    let made = cloud
        .db
        .write(async |tx| -> Result<Model, Fault> {
            let tx = &*tx;
            if credentials::named(tx, user.id, row.name).await?.is_some() {
                return Err(Fault::Conflict(format!(
                    "there is an application credential {:?}",
                    row.name
                )));
            }
            let made = credentials::add(tx, &row).await?;
            let deed = Deed {
                action: "application_credential.create",
                kind: "application_credential",
                target: Some(made.uuid.to_string()),
                result: 201,
                detail: json!({ "name": row.name, "roles": row.roles }),
            };
            audit::record(tx, &caller.actor(), deed, row.now).await?;
            Ok(made)
        })
        .await?;
    let mut application_credential = Credential::of(&cloud, &user, project.uuid, &made);
    application_credential.secret = Some(secret);
    let one = OneCredential {
        application_credential,
    };
    Ok(reply(StatusCode::CREATED, one))
}

/// Removes a credential, and the tokens it was used for.
#[utoipa::path(delete, path = "/v3/users/{user_id}/application_credentials/{credential_id}", tag = "identity",
    params(("user_id" = String, Path), ("credential_id" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(cloud): State<Cloud>,
    caller: Caller,
    Path((user, id)): Path<(String, String)>,
) -> Result<StatusCode, Fault> {
    let user = named(&cloud, &caller, &user).await?;
    may_change(&caller, &user)?;
    let row = found(&cloud, &user, &id).await?;
    cloud
        .db
        .write(async |tx| -> Result<(), Fault> {
            let tx = &*tx;
            credentials::remove(tx, row.id).await?;
            let deed = Deed {
                action: "application_credential.delete",
                kind: "application_credential",
                target: Some(row.uuid.to_string()),
                result: 204,
                detail: json!({ "name": row.name }),
            };
            Ok(audit::record(tx, &caller.actor(), deed, cloud::now()).await?)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
