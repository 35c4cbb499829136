//! eventd killed at every step: read, journal, publish, confirm, cursor.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use system_tests::broker::{self, Broker};
use system_tests::eventd::{Eventd, configuration};
use system_tests::job_queue::{Job, JobQueue, Op};
use system_tests::luxi::Luxid;
use system_tests::relay::Relay;
use system_tests::wait;
use system_tests::world::in_world;

use super::arrivals::{Arrivals, URI};

/// How often it is killed at a moment that nothing chose.
const KILLS: u64 = 40;

#[test]
fn killed_at_any_moment_it_loses_nothing() {
    in_world(&[broker::NEEDS], |world| {
        let node = world.namespace("node1")?;
        let broker = Broker::start(&node)?;
        let _luxid = Luxid::start(&node)?;
        let mut queue = JobQueue::new(&node)?;
        let relay = Relay::new(&node, "127.0.0.1:5670", "127.0.0.1:5672")?;
        let mut arrivals = Arrivals::of("snf-events-op");
        let settings = configuration(
            &URI.replace("5672", "5670"),
            "",
            // Small files: they are rotated and compacted all the time.
            "[journal]\nsegment = 8192\ncompact = 30000\nkeep = 50\n",
        );
        let job = |id: u64| {
            let op = |code| Op::on(&format!("snf-{id}"), code);
            Job {
                ops: vec![op("OP_INSTANCE_SHUTDOWN"), op("OP_INSTANCE_STARTUP")],
                ..Job::of(id, op(""))
            }
        };

        // Between journal and publication: the broker cannot be reached.
        relay.refuse(true);
        let eventd = Eventd::start(&node, &settings)?;
        queue.write(&job(1).at("success"))?;
        eventd.shows("snf_eventd_backlog", |count| count == 2.0)?;
        eventd.kill()?;
        relay.refuse(false);
        let eventd = Eventd::start(&node, &settings)?;
        arrivals.equal(&broker, &queue, "snf-")?;

        // Between publication and confirm: the answer is held back.
        let held = relay.held();
        relay.hold_answers(true);
        queue.write(&job(2).at("success"))?;
        wait::until("a confirm is held back", wait::SOON, || {
            Ok(relay.held() > held)
        })?;
        eventd.kill()?;
        relay.hold_answers(false);
        let eventd = Eventd::start(&node, &settings)?;
        arrivals.equal(&broker, &queue, "snf-")?;

        // Between confirm and cursor: as soon as it counts the confirm.
        let acknowledged = "snf_eventd_published_total{outcome=\"acknowledged\"}";
        let before = eventd.figure(acknowledged)?;
        queue.write(&job(3).at("success"))?;
        eventd.shows(acknowledged, |count| count > before)?;
        eventd.kill()?;

        // At any moment: of its start, of a list, of a commit, of a compaction, of a publication.
        let mut id = 10;
        let mut moment = 7_u64;
        for kill in 0..KILLS {
            let eventd = Eventd::start_unready(&node, &settings)?;
            moment = moment
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            for _ in 0..moment >> 60 {
                for status in ["queued", "waiting", "running", "success"] {
                    queue.write(&job(id).at(status))?;
                    if kill % 3 == 0 {
                        thread::sleep(Duration::from_millis(2));
                    }
                }
                if id % 4 == 0 {
                    queue.archive(id)?;
                }
                id += 1;
            }
            thread::sleep(Duration::from_micros(moment >> 44 & 0x3_ffff));
            eventd.kill()?;
        }
        let eventd = Eventd::start(&node, &settings)?;
        arrivals.equal(&broker, &queue, "snf-")?;
        ensure!(id > 200, "only {id} jobs were written");
        eventd.shows("snf_eventd_backlog", |count| count == 0.0)?;
        eventd.stop()
    });
}
