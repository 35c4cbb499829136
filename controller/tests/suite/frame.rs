//! What happens to every request.

use axum::http::Method;

use crate::databases::{ALL, Kind};
use crate::served::Served;

#[tokio::test]
async fn each_face_refuses_in_its_own_words_and_numbers_requests() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    for (path, place) in [
        ("/identity/nowhere", "/error/code"),
        ("/compute/nowhere", "/itemNotFound/code"),
        ("/network/nowhere", "/NeutronError/type"),
        ("/image/nowhere", "/code"),
        ("/nowhere", "/error/code"),
    ] {
        let reply = served.ask(Method::GET, path, None, None).await.is(404);
        assert!(
            reply.body.pointer(place).is_some(),
            "{path}: {}",
            reply.text
        );
        let number = reply.header("x-openstack-request-id");
        assert!(number.starts_with("req-") && number.len() == 40, "{number}");
        assert_eq!(reply.header("x-compute-request-id"), number);
    }
    let wrong = served
        .ask(Method::DELETE, "/livez", None, None)
        .await
        .is(405);
    assert_eq!(wrong.header("allow"), "GET,HEAD");
    assert_eq!(wrong.body["error"]["code"], 405);
}

#[tokio::test]
async fn it_is_ready_when_the_database_is() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        served.ask(Method::GET, "/livez", None, None).await.is(200);
        served.ask(Method::GET, "/readyz", None, None).await.is(200);
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)";
        let reader = served.cloud.db.reader();
        sea_orm::ConnectionTrait::execute_unprepared(reader, newer)
            .await
            .unwrap();
        served.ask(Method::GET, "/readyz", None, None).await.is(503);
        served.ask(Method::GET, "/livez", None, None).await.is(200);
    }
}
