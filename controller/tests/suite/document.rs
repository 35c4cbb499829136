//! The API's description is checked in, and is what is served.

use std::path::Path;

use axum::http::Method;
use controller::api::document::document;
use serde_json::Value;

use crate::databases::Kind;
use crate::served::Served;

#[tokio::test]
async fn the_description_in_the_tree_is_the_one_that_is_served() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let written = format!("{:#}\n", document());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&place, &written).unwrap();
    }
    let kept = std::fs::read_to_string(&place).unwrap_or_default();
    assert!(
        kept == written,
        "the routes differ from {}: write it anew with UPDATE_GOLDEN=1 cargo test -p snf-controller document",
        place.display()
    );
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let reply = served
        .ask(Method::GET, "/openapi.json", None, None)
        .await
        .is(200);
    assert_eq!(&reply.body, document());
}

#[tokio::test]
async fn every_route_that_is_described_wants_a_token_unless_it_says_otherwise() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let paths = document()["paths"].as_object().unwrap();
    let mut count = 0;
    for (path, item) in paths {
        let names = path.replace(['{', '}'], "x");
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"] == serde_json::json!([{}]) {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for token in [None, Some("nobody's")] {
                let reply = served
                    .ask(method.clone(), &names, token, Some(Value::Null))
                    .await;
                assert_eq!(reply.status, 401, "{method} {path}: {}", reply.text);
                assert!(
                    reply
                        .header("www-authenticate")
                        .starts_with("Keystone uri=")
                );
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}
