//! Servers in doubt: read from the cluster, and written only if nothing was heard of them meanwhile.

use std::time::Duration;

use controller::cloud::now;
use controller::db::entity::server;
use controller::db::events::{self, Wanted};
use controller::db::{DbError, intents};
use controller::dispatcher::reading::{Reading, Settled, settle};
use controller::doubts;
use controller::outbox::{Outbox, Settings};
use controller::rapi::Submission;
use controller::rapi::body;
use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel};

use crate::databases::ALL;
use crate::fixture::Yard;

const SETTINGS: Settings = Settings {
    workers: 1,
    lease: Duration::from_secs(30),
    settle: Duration::from_millis(60),
    rest: Duration::from_millis(20),
    rest_most: Duration::from_millis(80),
    look: Duration::from_millis(20),
    patience: Duration::from_secs(5),
    grace: Duration::from_secs(5),
};

/// In doubt for so many seconds.
async fn doubt(yard: &Yard, id: i64, seconds: i64) -> server::Model {
    let mut row = yard.server_row(id).await.into_active_model();
    row.doubtful_at = Set(Some(now() - chrono::Duration::seconds(seconds)));
    row.update(yard.cloud.db.reader()).await.unwrap()
}

/// Has the cluster do something behind our back.
async fn behind_our_back(yard: &Yard, what: &Submission) {
    let rapi = controller::backends::rapi(&yard.cloud.seal, &yard.backend).unwrap();
    rapi.submit(what, "an operator").await.unwrap();
    yard.fake.settle();
}

#[tokio::test]
async fn what_ganeti_says_is_written_and_gone_is_believed_late() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let (server, intent) = yard.wanted().await;
        let name = server.instance_name.clone().unwrap();
        doubt(&yard, server.id, 60).await;
        assert_eq!(doubts::look(&yard.cloud).await.unwrap(), 0, "{kind:?}");
        let row = yard.server_row(server.id).await;
        assert_eq!(row.oper_state, "BUILD", "its creation has not ended");

        Outbox::new(yard.cloud.clone(), SETTINGS)
            .step()
            .await
            .unwrap();
        yard.fake.settle();
        assert_eq!(doubts::look(&yard.cloud).await.unwrap(), 1, "{kind:?}");
        let row = yard.server_row(server.id).await;
        assert_eq!(
            (row.oper_state.as_str(), row.doubtful_at),
            ("STARTED", None)
        );
        assert_eq!((row.vcpus, row.ram), (1, 128));
        assert!(row.instance_uuid.is_some() && row.serial_no.is_some());

        yard.done(intent.id).await;
        behind_our_back(&yard, &body::shutdown(&name)).await;
        behind_our_back(&yard, &body::set_size(&name, 2, 256)).await;
        doubt(&yard, server.id, 0).await;
        yard.fake.set_down(true);
        assert_eq!(doubts::look(&yard.cloud).await.unwrap(), 0);
        assert!(yard.server_row(server.id).await.doubtful_at.is_some());
        yard.fake.set_down(false);
        assert_eq!(doubts::look(&yard.cloud).await.unwrap(), 1);
        let row = yard.server_row(server.id).await;
        assert_eq!(
            (row.oper_state.as_str(), row.vcpus, row.ram),
            ("STOPPED", 2, 256),
            "{kind:?}"
        );

        behind_our_back(&yard, &body::remove(&name)).await;
        doubt(&yard, server.id, 0).await;
        assert_eq!(
            doubts::look(&yard.cloud).await.unwrap(),
            0,
            "too early to believe"
        );
        doubt(&yard, server.id, 11).await;
        assert_eq!(doubts::look(&yard.cloud).await.unwrap(), 1);
        let row = yard.server_row(server.id).await;
        assert_eq!(
            (row.oper_state.as_str(), row.deletion),
            ("DELETED", row.id),
            "{kind:?}"
        );
        assert_eq!(yard.intent(intent.id).await.state, intents::DONE);
    }
}

#[tokio::test]
async fn a_reading_that_an_event_overtook_is_not_written() {
    for kind in ALL {
        let Some(yard) = Yard::on(kind).await else {
            continue;
        };
        let server = yard.server().await;
        let asked = doubt(&yard, server.id, 60).await;
        let mut row = asked.clone().into_active_model();
        (row.run_job, row.run_op_index, row.run_ended) = (Set(Some(7)), Set(Some(0)), Set(Some(9)));
        row.update(yard.cloud.db.reader()).await.unwrap();
        let asked = &asked;
        let settled = yard.cloud.db.write(|tx| async move {
            let mut wanted = Wanted::default();
            let name = asked.instance_name.clone().unwrap();
            wanted.instances.insert((asked.backend_id, name));
            let prefix = "snf-".parse().unwrap();
            let mut rows = events::load(&tx, &wanted, prefix).await?;
            let settled = settle(&mut rows, asked, &Reading::Gone, now());
            events::save(&tx, rows).await?;
            Ok::<_, DbError>(settled)
        });
        assert_eq!(settled.await.unwrap(), Settled::Later, "{kind:?}");
        assert_eq!(yard.server_row(server.id).await.oper_state, "BUILD");
    }
}
