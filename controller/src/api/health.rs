//! Whether the program lives, whether it is ready, and its figures.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fault::chain;
use crate::cloud::Cloud;

/// `/livez` and `/readyz`, for load balancers.
pub(super) fn routes() -> OpenApiRouter<Cloud> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
}

/// These and `/metrics`, at the address that is for operators.
pub fn router(cloud: Cloud) -> Router {
    let (router, _document) = routes().split_for_parts();
    router.route("/metrics", get(metrics)).with_state(cloud)
}

/// The program lives.
#[utoipa::path(get, path = "/livez", tag = "health",  security(()), responses((status = 200, body = String, content_type = "text/plain")))]
async fn live() -> &'static str {
    "ok\n"
}

/// The database answers, and its tables are this program's.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, body = String, content_type = "text/plain"),
    (status = 503, body = String, content_type = "text/plain"),
))]
async fn ready(State(cloud): State<Cloud>) -> impl IntoResponse {
    match cloud.db.check().await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "not ready");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database is not ready\n",
            )
        }
    }
}

async fn metrics(State(cloud): State<Cloud>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], cloud.metrics.encode())
}
