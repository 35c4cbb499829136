//! What happens to every request, whatever its route.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::principal::RequestId;

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
