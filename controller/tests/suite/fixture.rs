//! Rows to work on: a cluster that a fake stands for, a project, a user, a flavor, servers and networks.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use controller::backends;
use controller::cloud::{self, Cloud};
use controller::config::Config;
use controller::db::entity::{
    backend, domain, flavor, intent, network, port, project, server, subnet, user,
};
use controller::db::intents::NewIntent;
use controller::db::{Db, DbError, intents};
use controller::lifecycle::{OperState, Step, Task};
use controller::rapi::{Submission, body};
use controller::seal::{self, Seal};
use fake_rapi::{FakeRapi, Options};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel};
use serde_json::json;
use uuid::Uuid;

use crate::databases::{Fresh, Kind};

/// A cloud of one cluster.
pub(crate) struct Yard {
    pub(crate) cloud: Cloud,
    pub(crate) fake: FakeRapi,
    pub(crate) backend: backend::Model,
    project: i64,
    user: i64,
    flavor: i64,
    made: AtomicI64,
    fresh: Fresh,
    keys: tempfile::TempDir,
}

impl Yard {
    /// One on a database of this kind; `None` when its server is not installed.
    pub(crate) async fn on(kind: Kind) -> Option<Self> {
        let (fresh, db) = Fresh::migrated(kind).await?;
        let fake = FakeRapi::start(Options::default()).await.unwrap();
        let keys = tempfile::tempdir().unwrap();
        let path = keys.path().join("keys");
        std::fs::write(&path, seal::new_key()).unwrap();
        let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, only_ours).unwrap();
        let seal = Seal::read(&path).unwrap();
        let backend = add_backend(&db, &seal, &fake).await;
        let config = Config::parse("", &path).unwrap();
        let cloud = Cloud::new(db, config, seal);
        let db = cloud.db.reader();
        let now = cloud::now();
        let domain = domain::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            name: Set(String::from("default")),
            enabled: Set(true),
            created_at: Set(now),
            ..Default::default()
        };
        let domain = domain.insert(db).await.unwrap();
        let project = project::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            domain_id: Set(domain.id),
            name: Set(String::from("p")),
            description: Set(String::new()),
            enabled: Set(true),
            created_at: Set(now),
            ..Default::default()
        };
        let project = project.insert(db).await.unwrap().id;
        let user = user::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            domain_id: Set(domain.id),
            name: Set(String::from("u")),
            enabled: Set(true),
            created_at: Set(now),
            ..Default::default()
        };
        let user = user.insert(db).await.unwrap().id;
        let flavor = flavor::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            name: Set(String::from("small")),
            vcpus: Set(1),
            ram: Set(128),
            disk: Set(0),
            disk_template: Set(String::from("diskless")),
            is_public: Set(true),
            created_at: Set(now),
            deletion: Set(0),
            ..Default::default()
        };
        let flavor = flavor.insert(db).await.unwrap().id;
        Some(Self {
            cloud,
            fake,
            backend,
            project,
            user,
            flavor,
            made: AtomicI64::new(0),
            fresh,
            keys,
        })
    }

    /// A configuration file of this cloud.
    pub(crate) fn config_file(&self) -> PathBuf {
        let folder = self.keys.path();
        let path = folder.join("controller.toml");
        let keys = folder.join("keys");
        let text = format!("keys = {keys:?}\n[database]\nurl = {:?}\n", self.fresh.url);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A server that is being built, without an intent.
    pub(crate) async fn server(&self) -> server::Model {
        let now = cloud::now();
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let row = server::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            project_id: Set(self.project),
            user_id: Set(self.user),
            name: Set(format!("web{number}")),
            backend_id: Set(self.backend.id),
            instance_name: Set(Some(format!("snf-{}", number + 1))),
            flavor_id: Set(self.flavor),
            vcpus: Set(1),
            ram: Set(128),
            disk: Set(0),
            oper_state: Set(OperState::Build.as_str().to_owned()),
            task: Set(Some(Task::Build.as_str().to_owned())),
            progress: Set(0),
            created_at: Set(now),
            updated_at: Set(now),
            deletion: Set(0),
            ..Default::default()
        };
        row.insert(self.cloud.db.reader()).await.unwrap()
    }

    /// A network with an IPv4 subnet.
    pub(crate) async fn network(&self) -> network::Model {
        let now = cloud::now();
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let row = network::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            project_id: Set(Some(self.project)),
            name: Set(format!("net{number}")),
            description: Set(String::new()),
            mode: Set(String::from("bridged")),
            link: Set(String::from("br0")),
            mac_prefix: Set(format!("aa:01:{:02x}", number % 256)),
            tags: Set(String::from("private-filtered")),
            is_shared: Set(false),
            is_external: Set(false),
            is_drained: Set(false),
            mtu: Set(Some(1400)),
            dns_domain: Set(Some(String::from("example.org"))),
            status: Set(String::from("ACTIVE")),
            created_at: Set(now),
            updated_at: Set(now),
            deletion: Set(0),
            ..Default::default()
        };
        let made = row.insert(self.cloud.db.reader()).await.unwrap();
        let row = subnet::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            network_id: Set(made.id),
            name: Set(String::new()),
            ip_version: Set(4),
            cidr: Set(format!("10.{}.0.0/24", number % 250)),
            gateway: Set(Some(format!("10.{}.0.1", number % 250))),
            dhcp: Set(true),
            pools: Set(json!([])),
            dns_servers: Set(json!(["10.0.0.53"])),
            host_routes: Set(json!([{"destination": "10.8.0.0/16", "nexthop": "10.0.0.9"}])),
            created_at: Set(now),
            updated_at: Set(now),
            deletion: Set(0),
            ..Default::default()
        };
        row.insert(self.cloud.db.reader()).await.unwrap();
        made
    }

    /// A NIC of a server on a network.
    pub(crate) async fn port(&self, server: i64, network: i64) -> port::Model {
        let now = cloud::now();
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let row = port::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            network_id: Set(network),
            server_id: Set(Some(server)),
            project_id: Set(self.project),
            user_id: Set(self.user),
            name: Set(String::new()),
            mac: Set(format!(
                "aa:00:01:00:{:02x}:{:02x}",
                number / 256,
                number % 256
            )),
            state: Set(String::from("BUILD")),
            created_at: Set(now),
            updated_at: Set(now),
            deletion: Set(0),
            ..Default::default()
        };
        row.insert(self.cloud.db.reader()).await.unwrap()
    }

    /// What a server's creation is asked for with.
    pub(crate) fn creation(&self, server: &server::Model) -> Submission {
        let instance = body::NewInstance {
            name: server.instance_name.clone().unwrap(),
            os: String::from("noop+default"),
            hypervisor: String::from("fake"),
            disk_template: String::from("diskless"),
            vcpus: 1,
            ram: 128,
            disks: Vec::new(),
            nics: Vec::new(),
            os_parameters: serde_json::Map::new(),
            os_parameters_private: serde_json::Map::new(),
            hypervisor_parameters: serde_json::Map::new(),
            tags: Vec::new(),
        };
        body::create(&instance, &[])
    }

    /// A step of a server's task, waiting to be sent.
    pub(crate) fn step(&self, server: &server::Model, step: Step, what: &Submission) -> NewIntent {
        NewIntent {
            uuid: Uuid::now_v7(),
            backend_id: self.backend.id,
            server_id: Some(server.id),
            network_id: None,
            port_id: None,
            flavor_id: None,
            task: server.task.clone(),
            step: step.as_str(),
            is_last: true,
            after_id: None,
            request: what.to_json(),
            secrets: None,
            request_id: Some(String::from("req-1")),
        }
    }

    /// Writes an intent.
    pub(crate) async fn intend(&self, new: NewIntent) -> intent::Model {
        let write = async |tx: controller::db::Tx| -> Result<_, DbError> {
            intents::insert(&tx, new.clone(), cloud::now()).await
        };
        self.cloud.db.write(write).await.unwrap()
    }

    /// A server with the intent to create it.
    pub(crate) async fn wanted(&self) -> (server::Model, intent::Model) {
        let server = self.server().await;
        let what = self.creation(&server);
        let intent = self.intend(self.step(&server, Step::Create, &what)).await;
        (server, intent)
    }

    /// An intent's row as it is now.
    pub(crate) async fn intent(&self, id: i64) -> intent::Model {
        let found = intent::Entity::find_by_id(id);
        found.one(self.cloud.db.reader()).await.unwrap().unwrap()
    }

    /// A server's row as it is now.
    pub(crate) async fn server_row(&self, id: i64) -> server::Model {
        let found = server::Entity::find_by_id(id);
        found.one(self.cloud.db.reader()).await.unwrap().unwrap()
    }

    /// Says that an intent's job has succeeded, as the dispatcher does.
    pub(crate) async fn done(&self, id: i64) {
        let mut row = self.intent(id).await.into_active_model();
        row.state = Set(intents::DONE.to_owned());
        row.update(self.cloud.db.reader()).await.unwrap();
    }

    /// The jobs that were submitted for an intent.
    pub(crate) fn jobs_of(&self, intent: &intent::Model) -> Vec<u64> {
        let reason = controller::outbox::reason(intent.uuid);
        let cluster = self.fake.cluster();
        let ours = cluster.jobs.values();
        ours.filter(|job| job.reason() == Some(&reason))
            .map(|job| job.id)
            .collect()
    }
}

async fn add_backend(db: &Db, seal: &Seal, fake: &FakeRapi) -> backend::Model {
    let now = cloud::now();
    let uuid = Uuid::new_v4();
    let password = seal
        .seal("secret", &backends::password_place(uuid))
        .unwrap();
    let cluster_uuid = fake.cluster().uuid.clone();
    let row = backend::ActiveModel {
        uuid: Set(uuid),
        name: Set(String::from("cluster.gnt.test")),
        cluster_uuid: Set(Some(cluster_uuid)),
        host: Set(String::from("127.0.0.1")),
        port: Set(i32::from(fake.address.port())),
        rapi_user: Set(String::from("synnefo")),
        rapi_password: Set(password),
        trust_kind: Set(backends::TRUST_FINGERPRINT.to_owned()),
        trust: Set(fake.fingerprint.clone()),
        mode: Set(String::from("auto")),
        hypervisor: Set(String::from("fake")),
        disk_templates: Set(String::from("diskless,file")),
        node_groups: Set(String::from("default")),
        drained: Set(false),
        offline: Set(false),
        memory_total: Set(0),
        memory_free: Set(0),
        disk_total: Set(0),
        disk_free: Set(0),
        cpu_total: Set(0),
        instance_count: Set(0),
        created_at: Set(now),
        updated_at: Set(now),
        ..Default::default()
    };
    row.insert(db.reader()).await.unwrap()
}
