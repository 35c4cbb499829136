//! What eventd answers over HTTP: `/metrics` and `/health` on one address, `/journal` on another.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ifup::apply::chain;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use snf_events::intake::{JOURNAL_PATH, OtherEpoch};
use snf_events::{Epoch, Prefix, Sequence};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::config::Pull;
use super::counters::Counters;
use super::daemon::Health;
use super::journal::{View, read};
use super::metrics;
use super::publish::compose::Composer;
use super::scribe::unix_milliseconds;

type Answer = Response<Full<Bytes>>;

/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may last.
const LIFE: Duration = Duration::from_secs(60);
/// Connections at once; more wait.
const CONNECTIONS: usize = 8;

/// What there is to answer from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Whether the daemon does its work.
    pub health: Arc<Health>,
    /// The journal that is published; `None` while nothing is.
    pub published: watch::Receiver<Option<Published>>,
    /// Whose streams there are.
    pub prefixes: Vec<Prefix>,
}

/// What is published now.
#[derive(Debug, Clone)]
pub struct Published {
    /// The journal.
    pub view: View,
    /// Makes bodies of its records.
    pub composer: Composer,
}

/// Serves `/metrics` and `/health`.
pub async fn serve_metrics(listener: TcpListener, sources: Sources) {
    serve(listener, None, move |request| {
        let sources = sources.clone();
        async move {
            match (request.method(), request.uri().path()) {
                (&Method::GET, "/metrics") => {
                    let text = metrics::encode(&sources.counters, unix_milliseconds());
                    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    answer(StatusCode::OK, kind, text)
                }
                (&Method::GET, "/health") => match sources.health.trouble() {
                    None => answer(StatusCode::OK, "text/plain", String::from("ok\n")),
                    Some(trouble) => {
                        let status = StatusCode::SERVICE_UNAVAILABLE;
                        answer(status, "text/plain", format!("{trouble}\n"))
                    }
                },
                _ => plain(StatusCode::NOT_FOUND, "there are /metrics and /health"),
            }
        }
    })
    .await;
}

/// Serves `/journal` to whoever has the token.
///
/// # Errors
/// When certificate or key cannot be used.
pub async fn serve_journal(listener: TcpListener, pull: Pull, sources: Sources) -> io::Result<()> {
    let tls = match &pull.tls {
        Some((certificate, key)) => Some(acceptor(certificate, key)?),
        None => None,
    };
    serve(listener, tls, move |request| {
        let sources = sources.clone();
        let token = pull.token;
        async move { journal(&request, &sources, token).await }
    })
    .await;
    Ok(())
}

/// Reads certificate and key of the TLS side.
///
/// # Errors
/// When they cannot be read or used.
pub fn acceptor(certificate: &Path, key: &Path) -> io::Result<TlsAcceptor> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(io::Error::other)?
        .collect();
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve<F, A>(listener: TcpListener, tls: Option<TlsAcceptor>, respond: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (tls, respond) = (tls.clone(), respond.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    let life = tokio::time::timeout(LIFE, connection(stream, tls, respond));
                    if !matches!(life.await, Ok(Ok(()))) {
                        tracing::debug!("a client's connection ended early");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept a client");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn connection<F, A>(stream: TcpStream, tls: Option<TlsAcceptor>, respond: F) -> io::Result<()>
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Answer>,
{
    match tls {
        Some(tls) => converse(tls.accept(stream).await?, respond).await,
        None => converse(stream, respond).await,
    }
}

async fn converse<S, F, A>(stream: S, respond: F) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Answer>,
{
    let service = service_fn(|request| {
        let answer = respond(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

async fn journal(request: &Request<Incoming>, sources: &Sources, token: [u8; 32]) -> Answer {
    if request.uri().path() != JOURNAL_PATH || request.method() != Method::GET {
        return plain(StatusCode::NOT_FOUND, "there is GET /journal");
    }
    let given = request.headers().get(AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    // Of digests: how long the comparison takes says nothing of the token.
    if given.is_none_or(|given| Sha256::digest(given.as_bytes())[..] != token[..]) {
        return plain(
            StatusCode::UNAUTHORIZED,
            "this needs the controller's token",
        );
    }
    let question = match Question::parse(request.uri().query().unwrap_or_default(), sources) {
        Ok(question) => question,
        Err(reason) => return plain(StatusCode::BAD_REQUEST, &reason),
    };
    let published = sources.published.borrow().clone();
    let Some(Published { view, composer }) = published else {
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "this node publishes nothing",
        );
    };
    if *view.epoch() != question.epoch {
        let epoch = view.epoch().clone();
        return json(StatusCode::CONFLICT, &OtherEpoch { epoch });
    }
    let page = tokio::task::spawn_blocking(move || {
        let complete = |record| composer.without_details(record, &view);
        read::page(&view, &question.prefix, question.after, complete)
    });
    match page.await {
        Ok(Ok(page)) => json(StatusCode::OK, &page),
        Ok(Err(error)) => {
            tracing::error!("read the journal: {}", chain(&error));
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the journal cannot be read",
            )
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "stopping"),
    }
}

/// `epoch=E&prefix=P&after=S`; the prefix may be left out where there is only one.
struct Question {
    epoch: Epoch,
    prefix: Prefix,
    after: Sequence,
}

impl Question {
    fn parse(query: &str, sources: &Sources) -> Result<Self, String> {
        let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
        let value = |key: &str| pairs().find(|(k, _)| *k == key).map(|(_, value)| value);
        let epoch = value("epoch").ok_or("epoch is missing")?;
        let after = value("after").unwrap_or("0");
        let prefix = match (value("prefix"), sources.prefixes.as_slice()) {
            (Some(prefix), ours) => ours
                .iter()
                .find(|known| known.as_str() == prefix)
                .ok_or_else(|| format!("{prefix:?} is not published here"))?,
            (None, [only]) => only,
            (None, _) => return Err(String::from("prefix is missing")),
        };
        Ok(Self {
            epoch: epoch.parse().map_err(|error| format!("epoch: {error}"))?,
            prefix: prefix.clone(),
            after: Sequence(after.parse().map_err(|_| "after must be a number")?),
        })
    }
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    match serde_json::to_string(body) {
        Ok(text) => answer(status, "application/json", text),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the answer is no JSON"),
    }
}

fn plain(status: StatusCode, text: &str) -> Answer {
    answer(status, "text/plain", format!("{text}\n"))
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}
