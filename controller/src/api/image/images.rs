//! Images, to look at.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::filter;
use crate::api::body::{Json, Pairs, Path};
use crate::api::fault::Fault;
use crate::api::paging::{self, Page};
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::images::{self, Owned};

/// What is around an image's disk.
pub(super) const CONTAINER_FORMAT: &str = "bare";
/// What an image's disk is: Ganeti's OS definitions write it themselves.
pub(super) const DISK_FORMAT: &str = "raw";

/// An image.
#[derive(Debug, Serialize, ToSchema)]
pub struct Image {
    id: String,
    name: String,
    status: String,
    visibility: String,
    owner: Option<String>,
    /// MiB.
    min_ram: i32,
    /// GiB.
    min_disk: i32,
    size: Option<i64>,
    virtual_size: Option<i64>,
    container_format: &'static str,
    disk_format: &'static str,
    checksum: Option<String>,
    os_hash_algo: Option<String>,
    os_hash_value: Option<String>,
    os_hidden: bool,
    protected: bool,
    tags: Vec<String>,
    created_at: String,
    updated_at: String,
    #[serde(rename = "self")]
    this: String,
    file: String,
    schema: &'static str,
}

/// Several.
#[derive(Debug, Serialize, ToSchema)]
pub struct Images {
    images: Vec<Image>,
    first: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    schema: &'static str,
}

impl Image {
    fn of((row, owner): &Owned) -> Self {
        let moment =
            |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let this = format!("/v2/images/{}", row.uuid);
        Self {
            id: row.uuid.to_string(),
            name: row.name.clone(),
            status: row.status.clone(),
            visibility: row.visibility.clone(),
            owner: owner.map(|owner| owner.simple().to_string()),
            min_ram: row.min_ram,
            min_disk: row.min_disk,
            size: None,
            virtual_size: None,
            container_format: CONTAINER_FORMAT,
            disk_format: DISK_FORMAT,
            checksum: None,
            os_hash_algo: None,
            os_hash_value: None,
            os_hidden: false,
            protected: false,
            tags: Vec::new(),
            created_at: moment(row.created_at),
            updated_at: moment(row.updated_at),
            file: format!("{this}/file"),
            this,
            schema: "/v2/schemas/image",
        }
    }
}

/// Images: public ones and the project's own.
#[utoipa::path(get, path = "/v2/images", tag = "image",
    params(("id" = Option<String>, Query), ("name" = Option<String>, Query), ("status" = Option<String>, Query),
        ("visibility" = Option<String>, Query), ("owner" = Option<String>, Query),
        ("sort" = Option<String>, Query), ("sort_key" = Option<String>, Query), ("sort_dir" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("marker" = Option<String>, Query)),
    responses((status = 200, body = Images)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    principal: Principal,
    query: Pairs,
) -> Result<Json<Images>, Fault> {
    let page = Page::of(&query)?;
    let reader = cloud.db.reader();
    let mut rows = Vec::new();
    for row in images::seen(reader, principal.project_id, principal.is_admin()).await? {
        if filter::fits(&row, &query)? {
            rows.push(row);
        }
    }
    filter::sort(&mut rows, &query)?;
    let (rows, has_more) = page.cut(rows, |(row, _)| row.uuid.to_string())?;
    let next = rows.last().filter(|_| has_more);
    let next = next.map(|(row, _)| paging::next(&query, &row.uuid.to_string()));
    let place = "/v2/images";
    let first = paging::first(&query);
    Ok(Json(Images {
        images: rows.iter().map(Image::of).collect(),
        first: match first.is_empty() {
            true => String::from(place),
            false => format!("{place}?{first}"),
        },
        next: next.map(|query| format!("{place}?{query}")),
        schema: "/v2/schemas/images",
    }))
}

async fn named(cloud: &Cloud, principal: &Principal, id: &str) -> Result<Owned, Fault> {
    let unknown = || Fault::not_found("image", id);
    let uuid = Uuid::try_parse(id).map_err(|_| unknown())?;
    let reader = cloud.db.reader();
    let found = images::find(reader, uuid, principal.project_id, principal.is_admin()).await?;
    found.ok_or_else(unknown)
}

/// An image.
#[utoipa::path(get, path = "/v2/images/{image_id}", tag = "image", params(("image_id" = String, Path)),
    responses((status = 200, body = Image)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<Image>, Fault> {
    let row = named(&cloud, &principal, &id).await?;
    Ok(Json(Image::of(&row)))
}

/// The projects an image is shared with: none is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Members {
    members: Vec<String>,
    schema: &'static str,
}

/// Whom an image is shared with.
#[utoipa::path(get, path = "/v2/images/{image_id}/members", tag = "image", params(("image_id" = String, Path)),
    responses((status = 200, body = Members)))]
pub(super) async fn members(
    State(cloud): State<Cloud>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<Members>, Fault> {
    named(&cloud, &principal, &id).await?;
    Ok(Json(Members {
        members: Vec::new(),
        schema: "/v2/schemas/members",
    }))
}

/// An image's bytes: Ganeti's nodes have them, not the API.
#[utoipa::path(get, path = "/v2/images/{image_id}/file", tag = "image", params(("image_id" = String, Path)),
    responses((status = 403)))]
pub(super) async fn file(
    State(cloud): State<Cloud>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<Members>, Fault> {
    named(&cloud, &principal, &id).await?;
    Err(Fault::Forbidden(String::from(
        "images are not given out: they are on the clusters' nodes",
    )))
}
