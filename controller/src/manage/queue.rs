//! Messages that could not be taken in.

use serde_json::json;

use super::{ManageError, Shown, note};
use crate::cloud::Cloud;
use crate::db::{Tx, lookup};
use crate::dispatcher::merge::Outcome;
use crate::dispatcher::{self, Delivery, Sender, Transport};

/// How much of a body is shown in a table.
const BEGINNING: usize = 60;

pub(super) async fn inspect(cloud: &Cloud, bodies: bool) -> Result<Shown, ManageError> {
    let letters = lookup::all_letters(cloud.db.reader()).await?;
    let rows = letters.into_iter().map(|row| {
        let body: String = match bodies {
            true => row.body,
            false => row.body.chars().take(BEGINNING).collect(),
        };
        vec![
            json!(row.id),
            json!(row.received_at.to_rfc3339()),
            json!(row.backend_id),
            json!(row.transport),
            json!(row.routing_key),
            json!(row.attempts),
            json!(row.reason),
            json!(body),
        ]
    });
    Ok(Shown::Table {
        columns: &[
            "id",
            "received_at",
            "backend",
            "transport",
            "key",
            "attempts",
            "reason",
            "body",
        ],
        rows: rows.collect(),
    })
}

/// A message that cannot be taken in again is a letter again, and the old one goes either way: so it is there once.
pub(super) async fn retry(cloud: &Cloud, wanted: &[i64]) -> Result<Shown, ManageError> {
    let letters = lookup::all_letters(cloud.db.reader()).await?;
    if let Some(missing) = wanted
        .iter()
        .find(|id| !letters.iter().any(|letter| letter.id == **id))
    {
        return Err(ManageError::Refused(format!(
            "there is no message {missing}"
        )));
    }
    let is_wanted = |id: i64| wanted.is_empty() || wanted.contains(&id);
    let mut rows = Vec::new();
    for letter in letters.into_iter().filter(|letter| is_wanted(letter.id)) {
        let transport = match letter.transport.as_str() {
            "amqp" => Transport::Amqp,
            _ => Transport::Https,
        };
        let delivery = Delivery {
            transport,
            sender: Sender::of_letter(letter.sender.as_deref(), letter.backend_id),
            key: letter.routing_key.clone(),
            body: letter.body.into_bytes(),
        };
        let outcome = dispatcher::take(cloud, &[delivery]).await?;
        let told = match outcome.first() {
            Some(Outcome::Applied) => String::from("taken in"),
            Some(Outcome::Duplicate) => String::from("was there already"),
            Some(Outcome::Unknown) => String::from("of nothing of ours"),
            Some(Outcome::Dead(reason)) => format!("not taken in: {reason}"),
            None => String::from("nothing"),
        };
        cloud
            .db
            .write(async |tx: Tx| -> Result<(), ManageError> {
                lookup::forget_letter(&*tx, letter.id).await?;
                let detail = json!({ "outcome": told });
                Ok(note(&tx, ("queue", "retry"), letter.id.to_string(), detail).await?)
            })
            .await?;
        rows.push(vec![
            json!(letter.id),
            json!(letter.routing_key),
            json!(told),
        ]);
    }
    Ok(Shown::Table {
        columns: &["id", "key", "outcome"],
        rows,
    })
}
