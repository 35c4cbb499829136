//! Key pairs: public keys that users bring, or have made here. Private ones are told once and never kept.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::api::body::{Json, Pairs, Path};
use crate::api::fault::Fault;
use crate::api::paging::Page;
use crate::api::principal::Principal;
use crate::cloud::{self, Cloud};
use crate::db::audit::{self, Deed};
use crate::db::entity::key_pair::Model;
use crate::db::key_pairs::{self, NewKey};
use crate::ssh_key::{self, PublicKey};

/// A key in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedKey {
    name: String,
    public_key: String,
    fingerprint: String,
}

/// In an object of its own, as Nova writes them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedKeyPair {
    keypair: ListedKey,
}

/// Several.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyPairs {
    keypairs: Vec<ListedKeyPair>,
}

/// A key.
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    id: i64,
    user_id: String,
    name: String,
    public_key: String,
    fingerprint: String,
    created_at: String,
    updated_at: Option<String>,
    deleted: bool,
    deleted_at: Option<String>,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyPair {
    keypair: Key,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeKey {
    user_id: String,
    name: String,
    public_key: String,
    fingerprint: String,
    /// Told once, where the key was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
}

/// One.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeKeyPair {
    keypair: MadeKey,
}

/// One's keys.
#[utoipa::path(get, path = "/v2.1/os-keypairs", tag = "compute",
    params(("limit" = Option<u32>, Query), ("marker" = Option<String>, Query)),
    responses((status = 200, body = KeyPairs)))]
pub(super) async fn list(
    State(cloud): State<Cloud>,
    principal: Principal,
    query: Pairs,
) -> Result<Json<KeyPairs>, Fault> {
    let page = Page::of(&query)?;
    let rows = key_pairs::of_user(cloud.db.reader(), principal.user_id).await?;
    let (rows, _) = page.cut(rows, |row| row.name.clone())?;
    let listed = rows.into_iter().map(|row| ListedKeyPair {
        keypair: ListedKey {
            name: row.name,
            public_key: row.public_key,
            fingerprint: row.fingerprint,
        },
    });
    Ok(Json(KeyPairs {
        keypairs: listed.collect(),
    }))
}

async fn named(cloud: &Cloud, principal: &Principal, name: &str) -> Result<Model, Fault> {
    let row = key_pairs::named(cloud.db.reader(), principal.user_id, name).await?;
    row.ok_or_else(|| Fault::not_found("key pair", name))
}

/// One of one's keys.
#[utoipa::path(get, path = "/v2.1/os-keypairs/{name}", tag = "compute", params(("name" = String, Path)),
    responses((status = 200, body = KeyPair)))]
pub(super) async fn show(
    State(cloud): State<Cloud>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<KeyPair>, Fault> {
    let row = named(&cloud, &principal, &name).await?;
    let keypair = Key {
        id: row.id,
        user_id: principal.user_uuid.simple().to_string(),
        name: row.name,
        public_key: row.public_key,
        fingerprint: row.fingerprint,
        created_at: row.created_at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
        updated_at: None,
        deleted: false,
        deleted_at: None,
    };
    Ok(Json(KeyPair { keypair }))
}

/// A key to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewKeyPair)]
pub(super) struct Create {
    keypair: New,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewKeyPairFields)]
struct New {
    name: String,
    public_key: Option<String>,
}

fn check_name(name: &str) -> Result<(), Fault> {
    let is_fitting = |letter: char| letter.is_ascii_alphanumeric() || "_-.@ ".contains(letter);
    if name.is_empty() || name.len() > 255 {
        return Err(Fault::bad("a key pair's name has 1 to 255 characters"));
    }
    if name.trim() != name {
        return Err(Fault::bad(
            "a key pair's name neither begins nor ends with a space",
        ));
    }
    if !name.chars().all(is_fitting) {
        return Err(Fault::bad(
            "a key pair's name has letters, digits, spaces and any of _ - . @",
        ));
    }
    Ok(())
}

/// Keeps a key; without a public one a pair is made.
#[utoipa::path(post, path = "/v2.1/os-keypairs", tag = "compute", request_body = Create,
    responses((status = 200, body = MadeKeyPair)))]
pub(super) async fn create(
    State(cloud): State<Cloud>,
    principal: Principal,
    Json(Create { keypair: new }): Json<Create>,
) -> Result<Json<MadeKeyPair>, Fault> {
    check_name(&new.name)?;
    let (private_key, public_key) = match new.public_key {
        Some(line) => (None, line.trim().to_owned()),
        None => {
            let made = tokio::task::spawn_blocking(|| ssh_key::generate("Generated-by-Synnefo"));
            let made = made.await.map_err(Fault::internal)?;
            let (private, public) = made.map_err(Fault::internal)?;
            (Some(private), public)
        }
    };
    let parsed = PublicKey::parse(&public_key);
    let parsed = parsed.map_err(|error| Fault::bad(format!("keypair data is invalid: {error}")))?;
    let fingerprint = parsed.fingerprint().map_err(Fault::internal)?;
    let row = NewKey {
        user_id: principal.user_id,
        name: &new.name,
        fingerprint: &fingerprint,
        public_key: &public_key,
        now: cloud::now(),
    };
    let most = cloud.config.quota.key_pairs;
    cloud
        .db
        .write(async |tx| -> Result<(), Fault> {
            let count = key_pairs::count(&tx, principal.user_id).await?;
            if key_pairs::named(&*tx, principal.user_id, row.name)
                .await?
                .is_some()
            {
                return Err(Fault::Conflict(format!(
                    "key pair {:?} already exists",
                    row.name
                )));
            }
            if u64::try_from(most).is_ok_and(|most| count >= most) {
                return Err(Fault::OverLimit(String::from(
                    "quota exceeded, too many key pairs",
                )));
            }
            key_pairs::add(&tx, &row).await?;
            let deed = Deed {
                action: "key_pair.create",
                kind: "key_pair",
                target: None,
                result: 200,
                detail: json!({ "name": row.name, "fingerprint": row.fingerprint }),
            };
            Ok(audit::record(&*tx, &principal.actor(), deed, row.now).await?)
        })
        .await?;
    let keypair = MadeKey {
        user_id: principal.user_uuid.simple().to_string(),
        name: new.name.clone(),
        public_key: public_key.clone(),
        fingerprint: fingerprint.clone(),
        private_key,
    };
    Ok(Json(MadeKeyPair { keypair }))
}

/// Removes a key.
#[utoipa::path(delete, path = "/v2.1/os-keypairs/{name}", tag = "compute", params(("name" = String, Path)),
    responses((status = 202)))]
pub(super) async fn delete(
    State(cloud): State<Cloud>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<StatusCode, Fault> {
    let row = named(&cloud, &principal, &name).await?;
    cloud
        .db
        .write(async |tx| -> Result<(), Fault> {
            key_pairs::remove(&tx, row.id).await?;
            let deed = Deed {
                action: "key_pair.delete",
                kind: "key_pair",
                target: None,
                result: 202,
                detail: json!({ "name": row.name, "fingerprint": row.fingerprint }),
            };
            Ok(audit::record(&*tx, &principal.actor(), deed, cloud::now()).await?)
        })
        .await?;
    Ok(StatusCode::ACCEPTED)
}
