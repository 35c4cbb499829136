//! Compute's versions: what there is, and what a request asks for.

use axum::extract::{Request, State};
use axum::http::header::VARY;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Link, place};
use crate::api::body::Json;
use crate::api::fault::Fault;
use crate::cloud::Cloud;

/// The only microversion. Each later one promises something that must be kept.
const ONLY: &str = "2.1";

const GENERAL: HeaderName = HeaderName::from_static("openstack-api-version");
const NOVA: HeaderName = HeaderName::from_static("x-openstack-nova-api-version");

/// A form of replies.
#[derive(Debug, Serialize, ToSchema)]
pub struct MediaType {
    base: &'static str,
    r#type: &'static str,
}

/// A version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    id: &'static str,
    status: &'static str,
    version: &'static str,
    min_version: &'static str,
    updated: &'static str,
    links: Vec<Link>,
    /// Only where it is asked for alone.
    #[serde(rename = "media-types", skip_serializing_if = "Option::is_none")]
    media_types: Option<Vec<MediaType>>,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneVersion {
    version: Version,
}

/// All.
#[derive(Debug, Serialize, ToSchema)]
pub struct Versions {
    versions: Vec<Version>,
}

fn only(cloud: &Cloud) -> Version {
    Version {
        id: "v2.1",
        status: "CURRENT",
        version: ONLY,
        min_version: ONLY,
        updated: "2013-07-23T11:33:21Z",
        links: vec![Link {
            rel: "self",
            href: format!("{}/", place(cloud)),
        }],
        media_types: None,
    }
}

/// The versions of Compute.
#[utoipa::path(get, path = "/", tag = "compute", responses((status = 200, body = Versions)), security(()))]
pub(super) async fn versions(State(cloud): State<Cloud>) -> Json<Versions> {
    let versions = vec![only(&cloud)];
    Json(Versions { versions })
}

/// Compute v2.1.
#[utoipa::path(get, path = "/v2.1", tag = "compute", responses((status = 200, body = OneVersion)), security(()))]
pub(super) async fn version(State(cloud): State<Cloud>) -> Json<OneVersion> {
    let mut version = only(&cloud);
    version.media_types = Some(vec![MediaType {
        base: "application/json",
        r#type: "application/vnd.openstack.compute+json;version=2.1",
    }]);
    Json(OneVersion { version })
}

/// The version that is asked for, as text: `OpenStack-API-Version: compute 2.1` (of several services, ours counts), or the
/// older header of Nova's own.
fn asked(headers: &HeaderMap) -> Option<&str> {
    let general = headers.get_all(&GENERAL).iter();
    let general = general.filter_map(|line| line.to_str().ok());
    let mut services = general.flat_map(|line| line.split(','));
    let ours = services.find_map(|each| {
        let (service, version) = each.trim().split_once(' ')?;
        service
            .eq_ignore_ascii_case("compute")
            .then(|| version.trim())
    });
    ours.or_else(|| headers.get(&NOVA)?.to_str().ok())
}

/// Whether a version is what we have; a later or an earlier one is told from nonsense.
fn check(version: &str) -> Result<(), Fault> {
    if version == ONLY || version.eq_ignore_ascii_case("latest") {
        return Ok(());
    }
    let number = |text: &str| {
        let is_number = text == "0" || !text.starts_with(['0', '+']);
        is_number.then(|| text.parse::<u32>().ok()).flatten()
    };
    let parsed = version.split_once('.');
    match parsed.and_then(|(major, minor)| Some((number(major)?, number(minor)?))) {
        Some(_) => Err(Fault::NotAcceptable(format!(
            "version {version} is not supported by the API: minimum is {ONLY} and maximum is {ONLY}"
        ))),
        None => Err(Fault::bad(format!(
            "API version string {version} is of invalid format: must be of format MajorNum.MinorNum"
        ))),
    }
}

/// Chooses the version, and tells which it was.
pub(in crate::api) async fn choose(request: Request, next: Next) -> Response {
    let checked = asked(request.headers()).map_or(Ok(()), check);
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(GENERAL, HeaderValue::from_static("compute 2.1"));
    headers.insert(NOVA, HeaderValue::from_static(ONLY));
    let vary = HeaderValue::from_static("OpenStack-API-Version, X-OpenStack-Nova-API-Version");
    headers.insert(VARY, vary);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_is_taken_and_others_are_refused() {
        for version in ["2.1", "latest", "LATEST"] {
            check(version).unwrap();
        }
        for version in ["2.0", "2.2", "2.96", "3.0", "1.1"] {
            assert!(
                matches!(check(version), Err(Fault::NotAcceptable(_))),
                "{version}"
            );
        }
        for version in [
            "",
            "2",
            "2.",
            "2.01",
            "2.+1",
            "two",
            "2.1.1",
            "-2.1",
            "2.1000000000000",
        ] {
            assert!(
                matches!(check(version), Err(Fault::BadRequest(_))),
                "{version}"
            );
        }
    }

    #[test]
    fn a_header_may_name_several_services() {
        let mut headers = HeaderMap::new();
        assert_eq!(asked(&headers), None);
        headers.insert(NOVA, HeaderValue::from_static("2.2"));
        assert_eq!(asked(&headers), Some("2.2"));
        headers.insert(GENERAL, HeaderValue::from_static("volume 3.1, compute 2.3"));
        assert_eq!(asked(&headers), Some("2.3"));
        headers.insert(GENERAL, HeaderValue::from_static("volume 3.1"));
        assert_eq!(asked(&headers), Some("2.2"));
    }
}
