//! A client that trusts whom it is told to talk to: for the conformance transcript, in tests only.

use std::net::SocketAddr;
use std::pin::Pin;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Who is asked, and as whom.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where.
    pub address: SocketAddr,
    /// As whom.
    pub user: String,
    /// With which password.
    pub password: String,
}

impl Client {
    /// Asks, and answers with status and body; what is no JSON is a text.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.set_verify(SslVerifyMode::NONE);
        let ssl = connector.build().configure()?;
        let ssl = ssl
            .use_server_name_indication(false)
            .verify_hostname(false)
            .into_ssl("ganeti")?;
        let stream = TcpStream::connect(self.address).await.context("connect")?;
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).connect().await.context("speak TLS")?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let pair = format!("{}:{}", self.user, self.password);
        let pair = openssl::base64::encode_block(pair.as_bytes());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Basic {pair}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(
                body.map(Value::to_string).unwrap_or_default(),
            )))?;
        let answer = sender.send_request(request).await.context("ask")?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.context("read")?;
        let bytes = bytes.to_bytes();
        connection.abort();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        Ok((
            status,
            serde_json::from_slice(&bytes).unwrap_or_else(|_| text()),
        ))
    }
}
