//! What arrives, in which shape; and what must not arrive, or not disturb.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use system_tests::broker::{self, Broker};
use system_tests::eventd::{Eventd, configuration, get};
use system_tests::job_queue::{CLUSTER, Job, JobQueue, NODE, Op};
use system_tests::luxi::{CLUSTER_UUID, Luxid};
use system_tests::namespace::Namespace;
use system_tests::wait;
use system_tests::world::in_world;

use super::arrivals::Arrivals;

const INSTANCE: &str = "4a98629b-ef2d-45b6-b4bc-bb70b70e7057";

fn details() -> Value {
    json!({
        "uuid": INSTANCE, "serial_no": 3, "tags": ["synnefo:network:snf-nic-7:protected"],
        "nic.names": ["snf-nic-7"], "nic.networks.names": ["snf-net-12"], "nic.ips": ["192.0.2.17"],
        "nic.macs": ["aa:00:00:5f:12:01"], "nic.modes": ["routed"], "nic.links": ["snf_public"],
        "nic.uuids": ["ff7053d8-b2ff-464a-8f68-c9da6aa35a20"], "disk.names": ["snf-vol-9"], "disk.sizes": [2048],
        "disk.uuids": ["0d5b1c2e-0000-4b1c-9a53-5f4c0e6a7b11"], "hv/boot_order": "disk", "hv/cdrom_image_path": "",
    })
}

fn field<'a>(body: &'a Value, path: &str) -> Result<&'a Value> {
    body.pointer(path)
        .with_context(|| format!("no {path} in {body}"))
}

#[test]
fn every_message_has_its_shape_and_nothing_foreign_arrives() {
    in_world(&[broker::NEEDS], |world| {
        let node = world.namespace("node1")?;
        let broker = Broker::start(&node)?;
        let luxid = Luxid::start(&node)?;
        luxid
            .state()
            .instances
            .insert(String::from("snf-42"), details());
        let mut queue = JobQueue::new(&node)?;
        rights(&broker)?;
        let settings = settings(&broker);
        let eventd = Eventd::start(&node, &settings)?;
        broker.listen("heartbeats", "eventd.heartbeat")?;

        shapes(&broker, &mut queue)?;
        without_details(&broker, &luxid, &mut queue, &eventd)?;
        hostile_files(&broker, &mut queue, &eventd)?;
        heartbeats(&broker, &mut queue)?;
        journal_for_the_controller(&node)?;
        memory(&eventd)?;
        eventd.stop()
    });
}

/// The rights the contract gives a publisher: to write to the exchange, and nothing else. The topology is declared by
/// the controller.
fn rights(broker: &Broker) -> Result<()> {
    broker.declare("snf-")?;
    broker.ctl(&["add_user", "eventd", "p/w"])?;
    broker.ctl(&["set_permissions", "eventd", "^$", "^ganeti$", "^$"])?;
    Ok(())
}

fn settings(broker: &Broker) -> String {
    let certificate = broker.certificate();
    let pull = format!("[pull]\nlisten = \"127.0.0.1:9549\"\ntoken_sha256 = \"{TOKEN_SHA256}\"\n");
    configuration(
        "amqps://eventd:p%2Fw@localhost:5671",
        "heartbeat = 1",
        &format!("ca = \"{certificate}\"\n{pull}"),
    )
}

/// Of `controller`.
const TOKEN_SHA256: &str = "c1472135b14c77c8bef98e73f70208325fa0dcf1e6bd668ae9b31a9cea295fe7";

fn shapes(broker: &Broker, queue: &mut JobQueue) -> Result<()> {
    let create = json!({
        "instance_name": "snf-42", "tags": ["a"], "nics": [], "osparams": {"img_passwd": "geheim"},
        "reason": [["gnt:user", "snf:token", 1]],
    });
    queue.write(&Job {
        ops: vec![
            Op::new("OP_INSTANCE_CREATE", &create)
                .log("created")
                .with_result(json!(["node2"]))
                .at("success"),
            Op::on("snf-42", "OP_INSTANCE_REBOOT").at("error"),
            Op::on("vm.example.org", "OP_INSTANCE_REBOOT").at("success"),
        ],
        ..Job::of(16, Op::on("", ""))
    })?;
    queue.write(&Job::of(
        17,
        Op::new(
            "OP_NETWORK_ADD",
            &json!({"network_name": "snf-net-12", "network": "192.0.2.0/24"}),
        )
        .at("success"),
    ))?;
    queue.write(&Job::of(
        18,
        Op::new("OP_CLUSTER_SET_PARAMS", &json!({})).at("success"),
    ))?;
    queue.write(&Job::of(
        19,
        Op::on("office-1", "OP_INSTANCE_STARTUP").at("success"),
    ))?;

    let mut op = Arrivals::of("snf-events-op");
    op.until(
        broker,
        &[(16, 0, "success".to_owned()), (16, 1, "error".to_owned())].into(),
    )?;
    let message = op.messages.first().context("a message")?;
    let expected = json!({
        "type": "ganeti-op-status", "instance": "snf-42", "operation": "OP_INSTANCE_CREATE", "status": "success",
        "jobId": 16, "event_time": [1_795_000_019, 250_003], "logmsg": "created", "cluster": CLUSTER,
        "result": ["node2"], "tags": ["a"],
        "job_fields": {"nics": [], "disks": null, "hvparams": null, "beparams": null},
        "instance_nics": [{
            "name": "snf-nic-7", "network": "snf-net-12", "ip": "192.0.2.17", "mac": "aa:00:00:5f:12:01",
            "mode": "routed", "link": "snf_public", "uuid": "ff7053d8-b2ff-464a-8f68-c9da6aa35a20",
            "firewall": "protected",
        }],
        "instance_disks": [{"name": "snf-vol-9", "size": 2048, "uuid": "0d5b1c2e-0000-4b1c-9a53-5f4c0e6a7b11"}],
        "instance_hvparams": {"boot_order": "disk", "cdrom_image_path": ""},
        "instance_uuid": INSTANCE, "serial_no": 3, "reason": "snf:token",
        "cluster_uuid": CLUSTER_UUID, "received_timestamp": [1_795_000_016, 72_006], "op_index": 0,
        "end_timestamp": [1_795_000_019, 250_003], "prefix": "snf-", "sequence": 1, "previous": 0,
        "epoch": field(&message.body, "/epoch")?,
    });
    ensure!(
        message.body == expected,
        "{} is not {expected}",
        message.body
    );
    ensure!(message.key == "ganeti.snf.event.op", "{}", message.key);
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
    let properties = &message.properties;
    ensure!(*properties.delivery_mode() == Some(2), "persistent");
    ensure!(
        text(properties.user_id()).as_deref() == Some("eventd"),
        "says who sent it"
    );
    ensure!(
        text(properties.content_type()).as_deref() == Some("application/json"),
        "says what it is"
    );
    let id = format!("{CLUSTER_UUID}/16/1795000016.072006/0/success");
    ensure!(text(properties.message_id()) == Some(id), "{properties:?}");
    // A reboot's result needs no NICs.
    let reboot = &op.messages.get(1).context("another message")?.body;
    ensure!(
        *field(reboot, "/serial_no")? == 3 && reboot.get("instance_nics").is_none(),
        "{reboot}"
    );

    let mut network = Arrivals::of("snf-events-network");
    network.until(broker, &[(17, 0, "success".to_owned())].into())?;
    let body = &network.messages.first().context("a message")?.body;
    ensure!(
        *field(body, "/job_fields/subnet")? == "192.0.2.0/24",
        "{body}"
    );
    let mut cluster = Arrivals::of("snf-events-cluster");
    cluster.until(broker, &[(18, 0, "success".to_owned())].into())?;
    op.take(broker)?;
    ensure!(op.messages.len() == 2, "nothing foreign: {:?}", op.messages);
    Ok(())
}

/// Ganeti not answering, and an instance that is gone, cost details and not the message.
fn without_details(
    broker: &Broker,
    luxid: &Luxid,
    queue: &mut JobQueue,
    eventd: &Eventd,
) -> Result<()> {
    let mut op = Arrivals::of("snf-events-op");
    queue.write(&Job::of(
        30,
        Op::on("snf-gone", "OP_INSTANCE_STARTUP").at("success"),
    ))?;
    op.until(broker, &[(30, 0, "success".to_owned())].into())?;
    luxid.state().silent = true;
    queue.write(&Job::of(
        31,
        Op::on("snf-42", "OP_INSTANCE_STARTUP").at("success"),
    ))?;
    op.until(broker, &[(31, 0, "success".to_owned())].into())?;
    luxid.state().silent = false;
    let info = |place: usize| {
        op.messages
            .get(place)
            .map(|message| message.body.pointer("/info").cloned())
    };
    ensure!(info(0) == Some(Some(json!("absent"))), "{:?}", op.messages);
    ensure!(
        info(1) == Some(Some(json!("unavailable"))),
        "{:?}",
        op.messages
    );
    eventd.shows("snf_eventd_attachments_unavailable_total", |count| {
        count == 1.0
    })
}

/// Truncated, huge, malformed files, files that are none, and ten thousand that nobody needs.
fn hostile_files(broker: &Broker, queue: &mut JobQueue, eventd: &Eventd) -> Result<()> {
    for stale in 0..10_000 {
        fs::write(queue.directory().join(format!("job-{stale}x.new")), "")?;
    }
    let whole = fs::read(queue.directory().join("job-16"))?;
    queue.write_bytes(40, whole.get(..whole.len() / 2).unwrap_or_default())?;
    queue.write_bytes(41, b"")?;
    queue.write_bytes(42, "[".repeat(1 << 20).as_bytes())?;
    queue.write_bytes(43, &whole)?;
    queue.write_bytes(44, &vec![b' '; 17 << 20])?;
    fs::create_dir(queue.directory().join("job-45"))?;
    std::os::unix::fs::symlink("/etc/passwd", queue.directory().join("job-46"))?;
    let skipped = |reason: &str| format!("snf_eventd_files_skipped_total{{reason=\"{reason}\"}}");
    eventd.shows(&skipped("malformed"), |count| count == 4.0)?;
    eventd.shows(&skipped("too_large"), |count| count == 1.0)?;
    eventd.shows(&skipped("unreadable"), |count| count == 2.0)?;
    // Two more lists, and each is still complained of once.
    let lists = eventd.figure("snf_eventd_lists_total")?;
    eventd.shows("snf_eventd_lists_total", |count| count >= lists + 2.0)?;
    ensure!(eventd.figure(&skipped("malformed"))? == 4.0, "counted once");
    let said = eventd.program.output()?;
    for job in 40..=46 {
        let of_job = format!("job.id={job} ");
        let complaints = said
            .lines()
            .filter(|line| line.contains("skipped a file") && format!("{line} ").contains(&of_job));
        ensure!(
            complaints.count() == 1,
            "job {job} is complained of once:\n{said}"
        );
    }
    // And a file that is written again counts again, as what it is now.
    queue.write(&Job::of(
        40,
        Op::on("snf-42", "OP_INSTANCE_REBOOT").at("success"),
    ))?;
    let mut op = Arrivals::of("snf-events-op");
    op.until(broker, &[(40, 0, "success".to_owned())].into())
}

/// At an interval, and when a job asks for one as the original's status check does.
fn heartbeats(broker: &Broker, queue: &mut JobQueue) -> Result<()> {
    let mut beats = Arrivals::of("heartbeats");
    wait::until("heartbeats", wait::SOON, || {
        beats.take(broker)?;
        Ok(beats.messages.len() >= 2)
    })?;
    let last = &beats.messages.last().context("a heartbeat")?.body;
    let expected = [
        ("/type", json!("eventd-heartbeat")),
        ("/operation", json!("OP_TAGS_SET")),
        ("/status", json!("waiting")),
        ("/cluster", json!(CLUSTER)),
        ("/cluster_uuid", json!(CLUSTER_UUID)),
        ("/node", json!(NODE)),
        ("/master", json!(true)),
        ("/streams/0/prefix", json!("snf-")),
    ];
    for (path, value) in expected {
        ensure!(*field(last, path)? == value, "{path} of {last}");
    }
    let asking = json!({"kind": "cluster", "tags": ["snf:eventd:heartbeat:1"], "dry_run": true});
    queue.write(&Job::of(50, Op::new("OP_TAGS_SET", &asking).at("waiting")))?;
    Ok(())
}

/// Every number can be asked for, with the token.
fn journal_for_the_controller(node: &Namespace) -> Result<()> {
    let ask = |path: &str, token: &str| {
        get(
            node,
            "127.0.0.1:9549",
            path,
            &format!("Authorization: Bearer {token}\r\n"),
        )
    };
    ensure!(ask("/journal?after=0", "wrong")?.0 == 401, "a wrong token");
    let other = "/journal?epoch=00000000-0000-4000-8000-000000000000&after=0";
    let (status, body) = ask(other, "controller")?;
    ensure!(status == 409, "another epoch: {status} {body}");
    let epoch: Value = serde_json::from_str(&body)?;
    let epoch = field(&epoch, "/epoch")?.as_str().context("a text")?;
    let (status, body) = ask(&format!("/journal?epoch={epoch}&after=2"), "controller")?;
    ensure!(status == 200, "{status} {body}");
    let page: snf_events::intake::Page = serde_json::from_str(&body)?;
    let sequences: Vec<u64> = page
        .records
        .iter()
        .map(|record| record.sequence.0)
        .collect();
    ensure!(
        sequences == (3..=page.newest.0).collect::<Vec<_>>(),
        "{sequences:?}"
    );
    ensure!(ask("/journal?epoch=x", "controller")?.0 == 400, "no epoch");
    Ok(())
}

/// What it holds in memory, with a debug build's larger code left out.
fn memory(eventd: &Eventd) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{}/status", eventd.program.pid()))?;
    let anonymous = status.lines().find_map(|line| {
        line.strip_prefix("RssAnon:")?
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .ok()
    });
    let anonymous = anonymous.context("RssAnon")?;
    ensure!(anonymous < 16 << 10, "{anonymous} kB of its own");
    Ok(())
}
