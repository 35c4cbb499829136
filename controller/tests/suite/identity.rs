//! Identity v3: tokens by each method, what they stand for, how they end; what one sees of others.

use axum::http::Method;
use controller::api::principal::Role;
use controller::bootstrap::{Admin, make_admin};
use controller::db::entity::{
    application_credential, audit_entry, project, role_assignment, token, user,
};
use controller::db::{DbError, accounts};
use controller::secret;
use sea_orm::{
    ActiveValue, ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
};
use serde_json::{Value, json};

use crate::databases::{ALL, Kind};
use crate::served::{Login, Reply, Served};

const TOKENS: &str = "/identity/v3/auth/tokens";

fn by_password(user: &str, password: &str, scope: Value) -> Value {
    json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user": {
            "name": user, "domain": { "name": "Default" }, "password": password } } },
        "scope": scope,
    } })
}

fn project_of(name: &str) -> Value {
    json!({ "project": { "name": name, "domain": { "id": "default" } } })
}

async fn issue(served: &Served, body: Value) -> Reply {
    served.ask(Method::POST, TOKENS, None, Some(body)).await
}

/// A login whose user has this password.
async fn with_password(served: &Served, name: &str, password: &str) -> Login {
    let login = served.login(name, "p1", Role::Member).await;
    let digest = secret::digest_password(password).unwrap();
    let user = login.user.clone();
    let set = served.cloud.db.write(async |tx| -> Result<(), DbError> {
        accounts::set_password(&*tx, user.clone(), Some(&digest)).await
    });
    set.await.unwrap();
    login
}

async fn audited(served: &Served, action: &str) -> Vec<audit_entry::Model> {
    let found = audit_entry::Entity::find().filter(audit_entry::Column::Action.eq(action));
    found.all(served.cloud.db.reader()).await.unwrap()
}

#[tokio::test]
async fn a_client_finds_its_way() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let base = format!("http://{}", served.address);
    for path in ["/identity", "/identity/"] {
        let reply = served.ask(Method::GET, path, None, None).await.is(300);
        let version = &reply.body["versions"]["values"][0];
        assert_eq!(version["id"], "v3.14");
        assert_eq!(version["links"][0]["href"], format!("{base}/identity/v3/"));
    }
    for path in ["/identity/v3", "/identity/v3/"] {
        let reply = served.ask(Method::GET, path, None, None).await.is(200);
        assert_eq!(reply.body["version"]["status"], "stable");
    }
}

#[tokio::test]
async fn a_cloud_begins_once() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let db = &served.cloud.db;
        let Admin::Made { password } = make_admin(db, None).await.unwrap() else {
            panic!("{kind:?}: there was an admin");
        };
        assert_eq!(make_admin(db, None).await.unwrap(), Admin::Kept);
        assert_eq!(user::Entity::find().count(db.reader()).await.unwrap(), 1);
        assert_eq!(project::Entity::find().count(db.reader()).await.unwrap(), 1);
        assert_eq!(
            role_assignment::Entity::find()
                .count(db.reader())
                .await
                .unwrap(),
            3
        );
        assert_eq!(audited(&served, "cloud.bootstrap").await.len(), 1);
        // Without a scope the token is for the user's own project.
        let reply = issue(&served, by_password("admin", &password, Value::Null))
            .await
            .is(201);
        let token = &reply.body["token"];
        assert_eq!(token["project"]["name"], "admin");
        assert_eq!(
            token["user"]["domain"],
            json!({ "id": "default", "name": "default" })
        );
        let roles: Vec<_> = token["roles"]
            .as_array()
            .unwrap()
            .iter()
            .map(|role| &role["name"])
            .collect();
        assert_eq!(roles, ["admin", "member", "reader"]);
        let kept = user::Entity::find()
            .one(db.reader())
            .await
            .unwrap()
            .unwrap();
        assert!(kept.password_digest.unwrap().starts_with("$argon2id$"));
    }
}

#[tokio::test]
async fn a_token_is_for_a_project_and_only_its_digest_is_kept() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let login = with_password(&served, "u1", "pass").await;
        let reply = issue(&served, by_password("u1", "pass", project_of("p1")))
            .await
            .is(201);
        let shown = reply.header("x-subject-token").to_owned();
        let token = &reply.body["token"];
        assert_eq!(token["methods"], json!(["password"]));
        assert_eq!(
            token["project"]["id"],
            login.project.uuid.simple().to_string()
        );
        assert_eq!(token["user"]["id"], login.user.uuid.simple().to_string());
        let base = format!("http://{}", served.address);
        let urls: Vec<_> = token["catalog"]
            .as_array()
            .unwrap()
            .iter()
            .map(|service| {
                let endpoint = &service["endpoints"][0];
                assert_eq!(endpoint["interface"], "public");
                (
                    service["type"].as_str().unwrap(),
                    endpoint["url"].as_str().unwrap().replace(&base, ""),
                )
            })
            .collect();
        assert_eq!(
            urls,
            [
                ("identity", String::from("/identity")),
                ("compute", String::from("/compute/v2.1")),
                ("image", String::from("/image")),
                ("network", String::from("/network")),
            ]
        );
        let rows = token::Entity::find()
            .all(served.cloud.db.reader())
            .await
            .unwrap();
        assert!(rows.iter().any(|row| row.digest == secret::digest(&shown)));
        assert!(rows.iter().all(|row| row.digest != shown));

        // By the project's id, too; a project of others, or none, is refused.
        let own = json!({ "project": { "id": login.project.uuid.simple().to_string() } });
        issue(&served, by_password("u1", "pass", own)).await.is(201);
        let other = served.login("u2", "p2", Role::Member).await;
        let others = json!({ "project": { "id": other.project.uuid.to_string() } });
        issue(&served, by_password("u1", "pass", others))
            .await
            .is(401);
        issue(
            &served,
            by_password("u1", "pass", json!({ "system": { "all": true } })),
        )
        .await
        .is(401);
        let bare = issue(&served, by_password("u1", "pass", json!("unscoped")))
            .await
            .is(201);
        assert!(bare.body["token"].get("project").is_none());
        assert!(bare.body["token"].get("catalog").is_none());
        let bare = bare.header("x-subject-token").to_owned();
        served
            .ask(Method::GET, "/compute/v2.1/flavors", Some(&bare), None)
            .await
            .is(403);
        let projects = served
            .ask(Method::GET, "/identity/v3/auth/projects", Some(&bare), None)
            .await
            .is(200);
        assert_eq!(projects.body["projects"][0]["name"], "p1");

        // From the unscoped to a scoped one, which ends with it.
        let again = json!({ "auth": {
            "identity": { "methods": ["token"], "token": { "id": bare } }, "scope": project_of("p1") } });
        let again = issue(&served, again).await.is(201);
        assert_eq!(again.body["token"]["methods"], json!(["password", "token"]));
        let first = served
            .send(
                Method::GET,
                TOKENS,
                &[("x-auth-token", &bare), ("x-subject-token", &bare)],
                None,
            )
            .await
            .is(200);
        assert_eq!(
            again.body["token"]["expires_at"],
            first.body["token"]["expires_at"]
        );
    }
}

#[tokio::test]
async fn tokens_are_shown_to_their_user_and_end() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let own = served.login("u1", "p1", Role::Member).await;
        let other = served.login("u2", "p2", Role::Member).await;
        let admin = served.login("a", "p", Role::Admin).await;
        let about = |login: &Login, subject: &Login| {
            [
                ("x-auth-token", login.token.clone()),
                ("x-subject-token", subject.token.clone()),
            ]
        };
        let ask = async |method: Method, headers: [(&str, String); 2]| {
            let headers = headers
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            served.send(method, TOKENS, &headers, None).await
        };
        let shown = ask(Method::GET, about(&own, &own)).await.is(200);
        assert_eq!(shown.header("x-subject-token"), own.token);
        assert_eq!(shown.body["token"]["user"]["name"], "u1");
        let head = ask(Method::HEAD, about(&own, &own)).await.is(200);
        assert_eq!(head.text, "");
        ask(Method::GET, about(&admin, &own)).await.is(200);
        ask(Method::GET, about(&other, &own)).await.is(404);
        ask(Method::DELETE, about(&other, &own)).await.is(404);
        served.get(&own, TOKENS).await.is(400);
        ask(Method::DELETE, about(&admin, &own)).await.is(204);
        served.get(&own, "/identity/v3/auth/projects").await.is(401);
        assert_eq!(audited(&served, "token.delete").await.len(), 1);
        let refused = audited(&served, "DELETE /identity/v3/auth/tokens").await;
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(
            (refused[0].result, refused[0].user_id),
            (404, Some(other.user.id))
        );

        // A role that is taken away, a user that is disabled: their tokens end at once.
        let reader = served.cloud.db.reader();
        accounts::revoke(reader, other.user.id, other.project.id, Role::Member)
            .await
            .unwrap();
        served
            .get(&other, "/identity/v3/auth/projects")
            .await
            .is(401);
        let mut row = admin.user.clone().into_active_model();
        row.enabled = ActiveValue::Set(false);
        user::Entity::update(row).exec(reader).await.unwrap();
        served
            .get(&admin, "/identity/v3/auth/projects")
            .await
            .is(401);
    }
}

#[tokio::test]
async fn guessing_is_slow_and_written_down() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    with_password(&served, "u1", "pass").await;
    for user in ["u1", "nobody"] {
        let mut words = Vec::new();
        for _ in 0..5 {
            let reply = issue(&served, by_password(user, "wrong", project_of("p1")))
                .await
                .is(401);
            words.push(reply.text);
        }
        words.dedup();
        assert_eq!(words.len(), 1, "{words:?}");
        let slowed = issue(&served, by_password(user, "wrong", project_of("p1")))
            .await
            .is(429);
        let seconds: u64 = slowed.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    // The right password waits too: who guesses must not learn of it.
    issue(&served, by_password("u1", "pass", project_of("p1")))
        .await
        .is(429);
    let failed = audited(&served, "token.create").await;
    assert_eq!(failed.len(), 10);
    assert!(
        failed
            .iter()
            .all(|row| row.source == "127.0.0.1" && row.result == 401)
    );
    assert!(
        failed
            .iter()
            .all(|row| !row.detail.to_string().contains("wrong\"")
                || row.detail["reason"] == "the secret is wrong")
    );
    assert_eq!(served.cloud.metrics.logins_failed.get(), 10);
}

#[tokio::test]
async fn what_is_no_login_is_told_so() {
    let Some(served) = Served::on(Kind::Sqlite).await else {
        return;
    };
    let user = json!({ "name": "u", "password": "p" });
    for body in [
        json!({}),
        json!({ "auth": { "identity": { "methods": [] } } }),
        json!({ "auth": { "identity": { "methods": ["password"] } } }),
        json!({ "auth": { "identity": { "methods": ["password"], "password": { "user": user } } } }),
        json!({ "auth": { "identity": { "methods": ["application_credential"],
            "application_credential": { "secret": "x" } } } }),
    ] {
        let reply = issue(&served, body.clone()).await.is(400);
        assert_eq!(reply.body["error"]["title"], "Bad Request", "{body}");
    }
    let plain = [("content-type", "text/plain")];
    let reply = served.send(Method::POST, TOKENS, &plain, None).await;
    assert_eq!(reply.status, 415);
    let long = json!({ "auth": "x".repeat(300_000) });
    issue(&served, long).await.is(413);
}

#[tokio::test]
async fn programs_log_in_by_application_credentials() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let login = served.login("u1", "p1", Role::Member).await;
        let login = served
            .login("u1", "p1", Role::Reader)
            .await
            .into_same(&login);
        let other = served.login("u2", "p2", Role::Member).await;
        let place = format!(
            "/identity/v3/users/{}/application_credentials",
            login.user.uuid.simple()
        );
        let new = |fields: Value| json!({ "application_credential": fields });
        for wrong in [
            json!({}),
            json!({ "name": "" }),
            json!({ "name": "x", "secret": "short" }),
            json!({ "name": "x", "roles": [{ "name": "admin" }] }),
            json!({ "name": "x", "expires_at": "yesterday" }),
            json!({ "name": "x", "expires_at": "2020-01-01T00:00:00Z" }),
            json!({ "name": "x", "expires_at": "2038-01-19T03:14:08Z" }),
            json!({ "name": "x", "access_rules": [{ "path": "/" }] }),
        ] {
            served
                .post(&login, &place, new(wrong.clone()))
                .await
                .is(400);
        }
        served
            .post(&other, &place, new(json!({ "name": "x" })))
            .await
            .is(403);
        let made = served
            .post(
                &login,
                &place,
                new(json!({
            "name": "ci", "description": "for tests", "roles": [{ "name": "reader" }],
            "expires_at": "2038-01-19T03:14:07.000000Z" })),
            )
            .await
            .is(201);
        let made = &made.body["application_credential"];
        let secret = made["secret"].as_str().unwrap();
        let id = made["id"].as_str().unwrap();
        assert_eq!(made["roles"], json!([{ "id": "reader", "name": "reader" }]));
        assert_eq!(
            made["expires_at"], "2038-01-19T03:14:07.000000Z",
            "{kind:?}: {made}"
        );
        served
            .post(&login, &place, new(json!({ "name": "ci" })))
            .await
            .is(409);
        let row = application_credential::Entity::find()
            .one(served.cloud.db.reader())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(row.secret_digest, secret::digest(secret));

        let listed = served
            .get(&login, &format!("{place}?name=ci"))
            .await
            .is(200);
        assert_eq!(listed.body["application_credentials"][0]["id"], id);
        assert!(
            listed.body["application_credentials"][0]
                .get("secret")
                .is_none()
        );
        let none = served
            .get(&login, &format!("{place}?name=other"))
            .await
            .is(200);
        assert_eq!(none.body["application_credentials"], json!([]));
        served.get(&login, &format!("{place}/{id}")).await.is(200);
        served.get(&other, &format!("{place}/{id}")).await.is(403);
        let others = format!(
            "/identity/v3/users/{}/application_credentials/{id}",
            other.user.uuid
        );
        served.get(&other, &others).await.is(404);
        served.delete(&other, &others).await.is(404);

        let by = |fields: Value| {
            json!({ "auth": { "identity": {
            "methods": ["application_credential"], "application_credential": fields } } })
        };
        let by_id = issue(&served, by(json!({ "id": id, "secret": secret })))
            .await
            .is(201);
        assert_eq!(
            by_id.body["token"]["roles"],
            json!([{ "id": "reader", "name": "reader" }])
        );
        assert_eq!(
            by_id.body["token"]["application_credential"]["restricted"],
            true
        );
        let user = json!({ "name": "u1", "domain": { "id": "default" } });
        issue(
            &served,
            by(json!({ "name": "ci", "user": user, "secret": secret })),
        )
        .await
        .is(201);
        issue(&served, by(json!({ "id": id, "secret": "wrong" })))
            .await
            .is(401);
        let program = by_id.header("x-subject-token").to_owned();
        served
            .ask(Method::GET, "/compute/v2.1/flavors", Some(&program), None)
            .await
            .is(200);
        // A restricted one makes none of its like, and goes nowhere else.
        let more = Some(new(json!({ "name": "more" })));
        served
            .ask(Method::POST, &place, Some(&program), more)
            .await
            .is(403);
        let bare = json!({ "auth": { "identity": { "methods": ["token"], "token": { "id": program } }, "scope": "unscoped" } });
        issue(&served, bare).await.is(401);

        served
            .delete(&login, &format!("{place}/{id}"))
            .await
            .is(204);
        served
            .ask(Method::GET, "/compute/v2.1/flavors", Some(&program), None)
            .await
            .is(401);
        issue(&served, by(json!({ "id": id, "secret": secret })))
            .await
            .is(401);
        for action in [
            "application_credential.create",
            "application_credential.delete",
        ] {
            let rows = audited(&served, action).await;
            assert_eq!(rows.len(), 1, "{action}");
            assert!(!rows[0].detail.to_string().contains(secret));
            assert!(rows[0].request_id.starts_with("req-"));
        }
    }
}

#[tokio::test]
async fn one_sees_oneself_and_administrators_see_all() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let own = served.login("u1", "p1", Role::Member).await;
        let other = served.login("u2", "p2", Role::Member).await;
        let admin = served.login("a", "p", Role::Admin).await;
        let (mine, theirs) = (own.user.uuid.simple(), other.user.uuid.simple());
        let user = served
            .get(&own, &format!("/identity/v3/users/{mine}"))
            .await
            .is(200);
        assert_eq!(user.body["user"]["domain_id"], "default");
        served
            .get(&own, &format!("/identity/v3/users/{theirs}"))
            .await
            .is(403);
        served
            .get(&admin, &format!("/identity/v3/users/{theirs}"))
            .await
            .is(200);
        served.get(&admin, "/identity/v3/users/u2").await.is(404);
        let named = served
            .get(&admin, "/identity/v3/users?name=u2")
            .await
            .is(200);
        assert_eq!(named.body["users"][0]["id"], theirs.to_string());
        served.get(&own, "/identity/v3/users").await.is(403);
        let projects = served
            .get(&own, &format!("/identity/v3/users/{mine}/projects"))
            .await
            .is(200);
        assert_eq!(projects.body["projects"].as_array().unwrap().len(), 1);
        served.get(&own, "/identity/v3/projects").await.is(403);
        let all = served.get(&admin, "/identity/v3/projects").await.is(200);
        assert_eq!(all.body["projects"].as_array().unwrap().len(), 3);
        let place =
            |login: &Login| format!("/identity/v3/projects/{}", login.project.uuid.simple());
        served.get(&own, &place(&own)).await.is(200);
        served.get(&own, &place(&other)).await.is(404);
        served.get(&admin, &place(&other)).await.is(200);
        let domain = served
            .get(&own, "/identity/v3/domains/default")
            .await
            .is(200);
        assert_eq!(domain.body["domain"]["name"], "default");
        served.get(&own, "/identity/v3/domains/other").await.is(404);
        served.get(&own, "/identity/v3/domains").await.is(200);
        let catalog = served.get(&own, "/identity/v3/auth/catalog").await.is(200);
        assert_eq!(catalog.body["catalog"].as_array().unwrap().len(), 4);
        let roles = served.get(&admin, "/identity/v3/roles").await.is(200);
        assert_eq!(roles.body["roles"].as_array().unwrap().len(), 3);
        served
            .get(&admin, "/identity/v3/roles/member")
            .await
            .is(200);
        served.get(&admin, "/identity/v3/roles/king").await.is(404);
    }
}

#[tokio::test]
async fn a_new_password_ends_all_tokens() {
    for kind in ALL {
        let Some(served) = Served::on(kind).await else {
            continue;
        };
        let login = with_password(&served, "u1", "first").await;
        let place = format!("/identity/v3/users/{}/password", login.user.uuid.simple());
        let change =
            |from: &str, to: &str| json!({ "user": { "original_password": from, "password": to } });
        served
            .post(&login, &place, change("wrong", "second"))
            .await
            .is(401);
        served
            .post(&login, &place, change("first", ""))
            .await
            .is(400);
        let other = served.login("u2", "p2", Role::Member).await;
        served
            .post(&other, &place, change("first", "second"))
            .await
            .is(403);
        served
            .post(&login, &place, change("first", "second"))
            .await
            .is(204);
        served
            .get(&login, "/identity/v3/auth/projects")
            .await
            .is(401);
        issue(&served, by_password("u1", "first", project_of("p1")))
            .await
            .is(401);
        issue(&served, by_password("u1", "second", project_of("p1")))
            .await
            .is(201);
        assert_eq!(audited(&served, "user.password").await.len(), 1);
    }
}

#[tokio::test]
async fn a_token_makes_only_so_many_requests() {
    let Some(served) = Served::with(Kind::Sqlite, "[api]\nrate = 1\nburst = 3").await else {
        return;
    };
    let login = served.login("u1", "p1", Role::Member).await;
    let other = served.login("u2", "p1", Role::Member).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let reply = served.get(&login, "/compute/v2.1/flavors").await;
        if reply.status == 429 {
            assert_eq!(reply.header("retry-after"), "1");
            assert_eq!(reply.body["overLimit"]["code"], 429);
        }
        statuses.push(reply.status.as_u16());
    }
    assert_eq!(statuses[..3], [200, 200, 200]);
    assert!(statuses[3..].contains(&429), "{statuses:?}");
    served.get(&other, "/compute/v2.1/flavors").await.is(200);
}
