//! The API on a socket of its own, over a fresh database, with users and tokens for the asking.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode};
use controller::api::{self, principal::Role};
use controller::cloud::{self, Cloud};
use controller::config::Config;
use controller::db::entity::{project, user};
use controller::db::tokens::{self, NewToken};
use controller::db::{DbError, accounts};
use controller::seal::{self, Seal};
use controller::secret;
use controller::service::{self, Stopper};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::databases::{Fresh, Kind};

/// A cloud whose API answers.
pub(crate) struct Served {
    pub(crate) cloud: Cloud,
    pub(crate) address: SocketAddr,
    _stopper: Stopper,
    _fresh: Fresh,
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: user::Model,
    pub(crate) project: project::Model,
    pub(crate) token: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body, where it is JSON.
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Login {
    /// The same user and project; this token.
    pub(crate) fn into_same(self, earlier: &Self) -> Self {
        assert_eq!(
            (self.user.id, self.project.id),
            (earlier.user.id, earlier.project.id)
        );
        self
    }
}

impl Reply {
    /// The status, having been compared.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// A header's text, empty where it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Served {
    /// One on a database of this kind; `None` when its server is not installed.
    pub(crate) async fn on(kind: Kind) -> Option<Self> {
        Self::with(kind, "").await
    }

    /// One with a configuration of its own (`keys` and `database` are ours).
    pub(crate) async fn with(kind: Kind, config: &str) -> Option<Self> {
        let (fresh, db) = Fresh::migrated(kind).await?;
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        std::fs::write(&keys, seal::new_key()).unwrap();
        let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&keys, only_ours).unwrap();
        let seal = Seal::read(&keys).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config::parse(config, &keys).unwrap();
        config.api.public_url = format!("http://{address}");
        let cloud = Cloud::new(db, config, seal);
        let (stopper, stop) = service::stop();
        tokio::spawn(api::serve(listener, api::router(cloud.clone()), stop));
        Some(Self {
            cloud,
            address,
            _stopper: stopper,
            _fresh: fresh,
        })
    }

    /// A user with a token for a project of these names, made where they are missing, with this role in it besides those that
    /// it has.
    pub(crate) async fn login(&self, user: &str, project: &str, role: Role) -> Login {
        let token = secret::random().unwrap();
        let made = self.cloud.db.write(async |tx| -> Result<_, DbError> {
            let tx = &*tx;
            let now = cloud::now();
            let domain = match accounts::domain_named(tx, "default").await? {
                Some(domain) => domain,
                None => accounts::add_domain(tx, "default", now).await?,
            };
            let project = match accounts::project_named(tx, domain.id, project).await? {
                Some(project) => project,
                None => accounts::add_project(tx, domain.id, project, "", now).await?,
            };
            let user = match accounts::user_named(tx, domain.id, user).await? {
                Some(user) => user,
                None => accounts::add_user(tx, domain.id, user, None, None, now).await?,
            };
            accounts::grant(tx, user.id, project.id, role).await?;
            let new = NewToken {
                digest: &secret::digest(&token),
                user_id: user.id,
                project_id: Some(project.id),
                credential_id: None,
                methods: &["password"],
                audit_id: "test",
                issued_at: now,
                expires_at: now + Duration::from_secs(3600),
            };
            tokens::add(tx, &new).await?;
            Ok((user, project))
        });
        let (user, project) = made.await.unwrap();
        Login {
            user,
            project,
            token,
        }
    }

    /// Asks, with a token or without.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Reply {
        let headers: Vec<_> = token
            .map(|token| ("x-auth-token", token))
            .into_iter()
            .collect();
        let body = body.map(|body| body.to_string());
        self.send(method, path, &headers, body).await
    }

    pub(crate) async fn get(&self, login: &Login, path: &str) -> Reply {
        self.ask(Method::GET, path, Some(&login.token), None).await
    }

    pub(crate) async fn post(&self, login: &Login, path: &str, body: Value) -> Reply {
        self.ask(Method::POST, path, Some(&login.token), Some(body))
            .await
    }

    pub(crate) async fn put(&self, login: &Login, path: &str, body: Value) -> Reply {
        self.ask(Method::PUT, path, Some(&login.token), Some(body))
            .await
    }

    pub(crate) async fn delete(&self, login: &Login, path: &str) -> Reply {
        self.ask(Method::DELETE, path, Some(&login.token), None)
            .await
    }

    /// Sends what it is told to, over a connection of its own.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string());
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())));
        let reply = sender.send_request(request.unwrap()).await.unwrap();
        let (head, body) = reply.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        Reply {
            status: head.status,
            headers: head.headers,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }
}
