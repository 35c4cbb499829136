//! Servers, from the request to the rows and to what Ganeti is to be asked.

use std::collections::BTreeSet;

use controller::api::principal::Role;
use controller::db::entity::{address, audit_entry, intent, port, server};
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, QueryOrder};
use serde_json::{Value, json};

use crate::databases::{ALL, Kind};
use crate::served::{Login, Served};
use crate::stock::{self, Stock};

fn wanted(stock: &Stock, networks: &Value) -> Value {
    json!({"server": {
        "name": "Web 1",
        "imageRef": stock.image.uuid,
        "flavorRef": stock.small.uuid,
        "metadata": {"role": "web"},
        "networks": networks,
        "min_count": 1,
        "max_count": 1,
        "block_device_mapping_v2": [{
            "uuid": stock.image.uuid, "boot_index": 0, "source_type": "image",
            "destination_type": "local", "delete_on_termination": true,
        }],
    }})
}

async fn intents(served: &Served) -> Vec<intent::Model> {
    let all = intent::Entity::find().order_by_asc(intent::Column::Id);
    all.all(served.cloud.db.reader()).await.unwrap()
}

async fn servers(served: &Served) -> Vec<server::Model> {
    let all = server::Entity::find().order_by_asc(server::Column::Id);
    all.all(served.cloud.db.reader()).await.unwrap()
}

/// What the dispatcher does when all that was asked for is done.
async fn settle(served: &Served, state: &str) {
    let db = served.cloud.db.reader();
    for row in intents(served).await {
        let mut done = row.into_active_model();
        done.state = Set(String::from("done"));
        done.update(db).await.unwrap();
    }
    for row in servers(served).await {
        let mut row = row.into_active_model();
        row.task = Set(None);
        row.oper_state = Set(state.to_owned());
        row.update(db).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_made_of_rows_and_intents() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let stock = Stock::of(&served).await;
        let network = stock::network(&served, Some(ann.project.id), "aa:00:01").await;
        stock::subnet(&served, &network, 6, "2001:db8::/64", "2001:db8::1").await;
        let body = wanted(&stock, &json!([{"uuid": network.uuid}]));
        let reply = served
            .post(&ann, "/compute/v2.1/servers", body)
            .await
            .is(202);
        let made = &reply.body["server"];
        let keys: BTreeSet<&str> = made
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            BTreeSet::from(["OS-DCF:diskConfig", "id", "links", "security_groups"])
        );
        let id = made["id"].as_str().unwrap();
        assert!(
            reply
                .header("location")
                .ends_with(&format!("/compute/v2.1/servers/{id}"))
        );

        let row = servers(&served).await.remove(0);
        assert_eq!(
            (&*row.oper_state, row.task.as_deref()),
            ("BUILD", Some("BUILD")),
            "{kind:?}"
        );
        let name = format!("snf-{}", row.id);
        assert_eq!(row.instance_name.as_deref(), Some(&*name));
        assert_eq!(row.hostname.as_deref(), Some("web-1"));
        let nic = port::Entity::find()
            .one(served.cloud.db.reader())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (&*nic.state, nic.nic_index, nic.server_id),
            ("BUILD", Some(0), Some(row.id))
        );
        assert!(nic.mac.starts_with("aa:00:01:"), "{}", nic.mac);
        let addresses = address::Entity::find().order_by_asc(address::Column::Id);
        let addresses = addresses.all(served.cloud.db.reader()).await.unwrap();
        assert_eq!(addresses[0].address, "10.0.0.2");
        let mac: nfdhcpd_binding::MacAddr = nic.mac.parse().unwrap();
        let own = mac.eui64("2001:db8::/64".parse().unwrap()).unwrap();
        assert_eq!(addresses[1].address, own.to_string());

        let asked = intents(&served).await;
        let steps: Vec<&str> = asked.iter().map(|intent| &*intent.step).collect();
        assert_eq!(
            steps,
            [
                "NETWORK_ADD",
                "NETWORK_CONNECT",
                "NETWORK_CONNECT",
                "CREATE"
            ]
        );
        for pair in asked.windows(2) {
            assert_eq!(pair[1].after_id, Some(pair[0].id));
        }
        let create = &asked[3];
        assert_eq!((create.server_id, create.is_last), (Some(row.id), true));
        assert_eq!(
            (create.task.as_deref(), &*create.state),
            (Some("BUILD"), "waiting")
        );
        assert_eq!(
            create.request,
            json!({
                "method": "POST",
                "path": "/2/instances",
                "query": [],
                "body": {
                    "__version__": 1,
                    "mode": "create",
                    "name": name,
                    "os_type": "debootstrap+default",
                    "hypervisor": "kvm",
                    "hvparams": {"serial_console": true},
                    "disk_template": "plain",
                    "disks": [{"name": format!("{name}-disk-0"), "size": 2048}],
                    "nics": [{
                        "name": format!("snf-nic-{}", nic.id),
                        "network": format!("snf-net-{}", network.id),
                        "ip": "10.0.0.2",
                        "mac": nic.mac,
                    }],
                    "beparams": {"auto_balance": true, "vcpus": 1, "minmem": 512, "maxmem": 512},
                    "osparams": {"img_id": "debian"},
                    "osparams_private": {},
                    "tags": ["synnefo:hostname:web-1"],
                    "start": true,
                    "ip_check": false,
                    "name_check": false,
                    "conflicts_check": false,
                    "wait_for_sync": false,
                    "opportunistic_locking": true,
                },
            })
        );
        let deed = audit_entry::Entity::find()
            .one(served.cloud.db.reader())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (&*deed.action, deed.target.as_deref(), deed.result),
            ("server.create", Some(id), 202)
        );

        let shown = served
            .get(&ann, &format!("/compute/v2.1/servers/{id}"))
            .await
            .is(200);
        let shown = &shown.body["server"];
        assert_eq!(shown["status"], "BUILD");
        assert_eq!(shown["OS-EXT-STS:task_state"], "spawning");
        assert_eq!(shown["metadata"], json!({"role": "web"}));
        assert_eq!(
            shown["addresses"]["net-aa:00:01"][0],
            json!({
                "version": 4, "addr": "10.0.0.2", "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": nic.mac,
            })
        );
        let usage = controller::db::quotas::usage(served.cloud.db.reader(), ann.project.id)
            .await
            .unwrap();
        assert_eq!(
            (usage.instances, usage.cores, usage.ram, usage.disk),
            (1, 1, 512, 2),
            "{kind:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_together_gets_no_more_than_the_quota_and_no_address_twice() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let bob = served.login("bob", "two", Role::Member).await;
        let stock = Stock::of(&served).await;
        let network = stock::network(&served, None, "aa:00:01").await;
        stock::quota(&served, ann.project.id, "instances", 1).await;
        stock::quota(&served, bob.project.id, "instances", 12).await;
        let body = wanted(&stock, &json!([{"uuid": network.uuid}]));
        let path = "/compute/v2.1/servers";
        let (one, other) = tokio::join!(
            served.post(&ann, path, body.clone()),
            served.post(&ann, path, body.clone()),
        );
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(
            statuses,
            [202, 403],
            "{kind:?}: {} {}",
            one.text,
            other.text
        );

        let served = std::sync::Arc::new(served);
        let tries: Vec<_> = (0..12)
            .map(|_| {
                let (served, bob, body) = (served.clone(), bob.clone(), body.clone());
                tokio::spawn(async move { served.post(&bob, path, body).await })
            })
            .collect();
        for each in tries {
            each.await.unwrap().is(202);
        }
        let addresses = address::Entity::find()
            .all(served.cloud.db.reader())
            .await
            .unwrap();
        let distinct: BTreeSet<&str> = addresses.iter().map(|row| &*row.address).collect();
        assert_eq!((addresses.len(), distinct.len()), (13, 13), "{kind:?}");
        assert_eq!(servers(&served).await.len(), 13);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_is_asked_becomes_steps_in_order() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let stock = Stock::of(&served).await;
        let network = stock::network(&served, Some(ann.project.id), "aa:00:01").await;
        let reply = served
            .post(
                &ann,
                "/compute/v2.1/servers",
                wanted(&stock, &json!("none")),
            )
            .await
            .is(202);
        let id = reply.body["server"]["id"].as_str().unwrap().to_owned();
        let path = format!("/compute/v2.1/servers/{id}");
        let action = format!("{path}/action");
        let busy = served
            .post(&ann, &action, json!({"os-stop": null}))
            .await
            .is(409);
        assert_eq!(
            busy.body["conflictingRequest"]["message"],
            format!("Cannot 'stop' instance {id} while it is in vm_state building")
        );
        settle(&served, "STARTED").await;
        let start = served
            .post(&ann, &action, json!({"os-start": null}))
            .await
            .is(409);
        assert!(start.text.contains("vm_state active"), "{}", start.text);
        served
            .post(&ann, &action, json!({"reboot": {"type": "HARD"}}))
            .await
            .is(202);
        let shown = served.get(&ann, &path).await.is(200);
        assert_eq!(shown.body["server"]["status"], "HARD_REBOOT");
        settle(&served, "STARTED").await;

        let before = intents(&served).await.len();
        let resize = json!({"resize": {"flavorRef": stock.large.uuid}});
        served.post(&ann, &action, resize).await.is(202);
        let asked = intents(&served).await.split_off(before);
        let steps: Vec<_> = asked
            .iter()
            .map(|each| (&*each.step, each.is_last))
            .collect();
        assert_eq!(
            steps,
            [("SHUTDOWN", false), ("SET_SIZE", false), ("STARTUP", true)]
        );
        assert_eq!(asked[1].flavor_id, Some(stock.large.id));
        assert_eq!(
            asked[1].request["body"],
            json!({"beparams": {"vcpus": 2, "minmem": 1024, "maxmem": 1024}})
        );
        let usage = controller::db::quotas::usage(served.cloud.db.reader(), ann.project.id)
            .await
            .unwrap();
        assert_eq!(
            (usage.cores, usage.ram),
            (2, 1024),
            "{kind:?}: what it will have is counted"
        );
        settle(&served, "STARTED").await;

        let before = intents(&served).await.len();
        let nic = json!({"interfaceAttachment": {"net_id": network.uuid, "fixed_ips": [{"ip_address": "10.0.0.9"}]}});
        let taken = served
            .post(&ann, &format!("{path}/os-interface"), nic)
            .await
            .is(200);
        let taken = &taken.body["interfaceAttachment"];
        assert_eq!(taken["fixed_ips"][0]["ip_address"], "10.0.0.9");
        let asked = intents(&served).await.split_off(before);
        let last = asked.last().unwrap();
        assert_eq!((&*last.step, asked.len()), ("ADD_NIC", 4));
        assert_eq!(last.request["body"]["nics"][0][0], "add");
        assert_eq!(last.request["body"]["nics"][0][2]["ip"], "10.0.0.9");
        settle(&served, "STARTED").await;
        let nic = format!("{path}/os-interface/{}", taken["port_id"].as_str().unwrap());
        served.get(&ann, &nic).await.is(200);
        served.delete(&ann, &nic).await.is(202);
        let last = intents(&served).await.pop().unwrap();
        assert_eq!(last.step, "REMOVE_NIC");
        served.delete(&ann, &path).await.is(204);
        let asked = intents(&served).await;
        assert_eq!(
            asked[asked.len() - 2].state,
            "dropped",
            "what was not sent is not sent"
        );
        assert_eq!(asked.last().unwrap().step, "REMOVE");
        assert_eq!(asked.last().unwrap().request["method"], "DELETE");
        served.delete(&ann, &path).await.is(404);
    }
}

#[tokio::test]
async fn what_would_not_reach_a_server_is_refused() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let ann = served.login("ann", "one", Role::Member).await;
    let stock = Stock::of(&served).await;
    let network = stock::network(&served, Some(ann.project.id), "aa:00:01").await;
    let path = "/compute/v2.1/servers";
    let with = |key: &str, value: Value| {
        let mut body = wanted(&stock, &json!([{"uuid": network.uuid}]));
        body["server"][key] = value;
        body
    };
    for (key, value) in [
        ("user_data", json!("IyEvYmluL3No")),
        ("personality", json!([{"path": "/x", "contents": ""}])),
        ("key_name", json!("mine")),
        ("adminPass", json!("secret")),
        ("config_drive", json!(true)),
        ("name", json!("")),
        ("name", json!("   ")),
        ("name", json!("x".repeat(256))),
        ("metadata", json!({"x".repeat(256): "y"})),
        ("metadata", json!({"x": 1})),
        ("flavorRef", json!("nowhere")),
        ("imageRef", json!("nowhere")),
        ("networks", json!([{"uuid": "a-b-c"}])),
        (
            "networks",
            json!([{"uuid": "11111111-1111-4111-8111-111111111111"}]),
        ),
        (
            "networks",
            json!([{"uuid": network.uuid, "fixed_ip": "10.0.1.9"}]),
        ),
        (
            "networks",
            json!([{"uuid": network.uuid, "fixed_ip": "10.0.0.1"}]),
        ),
        (
            "networks",
            json!([{"uuid": network.uuid, "fixed_ip": "10.0.0.255"}]),
        ),
        ("min_count", json!(0)),
        ("min_count", json!(-1)),
        ("max_count", json!("x")),
        ("unheard", json!("of")),
        ("accessIPv4", json!("192.0.2.9")),
    ] {
        let body = with(key, value.clone());
        let reply = served.post(&ann, path, body).await;
        assert_eq!(reply.status, 400, "{key} = {value}: {}", reply.text);
        assert!(
            reply.body["badRequest"]["message"].is_string(),
            "{}",
            reply.text
        );
    }
    assert!(servers(&served).await.is_empty() && intents(&served).await.is_empty());
    let fixed = with(
        "networks",
        json!([{"uuid": network.uuid, "fixed_ip": "10.0.0.9"}]),
    );
    served.post(&ann, path, fixed.clone()).await.is(202);
    served.post(&ann, path, fixed).await.is(409);
    for action in ["rebuild", "suspend", "createImage", "os-getVNCConsole"] {
        let id = servers(&served).await[0].uuid;
        let reply = served
            .post(&ann, &format!("{path}/{id}/action"), json!({action: {}}))
            .await;
        assert_eq!(reply.status, 501, "{action}: {}", reply.text);
    }
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let stock = Stock::of(&served).await;
        for name in ["a1", "a2", "b1"] {
            let mut body = wanted(&stock, &json!("none"));
            body["server"]["name"] = json!(name);
            served
                .post(&ann, "/compute/v2.1/servers", body)
                .await
                .is(202);
        }
        let names = async |login: &Login, query: &str| -> Vec<String> {
            let reply = served
                .get(login, &format!("/compute/v2.1/servers/detail?{query}"))
                .await
                .is(200);
            let list = reply.body["servers"].as_array().unwrap();
            list.iter()
                .map(|each| each["name"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names(&ann, "").await, ["b1", "a2", "a1"], "{kind:?}");
        assert_eq!(names(&ann, "name=%5Ea").await, ["a2", "a1"]);
        assert_eq!(
            names(&ann, "status=build&sort_key=display_name&sort_dir=asc").await,
            ["a1", "a2", "b1"]
        );
        assert!(names(&ann, "status=ACTIVE").await.is_empty());
        assert!(names(&ann, "limit=0").await.is_empty());
        assert!(
            names(&ann, &format!("flavor={}", stock.large.uuid))
                .await
                .is_empty()
        );
        assert_eq!(
            names(
                &ann,
                &format!("flavor={}&image={}", stock.small.uuid, stock.image.uuid)
            )
            .await
            .len(),
            3
        );
        let page = served
            .get(&ann, "/compute/v2.1/servers?limit=2")
            .await
            .is(200);
        let next = page.body["servers_links"][0]["href"].as_str().unwrap();
        let next = next.split("/compute/").nth(1).unwrap();
        let page = served.get(&ann, &format!("/compute/{next}")).await.is(200);
        assert_eq!(page.body["servers"][0]["name"], "a1");
        assert!(page.body.get("servers_links").is_none());
        for bad in [
            "limit=-1",
            "limit=x",
            "marker=x",
            "changes-since=yesterday",
            "sort_dir=up",
        ] {
            served
                .get(&ann, &format!("/compute/v2.1/servers?{bad}"))
                .await
                .is(400);
        }
        served
            .get(&ann, "/compute/v2.1/servers?all_tenants=1")
            .await
            .is(403);
        let root = served.login("root", "admin", Role::Admin).await;
        assert_eq!(names(&root, "").await.len(), 0);
        assert_eq!(names(&root, "all_tenants=True").await.len(), 3);
        assert_eq!(
            names(&ann, "changes-since=2020-01-01T00:00:00Z")
                .await
                .len(),
            3
        );
        assert!(
            names(&ann, "changes-since=2100-01-01T00:00:00Z")
                .await
                .is_empty()
        );
    }
}

#[tokio::test]
async fn other_projects_servers_are_not_there() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let eve = served.login("eve", "two", Role::Member).await;
        let stock = Stock::of(&served).await;
        let network = stock::network(&served, Some(ann.project.id), "aa:00:01").await;
        let body = wanted(&stock, &json!([{"uuid": network.uuid}]));
        let made = served
            .post(&ann, "/compute/v2.1/servers", body.clone())
            .await
            .is(202);
        let id = made.body["server"]["id"].as_str().unwrap();
        let nic = port::Entity::find()
            .one(served.cloud.db.reader())
            .await
            .unwrap()
            .unwrap()
            .uuid;
        let path = format!("/compute/v2.1/servers/{id}");
        settle(&served, "STARTED").await;
        let (rows, asked) = (servers(&served).await, intents(&served).await);
        served
            .post(&eve, "/compute/v2.1/servers", body)
            .await
            .is(400);
        for rest in [
            "",
            "/metadata",
            "/metadata/role",
            "/ips",
            "/ips/net",
            "/os-interface",
            "/diagnostics",
        ] {
            served.get(&eve, &format!("{path}{rest}")).await.is(404);
        }
        served
            .get(&eve, &format!("{path}/os-interface/{nic}"))
            .await
            .is(404);
        for (rest, body) in [
            ("", json!({"server": {"name": "mine"}})),
            ("/metadata", json!({"metadata": {}})),
            ("/metadata/role", json!({"meta": {"role": "x"}})),
        ] {
            served
                .put(&eve, &format!("{path}{rest}"), body)
                .await
                .is(404);
        }
        for (rest, body) in [
            ("/metadata", json!({"metadata": {"x": "y"}})),
            ("/action", json!({"os-stop": null})),
            ("/action", json!({"reboot": {"type": "SOFT"}})),
            (
                "/action",
                json!({"resize": {"flavorRef": stock.large.uuid}}),
            ),
            ("/action", json!({"confirmResize": null})),
            ("/action", json!({"revertResize": null})),
            ("/action", json!({"rebuild": {}})),
            (
                "/os-interface",
                json!({"interfaceAttachment": {"net_id": network.uuid}}),
            ),
        ] {
            served
                .post(&eve, &format!("{path}{rest}"), body)
                .await
                .is(404);
        }
        for rest in ["", "/metadata/role", &format!("/os-interface/{nic}")] {
            served.delete(&eve, &format!("{path}{rest}")).await.is(404);
        }
        let list = served
            .get(&eve, "/compute/v2.1/servers/detail")
            .await
            .is(200);
        assert_eq!(list.body, json!({"servers": []}));
        assert_eq!(
            (servers(&served).await, intents(&served).await),
            (rows, asked),
            "{kind:?}"
        );
        let reader = served.login("rea", "one", Role::Reader).await;
        served.get(&reader, &path).await.is(200);
        served.delete(&reader, &path).await.is(403);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resize_is_kept_or_taken_back_and_counted_as_the_larger() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let stock = Stock::of(&served).await;
        stock::quota(&served, ann.project.id, "cores", 2).await;
        let db = served.cloud.db.reader();
        let path = "/compute/v2.1/servers";
        let made = served
            .post(&ann, path, wanted(&stock, &json!("none")))
            .await
            .is(202);
        let id = made.body["server"]["id"].as_str().unwrap().to_owned();
        let action = format!("{path}/{id}/action");
        settle(&served, "STARTED").await;
        served
            .post(&ann, &action, json!({"confirmResize": null}))
            .await
            .is(409);
        for same in [stock.small.uuid, uuid::Uuid::nil()] {
            let resize = json!({"resize": {"flavorRef": same}});
            served.post(&ann, &action, resize).await.is(400);
        }
        let other = served
            .post(&ann, path, wanted(&stock, &json!("none")))
            .await
            .is(202);
        let resize = json!({"resize": {"flavorRef": stock.large.uuid}});
        served.post(&ann, &action, resize.clone()).await.is(403);
        let other = other.body["server"]["id"].as_str().unwrap();
        let gone = servers(&served).await.pop().unwrap();
        assert_eq!(gone.uuid.to_string(), other);
        let id_of_gone = gone.id;
        let mut gone = gone.into_active_model();
        gone.deletion = Set(id_of_gone);
        gone.update(db).await.unwrap();
        served.post(&ann, &action, resize).await.is(202);
        settle(&served, "STARTED").await;
        // The dispatcher has seen the new size.
        let row = servers(&served).await.remove(0);
        let mut grown = row.into_active_model();
        grown.former_flavor_id = Set(Some(stock.small.id));
        grown.flavor_id = Set(stock.large.id);
        grown.vcpus = Set(2);
        grown.ram = Set(1024);
        grown.update(db).await.unwrap();
        let shown = served.get(&ann, &format!("{path}/{id}")).await.is(200);
        assert_eq!(shown.body["server"]["status"], "VERIFY_RESIZE", "{kind:?}");
        assert_eq!(shown.body["server"]["OS-EXT-STS:vm_state"], "resized");
        served
            .post(&ann, &action, json!({"os-stop": null}))
            .await
            .is(409);
        served
            .post(&ann, &action, json!({"revertResize": null}))
            .await
            .is(202);
        let asked = intents(&served).await;
        let size = &asked[asked.len() - 2];
        assert_eq!(
            (&*size.step, size.flavor_id),
            ("SET_SIZE", Some(stock.small.id))
        );
        assert_eq!(size.request["body"]["beparams"]["vcpus"], 1);
        settle(&served, "STARTED").await;
        served
            .post(&ann, &action, json!({"confirmResize": null}))
            .await
            .is(204);
        let row = servers(&served).await.remove(0);
        assert_eq!(
            (row.former_flavor_id, row.flavor_id),
            (None, stock.large.id)
        );
    }
}

#[tokio::test]
async fn an_images_secrets_travel_sealed_beside_the_request() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let ann = served.login("ann", "one", Role::Member).await;
    let stock = Stock::of(&served).await;
    let place = format!("images/{}/os_parameters_private", stock.image.uuid);
    let sealed = served
        .cloud
        .seal
        .seal(r#"{"token":"s3cret"}"#, &place)
        .unwrap();
    let mut image = stock.image.clone().into_active_model();
    image.os_parameters_private = Set(Some(sealed));
    image.update(served.cloud.db.reader()).await.unwrap();
    served
        .post(
            &ann,
            "/compute/v2.1/servers",
            wanted(&stock, &json!("none")),
        )
        .await
        .is(202);
    let intent = intents(&served).await.remove(0);
    assert!(!format!("{intent:?}").contains("s3cret"));
    let place = controller::db::intents::secrets_place(intent.uuid);
    let open = served
        .cloud
        .seal
        .open(intent.secrets.as_ref().unwrap(), &place)
        .unwrap();
    assert_eq!(open, r#"{"token":"s3cret"}"#);
}

#[tokio::test]
async fn a_drained_cluster_gets_no_servers_and_a_full_one_is_counted_fuller() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let ann = served.login("ann", "one", Role::Member).await;
    let stock = Stock::of(&served).await;
    let path = "/compute/v2.1/servers";
    served
        .post(&ann, path, wanted(&stock, &json!("none")))
        .await
        .is(202);
    let db = served.cloud.db.reader();
    let row = controller::db::servers::backend(db, stock.backend.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.instance_count, 1);
    assert_eq!(row.memory_free, stock.backend.memory_free - 512);
    assert_eq!(row.disk_free, stock.backend.disk_free - 2048);
    let mut drained = row.into_active_model();
    drained.drained = Set(true);
    drained.update(db).await.unwrap();
    let none = served
        .post(&ann, path, wanted(&stock, &json!("none")))
        .await
        .is(503);
    assert!(
        none.text.contains("No valid host was found"),
        "{}",
        none.text
    );
    assert_eq!(servers(&served).await.len(), 1);
}
