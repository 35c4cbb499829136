//! A small cloud in a database: a user with a project, a cluster, a flavor, a network.

use controller::cloud::{Cloud, now};
use controller::config::Config;
use controller::db::Db;
use controller::db::entity::{
    address, backend, domain, flavor, network, port, project, server, subnet, user,
};
use controller::seal::Seal;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel};
use uuid::Uuid;

pub(crate) const CLUSTER_UUID: &str = "4a98629b-ef2d-45b6-b4bc-bb70b70e7057";

/// The numbers of what there is.
pub(crate) struct Small {
    pub(crate) cloud: Cloud,
    pub(crate) project: i64,
    pub(crate) user: i64,
    pub(crate) backend: i64,
    pub(crate) flavor: i64,
    pub(crate) larger: i64,
    pub(crate) network: i64,
    pub(crate) subnet: i64,
}

/// Writes a row whose number the database gives.
macro_rules! insert {
    ($db:expr, $entity:ident, { $($field:ident: $value:expr),* $(,)? }) => {{
        let row = $entity::Model { id: 0, $($field: $value),* };
        let mut row = row.into_active_model().reset_all();
        row.id = sea_orm::ActiveValue::NotSet;
        $entity::Entity::insert(row).exec($db.reader()).await.unwrap().last_insert_id
    }};
}
pub(crate) use insert;

/// The cloud's configuration and keys, which tests need not say.
pub(crate) fn cloud(db: Db) -> Cloud {
    let config = Config::parse("", std::path::Path::new("test.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, controller::seal::new_key()).unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&keys, owner_only).unwrap();
    let seal = Seal::read(&keys).unwrap();
    Cloud::new(db, config, seal)
}

impl Small {
    pub(crate) async fn make(db: Db) -> Self {
        Self::within(cloud(db)).await
    }

    /// In a cloud that is there.
    pub(crate) async fn within(cloud: Cloud) -> Self {
        let (db, at) = (cloud.db.clone(), now());
        let domain = insert!(db, domain, {
            uuid: Uuid::new_v4(), name: "default".into(), enabled: true, created_at: at,
        });
        let project = insert!(db, project, {
            uuid: Uuid::new_v4(), domain_id: domain, name: "p".into(), description: String::new(),
            enabled: true, created_at: at,
        });
        let user = insert!(db, user, {
            uuid: Uuid::new_v4(), domain_id: domain, name: "u".into(), email: None,
            password_digest: None, default_project_id: Some(project), enabled: true, created_at: at,
        });
        let backend = insert!(db, backend, {
            uuid: Uuid::new_v4(), name: "gnt.test".into(), cluster_uuid: Some(CLUSTER_UUID.into()),
            host: "192.0.2.1".into(), port: 5080, rapi_user: "snf".into(), rapi_password: String::new(),
            trust_kind: "fingerprint".into(), trust: String::new(), mode: "auto".into(),
            hypervisor: "kvm".into(), disk_templates: "diskless,plain".into(), node_groups: "default".into(),
            drained: false, offline: false, memory_total: 65_536, memory_free: 32_768,
            disk_total: 1 << 20, disk_free: 1 << 19, cpu_total: 32, instance_count: 0,
            refreshed_at: None, eventd_token_digest: None, agent_token_digest: None, broker_user: None,
            created_at: at, updated_at: at,
        });
        let mut flavors = Vec::new();
        for (name, vcpus, ram) in [("small", 1, 512), ("large", 4, 2048)] {
            flavors.push(insert!(db, flavor, {
                uuid: Uuid::new_v4(), name: name.into(), vcpus: vcpus, ram: ram, disk: 0,
                disk_template: "diskless".into(), is_public: true, created_at: at, deletion: 0,
            }));
        }
        let network = insert!(db, network, {
            uuid: Uuid::new_v4(), project_id: Some(project), user_id: Some(user), name: "n".into(),
            description: String::new(), mode: "bridged".into(), link: "br0".into(),
            mac_prefix: "aa:00:01".into(), tags: "nfdhcpd".into(), is_shared: false, is_external: false,
            is_drained: false, mtu: None, dns_domain: None, status: "ACTIVE".into(), created_at: at,
            updated_at: at, deletion: 0,
        });
        let subnet = insert!(db, subnet, {
            uuid: Uuid::new_v4(), network_id: network, project_id: Some(project), name: "s".into(),
            ip_version: 4, cidr: "192.0.2.0/24".into(), gateway: Some("192.0.2.1".into()), dhcp: true,
            ipv6_mode: None, pools: serde_json::json!([]), dns_servers: serde_json::json!([]),
            host_routes: serde_json::json!([]), created_at: at, updated_at: at, deletion: 0,
        });
        let [flavor, larger] = flavors[..] else {
            unreachable!("two flavors");
        };
        Self {
            cloud,
            project,
            user,
            backend,
            flavor,
            larger,
            network,
            subnet,
        }
    }

    /// A server in the making, called as Ganeti calls it, with one NIC at an address.
    pub(crate) async fn server(&self, last_octet: u8) -> (i64, i64) {
        let (db, at) = (&self.cloud.db, now());
        let id = insert!(db, server, {
            uuid: Uuid::new_v4(), project_id: self.project, user_id: self.user, name: "web".into(),
            backend_id: self.backend, instance_name: None, flavor_id: self.flavor, former_flavor_id: None,
            image_id: None, key_pair_name: None, hostname: None, vcpus: 1, ram: 512, disk: 0,
            oper_state: "BUILD".into(), task: Some("BUILD".into()), progress: 0, run_job: None,
            run_op_index: None, run_ended: None, doubtful_at: None, instance_uuid: None, serial_no: None,
            nics_serial_no: None, size_serial_no: None,
            primary_node: None, fault_code: None, fault_message: None, fault_at: None, created_at: at,
            updated_at: at, launched_at: None, deleted_at: None, deletion: 0,
        });
        let row = server::Entity::find_by_id(id)
            .one(db.reader())
            .await
            .unwrap()
            .unwrap();
        let mut row = row.into_active_model();
        row.instance_name = sea_orm::ActiveValue::Set(Some(format!("snf-{id}")));
        row.update(db.reader()).await.unwrap();
        let port = insert!(db, port, {
            uuid: Uuid::new_v4(), network_id: self.network, server_id: Some(id), project_id: self.project,
            user_id: self.user, name: String::new(), mac: format!("aa:00:01:00:00:{last_octet:02x}"),
            nic_name: None, nic_uuid: None, nic_index: None, state: port::BUILD.into(),
            firewall_profile: None, created_at: at, updated_at: at, deletion: 0,
        });
        for (octet, kind) in [
            (last_octet, address::FIXED),
            (last_octet + 100, address::FLOATING),
        ] {
            insert!(db, address, {
                uuid: Uuid::new_v4(), network_id: self.network, subnet_id: self.subnet,
                address: format!("192.0.2.{octet}"), kind: kind.into(), port_id: Some(port),
                project_id: Some(self.project), user_id: Some(self.user), created_at: at, updated_at: at,
            });
        }
        (id, port)
    }
}
