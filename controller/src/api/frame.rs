//! What happens to every request, whatever its route.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::fault::chain;
use super::principal::RequestId;
use crate::cloud::{self, Cloud};
use crate::db::audit::{self, Actor, Deed};
use crate::metrics::RequestLabels;

/// Names by which clients look for a request's number.
const NUMBER_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("x-openstack-request-id"),
    HeaderName::from_static("x-compute-request-id"),
];

/// A path means the same with a slash at its end: clients write both.
pub async fn without_slash(mut request: Request) -> Request {
    let uri = request.uri();
    let path = uri.path();
    let Some(short) = path.strip_suffix('/').filter(|short| !short.is_empty()) else {
        return request;
    };
    let short = match uri.query() {
        Some(query) => format!("{short}?{query}"),
        None => short.to_owned(),
    };
    if let Ok(short) = short.parse() {
        *request.uri_mut() = short;
    }
    request
}

/// Gives a request its number.
pub async fn number(mut request: Request, next: Next) -> Response {
    let id = format!("req-{}", Uuid::now_v7());
    let shown = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    if let Ok(shown) = shown {
        for name in NUMBER_HEADERS {
            response.headers_mut().insert(name, shown.clone());
        }
    }
    response
}

/// Where a route's extractor leaves who asked, for [`watch`].
#[derive(Debug, Clone, Default)]
pub struct Seat(pub Arc<OnceLock<Actor>>);

/// Counts a request, logs it, and records a change that somebody known was refused. (One that is done is recorded by what
/// does it, in its transaction.)
pub async fn watch(State(cloud): State<Cloud>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str).to_owned();
    let path = request.uri().path().to_owned();
    let seat = Seat::default();
    request.extensions_mut().insert(seat.clone());
    let response = next.run(request).await;
    let (took, status) = (begun.elapsed(), response.status());
    let is_change = !method.is_safe();
    let labels = RequestLabels {
        method: counted(&method).to_owned(),
        route: route.clone(),
        status: status.as_u16(),
    };
    cloud.metrics.requests.get_or_create(&labels).inc();
    cloud.metrics.request_seconds.observe(took.as_secs_f64());
    let actor = seat.0.get();
    let user = actor.map_or("", |actor| &actor.name);
    let number = actor.map_or("", |actor| &actor.request_id);
    let (status_code, duration_ms) = (status.as_u16(), took.as_secs_f64() * 1000.0);
    if is_change {
        tracing::info!(%method, path, status = status_code, duration_ms, user, request.id = number, "answered");
    } else {
        tracing::debug!(%method, path, status = status_code, duration_ms, user, request.id = number, "answered");
    }
    let is_refused = status.is_client_error() || status.is_server_error();
    // That there are too many of something is counted, not multiplied.
    if let Some(actor) = actor
        && is_change
        && is_refused
        && status != StatusCode::TOO_MANY_REQUESTS
    {
        let action = format!("{method} {route}");
        let deed = Deed {
            action: &action,
            kind: "request",
            target: None,
            result: status_code,
            detail: json!({ "path": path }),
        };
        let recorded = audit::record(cloud.db.reader(), actor, deed, cloud::now()).await;
        if let Err(error) = recorded {
            tracing::error!(error = %chain(&error), request.id = number, "a refusal is not recorded");
        }
    }
    response
}

/// A method as it is counted: clients may make up others.
fn counted(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
