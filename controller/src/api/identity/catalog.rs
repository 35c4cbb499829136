//! Where each service is.

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Api;

/// A service.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Service {
    /// Its public name.
    id: &'static str,
    /// What clients look for.
    r#type: &'static str,
    /// What it is called.
    name: &'static str,
    /// Where it is.
    endpoints: Vec<Endpoint>,
}

/// A place of a service.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Endpoint {
    id: String,
    interface: &'static str,
    region: String,
    region_id: String,
    url: String,
}

/// Type, name and path of each; where the path has no version, clients discover it or add it themselves.
const SERVICES: [(&str, &str, &str); 4] = [
    ("identity", "keystone", "/identity"),
    ("compute", "nova", "/compute/v2.1"),
    ("image", "glance", "/image"),
    ("network", "neutron", "/network"),
];

/// The catalog.
#[must_use]
pub fn of(api: &Api) -> Vec<Service> {
    let service = |(kind, name, path)| Service {
        id: kind,
        r#type: kind,
        name,
        endpoints: vec![Endpoint {
            id: format!("{kind}-public"),
            interface: "public",
            region: api.region.clone(),
            region_id: api.region.clone(),
            url: format!("{}{path}", api.public_url),
        }],
    };
    SERVICES.into_iter().map(service).collect()
}
