//! Exactly one job per intent, whatever goes wrong on the way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use controller::db::intents::{self, NewIntent};
use controller::db::{DbError, Tx, backend_networks};
use controller::lifecycle::Step;
use controller::networks::{self, Asked};
use controller::outbox::{Outbox, Settings, Stepped};
use controller::rapi::body;
use controller::service;
use controller::{cloud, outcome};
use fake_rapi::{Accept, Fault, Reply};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel};
use serde_json::json;
use snf_events::JobId;

use crate::databases::ALL;
use crate::fixture::Yard;

const SETTINGS: Settings = Settings {
    workers: 3,
    lease: Duration::from_secs(30),
    settle: Duration::from_millis(60),
    rest: Duration::from_millis(20),
    rest_most: Duration::from_millis(80),
    look: Duration::from_millis(20),
    patience: Duration::from_secs(5),
    grace: Duration::from_secs(5),
};

fn worker(yard: &Yard) -> Outbox {
    Outbox::new(yard.cloud.clone(), SETTINGS)
}

/// Works until an intent is in this state; the bound is for a test that hangs.
async fn until(yard: &Yard, worker: &Outbox, id: i64, state: &str) {
    let begun = Instant::now();
    while yard.intent(id).await.state != state {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{state}: {:?}",
            yard.intent(id).await
        );
        if worker.step().await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn an_intent_becomes_a_job_and_its_secret_goes_nowhere_else() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let server = yard.server().await;
        let mut new = yard.step(&server, Step::Create, &yard.creation(&server));
        let place = intents::secrets_place(new.uuid);
        let sealed = yard.cloud.seal.seal(r#"{"password": "hunter2"}"#, &place);
        new.secrets = Some(sealed.unwrap());
        let intent = yard.intend(new).await;
        let worker = worker(&yard);
        assert_eq!(
            worker.step().await.unwrap(),
            Some(Stepped::Submitted(JobId(1))),
            "{kind:?}"
        );
        assert_eq!(worker.step().await.unwrap(), None);
        let asked = yard.fake.submissions();
        assert_eq!(asked.len(), 1);
        let body = asked[0].body.clone().unwrap();
        assert_eq!(body["osparams_private"], json!({"password": "hunter2"}));
        let reason = ("reason".to_owned(), format!("snf:{}", intent.uuid));
        assert!(asked[0].query.contains(&reason));
        let row = yard.intent(intent.id).await;
        assert_eq!(
            (
                row.state.as_str(),
                row.job_id,
                row.highest_job,
                row.attempts
            ),
            (intents::SUBMITTED, Some(1), Some(0), 1)
        );
        assert_eq!(
            (row.secrets, row.leased_by, row.leased_until),
            (None, None, None)
        );
        assert!(!row.request.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn steps_wait_for_each_other_and_a_server_does_one_thing_at_a_time() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let (server, create) = yard.wanted().await;
        let name = server.instance_name.clone().unwrap();
        let stop = yard.step(&server, Step::Shutdown, &body::shutdown(&name));
        let stop = yard.intend(stop).await;
        let size = NewIntent {
            after_id: Some(stop.id),
            ..yard.step(&server, Step::SetSize, &body::set_size(&name, 2, 256))
        };
        let size = yard.intend(size).await;
        let (_, other) = yard.wanted().await;
        let worker = worker(&yard);
        // The other server's is not held up.
        for _ in 0..2 {
            assert!(worker.step().await.unwrap().is_some());
        }
        assert_eq!(worker.step().await.unwrap(), None, "{kind:?}");
        assert_eq!(yard.jobs_of(&create).len(), 1);
        assert_eq!(yard.jobs_of(&other).len(), 1);
        for (before, next) in [(&create, &stop), (&stop, &size)] {
            assert_eq!(yard.intent(next.id).await.state, intents::WAITING);
            yard.done(before.id).await;
            assert!(worker.step().await.unwrap().is_some(), "{kind:?}");
            assert_eq!(yard.jobs_of(next).len(), 1);
        }
    }
}

#[tokio::test]
async fn whatever_the_answer_there_is_one_job() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let worker = worker(&yard);
        let cut = || Reply::Cut;
        for (accept, reply) in [
            (Accept::No, cut()),
            (Accept::Yes, cut()),
            (Accept::No, Reply::Garbage),
            (Accept::Yes, Reply::Garbage),
            (Accept::No, Reply::BadGateway),
            (Accept::Yes, Reply::BadGateway),
        ] {
            let (_, intent) = yard.wanted().await;
            yard.fake.fault(Fault::on_submission(accept, reply.clone()));
            // One question on the way goes wrong as well.
            yard.fake
                .fault(Fault::on_question("/2/jobs", Reply::Garbage));
            until(&yard, &worker, intent.id, intents::SUBMITTED).await;
            let jobs = yard.jobs_of(&intent);
            let place = format!("{kind:?}: {accept:?} {reply:?}");
            assert_eq!(jobs.len(), 1, "{place}");
            let noted = yard.intent(intent.id).await.job_id;
            assert_eq!(noted, Some(jobs[0] as i64), "{place}");
        }
        assert_eq!(yard.fake.faults_left(), 0);
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_not_waited_for_and_an_archived_job_is_found() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let impatient = Settings {
            patience: Duration::from_millis(300),
            ..SETTINGS
        };
        let worker = Outbox::new(yard.cloud.clone(), impatient);
        let (_, intent) = yard.wanted().await;
        yard.fake
            .fault(Fault::on_submission(Accept::Yes, Reply::Never));
        // The look that follows at once sees nothing either.
        yard.fake
            .fault(Fault::on_question("/2/jobs/1", Reply::BadGateway));
        let mut stepped = worker.step().await.unwrap();
        if stepped == Some(Stepped::NotNow) {
            // The question was spent on finding the highest job.
            stepped = worker.step().await.unwrap();
        }
        assert_eq!(stepped, Some(Stepped::Uncertain), "{kind:?}");
        let row = yard.intent(intent.id).await;
        assert_eq!((row.state.as_str(), row.attempts), (intents::SENDING, 1));
        yard.fake.settle();
        yard.fake.archive();
        until(&yard, &worker, intent.id, intents::SUBMITTED).await;
        assert_eq!(yard.jobs_of(&intent), [1], "{kind:?}");
        assert_eq!(yard.intent(intent.id).await.attempts, 1);
    }
}

#[tokio::test]
async fn of_two_jobs_the_later_is_cancelled() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let (_, intent) = yard.wanted().await;
        let worker = worker(&yard);
        until(&yard, &worker, intent.id, intents::SUBMITTED).await;
        // A copy arrives after all, when it was given up already.
        let copy = yard.fake.cluster().jobs[&1].input.clone();
        yard.fake.cluster().submit(copy);
        assert_eq!(yard.jobs_of(&intent), [1, 2]);
        // Whoever looks again, as after a crash that left the row behind, finds both.
        let mut row = yard.intent(intent.id).await.into_active_model();
        row.state = Set(intents::SENDING.to_owned());
        row.update(yard.cloud.db.reader()).await.unwrap();
        let found = worker.step().await.unwrap();
        assert_eq!(found, Some(Stepped::Found(JobId(1))), "{kind:?}");
        assert_eq!(yard.cloud.metrics.outbox.duplicates.get(), 1);
        yard.fake.settle();
        let cluster = yard.fake.cluster();
        let ends: Vec<&str> = cluster
            .jobs
            .values()
            .map(|job| job.status.as_str())
            .collect();
        assert_eq!(ends, ["success", "canceled"], "{kind:?}");
    }
}

#[tokio::test]
async fn a_refusal_fails_the_server_and_drops_what_came_after() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let (server, create) = yard.wanted().await;
        let name = server.instance_name.clone().unwrap();
        let next = NewIntent {
            after_id: Some(create.id),
            ..yard.step(&server, Step::Startup, &body::startup(&name))
        };
        let next = yard.intend(next).await;
        yard.fake.fault(Fault::on_submission(
            Accept::No,
            Reply::Refused {
                status: 400,
                message: String::from("Invalid body parameters: no"),
            },
        ));
        let worker = worker(&yard);
        assert_eq!(worker.step().await.unwrap(), Some(Stepped::Refused));
        let (create, next) = (yard.intent(create.id).await, yard.intent(next.id).await);
        assert_eq!(create.state, intents::FAILED, "{kind:?}");
        assert_eq!(next.state, intents::DROPPED);
        let row = yard.server_row(server.id).await;
        assert_eq!((row.oper_state.as_str(), row.task), ("ERROR", None));
        let message = row.fault_message.unwrap();
        assert!(message.contains("Invalid body parameters"), "{message}");
        assert_eq!((row.fault_code, row.fault_at.is_some()), (Some(500), true));
        assert_eq!(worker.step().await.unwrap(), None);
        assert_eq!(yard.fake.cluster().last_job, 0);
    }
}

#[tokio::test]
async fn a_cluster_that_takes_no_jobs_is_waited_for() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let worker = worker(&yard);
        type Change = fn(&Yard, bool);
        let troubles: [(&str, Change); 3] = [
            ("drained", |yard, is_on| {
                yard.fake.cluster().is_drained = is_on;
            }),
            ("down", |yard, is_on| yard.fake.set_down(is_on)),
            ("password", |yard, is_on| {
                let password = if is_on { "changed" } else { "secret" };
                yard.fake.set_password("synnefo", password);
            }),
        ];
        for (trouble, set) in troubles {
            let (server, intent) = yard.wanted().await;
            set(&yard, true);
            let stepped = worker.step().await.unwrap();
            assert_eq!(stepped, Some(Stepped::NotNow), "{kind:?} {trouble}");
            // The cluster rests, for all its intents.
            let (_, other) = yard.wanted().await;
            assert_eq!(yard.intent(other.id).await.attempts, 0);
            let row = yard.intent(intent.id).await;
            assert_ne!(row.state, intents::FAILED);
            assert!(row.error.is_some() && row.leased_by.is_none());
            assert_eq!(yard.server_row(server.id).await.fault_code, None);
            set(&yard, false);
            for intent in [&intent, &other] {
                until(&yard, &worker, intent.id, intents::SUBMITTED).await;
                assert_eq!(yard.jobs_of(intent).len(), 1, "{kind:?} {trouble}");
            }
        }
        let (_, intent) = yard.wanted().await;
        let offline = |is_offline| {
            let mut row = yard.backend.clone().into_active_model();
            row.offline = Set(is_offline);
            row.update(yard.cloud.db.reader())
        };
        offline(true).await.unwrap();
        let asked = yard.fake.requests().len();
        assert_eq!(worker.step().await.unwrap(), None, "{kind:?} offline");
        assert_eq!(yard.fake.requests().len(), asked);
        offline(false).await.unwrap();
        until(&yard, &worker, intent.id, intents::SUBMITTED).await;
    }
}

/// A future that is dropped after so many polls.
struct Polls<F> {
    inner: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.inner.as_mut().poll(context).map(Some)
    }
}

#[tokio::test]
async fn wherever_a_worker_ends_there_is_one_job() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let short = Settings {
            lease: Duration::from_millis(400),
            ..SETTINGS
        };
        let mut intents_made = Vec::new();
        let mut whole = 0;
        let mut left = 0;
        // Long enough a row of whole steps: every point of it was an end.
        while whole < 3 {
            intents_made.push(yard.wanted().await.1);
            let worker = Outbox::new(yard.cloud.clone(), short);
            let step = Polls {
                inner: Box::pin(worker.step()),
                left,
            };
            match step.await {
                Some(done) => {
                    done.unwrap();
                    whole += 1;
                }
                None => whole = 0,
            }
            left += 1;
            assert!(left < 400, "{kind:?}: a step has no end");
        }
        let last = Outbox::new(yard.cloud.clone(), short);
        for intent in &intents_made {
            until(&yard, &last, intent.id, intents::SUBMITTED).await;
            let jobs = yard.jobs_of(intent);
            assert_eq!(jobs.len(), 1, "{kind:?}: {jobs:?}");
            assert_eq!(yard.intent(intent.id).await.job_id, Some(jobs[0] as i64));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_workers_share_the_work_and_give_leases_back() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let mut made = Vec::new();
        for _ in 0..12 {
            made.push(yard.wanted().await.1);
        }
        let (stopper, stop) = service::stop();
        let runs: Vec<_> = (0..2)
            .map(|_| tokio::spawn(worker(&yard).run(stop.clone())))
            .collect();
        let begun = Instant::now();
        for intent in &made {
            while yard.intent(intent.id).await.state != intents::SUBMITTED {
                assert!(begun.elapsed() < Duration::from_secs(60), "{kind:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(yard.jobs_of(intent).len(), 1, "{kind:?}");
        }
        // One is on its way when the end comes: it arrives, and nobody holds it after.
        yard.fake.fault(Fault::on_submission(
            Accept::Yes,
            Reply::Late(Duration::from_millis(300)),
        ));
        let (_, late) = yard.wanted().await;
        while yard.fake.faults_left() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{kind:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stopper.stop();
        for run in runs {
            run.await.unwrap();
        }
        let row = yard.intent(late.id).await;
        assert_eq!(
            (row.state.as_str(), row.leased_by),
            (intents::SUBMITTED, None),
            "{kind:?}"
        );
        assert_eq!(yard.jobs_of(&late).len(), 1);
    }
}

#[tokio::test]
async fn a_network_comes_before_the_servers_that_need_it_and_once() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let (one, two) = (yard.network().await, yard.network().await);
        let prepare = async |network: i64, after: Option<i64>| {
            let write = async |tx: Tx| -> Result<Option<i64>, DbError> {
                let asked = Asked {
                    prefix: &yard.cloud.config.prefix,
                    request_id: Some("req-2"),
                    now: cloud::now(),
                };
                networks::prepare(&tx, network, &yard.backend, after, asked).await
            };
            yard.cloud.db.write(write).await.unwrap()
        };
        let last = prepare(one.id, None).await;
        assert_eq!(prepare(one.id, None).await, last, "{kind:?}: on its way");
        let both = prepare(two.id, last).await;
        let server = yard.server().await;
        yard.port(server.id, one.id).await;
        yard.port(server.id, two.id).await;
        // Without being told: while a network of its own is on its way, nothing is sent about a server.
        let create = yard.step(&server, Step::Create, &yard.creation(&server));
        let create = yard.intend(create).await;
        let worker = worker(&yard);
        let mut order = Vec::new();
        while let Some(stepped) = worker.step().await.unwrap() {
            let Stepped::Submitted(job) = stepped else {
                panic!("{kind:?}: {stepped:?}");
            };
            yard.fake.settle();
            let (opcode, reason) = {
                let cluster = yard.fake.cluster();
                let job = &cluster.jobs[&job.0];
                assert_eq!(job.status.as_str(), "success", "{:?}", job.result);
                (job.opcode().to_owned(), job.reason().unwrap().to_owned())
            };
            order.push(opcode);
            for id in 1..=create.id {
                if format!("snf:{}", yard.intent(id).await.uuid) == reason {
                    yard.done(id).await;
                }
            }
        }
        let chain = ["OP_NETWORK_ADD", "OP_NETWORK_CONNECT"];
        let expected = [chain[0], chain[1], chain[0], chain[1], "OP_INSTANCE_CREATE"];
        assert_eq!(order, expected, "{kind:?}");
        assert_eq!(both, Some(create.id - 1));
        let name = format!("snf-net-{}", one.id);
        let tags: Vec<String> = {
            let cluster = yard.fake.cluster();
            let known = &cluster.networks[&name];
            assert_eq!(known.groups["default"], ("bridged".into(), "br0".into()));
            known.tags.iter().cloned().collect()
        };
        assert_eq!(
            tags,
            [
                "nfdhcpd",
                "private-filtered",
                "synnefo:dns:10.0.0.53",
                "synnefo:domain:example.org",
                "synnefo:mtu:1400",
                "synnefo:route:10.8.0.0/16@10.0.0.9",
            ]
        );
    }
}

#[tokio::test]
async fn a_network_that_fails_takes_its_servers_with_it_but_not_when_it_is_there_already() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        for (reason, fails) in [
            (
                "Desired network name 'snf-net-1' already exists as a network (UUID: x)",
                false,
            ),
            ("Cannot create IP address pool for network", true),
        ] {
            let network = yard.network().await;
            let write = async |tx: Tx| -> Result<Option<i64>, DbError> {
                let asked = Asked {
                    prefix: &yard.cloud.config.prefix,
                    request_id: None,
                    now: cloud::now(),
                };
                networks::prepare(&tx, network.id, &yard.backend, None, asked).await
            };
            let last = yard.cloud.db.write(write).await.unwrap().unwrap();
            let server = yard.server().await;
            let create = NewIntent {
                after_id: Some(last),
                ..yard.step(&server, Step::Create, &yard.creation(&server))
            };
            let create = yard.intend(create).await;
            let add = yard.intent(last - 1).await;
            assert_eq!(add.step, "NETWORK_ADD");
            let write = async |tx: Tx| -> Result<_, DbError> {
                outcome::intent_failed(&tx, &add, reason, cloud::now()).await?;
                backend_networks::find(&tx, network.id, yard.backend.id).await
            };
            let standing = yard.cloud.db.write(write).await.unwrap().unwrap();
            let create = yard.intent(create.id).await;
            let row = yard.server_row(server.id).await;
            if fails {
                assert_eq!(standing.oper_state, backend_networks::ERROR, "{kind:?}");
                assert_eq!(create.state, intents::DROPPED);
                assert_eq!((row.oper_state.as_str(), row.task), ("ERROR", None));
            } else {
                assert_eq!(standing.oper_state, backend_networks::PENDING, "{kind:?}");
                assert_eq!(create.state, intents::WAITING);
                assert_eq!(row.oper_state, "BUILD");
            }
        }
    }
}
