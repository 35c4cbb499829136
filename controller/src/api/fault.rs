//! What a request is refused with: an enum by meaning, written in the words of the face that was asked.
//!
//! A route returns [`Fault`]; [`render`], which each face is wrapped in, writes it down. So routes of several faces share
//! their commands, and a fault of axum's own (no such path, no such method) looks like ours.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::db::{Conflict, DbError};

/// Why a request is not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// What it says cannot be.
    #[error("{0}")]
    BadRequest(String),
    /// Nobody known asks.
    #[error("{0}")]
    Unauthorized(String),
    /// Who asks may not.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing, or not for who asks.
    #[error("the {what} {id} could not be found")]
    NotFound {
        /// The kind of thing in words: `server`, `floating IP`.
        what: &'static str,
        /// What it was called in the request.
        id: String,
    },
    /// There is no such path.
    #[error("the resource could not be found")]
    NoPath,
    /// The path has no such method.
    #[error("the method is not allowed for this resource")]
    NoMethod,
    /// There is no such version of the API.
    #[error("{0}")]
    NotAcceptable(String),
    /// It is not so now.
    #[error("{0}")]
    Conflict(String),
    /// It is in use, and cannot go.
    #[error("the {what} {id} is in use: {reason}")]
    InUse {
        /// The kind of thing in words.
        what: &'static str,
        /// Which.
        id: String,
        /// By what.
        reason: String,
    },
    /// The body is too long.
    #[error("the request is longer than {most} bytes")]
    TooLarge {
        /// What is taken.
        most: usize,
    },
    /// The body is of another type.
    #[error("the request's content type is not application/json")]
    MediaType,
    /// A quota is used up.
    #[error("{0}")]
    OverLimit(String),
    /// Too many requests.
    #[error("too many requests: try again in {seconds} s")]
    TooMany {
        /// When one more may come.
        seconds: u64,
    },
    /// It is not done here (yet).
    #[error("{0}")]
    NotImplemented(String),
    /// It cannot be done now, whoever asks.
    #[error("{0}")]
    Unavailable(String),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Arc<DbError>),
    /// We did.
    #[error("an internal error")]
    Internal(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Fault {
    /// There is no such thing.
    #[must_use]
    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        let id = id.to_string();
        Self::NotFound { what, id }
    }

    /// What the request says cannot be.
    #[must_use]
    pub fn bad(message: impl Into<String>) -> Self {
        Self::BadRequest(message.into())
    }

    /// We failed.
    #[must_use]
    pub fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Arc::new(error))
    }

    /// Nobody known asks; the same words whatever the reason.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::Unauthorized(String::from(
            "the request you have made requires authentication",
        ))
    }

    /// Its status, as this face counts.
    #[must_use]
    pub const fn status(&self, face: Face) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound { .. } | Self::NoPath => StatusCode::NOT_FOUND,
            Self::NoMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Conflict(_) | Self::InUse { .. } => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::OverLimit(_) => match face {
                Face::Network => StatusCode::CONFLICT,
                Face::Legacy => StatusCode::PAYLOAD_TOO_LARGE,
                Face::Identity | Face::Compute | Face::Image | Face::Plain => StatusCode::FORBIDDEN,
            },
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What it says to who asked: of our own insides nothing.
    fn message(&self) -> String {
        match self {
            Self::Database(_) => String::from("the service is unavailable: try again later"),
            Self::Internal(_) => String::from(
                "an unexpected error prevented the server from fulfilling your request",
            ),
            Self::BadRequest(_)
            | Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::NotFound { .. }
            | Self::NoPath
            | Self::NoMethod
            | Self::NotAcceptable(_)
            | Self::Conflict(_)
            | Self::InUse { .. }
            | Self::TooLarge { .. }
            | Self::MediaType
            | Self::OverLimit(_)
            | Self::TooMany { .. }
            | Self::NotImplemented(_)
            | Self::Unavailable(_) => {
                let text = self.to_string();
                let mut letters = text.chars();
                let first = letters.next().into_iter().flat_map(char::to_uppercase);
                first.chain(letters).collect()
            }
        }
    }

    /// Nova's word for it (`nova/api/openstack/wsgi.py`, `Fault._fault_names`).
    fn compute_word(&self, face: Face) -> &'static str {
        match self.status(face).as_u16() {
            400 => "badRequest",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "itemNotFound",
            405 => "badMethod",
            409 => "conflictingRequest",
            413 | 429 => "overLimit",
            415 => "badMediaType",
            501 => "notImplemented",
            503 => "serviceUnavailable",
            _ => "computeFault",
        }
    }

    /// Neutron's name of its exception (`neutron_lib/exceptions`).
    fn network_type(&self) -> String {
        match self {
            Self::BadRequest(_) => String::from("HTTPBadRequest"),
            Self::Unauthorized(_) => String::from("HTTPUnauthorized"),
            Self::Forbidden(_) => String::from("PolicyNotAuthorized"),
            Self::NotFound { what, .. } => format!("{}NotFound", camel(what)),
            Self::NoPath => String::from("HTTPNotFound"),
            Self::NoMethod => String::from("HTTPMethodNotAllowed"),
            Self::NotAcceptable(_) => String::from("HTTPNotAcceptable"),
            Self::Conflict(_) => String::from("Conflict"),
            Self::InUse { what, .. } => format!("{}InUse", camel(what)),
            Self::TooLarge { .. } => String::from("HTTPRequestEntityTooLarge"),
            Self::MediaType => String::from("HTTPUnsupportedMediaType"),
            Self::OverLimit(_) => String::from("OverQuota"),
            Self::TooMany { .. } => String::from("HTTPTooManyRequests"),
            Self::NotImplemented(_) => String::from("HTTPNotImplemented"),
            Self::Unavailable(_) | Self::Database(_) => String::from("ServiceUnavailable"),
            Self::Internal(_) => String::from("HTTPInternalServerError"),
        }
    }

    /// Its body, as this face writes it.
    #[must_use]
    pub fn body(&self, face: Face) -> Value {
        let status = self.status(face);
        let code = status.as_u16();
        let title = status.canonical_reason().unwrap_or_default();
        let message = self.message();
        match face {
            Face::Compute => {
                let mut inner = json!({ "code": code, "message": message });
                if let (Self::TooMany { seconds }, Some(inner)) = (self, inner.as_object_mut()) {
                    inner.insert(String::from("retryAfter"), json!(seconds.to_string()));
                }
                json!({ self.compute_word(face): inner })
            }
            Face::Legacy => {
                let inner = json!({ "code": code, "message": message, "details": "" });
                json!({ self.compute_word(face): inner })
            }
            Face::Network => json!({ "NeutronError": {
                "type": self.network_type(),
                "message": message,
                "detail": "",
            } }),
            Face::Image => json!({
                "code": format!("{code} {title}"),
                "title": title,
                "message": message,
            }),
            Face::Identity | Face::Plain => {
                json!({ "error": { "code": code, "title": title, "message": message } })
            }
        }
    }
}

/// `floating IP` → `FloatingIP`
fn camel(words: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        first.chain(letters).collect::<String>()
    };
    words.split(' ').map(capital).collect()
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl Conflict for Fault {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_conflict())
    }
}

/// Whose words are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// Identity v3.
    Identity,
    /// Compute v2.1.
    Compute,
    /// Network v2.0.
    Network,
    /// Image v2.
    Image,
    /// Compute v1.1, the original's.
    Legacy,
    /// What is beside them.
    Plain,
}

impl IntoResponse for Fault {
    /// Nothing but the fault: [`render`] writes it.
    fn into_response(self) -> Response {
        let mut response = self.status(Face::Plain).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes a face's faults, those of axum's own among them.
pub async fn render(
    State((cloud, face)): State<(Cloud, Face)>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let fault = match response.extensions_mut().remove::<Fault>() {
        Some(fault) => fault,
        None if response.status() == StatusCode::METHOD_NOT_ALLOWED => Fault::NoMethod,
        None => return response,
    };
    if let Fault::Database(_) | Fault::Internal(_) = fault {
        tracing::error!(error = %chain(&fault), "a request failed");
    }
    let status = fault.status(face);
    let body = fault.body(face).to_string();
    // Headers of what is between stay: `Allow`, the version that was chosen.
    let (mut head, _) = response.into_parts();
    head.status = status;
    head.headers.remove(CONTENT_LENGTH);
    let kind = HeaderValue::from_static("application/json");
    head.headers.insert(CONTENT_TYPE, kind);
    let mut written = Response::from_parts(head, Body::from(body));
    let headers = written.headers_mut();
    if let Fault::TooMany { seconds } = fault {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Fault::Unauthorized(_) = fault {
        let place = format!("Keystone uri=\"{}/identity\"", cloud.config.api.public_url);
        if let Ok(place) = HeaderValue::from_str(&place) {
            headers.insert(WWW_AUTHENTICATE, place);
        }
    }
    written
}

/// An error and its causes.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
