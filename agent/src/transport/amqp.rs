//! AMQP: RabbitMQ with publisher confirms. Every message is persistent, and says which broker user sent it: the broker
//! refuses a forged one.

use std::io;
use std::time::Duration;

use async_rs::Runtime;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use lapin::types::ShortString;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use snf_events::routing::EXCHANGE;
use snf_events::topology::{self, Declared};
use snf_events::{Heartbeat, Message, Prefix, RoutingKey};

use super::settings;
use super::{Hold, Link, LinkError, Outcome, Outgoing, Ticket, Transport, bounded};

/// `delivery_mode` of a message that outlives the broker.
const PERSISTENT: u8 = 2;

/// Longest frame, unless the broker's address says another: the library keeps 32 of them each way. A message may take
/// several.
const FRAME_MAX: u32 = 16 << 10;

/// The brokers, tried in turn.
#[derive(Debug)]
pub struct Amqp {
    settings: settings::Amqp,
    prefixes: Vec<Prefix>,
    app: &'static str,
    next: usize,
}

impl Amqp {
    /// The brokers of a configuration; `app` is the program that publishes.
    #[must_use]
    pub fn new(settings: settings::Amqp, prefixes: Vec<Prefix>, app: &'static str) -> Self {
        Self {
            settings,
            prefixes,
            app,
            next: 0,
        }
    }
}

/// A connection with a channel in confirm mode.
pub struct AmqpLink {
    connection: Connection,
    channel: Channel,
    host: String,
    user: ShortString,
    app: &'static str,
    prefixes: Vec<Prefix>,
    confirms: FuturesUnordered<BoxFuture<'static, (Ticket, lapin::Result<Confirmation>)>>,
}

impl Transport for Amqp {
    type Link = AmqpLink;

    async fn connect(&mut self) -> Result<AmqpLink, LinkError> {
        let count = self.settings.hosts.len().max(1);
        let mut hosts = self.settings.hosts.iter().cycle().skip(self.next % count);
        self.next += 1;
        let Some(uri) = hosts.next() else {
            return Err(LinkError::TooSlow {
                what: String::from("a broker's name"),
                bound: Duration::ZERO,
            });
        };
        let host = format!("{}:{}", uri.authority.host, uri.authority.port);
        let what = format!("connecting to {host}");
        let mut uri = uri.clone();
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        let opened = open(uri, &self.settings, host, &self.prefixes, self.app);
        bounded(&what, self.settings.patience, opened).await
    }

    fn patience(&self) -> Duration {
        self.settings.patience
    }
}

async fn open(
    uri: AMQPUri,
    settings: &settings::Amqp,
    host: String,
    prefixes: &[Prefix],
    app: &'static str,
) -> Result<AmqpLink, LinkError> {
    let failed = |act: &str| {
        let act = format!("{act} {host}");
        move |source| LinkError::Amqp { act, source }
    };
    let user = ShortString::from(uri.authority.userinfo.username.as_str());
    let authority = settings.authority.clone();
    let properties = ConnectionProperties::default().with_connection_name(app.into());
    let runtime = lapin::runtime::default_runtime().map_err(failed("use"))?;
    // Over TLS `authority` alone is trusted: not whom the system trusts, as the library would.
    let reach = async move |uri: AMQPUri, runtime: Runtime<_>| {
        let host = uri.authority.host.as_str();
        let address = runtime.to_socket_addrs((host.to_owned(), uri.authority.port));
        let stream = AsyncTcpStream::connect(&runtime, address).await?;
        match uri.scheme {
            AMQPScheme::AMQP => Ok(stream),
            AMQPScheme::AMQPS => Ok(stream
                .into_rustls(&tls(authority.as_deref())?, host)
                .await?),
        }
    };
    let connection = Connection::connector(uri, runtime, reach, properties);
    let connection = connection.await.map_err(failed("connect to"))?;
    if topology::declare(&connection, prefixes).await? == Declared::NotOurs {
        tracing::debug!(
            host,
            "not allowed to declare the topology: the controller does"
        );
    }
    let channel = connection
        .create_channel()
        .await
        .map_err(failed("open a channel at"))?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .map_err(failed("ask for confirms at"))?;
    Ok(AmqpLink {
        connection,
        channel,
        user,
        app,
        prefixes: prefixes.to_vec(),
        confirms: FuturesUnordered::new(),
        host,
    })
}

fn tls(authority: Option<&str>) -> io::Result<RustlsConnector> {
    let pem = authority.unwrap_or_default().as_bytes();
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let mut roots = RustlsConnectorConfig::default();
    roots.add_parsable_certificates(certificates.map_err(io::Error::other)?);
    roots.connector_with_no_client_auth()
}

impl AmqpLink {
    fn failed(&self, act: &str) -> impl FnOnce(lapin::Error) -> LinkError + use<> {
        let act = format!("{act} {}", self.host);
        move |source| LinkError::Amqp { act, source }
    }

    fn properties(&self) -> BasicProperties {
        BasicProperties::default()
            .with_content_type("application/json".into())
            .with_app_id(self.app.into())
            .with_user_id(self.user.clone())
    }
}

impl Link for AmqpLink {
    async fn send(&mut self, outgoing: Outgoing) -> Result<(), LinkError> {
        let properties = self
            .properties()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(outgoing.id.as_str().into());
        let options = BasicPublishOptions {
            mandatory: outgoing.mandatory,
            ..BasicPublishOptions::default()
        };
        let key = outgoing.key.as_str().into();
        let sent = self
            .channel
            .basic_publish(EXCHANGE.into(), key, options, &outgoing.body, properties)
            .await;
        let confirm = sent.map_err(self.failed("publish at"))?;
        let ticket = outgoing.ticket;
        self.confirms
            .push(Box::pin(async move { (ticket, confirm.await) }));
        Ok(())
    }

    async fn settled(&mut self) -> Result<(Ticket, Outcome), LinkError> {
        let Some((ticket, confirmation)) = self.confirms.next().await else {
            return std::future::pending().await;
        };
        let outcome = match confirmation.map_err(self.failed("await a confirm of"))? {
            Confirmation::Ack(None) => Outcome::Stored,
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Outcome::Returned,
            Confirmation::Nack(None) | Confirmation::NotRequested => Outcome::Refused,
        };
        Ok((ticket, outcome))
    }

    async fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), LinkError> {
        let body = Message::Heartbeat(heartbeat.clone()).encode();
        let key = RoutingKey::heartbeat();
        let sent = self
            .channel
            .basic_publish(
                EXCHANGE.into(),
                key.as_str().into(),
                BasicPublishOptions::default(),
                &body,
                self.properties(),
            )
            .await;
        let confirm = sent.map_err(self.failed("publish at"))?;
        // No message has this ticket: the confirm is taken and counts for nothing.
        self.confirms
            .push(Box::pin(async move { (Ticket(0), confirm.await) }));
        Ok(())
    }

    async fn repair(&mut self) -> Result<(), LinkError> {
        match topology::declare(&self.connection, &self.prefixes).await {
            Ok(Declared::Wholly | Declared::NotOurs) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn hold(&self) -> Hold {
        Hold::of(self.connection.status().clone())
    }

    async fn close(self) {
        let _ = self.connection.close(200, "done".into()).await;
    }
}
