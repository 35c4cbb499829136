//! Logging in: from what a client shows to who it is and where.

use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::fault::Fault;
use crate::api::principal::{Role, request_id_of, source_of};
use crate::api::rate;
use crate::bootstrap::DOMAIN;
use crate::cloud::{self, Cloud};
use crate::db::audit::{self, Actor, Deed};
use crate::db::entity::{application_credential, domain, project, user};
use crate::db::{accounts, credentials, tokens};
use crate::secret;

/// What a client shows.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Login {
    pub(super) auth: Auth,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Auth {
    pub(super) identity: Identity,
    pub(super) scope: Option<Scope>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Identity {
    methods: Vec<String>,
    password: Option<PasswordMethod>,
    token: Option<TokenMethod>,
    application_credential: Option<CredentialMethod>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct PasswordMethod {
    user: PasswordUser,
}

#[derive(Debug, Deserialize, ToSchema)]
struct PasswordUser {
    id: Option<String>,
    name: Option<String>,
    domain: Option<DomainReference>,
    password: String,
}

#[derive(Debug, Deserialize, ToSchema)]
struct TokenMethod {
    id: String,
}

#[derive(Debug, Deserialize, ToSchema)]
struct CredentialMethod {
    id: Option<String>,
    name: Option<String>,
    user: Option<UserReference>,
    secret: String,
}

#[derive(Debug, Deserialize, ToSchema)]
struct UserReference {
    id: Option<String>,
    name: Option<String>,
    domain: Option<DomainReference>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DomainReference {
    id: Option<String>,
    name: Option<String>,
}

/// What is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Scope {
    /// `"unscoped"`
    Word(String),
    /// A project; or what we have none of.
    Of {
        project: Option<ProjectReference>,
        domain: Option<serde_json::Value>,
        system: Option<serde_json::Value>,
    },
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ProjectReference {
    id: Option<String>,
    name: Option<String>,
    domain: Option<DomainReference>,
}

/// Who it is, and where.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) user: user::Model,
    pub(super) project: Option<project::Model>,
    pub(super) credential: Option<application_credential::Model>,
    pub(super) methods: Vec<String>,
    /// A token that is got with another, or with a credential, does not outlive it.
    pub(super) not_after: Option<DateTime<Utc>>,
}

/// Where a login comes from.
#[derive(Debug)]
pub(super) struct From {
    source: String,
    request_id: String,
}

impl From {
    pub(super) fn of(parts: &Parts, cloud: &Cloud) -> Self {
        Self {
            source: source_of(parts, &cloud.config.api.proxies),
            request_id: request_id_of(parts),
        }
    }
}

/// Why somebody is not let in. The client is told nothing of it.
#[derive(Debug)]
enum Refusal {
    Denied(&'static str),
    Fault(Fault),
}

impl<E: Into<Fault>> std::convert::From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

const DENIED: Refusal = Refusal::Denied("the secret is wrong");

/// Finds out who it is.
///
/// # Errors
/// 401, whatever is wrong with what is shown; 429 after too many failures; 400 where it says nothing.
pub(super) async fn identify(cloud: &Cloud, auth: &Auth, from: &From) -> Result<Known, Fault> {
    let claimed = claimed(&auth.identity);
    let attempt = (claimed.clone(), from.source.clone());
    let now = Instant::now();
    let may = cloud.rates.failures.look(&attempt, now);
    let may = may.and_then(|()| cloud.rates.sources.look(&from.source, now));
    may.map_err(|wait| {
        cloud.metrics.rate_limited.inc();
        Fault::TooMany {
            seconds: rate::seconds(wait),
        }
    })?;
    match find(cloud, auth).await {
        Ok(known) => Ok(known),
        Err(Refusal::Fault(fault)) => Err(fault),
        Err(Refusal::Denied(reason)) => {
            // Whether there was room is told to the next.
            let _ = cloud.rates.failures.take(attempt, now);
            let _ = cloud.rates.sources.take(from.source.clone(), now);
            cloud.metrics.logins_failed.inc();
            let actor = Actor {
                user_id: None,
                name: claimed,
                project_id: None,
                source: from.source.clone(),
                request_id: from.request_id.clone(),
            };
            let deed = Deed {
                action: "token.create",
                kind: "token",
                target: None,
                result: 401,
                detail: json!({ "reason": reason, "methods": auth.identity.methods }),
            };
            audit::record(cloud.db.reader(), &actor, deed, cloud::now()).await?;
            Err(Fault::unauthorized())
        }
    }
}

/// Who somebody says to be, for the audit and the count of failures.
fn claimed(identity: &Identity) -> String {
    let of_password = identity.password.as_ref().map(|shown| &shown.user);
    let of_password = of_password.and_then(|user| user.name.as_ref().or(user.id.as_ref()));
    let credential = identity.application_credential.as_ref();
    let of_credential = credential.and_then(|shown| shown.id.as_ref().or(shown.name.as_ref()));
    let claimed = of_password.or(of_credential);
    claimed.map_or_else(
        || String::from("?"),
        |text| text.chars().take(255).collect(),
    )
}

async fn find(cloud: &Cloud, auth: &Auth) -> Result<Known, Refusal> {
    let [method] = auth.identity.methods.as_slice() else {
        return Err(Fault::bad("auth.identity.methods names one method").into());
    };
    let identity = &auth.identity;
    match (method.as_str(), identity) {
        (
            "password",
            Identity {
                password: Some(shown),
                ..
            },
        ) => by_password(cloud, &shown.user, auth.scope.as_ref()).await,
        (
            "token",
            Identity {
                token: Some(shown), ..
            },
        ) => by_token(cloud, &shown.id, auth.scope.as_ref()).await,
        (
            "application_credential",
            Identity {
                application_credential: Some(shown),
                ..
            },
        ) => by_credential(cloud, shown, auth.scope.as_ref()).await,
        ("password" | "token" | "application_credential", _) => {
            let missing = format!("auth.identity.{method} is missing");
            Err(Fault::bad(missing).into())
        }
        _ => Err(Refusal::Denied("no such method")),
    }
}

async fn by_password(
    cloud: &Cloud,
    shown: &PasswordUser,
    scope: Option<&Scope>,
) -> Result<Known, Refusal> {
    let user = find_user(
        cloud,
        shown.id.as_deref(),
        shown.name.as_deref(),
        shown.domain.as_ref(),
    );
    let user = user.await?;
    let kept = user.as_ref().and_then(|user| user.password_digest.clone());
    let fits = secret::check_password(shown.password.clone(), kept).await;
    let fits = fits.map_err(Fault::internal)?;
    let user = user.filter(|_| fits).ok_or(DENIED)?;
    let project = choose(cloud, &user, scope).await?;
    Ok(Known {
        user,
        project,
        credential: None,
        methods: vec![String::from("password")],
        not_after: None,
    })
}

async fn by_token(cloud: &Cloud, token: &str, scope: Option<&Scope>) -> Result<Known, Refusal> {
    let reader = cloud.db.reader();
    let bearer = tokens::bearer(reader, &secret::digest(token), cloud::now()).await?;
    let bearer = bearer.ok_or(Refusal::Denied("the token is none"))?;
    let user = accounts::user_of(reader, bearer.user.id).await?;
    let user = user.ok_or(DENIED)?;
    let project = choose(cloud, &user, scope).await?;
    let mut credential = None;
    if let Some(had) = &bearer.credential {
        let was = bearer.project.as_ref().map(|project| project.id);
        if project.as_ref().map(|project| project.id) != was {
            return Err(Refusal::Denied("the credential is for another project"));
        }
        credential = credentials::find(reader, had.uuid).await?;
    }
    let mut methods = bearer.methods;
    if !methods.iter().any(|method| method == "token") {
        methods.push(String::from("token"));
    }
    Ok(Known {
        user,
        project,
        credential,
        methods,
        not_after: Some(bearer.expires_at),
    })
}

async fn by_credential(
    cloud: &Cloud,
    shown: &CredentialMethod,
    scope: Option<&Scope>,
) -> Result<Known, Refusal> {
    let reader = cloud.db.reader();
    if scope.is_some() {
        return Err(Refusal::Denied("a credential has its own scope"));
    }
    let credential = match (&shown.id, &shown.name, &shown.user) {
        (Some(id), _, _) => match Uuid::parse_str(id) {
            Ok(uuid) => credentials::find(reader, uuid).await?,
            Err(_) => None,
        },
        (None, Some(name), Some(owner)) => {
            let owner = find_user(
                cloud,
                owner.id.as_deref(),
                owner.name.as_deref(),
                owner.domain.as_ref(),
            );
            match owner.await? {
                Some(owner) => credentials::named(reader, owner.id, name).await?,
                None => None,
            }
        }
        (None, _, _) => {
            let missing =
                "an application credential is told by its id, or by its name and its user";
            return Err(Fault::bad(missing).into());
        }
    };
    let credential = credential.ok_or(DENIED)?;
    if !secret::matches(&shown.secret, &credential.secret_digest) {
        return Err(DENIED);
    }
    if credential.expires_at.is_some_and(|end| end <= cloud::now()) {
        return Err(Refusal::Denied("the credential has expired"));
    }
    let user = accounts::user_of(reader, credential.user_id).await?;
    let user = allowed(cloud, user.ok_or(DENIED)?).await?;
    let project = accounts::project_of(reader, credential.project_id).await?;
    let project = enter(cloud, &user, project.ok_or(DENIED)?).await?;
    Ok(Known {
        not_after: credential.expires_at,
        user,
        project: Some(project),
        credential: Some(credential),
        methods: vec![String::from("application_credential")],
    })
}

/// The user, unless it or its domain is disabled.
async fn allowed(cloud: &Cloud, user: user::Model) -> Result<user::Model, Refusal> {
    let domain = accounts::domain_of(cloud.db.reader(), user.domain_id).await?;
    if user.enabled && domain.is_some_and(|domain| domain.enabled) {
        return Ok(user);
    }
    Err(Refusal::Denied("the user is disabled"))
}

async fn find_user(
    cloud: &Cloud,
    id: Option<&str>,
    name: Option<&str>,
    domain: Option<&DomainReference>,
) -> Result<Option<user::Model>, Refusal> {
    let reader = cloud.db.reader();
    let found = match (id, name, domain) {
        (Some(id), _, _) => match Uuid::parse_str(id) {
            Ok(uuid) => accounts::user(reader, uuid).await?,
            Err(_) => None,
        },
        (None, Some(name), Some(domain)) => match find_domain(cloud, domain).await? {
            Some(domain) => accounts::user_named(reader, domain.id, name).await?,
            None => None,
        },
        (None, _, _) => {
            return Err(
                Fault::bad("a user is told by its id, or by its name and its domain").into(),
            );
        }
    };
    match found {
        Some(user) => match allowed(cloud, user).await {
            Ok(user) => Ok(Some(user)),
            Err(Refusal::Denied(_)) => Ok(None),
            Err(refusal) => Err(refusal),
        },
        None => Ok(None),
    }
}

async fn find_domain(
    cloud: &Cloud,
    reference: &DomainReference,
) -> Result<Option<domain::Model>, Refusal> {
    let reader = cloud.db.reader();
    let found = match (&reference.id, &reference.name) {
        (Some(id), _) if id == DOMAIN => accounts::domain_named(reader, DOMAIN).await?,
        (Some(id), _) => match Uuid::parse_str(id) {
            Ok(uuid) => accounts::domain(reader, uuid).await?,
            Err(_) => None,
        },
        (None, Some(name)) => accounts::domain_named(reader, name).await?,
        (None, None) => {
            return Err(Fault::bad("a domain is told by its id or its name").into());
        }
    };
    Ok(found.filter(|domain| domain.enabled))
}

/// The project that is asked for; where none is, the user's own, if it may still go there.
async fn choose(
    cloud: &Cloud,
    user: &user::Model,
    scope: Option<&Scope>,
) -> Result<Option<project::Model>, Refusal> {
    let reader = cloud.db.reader();
    let reference = match scope {
        Some(Scope::Word(word)) if word == "unscoped" => return Ok(None),
        Some(Scope::Word(_)) => {
            return Err(Fault::bad("auth.scope is an object, or \"unscoped\"").into());
        }
        Some(Scope::Of {
            project: Some(reference),
            domain: None,
            system: None,
        }) => reference,
        Some(Scope::Of {
            project: None,
            domain: None,
            system: None,
        }) => {
            return Err(Fault::bad("auth.scope names a project").into());
        }
        // Nobody has a role there.
        Some(Scope::Of { .. }) => return Err(Refusal::Denied("no role in this scope")),
        None => {
            let Some(home) = user.default_project_id else {
                return Ok(None);
            };
            let Some(home) = accounts::project_of(reader, home).await? else {
                return Ok(None);
            };
            return match enter(cloud, user, home).await {
                Ok(home) => Ok(Some(home)),
                Err(Refusal::Denied(_)) => Ok(None),
                Err(refusal) => Err(refusal),
            };
        }
    };
    let found = match (&reference.id, &reference.name, &reference.domain) {
        (Some(id), _, _) => match Uuid::parse_str(id) {
            Ok(uuid) => accounts::project(reader, uuid).await?,
            Err(_) => None,
        },
        (None, Some(name), Some(domain)) => match find_domain(cloud, domain).await? {
            Some(domain) => accounts::project_named(reader, domain.id, name).await?,
            None => None,
        },
        (None, _, _) => {
            let missing = "a project is told by its id, or by its name and its domain";
            return Err(Fault::bad(missing).into());
        }
    };
    let found = found.ok_or(Refusal::Denied("no such project"))?;
    Ok(Some(enter(cloud, user, found).await?))
}

/// The project, unless it or its domain is disabled, or the user is nobody there.
async fn enter(
    cloud: &Cloud,
    user: &user::Model,
    project: project::Model,
) -> Result<project::Model, Refusal> {
    let reader = cloud.db.reader();
    let domain = accounts::domain_of(reader, project.domain_id).await?;
    if !project.enabled || !domain.is_some_and(|domain| domain.enabled) {
        return Err(Refusal::Denied("the project is disabled"));
    }
    let roles: Vec<Role> = accounts::roles(reader, user.id, project.id).await?;
    if roles.is_empty() {
        return Err(Refusal::Denied("no role in the project"));
    }
    Ok(project)
}
