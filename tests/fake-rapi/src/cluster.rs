//! A cluster's state, and how its queue goes on. Nothing here knows of HTTP.

mod instance;
mod job;
mod network;
mod perform;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use snf_events::JobStatus;
use uuid::Uuid;

pub use instance::{Instance, Nic};
pub use job::{Job, Moment};
pub use network::Network;
pub use perform::OpFailure;

/// MiB of memory a node has.
const NODE_MEMORY: u64 = 65_536;
/// MiB of disk.
const NODE_DISK: u64 = 1_048_576;
const NODE_CPUS: u64 = 16;

/// A cluster of one node group.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Its nodes' names; the first is the master.
    pub nodes: Vec<String>,
    /// Its node groups: name and UUID. All nodes are in the first.
    pub groups: Vec<(String, String)>,
    /// Its instances by name.
    pub instances: BTreeMap<String, Instance>,
    /// Its networks by name.
    pub networks: BTreeMap<String, Network>,
    /// Its jobs by number, those of the archive too.
    pub jobs: BTreeMap<u64, Job>,
    /// The last job's number.
    pub last_job: u64,
    /// No job is taken.
    pub is_drained: bool,
    /// How far its clock is ahead of ours, seconds.
    pub clock_ahead: i64,
    failures: Vec<(String, Value)>,
}

impl Cluster {
    /// An empty one.
    #[must_use]
    pub fn new(name: &str, nodes: usize) -> Self {
        let domain = name.split_once('.').map_or("test", |(_, domain)| domain);
        Self {
            name: name.to_owned(),
            uuid: Uuid::new_v4().to_string(),
            nodes: (1..=nodes.max(1))
                .map(|number| format!("node{number}.{domain}"))
                .collect(),
            groups: vec![(String::from("default"), Uuid::new_v4().to_string())],
            instances: BTreeMap::new(),
            networks: BTreeMap::new(),
            jobs: BTreeMap::new(),
            last_job: 0,
            is_drained: false,
            clock_ahead: 0,
            failures: Vec::new(),
        }
    }

    /// The cluster's clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        (seconds + self.clock_ahead, since.subsec_micros())
    }

    /// Has the next operation of a code fail with this result, as in `["OpExecError", ["no"]]`.
    pub fn fail_next(&mut self, opcode: &str, result: Value) {
        self.failures.push((opcode.to_owned(), result));
    }

    /// Takes a job into the queue.
    pub fn submit(&mut self, input: Map<String, Value>) -> u64 {
        self.last_job += 1;
        let job = Job {
            id: self.last_job,
            input,
            status: JobStatus::Queued,
            result: Value::Null,
            log: Vec::new(),
            received: self.now(),
            started: None,
            executed: None,
            ended: None,
            is_archived: false,
        };
        self.jobs.insert(self.last_job, job);
        self.last_job
    }

    /// Cancels a job, in Ganeti's words; `None`: there is none.
    pub fn cancel(&mut self, id: u64) -> Option<(bool, String)> {
        let now = self.now();
        let job = self.jobs.get_mut(&id)?;
        let answer = match job.status {
            JobStatus::Queued => {
                job.status = JobStatus::Canceled;
                job.ended = Some(now);
                (true, format!("Dequeued job {id}"))
            }
            JobStatus::Waiting => {
                job.status = JobStatus::Canceled;
                job.result = json!("Job canceled by request");
                job.ended = Some(now);
                (true, String::from("Job successfully cancelled"))
            }
            JobStatus::Canceling
            | JobStatus::Running
            | JobStatus::Canceled
            | JobStatus::Success
            | JobStatus::Error => {
                let words = "Job no longer waiting, can't cancel (informed it anyway)";
                (false, words.to_owned())
            }
        };
        Some(answer)
    }

    /// Brings each job one step further, where it can go, and tells which went.
    pub fn advance(&mut self) -> Vec<u64> {
        let open: Vec<u64> = self
            .jobs
            .values()
            .filter(|job| !job.status.is_final())
            .map(|job| job.id)
            .collect();
        open.into_iter().filter(|id| self.step(*id)).collect()
    }

    /// Whether all jobs have ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.jobs.values().all(|job| job.status.is_final())
    }

    /// Moves all jobs that have ended into the archive, and tells which.
    pub fn archive(&mut self) -> Vec<u64> {
        let ended = self.jobs.values_mut();
        let ended = ended.filter(|job| job.status.is_final() && !job.is_archived);
        ended
            .map(|job| {
                job.is_archived = true;
                job.id
            })
            .collect()
    }

    fn step(&mut self, id: u64) -> bool {
        let Some(mut job) = self.jobs.get(&id).cloned() else {
            return false;
        };
        let now = self.now();
        match job.status {
            JobStatus::Queued => match self.dependencies(&job) {
                None => return false,
                Some(true) => {
                    job.status = JobStatus::Waiting;
                    job.started = Some(now);
                }
                Some(false) => {
                    job.status = JobStatus::Canceled;
                    job.result = json!("Job dependency failed");
                    job.ended = Some(now);
                }
            },
            JobStatus::Waiting => {
                if self.is_locked(&job) {
                    return false;
                }
                // What is refused is refused before anything is begun; what is true then is tried on a copy.
                match self.clone().perform(&job.input) {
                    Err(failure) if failure.is_prerequisite() => {
                        job.executed = (!failure.is_unknown()).then_some(now);
                        fail(&mut job, failure.value(), now);
                    }
                    _ => {
                        job.status = JobStatus::Running;
                        job.executed = Some(now);
                    }
                }
            }
            JobStatus::Running => {
                let wanted = self
                    .failures
                    .iter()
                    .position(|(code, _)| code == job.opcode());
                let done = match wanted {
                    Some(at) => Err(self.failures.remove(at).1),
                    None => self
                        .perform(&job.input)
                        .map_err(|failure: OpFailure| failure.value()),
                };
                match done {
                    Ok(result) => {
                        job.status = JobStatus::Success;
                        job.result = result;
                        job.ended = Some(now);
                    }
                    Err(result) => fail(&mut job, result, now),
                }
            }
            JobStatus::Canceling => {
                job.status = JobStatus::Canceled;
                job.ended = Some(now);
            }
            JobStatus::Canceled | JobStatus::Success | JobStatus::Error => return false,
        }
        self.jobs.insert(id, job);
        true
    }

    /// Whether what a job waits for has ended as it should; `None`: not yet.
    fn dependencies(&self, job: &Job) -> Option<bool> {
        for (id, ends) in job.depends() {
            let Some(before) = self.jobs.get(&id) else {
                return Some(false);
            };
            if !before.status.is_final() {
                return None;
            }
            if !ends.is_empty() && !ends.iter().any(|end| end == before.status.as_str()) {
                return Some(false);
            }
        }
        Some(true)
    }

    fn is_locked(&self, job: &Job) -> bool {
        let lock = job.lock();
        self.jobs.values().any(|other| {
            let holds = other.status == JobStatus::Running
                || other.status == JobStatus::Waiting && other.id < job.id;
            other.id != job.id && holds && lock.is_some() && other.lock() == lock
        })
    }

    /// `GET /2/info`
    #[must_use]
    pub fn info(&self) -> Value {
        json!({
            "name": self.name,
            "uuid": self.uuid,
            "software_version": "3.0.2",
            "export_version": 0,
            "protocol_version": 3_000_000,
            "master": self.nodes.first(),
            "architecture": ["64bit", "x86_64"],
            "default_hypervisor": "kvm",
            "enabled_hypervisors": ["kvm", "fake"],
            "enabled_disk_templates": ["diskless", "file", "plain", "drbd"],
            "ipolicy": {"disk-templates": ["diskless", "file", "plain", "drbd", "sharedfile"], "vcpu-ratio": 4.0, "spindle-ratio": 32.0},
            "candidate_pool_size": 10,
            "drained": self.is_drained,
            "tags": [],
            "uid_pool": [],
            "reserved_lvs": [],
            "prealloc_wipe_disks": false,
            "default_iallocator": "hail",
        })
    }

    /// `GET /2/nodes?bulk=1`
    #[must_use]
    pub fn nodes_shown(&self) -> Value {
        let group = self.groups.first().map(|(_, uuid)| uuid.clone());
        let shown = self.nodes.iter().enumerate().map(|(at, name)| {
            let primaries = || self.instances.values().filter(|each| each.primary == *name);
            let names: Vec<&String> = primaries().map(|each| &each.name).collect();
            let memory: u64 = primaries().map(Instance::memory_in_use).sum();
            let disk: u64 = primaries().map(Instance::disk_in_use).sum();
            json!({
                "name": name,
                "offline": false, "drained": false, "vm_capable": true, "master_capable": true,
                "master_candidate": true,
                "role": if at == 0 { "M" } else { "C" },
                "mtotal": NODE_MEMORY, "mfree": NODE_MEMORY.saturating_sub(memory), "mnode": 512,
                "dtotal": NODE_DISK, "dfree": NODE_DISK.saturating_sub(disk),
                "sptotal": 0, "spfree": 0,
                "ctotal": NODE_CPUS, "cnos": NODE_CPUS, "cnodes": 1, "csockets": 1,
                "pinst_cnt": names.len(), "sinst_cnt": 0, "pinst_list": names, "sinst_list": [],
                "pip": format!("192.168.77.{}", 11 + at), "sip": format!("192.168.77.{}", 11 + at),
                "group.uuid": group, "ndparams": {}, "tags": [], "serial_no": 1,
                "uuid": format!("00000000-0000-4000-8000-{:012}", at + 1),
                "ctime": 1_795_000_000.0, "mtime": 1_795_000_000.0,
            })
        });
        Value::Array(shown.collect())
    }

    /// `GET /2/groups?bulk=1`
    #[must_use]
    pub fn groups_shown(&self) -> Value {
        let shown = self.groups.iter().enumerate().map(|(at, (name, uuid))| {
            let nodes: &[String] = if at == 0 { &self.nodes } else { &[] };
            json!({
                "name": name, "uuid": uuid, "alloc_policy": "preferred", "node_cnt": nodes.len(), "node_list": nodes,
                "ipolicy": {}, "custom_ipolicy": {}, "diskparams": {}, "custom_diskparams": {}, "ndparams": {},
                "custom_ndparams": {}, "tags": [], "serial_no": 1, "ctime": 1_795_000_000.0, "mtime": 1_795_000_000.0,
            })
        });
        Value::Array(shown.collect())
    }
}

fn fail(job: &mut Job, result: Value, now: Moment) {
    job.status = JobStatus::Error;
    job.result = result;
    job.ended = Some(now);
}
