//! Messages of a cluster into rows: in order, in any order, more than once, by two at a time, and those that cannot be.

use controller::cloud::now;
use controller::db::entity::{address, dead_letter, inbox_entry, intent, job, port, server};
use controller::dispatcher::merge::Outcome;
use controller::dispatcher::{Delivery, Sender, Transport, take};
use controller::lifecycle::{Step, Task};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, QueryOrder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cloud::{CLUSTER_UUID, Small, insert};
use crate::databases::{ALL, Fresh};

/// One operation as eventd tells of it.
#[derive(Clone)]
pub(crate) struct Told {
    instance: String,
    operation: &'static str,
    status: &'static str,
    job: i64,
    ended: i64,
    extra: Value,
}

impl Told {
    pub(crate) fn of(server: i64, operation: &'static str, job: i64, ended: i64) -> Self {
        Self {
            instance: format!("snf-{server}"),
            operation,
            status: "success",
            job,
            ended,
            extra: json!({}),
        }
    }

    pub(crate) fn with(mut self, extra: Value) -> Self {
        let (Value::Object(mine), Value::Object(more)) = (&mut self.extra, extra) else {
            panic!("objects");
        };
        mine.extend(more);
        self
    }

    pub(crate) fn status(mut self, status: &'static str) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn body(&self) -> Value {
        let is_final = matches!(self.status, "success" | "error" | "canceled");
        let mut body = json!({
            "type": "ganeti-op-status", "instance": self.instance, "operation": self.operation,
            "status": self.status, "jobId": self.job, "event_time": [self.ended, 5], "logmsg": null,
            "cluster": "gnt.test", "cluster_uuid": CLUSTER_UUID, "result": null, "job_fields": {}, "tags": [],
            "received_timestamp": [1_000 + self.job, 0], "op_index": 0,
        });
        if is_final {
            body["end_timestamp"] = json!([self.ended, 5]);
        }
        let (Value::Object(all), Value::Object(extra)) = (&mut body, &self.extra) else {
            unreachable!("objects");
        };
        all.extend(extra.clone());
        body
    }

    fn delivery(&self, sender: i64) -> Delivery {
        Delivery {
            transport: Transport::Https,
            sender: Some(Sender::Cluster(sender)),
            key: "ganeti.snf.event.op".into(),
            body: self.body().to_string().into_bytes(),
        }
    }
}

fn nic(port: i64, octet: u8) -> Value {
    json!({"name": format!("snf-nic-{port}"), "network": "snf-net-1", "ip": format!("192.0.2.{octet}"),
        "mac": format!("AA:00:01:00:00:{octet:02x}"), "mode": "bridged", "link": "br0", "uuid": format!("nic-{port}")})
}

/// What an instance is, when an operation has ended.
pub(crate) fn details(serial: u64, nics: &[Value]) -> Value {
    json!({"instance_uuid": "i-1", "serial_no": serial, "instance_nics": nics})
}

pub(crate) async fn server_row(small: &Small, id: i64) -> server::Model {
    let row = server::Entity::find_by_id(id).one(small.cloud.db.reader());
    row.await.unwrap().unwrap()
}

async fn intent(
    small: &Small,
    server: i64,
    task: Task,
    step: Step,
    last: bool,
    after: Option<i64>,
) -> (i64, Uuid) {
    let (db, at, uuid) = (&small.cloud.db, now(), Uuid::new_v4());
    let flavor = matches!(task, Task::Resize | Task::RevertResize).then_some(small.larger);
    let id = insert!(db, intent, {
        uuid: uuid, backend_id: small.backend, server_id: Some(server), network_id: None, port_id: None,
        flavor_id: flavor, task: Some(task.as_str().into()), step: step.as_str().into(), is_last: last,
        after_id: after, request: json!({}), secrets: None, state: intent::SENDING.into(), attempts: 1,
        not_before: at, leased_by: None, leased_until: None, highest_job: None, job_id: None, error: None,
        request_id: None, created_at: at, updated_at: at,
    });
    (id, uuid)
}

async fn set_task(small: &Small, id: i64, task: Task) {
    let mut row = server_row(small, id).await.into_active_model();
    row.task = sea_orm::ActiveValue::Set(Some(task.as_str().into()));
    server::Entity::update(row)
        .exec(small.cloud.db.reader())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_comes_to_be_is_resized_and_leaves() {
    for kind in ALL {
        let Some((_fresh, db)) = Fresh::migrated(kind).await else {
            continue;
        };
        let small = Small::make(db).await;
        let (id, port_id) = small.server(7).await;
        let (create, token) = intent(&small, id, Task::Build, Step::Create, true, None).await;
        let reason = json!({"reason": format!("snf:{token}")});
        let created = Told::of(id, "OP_INSTANCE_CREATE", 10, 100);
        let deliveries: Vec<Delivery> = ["queued", "waiting", "running"]
            .map(|status| created.clone().status(status).with(reason.clone()))
            .into_iter()
            .chain([created
                .clone()
                .with(reason)
                .with(details(1, &[nic(port_id, 7)]))])
            .map(|told| told.delivery(small.backend))
            .collect();
        let outcomes = take(&small.cloud, &deliveries).await.unwrap();
        assert_eq!(outcomes, vec![Outcome::Applied; 4], "{kind:?}");
        let row = server_row(&small, id).await;
        assert_eq!(
            (row.oper_state.as_str(), &row.task, row.progress),
            ("STARTED", &None, 100)
        );
        assert_eq!(
            (row.serial_no, row.instance_uuid.as_deref()),
            (Some(1), Some("i-1"))
        );
        assert!(row.launched_at.is_some() && row.doubtful_at.is_none());
        let reader = small.cloud.db.reader();
        let done = intent::Entity::find_by_id(create)
            .one(reader)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((done.state.as_str(), done.job_id), (intent::DONE, Some(10)));
        let nic_row = port::Entity::find_by_id(port_id)
            .one(reader)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (nic_row.state.as_str(), nic_row.mac.as_str()),
            (port::ACTIVE, "aa:00:01:00:00:07")
        );

        set_task(&small, id, Task::Resize).await;
        let (stop, stop_token) =
            intent(&small, id, Task::Resize, Step::Shutdown, false, None).await;
        let (size, size_token) =
            intent(&small, id, Task::Resize, Step::SetSize, true, Some(stop)).await;
        let resized = [
            Told::of(id, "OP_INSTANCE_SHUTDOWN", 11, 110)
                .with(json!({"reason": format!("snf:{stop_token}")}))
                .with(json!({"instance_uuid": "i-1", "serial_no": 2})),
            Told::of(id, "OP_INSTANCE_SET_PARAMS", 12, 120)
                .with(json!({"reason": format!("snf:{size_token}"), "job_fields": {"beparams": {"vcpus": 4, "maxmem": 2048}}}))
                .with(details(3, &[nic(port_id, 7)])),
        ];
        let deliveries = resized.map(|told| told.delivery(small.backend));
        take(&small.cloud, &deliveries).await.unwrap();
        let row = server_row(&small, id).await;
        assert_eq!((row.oper_state.as_str(), &row.task), ("STOPPED", &None));
        assert_eq!((row.vcpus, row.ram, row.flavor_id), (4, 2048, small.larger));
        assert_eq!(row.former_flavor_id, Some(small.flavor), "to be confirmed");
        let done = intent::Entity::find_by_id(size)
            .one(reader)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(done.state, intent::DONE);

        let removed = Told::of(id, "OP_INSTANCE_REMOVE", 13, 130).delivery(small.backend);
        take(&small.cloud, &[removed]).await.unwrap();
        let row = server_row(&small, id).await;
        assert_eq!((row.oper_state.as_str(), row.deletion), ("DELETED", id));
        let left = address::Entity::find().all(reader).await.unwrap();
        let left: Vec<_> = left
            .iter()
            .map(|row| (row.kind.as_str(), row.port_id))
            .collect();
        assert_eq!(
            left,
            [(address::FLOATING, None)],
            "{kind:?}: the fixed address is free"
        );
    }
}

#[tokio::test]
async fn a_failed_step_ends_its_task_and_drops_what_was_to_follow() {
    for kind in ALL {
        let Some((_fresh, db)) = Fresh::migrated(kind).await else {
            continue;
        };
        let small = Small::make(db).await;
        let (id, _) = small.server(7).await;
        let built = Told::of(id, "OP_INSTANCE_CREATE", 10, 100).delivery(small.backend);
        take(&small.cloud, &[built]).await.unwrap();
        set_task(&small, id, Task::Resize).await;
        let (stop, token) = intent(&small, id, Task::Resize, Step::Shutdown, false, None).await;
        let (size, _) = intent(&small, id, Task::Resize, Step::SetSize, false, Some(stop)).await;
        let (start, _) = intent(&small, id, Task::Resize, Step::Startup, true, Some(size)).await;
        let failed = Told::of(id, "OP_INSTANCE_SHUTDOWN", 11, 110)
            .status("error")
            .with(json!({
                "reason": format!("snf:{token}"),
                "result": ["OpExecError", ["Could not shutdown instance: no answer"]],
            }));
        take(&small.cloud, &[failed.delivery(small.backend)])
            .await
            .unwrap();
        let row = server_row(&small, id).await;
        assert_eq!((row.task, row.flavor_id), (None, small.flavor));
        assert_eq!(
            row.fault_message.as_deref(),
            Some("Could not shutdown instance: no answer")
        );
        assert!(
            row.doubtful_at.is_some(),
            "a shutdown that failed half-way is looked into"
        );
        let intents = intent::Entity::find().order_by_asc(intent::Column::Id);
        let intents = intents.all(small.cloud.db.reader()).await.unwrap();
        let states: Vec<_> = intents
            .iter()
            .map(|row| (row.id, row.state.as_str()))
            .collect();
        assert_eq!(
            states,
            [
                (stop, intent::FAILED),
                (size, intent::DROPPED),
                (start, intent::DROPPED)
            ],
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_taken_in_is_kept_for_an_operator() {
    for kind in ALL {
        let Some((_fresh, db)) = Fresh::migrated(kind).await else {
            continue;
        };
        let small = Small::make(db).await;
        let (id, _) = small.server(7).await;
        let good = Told::of(id, "OP_INSTANCE_CREATE", 10, 100);
        let foreign = good.clone().with(json!({"cluster_uuid": "another"}));
        let old = good.clone().with(json!({"received_timestamp": null}));
        let delivery = |body: &[u8], sender| Delivery {
            body: body.to_vec(),
            ..good.delivery(sender)
        };
        let nobody = Delivery {
            sender: None,
            ..good.delivery(0)
        };
        let deliveries = [
            delivery(b"{\"type\": \"nonsense\0\"}", small.backend),
            delivery(&[0xff, 0], small.backend),
            foreign.delivery(small.backend),
            nobody,
            old.delivery(small.backend),
            good.delivery(small.backend),
        ];
        let outcomes = take(&small.cloud, &deliveries).await.unwrap();
        let dead = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Dead(_)));
        assert_eq!(dead.count(), 5, "{kind:?}: {outcomes:?}");
        assert_eq!(outcomes.last(), Some(&Outcome::Applied));
        let letters = dead_letter::Entity::find()
            .all(small.cloud.db.reader())
            .await
            .unwrap();
        assert_eq!(letters.len(), 5);
        assert!(
            letters
                .iter()
                .any(|letter| letter.reason.contains("(another)"))
        );
        assert_eq!(server_row(&small, id).await.oper_state, "STARTED");
    }
}

#[tokio::test]
async fn nothing_is_taken_while_the_database_is_away() {
    for kind in ALL {
        let Some((_fresh, db)) = Fresh::migrated(kind).await else {
            continue;
        };
        let small = Small::make(db).await;
        let (id, _) = small.server(7).await;
        let told = Told::of(id, "OP_INSTANCE_CREATE", 10, 100).delivery(small.backend);
        small.cloud.db.clone().close().await;
        let taken = take(&small.cloud, &[told.clone(), told]).await;
        assert!(taken.is_err(), "{kind:?}: {taken:?}");
    }
}

/// A generator of numbers that is the same everywhere (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).unwrap();
            all.swap(at, other);
        }
    }
}

/// What three servers went through, as a master tells it whose clock another one takes over ten minutes back.
fn history(servers: &[(i64, i64)], chance: &mut Chance) -> Vec<Told> {
    let mut told = Vec::new();
    let mut job = 100;
    for (round, (server, port)) in servers.iter().enumerate() {
        let octet = u8::try_from(7 + round).unwrap();
        let mut serial = 1;
        let mut tell = |operation, status: &'static str, extra: Value, chance: &mut Chance| {
            job += 1;
            serial += 1;
            let skew = if chance.below(3) == 0 { 600 } else { 0 };
            let base = Told::of(*server, operation, job, 5_000 + 10 * job - skew);
            for before in ["queued", "waiting", "running"] {
                told.push(base.clone().status(before));
            }
            // eventd attaches NICs to what may have changed them, and the serial number to all.
            let nics = [nic(*port, octet)];
            let lists_nics = [
                "OP_INSTANCE_CREATE",
                "OP_INSTANCE_STARTUP",
                "OP_INSTANCE_SET_PARAMS",
            ]
            .contains(&operation);
            let known = if lists_nics {
                details(serial, &nics)
            } else {
                json!({"instance_uuid": "i-1", "serial_no": serial})
            };
            told.push(base.status(status).with(known).with(extra));
        };
        tell("OP_INSTANCE_CREATE", "success", json!({}), chance);
        for _ in 0..4 {
            match chance.below(6) {
                0 => tell("OP_INSTANCE_SHUTDOWN", "success", json!({}), chance),
                1 => tell("OP_INSTANCE_STARTUP", "success", json!({}), chance),
                2 => tell(
                    "OP_INSTANCE_REBOOT",
                    "error",
                    json!({"result": ["OpExecError", ["no"]]}),
                    chance,
                ),
                3 | 4 => {
                    let size = json!({"job_fields": {"beparams": {"vcpus": 2, "maxmem": 256 * job_size(chance)}}});
                    tell("OP_INSTANCE_SET_PARAMS", "success", size, chance);
                }
                _ => tell("OP_INSTANCE_MIGRATE", "success", json!({}), chance),
            }
        }
        if round == 2 {
            tell("OP_INSTANCE_REMOVE", "success", json!({}), chance);
        }
    }
    told
}

fn job_size(chance: &mut Chance) -> u64 {
    1 + chance.below(8)
}

/// All that messages have written, but for numbers of rows and the moments at which it was written.
async fn written(small: &Small) -> Vec<String> {
    let reader = small.cloud.db.reader();
    let mut lines = Vec::new();
    for row in server::Entity::find().all(reader).await.unwrap() {
        let server::Model {
            oper_state,
            task,
            progress,
            run_job,
            run_op_index,
            run_ended,
            doubtful_at,
            ..
        } = &row;
        let state = if doubtful_at.is_some() {
            "in doubt"
        } else {
            oper_state
        };
        lines.push(format!(
            "server {} {state} {task:?} {progress} {run_job:?} {run_op_index:?} {run_ended:?} {} {} {:?} {:?} {} {}",
            row.id, row.vcpus, row.ram, row.instance_uuid, row.serial_no, row.launched_at.is_some(), row.deletion
        ));
    }
    for row in job::Entity::find().all(reader).await.unwrap() {
        let job::Model {
            job_id,
            received,
            opcode,
            status,
            ended,
            server_id,
            ..
        } = row;
        lines.push(format!(
            "job {job_id} {received} {opcode} {status} {ended:?} {server_id:?}"
        ));
    }
    for row in port::Entity::find().all(reader).await.unwrap() {
        let port::Model {
            id,
            state,
            mac,
            nic_uuid,
            nic_index,
            deletion,
            ..
        } = row;
        // A NIC that is gone is not written to any more: its last details are those of when it went.
        let details = if deletion == 0 {
            format!("{state} {mac} {nic_uuid:?} {nic_index:?}")
        } else {
            String::from("gone")
        };
        lines.push(format!("port {id} {details}"));
    }
    for row in address::Entity::find().all(reader).await.unwrap() {
        lines.push(format!("address {} {:?}", row.address, row.port_id));
    }
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shuffled_tripled_and_by_two_at_once_is_the_same_as_in_order() {
    for seed in 1..=3 {
        for kind in ALL {
            let mut ends = Vec::new();
            for is_orderly in [true, false] {
                let Some((_fresh, db)) = Fresh::migrated(kind).await else {
                    continue;
                };
                let small = Small::make(db).await;
                let mut servers = Vec::new();
                for octet in 7..10 {
                    servers.push(small.server(octet).await);
                }
                let mut chance = Chance(seed * 7_919);
                let told = history(&servers, &mut chance);
                let mut deliveries: Vec<Delivery> = told
                    .iter()
                    .map(|told| told.delivery(small.backend))
                    .collect();
                let count = deliveries.len();
                if is_orderly {
                    take(&small.cloud, &deliveries).await.unwrap();
                } else {
                    deliveries = deliveries.iter().cycle().take(3 * count).cloned().collect();
                    chance.shuffle(&mut deliveries);
                    let (one, other) = deliveries.split_at(deliveries.len() / 2);
                    let halves = [one, other].map(|half| {
                        let (cloud, half) = (small.cloud.clone(), half.to_vec());
                        tokio::spawn(async move {
                            for batch in half.chunks(7) {
                                take(&cloud, batch).await.unwrap();
                            }
                        })
                    });
                    for half in halves {
                        half.await.unwrap();
                    }
                }
                let seen = inbox_entry::Entity::find()
                    .all(small.cloud.db.reader())
                    .await
                    .unwrap();
                assert_eq!(seen.len(), count, "{kind:?}: each message counts once");
                let letters = dead_letter::Entity::find()
                    .all(small.cloud.db.reader())
                    .await
                    .unwrap();
                assert!(letters.is_empty(), "{kind:?}: {letters:?}");
                ends.push(written(&small).await);
            }
            if let [orderly, other] = &ends[..] {
                assert_eq!(orderly, other, "{kind:?}, seed {seed}");
            }
        }
    }
}
