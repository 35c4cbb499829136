//! Compute v2.1, strict, at microversion 2.1: replies have what it has, and nothing else. What Nova has and we have not is
//! refused, with a reason.

mod action;
mod ask;
pub mod availability;
pub mod extensions;
pub mod flavors;
mod interfaces;
pub mod key_pairs;
mod list;
mod metadata;
mod server;
mod servers;
pub mod version;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::fault::Fault;
use crate::cloud::Cloud;

/// All routes, below `/compute`.
pub(super) fn routes() -> OpenApiRouter<Cloud> {
    OpenApiRouter::new()
        .routes(routes!(version::versions))
        .routes(routes!(version::version))
        .routes(routes!(flavors::list))
        .routes(routes!(flavors::detail))
        .routes(routes!(flavors::show))
        .routes(routes!(flavors::specs))
        .routes(routes!(flavors::spec))
        .routes(routes!(key_pairs::list, key_pairs::create))
        .routes(routes!(key_pairs::show, key_pairs::delete))
        .routes(routes!(availability::list))
        .routes(routes!(availability::detail))
        .routes(routes!(extensions::list))
        .routes(routes!(extensions::show))
        .routes(routes!(list::list, servers::create))
        .routes(routes!(list::detail))
        .routes(routes!(servers::show, servers::update, servers::delete))
        .routes(routes!(action::act))
        .routes(routes!(metadata::list, metadata::merge, metadata::replace))
        .routes(routes!(metadata::show, metadata::set, metadata::remove))
        .routes(routes!(interfaces::addresses))
        .routes(routes!(interfaces::addresses_of))
        .routes(routes!(interfaces::list, interfaces::attach))
        .routes(routes!(interfaces::show, interfaces::detach))
        .routes(routes!(servers::diagnostics))
}

/// A reference.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Link {
    /// What it is: `self`, `bookmark`, `next`.
    pub rel: &'static str,
    /// Where.
    pub href: String,
}

/// Where Compute is.
#[must_use]
pub fn place(cloud: &Cloud) -> String {
    format!("{}/compute/v2.1", cloud.config.api.public_url)
}

/// A thing's `self` and `bookmark`, as Nova gives them: the latter without a version.
#[must_use]
pub fn links(cloud: &Cloud, path: &str) -> Vec<Link> {
    let base = &cloud.config.api.public_url;
    vec![
        Link {
            rel: "self",
            href: format!("{base}/compute/v2.1{path}"),
        },
        Link {
            rel: "bookmark",
            href: format!("{base}/compute{path}"),
        },
    ]
}

/// A server's UUID in a path; whatever is none names no server.
fn uuid(text: &str) -> Result<Uuid, Fault> {
    let is_plain = text.len() == 36 || text.len() == 32;
    let uuid = text.parse().ok().filter(|_| is_plain);
    uuid.ok_or_else(|| Fault::not_found("instance", text))
}

/// A moment as Nova writes it, to the second.
fn moment(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
