//! Network v2.0: networks, subnets, ports and floating addresses, as Neutron writes them. There are no routers, no subnet pools
//! and no security groups but the one that lets all pass.

mod ask;
mod floating;
mod listed;
mod networks;
mod plain;
mod ports;
mod subnets;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::fault::Fault;
use crate::cloud::Cloud;

/// All routes.
pub(super) fn routes() -> OpenApiRouter<Cloud> {
    OpenApiRouter::new()
        .routes(routes!(networks::list, networks::create))
        .routes(routes!(networks::show, networks::update, networks::delete))
        .routes(routes!(subnets::list, subnets::create))
        .routes(routes!(subnets::show, subnets::update, subnets::delete))
        .routes(routes!(ports::list, ports::create))
        .routes(routes!(ports::show, ports::update, ports::delete))
        .routes(routes!(floating::list, floating::create))
        .routes(routes!(floating::show, floating::update, floating::delete))
        .routes(routes!(plain::versions))
        .routes(routes!(plain::version))
        .routes(routes!(plain::extensions))
        .routes(routes!(plain::extension))
        .routes(routes!(plain::groups, plain::add_group))
        .routes(routes!(plain::group))
        .routes(routes!(plain::rules, plain::add_rule))
        .routes(routes!(plain::pools, plain::add_pool))
}

/// A UUID in a path; whatever is none names nothing.
fn uuid(what: &'static str, text: &str) -> Result<Uuid, Fault> {
    let uuid = text.parse().ok().filter(|_| text.len() == 36);
    uuid.ok_or_else(|| Fault::not_found(what, text))
}

/// A moment as Neutron writes it.
fn moment(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
