//! A job's trip: from a file in Ganeti's queue to a real broker, and what must not stop it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use system_tests::broker::{self, Broker, Delivered};
use system_tests::eventd::{Eventd, configuration};
use system_tests::job_queue::{Job, JobQueue, Op};
use system_tests::luxi::{CLUSTER_UUID, Luxid};
use system_tests::wait;
use system_tests::world::in_world;

const URI: &str = "amqp://guest:guest@127.0.0.1:5672";

/// Job, operation and status of messages.
fn states(messages: &[Delivered]) -> Vec<(u64, u64, String)> {
    let number =
        |body: &Value, key: &str| body.get(key).and_then(Value::as_u64).unwrap_or(u64::MAX);
    let state = |message: &Delivered| {
        let status = message.body.get("status").and_then(Value::as_str);
        (
            number(&message.body, "jobId"),
            number(&message.body, "op_index"),
            status.unwrap_or_default().to_owned(),
        )
    };
    messages.iter().map(state).collect()
}

/// Takes what is in the queue until all of `expected` has come.
fn expect(
    broker: &Broker,
    queue: &str,
    expected: &BTreeSet<(u64, u64, String)>,
    got: &mut Vec<Delivered>,
) -> Result<()> {
    let mut missing = expected.clone();
    let fact = format!("all final states in {queue}");
    let waited = wait::until(&fact, wait::SOON, || {
        got.extend(broker.take(queue)?);
        for state in states(got) {
            missing.remove(&state);
        }
        Ok(missing.is_empty())
    });
    waited.map_err(|error| error.context(format!("missing: {missing:?}, got: {:?}", states(got))))
}

#[test]
fn a_job_goes_from_its_file_to_the_broker() {
    in_world(&[broker::NEEDS], |world| {
        let node = world.namespace("node1")?;
        let broker = Broker::start(&node)?;
        let luxid = Luxid::start(&node)?;
        luxid.state().instances.insert(
            String::from("snf-42"),
            json!({"uuid": "4a98629b-ef2d-45b6-b4bc-bb70b70e7057", "serial_no": 3, "tags": []}),
        );
        let mut queue = JobQueue::new(&node)?;
        let eventd = Eventd::start(&node, &configuration(URI, "", ""))?;
        let job = Job::of(16, Op::on("snf-42", "OP_INSTANCE_REBOOT"));
        queue.write(&job)?;
        queue.write(&job.clone().at("running"))?;
        queue.write(&job.at("success"))?;
        let mut got = Vec::new();
        expect(&broker, "snf-events-op", &queue.ends("snf-"), &mut got)?;
        let last = got.last().expect("something came");
        ensure!(last.body["cluster_uuid"] == CLUSTER_UUID, "{}", last.body);
        ensure!(last.body["serial_no"] == 3, "{}", last.body);
        eventd.stop()
    });
}
