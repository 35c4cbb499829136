//! The API: every route on one screen, a file for each resource below.
//!
//! A request's trip: it gets a number; the face's version is chosen; a route asks for a [`principal::Principal`], which the
//! token stands for; it reads, or runs one transaction, and answers. Faults are written by the face ([`fault::render`]).

pub mod body;
pub mod compute;
pub mod document;
pub mod fault;
pub mod frame;
pub mod health;
pub mod identity;
pub mod image;
pub mod intake;
pub mod network;
pub mod paging;
pub mod principal;
pub mod rate;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use tokio::net::TcpListener;
use utoipa_axum::router::OpenApiRouter;

use crate::cloud::Cloud;
use crate::service::Stop;
use fault::{Face, Fault};

/// All routes.
pub fn router(cloud: Cloud) -> Router {
    let mut router = OpenApiRouter::new();
    for (prefix, face, routes) in faces() {
        let routes = framed(&cloud, face, routes);
        router = match prefix {
            "" => router.merge(routes),
            prefix => router.nest(prefix, routes),
        };
    }
    let router = router
        .layer(DefaultBodyLimit::max(body::MOST))
        .layer(from_fn_with_state(cloud.clone(), frame::watch))
        .layer(from_fn(frame::number));
    let (router, _document) = router.split_for_parts();
    // Around the router, since a path is changed before its route is looked for.
    Router::new()
        .fallback_service(router.with_state(cloud))
        .layer(map_request(frame::without_slash))
}

/// Each face, and where it is.
fn faces() -> [(&'static str, Face, OpenApiRouter<Cloud>); 5] {
    [
        ("/identity", Face::Identity, identity::routes()),
        ("/compute", Face::Compute, compute::routes()),
        ("/network", Face::Network, network::routes()),
        ("/image", Face::Image, image::routes()),
        (
            "",
            Face::Plain,
            health::routes()
                .merge(document::routes())
                .merge(intake::routes()),
        ),
    ]
}

/// A face: unknown paths and wrong methods are refused in its words, as everything is.
fn framed(cloud: &Cloud, face: Face, routes: OpenApiRouter<Cloud>) -> OpenApiRouter<Cloud> {
    let mut routes = routes.fallback(async || Fault::NoPath);
    if face == Face::Compute {
        routes = routes.layer(from_fn(compute::version::choose));
    }
    routes.layer(from_fn_with_state((cloud.clone(), face), fault::render))
}

/// Answers requests until `stop` is wanted, and those that have come until then.
pub async fn serve(listener: TcpListener, router: Router, stop: Stop) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served =
        axum::serve(listener, service).with_graceful_shutdown(async move { stop.wanted().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the API cannot be served");
    }
}
