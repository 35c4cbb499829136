//! Where eventd is measured: RabbitMQ, a luxid and a job queue in one namespace, what they keep on a real file system.
//!
//! A world's own directories are in memory, where nothing takes time to last; these three are under `target/guest`.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::eventd::{self, STATE};
use crate::job_queue::{GANETI, JobQueue, NODE};
use crate::luxi::{self, Luxid};
use crate::namespace::Namespace;
use crate::notifications::Notifications;
use crate::program::Program;
use crate::wait;
use crate::world::{self, World};

/// The queue that events about instances go to.
pub(crate) const QUEUE: &str = "snf-events-op";
/// The broker itself.
pub(crate) const BROKER: &str = "127.0.0.1:5672";
const PREFIX: &str = "snf-";
const CONFIGURATION: &str = "/etc/snf/bench.toml";
const METRICS: &str = "127.0.0.1:9548";
/// How long a start, or a whole replay, may take before the benchmark gives up.
const LIMIT: Duration = Duration::from_secs(120);
/// The instances the jobs are about.
pub(crate) const INSTANCES: usize = 200;

/// The site. What is on disk goes last.
pub(crate) struct Site {
    _broker: Broker,
    pub(crate) queue: JobQueue,
    pub(crate) namespace: Namespace,
    _luxid: Luxid,
    pub(crate) disk: TempDir,
}

impl Site {
    /// A broker with our topology, an empty queue, and a luxid that knows the instances.
    ///
    /// # Errors
    /// When a part does not start.
    pub(crate) fn new(world: &World) -> Result<Self> {
        let namespace = world.namespace("master")?;
        let disk = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(world::cache())
            .context("make a directory on disk")?;
        for place in ["/var/lib/broker", STATE, GANETI] {
            let own = disk.path().join(place.trim_start_matches("/var/lib/"));
            fs::create_dir(&own)?;
            symlink(&own, namespace.path(place)).with_context(|| format!("put {place} on disk"))?;
        }
        let broker = Broker::start(&namespace)?;
        broker.declare(PREFIX)?;
        let luxid = Luxid::start(&namespace)?;
        for number in 0..INSTANCES {
            luxid
                .state()
                .instances
                .insert(instance(number), details(number));
        }
        Ok(Self {
            _broker: broker,
            queue: JobQueue::new(&namespace)?,
            namespace,
            _luxid: luxid,
            disk,
        })
    }

    /// Starts eventd as delivered, with a search of the archive as deep as wanted, for the broker at `broker`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn eventd(&self, broker: &str, archive_depth: u64) -> Result<Eventd> {
        let configuration = format!(
            "node = \"{NODE}\"\nmetrics = \"{METRICS}\"\n[ganeti]\nquery_socket = \"{}\"\n\
             archive_depth = {archive_depth}\n[amqp]\nhosts = [\"amqp://guest:guest@{broker}\"]\n",
            luxi::SOCKET,
        );
        self.namespace.write(CONFIGURATION, &configuration)?;
        let notifications = Notifications::listen(&self.namespace)?;
        let mut command = self
            .namespace
            .command(world::programs().join("snf-ganeti-eventd"));
        command
            .args(["run", "--config", CONFIGURATION])
            .env("NOTIFY_SOCKET", notifications.socket());
        let started = Instant::now();
        Ok(Eventd {
            program: Program::start("eventd", command)?,
            namespace: self.namespace.clone(),
            notifications,
            started,
        })
    }

    /// Removes the mark up to which all is confirmed: as if nothing of the journal was.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn set_cursor_back(&self) -> Result<()> {
        let journal = self.namespace.path(STATE).join("journal");
        let epochs = fs::read_dir(&journal)?;
        for epoch in epochs {
            let cursor = epoch?.path().join("cursor");
            if cursor.exists() {
                fs::remove_file(cursor)?;
            }
        }
        Ok(())
    }

    /// Forgets what eventd kept.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn forget(&self) -> Result<()> {
        let state = self.namespace.path(STATE);
        for entry in fs::read_dir(&state)? {
            fs::remove_dir_all(entry?.path())?;
        }
        Ok(())
    }
}

/// A running eventd.
pub(crate) struct Eventd {
    pub(crate) program: Program,
    pub(crate) started: Instant,
    namespace: Namespace,
    notifications: Notifications,
}

impl Eventd {
    /// Waits for `READY=1` and tells how long after the start it came.
    ///
    /// # Errors
    /// When it does not come; what eventd said is in the error.
    pub(crate) fn wait_until_ready(&mut self) -> Result<Duration> {
        let Self {
            program,
            notifications,
            started,
            ..
        } = self;
        let ready = notifications.told(LIMIT, |told| {
            ensure!(program.is_running()?, "eventd ended");
            Ok(told.lines().any(|line| line == "READY=1"))
        });
        let after = started.elapsed();
        ready.with_context(|| program.output().unwrap_or_default())?;
        Ok(after)
    }

    /// Waits until the broker has confirmed so many events; how long after the start that was.
    ///
    /// # Errors
    /// When it does not come to that; what eventd said is in the error.
    pub(crate) fn wait_until_confirmed(&mut self, count: u64) -> Result<Duration> {
        let figure = "snf_eventd_published_total{outcome=\"acknowledged\"} ";
        loop {
            // It may not listen yet.
            let page = eventd::get(&self.namespace, METRICS, "/metrics", "").ok();
            let after = self.started.elapsed();
            let line = page.and_then(|(_, text)| {
                let line = text.lines().find_map(|line| line.strip_prefix(figure))?;
                line.parse::<u64>().ok()
            });
            if line.is_some_and(|confirmed| confirmed >= count) {
                return Ok(after);
            }
            if after > LIMIT || !self.program.is_running()? {
                anyhow::bail!(
                    "{line:?} of {count} events are confirmed; eventd said:\n{}",
                    self.program.output()?
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A line of `/proc/PID/status` in MiB, as `VmRSS`.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn mebibytes(&self, key: &str) -> Result<f64> {
        mebibytes(&self.program, key)
    }

    /// Ends it as systemd does.
    ///
    /// # Errors
    /// When it does not end well.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.program.signal(Signal::SIGTERM)?;
        self.program.success(wait::SOON)?;
        Ok(())
    }
}

/// A line of a program's `/proc/PID/status` in MiB.
///
/// # Errors
/// When it is gone or there is no such line.
pub(crate) fn mebibytes(program: &Program, key: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{}/status", program.pid()))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    let number: u32 = number.context("a line of /proc/PID/status")?.parse()?;
    Ok(f64::from(number) / 1024.0)
}

/// The name of an instance.
pub(crate) fn instance(number: usize) -> String {
    format!("snf-{}", number % INSTANCES)
}

fn instance_uuid(number: usize) -> String {
    format!("4a98629b-ef2d-45b6-b4bc-{:012}", number % INSTANCES)
}

/// What Ganeti knows of it: one NIC and one disk.
fn details(number: usize) -> Value {
    json!({
        "uuid": instance_uuid(number), "serial_no": 3, "tags": ["synnefo:test1"],
        "nic.names": [format!("snf-nic-{number}")], "nic.networks.names": ["snf-net-12"], "nic.ips": ["192.0.2.17"],
        "nic.macs": ["aa:00:00:5f:12:01"], "nic.modes": ["routed"], "nic.links": ["snf_public"],
        "nic.uuids": [format!("ff7053d8-b2ff-464a-8f68-{number:012}")], "disk.names": [format!("snf-vol-{number}")],
        "disk.sizes": [2048], "disk.uuids": [format!("0d5b1c2e-0000-4b1c-9a53-{number:012}")],
        "hv/boot_order": "disk", "hv/cdrom_image_path": "",
    })
}

/// Finished jobs as Ganeti wrote them, about our instances.
const RECORDED: [&str; 6] = [
    include_str!("../../../agent/tests/jobs/success-instance-startup.json"),
    include_str!("../../../agent/tests/jobs/success-instance-create-diskless.json"),
    include_str!("../../../agent/tests/jobs/success-instance-set-params-hotplug.json"),
    include_str!("../../../agent/tests/jobs/success-instance-set-params-nic-remove.json"),
    include_str!("../../../agent/tests/jobs/success-with-failing-post-hook.json"),
    include_str!("../../../agent/tests/jobs/failed-nosuch.json"),
];

/// The file of job `number`: a recorded one with its number and one of our instances.
///
/// # Errors
/// When a recorded job is none.
pub(crate) fn recorded(number: usize) -> Result<String> {
    let text = RECORDED
        .get(number % RECORDED.len())
        .context("a recorded job")?;
    let mut job: Value = serde_json::from_str(text)?;
    let part = |job: &mut Value, path: &str, value: Value| -> Result<()> {
        *job.pointer_mut(path).with_context(|| path.to_owned())? = value;
        Ok(())
    };
    part(&mut job, "/id", json!(number))?;
    if let Some(uuid) = job.pointer_mut("/ops/0/input/instance_uuid") {
        *uuid = instance_uuid(number).into();
    }
    part(
        &mut job,
        "/ops/0/input/instance_name",
        instance(number).into(),
    )?;
    Ok(job.to_string())
}
