//! The HTTPS transport against a controller of the test's own: what its side must keep to, and what eventd and the agent do
//! then.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::eventd::counters::Counters;
use agent::eventd::http::acceptor;
use agent::eventd::journal::record::Subject;
use agent::eventd::journal::{Journal, Limits, News};
use agent::eventd::luxi::QuerySocket;
use agent::eventd::publish::Publisher;
use agent::eventd::publish::compose::Composer;
use agent::node::environment::{Heard, Told};
use agent::node::membership::Membership;
use agent::node::outbox::{Outbox, Sender};
use agent::node::publish::{self, Sources};
use agent::node::spool::{Limits as Room, Spool};
use agent::transport::https::{Https, Identity};
use agent::transport::settings::{self, Url, Way};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use snf_events::intake::{Batch, Stored};
use snf_events::{AgentMessage, JobId, JobStatus, Message, Prefix, Progress, RoutingKey, Sequence};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

const TOKEN: &str = "the cluster's token";

/// What the controller got, and how it behaves.
#[derive(Debug, Default)]
struct Controller {
    batches: Vec<Batch>,
    /// Stores so many records of the next batch, and says so.
    stores: Option<u64>,
    /// Answers the next requests with these statuses.
    refuses: Vec<u16>,
    unauthorized: u64,
    /// Refuses batches with this key as unfit.
    abhors: Option<&'static str>,
}

type Shared = Arc<Mutex<Controller>>;

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let reply = |status: u16, body: String| {
        Response::builder()
            .status(status)
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    };
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri().path(), "/base/internal/events");
    assert_eq!(request.headers()["content-type"], "application/json");
    let is_known = request.headers()["authorization"] == format!("Bearer {TOKEN}");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut controller = shared.lock().unwrap();
    if !is_known {
        controller.unauthorized += 1;
        return reply(401, String::from("who is that?"));
    }
    if let Some(status) = controller.refuses.pop() {
        return reply(status, String::from("not now"));
    }
    let mut batch: Batch = serde_json::from_slice(&body).unwrap();
    let first = batch.records.first().map(|record| record.key.as_str());
    if first.is_some() && first == controller.abhors {
        return reply(413, String::from("too large"));
    }
    if let Some(count) = controller.stores.filter(|_| !batch.records.is_empty()) {
        controller.stores = None;
        batch.records.truncate(usize::try_from(count).unwrap());
    }
    let sequence = batch
        .records
        .last()
        .map_or(Sequence(0), |record| record.sequence);
    let stored = Stored {
        epoch: batch.epoch.clone(),
        sequence,
    };
    controller.batches.push(batch);
    reply(200, serde_json::to_string(&stored).unwrap())
}

/// Listens with a certificate for localhost; where, and the authority's PEM.
async fn listen(directory: &Path, shared: Shared) -> (SocketAddr, String) {
    let own = rcgen::generate_simple_self_signed([String::from("localhost")]).unwrap();
    let (certificate, key) = (directory.join("certificate"), directory.join("key"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let tls = acceptor(&certificate, &key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, shared) = (tls.clone(), Arc::clone(&shared));
            tokio::task::spawn_local(async move {
                let Ok(stream) = tls.accept(stream).await else {
                    return;
                };
                let service = service_fn(|request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(answer(request, &shared).await) }
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, own.cert.pem())
}

struct Scene {
    directory: tempfile::TempDir,
    journal: Journal,
    counters: Arc<Counters>,
    controller: Shared,
    authority: String,
    port: u16,
    number: u64,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let controller = Shared::default();
        let (address, authority) = listen(directory.path(), Arc::clone(&controller)).await;
        std::fs::write(directory.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let limits = Limits {
            segment: 1 << 20,
            compact: 1 << 20,
            keep: 100,
        };
        let journal = Journal::open(&directory.path().join("journal"), limits).unwrap();
        Self {
            journal: journal.journal,
            counters: Arc::default(),
            controller,
            authority,
            port: address.port(),
            number: 0,
            directory,
        }
    }

    /// Journals `count` jobs that succeeded.
    fn journal(&mut self, count: u64) {
        for _ in 0..count {
            self.number += 1;
            let body = json!({
                "type": "ganeti-op-status", "instance": "snf-1", "operation": "OP_INSTANCE_REMOVE",
                "status": "success", "jobId": self.number, "event_time": [1, 2], "logmsg": null, "cluster": "c",
                "received_timestamp": [1, 0], "result": null, "job_fields": {}, "tags": [],
            });
            self.journal.append(News {
                subject: Subject {
                    job: JobId(self.number),
                    received: (1, 0).into(),
                    op_index: 0,
                    prefix: prefix(),
                },
                status: JobStatus::Success,
                key: RoutingKey::stored("ganeti.snf.event.op"),
                body: body.to_string().into_bytes(),
                written: 1,
            });
        }
        self.journal.commit().unwrap();
    }

    fn settings(&self, authority: &str) -> settings::Https {
        settings::Https {
            url: Url {
                tls: true,
                host: String::from("localhost"),
                port: self.port,
                base: String::from("/base"),
            },
            token: self.directory.path().join("token"),
            authority: Some(authority.to_owned()),
            patience: Duration::from_secs(5),
        }
    }

    fn publish(&self, authority: &str) -> (watch::Sender<bool>, impl Future<Output = ()> + use<>) {
        let view = self.journal.view();
        let identity = Identity {
            cluster: String::from("c"),
            cluster_uuid: String::from("u"),
        };
        let settings = self.settings(authority);
        let publisher = Publisher {
            view,
            composer: Composer {
                cluster: String::from("c"),
                cluster_uuid: String::from("u"),
                socket: QuerySocket {
                    path: self.directory.path().join("none"),
                    bound: Duration::from_secs(1),
                },
                counters: Arc::clone(&self.counters),
                respite: Arc::new(AtomicU64::new(0)),
            },
            node: String::from("node1"),
            prefixes: vec![prefix()],
            interval: Duration::from_millis(100),
            nudge: Arc::new(Notify::new()),
            counters: Arc::clone(&self.counters),
        };
        let (stop, stopped) = watch::channel(false);
        let run = async move {
            publisher
                .run(Https::new(settings, watch::channel(identity).1), stopped)
                .await
                .unwrap();
        };
        (stop, run)
    }

    /// The numbers that were stored, in the order in which they came.
    fn stored(&self) -> Vec<u64> {
        let controller = self.controller.lock().unwrap();
        let records = controller.batches.iter().flat_map(|batch| &batch.records);
        records.map(|record| record.sequence.0).collect()
    }

    fn acknowledged(&self) -> u64 {
        self.journal.view().mark().acknowledged.0
    }
}

fn prefix() -> Prefix {
    "snf-".parse().unwrap()
}

async fn until(fact: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for: {fact}");
}

fn run(act: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    tokio::task::LocalSet::new().block_on(&runtime.unwrap(), act);
}

#[test]
fn batches_are_stored_in_order_and_then_the_cursor_moves() {
    run(async {
        let mut scene = Scene::new().await;
        scene.journal(700);
        let (stop, publication) = scene.publish(&scene.authority);
        let publication = tokio::task::spawn_local(publication);
        until("all is acknowledged", || scene.acknowledged() == 700).await;
        assert_eq!(scene.stored(), (1..=700).collect::<Vec<_>>());
        let controller = Arc::clone(&scene.controller);
        until("a heartbeat", || {
            let controller = controller.lock().unwrap();
            controller
                .batches
                .iter()
                .any(|batch| batch.heartbeat.is_some())
        })
        .await;
        {
            let controller = controller.lock().unwrap();
            let first = &controller
                .batches
                .iter()
                .find(|batch| !batch.records.is_empty())
                .unwrap();
            assert_eq!(
                (first.cluster.as_str(), first.cluster_uuid.as_str()),
                ("c", "u")
            );
            assert_eq!(first.records[0].key.as_str(), "ganeti.snf.event.op");
            let message = Message::decode(first.records[0].message.get().as_bytes()).unwrap();
            let place = message.operation().unwrap().place.clone().unwrap();
            assert_eq!((place.sequence, &place.epoch), (Sequence(1), &first.epoch));
        }
        // What comes later comes too.
        scene.journal(3);
        until("the rest", || scene.acknowledged() == 703).await;
        stop.send(true).unwrap();
        publication.await.unwrap();
    });
}

#[test]
fn what_was_not_stored_is_posted_again() {
    run(async {
        let mut scene = Scene::new().await;
        {
            let mut controller = scene.controller.lock().unwrap();
            controller.stores = Some(2);
            controller.refuses = vec![503, 500];
        }
        scene.journal(10);
        let (stop, publication) = scene.publish(&scene.authority);
        let publication = tokio::task::spawn_local(publication);
        until("all is acknowledged", || scene.acknowledged() == 10).await;
        assert_eq!(scene.stored(), (1..=10).collect::<Vec<_>>());
        assert_eq!(scene.counters.refused.value(), 8);
        assert!(scene.counters.connection_errors.value() >= 2);
        stop.send(true).unwrap();
        publication.await.unwrap();
    });
}

#[test]
fn nothing_is_posted_to_somebody_else() {
    run(async {
        let mut scene = Scene::new().await;
        scene.journal(1);
        let other = rcgen::generate_simple_self_signed([String::from("localhost")]).unwrap();
        let (stop, publication) = scene.publish(&other.cert.pem());
        let publication = tokio::task::spawn_local(publication);
        until("it is refused", || {
            scene.counters.connection_errors.value() >= 2
        })
        .await;
        stop.send(true).unwrap();
        publication.await.unwrap();
        assert!(scene.stored().is_empty());
        // With a wrong token the controller refuses, and what is journaled stays.
        std::fs::write(scene.directory.path().join("token"), "wrong").unwrap();
        let (stop, publication) = scene.publish(&scene.authority);
        let publication = tokio::task::spawn_local(publication);
        let controller = Arc::clone(&scene.controller);
        until("it is refused", || {
            controller.lock().unwrap().unauthorized >= 2
        })
        .await;
        stop.send(true).unwrap();
        publication.await.unwrap();
        assert!(scene.stored().is_empty());
        assert_eq!(scene.acknowledged(), 0);
    });
}

impl Scene {
    /// What an agent keeps here, on a node that is the master.
    fn outbox(&self) -> Outbox {
        let ssconf = self.directory.path().join("ssconf");
        std::fs::create_dir_all(&ssconf).unwrap();
        std::fs::write(ssconf.join("ssconf_cluster_name"), "c\n").unwrap();
        std::fs::write(ssconf.join("ssconf_master_node"), "node1\n").unwrap();
        let room = Room {
            messages: 100,
            bytes: 1 << 20,
        };
        let epochs = [1, 2].map(|n| {
            let text = format!("00000000-0000-4000-8000-00000000000{n}");
            text.parse().unwrap()
        });
        Outbox {
            spool: Spool::open(self.directory.path(), room, epochs).unwrap(),
            membership: Membership::new(
                ssconf,
                Some(String::from("node1")),
                self.directory.path().join("none"),
            ),
            prefixes: vec![prefix()],
            counters: Arc::default(),
        }
    }

    fn stored_keys(&self) -> Vec<String> {
        let controller = self.controller.lock().unwrap();
        let records = controller.batches.iter().flat_map(|batch| &batch.records);
        records.map(|record| record.key.to_string()).collect()
    }
}

fn heard(instance: &str) -> Told {
    Told::Keep(Heard {
        instance: instance.to_owned(),
        hook: String::from("instance-start"),
        at: 1_500,
        primary: None,
        tags: Vec::new(),
        tags_learnt: None,
        nics: Vec::new(),
    })
}

#[test]
fn an_agents_words_are_posted_until_they_are_stored_and_its_reports_once() {
    run(async {
        let scene = Scene::new().await;
        {
            let mut controller = scene.controller.lock().unwrap();
            controller.stores = Some(1);
            controller.refuses = vec![503];
        }
        let outbox = Arc::new(scene.outbox());
        let sender = Sender::of(&outbox.membership).await;
        for instance in ["snf-1", "snf-2", "snf-3"] {
            outbox.hook(&heard(instance), &sender);
        }
        let progress = Progress::of_copy("snf-1", (1, 2).into(), Some(50.0), None);
        outbox.progress(&progress.encode(), &sender, 1_500);
        let sources = Sources {
            taps: Arc::default(),
            nfdhcpd: scene.directory.path().join("none"),
            directories: Vec::new(),
            interval: Some(Duration::from_millis(100)),
        };
        let publisher = publish::Publisher::new(Arc::clone(&outbox), sources).unwrap();
        let (stop, stopped) = watch::channel(false);
        let way = Way::Https(scene.settings(&scene.authority));
        let publication = tokio::task::spawn_local(publisher.publish(way, stopped));
        until("all is stored", || outbox.spool.level().messages == 0).await;
        until("reports", || {
            let keys = scene.stored_keys();
            keys.iter()
                .filter(|key| *key == "ganeti.snf.event.node")
                .count()
                >= 2
        })
        .await;
        stop.send(true).unwrap();
        publication.await.unwrap();
        let controller = scene.controller.lock().unwrap();
        let mut told = Vec::new();
        for batch in &controller.batches {
            assert_eq!(
                (batch.cluster.as_str(), batch.cluster_uuid.as_str()),
                ("c", "")
            );
            // An epoch is one type's.
            let keys: Vec<&str> = batch
                .records
                .iter()
                .map(|record| record.key.as_str())
                .collect();
            assert!(keys.iter().all(|key| Some(key) == keys.first()), "{keys:?}");
            for record in &batch.records {
                let text = record.message.get().as_bytes();
                match record.key.as_str() {
                    "ganeti.snf.event.net" => {
                        let AgentMessage::Net(net) = AgentMessage::decode(text).unwrap() else {
                            panic!("another type");
                        };
                        assert_eq!(
                            (net.origin.sequence, &net.origin.epoch),
                            (record.sequence, &batch.epoch)
                        );
                        told.push((net.instance, record.sequence.0));
                    }
                    "ganeti.snf.event.progress" => {
                        let progress = Progress::decode(text).unwrap();
                        told.push((progress.kind().to_owned(), record.sequence.0));
                    }
                    other => assert_eq!(other, "ganeti.snf.event.node"),
                }
            }
        }
        told.sort();
        let expected = [
            ("ganeti-create-progress", 1),
            ("snf-1", 1),
            ("snf-2", 2),
            ("snf-3", 3),
        ];
        assert_eq!(
            told,
            expected.map(|(what, number)| (what.to_owned(), number))
        );
        let figures = outbox.counters.figures();
        assert_eq!(figures.publication.published.get("net"), Some(&3));
        assert!(figures.publication.refused >= 2 && figures.publication.connection_errors >= 1);
    });
}

/// A batch that the controller will not have must not be in everything else's way for good.
#[test]
fn progress_that_the_controller_will_not_have_is_dropped_and_the_rest_goes_on() {
    run(async {
        let scene = Scene::new().await;
        scene.controller.lock().unwrap().abhors = Some("ganeti.snf.event.progress");
        let outbox = Arc::new(scene.outbox());
        let sender = Sender::of(&outbox.membership).await;
        let progress = Progress::of_copy("snf-1", (1, 2).into(), Some(50.0), None);
        outbox.progress(&progress.encode(), &sender, 1_500);
        outbox.hook(&heard("snf-2"), &sender);
        let sources = Sources {
            taps: Arc::default(),
            nfdhcpd: scene.directory.path().join("none"),
            directories: Vec::new(),
            interval: None,
        };
        let publisher = publish::Publisher::new(Arc::clone(&outbox), sources).unwrap();
        let (stop, stopped) = watch::channel(false);
        let way = Way::Https(scene.settings(&scene.authority));
        let publication = tokio::task::spawn_local(publisher.publish(way, stopped));
        until("nothing waits", || outbox.spool.level().messages == 0).await;
        until("the other is stored", || {
            scene.stored_keys() == ["ganeti.snf.event.net"]
        })
        .await;
        stop.send(true).unwrap();
        publication.await.unwrap();
        let figures = outbox.counters.figures();
        assert_eq!(figures.publication.dropped.get("progress"), Some(&1));
    });
}
