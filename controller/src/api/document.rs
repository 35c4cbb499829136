//! The API's description (OpenAPI 3.1), out of the routes themselves; checked in as `controller/openapi.json`.

use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::faces;
use super::fault::Face;
use crate::cloud::Cloud;

/// The document's head.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Synnefo",
        description = "Identity v3, Compute v2.1, Network v2.0 and Image v2 over Ganeti clusters"
    ),
    components(schemas(IdentityFault, ComputeFault, NetworkFault, ImageFault))
)]
struct Head;

/// What is said of a fault.
#[derive(Debug, Serialize, ToSchema)]
pub struct Said {
    code: u16,
    message: String,
}

/// A fault in Identity's words, and in ours.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentityFault {
    error: TitledFault,
}

/// With the status' name.
#[derive(Debug, Serialize, ToSchema)]
pub struct TitledFault {
    code: u16,
    title: String,
    message: String,
}

/// A fault in Compute's words: the key is the kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComputeFault(std::collections::BTreeMap<String, Said>);

/// A fault in Network's words.
#[derive(Debug, Serialize, ToSchema)]
pub struct NetworkFault {
    #[serde(rename = "NeutronError")]
    fault: NeutronError,
}

/// The exception's name and what it says.
#[derive(Debug, Serialize, ToSchema)]
pub struct NeutronError {
    r#type: String,
    message: String,
    detail: String,
}

/// A fault in Image's words.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageFault {
    code: String,
    title: String,
    message: String,
}

const TOKEN: &str = "token";

fn fault_of(face: Face) -> &'static str {
    match face {
        Face::Identity | Face::Plain => "IdentityFault",
        Face::Compute | Face::Legacy => "ComputeFault",
        Face::Network => "NetworkFault",
        Face::Image => "ImageFault",
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ];
    all.into_iter().filter_map(Option::as_mut)
}

/// The document: what routes say, and what is the same for all: the token, and the face's faults.
#[must_use]
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut whole = OpenApiRouter::<Cloud>::with_openapi(Head::openapi());
        for (prefix, face, mut routes) in faces() {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(fault_of(face))));
            let refused = ResponseBuilder::new()
                .description("refused")
                .content("application/json", content.build())
                .build();
            let paths = &mut routes.get_openapi_mut().paths.paths;
            for operation in paths.values_mut().flat_map(operations) {
                let responses = &mut operation.responses.responses;
                responses.insert(String::from("default"), RefOr::T(refused.clone()));
            }
            whole = match prefix {
                "" => whole.merge(routes),
                prefix => whole.nest(prefix, routes),
            };
        }
        let mut written = whole.into_openapi();
        let key = ApiKey::Header(ApiKeyValue::new("X-Auth-Token"));
        let components = written.components.get_or_insert_default();
        components.add_security_scheme(TOKEN, SecurityScheme::ApiKey(key));
        let none: [&str; 0] = [];
        written.security = Some(vec![SecurityRequirement::new(TOKEN, none)]);
        serde_json::to_value(written).unwrap_or_else(|error| json!({ "error": error.to_string() }))
    })
}

/// `/openapi.json`
pub(super) fn routes() -> OpenApiRouter<Cloud> {
    OpenApiRouter::new().routes(routes!(show))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "document", responses((status = 200, body = Object)), security(()))]
async fn show() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document().to_string())
}
