//! Servers whose state messages cannot tell: each is read from Ganeti, outside any transaction, and written if nothing was
//! heard of it meanwhile. Looks by the clock, and when the dispatcher rings.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::fault::chain;
use crate::backends;
use crate::cloud::{Cloud, now};
use crate::db::entity::{backend, server};
use crate::db::events::{self, Wanted};
use crate::db::{DbError, doubts};
use crate::dispatcher::reading::{Reading, Settled, settle};
use crate::rapi::{Rapi, RapiError};
use crate::service::Stop;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Servers read in one look.
const MOST: u64 = 200;

/// Works until `stop` is wanted.
pub async fn run(cloud: Cloud, stop: Stop) {
    while !stop.is_wanted() {
        if let Err(error) = look(&cloud).await {
            tracing::warn!(error = %chain(&error), "doubtful servers cannot be looked into");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = cloud.bells.doubts.notified() => {}
            () = stop.wanted() => {}
        }
    }
}

/// One look at all that are in doubt: how many were settled.
///
/// # Errors
/// The database's own; a cluster that does not answer is only left for the next look.
pub async fn look(cloud: &Cloud) -> Result<usize, DbError> {
    let doubtful = doubts::oldest(cloud.db.reader(), MOST).await?;
    let mut by_cluster: BTreeMap<i64, Vec<server::Model>> = BTreeMap::new();
    for server in doubtful {
        by_cluster
            .entry(server.backend_id)
            .or_default()
            .push(server);
    }
    let clusters = events::backends(cloud.db.reader()).await?;
    let mut settled = 0;
    for cluster in clusters.iter().filter(|cluster| !cluster.offline) {
        let Some(servers) = by_cluster.get(&cluster.id) else {
            continue;
        };
        settled += read_all(cloud, cluster, servers).await?;
    }
    Ok(settled)
}

async fn read_all(
    cloud: &Cloud,
    cluster: &backend::Model,
    servers: &[server::Model],
) -> Result<usize, DbError> {
    let rapi = match backends::rapi(&cloud.seal, cluster) {
        Ok(rapi) => rapi,
        Err(error) => {
            tracing::error!(backend = cluster.name, error = %chain(&error), "speak to the cluster");
            return Ok(0);
        }
    };
    let mut settled = 0;
    for server in servers {
        let Some(name) = &server.instance_name else {
            continue;
        };
        match read(&rapi, name).await {
            Ok(reading) => {
                let written = write(cloud, server, name, &reading).await?;
                tracing::info!(
                    server.id = server.id,
                    instance = name,
                    ?written,
                    "doubt looked into"
                );
                settled += usize::from(written == Settled::Written);
            }
            Err(error) => {
                // The others on it fare no better.
                tracing::warn!(backend = cluster.name, error = %chain(&error), "read an instance");
                break;
            }
        }
    }
    Ok(settled)
}

async fn read(rapi: &Rapi, name: &str) -> Result<Reading, RapiError> {
    match rapi.get(&format!("/2/instances/{name}")).await {
        Ok(instance) => Ok(Reading::There(Box::new(instance))),
        Err(error) if error.is_not_found() => Ok(Reading::Gone),
        Err(error) => Err(error),
    }
}

async fn write(
    cloud: &Cloud,
    asked: &server::Model,
    name: &str,
    reading: &Reading,
) -> Result<Settled, DbError> {
    let mut wanted = Wanted::default();
    wanted.instances.insert((asked.backend_id, name.to_owned()));
    let wanted = &wanted;
    let written = cloud.db.write(|tx| async move {
        let prefix = cloud.config.prefix.clone();
        let mut rows = events::load(&tx, wanted, prefix).await?;
        let settled = settle(&mut rows, asked, reading, now());
        events::save(&tx, rows).await?;
        Ok::<_, DbError>(settled)
    });
    written.await
}
