//! Extensions: what of them is here. All are part of v2.1 since long; clients ask still.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::body::{Json, Path};
use crate::api::fault::Fault;
use crate::api::principal::Principal;

/// An extension.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ComputeExtension)]
pub struct Extension {
    name: &'static str,
    alias: &'static str,
    description: &'static str,
    namespace: &'static str,
    updated: &'static str,
    links: Vec<super::Link>,
}

/// All.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ComputeExtensions)]
pub struct Extensions {
    extensions: Vec<Extension>,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OneComputeExtension)]
pub struct OneExtension {
    extension: Extension,
}

/// Alias, name, and what it is for.
const ALL: [(&str, &str, &str); 9] = [
    ("flavors", "Flavors", "Sizes of servers"),
    ("limits", "Limits", "What a project may have"),
    (
        "os-attach-interfaces",
        "AttachInterfaces",
        "NICs of servers",
    ),
    (
        "os-availability-zone",
        "AvailabilityZone",
        "Availability zones",
    ),
    (
        "os-flavor-extra-specs",
        "FlavorExtraSpecs",
        "Properties of flavors",
    ),
    ("os-keypairs", "Keypairs", "Public keys"),
    ("os-quota-sets", "Quotas", "What projects may have"),
    ("server-metadata", "ServerMetadata", "Words on servers"),
    ("servers", "Servers", "Servers"),
];

fn all() -> impl Iterator<Item = Extension> {
    ALL.into_iter().map(|(alias, name, description)| Extension {
        name,
        alias,
        description,
        namespace: "http://docs.openstack.org/compute/ext/fake_xml",
        updated: "2014-12-03T00:00:00Z",
        links: Vec::new(),
    })
}

/// The extensions.
#[utoipa::path(get, path = "/v2.1/extensions", tag = "compute", responses((status = 200, body = Extensions)))]
pub(super) async fn list(_principal: Principal) -> Json<Extensions> {
    Json(Extensions {
        extensions: all().collect(),
    })
}

/// An extension.
#[utoipa::path(get, path = "/v2.1/extensions/{alias}", tag = "compute", params(("alias" = String, Path)),
    responses((status = 200, body = OneExtension)))]
pub(super) async fn show(
    _principal: Principal,
    Path(alias): Path<String>,
) -> Result<Json<OneExtension>, Fault> {
    let found = all().find(|extension| extension.alias == alias);
    let extension = found.ok_or_else(|| Fault::not_found("extension", alias))?;
    Ok(Json(OneExtension { extension }))
}
