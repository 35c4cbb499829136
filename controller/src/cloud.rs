//! What every part of the controller has at hand, and how the parts wake each other.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::Notify;

use crate::api::rate::Rates;
use crate::config::Config;
use crate::db::Db;
use crate::metrics::Metrics;
use crate::seal::Seal;

/// One cloud: its database, its configuration, its keys.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// The database.
    pub db: Db,
    /// The configuration.
    pub config: Arc<Config>,
    /// What secrets are sealed with.
    pub seal: Arc<Seal>,
    /// Who waits for what.
    pub bells: Arc<Bells>,
    /// How many requests may come.
    pub rates: Arc<Rates>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Rung after a commit, where the work is done in the same process; every worker looks by the clock too.
#[derive(Debug, Default)]
pub struct Bells {
    /// There are new intents.
    pub intents: Notify,
    /// There are new doubtful servers.
    pub doubts: Notify,
}

impl Cloud {
    /// Puts them together.
    #[must_use]
    pub fn new(db: Db, config: Config, seal: Seal) -> Self {
        Self {
            rates: Arc::new(Rates::new(config.api.rate, config.api.burst)),
            db,
            config: Arc::new(config),
            seal: Arc::new(seal),
            bells: Arc::default(),
            metrics: Arc::default(),
        }
    }
}

/// Now, to the microsecond: what all three databases keep.
#[must_use]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
