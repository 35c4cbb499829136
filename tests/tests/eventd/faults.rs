//! What fails around it, and what arrives all the same.

use std::fs;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::broker::{self, Broker};
use system_tests::eventd::{Eventd, STATE, configuration};
use system_tests::job_queue::{Job, JobQueue, NODE, Op};
use system_tests::luxi::Luxid;
use system_tests::namespace::Namespace;
use system_tests::relay::Relay;
use system_tests::wait;
use system_tests::world::in_world;

use super::arrivals::{Arrivals, URI};

struct Scene {
    node: Namespace,
    broker: Broker,
    relay: Relay,
    queue: JobQueue,
    settings: String,
    arrivals: Arrivals,
    next: u64,
    _luxid: Luxid,
}

impl Scene {
    /// Jobs of ours, each through its life.
    fn jobs(&mut self, count: u64) -> Result<Vec<u64>> {
        let ids: Vec<u64> = (self.next..self.next + count).collect();
        self.next += count;
        for id in &ids {
            let job = Job {
                ops: vec![
                    Op::on(&format!("snf-{id}"), "OP_INSTANCE_SHUTDOWN"),
                    Op::on(&format!("snf-{id}"), "OP_INSTANCE_STARTUP"),
                ],
                ..Job::of(*id, Op::on("", ""))
            };
            for status in ["queued", "waiting", "running", "success"] {
                self.queue.write(&job.clone().at(status))?;
            }
        }
        Ok(ids)
    }

    fn start(&self) -> Result<Eventd> {
        Eventd::start(&self.node, &self.settings)
    }

    /// Everything there is has arrived, and nothing else.
    fn equal(&mut self) -> Result<()> {
        self.arrivals.equal(&self.broker, &self.queue, "snf-")
    }
}

#[test]
fn nothing_is_lost_whatever_fails_around_it() {
    in_world(&[broker::NEEDS], |world| {
        let node = world.namespace("node1")?;
        let broker = Broker::start(&node)?;
        let relay = Relay::new(&node, "127.0.0.1:5670", "127.0.0.1:5672")?;
        let settings = configuration(&URI.replace("5672", "5670"), "", "");
        let mut scene = Scene {
            queue: JobQueue::new(&node)?,
            arrivals: Arrivals::of("snf-events-op"),
            next: 9_990,
            _luxid: Luxid::start(&node)?,
            node,
            broker,
            relay,
            settings,
        };
        eventd_is_down(&mut scene)?;
        clocks_differ(&mut scene)?;
        the_queue_is_missing(&mut scene)?;
        the_connection_is_cut_before_the_confirm(&mut scene)?;
        the_disk_alarm_is_on(&mut scene)?;
        the_broker_is_down(&mut scene)?;
        the_journal_is_lost(&mut scene)?;
        another_node_was_master(&mut scene)?;
        a_queue_is_not_ours(&mut scene)
    });
}

/// Jobs run, end and are archived, over a boundary of the archive's directories.
fn eventd_is_down(scene: &mut Scene) -> Result<()> {
    let eventd = scene.start()?;
    scene.jobs(5)?;
    scene.equal()?;
    eventd.stop()?;
    for id in scene.jobs(20)? {
        scene.queue.archive(id)?;
    }
    scene.jobs(5)?;
    let eventd = scene.start()?;
    scene.equal()?;
    eventd.stop()
}

/// A master whose clock is ten minutes off, either way: numbers and times fall, and everything arrives.
fn clocks_differ(scene: &mut Scene) -> Result<()> {
    let eventd = scene.start()?;
    for (id, ahead) in [(10_500, 600), (10_501, -600), (10_499, 0)] {
        let job = Job::of(id, Op::on("snf-7", "OP_INSTANCE_REBOOT"));
        let received = job.received + ahead;
        scene.queue.write(&Job { received, ..job }.at("success"))?;
    }
    scene.next = 10_510;
    scene.equal()?;
    eventd.stop()
}

fn the_queue_is_missing(scene: &mut Scene) -> Result<()> {
    let eventd = scene.start()?;
    scene.jobs(1)?;
    scene.equal()?;
    scene.broker.delete("snf-events-op")?;
    scene.jobs(3)?;
    // Returned, declared anew, sent again.
    eventd.shows(
        "snf_eventd_published_total{outcome=\"returned\"}",
        |count| count >= 1.0,
    )?;
    scene.equal()?;
    eventd.shows("snf_eventd_backlog", |count| count == 0.0)?;
    eventd.stop()
}

fn the_connection_is_cut_before_the_confirm(scene: &mut Scene) -> Result<()> {
    let eventd = scene.start()?;
    scene.jobs(1)?;
    scene.equal()?;
    let held = scene.relay.held();
    scene.relay.hold_answers(true);
    let ids = scene.jobs(3)?;
    // The broker has them and has said so, and eventd does not know.
    let relay = scene.relay.clone();
    wait::until("confirms are held back", wait::SOON, || {
        Ok(relay.held() > held)
    })?;
    scene.equal()?;
    let before = scene.arrivals.messages.len();
    scene.relay.cut();
    scene.relay.hold_answers(false);
    eventd.shows("snf_eventd_backlog", |count| count == 0.0)?;
    scene.equal()?;
    let again = scene.arrivals.messages.split_off(before);
    let is_repeated = again.iter().any(|message| {
        message
            .body
            .get("jobId")
            .and_then(Value::as_u64)
            .is_some_and(|job| ids.contains(&job))
    });
    ensure!(is_repeated, "what was not acknowledged goes out again");
    eventd.stop()
}

fn the_disk_alarm_is_on(scene: &mut Scene) -> Result<()> {
    let eventd = scene.start()?;
    scene.broker.ctl(&["set_disk_free_limit", "1000GB"])?;
    scene.jobs(3)?;
    eventd.shows("snf_eventd_backlog", |count| count >= 6.0)?;
    // It waits, longer than for anything else: what another connection brought would be taken before what this one has.
    eventd.shows("snf_eventd_lag_seconds", |seconds| seconds >= 5.0)?;
    eventd.shows("snf_eventd_connection_errors_total", |count| count == 0.0)?;
    scene.broker.ctl(&["set_disk_free_limit", "1MB"])?;
    scene.equal()?;
    eventd.shows("snf_eventd_backlog", |count| count == 0.0)?;
    eventd.shows("snf_eventd_connection_errors_total", |count| count == 0.0)?;
    eventd.stop()
}

fn the_broker_is_down(scene: &mut Scene) -> Result<()> {
    let eventd = scene.start()?;
    scene.jobs(1)?;
    scene.equal()?;
    scene.broker.kill()?;
    scene.jobs(300)?;
    eventd.shows("snf_eventd_backlog", |count| count >= 600.0)?;
    wait::until("it says that it is not well", wait::SOON, || {
        Ok(eventd.get("/health")?.0 == 503)
    })?;
    // And eventd is restarted meanwhile.
    eventd.stop()?;
    let eventd = scene.start()?;
    scene.jobs(10)?;
    scene.broker.again()?;
    scene.equal()?;
    eventd.shows("snf_eventd_backlog", |count| count == 0.0)?;
    wait::until("it is well again", wait::SOON, || {
        Ok(eventd.get("/health")? == (200, String::from("ok\n")))
    })?;
    eventd.stop()
}

fn the_journal_is_lost(scene: &mut Scene) -> Result<()> {
    let epoch = epoch_of_last(scene)?;
    let ids = scene.jobs(2)?;
    for id in ids.iter().take(1) {
        scene.queue.archive(*id)?;
    }
    fs::remove_dir_all(scene.node.path(STATE))?;
    // All live and archived jobs go out again, under a new epoch.
    scene.arrivals.messages.clear();
    let eventd = scene.start()?;
    scene.equal()?;
    ensure!(epoch_of_last(scene)? != epoch, "a new epoch");
    eventd.stop()
}

/// Journals go on, publication does not; and back, with a new epoch and the newest of everything.
fn another_node_was_master(scene: &mut Scene) -> Result<()> {
    let eventd = scene.start()?;
    scene.jobs(1)?;
    scene.equal()?;
    let epoch = epoch_of_last(scene)?;
    scene.queue.set_master("node2.gnt.test")?;
    eventd.shows("snf_eventd_master", |master| master == 0.0)?;
    eventd.shows("snf_eventd_connected", |connected| connected == 0.0)?;
    let journaled = eventd.figure("snf_eventd_journaled_total")?;
    scene.jobs(2)?;
    eventd.shows("snf_eventd_journaled_total", |count| {
        count >= journaled + 4.0
    })?;
    scene.arrivals.take(&scene.broker)?;
    let before = scene.arrivals.messages.len();
    scene.queue.set_master(NODE)?;
    scene.equal()?;
    ensure!(epoch_of_last(scene)? != epoch, "a new epoch");
    let again = scene.arrivals.messages.len() - before;
    ensure!(
        again >= scene.queue.ends("snf-").len(),
        "the newest of everything: {again}"
    );
    eventd.stop()
}

/// It does not start, and says which queue it is.
fn a_queue_is_not_ours(scene: &mut Scene) -> Result<()> {
    scene.broker.declare_plainly("bad-events-network")?;
    let settings = configuration(URI, "prefixes = [\"bad-\"]", "");
    let mut eventd = Eventd::start_unready(&scene.node, &settings)?;
    let status = eventd.program.wait(wait::SOON)?;
    let said = eventd.program.output()?;
    ensure!(status.code() == Some(1), "{status}: {said}");
    ensure!(
        said.contains("queue bad-events-network exists with other properties"),
        "{said}"
    );
    ensure!(
        eventd.program.signal(Signal::SIGTERM).is_err() || !eventd.program.is_running()?,
        "it ended"
    );
    Ok(())
}

fn epoch_of_last(scene: &Scene) -> Result<String> {
    let last = scene.arrivals.messages.last();
    let epoch = last.and_then(|message| message.body.get("epoch")?.as_str());
    epoch
        .map(str::to_owned)
        .ok_or_else(|| anyhow::anyhow!("nothing arrived"))
}
