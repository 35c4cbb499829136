//! The broker's topology, declared the same by both sides on every connection.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ErrorKind, ExchangeKind};

use crate::Prefix;
use crate::routing::{EXCHANGE, Kind};

/// Why the topology does not stand.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The broker has it, with other properties (`PRECONDITION_FAILED`): an operator must delete or move it.
    #[error(
        "{object} exists with other properties than ours; delete it once it is empty: {reason}"
    )]
    Mismatch {
        /// `queue snf-events-op`, `exchange ganeti`.
        object: String,
        /// What the broker says.
        reason: String,
    },
    /// The broker failed.
    #[error("declare {object}")]
    Broker {
        /// As above.
        object: String,
        /// Why.
        #[source]
        source: lapin::Error,
    },
}

/// Who made sure that the topology stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// We did.
    Wholly,
    /// We have no right to (`ACCESS_REFUSED`): the other side does it.
    NotOurs,
}

/// Declares exchange, queues and bindings of all prefixes, on channels of its own.
///
/// # Errors
/// When something stands with other properties, or the broker fails.
pub async fn declare(
    connection: &Connection,
    prefixes: &[Prefix],
) -> Result<Declared, TopologyError> {
    let mut declared = Declared::Wholly;
    let exchange = format!("exchange {EXCHANGE}");
    let broker = |object: &str| {
        let object = object.to_owned();
        move |source| TopologyError::Broker { object, source }
    };
    let channel = connection.create_channel().await;
    let mut channel = channel.map_err(broker(&exchange))?;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let made = channel.exchange_declare(
        EXCHANGE.into(),
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    if let Err(error) = made.await {
        refused(&exchange, error)?;
        return Ok(Declared::NotOurs);
    }
    for prefix in prefixes {
        for kind in Kind::ALL {
            let queue = kind.queue(prefix);
            let object = format!("queue {queue}");
            let made = async {
                channel
                    .queue_declare(
                        queue.as_str().into(),
                        QueueDeclareOptions::durable(),
                        properties(),
                    )
                    .await?;
                channel
                    .queue_bind(
                        queue.as_str().into(),
                        EXCHANGE.into(),
                        kind.key(prefix).as_str().into(),
                        QueueBindOptions::default(),
                        FieldTable::default(),
                    )
                    .await
            };
            if let Err(error) = made.await {
                refused(&object, error)?;
                declared = Declared::NotOurs;
                // The refusal closed the channel.
                channel = connection.create_channel().await.map_err(broker(&object))?;
            }
        }
    }
    // A channel that is only dropped stays open at the broker as long as the connection.
    let closed = channel.close(200, "declared".into()).await;
    closed.map_err(broker(&exchange))?;
    Ok(declared)
}

/// Replicated, never dropping what it has; attempts are counted by the consumer, not by the broker.
fn properties() -> FieldTable {
    let mut table = FieldTable::default();
    let mut set = |key: &str, value: &str| {
        table.insert(key.into(), AMQPValue::LongString(value.into()));
    };
    set("x-queue-type", "quorum");
    set("x-overflow", "reject-publish");
    table
}

/// Fine when it is only that we have no right to declare.
fn refused(object: &str, error: lapin::Error) -> Result<(), TopologyError> {
    let soft = if let ErrorKind::ProtocolError(error) = error.kind()
        && let AMQPErrorKind::Soft(soft) = error.kind()
    {
        Some((soft.clone(), error.get_message().to_string()))
    } else {
        None
    };
    match soft {
        Some((AMQPSoftError::ACCESSREFUSED, _)) => Ok(()),
        Some((AMQPSoftError::PRECONDITIONFAILED, reason)) => Err(TopologyError::Mismatch {
            object: object.to_owned(),
            reason,
        }),
        _ => Err(TopologyError::Broker {
            object: object.to_owned(),
            source: error,
        }),
    }
}
