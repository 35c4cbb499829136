//! How long an event takes: from the rename of its job file to the broker's confirm at eventd, at a fixed rate.

use std::fs::{self, File};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::bench::command::{Arguments, Progress};
use crate::bench::confirms::Confirms;
use crate::bench::publisher::Publisher;
use crate::bench::report::{Bound, Faults, Section, Target, number, spread};
use crate::bench::site::{BROKER, Site, instance};
use crate::bench::stats::{Latencies, Spread};
use crate::job_queue::{Job, Op};
use crate::luxi::CLUSTER_UUID;
use crate::wait;
use crate::world::World;

/// Between the publishers and the broker.
const RELAY: &str = "127.0.0.1:5673";
/// Changes per second.
const RATE: u32 = 50;
/// Jobs that are under way at a time; each goes through these states.
const JOBS: usize = 50;
const STATES: [&str; 3] = ["waiting", "running", "success"];
/// Seconds of load in a round, eventd's and the floor's by turns.
const TURNS: usize = 15;

/// What makes the changes.
struct Changes {
    site: Site,
    confirms: Confirms,
    made: usize,
    lost: u64,
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
    progress.say("delay: broker and eventd");
    let site = Site::new(world)?;
    let confirms = Confirms::relay(&site.namespace, RELAY, BROKER)?;
    let mut eventd = site.eventd(RELAY, 0)?;
    eventd.wait_until_ready()?;
    let mut changes = Changes {
        site,
        confirms,
        made: 0,
        lost: 0,
    };
    // Connected, and everything was used once.
    changes.make(JOBS)?;
    let publisher = Publisher::connect(&changes.site.namespace, RELAY)?;
    let body = publisher.take(1)?.pop().context("a body")?;
    let (turns, each) = if arguments.quick {
        (1, 10)
    } else {
        (TURNS, 50)
    };
    let mut rounds = Vec::new();
    let mut rows = Vec::new();
    for round in 1..=arguments.rounds() {
        progress.say(&format!("delay: round {round}"));
        let (mut ours, mut sync, mut confirm, mut floor) = (vec![], vec![], vec![], vec![]);
        for _ in 0..turns {
            ours.extend(changes.make(each)?);
            for (synced, confirmed) in changes.floor(&publisher, &body, each)? {
                sync.push(synced);
                confirm.push(confirmed);
                floor.push(synced + confirmed);
            }
        }
        publisher.purge()?;
        let [ours, sync, confirm, floor] = [ours, sync, confirm, floor].map(Latencies::new);
        for (what, found) in [
            ("fdatasync of the body", &sync),
            ("bare confirm", &confirm),
            ("floor: both, one after the other", &floor),
            ("rename to confirm, eventd", &ours),
        ] {
            let percents =
                [50.0, 90.0, 99.0, 100.0].map(|percent| number(found.percentile(percent)));
            rows.push([vec![round.to_string(), what.to_owned()], percents.to_vec()].concat());
        }
        rounds.push((ours, floor));
    }
    let ratio = |ours: f64, floor: f64| {
        let ratios = rounds
            .iter()
            .map(|(of, least)| of.percentile(ours) / least.percentile(floor));
        Spread::of(ratios).context("a round")
    };
    let tail = ratio(99.0, 99.0)?;
    let target = |percent: f64, times: f64| -> Result<Target> {
        let about = format!("event: p{percent:.0} from rename to confirm");
        let unit = "× the floor's p50";
        Ok(Target::new(
            about,
            Bound::AtMost(times),
            unit,
            ratio(percent, 50.0)?,
        ))
    };
    let mut p99 = target(99.0, 4.0)?;
    p99.measured = format!("{}; to the floor's p99 {}", p99.measured, spread(tail));
    let faults = Faults {
        lost: changes.lost,
        ..Faults::default()
    };
    drop(eventd);
    Ok(vec![Section {
        name: "delay",
        title: format!(
            "{RATE} changes of job files a second, every third a job's end, whose instance's details are asked of luxid; \
             by turns of a second with the floor at the same rate. {} samples of each in a round.",
            turns * each
        ),
        columns: vec!["Round", "what", "p50 µs", "p90 µs", "p99 µs", "max µs"],
        figures: json!(rows),
        rows,
        targets: vec![
            target(50.0, 2.0)?,
            p99,
            Target::none("events lost", changes.lost),
        ],
        faults,
    }])
}

impl Changes {
    /// Makes the next `count` changes, one every fiftieth of a second; nanoseconds until each was confirmed.
    fn make(&mut self, count: usize) -> Result<Vec<u64>> {
        let (mut begun, mut taken) = (Vec::new(), Vec::new());
        self.confirms.take();
        let start = Instant::now();
        for step in 0_u32.. {
            if begun.len() == count {
                break;
            }
            let (slot, turn) = (self.made % JOBS, self.made / JOBS);
            self.made += 1;
            let id = 1 + slot + turn / STATES.len() * JOBS;
            let status = STATES.get(turn % STATES.len()).context("a state")?;
            let job = Job::of(
                u64::try_from(id)?,
                Op::on(&instance(slot), "OP_INSTANCE_REBOOT").at(status),
            );
            let aside = self.site.queue.lay_aside(job.id, job.text().as_bytes())?;
            sleep_until(start + step * Duration::from_secs(1) / RATE);
            let id = format!(
                "{CLUSTER_UUID}/{}/{}.072006/0/{status}",
                job.id, job.received
            );
            begun.push((id, Instant::now()));
            aside.put()?;
        }
        let confirms = self.confirms.clone();
        // What is not confirmed by then is counted.
        let all = wait::until("all are confirmed", wait::SOON, || {
            Ok(confirms.count() >= count)
        });
        let seen = self.confirms.take();
        for (id, at) in begun {
            match seen.get(&id) {
                Some(confirmed) => taken.push(u64::try_from((*confirmed - at).as_nanos())?),
                None => self.lost += 1,
            }
        }
        all.map(|()| taken)
    }

    /// The least that can be done for `count` events, at the same rate: nanoseconds of `fdatasync`, and of a confirm.
    fn floor(&self, publisher: &Publisher, body: &[u8], count: usize) -> Result<Vec<(u64, u64)>> {
        let directory = self.site.disk.path();
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(directory.join("journal"))?;
        let start = Instant::now();
        let mut taken = Vec::new();
        let (aside, place) = (directory.join("aside"), directory.join("floor"));
        for step in 0..u32::try_from(count)? {
            fs::write(&aside, body)?;
            sleep_until(start + step * Duration::from_secs(1) / RATE);
            // As Ganeti's writing of a job file, which the file system has to order too.
            fs::rename(&aside, &place)?;
            let begun = Instant::now();
            file.write_all(body)?;
            file.sync_data()?;
            let synced = begun.elapsed();
            publisher.one(body)?;
            let confirmed = begun.elapsed() - synced;
            taken.push((
                u64::try_from(synced.as_nanos())?,
                u64::try_from(confirmed.as_nanos())?,
            ));
        }
        Ok(taken)
    }
}

fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
