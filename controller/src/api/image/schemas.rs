//! What images look like, as JSON schemas: older clients ask for them.

use serde_json::{Value, json};

use crate::api::body::Json;

fn properties() -> Value {
    let text = json!({ "type": "string" });
    let maybe = json!({ "type": ["null", "string"] });
    let number = json!({ "type": "integer" });
    let whether = json!({ "type": "boolean" });
    json!({
        "id": text, "name": maybe, "status": text, "owner": maybe,
        "visibility": { "type": "string", "enum": ["public", "private"] },
        "min_ram": number, "min_disk": number,
        "size": { "type": ["null", "integer"] }, "virtual_size": { "type": ["null", "integer"] },
        "container_format": maybe, "disk_format": maybe,
        "checksum": maybe, "os_hash_algo": maybe, "os_hash_value": maybe,
        "os_hidden": whether, "protected": whether,
        "tags": { "type": "array", "items": text },
        "created_at": text, "updated_at": text,
        "self": text, "file": text, "schema": text,
    })
}

/// An image's.
#[utoipa::path(get, path = "/v2/schemas/image", tag = "image", responses((status = 200, body = Object)), security(()))]
pub(super) async fn image() -> Json<Value> {
    Json(
        json!({ "name": "image", "properties": properties(), "additionalProperties": true, "links": [
        { "rel": "self", "href": "{self}" },
        { "rel": "describedby", "href": "{schema}" },
    ] }),
    )
}

/// A list's.
#[utoipa::path(get, path = "/v2/schemas/images", tag = "image", responses((status = 200, body = Object)), security(()))]
pub(super) async fn images() -> Json<Value> {
    let text = json!({ "type": "string" });
    let each = json!({ "name": "image", "properties": properties(), "additionalProperties": true });
    Json(json!({ "name": "images", "properties": {
        "images": { "type": "array", "items": each },
        "first": text, "next": text, "schema": text,
    }, "links": [
        { "rel": "first", "href": "{first}" },
        { "rel": "next", "href": "{next}" },
        { "rel": "describedby", "href": "{schema}" },
    ] }))
}
