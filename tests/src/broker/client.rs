//! A client of a broker, for a moment: sees what is in a queue, and takes it.

use anyhow::{Context, Result};
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;

/// A message that was taken from a queue.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Its routing key.
    pub key: String,
    /// Its body.
    pub body: Value,
    /// Its properties.
    pub properties: BasicProperties,
}

/// Runs `action` on a connection of its own to the broker at `uri`, from the network this thread is in.
///
/// # Errors
/// When the broker cannot be reached, or what `action` returns.
pub fn connected<R>(uri: &str, action: impl AsyncFnOnce(&Connection) -> Result<R>) -> Result<R> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let result = action(&connection).await?;
        // A channel that was dropped may be closing itself at the same time.
        let _ = connection.close(200, "done".into()).await;
        Ok(result)
    })
}

/// Takes everything that is in `queue` now; nothing while there is no such queue, or it is only being made.
///
/// # Errors
/// When the broker fails.
pub async fn take(channel: &Channel, queue: &str) -> Result<Vec<Delivered>> {
    let mut taken = Vec::new();
    loop {
        let got = match channel
            .basic_get(queue.into(), BasicGetOptions::default())
            .await
        {
            Ok(Some(got)) => got,
            Ok(None) => break,
            // A quorum queue that was just declared may not have its process yet.
            Err(error) if error.is_amqp_error() => break,
            Err(error) => return Err(error.into()),
        };
        taken.push(Delivered {
            key: got.delivery.routing_key.to_string(),
            body: serde_json::from_slice(&got.delivery.data).context("a message is JSON")?,
            properties: got.delivery.properties.clone(),
        });
        got.delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(taken)
}
