//! Whose certificate is accepted: one with a known fingerprint, or one that an authority signed for the host's name.

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;

use openssl::hash::MessageDigest;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::RapiError;

/// SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// The text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no SHA-256 fingerprint: 32 bytes in hexadecimal, with or without colons")]
pub struct NoFingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        f.write_str(&bytes.join(":"))
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let wrong = || NoFingerprint(text.to_owned());
        let digits: String = text.chars().filter(|digit| *digit != ':').collect();
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = digits.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

/// Whose certificate is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Exactly this one, whatever it says: Ganeti's own has no name in it.
    Pinned(Fingerprint),
    /// One for the host's name, signed by one of these authorities (PEM).
    Authority(String),
}

/// Why nobody is spoken to.
#[derive(Debug)]
pub(super) enum Distrust {
    /// Another certificate.
    Stranger {
        found: Fingerprint,
        expected: Fingerprint,
    },
    /// TLS fails.
    Tls(std::io::Error),
}

impl Distrust {
    pub(super) fn at(self, endpoint: &str) -> RapiError {
        let endpoint = endpoint.to_owned();
        match self {
            Self::Stranger { found, expected } => RapiError::Stranger {
                endpoint,
                found,
                expected,
            },
            Self::Tls(source) => RapiError::Connect { endpoint, source },
        }
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Distrust {
    Distrust::Tls(std::io::Error::other(error))
}

impl Trust {
    /// Speaks TLS, and returns only who is trusted: nothing was sent yet.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<SslStream<TcpStream>, Distrust> {
        let connector = self.connector().map_err(failed)?;
        let by_name = matches!(self, Self::Authority(_));
        let configured = connector.configure().map_err(failed)?;
        let ssl = configured
            .use_server_name_indication(by_name)
            .verify_hostname(by_name)
            .into_ssl(host)
            .map_err(failed)?;
        let mut stream = SslStream::new(ssl, stream).map_err(failed)?;
        Pin::new(&mut stream).connect().await.map_err(failed)?;
        if let Self::Pinned(expected) = self {
            let found = shown(&stream)?;
            if found != *expected {
                let expected = *expected;
                return Err(Distrust::Stranger { found, expected });
            }
        }
        Ok(stream)
    }

    fn connector(&self) -> Result<SslConnector, openssl::error::ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        match self {
            // The certificate is compared as a whole, once the handshake has shown that its key is there.
            Self::Pinned(_) => builder.set_verify(SslVerifyMode::NONE),
            Self::Authority(pem) => {
                let mut store = X509StoreBuilder::new()?;
                for certificate in X509::stack_from_pem(pem.as_bytes())? {
                    store.add_cert(certificate)?;
                }
                builder.set_cert_store(store.build());
                builder.set_verify(SslVerifyMode::PEER);
            }
        }
        Ok(builder.build())
    }
}

/// The fingerprint of the certificate that the other side shows.
fn shown(stream: &SslStream<TcpStream>) -> Result<Fingerprint, Distrust> {
    let certificate = stream.ssl().peer_certificate();
    let certificate = certificate.ok_or_else(|| failed("no certificate is shown"))?;
    let digest = certificate
        .digest(MessageDigest::sha256())
        .map_err(failed)?;
    let bytes = <[u8; 32]>::try_from(&*digest).map_err(failed)?;
    Ok(Fingerprint(bytes))
}

/// Asks a host for its certificate's fingerprint, for an operator to compare; nothing is trusted, nothing sent.
///
/// # Errors
/// Nobody is reached, or it speaks no TLS.
pub async fn look(host: &str, port: u16) -> std::io::Result<Fingerprint> {
    let stream = TcpStream::connect((host, port)).await?;
    // Nobody's fingerprint: what is found is told by the mismatch.
    let nobody = Trust::Pinned(Fingerprint([0; 32]));
    match nobody.connect(host, stream).await {
        Err(Distrust::Stranger { found, .. }) => Ok(found),
        Err(Distrust::Tls(error)) => Err(error),
        Ok(_) => Ok(Fingerprint([0; 32])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_as_openssl_prints_it() {
        let text = ["AB:0F"; 16].join(":");
        let fingerprint: Fingerprint = text.parse().unwrap();
        assert_eq!(fingerprint.to_string(), text);
        let plain = text.replace(':', "").to_lowercase();
        assert_eq!(plain.parse(), Ok(fingerprint));
        for wrong in [
            "",
            "AB",
            &plain[1..],
            &format!("{plain}00"),
            &"zz".repeat(32),
        ] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
