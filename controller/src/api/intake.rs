//! `POST /internal/events`: what eventd and the nodes' agents post, where there is no broker (`snf_events::intake`).
//!
//! The answer is given after the commit: all messages up to its number are in the database, or are dead letters there.

use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use snf_events::Sequence;
use snf_events::intake::{Batch, Stored};
use utoipa_axum::router::OpenApiRouter;

use super::body::Json;
use super::fault::Fault;
use crate::cloud::Cloud;
use crate::db::senders;
use crate::dispatcher::{BATCH, Delivery, Sender, Transport, take};
use crate::secret::digest;

/// Bytes of a batch: 256 records, each with a result and parameters of 64 KiB at most.
const MOST: usize = 40 << 20;

/// The route. It is no part of the API that users have.
pub(super) fn routes() -> OpenApiRouter<Cloud> {
    OpenApiRouter::new()
        .route(snf_events::intake::EVENTS_PATH, axum::routing::post(post))
        .layer(DefaultBodyLimit::max(MOST))
}

/// Whose the token in `Authorization: Bearer` is: it is looked at before the body is.
impl FromRequestParts<Cloud> for Sender {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, cloud: &Cloud) -> Result<Self, Fault> {
        let given = parts.headers.get(AUTHORIZATION);
        let token = given.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = token.ok_or_else(Fault::unauthorized)?;
        let sender = senders::with_token(cloud.db.reader(), &digest(token)).await?;
        sender.ok_or_else(Fault::unauthorized)
    }
}

async fn post(
    State(cloud): State<Cloud>,
    sender: Sender,
    Json(batch): Json<Batch>,
) -> Result<Json<Stored>, Fault> {
    let Batch {
        epoch,
        prefix,
        records,
        heartbeat,
        ..
    } = batch;
    if prefix != cloud.config.prefix {
        return Err(Fault::bad(format!(
            "the prefix {prefix} is not served here: it is {}",
            cloud.config.prefix
        )));
    }
    let sequence = records.iter().map(|record| record.sequence).max();
    let mut deliveries: Vec<Delivery> = records
        .into_iter()
        .map(|record| delivery(sender, record.key.as_str(), record.message.get().as_bytes()))
        .collect();
    if let Some(heartbeat) = heartbeat {
        let key = snf_events::RoutingKey::heartbeat();
        let body = snf_events::Message::Heartbeat(heartbeat).encode();
        deliveries.push(delivery(sender, key.as_str(), &body));
    }
    for batch in deliveries.chunks(BATCH) {
        take(&cloud, batch).await?;
    }
    Ok(Json(Stored {
        epoch,
        sequence: sequence.unwrap_or(Sequence(0)),
    }))
}

fn delivery(sender: Sender, key: &str, body: &[u8]) -> Delivery {
    Delivery {
        transport: Transport::Https,
        sender: Some(sender),
        key: key.to_owned(),
        body: body.to_vec(),
    }
}
