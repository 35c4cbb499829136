//! Versions, extensions, and what there is only one of, or none.

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::listed::{Kind, fields, page};
use super::uuid;
use crate::api::body::{Json, Pairs, Path};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;

const GROUPS: Kind = Kind {
    plural: "security_groups",
    keys: &[
        "id",
        "name",
        "tenant_id",
        "project_id",
        "description",
        "shared",
    ],
};
const RULES: Kind = Kind {
    plural: "security_group_rules",
    keys: &[
        "id",
        "security_group_id",
        "direction",
        "ethertype",
        "protocol",
        "tenant_id",
        "project_id",
        "port_range_min",
        "port_range_max",
        "remote_ip_prefix",
        "remote_group_id",
    ],
};
const POOLS: Kind = Kind {
    plural: "subnetpools",
    keys: &[
        "id",
        "name",
        "tenant_id",
        "project_id",
        "shared",
        "is_default",
        "ip_version",
    ],
};

/// Alias, name and description of what is beyond networks, subnets and ports.
const EXTENSIONS: [(&str, &str, &str); 8] = [
    (
        "external-net",
        "Neutron external network",
        "Networks that floating addresses come from.",
    ),
    (
        "net-mtu",
        "Network MTU",
        "What guests are told of their networks' MTU.",
    ),
    (
        "net-mtu-writable",
        "Network MTU (writable)",
        "It can be chosen.",
    ),
    ("pagination", "Pagination support", "Lists come in pages."),
    (
        "project-id",
        "project_id field enabled",
        "project_id stands beside tenant_id.",
    ),
    (
        "provider",
        "Provider Network",
        "Where administrators put networks.",
    ),
    (
        "security-group",
        "security-group",
        "The default security group.",
    ),
    (
        "sorting",
        "Sorting support",
        "Lists come in the order that is asked for.",
    ),
];

/// The default security group of who asks: its number is its project's.
pub(super) const fn default_group(who: &Principal) -> Uuid {
    who.project_uuid
}

/// The versions there are.
#[utoipa::path(get, path = "/", tag = "network versions", responses((status = 200, body = Value)), security(()))]
pub(super) async fn versions(State(cloud): State<Cloud>) -> Json<Value> {
    Json(json!({"versions": [written(&cloud)]}))
}

/// The version.
#[utoipa::path(get, path = "/v2.0", tag = "network versions", responses((status = 200, body = Value)), security(()))]
pub(super) async fn version(State(cloud): State<Cloud>) -> Json<Value> {
    Json(json!({"version": written(&cloud), "resources": []}))
}

fn written(cloud: &Cloud) -> Value {
    let base = &cloud.config.api.public_url;
    json!({
        "id": "v2.0",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": format!("{base}/network/v2.0/")}],
    })
}

fn extension_written((alias, name, description): (&str, &str, &str)) -> Value {
    json!({
        "alias": alias,
        "name": name,
        "description": description,
        "updated": "2012-01-01T00:00:00-00:00",
        "links": [],
    })
}

/// Lists extensions.
#[utoipa::path(get, path = "/v2.0/extensions", tag = "network versions", responses((status = 200, body = Value)))]
pub(super) async fn extensions(_: Principal, query: Pairs) -> Json<Value> {
    let all = EXTENSIONS
        .into_iter()
        .map(|each| fields(extension_written(each), &query));
    Json(json!({"extensions": all.collect::<Vec<_>>()}))
}

/// Shows an extension.
#[utoipa::path(get, path = "/v2.0/extensions/{alias}", tag = "network versions", params(("alias" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn extension(
    _: Principal,
    Path(alias): Path<String>,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let found = EXTENSIONS.into_iter().find(|(each, _, _)| *each == alias);
    let found = found.ok_or_else(|| Fault::not_found("extension", alias))?;
    Ok(Json(
        json!({"extension": fields(extension_written(found), &query)}),
    ))
}

fn group_written(who: &Principal) -> Value {
    let project = who.project_uuid.simple().to_string();
    json!({
        "id": default_group(who),
        "name": "default",
        "description": "Lets all pass",
        "tenant_id": project,
        "project_id": project,
        "security_group_rules": [],
        "shared": false,
        "stateful": true,
        "tags": [],
        "revision_number": 0,
    })
}

/// Lists the one security group.
#[utoipa::path(get, path = "/v2.0/security-groups", tag = "security groups", responses((status = 200, body = Value)))]
pub(super) async fn groups(
    State(cloud): State<Cloud>,
    who: Principal,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    Ok(Json(page(
        &cloud,
        GROUPS,
        vec![group_written(&who)],
        &query,
    )?))
}

/// Shows the one security group.
#[utoipa::path(get, path = "/v2.0/security-groups/{id}", tag = "security groups", params(("id" = String, Path)), responses((status = 200, body = Value)))]
pub(super) async fn group(
    who: Principal,
    Path(id): Path<String>,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    if uuid("security group", &id)? != default_group(&who) {
        return Err(Fault::not_found("security group", id));
    }
    Ok(Json(
        json!({"security_group": fields(group_written(&who), &query)}),
    ))
}

/// There is only the default security group.
#[utoipa::path(post, path = "/v2.0/security-groups", tag = "security groups", responses((status = 501)))]
pub(super) async fn add_group(_: Principal) -> Result<StatusCode, Fault> {
    Err(Fault::NotImplemented(String::from(
        "there is only the security group default, which lets all pass",
    )))
}

/// Lists rules: there are none.
#[utoipa::path(get, path = "/v2.0/security-group-rules", tag = "security groups", responses((status = 200, body = Value)))]
pub(super) async fn rules(
    State(cloud): State<Cloud>,
    _: Principal,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    Ok(Json(page(&cloud, RULES, Vec::new(), &query)?))
}

/// There are no rules.
#[utoipa::path(post, path = "/v2.0/security-group-rules", tag = "security groups", responses((status = 501)))]
pub(super) async fn add_rule(_: Principal) -> Result<StatusCode, Fault> {
    Err(Fault::NotImplemented(String::from(
        "the security group default has no rules: it lets all pass",
    )))
}

/// Lists subnet pools: there are none.
#[utoipa::path(get, path = "/v2.0/subnetpools", tag = "subnet pools", responses((status = 200, body = Value)))]
pub(super) async fn pools(
    State(cloud): State<Cloud>,
    _: Principal,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    Ok(Json(page(&cloud, POOLS, Vec::new(), &query)?))
}

/// There are no subnet pools.
#[utoipa::path(post, path = "/v2.0/subnetpools", tag = "subnet pools", responses((status = 501)))]
pub(super) async fn add_pool(_: Principal) -> Result<StatusCode, Fault> {
    Err(Fault::NotImplemented(String::from(
        "there are no subnet pools: a subnet names its cidr",
    )))
}
