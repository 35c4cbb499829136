//! What eventd and agents post: taken in with the right token, each with its own rights.

use axum::http::Method;
use controller::db::entity::{backend, dead_letter, gap, stream};
use controller::secret::digest;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel};
use serde_json::{Value, json};

use crate::cloud::{CLUSTER_UUID, Small};
use crate::databases::ALL;
use crate::events::{Told, server_row};
use crate::served::{Reply, Served};

const EPOCH: &str = "0b4f9a62-6a77-4d43-9f4a-6a2b6f6f0001";

/// A cloud whose cluster has a token for eventd, `eventd`, and one for its nodes, `agent`.
async fn served(kind: crate::databases::Kind) -> Option<(Served, Small)> {
    let served = Served::on(kind).await?;
    let small = Small::within(served.cloud.clone()).await;
    let reader = served.cloud.db.reader();
    let row = backend::Entity::find_by_id(small.backend).one(reader).await;
    let mut row = row.unwrap().unwrap().into_active_model();
    row.eventd_token_digest = sea_orm::ActiveValue::Set(Some(digest("eventd")));
    row.agent_token_digest = sea_orm::ActiveValue::Set(Some(digest("agent")));
    row.update(reader).await.unwrap();
    Some((served, small))
}

fn batch(records: &[(u64, Value)]) -> Value {
    let records = records.iter().map(|(sequence, message)| {
        json!({"sequence": sequence, "key": "ganeti.snf.event.op", "message": message})
    });
    json!({"cluster": "gnt.test", "cluster_uuid": CLUSTER_UUID, "epoch": EPOCH, "prefix": "snf-",
        "records": records.collect::<Vec<_>>()})
}

async fn post(served: &Served, token: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let body = Some(body.to_string());
    served
        .send(Method::POST, "/internal/events", &headers, body)
        .await
}

fn placed(told: &Told, previous: u64, sequence: u64) -> Value {
    let place =
        json!({"epoch": EPOCH, "prefix": "snf-", "sequence": sequence, "previous": previous});
    told.clone().with(place).body()
}

#[tokio::test]
async fn a_batch_is_stored_before_it_is_answered_and_its_holes_are_known() {
    for kind in ALL {
        let Some((served, small)) = served(kind).await else {
            continue;
        };
        let (id, _) = small.server(7).await;
        let created = Told::of(id, "OP_INSTANCE_CREATE", 10, 100);
        let stopped = Told::of(id, "OP_INSTANCE_SHUTDOWN", 11, 110);
        let body = batch(&[(3, placed(&created, 0, 3)), (6, placed(&stopped, 5, 6))]);
        let reply = post(&served, "eventd", &body).await.is(200);
        assert_eq!(
            reply.body,
            json!({"epoch": EPOCH, "sequence": 6}),
            "{kind:?}"
        );
        assert_eq!(server_row(&small, id).await.oper_state, "STOPPED");
        let reader = small.cloud.db.reader();
        let known = stream::Entity::find().one(reader).await.unwrap().unwrap();
        assert_eq!((known.contiguous, known.highest), (3, 6));
        let gaps = gap::Entity::find().all(reader).await.unwrap();
        let gaps: Vec<_> = gaps.iter().map(|gap| (gap.first, gap.last)).collect();
        assert_eq!(gaps, [(4, 5)]);
        let late = batch(&[(5, placed(&Told::of(id, "OP_INSTANCE_MIGRATE", 9, 90), 3, 5))]);
        post(&served, "eventd", &late).await.is(200);
        let known = stream::Entity::find().one(reader).await.unwrap().unwrap();
        assert_eq!((known.contiguous, known.highest), (6, 6), "{kind:?}");
        assert!(gap::Entity::find().all(reader).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn nobody_else_is_heard_and_nodes_may_only_tell_of_progress_and_doubt() {
    for kind in ALL {
        let Some((served, small)) = served(kind).await else {
            continue;
        };
        let (id, _) = small.server(7).await;
        let created = batch(&[(1, Told::of(id, "OP_INSTANCE_CREATE", 10, 100).body())]);
        post(&served, "nobody", &created).await.is(401);
        let body = Some(created.to_string());
        served
            .send(Method::POST, "/internal/events", &[], body)
            .await
            .is(401);
        let mut other = created.clone();
        other["prefix"] = json!("other-");
        post(&served, "eventd", &other).await.is(400);
        assert_eq!(server_row(&small, id).await.oper_state, "BUILD", "{kind:?}");

        post(&served, "agent", &created).await.is(200);
        let reader = small.cloud.db.reader();
        let letters = dead_letter::Entity::find().all(reader).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert!(
            letters[0].reason.contains("may not tell of operations"),
            "{letters:?}"
        );

        let instance = format!("snf-{id}");
        let origin = json!({"node": "node1", "epoch": EPOCH, "prefix": "snf-", "sequence": 1});
        let with = |mut message: Value| {
            message
                .as_object_mut()
                .unwrap()
                .extend(origin.as_object().unwrap().clone());
            message
        };
        let far = with(json!({"type": "image-copy-progress", "instance": instance,
            "event_time": [1, 0], "progress": 41.7}));
        let back = with(json!({"type": "image-copy-progress", "instance": instance,
            "event_time": [2, 0], "progress": 12}));
        post(&served, "agent", &batch(&[(1, far), (2, back)]))
            .await
            .is(200);
        let row = server_row(&small, id).await;
        assert_eq!((row.progress, row.run_job), (41, None), "{kind:?}");
        let hook = with(
            json!({"type": "ganeti-net-status", "instance": instance, "nics": [],
            "hook": "instance-modify", "event_time": [3, 0]}),
        );
        post(&served, "agent", &batch(&[(1, hook)])).await.is(200);
        assert!(server_row(&small, id).await.doubtful_at.is_some());
        let letters = dead_letter::Entity::find().all(reader).await.unwrap();
        assert_eq!(letters.len(), 1, "{letters:?}");
    }
}
