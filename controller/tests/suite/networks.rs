//! Networks, subnets, ports and floating addresses, from the request to the rows and to what Ganeti is to be asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use controller::api::principal::Role;
use controller::db::entity::{address, intent, network, port};
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::{Value, json};

use crate::databases::{ALL, Kind};
use crate::served::{Login, Served};
use crate::stock::{self, Stock};

const NETWORKS: &str = "/network/v2.0/networks";
const SUBNETS: &str = "/network/v2.0/subnets";
const PORTS: &str = "/network/v2.0/ports";
const FLOATING: &str = "/network/v2.0/floatingips";

async fn made(served: &Served, who: &Login, path: &str, kind: &str, wanted: Value) -> Value {
    let reply = served.post(who, path, json!({kind: wanted})).await.is(201);
    reply.body[kind].clone()
}

async fn addresses(served: &Served) -> Vec<address::Model> {
    let all = address::Entity::find().order_by_asc(address::Column::Id);
    all.all(served.cloud.db.reader()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_is_made_used_and_removed() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let stock = Stock::of(&served).await;
        let wanted = json!({"name": "web", "mtu": 1400, "dns_domain": "example.org."});
        let net = made(&served, &ann, NETWORKS, "network", wanted).await;
        assert_eq!(
            (&net["mtu"], &net["dns_domain"], &net["shared"]),
            (&json!(1400), &json!("example.org"), &json!(false))
        );
        let row = network::Entity::find()
            .one(served.cloud.db.reader())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (&*row.mode, &*row.link, &*row.tags),
            ("bridged", "prv0", "private-filtered"),
            "{kind:?}"
        );
        assert!(
            row.mac_prefix.starts_with("aa:") && row.mac_prefix.len() == 8,
            "{}",
            row.mac_prefix
        );
        let id = net["id"].as_str().unwrap();
        let sub = made(&served, &ann, SUBNETS, "subnet", json!({
            "network_id": id, "ip_version": 4, "cidr": "192.0.2.0/28", "dns_nameservers": ["192.0.2.2"],
            "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "192.0.2.3"}],
        })).await;
        assert_eq!(sub["gateway_ip"], "192.0.2.1");
        assert_eq!(
            sub["allocation_pools"],
            json!([{"start": "192.0.2.2", "end": "192.0.2.14"}])
        );
        let six = json!({"network_id": id, "ip_version": 6, "cidr": "2001:db8::/64", "ipv6_ra_mode": "slaac"});
        let six = made(&served, &ann, SUBNETS, "subnet", six).await;
        assert_eq!(
            (&six["ipv6_address_mode"], &six["allocation_pools"]),
            (&json!("slaac"), &json!([]))
        );
        let again = json!({"subnet": {"network_id": id, "cidr": "198.51.100.0/24"}});
        served.post(&ann, SUBNETS, again).await.is(409);

        let nic = made(
            &served,
            &ann,
            PORTS,
            "port",
            json!({"network_id": id, "name": "mine"}),
        )
        .await;
        assert_eq!(
            (&nic["status"], &nic["device_id"]),
            (&json!("DOWN"), &json!(""))
        );
        assert_eq!(
            nic["fixed_ips"][0],
            json!({"subnet_id": sub["id"], "ip_address": "192.0.2.2"})
        );
        assert_eq!(nic["fixed_ips"].as_array().unwrap().len(), 2);
        for path in [
            format!("{NETWORKS}/{id}"),
            format!("{SUBNETS}/{}", sub["id"].as_str().unwrap()),
        ] {
            let refused = served.delete(&ann, &path).await.is(409);
            let word = refused.body["NeutronError"]["type"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(word.ends_with("InUse"), "{word}");
        }
        let server = json!({"server": {
            "name": "web", "imageRef": stock.image.uuid, "flavorRef": stock.small.uuid, "networks": [{"port": nic["id"]}],
        }});
        served
            .post(&ann, "/compute/v2.1/servers", server.clone())
            .await
            .is(202);
        served
            .post(&ann, "/compute/v2.1/servers", server)
            .await
            .is(409);
        let asked = intent::Entity::find().order_by_asc(intent::Column::Id);
        let asked = asked.all(served.cloud.db.reader()).await.unwrap();
        assert_eq!(
            asked[0].request["body"],
            json!({
                "network_name": format!("snf-net-{}", row.id),
                "network": "192.0.2.0/28", "gateway": "192.0.2.1",
                "network6": "2001:db8::/64", "gateway6": "2001:db8::1",
                "tags": [
                    "nfdhcpd", "private-filtered", "synnefo:dns:192.0.2.2", "synnefo:domain:example.org",
                    "synnefo:mode6:slaac", "synnefo:mtu:1400", "synnefo:route:10.9.0.0/16@192.0.2.3",
                ],
                "conflicts_check": false,
            })
        );
        assert_eq!(
            asked.last().unwrap().request["body"]["nics"][0]["ip"],
            "192.0.2.2"
        );
        let path = format!("{NETWORKS}/{id}");
        let told = json!({"network": {"mtu": 1300}});
        served.put(&ann, &path, told).await.is(409);
        let named = served
            .put(&ann, &path, json!({"network": {"name": "new"}}))
            .await
            .is(200);
        assert_eq!(named.body["network"]["name"], "new");
        let nic = format!("{PORTS}/{}", nic["id"].as_str().unwrap());
        // Its server is being made.
        served.delete(&ann, &nic).await.is(409);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_made_together_have_addresses_of_their_own() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let net = stock::network(&served, Some(ann.project.id), "aa:00:01").await;
        let served = Arc::new(served);
        let tries: Vec<_> = (0..40)
            .map(|_| {
                let (served, ann) = (served.clone(), ann.clone());
                let body = json!({"port": {"network_id": net.uuid}});
                tokio::spawn(async move { served.post(&ann, PORTS, body).await })
            })
            .collect();
        for each in tries {
            each.await.unwrap().is(201);
        }
        let rows = addresses(&served).await;
        let distinct: BTreeSet<&str> = rows.iter().map(|row| &*row.address).collect();
        assert_eq!((rows.len(), distinct.len()), (40, 40), "{kind:?}");
        let full = json!({"port": {"network_id": net.uuid}});
        let none = served.post(&ann, PORTS, full.clone()).await.is(409);
        assert!(none.text.contains("No more IP addresses"), "{}", none.text);
        let nic = port::Entity::find()
            .one(served.cloud.db.reader())
            .await
            .unwrap()
            .unwrap();
        served
            .delete(&ann, &format!("{PORTS}/{}", nic.uuid))
            .await
            .is(204);
        served.post(&ann, PORTS, full).await.is(201);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_made_together_have_prefixes_of_their_own() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let bodies = json!({"networks": (0..9).map(|n| json!({"name": format!("n{n}")})).collect::<Vec<_>>()});
        let reply = served.post(&ann, NETWORKS, bodies).await.is(201);
        assert_eq!(reply.body["networks"].as_array().unwrap().len(), 9);
        // The quota is 10: of two that come together one is made, and of two in one request none.
        let two = json!({"networks": [{"name": "x"}, {"name": "y"}]});
        let over = served.post(&ann, NETWORKS, two).await.is(409);
        assert_eq!(over.body["NeutronError"]["type"], "OverQuota");
        let one = json!({"network": {"name": "x"}});
        let (a, b) = tokio::join!(
            served.post(&ann, NETWORKS, one.clone()),
            served.post(&ann, NETWORKS, one)
        );
        let mut statuses = [a.status.as_u16(), b.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{kind:?}: {} {}", a.text, b.text);
        let rows = network::Entity::find()
            .all(served.cloud.db.reader())
            .await
            .unwrap();
        let distinct: BTreeSet<&str> = rows.iter().map(|row| &*row.mac_prefix).collect();
        assert_eq!((rows.len(), distinct.len()), (10, 10));
        let list = served
            .get(
                &ann,
                &format!("{NETWORKS}?sort_key=name&sort_dir=desc&limit=2&fields=name"),
            )
            .await
            .is(200);
        assert_eq!(
            list.body["networks"],
            json!([{"name": "x"}, {"name": "n8"}])
        );
        let next = list.body["networks_links"][0]["href"].as_str().unwrap();
        let next = next.split("/network/").nth(1).unwrap();
        let list = served.get(&ann, &format!("/network/{next}")).await.is(200);
        assert_eq!(
            list.body["networks"],
            json!([{"name": "n7"}, {"name": "n6"}])
        );
        let list = served
            .get(
                &ann,
                &format!("{NETWORKS}?name=n1&name=n2&shared=False&fields=name"),
            )
            .await
            .is(200);
        assert_eq!(
            list.body["networks"],
            json!([{"name": "n1"}, {"name": "n2"}])
        );
        for bad in ["unheard=of", "limit=-1", "sort_key=nothing", "marker=x"] {
            served.get(&ann, &format!("{NETWORKS}?{bad}")).await.is(400);
        }
        let last = rows.last().unwrap();
        served
            .delete(&ann, &format!("{NETWORKS}/{}", last.uuid))
            .await
            .is(204);
        served
            .get(&ann, &format!("{NETWORKS}/{}", last.uuid))
            .await
            .is(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_floating_address_is_a_projects_own_until_it_is_given_back() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let root = served.login("root", "admin", Role::Admin).await;
        let ann = served.login("ann", "one", Role::Member).await;
        let eve = served.login("eve", "two", Role::Member).await;
        stock::quota(&served, ann.project.id, "floating_ips", 1).await;
        let wanted = json!({
            "name": "public", "router:external": true, "provider:network_type": "routed",
            "provider:physical_network": "snf_public", "synnefo:mac_prefix": "aa:55:00", "synnefo:tags": "ip-less-routed",
        });
        served
            .post(&ann, NETWORKS, json!({"network": wanted}))
            .await
            .is(403);
        let net = made(&served, &root, NETWORKS, "network", wanted).await;
        assert_eq!(
            (&net["provider:network_type"], &net["synnefo:tags"]),
            (&json!("routed"), &json!("ip-less-routed"))
        );
        let id = &net["id"];
        made(
            &served,
            &root,
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "203.0.113.0/28"}),
        )
        .await;
        let shown = served
            .get(&ann, &format!("{NETWORKS}/{}", id.as_str().unwrap()))
            .await
            .is(200);
        assert!(
            shown.body["network"].get("provider:network_type").is_none(),
            "an administrator's business"
        );
        served
            .post(&ann, PORTS, json!({"port": {"network_id": id}}))
            .await
            .is(403);
        let own = made(
            &served,
            &ann,
            FLOATING,
            "floatingip",
            json!({"floating_network_id": id}),
        )
        .await;
        assert_eq!(
            (&own["floating_ip_address"], &own["status"]),
            (&json!("203.0.113.2"), &json!("DOWN")),
            "{kind:?}"
        );
        served
            .post(
                &ann,
                FLOATING,
                json!({"floatingip": {"floating_network_id": id}}),
            )
            .await
            .is(409);
        let named = json!({"floatingip": {"floating_network_id": id, "floating_ip_address": "203.0.113.2"}});
        served.post(&eve, FLOATING, named).await.is(409);
        let outside = json!({"floatingip": {"floating_network_id": id, "floating_ip_address": "203.0.113.20"}});
        served.post(&eve, FLOATING, outside).await.is(400);
        let with = json!({"network_id": id, "fixed_ips": [{"ip_address": "203.0.113.2"}]});
        served
            .post(&eve, PORTS, json!({"port": with}))
            .await
            .is(409);
        let nic = made(&served, &ann, PORTS, "port", with).await;
        let path = format!("{FLOATING}/{}", own["id"].as_str().unwrap());
        let shown = served.get(&ann, &path).await.is(200);
        assert_eq!(
            (
                &shown.body["floatingip"]["port_id"],
                &shown.body["floatingip"]["status"]
            ),
            (&nic["id"], &json!("ACTIVE"))
        );
        served.delete(&ann, &path).await.is(409);
        served
            .put(&ann, &path, json!({"floatingip": {"port_id": null}}))
            .await
            .is(400);
        for (method, body) in [
            ("get", Value::Null),
            ("put", json!({"floatingip": {}})),
            ("delete", Value::Null),
        ] {
            let reply = match method {
                "get" => served.get(&eve, &path).await,
                "put" => served.put(&eve, &path, body).await,
                _ => served.delete(&eve, &path).await,
            };
            assert_eq!(reply.status, 404, "{method}");
        }
        served
            .delete(&ann, &format!("{PORTS}/{}", nic["id"].as_str().unwrap()))
            .await
            .is(204);
        assert_eq!(
            addresses(&served).await.len(),
            1,
            "it stays with who has it"
        );
        served.delete(&ann, &path).await.is(204);
        assert!(addresses(&served).await.is_empty());
    }
}

#[tokio::test]
async fn other_projects_networks_are_not_there() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let eve = served.login("eve", "two", Role::Member).await;
        let net = made(&served, &ann, NETWORKS, "network", json!({"name": "mine"})).await;
        let id = net["id"].clone();
        let sub = made(
            &served,
            &ann,
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "10.0.0.0/24"}),
        )
        .await;
        let nic = made(&served, &ann, PORTS, "port", json!({"network_id": id})).await;
        let place = |path: &str, value: &Value| format!("{path}/{}", value["id"].as_str().unwrap());
        for (path, kind, value) in [
            (NETWORKS, "network", &net),
            (SUBNETS, "subnet", &sub),
            (PORTS, "port", &nic),
        ] {
            let one = place(path, value);
            served.get(&eve, &one).await.is(404);
            served
                .put(&eve, &one, json!({kind: {"name": "mine"}}))
                .await
                .is(404);
            served.delete(&eve, &one).await.is(404);
            let list = served.get(&eve, path).await.is(200);
            assert_eq!(list.body, json!({format!("{kind}s"): []}));
        }
        served
            .post(&eve, PORTS, json!({"port": {"network_id": id}}))
            .await
            .is(404);
        served
            .post(
                &eve,
                SUBNETS,
                json!({"subnet": {"network_id": id, "cidr": "10.1.0.0/24"}}),
            )
            .await
            .is(404);
        served
            .post(
                &eve,
                FLOATING,
                json!({"floatingip": {"floating_network_id": id}}),
            )
            .await
            .is(404);
        let shown = served.get(&ann, &place(NETWORKS, &net)).await.is(200);
        assert_eq!(shown.body["network"]["name"], "mine", "{kind:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_neutrons_words() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let ann = served.login("ann", "one", Role::Member).await;
    let net = made(&served, &ann, NETWORKS, "network", json!({"name": "n"})).await;
    let id = &net["id"];
    for (path, kind, wanted) in [
        (NETWORKS, "network", json!({"name": 5})),
        (NETWORKS, "network", json!({"name": "x".repeat(256)})),
        (NETWORKS, "network", json!({"unheard": "of"})),
        (NETWORKS, "network", json!({"mtu": 10})),
        (NETWORKS, "network", json!({"dns_domain": "no domain"})),
        (NETWORKS, "network", json!({"admin_state_up": false})),
        (SUBNETS, "subnet", json!({"network_id": id})),
        (
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "10.0.0.0/8"}),
        ),
        (
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "10.0.0.0/31"}),
        ),
        (
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "2001:db8::/48", "ip_version": 6}),
        ),
        (
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "10.0.0.0/24", "ip_version": 6}),
        ),
        (
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "10.0.0.0/24", "gateway_ip": "10.1.0.1"}),
        ),
        (
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.1.2", "end": "10.0.1.9"}]}),
        ),
        (
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "10.0.0.0/24", "dns_nameservers": ["x"]}),
        ),
        (
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "10.0.0.0/24", "host_routes": [{"destination": "x", "nexthop": "y"}]}),
        ),
        (
            SUBNETS,
            "subnet",
            json!({"network_id": id, "cidr": "10.0.0.0/24", "subnetpool_id": "x"}),
        ),
        (PORTS, "port", json!({"network_id": id, "device_id": "x"})),
        (
            PORTS,
            "port",
            json!({"network_id": id, "mac_address": "00:11:22:33:44:55"}),
        ),
        (
            PORTS,
            "port",
            json!({"network_id": id, "fixed_ips": [{"ip_address": "10.0.0.9"}]}),
        ),
        (FLOATING, "floatingip", json!({"floating_network_id": id})),
    ] {
        let reply = served.post(&ann, path, json!({kind: wanted})).await;
        assert_eq!(reply.status, 400, "{kind} {wanted}: {}", reply.text);
        assert!(
            reply.body["NeutronError"]["message"].is_string(),
            "{}",
            reply.text
        );
    }
    let pools = json!({"network_id": id, "cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.9"}]});
    served
        .post(&ann, SUBNETS, json!({"subnet": pools}))
        .await
        .is(409);
    for path in ["security-groups", "security-group-rules", "subnetpools"] {
        served
            .get(&ann, &format!("/network/v2.0/{path}"))
            .await
            .is(200);
        served
            .post(&ann, &format!("/network/v2.0/{path}"), json!({}))
            .await
            .is(501);
    }
    served.get(&ann, "/network/v2.0/extensions").await.is(200);
    served
        .get(&ann, "/network/v2.0/extensions/external-net")
        .await
        .is(200);
    served
        .get(&ann, "/network/v2.0/extensions/nothing")
        .await
        .is(404);
    served.get(&ann, &format!("{NETWORKS}/n")).await.is(404);
}

#[tokio::test]
async fn a_network_leaves_its_clusters_when_it_goes() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let ann = served.login("ann", "one", Role::Member).await;
        let stock = Stock::of(&served).await;
        let net = stock::network(&served, Some(ann.project.id), "aa:00:01").await;
        let (place, now) = ((net.id, stock.backend.id), controller::cloud::now());
        let set = served.cloud.db.write(async |tx| {
            controller::db::backend_networks::set_state(&tx, place, "ACTIVE", now).await
        });
        set.await.unwrap();
        served
            .delete(&ann, &format!("{NETWORKS}/{}", net.uuid))
            .await
            .is(204);
        let asked = intent::Entity::find().order_by_asc(intent::Column::Id);
        let asked = asked.all(served.cloud.db.reader()).await.unwrap();
        let steps: Vec<&str> = asked.iter().map(|each| &*each.step).collect();
        assert_eq!(
            steps,
            ["NETWORK_DISCONNECT", "NETWORK_DISCONNECT", "NETWORK_REMOVE"],
            "{kind:?}"
        );
        assert_eq!(asked[0].request["body"], json!({"group_name": "default"}));
        assert_eq!(
            asked[2].request["path"],
            format!("/2/networks/snf-net-{}", net.id)
        );
        assert_eq!(
            (asked[2].after_id, asked[2].is_last),
            (Some(asked[1].id), true)
        );
        let list = served.get(&ann, SUBNETS).await.is(200);
        assert_eq!(list.body, json!({"subnets": []}));
    }
}
