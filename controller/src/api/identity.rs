//! Identity v3: who one is, and where everything else is.

pub mod catalog;
pub mod credentials;
pub mod login;
pub mod projects;
pub mod roles;
pub mod tokens;
pub mod users;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::body::{Json, reply};
use crate::bootstrap::DOMAIN;
use crate::cloud::Cloud;

/// All routes, below `/identity`.
pub(super) fn routes() -> OpenApiRouter<Cloud> {
    OpenApiRouter::new()
        .routes(routes!(versions))
        .routes(routes!(version))
        .routes(routes!(tokens::issue, tokens::show, tokens::revoke))
        .routes(routes!(tokens::catalog))
        .routes(routes!(projects::of_caller))
        .routes(routes!(projects::domains_of_caller))
        .routes(routes!(projects::list))
        .routes(routes!(projects::show))
        .routes(routes!(projects::domains))
        .routes(routes!(projects::domain))
        .routes(routes!(roles::list))
        .routes(routes!(roles::show))
        .routes(routes!(users::list))
        .routes(routes!(users::show))
        .routes(routes!(users::change_password))
        .routes(routes!(users::projects))
        .routes(routes!(credentials::list, credentials::create))
        .routes(routes!(credentials::show, credentials::delete))
}

/// A reference.
#[derive(Debug, Serialize, ToSchema)]
pub struct Link {
    /// What it is to where it is found.
    rel: &'static str,
    /// Where.
    href: String,
}

/// A form of replies.
#[derive(Debug, Serialize, ToSchema)]
pub struct MediaType {
    base: &'static str,
    r#type: &'static str,
}

/// A version of the API.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    id: &'static str,
    status: &'static str,
    updated: &'static str,
    links: Vec<Link>,
    #[serde(rename = "media-types")]
    media_types: Vec<MediaType>,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneVersion {
    version: Version,
}

/// Several.
#[derive(Debug, Serialize, ToSchema)]
pub struct Versions {
    versions: VersionValues,
}

/// In an object of their own.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionValues {
    values: Vec<Version>,
}

/// Where Identity v3 is.
fn place(cloud: &Cloud) -> String {
    format!("{}/identity/v3", cloud.config.api.public_url)
}

fn version_of(cloud: &Cloud) -> Version {
    Version {
        id: "v3.14",
        status: "stable",
        updated: "2020-04-07T00:00:00Z",
        links: vec![Link {
            rel: "self",
            href: format!("{}/", place(cloud)),
        }],
        media_types: vec![MediaType {
            base: "application/json",
            r#type: "application/vnd.openstack.identity-v3+json",
        }],
    }
}

/// The versions of Identity.
#[utoipa::path(get, path = "/", tag = "identity", responses((status = 300, body = Versions)), security(()))]
async fn versions(State(cloud): State<Cloud>) -> Response {
    let values = vec![version_of(&cloud)];
    let versions = VersionValues { values };
    reply(StatusCode::MULTIPLE_CHOICES, Versions { versions })
}

/// Identity v3.
#[utoipa::path(get, path = "/v3", tag = "identity", responses((status = 200, body = OneVersion)), security(()))]
async fn version(State(cloud): State<Cloud>) -> Json<OneVersion> {
    let version = version_of(&cloud);
    Json(OneVersion { version })
}

/// A domain as others name it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DomainName {
    /// Its public name.
    id: String,
    /// Its name.
    name: String,
}

impl From<&crate::db::tokens::Domain> for DomainName {
    fn from(domain: &crate::db::tokens::Domain) -> Self {
        Self {
            id: domain_id(domain.uuid, &domain.name),
            name: domain.name.clone(),
        }
    }
}

/// A domain's public name: files of clients everywhere say that the first is called `default`.
fn domain_id(uuid: Uuid, name: &str) -> String {
    if name == DOMAIN {
        return DOMAIN.to_owned();
    }
    uuid.simple().to_string()
}

/// Where a list is, and its neighbours, of which there are none.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListLinks {
    #[serde(rename = "self")]
    this: String,
    previous: Option<String>,
    next: Option<String>,
}

impl ListLinks {
    fn to(cloud: &Cloud, path: &str) -> Self {
        Self {
            this: format!("{}{path}", place(cloud)),
            previous: None,
            next: None,
        }
    }
}

/// Where a thing is.
#[derive(Debug, Serialize, ToSchema)]
pub struct SelfLink {
    #[serde(rename = "self")]
    this: String,
}

impl SelfLink {
    fn to(cloud: &Cloud, path: &str) -> Self {
        let this = format!("{}{path}", place(cloud));
        Self { this }
    }
}

/// Nothing: Keystone's `options` and the like.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Empty {}

/// A moment as Identity writes it, to the microsecond.
fn moment(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
