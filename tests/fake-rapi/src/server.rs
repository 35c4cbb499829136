//! The cluster behind TLS: accepts, answers, and goes wrong where it is told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, SERVER, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;

use crate::certificate::Certificate;
use crate::cluster::Cluster;
use crate::fault::{Accept, Fault, Reply};
use crate::queue_directory::QueueDirectory;
use crate::routes::{Asked, Refusal, answer};

/// Largest request body, bytes: Ganeti's own bound.
const BODY_MAX: usize = 1 << 20;

/// What a fake is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 is any that is free.
    pub listen: SocketAddr,
    /// The cluster's name.
    pub cluster: String,
    /// How many nodes it has.
    pub nodes: usize,
    /// Who may write.
    pub user: String,
    /// With which password.
    pub password: String,
    /// How long a job stays in each state; `None`: until [`FakeRapi::advance`] is called.
    pub pace: Option<Duration>,
    /// Ganeti's data directory, where `queue/job-N` is written.
    pub ganeti: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cluster: String::from("cluster.gnt.test"),
            nodes: 3,
            user: String::from("synnefo"),
            password: String::from("secret"),
            pace: None,
            ganeti: None,
        }
    }
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// Its query, read.
    pub query: Vec<(String, String)>,
    /// Its body.
    pub body: Option<Value>,
}

/// A cluster's remote API; it ends when this is dropped.
#[derive(Debug)]
pub struct FakeRapi {
    /// Where it listens.
    pub address: SocketAddr,
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    cluster: Mutex<Cluster>,
    faults: Mutex<VecDeque<Fault>>,
    requests: Mutex<Vec<Recorded>>,
    is_down: AtomicBool,
    authorization: Mutex<String>,
    queue: Option<QueueDirectory>,
}

/// The connection is to end without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on demand")
    }
}

impl std::error::Error for Cut {}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn basic(user: &str, password: &str) -> String {
    let pair = openssl::base64::encode_block(format!("{user}:{password}").as_bytes());
    format!("Basic {pair}")
}

impl FakeRapi {
    /// Starts one.
    ///
    /// # Errors
    /// It cannot listen, or has no certificate.
    pub async fn start(options: Options) -> Result<Self> {
        let own = Certificate::make().context("make a certificate")?;
        let fingerprint = own.fingerprint()?;
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        acceptor.set_private_key(&own.key)?;
        acceptor.set_certificate(&own.certificate)?;
        let acceptor = Arc::new(acceptor.build());
        let listener = TcpListener::bind(options.listen).await.context("listen")?;
        let address = listener.local_addr()?;
        let cluster = Cluster::new(&options.cluster, options.nodes);
        let queue = match &options.ganeti {
            Some(path) => Some(QueueDirectory::make(path, &cluster.name, &cluster.nodes)?),
            None => None,
        };
        let shared = Arc::new(Shared {
            cluster: Mutex::new(cluster),
            faults: Mutex::default(),
            requests: Mutex::default(),
            is_down: AtomicBool::new(false),
            authorization: Mutex::new(basic(&options.user, &options.password)),
            queue,
        });
        let mut tasks = vec![tokio::spawn(accept(
            listener,
            acceptor,
            Arc::clone(&shared),
        ))];
        if let Some(pace) = options.pace {
            let shared = Arc::clone(&shared);
            tasks.push(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(pace).await;
                    shared.advance();
                }
            }));
        }
        Ok(Self {
            address,
            fingerprint,
            shared,
            tasks,
        })
    }

    /// The cluster, to look at and to change behind everybody's back.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        hold(&self.shared.cluster)
    }

    /// Lets something go wrong; faults are spent in the order they were given in.
    pub fn fault(&self, fault: Fault) {
        hold(&self.shared.faults).push_back(fault);
    }

    /// Faults that nobody met yet.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        hold(&self.shared.faults).len()
    }

    /// All requests that came in, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        hold(&self.shared.requests).clone()
    }

    /// The requests that would make jobs.
    #[must_use]
    pub fn submissions(&self) -> Vec<Recorded> {
        let makes_job =
            |each: &Recorded| each.method != Method::GET && !each.path.starts_with("/2/jobs/");
        self.requests().into_iter().filter(makes_job).collect()
    }

    /// While it is down nobody gets through to it.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Another password, as when an operator changed it.
    pub fn set_password(&self, user: &str, password: &str) {
        *hold(&self.shared.authorization) = basic(user, password);
    }

    /// Brings each job one step further.
    pub fn advance(&self) {
        self.shared.advance();
    }

    /// Lets all jobs come to their end.
    pub fn settle(&self) {
        while !self.cluster().is_idle() {
            self.advance();
        }
    }

    /// Archives what has ended.
    pub fn archive(&self) {
        let archived = self.cluster().archive();
        self.shared.write_files(&archived);
    }
}

impl Drop for FakeRapi {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    fn advance(&self) {
        let moved = hold(&self.cluster).advance();
        self.write_files(&moved);
    }

    fn write_files(&self, ids: &[u64]) {
        let Some(queue) = &self.queue else {
            return;
        };
        let cluster = hold(&self.cluster);
        for job in ids.iter().filter_map(|id| cluster.jobs.get(id)) {
            // A queue that cannot be written shows in what its reader misses.
            let _ = queue.write(job);
        }
    }

    fn ask(&self, recorded: &Recorded) -> Result<Value, Refusal> {
        let asked = Asked {
            method: &recorded.method,
            path: &recorded.path,
            query: &recorded.query,
            body: recorded.body.as_ref(),
        };
        let mut cluster = hold(&self.cluster);
        let before = cluster.last_job;
        let answered = answer(&mut cluster, &asked);
        let changed = match recorded.path.strip_prefix("/2/jobs/") {
            Some(id) if recorded.method == Method::DELETE => id.parse().ok(),
            _ => Some(cluster.last_job).filter(|last| *last > before),
        };
        drop(cluster);
        self.write_files(changed.as_slice());
        answered
    }

    fn take_fault(&self, recorded: &Recorded) -> Option<Fault> {
        let mut faults = hold(&self.faults);
        let at = faults
            .iter()
            .position(|fault| fault.is_for(&recorded.method, &recorded.path))?;
        faults.remove(at)
    }
}

async fn accept(listener: TcpListener, acceptor: Arc<SslAcceptor>, shared: Arc<Shared>) {
    // What is still connected ends with the one that accepts.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if shared.is_down.load(Ordering::SeqCst) {
            continue;
        }
        connections.spawn(serve(stream, Arc::clone(&acceptor), Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, acceptor: Arc<SslAcceptor>, shared: Arc<Shared>) {
    let Ok(ssl) = Ssl::new(acceptor.context()) else {
        return;
    };
    let Ok(mut stream) = SslStream::new(ssl, stream) else {
        return;
    };
    if Pin::new(&mut stream).accept().await.is_err() {
        return;
    }
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { exchange(request, &shared).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever broke it off knows.
    let _ = connection.await;
}

async fn exchange(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let given = request.headers().get(AUTHORIZATION).cloned();
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await;
    let body = body.map_err(|_| Cut)?.to_bytes();
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let parsed = match body.is_empty() {
        true => Ok(None),
        false => serde_json::from_slice(&body).map(Some),
    };
    let recorded = Recorded {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: form_urlencoded::parse(query).into_owned().collect(),
        body: parsed.as_ref().ok().cloned().flatten(),
    };
    hold(&shared.requests).push(recorded.clone());
    let expected = hold(&shared.authorization).clone();
    if given.as_ref().and_then(|value| value.to_str().ok()) != Some(&expected) {
        return Ok(refused(401, "Unauthorized"));
    }
    if parsed.is_err() {
        return Ok(refused(400, "Unable to parse JSON data"));
    }
    let Some(fault) = shared.take_fault(&recorded) else {
        return Ok(shown(shared.ask(&recorded)));
    };
    let answered = match fault.accept {
        Accept::No => None,
        Accept::Yes => Some(shared.ask(&recorded)),
        Accept::After(delay) => {
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = shared.ask(&recorded);
            });
            None
        }
    };
    match fault.reply {
        Reply::Late(delay) => {
            tokio::time::sleep(delay).await;
            answered.map(shown).ok_or(Cut)
        }
        Reply::Cut => Err(Cut),
        Reply::Garbage => Ok(plain(200, "text/plain", "\u{1}neither here nor there")),
        Reply::BadGateway => Ok(plain(
            502,
            "text/html",
            "<html><h1>502 Bad Gateway</h1></html>",
        )),
        Reply::Never => std::future::pending().await,
        Reply::Refused { status, message } => Ok(refused(status, &message)),
    }
}

fn shown(answered: Result<Value, Refusal>) -> Response<Full<Bytes>> {
    match answered {
        Ok(value) => plain(200, "application/json", &format!("{value}\n")),
        Err(Refusal { status, message }) => refused(status, &message),
    }
}

fn refused(status: u16, message: &str) -> Response<Full<Bytes>> {
    let explain = match status {
        400 => "Bad request syntax or unsupported method",
        401 => "No permission -- see authorization schemes",
        404 => "Nothing matches the given URI",
        500 => "Server got itself in trouble",
        502 => "Invalid responses from another server/proxy",
        _ => "",
    };
    let body = json!({"code": status, "message": message, "explain": explain});
    let mut response = plain(status, "application/json", &format!("{body}\n"));
    if status == 401 {
        let realm = hyper::header::HeaderValue::from_static("Basic realm=\"Ganeti Remote API\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, realm);
    }
    response
}

fn plain(status: u16, kind: &'static str, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    if let Ok(status) = hyper::StatusCode::from_u16(status) {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    let server = hyper::header::HeaderValue::from_static("Ganeti 3.0.2");
    headers.insert(SERVER, server);
    response
}
