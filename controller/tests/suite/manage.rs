//! snf-manage from the outside: what it prints, how it ends, and which rows there are after it.

use std::process::{Command, Output};

use controller::backends;
use controller::bootstrap;
use controller::db::entity::{
    audit_entry, backend, dead_letter, flavor, image, quota, subnet, user,
};
use controller::outbox::{Outbox, Settings};
use controller::secret;
use fake_rapi::{FakeRapi, Options};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use crate::databases::ALL;
use crate::fixture::Yard;

/// How a run ended, and what it printed.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

async fn run(yard: &Yard, arguments: &[&str]) -> Ran {
    let config = yard.config_file();
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let ran = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_snf-manage"))
            .arg("--config")
            .arg(config)
            .args(arguments)
            .output()
            .unwrap()
    });
    let Output {
        status,
        stdout,
        stderr,
    } = ran.await.unwrap();
    Ran {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

async fn audited(yard: &Yard, action: &str) -> usize {
    let found = audit_entry::Entity::find().filter(audit_entry::Column::Action.eq(action));
    let found = found.all(yard.cloud.db.reader()).await.unwrap();
    assert!(
        found
            .iter()
            .all(|row| row.actor == "snf-manage" && row.source == "local")
    );
    found.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_added_only_when_its_certificate_and_credentials_are_right() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let other = FakeRapi::start(Options {
            cluster: String::from("other.gnt.test"),
            ..Options::default()
        });
        let other = other.await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "secret\n").unwrap();
        let (password, port) = (
            password.display().to_string(),
            other.address.port().to_string(),
        );
        let add = |more: &[&'static str]| {
            let mut all = vec!["backend-add", "127.0.0.1", "--port"];
            all.extend([
                port.as_str(),
                "--user",
                "synnefo",
                "--password-file",
                password.as_str(),
            ]);
            all.extend(more);
            all.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let run_owned = async |arguments: Vec<String>| {
            let borrowed: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(&yard, &borrowed).await
        };
        let count = async || {
            let all = backend::Entity::find().all(yard.cloud.db.reader()).await;
            all.unwrap().len()
        };
        // Nobody said that the certificate is right: it is shown, and nothing else happens.
        let shown = run_owned(add(&[])).await;
        assert_eq!(shown.code, 64, "{kind:?}: {}", shown.err);
        assert!(shown.err.contains(&other.fingerprint), "{}", shown.err);
        assert!(other.requests().is_empty());
        let wrong = "--fingerprint=00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00";
        let refused = run_owned(add(&[wrong])).await;
        assert_eq!(refused.code, 1, "{}", refused.err);
        assert!(refused.err.contains(&other.fingerprint), "{}", refused.err);
        assert!(other.requests().is_empty(), "nothing is sent to a stranger");
        other.set_password("synnefo", "another");
        let refused = run_owned(add(&["--yes"])).await;
        assert_eq!(refused.code, 1);
        assert!(
            refused.err.contains("does not let this user write"),
            "{}",
            refused.err
        );
        assert_eq!(count().await, 1, "{kind:?}");
        other.set_password("synnefo", "secret");
        let added = run_owned(add(&["--yes", "--hypervisor=fake", "--json"]))
            .await
            .json();
        assert_eq!(added["name"], "other.gnt.test", "{kind:?}");
        assert_eq!(added["certificate"], other.fingerprint.as_str());
        let id = added["id"].as_i64().unwrap();
        let row = backend::Entity::find_by_id(id).one(yard.cloud.db.reader());
        let row = row.await.unwrap().unwrap();
        assert_eq!(row.cluster_uuid.as_ref(), Some(&other.cluster().uuid));
        assert_eq!((row.node_groups.as_str(), row.cpu_total), ("default", 48));
        assert_eq!(row.disk_templates, "diskless,file,plain,drbd");
        assert!(row.memory_free > 0 && row.refreshed_at.is_some());
        assert!(!row.rapi_password.contains("secret"));
        let place = backends::password_place(row.uuid);
        assert_eq!(
            yard.cloud.seal.open(&row.rapi_password, &place).unwrap(),
            "secret"
        );
        assert_eq!(audited(&yard, "backend.add").await, 1);
        // It is there now.
        assert_eq!(run_owned(add(&["--yes"])).await.code, 1);
        let list = run(&yard, &["backend-list"]).await;
        assert!(list.out.starts_with("ID  NAME"), "{}", list.out);
        assert!(list.out.contains("other.gnt.test"), "{}", list.out);
        // It takes no servers, and is not asked.
        let modify = [
            "backend-modify",
            "other.gnt.test",
            "--drained",
            "true",
            "--offline",
            "true",
        ];
        assert_eq!(run(&yard, &modify).await.code, 0);
        let nothing = run(&yard, &["backend-modify", "other.gnt.test"]).await;
        assert_eq!(nothing.code, 64, "{}", nothing.err);
        let row = backend::Entity::find_by_id(id).one(yard.cloud.db.reader());
        let row = row.await.unwrap().unwrap();
        assert!(row.drained && row.offline, "{kind:?}");
        // Another cluster under the same address is not taken for it.
        other.cluster().uuid = uuid::Uuid::new_v4().to_string();
        let refresh = run(&yard, &["backend-refresh", "other.gnt.test"]).await;
        assert_eq!(refresh.code, 1);
        assert!(refresh.err.contains("answers now"), "{}", refresh.err);
        let made = [
            "--json",
            "backend-credentials",
            "other.gnt.test",
            "--broker-user",
            "other",
        ];
        let made = run(&yard, &made).await.json();
        let row = backend::Entity::find_by_id(id).one(yard.cloud.db.reader());
        let row = row.await.unwrap().unwrap();
        let digest = |name: &str| Some(secret::digest(made[name].as_str().unwrap()));
        assert_eq!(row.eventd_token_digest, digest("eventd_token"), "{kind:?}");
        assert_eq!(row.agent_token_digest, digest("agent_token"));
        assert_eq!(row.broker_user.as_deref(), Some("other"));
        let rotated = [
            "--json",
            "backend-credentials",
            "other.gnt.test",
            "--eventd",
        ];
        let rotated = run(&yard, &rotated).await.json();
        assert_ne!(rotated["eventd_token"], made["eventd_token"]);
        assert_eq!(rotated["agent_token"], Value::Null);
        assert_eq!(
            run(&yard, &["backend-remove", "other.gnt.test"]).await.code,
            0
        );
        assert_eq!(count().await, 1, "{kind:?}");
        yard.wanted().await;
        let kept = run(&yard, &["backend-remove", "cluster.gnt.test"]).await;
        assert_eq!(kept.code, 1);
        assert!(kept.err.contains("1 servers on it"), "{}", kept.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flavors_images_networks_and_people_are_made_and_wrong_ones_are_not() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        bootstrap::make_admin(&yard.cloud.db, Some(String::from("x")))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let private = folder.path().join("private");
        std::fs::write(&private, r#"{"password": "hunter2"}"#).unwrap();
        let private = private.display().to_string();
        // What is done, and how it ends.
        let runs: &[(&[&str], i32)] = &[
            (
                &[
                    "flavor-create",
                    "tiny",
                    "--vcpus",
                    "1",
                    "--ram",
                    "64",
                    "--disk",
                    "0",
                    "--disk-template",
                    "diskless",
                ],
                0,
            ),
            (
                &[
                    "flavor-create",
                    "tiny",
                    "--vcpus",
                    "2",
                    "--ram",
                    "64",
                    "--disk",
                    "4",
                ],
                1,
            ),
            (
                &[
                    "flavor-create",
                    "odd",
                    "--vcpus",
                    "0",
                    "--ram",
                    "64",
                    "--disk",
                    "4",
                ],
                64,
            ),
            (
                &[
                    "flavor-create",
                    "odd",
                    "--vcpus",
                    "1",
                    "--ram",
                    "64",
                    "--disk",
                    "4",
                    "--disk-template",
                    "tape",
                ],
                64,
            ),
            (
                &[
                    "flavor-create",
                    "odd",
                    "--vcpus",
                    "1",
                    "--ram",
                    "64",
                    "--disk",
                    "0",
                ],
                64,
            ),
            (&["flavor-delete", "small"], 0),
            (&["flavor-delete", "small"], 1),
            (
                &[
                    "image-register",
                    "noop",
                    "--os",
                    "noop+default",
                    "--os-parameter",
                    "img_id=debian",
                    "--private-parameters",
                    &private,
                    "--hypervisor-parameter",
                    "serial_console=false",
                    "--min-ram",
                    "64",
                ],
                0,
            ),
            (
                &[
                    "image-register",
                    "x",
                    "--os",
                    "noop",
                    "--os-parameter",
                    "nothing",
                ],
                64,
            ),
            (&["project-create", "web"], 0),
            (&["project-create", "web"], 1),
            (&["user-create", "ann", "--project", "web"], 0),
            (
                &["user-create", "ann", "--project", "web", "--role", "king"],
                64,
            ),
            (&["user-create", "bob", "--project", "none"], 1),
            (&["quota-set", "web", "instances=3", "ram=-1"], 0),
            (&["quota-set", "web", "ram=default"], 0),
            (&["quota-set", "web", "apples=3"], 64),
            (
                &[
                    "network-create",
                    "public",
                    "--link",
                    "br0",
                    "--shared",
                    "--external",
                    "--mtu",
                    "1400",
                ],
                0,
            ),
            (
                &[
                    "network-create",
                    "odd",
                    "--link",
                    "br0",
                    "--mac-prefix",
                    "01:00:00",
                ],
                64,
            ),
            (
                &[
                    "network-create",
                    "same",
                    "--link",
                    "br0",
                    "--mac-prefix",
                    "aa:00:01",
                ],
                1,
            ),
            (
                &["network-create", "odd", "--link", "br0", "--mtu", "20"],
                64,
            ),
            (
                &[
                    "subnet-create",
                    "public",
                    "10.9.0.0/24",
                    "--gateway",
                    "10.9.0.1",
                    "--dns",
                    "10.9.0.53",
                    "--route",
                    "10.8.0.0/16=10.9.0.9",
                ],
                0,
            ),
            (&["subnet-create", "public", "10.10.0.0/24"], 1),
            (
                &[
                    "subnet-create",
                    "public",
                    "2001:db8::/64",
                    "--gateway",
                    "10.9.0.1",
                ],
                64,
            ),
            (
                &[
                    "subnet-create",
                    "public",
                    "2001:db8::/64",
                    "--pool",
                    "10.0.0.1-10.0.0.2",
                ],
                64,
            ),
            (
                &["subnet-create", "public", "2001:db8::/64", "--route", "x"],
                64,
            ),
            (&["nonsense"], 64),
            (&["--help"], 0),
        ];
        for (arguments, code) in runs {
            let ran = run(&yard, arguments).await;
            assert_eq!(
                ran.code, *code,
                "{kind:?} {arguments:?}: {}{}",
                ran.out, ran.err
            );
            assert_eq!(ran.err.is_empty(), *code == 0, "{arguments:?}: {}", ran.err);
            assert!(!ran.out.contains("hunter2"), "{}", ran.out);
        }
        let db = yard.cloud.db.reader();
        let flavors = flavor::Entity::find().all(db).await.unwrap();
        let of = |name: &str| flavors.iter().find(|row| row.name == name).unwrap();
        assert_eq!((of("tiny").deletion, of("tiny").ram), (0, 64), "{kind:?}");
        assert_eq!(of("small").deletion, of("small").id);
        let image = image::Entity::find().one(db).await.unwrap().unwrap();
        assert_eq!(image.os_parameters, json!({"img_id": "debian"}));
        assert_eq!(
            image.hypervisor_parameters,
            json!({"serial_console": false})
        );
        let place = format!("images/{}/os_parameters_private", image.uuid);
        let sealed = image.os_parameters_private.unwrap();
        assert!(
            yard.cloud
                .seal
                .open(&sealed, &place)
                .unwrap()
                .contains("hunter2")
        );
        let ann = user::Entity::find().filter(user::Column::Name.eq("ann"));
        let ann = ann.one(db).await.unwrap().unwrap();
        assert!(ann.password_digest.unwrap().starts_with("$argon2id"));
        let quotas = quota::Entity::find().all(db).await.unwrap();
        assert_eq!(quotas.len(), 1, "{kind:?}");
        assert_eq!(
            (quotas[0].resource.as_str(), quotas[0].most),
            ("instances", 3)
        );
        let subnet = subnet::Entity::find().one(db).await.unwrap().unwrap();
        assert_eq!(
            subnet.pools,
            json!([{"start": "10.9.0.2", "end": "10.9.0.254"}])
        );
        assert_eq!(subnet.dns_servers, json!(["10.9.0.53"]));
        let routes = json!([{"destination": "10.8.0.0/16", "nexthop": "10.9.0.9"}]);
        assert_eq!(subnet.host_routes, routes);
        for (action, times) in [
            ("flavor.create", 1),
            ("user.create", 1),
            ("quota.set", 2),
            ("subnet.create", 1),
        ] {
            assert_eq!(audited(&yard, action).await, times, "{kind:?} {action}");
        }
        let networks = run(&yard, &["network-list", "--json"]).await.json();
        assert_eq!(
            networks[0]["mac_prefix"], "aa:00:01",
            "{kind:?}: {networks}"
        );
        let images = run(&yard, &["image-list"]).await;
        assert!(images.out.contains("noop+default"), "{}", images.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_tells_how_it_came_to_be_so_and_letters_are_shown_and_tried_again() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let (server, intent) = yard.wanted().await;
        let settings = Settings::default();
        Outbox::new(yard.cloud.clone(), settings)
            .step()
            .await
            .unwrap();
        let name = server.instance_name.clone().unwrap();
        for key in [server.uuid.to_string(), name.clone()] {
            let shown = run(&yard, &["server-show", &key, "--json"]).await.json();
            assert_eq!(shown["uuid"], server.uuid.to_string(), "{kind:?}");
            assert_eq!(shown["task"], "BUILD");
        }
        let told = run(&yard, &["server-explain", &name]).await;
        for words in [
            "is BUILD on cluster.gnt.test",
            &format!("intent {} CREATE submitted, sent 1 times, job 1", intent.id),
            "job 1: nothing was heard of it",
        ] {
            assert!(
                told.out.contains(words),
                "{kind:?} {words:?}: {}{}",
                told.out,
                told.err
            );
        }
        let told = run(&yard, &["server-explain", &name, "--json"])
            .await
            .json();
        let found = &told["intents_without_call"][0];
        assert_eq!(
            (&found["step"], &found["job"]["id"]),
            (&json!("CREATE"), &json!(1))
        );
        let list = run(&yard, &["server-list"]).await;
        assert!(list.out.contains(&name), "{}", list.out);
        assert_eq!(run(&yard, &["server-show", "nobody"]).await.code, 1);
        let letter = dead_letter::ActiveModel {
            backend_id: Set(Some(yard.backend.id)),
            sender: Set(Some(String::from("cluster"))),
            transport: Set(String::from("https")),
            routing_key: Set(String::from("ganeti.snf-.event.op")),
            body: Set(String::from("{}")),
            reason: Set(String::from("no")),
            attempts: Set(1),
            received_at: Set(controller::cloud::now()),
            ..Default::default()
        };
        let letter = letter.insert(yard.cloud.db.reader()).await.unwrap();
        let letters = run(&yard, &["queue-inspect", "--json"]).await.json();
        assert_eq!(letters[0]["id"], letter.id, "{kind:?}");
        assert_eq!(run(&yard, &["queue-retry", "99999"]).await.code, 1);
        let retried = run(&yard, &["queue-retry", "--json"]).await.json();
        let outcome = retried[0]["outcome"].as_str().unwrap();
        assert!(outcome.starts_with("not taken in: "), "{outcome}");
        let left = dead_letter::Entity::find().all(yard.cloud.db.reader());
        let left = left.await.unwrap();
        assert_eq!(left.len(), 1, "{kind:?}: it is there once");
        assert_eq!(left[0].sender.as_deref(), Some("cluster"));
    }
}
