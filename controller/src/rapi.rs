//! Ganeti's remote API (RAPI, port 5080): one request, one connection, one answer, within a bound.
//!
//! Ganeti closes the connection after each answer and has no way to send a job twice safely, so what matters of a failure
//! is whether the job may exist: [`RapiError::may_have_arrived`]. TLS is OpenSSL's: the certificate Ganeti makes is X.509
//! version 1 without names, which is trusted by its SHA-256 fingerprint, or by an authority where the operator has put
//! another in its place.

pub mod body;
pub mod instance;
pub mod naming;
mod trust;

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use snf_events::{JobId, JobStatus};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use trust::{Fingerprint, NoFingerprint, Trust, look};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, all of it.
const ANSWER: Duration = Duration::from_secs(30);
/// Largest answer that is read: lists of a full queue are a few MiB.
const ANSWER_MAX: usize = 64 << 20;
/// How much of an answer an error quotes.
const QUOTED: usize = 300;

/// Where a cluster's remote API is, and as whom we speak to it.
#[derive(Clone)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// Port, 5080 by default.
    pub port: u16,
    /// User, with the right to write.
    pub user: String,
    /// Password.
    pub password: String,
    /// Whose certificate is accepted.
    pub trust: Trust,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

/// Why there is no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum RapiError {
    /// Nobody is reached.
    #[error("connect to {endpoint}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else is reached: nothing was sent.
    #[error("{endpoint} shows the certificate {found}, expected {expected}")]
    Stranger {
        /// Host and port.
        endpoint: String,
        /// SHA-256 of what it shows.
        found: Fingerprint,
        /// SHA-256 of what was expected.
        expected: Fingerprint,
    },
    /// The connection broke off after the request was begun.
    #[error("{request}: the connection broke off")]
    Broken {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("{request}: no answer in {} s", bound.as_secs())]
    Late {
        /// Method and path.
        request: String,
        /// What it may take.
        bound: Duration,
    },
    /// Ganeti says no.
    #[error("{request}: {status}: {message}")]
    Refused {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// Ganeti's words.
        message: String,
    },
    /// What came is not what RAPI answers.
    #[error("{request}: {status}, and not what Ganeti answers: {quoted:?}")]
    Garbage {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// The beginning of it.
        quoted: String,
    },
}

/// What a refusal means for who wants a job to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// There is no job, and the same request would be refused again.
    Refused,
    /// There is no job; it is to be tried again later (queue drained or full, cluster not reached).
    NotNow,
    /// Nobody can tell: it is to be looked for.
    Unknown,
}

impl RapiError {
    /// What became of a job that was submitted with this outcome (`PUT`, `POST` and `DELETE` only).
    ///
    /// Ganeti 3.0 answers a drained queue with 500 and a full one with 500 or 503; 502 and 504 are luxid's silence or a
    /// proxy's.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Connect { .. } | Self::Stranger { .. } => Fate::NotNow,
            Self::Broken { .. } | Self::Late { .. } | Self::Garbage { .. } => Fate::Unknown,
            Self::Refused {
                status, message, ..
            } => match status {
                // Of us or of the moment, not of what is asked: credentials, and too many requests.
                401 | 403 | 408 | 429 => Fate::NotNow,
                400..=499 => Fate::Refused,
                // What luxid cannot read comes back as the gateway's fault.
                502 if message.starts_with("Failed to parse request") => Fate::Refused,
                _ if message.contains("Queue drained") || message.contains("queue is full") => {
                    Fate::NotNow
                }
                _ => Fate::Unknown,
            },
        }
    }

    /// Whether a job may exist after a submission with this outcome.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        self.fate() == Fate::Unknown
    }

    /// Whether Ganeti says that there is no such thing.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A cluster's remote API.
#[derive(Debug, Clone)]
pub struct Rapi {
    endpoint: Endpoint,
    /// How long an answer may take.
    pub patience: Duration,
}

/// One request that makes a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// `POST`, `PUT` or `DELETE`.
    pub method: Method,
    /// Path, from `/2/` on.
    pub path: String,
    /// Query, without the reason: names and values.
    pub query: Vec<(String, String)>,
    /// Body; none is sent for `None`.
    pub body: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    body: Option<Value>,
}

impl Submission {
    /// As `intents.request` keeps it: `{"method", "path", "query": [[name, value]], "body"}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self {
            method,
            path,
            query,
            body,
        } = self;
        json!({"method": method.as_str(), "path": path, "query": query, "body": body})
    }

    /// Reads what [`Submission::to_json`] wrote.
    ///
    /// # Errors
    /// It is not of that shape.
    pub fn from_json(kept: &Value) -> Result<Self, serde_json::Error> {
        let Kept {
            method,
            path,
            query,
            body,
        } = Kept::deserialize(kept)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(Self {
            method,
            path,
            query,
            body,
        })
    }
}

/// A job, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// How far it is.
    pub status: JobStatus,
    /// Parameters of its operations.
    pub ops: Vec<Value>,
}

impl Job {
    /// Whether it was submitted with this reason.
    #[must_use]
    pub fn has_reason(&self, reason: &str) -> bool {
        let is_ours = |entry: &Value| {
            let part = |at| entry.get(at).and_then(Value::as_str);
            part(0) == Some("gnt:user") && part(1) == Some(reason)
        };
        let trail = |op: &Value| op.get("reason").and_then(Value::as_array).cloned();
        let mut trails = self.ops.iter().filter_map(trail);
        trails.any(|trail| trail.iter().any(is_ours))
    }
}

#[derive(Deserialize)]
struct Complaint {
    message: String,
}

impl Rapi {
    /// Nothing is sent yet.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            patience: ANSWER,
        }
    }

    /// Asks for what is at a path.
    ///
    /// # Errors
    /// See [`RapiError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RapiError> {
        self.ask(&Method::GET, path, None).await
    }

    /// Has a job made; `reason` is kept with it. Answers with its number.
    ///
    /// # Errors
    /// See [`RapiError::fate`] for what they mean.
    pub async fn submit(&self, what: &Submission, reason: &str) -> Result<JobId, RapiError> {
        let mut query = form(what.query.iter().map(|(name, value)| (&**name, &**value)));
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&form([("reason", reason)]));
        let path = format!("{}?{query}", what.path);
        let answer: Value = self.ask(&what.method, &path, what.body.as_ref()).await?;
        // A number, or a string of digits, by version.
        let number = match &answer {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number.map(JobId).ok_or_else(|| RapiError::Garbage {
            request: request_line(&what.method, &what.path),
            status: 200,
            quoted: quote(answer.to_string().as_bytes()),
        })
    }

    /// The numbers of all jobs that are not archived, in no order. Bulk is never asked for: of a full queue it takes seconds.
    ///
    /// # Errors
    /// See [`RapiError`].
    pub async fn jobs(&self) -> Result<Vec<JobId>, RapiError> {
        #[derive(Deserialize)]
        struct Listed {
            id: JobId,
        }
        let listed: Vec<Listed> = self.get("/2/jobs").await?;
        Ok(listed.into_iter().map(|each| each.id).collect())
    }

    /// A job, archived or not; `None`: there is none.
    ///
    /// # Errors
    /// See [`RapiError`].
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, RapiError> {
        match self.get(&format!("/2/jobs/{id}")).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has a job not be run, if it is not yet; tells whether it will not, with Ganeti's words.
    ///
    /// # Errors
    /// See [`RapiError`].
    pub async fn cancel(&self, id: JobId) -> Result<(bool, String), RapiError> {
        self.ask(&Method::DELETE, &format!("/2/jobs/{id}"), None)
            .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, RapiError> {
        let request = request_line(method, path);
        let (status, answer) = self.exchange(method, path, body, &request).await?;
        let garbage = || RapiError::Garbage {
            request: request.clone(),
            status: status.as_u16(),
            quoted: quote(&answer),
        };
        if status == StatusCode::OK {
            return serde_json::from_slice(&answer).map_err(|_| garbage());
        }
        let complaint: Complaint = serde_json::from_slice(&answer).map_err(|_| garbage())?;
        Err(RapiError::Refused {
            request,
            status: status.as_u16(),
            message: unescape(&complaint.message),
        })
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        request: &str,
    ) -> Result<(StatusCode, Bytes), RapiError> {
        let endpoint = format!("{}:{}", self.endpoint.host, self.endpoint.port);
        let failed = |source| RapiError::Connect {
            endpoint: endpoint.clone(),
            source,
        };
        let connected = timeout(CONNECT, async {
            let stream =
                TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await;
            let stream = stream.map_err(failed)?;
            self.endpoint
                .trust
                .connect(&self.endpoint.host, stream)
                .await
                .map_err(|error| error.at(&endpoint))
        });
        let stream = connected
            .await
            .map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))??;
        let broken = |source| RapiError::Broken {
            request: request.to_owned(),
            source,
        };
        let mut begun = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &endpoint)
            .header(AUTHORIZATION, self.authorization());
        let bytes = match body {
            Some(body) => {
                begun = begun.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let message = begun.body(Full::new(bytes)).map_err(|error| {
            // Of our own making: a path or a name that fits into no request.
            failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, error))
        })?;
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(broken)?;
            let connection = tokio::spawn(connection);
            let answer = async {
                let answer = sender.send_request(message).await.map_err(broken)?;
                let status = answer.status();
                let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
                let body = body.map_err(|_| RapiError::Garbage {
                    request: request.to_owned(),
                    status: status.as_u16(),
                    quoted: String::from("too long, or cut off"),
                })?;
                Ok((status, body.to_bytes()))
            };
            let answer = answer.await;
            connection.abort();
            answer
        };
        timeout(self.patience, exchange).await.unwrap_or_else(|_| {
            Err(RapiError::Late {
                request: request.to_owned(),
                bound: self.patience,
            })
        })
    }

    fn authorization(&self) -> String {
        let pair = format!("{}:{}", self.endpoint.user, self.endpoint.password);
        format!("Basic {}", openssl::base64::encode_block(pair.as_bytes()))
    }
}

fn request_line(method: &Method, path: &str) -> String {
    // Without the query: a reason is no news, and a tag may be a user's.
    let path = path.split('?').next().unwrap_or_default();
    format!("{method} {path}")
}

fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(pairs);
    text.finish()
}

fn quote(bytes: &[u8]) -> String {
    let beginning = bytes.get(..QUOTED).unwrap_or(bytes);
    String::from_utf8_lossy(beginning).into_owned()
}

/// Ganeti escapes its messages for HTML.
fn unescape(text: &str) -> String {
    let text = text.replace("&#x27;", "'").replace("&quot;", "\"");
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&amp;", "&")
}
