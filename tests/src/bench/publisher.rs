//! The floor of publishing: a lapin publisher with confirms that knows its bodies beforehand, and nothing else.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
};
use tokio::runtime::Runtime;

use super::site::QUEUE;
use crate::namespace::Namespace;

/// A connection with a channel in confirm mode, on one thread.
pub(crate) struct Publisher {
    runtime: Runtime,
    channel: Channel,
    _connection: Connection,
}

impl Publisher {
    /// Connects to the broker at `address` in the namespace.
    ///
    /// # Errors
    /// When the broker refuses.
    pub(crate) fn connect(namespace: &Namespace, address: &str) -> Result<Self> {
        namespace.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let (connection, channel) = runtime.block_on(async {
                let uri = format!("amqp://guest:guest@{address}");
                let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
                let channel = connection.create_channel().await?;
                channel
                    .confirm_select(ConfirmSelectOptions::default())
                    .await?;
                anyhow::Ok((connection, channel))
            })?;
            Ok(Self {
                runtime,
                channel,
                _connection: connection,
            })
        })
    }

    /// Publishes one message and waits for its confirm.
    ///
    /// # Errors
    /// When it is not confirmed.
    pub(crate) fn one(&self, body: &[u8]) -> Result<()> {
        self.runtime.block_on(async {
            let confirm = self.send(body).await?;
            settled(confirm).await
        })
    }

    /// Publishes messages, at most `window` of them unconfirmed at a time; how long it takes to the last confirm.
    ///
    /// # Errors
    /// When one is not confirmed.
    pub(crate) fn all(&self, bodies: &[Vec<u8>], window: usize) -> Result<Duration> {
        self.runtime.block_on(async {
            let started = Instant::now();
            let mut open = VecDeque::with_capacity(window);
            for body in bodies {
                if open.len() == window
                    && let Some(oldest) = open.pop_front()
                {
                    settled(oldest).await?;
                }
                open.push_back(self.send(body).await?);
            }
            for confirm in open {
                settled(confirm).await?;
            }
            Ok(started.elapsed())
        })
    }

    async fn send(&self, body: &[u8]) -> Result<PublisherConfirm> {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let sent = self
            .channel
            .basic_publish("".into(), QUEUE.into(), options, body, properties);
        Ok(sent.await?)
    }

    /// Takes the next `count` bodies out of the queue, as fast as they come.
    ///
    /// # Errors
    /// When the broker fails.
    pub(crate) fn take(&self, count: usize) -> Result<Vec<Vec<u8>>> {
        self.runtime.block_on(async {
            let options = BasicConsumeOptions {
                no_ack: true,
                ..BasicConsumeOptions::default()
            };
            let mut consumer = self
                .channel
                .basic_consume(QUEUE.into(), "bench".into(), options, FieldTable::default())
                .await?;
            let mut bodies = Vec::with_capacity(count);
            while bodies.len() < count
                && let Some(delivery) = consumer.next().await
            {
                bodies.push(delivery?.data);
            }
            self.channel
                .basic_cancel("bench".into(), Default::default())
                .await?;
            Ok(bodies)
        })
    }

    /// How many messages are in the queue.
    ///
    /// # Errors
    /// When the broker fails.
    pub(crate) fn count(&self) -> Result<u64> {
        self.runtime.block_on(async {
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let queue = self
                .channel
                .queue_declare(QUEUE.into(), options, FieldTable::default())
                .await?;
            Ok(u64::from(queue.message_count()))
        })
    }

    /// Empties the queue.
    ///
    /// # Errors
    /// When the broker fails.
    pub(crate) fn purge(&self) -> Result<()> {
        self.runtime.block_on(async {
            self.channel
                .queue_purge(QUEUE.into(), QueuePurgeOptions::default())
                .await?;
            Ok(())
        })
    }
}

async fn settled(confirm: PublisherConfirm) -> Result<()> {
    let confirmation = confirm.await?;
    ensure!(
        matches!(confirmation, Confirmation::Ack(None)),
        "not confirmed: {confirmation:?}"
    );
    Ok(())
}
