//! A certificate like the one Ganeti makes for its remote API: X.509 version 1, self-signed, without the host's name.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Builder, X509NameBuilder};

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub certificate: X509,
    /// Its key.
    pub key: PKey<Private>,
}

impl Certificate {
    /// Makes one.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn make() -> Result<Self, ErrorStack> {
        let key = PKey::from_rsa(Rsa::generate(2048)?)?;
        let mut name = X509NameBuilder::new()?;
        name.append_entry_by_text("CN", "ganeti.example.com")?;
        let name = name.build();
        let mut builder = X509Builder::new()?;
        // Version 1 is written as 0: no extensions, so no names of hosts.
        builder.set_version(0)?;
        let serial = BigNum::from_u32(1)?.to_asn1_integer()?;
        builder.set_serial_number(&serial)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(&name)?;
        let (from, until) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(1825)?);
        builder.set_not_before(&from)?;
        builder.set_not_after(&until)?;
        builder.set_pubkey(&key)?;
        builder.sign(&key, MessageDigest::sha256())?;
        let certificate = builder.build();
        Ok(Self { certificate, key })
    }

    /// SHA-256, as `openssl x509 -fingerprint -sha256` prints it.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn fingerprint(&self) -> Result<String, ErrorStack> {
        let digest = self.certificate.digest(MessageDigest::sha256())?;
        let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(bytes.join(":"))
    }
}
