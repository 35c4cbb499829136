//! What servers are made of: flavors, images, key pairs; and what Compute tells of itself.

use axum::http::Method;
use chrono::{DateTime, Utc};
use controller::api::principal::Role;
use controller::cloud;
use controller::db::entity::{audit_entry, flavor, image, key_pair};
use sea_orm::{ActiveValue, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::databases::{ALL, Kind};
use crate::served::{Login, Reply, Served};

async fn flavor(served: &Served, name: &str, ram: i32, is_public: bool) -> flavor::Model {
    let row = flavor::ActiveModel {
        id: ActiveValue::NotSet,
        uuid: ActiveValue::Set(Uuid::new_v4()),
        name: ActiveValue::Set(name.to_owned()),
        vcpus: ActiveValue::Set(1),
        ram: ActiveValue::Set(ram),
        disk: ActiveValue::Set(10),
        disk_template: ActiveValue::Set(String::from("drbd")),
        is_public: ActiveValue::Set(is_public),
        created_at: ActiveValue::Set(cloud::now()),
        deletion: ActiveValue::Set(0),
    };
    let inserted = flavor::Entity::insert(row);
    inserted
        .exec_with_returning(served.cloud.db.reader())
        .await
        .unwrap()
}

async fn image(served: &Served, name: &str, owner: Option<&Login>, at: &str) -> image::Model {
    let at: DateTime<Utc> = at.parse().unwrap();
    let visibility = if owner.is_some() { "private" } else { "public" };
    let row = image::ActiveModel {
        id: ActiveValue::NotSet,
        uuid: ActiveValue::Set(Uuid::new_v4()),
        project_id: ActiveValue::Set(owner.map(|owner| owner.project.id)),
        name: ActiveValue::Set(name.to_owned()),
        os: ActiveValue::Set(String::from("debootstrap+default")),
        os_parameters: ActiveValue::Set(json!({ "secret_place": "/srv" })),
        os_parameters_private: ActiveValue::Set(None),
        hypervisor_parameters: ActiveValue::Set(json!({})),
        min_ram: ActiveValue::Set(128),
        min_disk: ActiveValue::Set(2),
        visibility: ActiveValue::Set(visibility.to_owned()),
        status: ActiveValue::Set(String::from("active")),
        created_at: ActiveValue::Set(at),
        updated_at: ActiveValue::Set(at),
        deletion: ActiveValue::Set(0),
    };
    let inserted = image::Entity::insert(row);
    inserted
        .exec_with_returning(served.cloud.db.reader())
        .await
        .unwrap()
}

fn names(reply: &Reply, list: &str) -> Vec<String> {
    let all = reply.body[list].as_array().unwrap();
    all.iter()
        .map(|each| each["name"].as_str().unwrap().to_owned())
        .collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn flavors_are_listed_filtered_paged_and_shown() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let login = served.login("u", "p", Role::Reader).await;
        let admin = served.login("a", "p", Role::Admin).await;
        let small = flavor(&served, "small", 512, true).await;
        let large = flavor(&served, "large", 4096, true).await;
        let hidden = flavor(&served, "hidden", 1024, false).await;
        let base = "/compute/v2.1/flavors";
        let all = served.get(&login, &format!("{base}/detail")).await.is(200);
        assert_eq!(names(&all, "flavors"), ["small", "large"]);
        // Tempest's schemas take these keys and no other at 2.1.
        assert_eq!(
            keys(&all.body["flavors"][0]),
            [
                "OS-FLV-DISABLED:disabled",
                "OS-FLV-EXT-DATA:ephemeral",
                "disk",
                "id",
                "links",
                "name",
                "os-flavor-access:is_public",
                "ram",
                "rxtx_factor",
                "swap",
                "vcpus"
            ]
        );
        let short = served.get(&login, base).await.is(200);
        assert_eq!(keys(&short.body["flavors"][0]), ["id", "links", "name"]);
        for (query, found) in [
            ("minRam=513", vec!["large"]),
            ("minDisk=11", vec![]),
            ("is_public=None", vec!["small", "large"]),
            ("is_public=False", vec!["small", "large"]),
            ("limit=1", vec!["small"]),
            ("limit=0", vec![]),
            ("sort_key=name", vec!["large", "small"]),
            ("sort_key=memory_mb&sort_dir=desc", vec!["large", "small"]),
        ] {
            let reply = served.get(&login, &format!("{base}?{query}")).await.is(200);
            assert_eq!(names(&reply, "flavors"), found, "{query}");
        }
        let first = served.get(&login, &format!("{base}?limit=1")).await.is(200);
        let next = first.body["flavors_links"][0]["href"].as_str().unwrap();
        let next = next
            .strip_prefix(&format!("http://{}", served.address))
            .unwrap();
        let second = served.get(&login, next).await.is(200);
        assert_eq!(names(&second, "flavors"), ["large"]);
        assert!(second.body.get("flavors_links").is_none());
        for wrong in [
            "limit=-1",
            "limit=x",
            "marker=x",
            "minRam=x",
            "sort_key=x",
            "sort_dir=x",
            "is_public=x",
        ] {
            let reply = served.get(&login, &format!("{base}?{wrong}")).await.is(400);
            assert_eq!(reply.body["badRequest"]["code"], 400, "{wrong}");
        }
        let theirs = served
            .get(&admin, &format!("{base}?is_public=None"))
            .await
            .is(200);
        assert_eq!(names(&theirs, "flavors").len(), 3);
        let theirs = served
            .get(&admin, &format!("{base}?is_public=False"))
            .await
            .is(200);
        assert_eq!(names(&theirs, "flavors"), ["hidden"]);

        let one = served
            .get(&login, &format!("{base}/{}", large.uuid))
            .await
            .is(200);
        assert_eq!(one.body["flavor"]["ram"], 4096);
        let specs = served
            .get(&login, &format!("{base}/{}/os-extra_specs", small.uuid))
            .await
            .is(200);
        assert_eq!(specs.body, json!({ "extra_specs": {} }));
        served
            .get(&login, &format!("{base}/{}/os-extra_specs/x", small.uuid))
            .await
            .is(404);
        for unknown in [
            "small".to_owned(),
            Uuid::new_v4().to_string(),
            hidden.uuid.to_string(),
        ] {
            let reply = served
                .get(&login, &format!("{base}/{unknown}"))
                .await
                .is(404);
            assert_eq!(reply.body["itemNotFound"]["code"], 404);
        }
        served
            .get(&admin, &format!("{base}/{}", hidden.uuid))
            .await
            .is(200);
    }
}

#[tokio::test]
async fn images_are_listed_filtered_paged_and_shown() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let login = served.login("u", "p", Role::Member).await;
        let other = served.login("v", "q", Role::Member).await;
        let admin = served.login("a", "p0", Role::Admin).await;
        let debian = image(&served, "debian", None, "2026-01-01T00:00:00Z").await;
        image(&served, "mine, own", Some(&login), "2026-01-02T00:00:00Z").await;
        let theirs = image(&served, "theirs", Some(&other), "2026-01-03T00:00:00Z").await;
        let base = "/image/v2/images";
        let all = served.get(&login, base).await.is(200);
        assert_eq!(names(&all, "images"), ["mine, own", "debian"]);
        assert_eq!(
            (&all.body["schema"], &all.body["first"]),
            (&json!("/v2/schemas/images"), &json!("/v2/images"))
        );
        assert!(!all.text.contains("secret_place"), "{}", all.text);
        let ids = format!("id=in:{},{}", debian.uuid, theirs.uuid);
        let project = format!("owner={}", login.project.uuid.simple());
        for (query, found) in [
            ("name=debian", vec!["debian"]),
            ("name=nothing", vec![]),
            ("name=in:%22mine,%20own%22,x", vec!["mine, own"]),
            (ids.as_str(), vec!["debian"]),
            (project.as_str(), vec!["mine, own"]),
            ("visibility=private", vec!["mine, own"]),
            ("visibility=public", vec!["debian"]),
            ("visibility=shared", vec![]),
            ("status=active", vec!["mine, own", "debian"]),
            ("status=queued", vec![]),
            ("tag=x", vec![]),
            ("size_min=1", vec![]),
            ("os_hidden=true", vec![]),
            (
                "container_format=bare&disk_format=raw",
                vec!["mine, own", "debian"],
            ),
            ("created_at=gt:2026-01-01T12:00:00Z", vec!["mine, own"]),
            ("sort=name:asc", vec!["debian", "mine, own"]),
            ("sort_key=name&sort_dir=asc", vec!["debian", "mine, own"]),
            ("limit=1", vec!["mine, own"]),
            ("limit=0", vec![]),
        ] {
            let reply = served.get(&login, &format!("{base}?{query}")).await.is(200);
            assert_eq!(names(&reply, "images"), found, "{query}");
        }
        let first = served.get(&login, &format!("{base}?limit=1")).await.is(200);
        let next = format!("/image{}", first.body["next"].as_str().unwrap());
        let second = served.get(&login, &next).await.is(200);
        assert_eq!(names(&second, "images"), ["debian"]);
        assert!(second.body.get("next").is_none());
        for wrong in [
            "limit=-1",
            "marker=x",
            "sort=x:asc",
            "sort_dir=up",
            "visibility=x",
            "created_at=x",
            "name=in:%22x",
        ] {
            let reply = served.get(&login, &format!("{base}?{wrong}")).await.is(400);
            assert_eq!(reply.body["title"], "Bad Request", "{wrong}");
        }
        assert_eq!(
            names(&served.get(&admin, base).await.is(200), "images").len(),
            3
        );

        let one = served
            .get(&login, &format!("{base}/{}", debian.uuid))
            .await
            .is(200);
        assert_eq!(
            (
                &one.body["status"],
                &one.body["visibility"],
                &one.body["owner"]
            ),
            (&json!("active"), &json!("public"), &Value::Null)
        );
        assert_eq!(one.body["created_at"], "2026-01-01T00:00:00Z");
        for unknown in ["debian".to_owned(), theirs.uuid.to_string()] {
            served
                .get(&login, &format!("{base}/{unknown}"))
                .await
                .is(404);
        }
        served
            .get(&login, &format!("{base}/{}/file", debian.uuid))
            .await
            .is(403);
        served
            .post(&login, base, json!({ "name": "x" }))
            .await
            .is(405);
    }
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let versions = served.ask(Method::GET, "/image", None, None).await.is(300);
    assert_eq!(
        versions.body["versions"][0]["links"][0]["href"],
        format!("http://{}/image/v2/", served.address)
    );
    served
        .ask(Method::GET, "/image/v2/schemas/image", None, None)
        .await
        .is(200);
}

const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFgmbuhEkWmkq0X79hsA8IsuLhjTNDKSbjYvDwzlpJY me@here";

#[tokio::test]
async fn key_pairs_are_ones_own() {
    for kind in ALL {
        let Some(served) = Served::with(kind, "[quota]\nkey_pairs = 2").await else {
            continue;
        };
        let login = served.login("u", "p", Role::Member).await;
        let other = served.login("v", "p", Role::Member).await;
        let base = "/compute/v2.1/os-keypairs";
        let new =
            |name: &str, key: Value| json!({ "keypair": { "name": name, "public_key": key } });
        for wrong in [
            json!({}),
            json!({ "keypair": {} }),
            new("", json!(ED25519)),
            new(&"x".repeat(256), json!(ED25519)),
            new("a/b", json!(ED25519)),
            new(" a", json!(ED25519)),
            new("k", json!("ssh-rsa JUNK nova@ubuntu")),
            new("k", json!("")),
            new("k", json!(7)),
            // Microversion 2.2 has it, 2.1 has not.
            json!({ "keypair": { "name": "k", "public_key": ED25519, "type": "ssh" } }),
        ] {
            let reply = served.post(&login, base, wrong.clone()).await.is(400);
            assert_eq!(reply.body["badRequest"]["code"], 400, "{wrong}");
        }
        let made = served
            .post(&login, base, new("k", json!(ED25519)))
            .await
            .is(200);
        assert_eq!(
            keys(&made.body["keypair"]),
            ["fingerprint", "name", "public_key", "user_id"]
        );
        let fingerprint = made.body["keypair"]["fingerprint"]
            .as_str()
            .unwrap()
            .to_owned();
        served
            .post(&login, base, new("k", json!(ED25519)))
            .await
            .is(409);
        let drawn = served
            .post(&login, base, json!({ "keypair": { "name": "drawn" } }))
            .await
            .is(200);
        let private = drawn.body["keypair"]["private_key"].as_str().unwrap();
        assert!(private.contains("PRIVATE KEY"));
        let rows = key_pair::Entity::find()
            .all(served.cloud.db.reader())
            .await
            .unwrap();
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| !row.public_key.contains("PRIVATE")));
        served
            .post(&login, base, new("third", json!(ED25519)))
            .await
            .is(403);
        served
            .post(&other, base, new("k", json!(ED25519)))
            .await
            .is(200);

        let listed = served.get(&login, base).await.is(200);
        let listed = listed.body["keypairs"].as_array().unwrap();
        assert_eq!(keys(&listed[0]), ["keypair"]);
        let listed: Vec<_> = listed
            .iter()
            .map(|each| each["keypair"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(listed, ["drawn", "k"]);
        let one = served.get(&login, &format!("{base}/k")).await.is(200);
        assert_eq!(one.body["keypair"]["fingerprint"], fingerprint);
        assert_eq!(
            keys(&one.body["keypair"]),
            [
                "created_at",
                "deleted",
                "deleted_at",
                "fingerprint",
                "id",
                "name",
                "public_key",
                "updated_at",
                "user_id"
            ]
        );
        served.get(&other, &format!("{base}/drawn")).await.is(404);
        served
            .delete(&other, &format!("{base}/drawn"))
            .await
            .is(404);
        served.delete(&login, &format!("{base}/k")).await.is(202);
        served.delete(&login, &format!("{base}/k")).await.is(404);
        let audited = |action: &'static str| {
            let found = audit_entry::Entity::find().filter(audit_entry::Column::Action.eq(action));
            found.count(served.cloud.db.reader())
        };
        assert_eq!(audited("key_pair.create").await.unwrap(), 3);
        assert_eq!(audited("key_pair.delete").await.unwrap(), 1);
    }
}

#[tokio::test]
async fn compute_tells_its_version_and_takes_no_other() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let login = served.login("u", "p", Role::Member).await;
    let version = served
        .ask(Method::GET, "/compute/v2.1", None, None)
        .await
        .is(200);
    assert_eq!(
        (
            &version.body["version"]["version"],
            &version.body["version"]["min_version"]
        ),
        (&json!("2.1"), &json!("2.1"))
    );
    served
        .ask(Method::GET, "/compute/", None, None)
        .await
        .is(200);
    let ask = async |version: &str| {
        let headers = [
            ("x-auth-token", login.token.as_str()),
            ("openstack-api-version", version),
        ];
        served
            .send(Method::GET, "/compute/v2.1/flavors", &headers, None)
            .await
    };
    for (version, status) in [
        ("compute 2.1", 200),
        ("compute latest", 200),
        ("compute 2.2", 406),
        ("compute x", 400),
    ] {
        let reply = ask(version).await.is(status);
        assert_eq!(reply.header("openstack-api-version"), "compute 2.1");
        assert_eq!(reply.header("x-openstack-nova-api-version"), "2.1");
        assert!(reply.header("vary").contains("OpenStack-API-Version"));
        if status != 200 {
            assert!(reply.text.contains("message"), "{}", reply.text);
        }
    }
    let extensions = served.get(&login, "/compute/v2.1/extensions").await.is(200);
    assert!(extensions.text.contains("os-keypairs"));
    served
        .get(&login, "/compute/v2.1/extensions/os-keypairs")
        .await
        .is(200);
    served
        .get(&login, "/compute/v2.1/extensions/none")
        .await
        .is(404);
    let zones = served
        .get(&login, "/compute/v2.1/os-availability-zone")
        .await
        .is(200);
    assert_eq!(
        zones.body["availabilityZoneInfo"][0],
        json!({ "zoneName": "nova", "zoneState": { "available": true }, "hosts": null })
    );
    served
        .get(&login, "/compute/v2.1/os-availability-zone/detail")
        .await
        .is(403);
}
