//! Image v2: images, to look at. They are registered by the operator.

mod filter;
pub mod images;
pub mod schemas;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::reply;
use crate::cloud::Cloud;

/// All routes, below `/image`.
pub(super) fn routes() -> OpenApiRouter<Cloud> {
    OpenApiRouter::new()
        .routes(routes!(versions))
        .routes(routes!(all_versions))
        .routes(routes!(images::list))
        .routes(routes!(images::show))
        .routes(routes!(images::members))
        .routes(routes!(images::file))
        .routes(routes!(schemas::image))
        .routes(routes!(schemas::images))
}

/// A reference.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImageLink)]
pub struct Link {
    rel: &'static str,
    href: String,
}

/// A version of the API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImageVersion)]
pub struct Version {
    id: &'static str,
    status: &'static str,
    links: Vec<Link>,
}

/// All.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImageVersions)]
pub struct Versions {
    versions: Vec<Version>,
}

/// The first version with what is read here, and those between: all of them read alike.
const VERSIONS: [(&str, &str); 3] = [
    ("v2.2", "CURRENT"),
    ("v2.1", "SUPPORTED"),
    ("v2.0", "SUPPORTED"),
];

fn written(cloud: &Cloud) -> Versions {
    let version = |(id, status)| Version {
        id,
        status,
        links: vec![Link {
            rel: "self",
            href: format!("{}/image/v2/", cloud.config.api.public_url),
        }],
    };
    let versions = VERSIONS.into_iter().map(version).collect();
    Versions { versions }
}

/// The versions of Image.
#[utoipa::path(get, path = "/", tag = "image", responses((status = 300, body = Versions)), security(()))]
async fn versions(State(cloud): State<Cloud>) -> Response {
    reply(StatusCode::MULTIPLE_CHOICES, written(&cloud))
}

/// The versions of Image.
#[utoipa::path(get, path = "/versions", tag = "image", responses((status = 200, body = Versions)), security(()))]
async fn all_versions(State(cloud): State<Cloud>) -> Response {
    reply(StatusCode::OK, written(&cloud))
}
