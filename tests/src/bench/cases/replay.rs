//! How fast a recorded job queue goes out: eventd, started on it without a journal, until the last event is confirmed.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::bench::command::{Arguments, Progress};
use crate::bench::cpu::CpuTime;
use crate::bench::publisher::Publisher;
use crate::bench::report::{Bound, Faults, Section, Target, number};
use crate::bench::site::{BROKER, Site, recorded};
use crate::bench::stats::{Spread, micros};
use crate::world::World;

/// Jobs in the queue.
const JOBS: usize = 100_000;
/// The newest of them, not archived yet: as many as Ganeti lets wait.
const LIVE: usize = 5000;
/// Unconfirmed messages at a time.
const WINDOW: usize = 256;
/// Jobs per directory of the archive.
const SHELF: usize = 10_000;

/// See the module.
///
/// # Errors
/// When broker or eventd do not start.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let jobs = if arguments.quick { 300 } else { JOBS };
    progress.say(&format!("replay: {jobs} job files"));
    let site = Site::new(world)?;
    record(&site, jobs)?;
    let publisher = Publisher::connect(&site.namespace, BROKER)?;
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    let (mut rows, mut ratios, mut from_journal) = (vec![], vec![], vec![]);
    let (mut memory, mut memory_after, mut lost) = (vec![], vec![], 0);
    for round in 1..=arguments.rounds() {
        progress.say(&format!("replay: round {round}, eventd"));
        site.forget()?;
        let count = u64::try_from(jobs)?;
        let mut eventd = site.eventd(BROKER, count)?;
        let ready = eventd.wait_until_ready()?;
        let taken = eventd.wait_until_confirmed(count)?;
        let cpu = CpuTime::of(eventd.program.pid())?;
        let (resident, most) = (eventd.mebibytes("VmRSS")?, eventd.mebibytes("VmHWM")?);
        eventd.stop()?;
        lost += count.saturating_sub(publisher.count()?);
        if bodies.is_empty() {
            bodies = publisher.take(jobs)?;
        }
        publisher.purge()?;
        progress.say(&format!("replay: round {round}, eventd, cursor set back"));
        site.set_cursor_back()?;
        let mut eventd = site.eventd(BROKER, count)?;
        let again = eventd.wait_until_confirmed(count)?;
        let after = eventd.mebibytes("VmRSS")?;
        eventd.stop()?;
        lost += count.saturating_sub(publisher.count()?);
        publisher.purge()?;
        progress.say(&format!("replay: round {round}, floor"));
        let floor = publisher.all(&bodies, WINDOW)?;
        publisher.purge()?;
        let rate = |taken: Duration| micros(count * 1000) / taken.as_secs_f64();
        ratios.push(rate(taken) / rate(floor));
        from_journal.push(rate(again) / rate(floor));
        memory.push(resident);
        memory_after.push(after);
        rows.push(vec![
            round.to_string(),
            number(rate(floor)),
            number(rate(taken)),
            number(rate(taken) / rate(floor)),
            number(rate(taken.saturating_sub(ready))),
            number(micros(cpu.run) / micros(count * 1000)),
            number(rate(again)),
            number(rate(again) / rate(floor)),
            number(resident),
            number(most),
            number(after),
        ]);
    }
    let of = |values: Vec<f64>| Spread::of(values).context("a round");
    let (ratio, from_journal) = (of(ratios)?, of(from_journal)?);
    let (memory, memory_after) = (of(memory)?, of(memory_after)?);
    let size = bodies.iter().map(Vec::len).sum::<usize>() / bodies.len().max(1);
    Ok(vec![Section {
        name: "replay",
        title: format!(
            "{jobs} finished jobs as Ganeti recorded them, {} of them archived: eventd starts without a journal, reads \
             all, journals them and publishes them; from its start to the last confirm. Then the cursor is set back, and it starts \
             again. Floor: a publisher that has the \
             bodies ready ({size} bytes on average), {WINDOW} unconfirmed at a time, to the same queue.",
            jobs.saturating_sub(LIVE)
        ),
        columns: vec![
            "Round",
            "floor, events/s",
            "eventd, events/s",
            "ratio",
            "eventd from READY on, events/s",
            "eventd's CPU µs/event",
            "cursor set back, events/s",
            "ratio",
            "RSS MiB in the end",
            "RSS MiB at most",
            "RSS MiB, cursor set back",
        ],
        figures: json!(rows),
        rows,
        targets: vec![
            Target::new(
                format!("replay of {jobs} events from the job files: rate"),
                Bound::AtLeast(0.7),
                "× the floor's",
                ratio,
            ),
            Target::new(
                format!("replay of {jobs} events from the journal: rate"),
                Bound::AtLeast(0.7),
                "× the floor's",
                from_journal,
            ),
            Target::new(
                "eventd: RSS after the replay",
                Bound::AtMost(16.0),
                "MiB",
                memory,
            ),
            Target::new(
                "eventd: RSS after the replay from the journal",
                Bound::AtMost(16.0),
                "MiB",
                memory_after,
            ),
            Target::none("replay: events lost", lost),
        ],
        faults: Faults {
            lost,
            ..Faults::default()
        },
    }])
}

/// Writes the files: the older ones into the archive.
fn record(site: &Site, jobs: usize) -> Result<()> {
    let live = site.queue.directory();
    for id in 1..=jobs {
        let name = format!("job-{id}");
        let path = if id + LIVE <= jobs {
            let shelf = live.join("archive").join((id / SHELF).to_string());
            if id % SHELF == 0 || id == 1 {
                fs::create_dir_all(&shelf)?;
            }
            shelf.join(name)
        } else {
            live.join(name)
        };
        fs::write(&path, recorded(id)?).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
