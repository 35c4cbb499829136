//! What servers are made of, as an operator would have put it there.

use controller::cloud;
use controller::db::entity::{backend, flavor, image, network, quota, subnet};
use sea_orm::ActiveModelTrait;
use sea_orm::ActiveValue::Set;
use serde_json::json;
use uuid::Uuid;

use crate::served::Served;

/// A cluster, a flavor of 1 processor, 512 MiB and 2 GiB, its double, and an image.
pub(crate) struct Stock {
    pub(crate) backend: backend::Model,
    pub(crate) small: flavor::Model,
    pub(crate) large: flavor::Model,
    pub(crate) image: image::Model,
}

impl Stock {
    pub(crate) async fn of(served: &Served) -> Self {
        let db = served.cloud.db.reader();
        let now = cloud::now();
        let backend = backend::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            name: Set(String::from("gnt.test")),
            host: Set(String::from("192.0.2.1")),
            port: Set(5080),
            rapi_user: Set(String::from("snf")),
            rapi_password: Set(String::from("sealed")),
            trust_kind: Set(String::from("fingerprint")),
            trust: Set(String::new()),
            mode: Set(String::from("auto")),
            hypervisor: Set(String::from("kvm")),
            disk_templates: Set(String::from("plain,drbd")),
            node_groups: Set(String::from("default,rack2")),
            drained: Set(false),
            offline: Set(false),
            memory_total: Set(1 << 20),
            memory_free: Set(1 << 20),
            disk_total: Set(1 << 30),
            disk_free: Set(1 << 30),
            cpu_total: Set(1024),
            instance_count: Set(0),
            created_at: Set(now),
            updated_at: Set(now),
            ..Default::default()
        };
        let flavor = |name: &str, times: i32| flavor::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            name: Set(name.to_owned()),
            vcpus: Set(times),
            ram: Set(512 * times),
            disk: Set(2),
            disk_template: Set(String::from("plain")),
            is_public: Set(true),
            created_at: Set(now),
            deletion: Set(0),
            ..Default::default()
        };
        let image = image::ActiveModel {
            uuid: Set(Uuid::new_v4()),
            project_id: Set(None),
            name: Set(String::from("debian")),
            os: Set(String::from("debootstrap+default")),
            os_parameters: Set(json!({"img_id": "debian"})),
            os_parameters_private: Set(None),
            hypervisor_parameters: Set(json!({"serial_console": true})),
            min_ram: Set(256),
            min_disk: Set(1),
            visibility: Set(String::from("public")),
            status: Set(String::from("active")),
            created_at: Set(now),
            updated_at: Set(now),
            deletion: Set(0),
            ..Default::default()
        };
        Self {
            backend: backend.insert(db).await.unwrap(),
            small: flavor("small", 1).insert(db).await.unwrap(),
            large: flavor("large", 2).insert(db).await.unwrap(),
            image: image.insert(db).await.unwrap(),
        }
    }
}

/// A network with 10.0.0.0/24, of a project or shared with all.
pub(crate) async fn network(
    served: &Served,
    project: Option<i64>,
    mac_prefix: &str,
) -> network::Model {
    let db = served.cloud.db.reader();
    let now = cloud::now();
    let row = network::ActiveModel {
        uuid: Set(Uuid::new_v4()),
        project_id: Set(project),
        user_id: Set(None),
        name: Set(format!("net-{mac_prefix}")),
        description: Set(String::new()),
        mode: Set(String::from("bridged")),
        link: Set(String::from("prv0")),
        mac_prefix: Set(mac_prefix.to_owned()),
        tags: Set(String::from("private-filtered")),
        is_shared: Set(project.is_none()),
        is_external: Set(false),
        is_drained: Set(false),
        mtu: Set(None),
        dns_domain: Set(None),
        status: Set(String::from("ACTIVE")),
        created_at: Set(now),
        updated_at: Set(now),
        deletion: Set(0),
        ..Default::default()
    };
    let row = row.insert(db).await.unwrap();
    subnet(served, &row, 4, "10.0.0.0/24", "10.0.0.1").await;
    row
}

/// A subnet of a network; one of IPv4 with a pool of 40 addresses.
pub(crate) async fn subnet(
    served: &Served,
    network: &network::Model,
    version: i16,
    cidr: &str,
    gateway: &str,
) -> subnet::Model {
    let now = cloud::now();
    let pools = match version {
        4 => json!([{"start": "10.0.0.2", "end": "10.0.0.41"}]),
        _ => json!([]),
    };
    let row = subnet::ActiveModel {
        uuid: Set(Uuid::new_v4()),
        network_id: Set(network.id),
        project_id: Set(network.project_id),
        name: Set(String::new()),
        ip_version: Set(version),
        cidr: Set(cidr.to_owned()),
        gateway: Set(Some(gateway.to_owned())),
        dhcp: Set(true),
        ipv6_mode: Set((version == 6).then(|| String::from("slaac"))),
        pools: Set(pools),
        dns_servers: Set(json!([])),
        host_routes: Set(json!([])),
        created_at: Set(now),
        updated_at: Set(now),
        deletion: Set(0),
        ..Default::default()
    };
    row.insert(served.cloud.db.reader()).await.unwrap()
}

/// A project's own quota.
pub(crate) async fn quota(served: &Served, project: i64, resource: &str, most: i64) {
    let row = quota::ActiveModel {
        project_id: Set(project),
        resource: Set(resource.to_owned()),
        most: Set(most),
        ..Default::default()
    };
    row.insert(served.cloud.db.reader()).await.unwrap();
}
