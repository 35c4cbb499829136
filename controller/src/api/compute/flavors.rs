//! Flavors, to look at.

use std::cmp::Ordering;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Link, links, place};
use crate::api::body::{Json, Pairs, Path};
use crate::api::fault::Fault;
use crate::api::paging::{self, Page};
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::entity::flavor::Model;
use crate::db::flavors;

/// A flavor in short.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlavorName)]
pub struct Named {
    id: String,
    name: String,
    links: Vec<Link>,
}

/// A flavor.
#[derive(Debug, Serialize, ToSchema)]
pub struct Flavor {
    id: String,
    name: String,
    /// MiB.
    ram: i32,
    /// GiB.
    disk: i32,
    vcpus: i32,
    /// None: Nova's word for it.
    swap: String,
    #[serde(rename = "OS-FLV-EXT-DATA:ephemeral")]
    ephemeral: i32,
    #[serde(rename = "OS-FLV-DISABLED:disabled")]
    disabled: bool,
    #[serde(rename = "os-flavor-access:is_public")]
    is_public: bool,
    rxtx_factor: f64,
    links: Vec<Link>,
}

/// Several in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlavorNames {
    flavors: Vec<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flavors_links: Option<Vec<Link>>,
}

/// Several.
#[derive(Debug, Serialize, ToSchema)]
pub struct Flavors {
    flavors: Vec<Flavor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flavors_links: Option<Vec<Link>>,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneFlavor {
    flavor: Flavor,
}

impl Flavor {
    fn of(cloud: &Cloud, row: &Model) -> Self {
        Self {
            id: row.uuid.to_string(),
            name: row.name.clone(),
            ram: row.ram,
            disk: row.disk,
            vcpus: row.vcpus,
            swap: String::new(),
            ephemeral: 0,
            disabled: false,
            is_public: row.is_public,
            rxtx_factor: 1.0,
            links: links(cloud, &format!("/flavors/{}", row.uuid)),
        }
    }
}

/// Which flavors are asked for.
#[derive(Debug)]
struct Wanted {
    /// `None`: whichever.
    is_public: Option<bool>,
    ram: i32,
    disk: i32,
}

fn number(query: &Pairs, word: &'static str) -> Result<i32, Fault> {
    let Some(text) = query.last(word) else {
        return Ok(0);
    };
    let number: Result<i32, _> = text.parse();
    let number = number.ok().filter(|number| *number >= 0);
    number.ok_or_else(|| Fault::bad(format!("{word} is a number, 0 or more")))
}

impl Wanted {
    /// Others than administrators see public ones, whatever they ask for.
    fn of(query: &Pairs, principal: &Principal) -> Result<Self, Fault> {
        let is_public = match query.last("is_public") {
            None => Some(true),
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "none" => None,
                "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
                "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
                _ => return Err(Fault::bad(format!("invalid is_public filter [{text}]"))),
            },
        };
        Ok(Self {
            is_public: if principal.is_admin() {
                is_public
            } else {
                Some(true)
            },
            ram: number(query, "minRam")?,
            disk: number(query, "minDisk")?,
        })
    }

    fn fits(&self, row: &Model) -> bool {
        self.is_public
            .is_none_or(|is_public| row.is_public == is_public)
            && row.ram >= self.ram
            && row.disk >= self.disk
    }
}

/// How a list is sorted (`nova/api/openstack/common.py`, `get_sort_params`).
fn sort(rows: &mut [Model], query: &Pairs) -> Result<(), Fault> {
    let compare: fn(&Model, &Model) -> Ordering = match query.last("sort_key") {
        None | Some("flavorid" | "id" | "created_at") => |a, b| a.id.cmp(&b.id),
        Some("name") => |a, b| a.name.cmp(&b.name),
        Some("memory_mb") => |a, b| a.ram.cmp(&b.ram),
        Some("vcpus") => |a, b| a.vcpus.cmp(&b.vcpus),
        Some("root_gb") => |a, b| a.disk.cmp(&b.disk),
        Some("is_public") => |a, b| a.is_public.cmp(&b.is_public),
        Some(
            "ephemeral_gb" | "swap" | "rxtx_factor" | "disabled" | "updated_at" | "vcpu_weight",
        ) => |_, _| Ordering::Equal,
        Some(other) => return Err(Fault::bad(format!("invalid sort_key {other}"))),
    };
    let is_falling = match query.last("sort_dir") {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(other) => return Err(Fault::bad(format!("invalid sort_dir {other}"))),
    };
    rows.sort_by(|a, b| {
        let order = compare(a, b);
        if is_falling { order.reverse() } else { order }
    });
    Ok(())
}

/// The page that is asked for, and where the next is.
async fn page(
    cloud: &Cloud,
    principal: &Principal,
    query: &Pairs,
    path: &str,
) -> Result<(Vec<Model>, Option<Vec<Link>>), Fault> {
    let wanted = Wanted::of(query, principal)?;
    let page = Page::of(query)?;
    let mut rows = flavors::all(cloud.db.reader()).await?;
    rows.retain(|row| wanted.fits(row));
    sort(&mut rows, query)?;
    let (rows, has_more) = page.cut(rows, |row| row.uuid.to_string())?;
    let next = rows.last().filter(|_| has_more).map(|last| {
        let query = paging::next(query, &last.uuid.to_string());
        let href = format!("{}{path}?{query}", place(cloud));
        vec![Link { rel: "next", href }]
    });
    Ok((rows, next))
}

/// Flavors in short.
#[utoipa::path(get, path = "/v2.1/flavors", tag = "compute",
    params(("is_public" = Option<String>, Query), ("minRam" = Option<u32>, Query), ("minDisk" = Option<u32>, Query),
        ("sort_key" = Option<String>, Query), ("sort_dir" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("marker" = Option<String>, Query)),
    responses((status = 200, body = FlavorNames)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    principal: Principal,
    query: Pairs,
) -> Result<Json<FlavorNames>, Fault> {
    let (rows, flavors_links) = page(&cloud, &principal, &query, "/flavors").await?;
    let named = rows.iter().map(|row| Named {
        id: row.uuid.to_string(),
        name: row.name.clone(),
        links: links(&cloud, &format!("/flavors/{}", row.uuid)),
    });
    Ok(Json(FlavorNames {
        flavors: named.collect(),
        flavors_links,
    }))
}

/// Flavors.
#[utoipa::path(get, path = "/v2.1/flavors/detail", tag = "compute",
    params(("is_public" = Option<String>, Query), ("minRam" = Option<u32>, Query), ("minDisk" = Option<u32>, Query),
        ("sort_key" = Option<String>, Query), ("sort_dir" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("marker" = Option<String>, Query)),
    responses((status = 200, body = Flavors)))]
pub(super) async fn detail(
    State(cloud): State<Cloud>,
    principal: Principal,
    query: Pairs,
) -> Result<Json<Flavors>, Fault> {
    let (rows, flavors_links) = page(&cloud, &principal, &query, "/flavors/detail").await?;
    Ok(Json(Flavors {
        flavors: rows.iter().map(|row| Flavor::of(&cloud, row)).collect(),
        flavors_links,
    }))
}

/// The flavor a path names. A deleted one is shown: servers have it still.
async fn named(cloud: &Cloud, principal: &Principal, id: &str) -> Result<Model, Fault> {
    let unknown = || Fault::not_found("flavor", id);
    let uuid = Uuid::try_parse(id).map_err(|_| unknown())?;
    let row = flavors::find(cloud.db.reader(), uuid).await?;
    let row = row.filter(|row| row.is_public || principal.is_admin());
    row.ok_or_else(unknown)
}

/// A flavor.
#[utoipa::path(get, path = "/v2.1/flavors/{flavor_id}", tag = "compute", params(("flavor_id" = String, Path)),
    responses((status = 200, body = OneFlavor)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<OneFlavor>, Fault> {
    let row = named(&cloud, &principal, &id).await?;
    let flavor = Flavor::of(&cloud, &row);
    Ok(Json(OneFlavor { flavor }))
}

/// What a flavor asks for besides: nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExtraSpecs {
    extra_specs: std::collections::BTreeMap<String, String>,
}

/// A flavor's further properties, of which there are none.
#[utoipa::path(get, path = "/v2.1/flavors/{flavor_id}/os-extra_specs", tag = "compute",
    params(("flavor_id" = String, Path)), responses((status = 200, body = ExtraSpecs)))]
pub(super) async fn specs(
    State(cloud): State<Cloud>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<ExtraSpecs>, Fault> {
    named(&cloud, &principal, &id).await?;
    let extra_specs = std::collections::BTreeMap::new();
    Ok(Json(ExtraSpecs { extra_specs }))
}

/// One of them.
#[utoipa::path(get, path = "/v2.1/flavors/{flavor_id}/os-extra_specs/{key}", tag = "compute",
    params(("flavor_id" = String, Path), ("key" = String, Path)), responses((status = 404)))]
pub(super) async fn spec(
    State(cloud): State<Cloud>,
    principal: Principal,
    Path((id, key)): Path<(String, String)>,
) -> Result<Json<ExtraSpecs>, Fault> {
    named(&cloud, &principal, &id).await?;
    Err(Fault::not_found("extra spec", key))
}
