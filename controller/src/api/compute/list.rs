//! Lists of servers: filters, order, pages.

use axum::extract::State;
use chrono::{DateTime, NaiveDateTime, Utc};
use regex::Regex;
use serde_json::{Value, json};
use uuid::Uuid;

use super::server::{Around, status};
use crate::api::body::{Json, Pairs};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::db::accounts;
use crate::db::entity::server;
use crate::db::servers::{self as read, Sort, Wanted};
use crate::servers::standing;

/// Servers in one answer, at most (`osapi_max_limit`).
const MOST: usize = 1000;
/// Rows that are read at once where not all that is asked for is asked of the database.
const PIECE: u64 = 500;

/// Lists servers: names and links.
#[utoipa::path(get, path = "/v2.1/servers", tag = "servers", responses((status = 200, body = Value)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    who: Principal,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let page = page(&cloud, &who, &query).await?;
    let around = Around::read(&cloud, &[]).await?;
    let servers = page.rows.iter().map(|row| Ok(around.brief(row)));
    page.written(&cloud, &query, "servers", servers)
}

/// Lists servers with all that is told of them.
#[utoipa::path(get, path = "/v2.1/servers/detail", tag = "servers", responses((status = 200, body = Value)))]
pub(super) async fn detail(
    State(cloud): State<Cloud>,
    who: Principal,
    query: Pairs,
) -> Result<Json<Value>, Fault> {
    let page = page(&cloud, &who, &query).await?;
    let around = Around::read(&cloud, &page.rows).await?;
    let servers = page.rows.iter().map(|row| around.whole(row, true));
    page.written(&cloud, &query, "servers/detail", servers)
}

struct Page {
    rows: Vec<server::Model>,
    is_full: bool,
}

impl Page {
    fn written(
        &self,
        cloud: &Cloud,
        query: &Pairs,
        path: &str,
        servers: impl Iterator<Item = Result<Value, Fault>>,
    ) -> Result<Json<Value>, Fault> {
        let servers: Vec<Value> = servers.collect::<Result<_, _>>()?;
        let mut body = json!({"servers": servers});
        let last = self.rows.last().filter(|_| self.is_full);
        if let (Some(last), Some(body)) = (last, body.as_object_mut()) {
            let mut next = form_urlencoded::Serializer::new(String::new());
            next.extend_pairs(query.0.iter().filter(|(word, _)| word != "marker"));
            next.append_pair("marker", &last.uuid.to_string());
            let base = &cloud.config.api.public_url;
            let href = format!("{base}/compute/v2.1/{path}?{}", next.finish());
            body.insert(
                String::from("servers_links"),
                json!([{"rel": "next", "href": href}]),
            );
        }
        Ok(Json(body))
    }
}

/// What is told by no column alone.
#[derive(Default)]
struct Filters {
    name: Option<Regex>,
    statuses: Vec<String>,
    v4: Option<Regex>,
    v6: Option<Regex>,
}

fn pattern(word: &str, query: &Pairs) -> Result<Option<Regex>, Fault> {
    let read = |text: &str| {
        Regex::new(text).map_err(|_| Fault::bad(format!("{word}: no regular expression: {text}")))
    };
    query.last(word).map(read).transpose()
}

fn is_yes(text: &str) -> Result<bool, Fault> {
    match &*text.to_lowercase() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(true),
        "0" | "f" | "false" | "off" | "n" | "no" | "" => Ok(false),
        _ => Err(Fault::bad(format!("{text:?} is neither true nor false"))),
    }
}

fn since(text: &str) -> Result<DateTime<Utc>, Fault> {
    let text = text.replace(' ', "+");
    let zoned = DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc());
    let plain =
        || NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").map(|at| at.and_utc());
    zoned
        .or_else(|_| plain())
        .map_err(|_| Fault::bad("Invalid changes-since value"))
}

async fn page(cloud: &Cloud, who: &Principal, query: &Pairs) -> Result<Page, Fault> {
    let db = cloud.db.reader();
    let limit = match query.last("limit") {
        None => MOST,
        Some(text) => {
            let limit: Result<usize, _> = text.parse();
            limit
                .map_err(|_| Fault::bad("limit must be a number that is not negative"))?
                .min(MOST)
        }
    };
    let all = query
        .last("all_tenants")
        .or_else(|| query.last("all_projects"));
    // `all_tenants` alone is a yes.
    let all = all.map(|text| text.is_empty() || is_yes(text).unwrap_or(false));
    if let Some(text) = query.last("all_tenants").filter(|text| !text.is_empty()) {
        is_yes(text)?;
    }
    let mut project = Some(who.project_id);
    if all == Some(true) {
        who.administers()?;
        project = None;
        let named = query.last("project_id").or_else(|| query.last("tenant_id"));
        if let Some(named) = named {
            let uuid: Result<Uuid, _> = named.parse();
            let found = match uuid {
                Ok(uuid) => accounts::project(db, uuid).await?,
                Err(_) => None,
            };
            project = Some(found.map_or(0, |project| project.id));
        }
    }
    let sort = match query.last("sort_key") {
        None | Some("created_at") => Sort::Created,
        Some("updated_at") => Sort::Updated,
        Some("display_name") => Sort::Name,
        Some("uuid") => Sort::Uuid,
        Some(key) => return Err(Fault::bad(format!("servers are not sorted by {key}"))),
    };
    let ascending = match query.last("sort_dir") {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(word) => return Err(Fault::bad(format!("sort_dir is asc or desc, not {word}"))),
    };
    let deleted = query
        .last("deleted")
        .map(is_yes)
        .transpose()?
        .unwrap_or(false);
    let reference = |word: &str| {
        query.last(word).map(|text| {
            // What is no UUID is nobody's.
            text.rsplit('/')
                .next()
                .unwrap_or_default()
                .parse()
                .unwrap_or_default()
        })
    };
    let wanted = Wanted {
        project,
        since: query.last("changes-since").map(since).transpose()?,
        deleted: deleted && who.is_admin(),
        flavor: reference("flavor"),
        image: reference("image"),
        sort,
        ascending,
    };
    let filters = Filters {
        name: pattern("name", query)?,
        statuses: query.all("status").map(str::to_uppercase).collect(),
        v4: pattern("ip", query)?,
        v6: pattern("ip6", query)?,
    };
    let mut after = match query.last("marker") {
        None => None,
        Some(text) => {
            let missing = || Fault::bad(format!("marker [{text}] not found"));
            let uuid = text.parse().map_err(|_| missing())?;
            Some(read::marker(db, project, uuid).await?.ok_or_else(missing)?)
        }
    };
    let by_id: Option<Uuid> = query
        .last("uuid")
        .map(|text| text.parse().unwrap_or_default());
    let is_plain = filters.name.is_none()
        && filters.statuses.is_empty()
        && filters.v4.is_none()
        && filters.v6.is_none()
        && by_id.is_none();
    let mut rows = Vec::new();
    while rows.len() < limit {
        let piece = if is_plain { limit as u64 } else { PIECE };
        let found = read::list(db, &wanted, after.as_ref(), piece).await?;
        let is_last = (found.len() as u64) < piece;
        after = found.last().cloned();
        let around = match filters.v4.is_some() || filters.v6.is_some() {
            true => Some(Around::read(cloud, &found).await?),
            false => None,
        };
        for row in found {
            let is_it = by_id.is_none_or(|uuid| row.uuid == uuid);
            if rows.len() < limit && is_it && passes(&filters, &row, around.as_ref())? {
                rows.push(row);
            }
        }
        if is_last || is_plain {
            break;
        }
    }
    let is_full = limit > 0 && rows.len() == limit;
    Ok(Page { rows, is_full })
}

fn passes(filters: &Filters, row: &server::Model, around: Option<&Around>) -> Result<bool, Fault> {
    if filters
        .name
        .as_ref()
        .is_some_and(|name| !name.is_match(&row.name))
    {
        return Ok(false);
    }
    if !filters.statuses.is_empty() {
        let standing = standing(row).map_err(Fault::internal)?;
        if !filters.statuses.iter().any(|word| word == status(standing)) {
            return Ok(false);
        }
    }
    let Some(around) = around else {
        return Ok(true);
    };
    let has = |pattern: &Option<Regex>, v6| {
        let pattern = pattern.as_ref();
        pattern.is_none_or(|regex| around.has_address(row, v6, |text| regex.is_match(text)))
    };
    Ok(has(&filters.v4, false) && has(&filters.v6, true))
}
