//! How soon eventd is ready with a full queue directory: everything in it is journaled then.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use crate::bench::command::{Arguments, Progress};
use crate::bench::publisher::Publisher;
use crate::bench::report::{Bound, Faults, Section, Target, spread};
use crate::bench::site::{BROKER, Site, recorded};
use crate::bench::stats::Spread;
use crate::world::World;

const JOBS: usize = 5000;
/// What Ganeti leaves when it is killed while it writes.
const STALE: usize = 10_000;

/// What is measured of one start.
#[derive(Default)]
struct Starts {
    ready: Vec<f64>,
    resident: Vec<f64>,
}

/// See the module.
///
/// # Errors
/// When broker or eventd do not start.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let (jobs, stale) = if arguments.quick {
        (50, 100)
    } else {
        (JOBS, STALE)
    };
    progress.say(&format!("queue: {jobs} jobs, {stale} stale files"));
    let site = Site::new(world)?;
    for id in 1..=jobs {
        let path = site.queue.directory().join(format!("job-{id}"));
        fs::write(path, recorded(id)?)?;
    }
    for number in 1..=stale {
        let path = site.queue.directory().join(format!("job-{number}x.new"));
        fs::write(path, "")?;
    }
    let publisher = Publisher::connect(&site.namespace, BROKER)?;
    let count = u64::try_from(jobs)?;
    let (mut fresh, mut again, mut lost) = (Starts::default(), Starts::default(), 0);
    for round in 1..=arguments.rounds() {
        progress.say(&format!("queue: start {round}"));
        site.forget()?;
        let mut eventd = site.eventd(BROKER, 10_000)?;
        fresh.ready.push(eventd.wait_until_ready()?.as_secs_f64());
        eventd.wait_until_confirmed(count)?;
        fresh.resident.push(eventd.mebibytes("VmRSS")?);
        eventd.stop()?;
        lost += count.saturating_sub(publisher.count()?);
        publisher.purge()?;
        let mut eventd = site.eventd(BROKER, 10_000)?;
        again.ready.push(eventd.wait_until_ready()?.as_secs_f64());
        again.resident.push(eventd.mebibytes("VmRSS")?);
        eventd.stop()?;
    }
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (what, starts) in [("without a journal", fresh), ("with its journal", again)] {
        let of = |values: Vec<f64>| Spread::of(values).context("a start");
        let milliseconds = starts.ready.iter().map(|seconds| seconds * 1e3).collect();
        let (ready, resident) = (of(milliseconds)?, of(starts.resident)?);
        rows.push(vec![what.to_owned(), spread(ready), spread(resident)]);
        let about = format!("eventd ready after the start, {what}");
        targets.push(Target::new(about, Bound::AtMost(1000.0), "ms", ready));
        let about = format!("eventd: RSS at rest, started {what}");
        targets.push(Target::new(about, Bound::AtMost(16.0), "MiB", resident));
    }
    Ok(vec![Section {
        name: "queue",
        title: format!(
            "From the start of eventd to READY=1 with {jobs} live jobs and {stale} files that are none in the queue \
             directory, and what it holds once all is confirmed."
        ),
        columns: vec!["Start", "ready after ms", "RSS MiB"],
        figures: json!(rows),
        rows,
        targets,
        faults: Faults {
            lost,
            ..Faults::default()
        },
    }])
}
