//! Availability zones: one. Which clusters there are is nobody's business but the operator's.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::body::Json;
use crate::api::fault::Fault;
use crate::api::principal::Principal;

/// The zone's name.
pub const ZONE: &str = "nova";

/// Whether servers can be made there.
#[derive(Debug, Serialize, ToSchema)]
pub struct ZoneState {
    available: bool,
}

/// What is known of a service on a host: none is.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostService {}

/// A zone.
#[derive(Debug, Serialize, ToSchema)]
pub struct Zone {
    #[serde(rename = "zoneName")]
    name: &'static str,
    #[serde(rename = "zoneState")]
    state: ZoneState,
    hosts: Option<BTreeMap<String, BTreeMap<String, HostService>>>,
}

/// All.
#[derive(Debug, Serialize, ToSchema)]
pub struct Zones {
    #[serde(rename = "availabilityZoneInfo")]
    zones: Vec<Zone>,
}

fn zones(hosts: Option<BTreeMap<String, BTreeMap<String, HostService>>>) -> Json<Zones> {
    let state = ZoneState { available: true };
    let zone = Zone {
        name: ZONE,
        state,
        hosts,
    };
    Json(Zones { zones: vec![zone] })
}

/// The zones.
#[utoipa::path(get, path = "/v2.1/os-availability-zone", tag = "compute", responses((status = 200, body = Zones)))]
pub(super) async fn list(_principal: Principal) -> Json<Zones> {
    zones(None)
}

/// The zones, for administrators.
#[utoipa::path(get, path = "/v2.1/os-availability-zone/detail", tag = "compute", responses((status = 200, body = Zones)))]
pub(super) async fn detail(principal: Principal) -> Result<Json<Zones>, Fault> {
    principal.administers()?;
    Ok(zones(Some(BTreeMap::new())))
}
