//! Projects and domains, to look at.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Empty, ListLinks, SelfLink, domain_id};
use crate::api::body::{Json, Pairs, Path};
use crate::api::fault::Fault;
use crate::api::principal::Caller;
use crate::bootstrap::DOMAIN;
use crate::cloud::Cloud;
use crate::db::accounts;
use crate::db::entity::{domain, project};

/// A project.
#[derive(Debug, Serialize, ToSchema)]
pub struct Project {
    id: String,
    name: String,
    domain_id: String,
    parent_id: String,
    description: String,
    enabled: bool,
    is_domain: bool,
    options: Empty,
    tags: Vec<String>,
    links: SelfLink,
}

/// Several.
#[derive(Debug, Serialize, ToSchema)]
pub struct Projects {
    projects: Vec<Project>,
    links: ListLinks,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneProject {
    project: Project,
}

/// A domain.
#[derive(Debug, Serialize, ToSchema)]
pub struct Domain {
    id: String,
    name: String,
    description: String,
    enabled: bool,
    options: Empty,
    tags: Vec<String>,
    links: SelfLink,
}

/// Several.
#[derive(Debug, Serialize, ToSchema)]
pub struct Domains {
    domains: Vec<Domain>,
    links: ListLinks,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneDomain {
    domain: Domain,
}

impl Project {
    fn of(cloud: &Cloud, row: project::Model, domain: String) -> Self {
        let id = row.uuid.simple().to_string();
        Self {
            links: SelfLink::to(cloud, &format!("/projects/{id}")),
            id,
            name: row.name,
            parent_id: domain.clone(),
            domain_id: domain,
            description: row.description,
            enabled: row.enabled,
            is_domain: false,
            options: Empty {},
            tags: Vec::new(),
        }
    }
}

impl Domain {
    fn of(cloud: &Cloud, row: &domain::Model) -> Self {
        let id = domain_id(row.uuid, &row.name);
        Self {
            links: SelfLink::to(cloud, &format!("/domains/{id}")),
            id,
            name: row.name.clone(),
            description: String::new(),
            enabled: row.enabled,
            options: Empty {},
            tags: Vec::new(),
        }
    }
}

/// Public names of domains by their rows.
pub(super) async fn domain_ids(cloud: &Cloud) -> Result<BTreeMap<i64, String>, Fault> {
    let all = accounts::domains(cloud.db.reader()).await?;
    let named = all
        .iter()
        .map(|row| (row.id, domain_id(row.uuid, &row.name)));
    Ok(named.collect())
}

/// Whether a row is what `name`, `enabled` and `domain_id` in the query ask for.
pub(super) fn is_asked_for(query: &Pairs, name: &str, enabled: bool, domain: &str) -> bool {
    let is_enabled =
        |text: &str| !matches!(text.to_ascii_lowercase().as_str(), "false" | "0" | "no");
    query.last("name").is_none_or(|asked| asked == name)
        && query.last("domain_id").is_none_or(|asked| asked == domain)
        && query
            .last("enabled")
            .is_none_or(|asked| is_enabled(asked) == enabled)
}

pub(super) async fn listed(
    cloud: &Cloud,
    rows: Vec<project::Model>,
    query: &Pairs,
    path: &str,
) -> Result<Json<Projects>, Fault> {
    let domains = domain_ids(cloud).await?;
    let domain = |row: &project::Model| domains.get(&row.domain_id).cloned().unwrap_or_default();
    let asked = rows
        .into_iter()
        .map(|row| (domain(&row), row))
        .filter(|(domain, row)| is_asked_for(query, &row.name, row.enabled, domain));
    Ok(Json(Projects {
        projects: asked
            .map(|(domain, row)| Project::of(cloud, row, domain))
            .collect(),
        links: ListLinks::to(cloud, path),
    }))
}

/// The caller's projects.
#[utoipa::path(get, path = "/v3/auth/projects", tag = "identity", responses((status = 200, body = Projects)))]
pub(super) async fn of_caller(
    State(cloud): State<Cloud>,
    caller: Caller,
    query: Pairs,
) -> Result<Json<Projects>, Fault> {
    let rows = accounts::projects_of(cloud.db.reader(), caller.bearer.user.id).await?;
    listed(&cloud, rows, &query, "/auth/projects").await
}

/// The caller's domains: none is a scope.
#[utoipa::path(get, path = "/v3/auth/domains", tag = "identity", responses((status = 200, body = Domains)))]
pub(super) async fn domains_of_caller(
    State(cloud): State<Cloud>,
    _caller: Caller,
) -> Json<Domains> {
    Json(Domains {
        domains: Vec::new(),
        links: ListLinks::to(&cloud, "/auth/domains"),
    })
}

/// All projects, for administrators.
#[utoipa::path(get, path = "/v3/projects", tag = "identity",
    params(("name" = Option<String>, Query), ("enabled" = Option<String>, Query), ("domain_id" = Option<String>, Query)),
    responses((status = 200, body = Projects)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    caller: Caller,
    query: Pairs,
) -> Result<Json<Projects>, Fault> {
    caller.administers()?;
    let rows = accounts::projects(cloud.db.reader()).await?;
    listed(&cloud, rows, &query, "/projects").await
}

/// A project: one's own, or any for an administrator.
#[utoipa::path(get, path = "/v3/projects/{project_id}", tag = "identity", params(("project_id" = String, Path)),
    responses((status = 200, body = OneProject)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<OneProject>, Fault> {
    let unknown = || Fault::not_found("project", &id);
    let uuid = Uuid::parse_str(&id).map_err(|_| unknown())?;
    let reader = cloud.db.reader();
    let row = accounts::project(reader, uuid).await?.ok_or_else(unknown)?;
    if !caller.is_admin() {
        let roles = accounts::roles(reader, caller.bearer.user.id, row.id).await?;
        if roles.is_empty() {
            return Err(unknown());
        }
    }
    let domain = domain_ids(&cloud).await?;
    let domain = domain.get(&row.domain_id).cloned().unwrap_or_default();
    let project = Project::of(&cloud, row, domain);
    Ok(Json(OneProject { project }))
}

/// The caller's own domain; all, for administrators.
#[utoipa::path(get, path = "/v3/domains", tag = "identity",
    params(("name" = Option<String>, Query), ("enabled" = Option<String>, Query)),
    responses((status = 200, body = Domains)))]
pub(super) async fn domains(
    State(cloud): State<Cloud>,
    caller: Caller,
    query: Pairs,
) -> Result<Json<Domains>, Fault> {
    let rows = accounts::domains(cloud.db.reader()).await?;
    let seen = rows.iter().filter(|row| caller.sees(row));
    let asked = seen.filter(|row| {
        let id = domain_id(row.uuid, &row.name);
        is_asked_for(&query, &row.name, row.enabled, &id)
    });
    Ok(Json(Domains {
        domains: asked.map(|row| Domain::of(&cloud, row)).collect(),
        links: ListLinks::to(&cloud, "/domains"),
    }))
}

/// A domain.
#[utoipa::path(get, path = "/v3/domains/{domain_id}", tag = "identity", params(("domain_id" = String, Path)),
    responses((status = 200, body = OneDomain)))]
pub(super) async fn domain(
    State(cloud): State<Cloud>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<OneDomain>, Fault> {
    let unknown = || Fault::not_found("domain", &id);
    let reader = cloud.db.reader();
    let row = if id == DOMAIN {
        accounts::domain_named(reader, DOMAIN).await?
    } else {
        let uuid = Uuid::parse_str(&id).map_err(|_| unknown())?;
        accounts::domain(reader, uuid).await?
    };
    let row = row.filter(|row| caller.sees(row)).ok_or_else(unknown)?;
    let domain = Domain::of(&cloud, &row);
    Ok(Json(OneDomain { domain }))
}

impl Caller {
    /// Whether a domain is its own, or it sees all.
    fn sees(&self, row: &domain::Model) -> bool {
        self.is_admin() || row.uuid == self.bearer.user.domain.uuid
    }
}
