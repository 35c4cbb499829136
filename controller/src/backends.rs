//! Clusters: how they are spoken to.

pub mod refresh;

use crate::db::entity::backend;
use crate::rapi::{Endpoint, Fingerprint, NoFingerprint, Rapi, Trust};
use crate::seal::{Seal, SealError};

/// Why a cluster's row does not tell how to speak to it.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Its password cannot be opened.
    #[error("open the RAPI password of {backend}")]
    Password {
        /// The cluster's name.
        backend: String,
        /// Why not.
        #[source]
        source: SealError,
    },
    /// Its fingerprint is none.
    #[error("the certificate of {backend}")]
    Fingerprint {
        /// The cluster's name.
        backend: String,
        /// Why not.
        #[source]
        source: NoFingerprint,
    },
    /// Its trust or port is of no kind we know.
    #[error("{backend}: {column} = {value:?} means nothing here")]
    Unknown {
        /// The cluster's name.
        backend: String,
        /// Where.
        column: &'static str,
        /// What.
        value: String,
    },
}

/// `backends.trust_kind` of a certificate that is known by its SHA-256.
pub const TRUST_FINGERPRINT: &str = "fingerprint";
/// `backends.trust_kind` of an authority's PEM.
pub const TRUST_AUTHORITY: &str = "authority";

/// What a cluster's RAPI password is sealed for.
#[must_use]
pub fn password_place(uuid: uuid::Uuid) -> String {
    format!("backends/{uuid}/rapi_password")
}

/// The remote API of a cluster. Nothing is sent yet.
///
/// # Errors
/// See [`BackendError`].
pub fn rapi(seal: &Seal, backend: &backend::Model) -> Result<Rapi, BackendError> {
    let name = || backend.name.clone();
    let password = seal.open(&backend.rapi_password, &password_place(backend.uuid));
    let password = password.map_err(|source| BackendError::Password {
        backend: name(),
        source,
    })?;
    let unknown = |column, value: String| BackendError::Unknown {
        backend: name(),
        column,
        value,
    };
    let trust = match backend.trust_kind.as_str() {
        TRUST_FINGERPRINT => {
            let fingerprint: Result<Fingerprint, _> = backend.trust.parse();
            let fingerprint = fingerprint.map_err(|source| BackendError::Fingerprint {
                backend: name(),
                source,
            })?;
            Trust::Pinned(fingerprint)
        }
        TRUST_AUTHORITY => Trust::Authority(backend.trust.clone()),
        other => return Err(unknown("trust_kind", other.to_owned())),
    };
    let port = u16::try_from(backend.port);
    let port = port.map_err(|_| unknown("port", backend.port.to_string()))?;
    Ok(Rapi::new(Endpoint {
        host: backend.host.clone(),
        port,
        user: backend.rapi_user.clone(),
        password,
        trust,
    }))
}
