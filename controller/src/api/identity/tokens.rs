//! Tokens: given out, shown, ended.

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::catalog::{self, Service};
use super::login::{self, Login};
use super::{DomainName, SelfLink, moment};
use crate::api::body::{Json, Query, reply};
use crate::api::fault::Fault;
use crate::api::principal::{Caller, Role};
use crate::cloud::{self, Cloud};
use crate::db::audit::{self, Deed};
use crate::db::tokens::{self, Bearer, NewToken};
use crate::secret::{self, digest};

const SUBJECT: HeaderName = HeaderName::from_static("x-subject-token");

/// A user or a project, as a token names it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Named {
    id: String,
    name: String,
    domain: DomainName,
}

/// A user, as a token names it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenUser {
    id: String,
    name: String,
    domain: DomainName,
    password_expires_at: Option<String>,
}

/// A role.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoleName {
    id: &'static str,
    name: &'static str,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        Self {
            id: role.as_str(),
            name: role.as_str(),
        }
    }
}

/// The credential a token was got with.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenCredential {
    id: String,
    name: String,
    restricted: bool,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    methods: Vec<String>,
    user: TokenUser,
    audit_ids: Vec<String>,
    issued_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_domain: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<RoleName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog: Option<Vec<Service>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_credential: Option<TokenCredential>,
}

/// In an object of its own.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneToken {
    token: Token,
}

/// What is left out.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Options {
    nocatalog: Option<String>,
}

fn written(cloud: &Cloud, bearer: &Bearer, options: &Options) -> OneToken {
    let is_scoped = bearer.project.is_some();
    let catalog = is_scoped && options.nocatalog.is_none();
    let token = Token {
        methods: bearer.methods.clone(),
        user: TokenUser {
            id: bearer.user.uuid.simple().to_string(),
            name: bearer.user.name.clone(),
            domain: DomainName::from(&bearer.user.domain),
            password_expires_at: None,
        },
        audit_ids: vec![bearer.audit_id.clone()],
        issued_at: moment(bearer.issued_at),
        expires_at: moment(bearer.expires_at),
        project: bearer.project.as_ref().map(|project| Named {
            id: project.uuid.simple().to_string(),
            name: project.name.clone(),
            domain: DomainName::from(&project.domain),
        }),
        is_domain: is_scoped.then_some(false),
        roles: is_scoped.then(|| bearer.roles.iter().copied().map(RoleName::from).collect()),
        catalog: catalog.then(|| catalog::of(&cloud.config.api)),
        application_credential: bearer
            .credential
            .as_ref()
            .map(|credential| TokenCredential {
                id: credential.uuid.simple().to_string(),
                name: credential.name.clone(),
                restricted: !credential.unrestricted,
            }),
    };
    OneToken { token }
}

/// Gives out a token.
#[utoipa::path(post, path = "/v3/auth/tokens", tag = "identity", request_body = Login, security(()),
    params(("nocatalog" = Option<String>, Query, description = "leave the catalog out")),
    responses((status = 201, body = OneToken, headers(("x-subject-token" = String, description = "the token")))))]
pub(super) async fn issue(
    State(cloud): State<Cloud>,
    Query(options): Query<Options>,
    parts: Parts,
    Json(login): Json<Login>,
) -> Result<Response, Fault> {
    let from = login::From::of(&parts, &cloud);
    let known = login::identify(&cloud, &login.auth, &from).await?;
    let token = secret::random().map_err(Fault::internal)?;
    let audit_id = Uuid::new_v4().simple().to_string();
    let issued_at = cloud::now();
    let longest = issued_at + cloud.config.api.token_life;
    let methods: Vec<&str> = known.methods.iter().map(String::as_str).collect();
    let new = NewToken {
        digest: &digest(&token),
        user_id: known.user.id,
        project_id: known.project.as_ref().map(|project| project.id),
        credential_id: known.credential.as_ref().map(|credential| credential.id),
        methods: &methods,
        audit_id: &audit_id,
        issued_at,
        expires_at: known.not_after.map_or(longest, |end| end.min(longest)),
    };
    let bearer = cloud
        .db
        .write(async |tx| -> Result<_, Fault> {
            let tx = &*tx;
            tokens::add(tx, &new).await?;
            Ok(tokens::bearer(tx, new.digest, issued_at).await?)
        })
        .await?;
    // What it stands for has ended this moment.
    let bearer = bearer.ok_or_else(Fault::unauthorized)?;
    let mut response = reply(StatusCode::CREATED, written(&cloud, &bearer, &options));
    let shown = HeaderValue::from_str(&token).map_err(Fault::internal)?;
    response.headers_mut().insert(SUBJECT, shown);
    Ok(response)
}

/// The token that is asked about: one's own, or anybody's for an administrator.
async fn subject(cloud: &Cloud, caller: &Caller, parts: &Parts) -> Result<(String, Bearer), Fault> {
    let subject = parts.headers.get(&SUBJECT);
    let subject = subject.ok_or_else(|| Fault::bad("the header X-Subject-Token is missing"))?;
    let unknown = || Fault::not_found("token", "asked for");
    let subject = subject.to_str().map_err(|_| unknown())?;
    let found = tokens::bearer(cloud.db.reader(), &digest(subject), cloud::now()).await?;
    let bearer = found.ok_or_else(unknown)?;
    let is_own = bearer.user.id == caller.bearer.user.id;
    if !is_own && !caller.bearer.roles.contains(&Role::Admin) {
        return Err(unknown());
    }
    Ok((subject.to_owned(), bearer))
}

/// Shows what a token stands for.
#[utoipa::path(get, path = "/v3/auth/tokens", tag = "identity",
    params(("x-subject-token" = String, Header, description = "the token"),
        ("nocatalog" = Option<String>, Query, description = "leave the catalog out")),
    responses((status = 200, body = OneToken)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    caller: Caller,
    Query(options): Query<Options>,
    parts: Parts,
) -> Result<Response, Fault> {
    let (token, bearer) = subject(&cloud, &caller, &parts).await?;
    let mut response = reply(StatusCode::OK, written(&cloud, &bearer, &options));
    let shown = HeaderValue::from_str(&token).map_err(Fault::internal)?;
    response.headers_mut().insert(SUBJECT, shown);
    Ok(response)
}

/// Ends a token.
#[utoipa::path(delete, path = "/v3/auth/tokens", tag = "identity",
    params(("x-subject-token" = String, Header, description = "the token")),
    responses((status = 204)))]
pub(super) async fn revoke(
    State(cloud): State<Cloud>,
    caller: Caller,
    parts: Parts,
) -> Result<Response, Fault> {
    let (_, bearer) = subject(&cloud, &caller, &parts).await?;
    cloud
        .db
        .write(async |tx| -> Result<(), Fault> {
            let tx = &*tx;
            tokens::remove(tx, bearer.token_id).await?;
            let deed = Deed {
                action: "token.delete",
                kind: "token",
                target: Some(bearer.audit_id.clone()),
                result: 204,
                detail: json!({ "user": bearer.user.name }),
            };
            Ok(audit::record(tx, &caller.actor(), deed, cloud::now()).await?)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The catalog alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct Catalog {
    catalog: Vec<Service>,
    links: SelfLink,
}

/// Where each service is.
#[utoipa::path(get, path = "/v3/auth/catalog", tag = "identity", responses((status = 200, body = Catalog)))]
pub(super) async fn catalog(
    State(cloud): State<Cloud>,
    caller: Caller,
) -> Result<Json<Catalog>, Fault> {
    if caller.bearer.project.is_none() {
        return Err(Fault::Forbidden(String::from(
            "the token is not scoped to a project",
        )));
    }
    Ok(Json(Catalog {
        catalog: catalog::of(&cloud.config.api),
        links: SelfLink::to(&cloud, "/auth/catalog"),
    }))
}
