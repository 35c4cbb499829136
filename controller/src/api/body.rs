//! Reading requests: bodies, queries and parts of paths, whose faults are ours.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// Bytes of a request's body, at most.
pub const MOST: usize = 256 * 1024;

/// A body of JSON, in a request (400 and 415 where it is none) and in a reply (200).
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind.map_or("application/json", |kind| kind.to_str().unwrap_or_default());
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Fault::MediaType);
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| {
            if let BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) =
                rejection
            {
                return Fault::TooLarge { most: MOST };
            }
            Fault::bad("the request was cut off")
        })?;
        let value = serde_json::from_slice(&bytes);
        value
            .map(Self)
            .map_err(|error| Fault::bad(format!("the request's body: {error}")))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => ([(CONTENT_TYPE, "application/json")], bytes).into_response(),
            Err(error) => Fault::internal(error).into_response(),
        }
    }
}

/// A query, in whose stead nonsense is 400.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| Fault::bad(format!("the query: {}", error.body_text())))
    }
}

/// The query as pairs, in order: for words that may come several times (`fields=id&fields=name`).
#[derive(Debug, Clone, Default)]
pub struct Pairs(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Pairs {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        Ok(Self(pairs.into_owned().collect()))
    }
}

impl Pairs {
    /// The last that a word says.
    #[must_use]
    pub fn last(&self, word: &str) -> Option<&str> {
        let mut said = self.0.iter().rev();
        said.find(|(key, _)| key == word)
            .map(|(_, value)| value.as_str())
    }

    /// All that a word says.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        let said = self.0.iter().filter(move |(key, _)| key == word);
        said.map(|(_, value)| value.as_str())
    }
}

/// A part of a path; where it cannot be read there is no such path.
#[derive(Debug, Clone)]
pub struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|_| Fault::NoPath)
    }
}

/// A reply of a status and a body.
#[must_use]
pub fn reply(status: StatusCode, body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    if response.status() == StatusCode::OK {
        *response.status_mut() = status;
    }
    response
}
