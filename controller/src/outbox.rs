//! Intents → Ganeti's jobs: exactly one job per intent.
//!
//! An intent's trip: leased (a transaction) → the cluster's highest job is asked for → noted as *sending*, committed →
//! submitted, outside any transaction, with `snf:<uuid>` as the job's reason → the job's number is noted. Wherever that
//! breaks off after *sending*, nobody can tell whether there is a job: it is looked for (`outbox/search.rs`) among the jobs above the
//! number that was noted, and only when it is not among them, and what was on its way has had the time to settle, is the
//! intent sent again. The worker itself may end at any line: the lease runs out, and another goes on from the row.

mod counts;
mod search;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use snf_events::JobId;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::backends::{self, BackendError};
use crate::cloud::{self, Cloud};
use crate::db::entity::intent;
use crate::db::intents::{SENDING, WAITING};
use crate::db::outbox::Lease;
use crate::db::{DbError, Tx, backends as rows, intents, outbox};
use crate::outcome;
use crate::rapi::{Fate, Rapi, RapiError, Submission};
use crate::service::Stop;

pub use counts::Counts;

/// Times of the outbox.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Workers at once.
    pub workers: usize,
    /// How long an intent is held without a sign of life: longer than a submission may take.
    pub lease: Duration,
    /// How long what may be on its way can still become a job.
    pub settle: Duration,
    /// How long a cluster that takes no jobs is left alone at first; doubled each time.
    pub rest: Duration,
    /// And at most.
    pub rest_most: Duration,
    /// How often is looked for intents when nobody rings.
    pub look: Duration,
    /// How long Ganeti's answer is waited for.
    pub patience: Duration,
    /// How long a submission that is on its way may take once the program is to end.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 4,
            lease: Duration::from_secs(90),
            settle: Duration::from_secs(20),
            rest: Duration::from_secs(1),
            rest_most: Duration::from_secs(60),
            look: Duration::from_secs(1),
            patience: Duration::from_secs(30),
            grace: Duration::from_secs(15),
        }
    }
}

/// Why a step was not done. The intent's row tells how far it is.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The database's own.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl crate::db::Conflict for OutboxError {
    fn is_conflict(&self) -> bool {
        let Self::Db(error) = self;
        error.is_conflict()
    }
}

/// What became of an intent that was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// There is a job.
    Submitted(JobId),
    /// There was one already.
    Found(JobId),
    /// Ganeti will not have it.
    Refused,
    /// Ganeti takes nothing now.
    NotNow,
    /// Whether there is a job is to be found out.
    Uncertain,
    /// Somebody else has it by now.
    Lost,
}

/// A worker on the outbox; clones are the same worker.
#[derive(Debug, Clone)]
pub struct Outbox {
    cloud: Cloud,
    settings: Settings,
    name: String,
    resting: Arc<Mutex<HashMap<i64, Rest>>>,
}

/// A cluster that takes no jobs.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: DateTime<Utc>,
    times: u32,
}

impl Outbox {
    /// A worker under a name of its own.
    #[must_use]
    pub fn new(cloud: Cloud, settings: Settings) -> Self {
        Self {
            cloud,
            settings,
            name: format!("{}-{}", std::process::id(), Uuid::new_v4().simple()),
            resting: Arc::default(),
        }
    }

    /// Works until it is told to stop; then what is on its way may arrive, and leases are given back.
    pub async fn run(self, stop: Stop) {
        let mut workers = JoinSet::new();
        for _ in 0..self.settings.workers {
            let worker = Self {
                name: format!("{}-{}", std::process::id(), Uuid::new_v4().simple()),
                ..self.clone()
            };
            workers.spawn(worker.work(stop.clone()));
        }
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a worker of the outbox has failed");
            }
        }
    }

    async fn work(self, stop: Stop) {
        while !stop.is_wanted() {
            let mut step = std::pin::pin!(self.step());
            let done = tokio::select! {
                done = &mut step => Some(done),
                () = stop.wanted() => timeout(self.settings.grace, step).await.ok(),
            };
            let is_idle = match done {
                Some(Ok(stepped)) => stepped.is_none(),
                Some(Err(error)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the outbox cannot go on");
                    true
                }
                None => break,
            };
            if is_idle {
                tokio::select! {
                    () = self.cloud.bells.intents.notified() => {}
                    () = tokio::time::sleep(self.settings.look) => {}
                    () = stop.wanted() => {}
                }
            }
        }
        if let Err(error) = self.release().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "leases of intents run out by themselves");
        }
    }

    /// Gives leases back.
    ///
    /// # Errors
    /// The database's own.
    pub async fn release(&self) -> Result<(), OutboxError> {
        let until = self.settings.settle;
        let write = async |tx: Tx| -> Result<u64, DbError> {
            outbox::release(&tx, self.lease_for(until)).await
        };
        self.cloud.db.write(write).await?;
        Ok(())
    }

    /// Works on one intent; `None`: it is nobody's turn.
    ///
    /// # Errors
    /// The database's own.
    pub async fn step(&self) -> Result<Option<Stepped>, OutboxError> {
        let resting = self.resting();
        let lease = async |tx: Tx| -> Result<_, DbError> {
            outbox::lease(&tx, self.lease_for(self.settings.lease), &resting).await
        };
        let Some(intent) = self.cloud.db.write(lease).await? else {
            return Ok(None);
        };
        let stepped = self.send(&intent).await?;
        let counts = &self.cloud.metrics.outbox;
        match stepped {
            Stepped::Submitted(_) => counts.submitted.inc(),
            Stepped::Found(_) => counts.found.inc(),
            Stepped::Refused => counts.refused.inc(),
            Stepped::NotNow => counts.put_off.inc(),
            Stepped::Uncertain => counts.uncertain.inc(),
            Stepped::Lost => counts.lost.inc(),
        };
        Ok(Some(stepped))
    }

    async fn send(&self, intent: &intent::Model) -> Result<Stepped, OutboxError> {
        let (rapi, submission) = match self.prepare(intent).await? {
            Ok(prepared) => prepared,
            Err(Unsendable::Forever(why)) => return self.refuse(intent, &why).await,
            Err(Unsendable::Now(why)) => return self.rest(intent, &why).await,
        };
        let reason = reason(intent.uuid);
        if intent.state == SENDING {
            // Sent before, by whomever: the lease, or being put off, gave it the time to settle.
            match self.look(&rapi, intent).await? {
                Ok(Some(job)) => return self.found(intent, job).await,
                Ok(None) => {}
                Err(error) => return self.rest(intent, &chain(&error)).await,
            }
        }
        let highest = match intent.highest_job {
            Some(highest) => highest,
            None => match self.highest_job(&rapi, intent.backend_id).await? {
                Ok(highest) => highest,
                Err(error) => return self.rest(intent, &chain(&error)).await,
            },
        };
        let note = async |tx: Tx| -> Result<bool, DbError> {
            outbox::sending(&tx, intent.id, highest, self.lease_for(self.settings.lease)).await
        };
        if !self.cloud.db.write(note).await? {
            return Ok(Stepped::Lost);
        }
        let intent = &intent::Model {
            highest_job: Some(highest),
            ..intent.clone()
        };
        match rapi.submit(&submission, &reason).await {
            Ok(job) => {
                // After an uncertain first time there may be two by now.
                let first = if intent.state == SENDING {
                    self.look(&rapi, intent).await?.ok().flatten()
                } else {
                    None
                };
                let job = first.unwrap_or(job);
                self.submitted(intent, job).await?;
                self.awake(intent.backend_id);
                tracing::info!(intent = %intent.uuid, step = intent.step, job.id = %job, "submitted");
                Ok(Stepped::Submitted(job))
            }
            Err(error) => self.failed(&rapi, intent, &error).await,
        }
    }

    async fn failed(
        &self,
        rapi: &Rapi,
        intent: &intent::Model,
        error: &RapiError,
    ) -> Result<Stepped, OutboxError> {
        let why = chain(error);
        match error.fate() {
            Fate::Refused => self.refuse(intent, &why).await,
            Fate::NotNow => self.rest(intent, &why).await,
            Fate::Unknown => {
                // Most often it has arrived, and can be seen at once.
                if let Ok(Some(job)) = self.look(rapi, intent).await? {
                    return self.found(intent, job).await;
                }
                tracing::warn!(intent = %intent.uuid, why, "whether there is a job is not known");
                self.put_off(intent, self.settings.settle, SENDING, &why)
                    .await?;
                Ok(Stepped::Uncertain)
            }
        }
    }

    /// Who is asked, and what, with its secrets.
    async fn prepare(
        &self,
        intent: &intent::Model,
    ) -> Result<Result<(Rapi, Submission), Unsendable>, OutboxError> {
        let Some(backend) = rows::by_id(self.cloud.db.reader(), intent.backend_id).await? else {
            let why = String::from("its cluster was removed");
            return Ok(Err(Unsendable::Forever(why)));
        };
        let mut rapi = match backends::rapi(&self.cloud.seal, &backend) {
            Ok(rapi) => rapi,
            Err(
                error @ (BackendError::Password { .. }
                | BackendError::Fingerprint { .. }
                | BackendError::Unknown { .. }),
            ) => {
                return Ok(Err(Unsendable::Now(chain(&error))));
            }
        };
        rapi.patience = self.settings.patience;
        let mut submission = match Submission::from_json(&intent.request) {
            Ok(submission) => submission,
            Err(error) => {
                let why = format!("its request cannot be read: {error}");
                return Ok(Err(Unsendable::Forever(why)));
            }
        };
        if let Some(sealed) = &intent.secrets {
            let place = intents::secrets_place(intent.uuid);
            let opened = match self.cloud.seal.open(sealed, &place) {
                Ok(opened) => opened,
                Err(error) => return Ok(Err(Unsendable::Now(chain(&error)))),
            };
            // The parser's words would quote the secret.
            let Ok(secrets) = serde_json::from_str::<Map<String, Value>>(&opened) else {
                let why = String::from("its secrets are no object");
                return Ok(Err(Unsendable::Forever(why)));
            };
            add_secrets(&mut submission, secrets);
        }
        Ok(Ok((rapi, submission)))
    }

    /// The first of an intent's jobs. Later ones are cancelled while they are queued.
    async fn look(
        &self,
        rapi: &Rapi,
        intent: &intent::Model,
    ) -> Result<Result<Option<JobId>, RapiError>, OutboxError> {
        let above = JobId(u64::try_from(intent.highest_job.unwrap_or_default()).unwrap_or(0));
        let mut search = search::Search::above(above);
        let reason = reason(intent.uuid);
        loop {
            match search.go_on(rapi, &reason).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => return Ok(Err(error)),
            }
            let lease = self.lease_for(self.settings.lease);
            outbox::renew(self.cloud.db.reader(), intent.id, lease).await?;
        }
        let Some((first, later)) = search.found.split_first() else {
            return Ok(Ok(None));
        };
        for job in later.iter().filter(|job| !job.status.is_final()) {
            self.cloud.metrics.outbox.duplicates.inc();
            let cancelled = rapi.cancel(job.id).await;
            tracing::warn!(intent = %intent.uuid, first = %first.id, second = %job.id, ?cancelled, "two jobs of one intent");
        }
        Ok(Ok(Some(first.id)))
    }

    async fn highest_job(
        &self,
        rapi: &Rapi,
        backend: i64,
    ) -> Result<Result<i64, RapiError>, OutboxError> {
        let listed = match rapi.jobs().await {
            Ok(listed) => listed,
            Err(error) => return Ok(Err(error)),
        };
        let highest = match listed.into_iter().max() {
            Some(job) => i64::try_from(job.0).unwrap_or(i64::MAX),
            // All are archived, which the list does not tell from there being none.
            None => outbox::highest_known_job(self.cloud.db.reader(), backend).await?,
        };
        Ok(Ok(highest))
    }

    async fn found(&self, intent: &intent::Model, job: JobId) -> Result<Stepped, OutboxError> {
        self.submitted(intent, job).await?;
        self.awake(intent.backend_id);
        tracing::info!(intent = %intent.uuid, step = intent.step, job.id = %job, "found");
        Ok(Stepped::Found(job))
    }

    async fn submitted(&self, intent: &intent::Model, job: JobId) -> Result<(), OutboxError> {
        let number = i64::try_from(job.0).unwrap_or(i64::MAX);
        let write = async |tx: Tx| -> Result<(), DbError> {
            outbox::submitted(&tx, intent.id, number, cloud::now()).await
        };
        Ok(self.cloud.db.write(write).await?)
    }

    async fn refuse(&self, intent: &intent::Model, why: &str) -> Result<Stepped, OutboxError> {
        tracing::warn!(intent = %intent.uuid, step = intent.step, why, "refused");
        let write = async |tx: Tx| -> Result<(), DbError> {
            outcome::intent_failed(&tx, intent, why, cloud::now()).await
        };
        self.cloud.db.write(write).await?;
        Ok(Stepped::Refused)
    }

    /// Nothing was sent, or surely nothing arrived: the cluster is left alone for a while.
    async fn rest(&self, intent: &intent::Model, why: &str) -> Result<Stepped, OutboxError> {
        let pause = self.tired(intent.backend_id);
        tracing::warn!(intent = %intent.uuid, backend = intent.backend_id, why, "not now");
        // What was in doubt before stays so.
        let state = if intent.state == SENDING {
            SENDING
        } else {
            WAITING
        };
        self.put_off(intent, pause, state, why).await?;
        Ok(Stepped::NotNow)
    }

    async fn put_off(
        &self,
        intent: &intent::Model,
        pause: Duration,
        state: &str,
        why: &str,
    ) -> Result<(), OutboxError> {
        let write = async |tx: Tx| -> Result<(), DbError> {
            outbox::put_off(&tx, intent.id, self.lease_for(pause), (state, why)).await
        };
        Ok(self.cloud.db.write(write).await?)
    }

    fn lease_for(&self, time: Duration) -> Lease<'_> {
        let now = cloud::now();
        Lease {
            worker: &self.name,
            now,
            until: now + time,
        }
    }

    fn resting(&self) -> Vec<i64> {
        let now = cloud::now();
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let still = resting.iter().filter(|(_, rest)| rest.until > now);
        still.map(|(backend, _)| *backend).collect()
    }

    /// Lets a cluster rest, and tells how long: doubled each time, and never twice the same.
    fn tired(&self, backend: i64) -> Duration {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let times = resting.get(&backend).map_or(0, |rest| rest.times);
        let full = self.settings.rest * 2u32.saturating_pow(times.min(16));
        let chance = (Uuid::new_v4().as_u128() % 1000) as f64 / 1000.0;
        let pause = full
            .min(self.settings.rest_most)
            .mul_f64(0.5 + chance / 2.0);
        let until = cloud::now() + pause;
        let times = times + 1;
        resting.insert(backend, Rest { until, times });
        pause
    }

    fn awake(&self, backend: i64) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.remove(&backend);
    }
}

/// Why an intent is not sent.
enum Unsendable {
    /// It never will be.
    Forever(String),
    /// An operator must act first.
    Now(String),
}

/// What an intent's job is found again by.
#[must_use]
pub fn reason(intent: Uuid) -> String {
    format!("snf:{intent}")
}

fn add_secrets(submission: &mut Submission, secrets: Map<String, Value>) {
    let Some(Value::Object(body)) = &mut submission.body else {
        return;
    };
    let private = body
        .entry("osparams_private")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(private) = private {
        private.extend(secrets);
    }
}

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
