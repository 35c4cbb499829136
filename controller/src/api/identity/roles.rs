//! Roles: three, which are what they are.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Empty, ListLinks, SelfLink};
use crate::api::body::{Json, Pairs, Path};
use crate::api::fault::Fault;
use crate::api::principal::{Caller, Role as Known};
use crate::cloud::Cloud;

/// A role.
#[derive(Debug, Serialize, ToSchema)]
pub struct Role {
    id: &'static str,
    name: &'static str,
    domain_id: Option<String>,
    description: &'static str,
    options: Empty,
    links: SelfLink,
}

/// All.
#[derive(Debug, Serialize, ToSchema)]
pub struct Roles {
    roles: Vec<Role>,
    links: ListLinks,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneRole {
    role: Role,
}

impl Role {
    fn of(cloud: &Cloud, role: Known) -> Self {
        let name = role.as_str();
        Self {
            id: name,
            name,
            domain_id: None,
            description: match role {
                Known::Admin => "Does everything",
                Known::Member => "Uses the project",
                Known::Reader => "Looks at the project",
            },
            options: Empty {},
            links: SelfLink::to(cloud, &format!("/roles/{name}")),
        }
    }
}

/// The roles.
#[utoipa::path(get, path = "/v3/roles", tag = "identity", params(("name" = Option<String>, Query)),
    responses((status = 200, body = Roles)))]
pub(super) async fn list(State(cloud): State<Cloud>, _caller: Caller, query: Pairs) -> Json<Roles> {
    let asked = query.last("name");
    let roles = Known::ALL.into_iter();
    let roles = roles.filter(|role| asked.is_none_or(|name| name == role.as_str()));
    Json(Roles {
        roles: roles.map(|role| Role::of(&cloud, role)).collect(),
        links: ListLinks::to(&cloud, "/roles"),
    })
}

/// A role.
#[utoipa::path(get, path = "/v3/roles/{role_id}", tag = "identity", params(("role_id" = String, Path)),
    responses((status = 200, body = OneRole)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    _caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<OneRole>, Fault> {
    let role = Known::parse(&id).ok_or_else(|| Fault::not_found("role", &id))?;
    let role = Role::of(&cloud, role);
    Ok(Json(OneRole { role }))
}
