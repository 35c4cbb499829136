//! One batch of messages into the database: what both transports hand over, acknowledged only after the commit.
//!
//! A batch is one transaction. When it fails for another reason than somebody being in the way, each message is tried alone,
//! and the one that fails again is kept as a dead letter; when the database is away, nothing is taken and nothing kept.

pub mod decode;
pub mod merge;
pub mod reading;
pub mod rows;
pub mod streams;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue, DbErr};

use crate::cloud::{Cloud, now};
use crate::db::entity::{dead_letter, intent};
use crate::db::events::{self, Wanted};
use crate::db::streams::hear;
use crate::db::{Conflict, DbError};
use decode::{Event, Heard, Subject, decode};
use merge::Outcome;
use rows::Rows;

/// Messages in one transaction, at most.
pub const BATCH: usize = 200;

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// From a broker.
    Amqp,
    /// Posted.
    Https,
}

impl Transport {
    /// The column's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Https => "https",
        }
    }
}

/// Whose credential a message came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A cluster's eventd, or a broker user of the cluster: it may say all of its cluster.
    Cluster(i64),
    /// A cluster's node agents: progress, reports, and that something may have changed.
    Node(i64),
}

impl Sender {
    /// The cluster's row.
    #[must_use]
    pub const fn backend(self) -> i64 {
        match self {
            Self::Cluster(backend) | Self::Node(backend) => backend,
        }
    }

    /// The column's text.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Cluster(_) => "cluster",
            Self::Node(_) => "node",
        }
    }

    /// Who a letter's columns say.
    #[must_use]
    pub fn of_letter(kind: Option<&str>, backend: Option<i64>) -> Option<Self> {
        let both = [Self::Cluster(backend?), Self::Node(backend?)];
        both.into_iter().find(|sender| Some(sender.kind()) == kind)
    }
}

/// A message, as a transport hands it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// How it came.
    pub transport: Transport,
    /// Whose credential it came with; `None`: nobody's that we know.
    pub sender: Option<Sender>,
    /// Its routing key.
    pub key: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// Takes a batch in: one outcome for each message, all of them safe in the database.
///
/// # Errors
/// The database is away: nothing is to be acknowledged.
pub async fn take(cloud: &Cloud, deliveries: &[Delivery]) -> Result<Vec<Outcome>, DbError> {
    match take_together(cloud, deliveries).await {
        Err(error) if is_away(&error) => Err(error),
        Err(_) if deliveries.len() > 1 => {
            let mut outcomes = Vec::with_capacity(deliveries.len());
            for delivery in deliveries {
                outcomes.extend(Box::pin(take(cloud, std::slice::from_ref(delivery))).await?);
            }
            Ok(outcomes)
        }
        Err(error) => {
            let reason = chain(&error);
            for delivery in deliveries {
                events::bury(cloud.db.reader(), letter(delivery, &reason)).await?;
            }
            Ok(vec![Outcome::Dead(reason); deliveries.len()])
        }
        Ok(outcomes) => Ok(outcomes),
    }
}

/// Of two who take in the same message at once, the second finds it in the inbox: when it tries again, it is a duplicate.
#[derive(Debug)]
struct Taking(DbError);

impl From<DbError> for Taking {
    fn from(error: DbError) -> Self {
        Self(error)
    }
}

impl Conflict for Taking {
    fn is_conflict(&self) -> bool {
        self.0.is_conflict() || self.0.is_duplicate()
    }
}

/// Whether nobody is there to keep anything.
fn is_away(error: &DbError) -> bool {
    match error {
        DbError::Connect { .. } | DbError::Behind(_) | DbError::Ahead(_) | DbError::Migrate(_) => {
            true
        }
        DbError::Statement(DbErr::Conn(_) | DbErr::ConnectionAcquire(_)) => true,
        DbError::Statement(_) => error.is_conflict(),
        DbError::Url { .. } => true,
        DbError::Kept => false,
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

async fn take_together(cloud: &Cloud, deliveries: &[Delivery]) -> Result<Vec<Outcome>, DbError> {
    let clusters = events::backends(cloud.db.reader()).await?;
    let decoded: Vec<Result<Event, String>> = deliveries
        .iter()
        .map(|delivery| decode(delivery, &clusters, &cloud.config.prefix))
        .collect();
    let wanted = wanted(&decoded);
    let (decoded, wanted) = (&decoded, &wanted);
    let taken = cloud.db.write(|transaction| async move {
        let at = now();
        let prefix = cloud.config.prefix.clone();
        let mut rows = events::load(&transaction, wanted, prefix).await?;
        let mut outcomes = Vec::with_capacity(decoded.len());
        for (event, delivery) in decoded.iter().zip(deliveries) {
            let outcome = match event {
                Err(reason) => Outcome::Dead(reason.clone()),
                Ok(event) => apply(&mut rows, event.backend, &event.subject, at),
            };
            if let Outcome::Dead(reason) = &outcome {
                events::bury(&*transaction, letter(delivery, reason)).await?;
            }
            outcomes.push(outcome);
        }
        let mut changed = rows.intents.values().filter(|slot| slot.has_changed());
        let steps = changed.any(|slot| slot.row.state == intent::DONE);
        let mut servers = rows.servers.values();
        let doubts = servers.any(|slot| slot.row.doubtful_at.is_some());
        events::save(&transaction, rows).await?;
        for ((backend, _), heard) in by_journal(decoded) {
            hear(&transaction, backend, &heard, at).await?;
        }
        Ok::<_, Taking>((outcomes, steps, doubts))
    });
    let (outcomes, steps, doubts) = taken.await.map_err(|Taking(error)| error)?;
    if steps {
        cloud.bells.intents.notify_one();
    }
    if doubts {
        cloud.bells.doubts.notify_one();
    }
    Ok(outcomes)
}

fn apply(rows: &mut Rows, backend: i64, subject: &Subject, at: DateTime<Utc>) -> Outcome {
    match subject {
        Subject::Instance(message) => merge::instance(rows, message, backend, at),
        Subject::Network(message) => merge::network(rows, message, backend, at),
        Subject::Doubt(instance) => merge::doubtful(rows, instance, backend, at),
        Subject::Progress { instance, percent } => {
            merge::progress(rows, instance, backend, *percent, at)
        }
        Subject::Heard => Outcome::Applied,
    }
}

/// The rows that a batch concerns.
fn wanted(decoded: &[Result<Event, String>]) -> Wanted {
    let mut wanted = Wanted::default();
    for Event {
        backend, subject, ..
    } in decoded.iter().flatten()
    {
        let operation = match subject {
            Subject::Instance(message) => {
                wanted
                    .instances
                    .insert((*backend, message.instance.clone()));
                &message.operation
            }
            Subject::Network(message) => {
                wanted.networks.extend(decode::network_number(message));
                &message.operation
            }
            Subject::Doubt(instance) | Subject::Progress { instance, .. } => {
                wanted.instances.insert((*backend, instance.clone()));
                continue;
            }
            Subject::Heard => continue,
        };
        wanted.jobs.extend(
            i64::try_from(operation.job.0)
                .ok()
                .map(|job| (*backend, job)),
        );
        wanted
            .tokens
            .extend(operation.reason.as_deref().and_then(rows::token));
    }
    wanted
}

/// What was heard of each journal; in one order, in which their rows are locked.
fn by_journal(decoded: &[Result<Event, String>]) -> BTreeMap<(i64, &str), Vec<&Heard>> {
    let mut journals: BTreeMap<(i64, &str), Vec<&Heard>> = BTreeMap::new();
    for event in decoded.iter().flatten() {
        if let Some(heard) = &event.heard {
            let journal = (event.backend, heard.epoch.as_str());
            journals.entry(journal).or_default().push(heard);
        }
    }
    journals
}

fn letter(delivery: &Delivery, reason: &str) -> dead_letter::ActiveModel {
    dead_letter::ActiveModel {
        id: ActiveValue::NotSet,
        backend_id: ActiveValue::Set(delivery.sender.map(Sender::backend)),
        sender: ActiveValue::Set(delivery.sender.map(|sender| sender.kind().to_owned())),
        transport: ActiveValue::Set(delivery.transport.as_str().to_owned()),
        routing_key: ActiveValue::Set(delivery.key.chars().take(255).collect()),
        // PostgreSQL's text has no NUL.
        body: ActiveValue::Set(String::from_utf8_lossy(&delivery.body).replace('\0', "\u{fffd}")),
        reason: ActiveValue::Set(reason.replace('\0', "\u{fffd}")),
        attempts: ActiveValue::Set(1),
        received_at: ActiveValue::Set(now()),
        retried_at: ActiveValue::Set(None),
    }
}
