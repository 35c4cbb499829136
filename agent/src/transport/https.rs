//! HTTPS: the same messages, posted to the controller in batches. What it answers says up to which number it stored them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::value::RawValue;
use snf_events::intake::{Batch, EVENTS_PATH, Record, Stored};
use snf_events::{Epoch, Heartbeat, Prefix, Sequence};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::settings;
use super::{Hold, Link, LinkError, Outcome, Outgoing, Ticket, Transport, bounded};

/// Longest answer that is read.
const ANSWER_MAX: usize = 64 << 10;

/// Bytes of messages that are posted at once, but for the last.
const BATCH_MAX: usize = 4 << 20;

/// The controller.
#[derive(Debug)]
pub struct Https {
    settings: settings::Https,
    identity: watch::Receiver<Identity>,
}

/// Who posts; it may become known, or change, while a connection stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// Its UUID; empty where the node cannot tell.
    pub cluster_uuid: String,
}

impl Https {
    /// The controller of a configuration.
    #[must_use]
    pub fn new(settings: settings::Https, identity: watch::Receiver<Identity>) -> Self {
        Self { settings, identity }
    }

    async fn open(&self) -> Result<HttpsLink, LinkError> {
        let url = &self.settings.url;
        let address = format!("{}:{}", url.host, url.port);
        let failed = |act: &str| {
            let act = format!("{act} {address}");
            move |source| LinkError::Io { act, source }
        };
        let token = std::fs::read_to_string(&self.settings.token).map_err(|source| {
            let act = format!("read the token in {}", self.settings.token.display());
            LinkError::Io { act, source }
        })?;
        let stream = TcpStream::connect((url.host.as_str(), url.port))
            .await
            .map_err(failed("connect to"))?;
        let _ = stream.set_nodelay(true);
        let sender = if url.tls {
            let connector = tls(self.settings.authority.as_deref().unwrap_or_default())
                .map_err(failed("speak TLS with"))?;
            let name = ServerName::try_from(url.host.clone())
                .map_err(|error| failed("speak TLS with")(io::Error::other(error)))?;
            let stream = connector
                .connect(name, stream)
                .await
                .map_err(failed("speak TLS with"))?;
            begin(stream).await
        } else {
            begin(stream).await
        };
        let sender = sender.map_err(|error| failed("speak HTTP with")(io::Error::other(error)))?;
        Ok(HttpsLink {
            sender: Some(sender),
            post: Arc::new(Post {
                authority: address,
                path: format!("{}{EVENTS_PATH}", url.base),
                authorization: format!("Bearer {}", token.trim()),
            }),
            identity: self.identity.clone(),
            waiting: BTreeMap::new(),
            posting: None,
            settled: VecDeque::new(),
            patience: self.settings.patience,
        })
    }
}

impl Transport for Https {
    type Link = HttpsLink;

    async fn connect(&mut self) -> Result<HttpsLink, LinkError> {
        let what = format!("connecting to {}", self.settings.url.host);
        bounded(&what, self.settings.patience, self.open()).await
    }

    fn patience(&self) -> Duration {
        self.settings.patience
    }
}

fn tls(authority: &str) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

type Sender = SendRequest<Full<Bytes>>;

async fn begin<S>(stream: S) -> hyper::Result<Sender>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the controller's connection ended");
        }
    });
    Ok(sender)
}

/// What is the same in each request.
#[derive(Debug)]
struct Post {
    authority: String,
    path: String,
    authorization: String,
}

/// A connection: one request at a time, messages gather meanwhile.
pub struct HttpsLink {
    sender: Option<Sender>,
    post: Arc<Post>,
    identity: watch::Receiver<Identity>,
    waiting: BTreeMap<(Epoch, Prefix), VecDeque<Outgoing>>,
    posting: Option<Posting>,
    settled: VecDeque<(Ticket, Outcome)>,
    patience: Duration,
}

struct Posting {
    epoch: Epoch,
    tickets: Vec<(Ticket, Sequence)>,
    answer: BoxFuture<'static, Result<(Sender, Stored), LinkError>>,
}

impl HttpsLink {
    /// Begins a request with what has gathered, if none is on its way.
    fn begin(&mut self, heartbeat: Option<&Heartbeat>) {
        if self.posting.is_some() {
            return;
        }
        let gathered = self
            .waiting
            .iter_mut()
            .find(|(_, messages)| !messages.is_empty());
        let (epoch, prefix, messages) = match (gathered, heartbeat) {
            (Some(((epoch, prefix), messages)), _) => {
                let mut bytes = 0;
                let fit = messages.iter().take_while(|message| {
                    let fits = bytes < BATCH_MAX;
                    bytes += message.body.len();
                    fits
                });
                let count = fit.count();
                let messages: Vec<Outgoing> = messages.drain(..count).collect();
                (epoch.clone(), prefix.clone(), messages)
            }
            (None, Some(heartbeat)) => match heartbeat.streams.first() {
                Some(stream) => (heartbeat.epoch.clone(), stream.prefix.clone(), Vec::new()),
                None => return,
            },
            (None, None) => return,
        };
        let Some(sender) = self.sender.take() else {
            return;
        };
        let tickets = messages
            .iter()
            .map(|message| (message.ticket, message.sequence));
        let tickets = tickets.collect();
        let Identity {
            cluster,
            cluster_uuid,
        } = self.identity.borrow().clone();
        let batch = Batch {
            cluster,
            cluster_uuid,
            epoch: epoch.clone(),
            prefix,
            records: messages.into_iter().filter_map(record).collect(),
            heartbeat: heartbeat.cloned(),
        };
        let answer = Box::pin(post(sender, Arc::clone(&self.post), batch));
        self.posting = Some(Posting {
            epoch,
            tickets,
            answer,
        });
    }

    async fn answered(&mut self) -> Result<(), LinkError> {
        let Some(posting) = &mut self.posting else {
            return Ok(());
        };
        let (sender, stored) = posting.answer.as_mut().await?;
        self.sender = Some(sender);
        if let Some(Posting { epoch, tickets, .. }) = self.posting.take() {
            let is_ours = stored.epoch == epoch;
            self.settled
                .extend(tickets.into_iter().map(|(ticket, sequence)| {
                    if is_ours && sequence <= stored.sequence {
                        (ticket, Outcome::Stored)
                    } else {
                        (ticket, Outcome::Refused)
                    }
                }));
        }
        Ok(())
    }
}

/// A body is JSON that we made.
fn record(message: Outgoing) -> Option<Record> {
    let text = String::from_utf8(message.body).ok()?;
    Some(Record {
        sequence: message.sequence,
        key: message.key,
        message: RawValue::from_string(text).ok()?,
    })
}

async fn post(
    mut sender: Sender,
    post: Arc<Post>,
    batch: Batch,
) -> Result<(Sender, Stored), LinkError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| LinkError::Io {
        act: format!("post to {}", post.authority),
        source: io::Error::other(source),
    };
    let body = serde_json::to_vec(&batch).map_err(|error| failed(error.into()))?;
    let request = Request::post(&post.path)
        .header(HOST, &post.authority)
        .header(AUTHORIZATION, &post.authorization)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| failed(error.into()))?;
    sender.ready().await.map_err(|error| failed(error.into()))?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| failed(error.into()))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(failed)?.to_bytes();
    let strange = |reason: String| LinkError::Answer {
        url: format!("{}{}", post.authority, post.path),
        status: status.as_u16(),
        reason,
    };
    if status != StatusCode::OK {
        let text = String::from_utf8_lossy(&body);
        return Err(strange(text.chars().take(200).collect()));
    }
    let stored = serde_json::from_slice(&body).map_err(|error| strange(error.to_string()))?;
    Ok((sender, stored))
}

impl Link for HttpsLink {
    async fn send(&mut self, outgoing: Outgoing) -> Result<(), LinkError> {
        // A publisher that lives on keeps few: its own epochs, and what earlier ones left.
        self.waiting.retain(|_, messages| !messages.is_empty());
        let stream = (outgoing.epoch.clone(), outgoing.prefix.clone());
        let waiting = self.waiting.entry(stream).or_default();
        // One that is sent again belongs before those after it.
        let place = waiting.partition_point(|other| other.sequence < outgoing.sequence);
        waiting.insert(place, outgoing);
        Ok(())
    }

    async fn settled(&mut self) -> Result<(Ticket, Outcome), LinkError> {
        loop {
            if let Some(settled) = self.settled.pop_front() {
                return Ok(settled);
            }
            self.begin(None);
            if self.posting.is_none() {
                return std::future::pending().await;
            }
            self.answered().await?;
        }
    }

    async fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), LinkError> {
        while self.posting.is_some() {
            bounded("an answer", self.patience, self.answered()).await?;
        }
        self.begin(Some(heartbeat));
        bounded("an answer", self.patience, self.answered()).await
    }

    async fn repair(&mut self) -> Result<(), LinkError> {
        Ok(())
    }

    fn hold(&self) -> Hold {
        // A controller that cannot take a batch says so in its answer.
        Hold::default()
    }

    async fn close(self) {}
}
