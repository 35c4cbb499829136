//! Secrets in the database: XChaCha20-Poly1305 under a key that is in a file, and told by its number.
//!
//! The key file has a line for each key, `NUMBER:BASE64 OF 32 BYTES`; the last line's key seals, all of them open. To change
//! the key add a line; what was sealed before is still opened, and is sealed anew when its row is next written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use openssl::base64::{decode_block, encode_block};

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of a nonce.
const NONCE: usize = 24;

/// Why secrets cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file cannot be read.
    #[error("read the key file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Others may read the key file.
    #[error("{}: others may read it (mode {mode:04o}): chmod 600", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A line of the key file is no key.
    #[error("{}:{line}: not NUMBER:BASE64 OF 32 BYTES, as `snf-controller bootstrap` writes it", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number.
        line: usize,
    },
    /// The key file has no key.
    #[error("{}: there is no key in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// What is sealed was sealed under a key that is not in the file.
    #[error("sealed under key {0}, which the key file does not have")]
    NoKey(u32),
    /// What is sealed was changed, or is of another row.
    #[error("this was not sealed here, or was changed since")]
    Changed,
}

/// The keys.
#[derive(Clone)]
pub struct Seal {
    keys: BTreeMap<u32, XChaCha20Poly1305>,
    newest: u32,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal")
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

/// A line for a new key file.
#[must_use]
pub fn new_key() -> String {
    let key = chacha20poly1305::Key::generate();
    format!("1:{}\n", encode_block(&key))
}

impl Seal {
    /// Reads the key file, which nobody but its owner may read.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let failed = |source| SealError::Read {
            path: path.to_owned(),
            source,
        };
        let mode = fs::metadata(path).map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SealError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        Self::parse(&fs::read_to_string(path).map_err(failed)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, SealError> {
        let mut keys = BTreeMap::new();
        let mut newest = None;
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let key = line.trim().split_once(':').and_then(|(id, key)| {
                let key = <[u8; KEY]>::try_from(decode_block(key).ok()?).ok()?;
                Some((id.parse::<u32>().ok()?, key))
            });
            let Some((id, key)) = key else {
                return Err(SealError::Line {
                    path: path.to_owned(),
                    line: number + 1,
                });
            };
            keys.insert(id, XChaCha20Poly1305::new(&key.into()));
            newest = Some(id);
        }
        let newest = newest.ok_or_else(|| SealError::Empty {
            path: path.to_owned(),
        })?;
        Ok(Self { keys, newest })
    }

    /// Seals a secret for one place: `place` names table, row and column, and is not in what comes out.
    ///
    /// # Errors
    /// Only for a secret of gigabytes.
    pub fn seal(&self, secret: &str, place: &str) -> Result<String, SealError> {
        let nonce = XNonce::generate();
        let key = self.keys.get(&self.newest);
        let key = key.ok_or(SealError::NoKey(self.newest))?;
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = key
            .encrypt(&nonce, payload)
            .map_err(|_| SealError::Changed)?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(format!("{}:{}", self.newest, encode_block(&bytes)))
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// It was not, or under a key that is not there.
    pub fn open(&self, sealed: &str, place: &str) -> Result<String, SealError> {
        let (id, text) = sealed.split_once(':').ok_or(SealError::Changed)?;
        let id = id.parse().map_err(|_| SealError::Changed)?;
        let key = self.keys.get(&id).ok_or(SealError::NoKey(id))?;
        let bytes = decode_block(text).map_err(|_| SealError::Changed)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE).ok_or(SealError::Changed)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| SealError::Changed)?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        let secret = key
            .decrypt(&nonce, payload)
            .map_err(|_| SealError::Changed)?;
        String::from_utf8(secret).map_err(|_| SealError::Changed)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn seal(text: &str) -> Seal {
        Seal::parse(text, Path::new("keys")).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only_and_never_looks_the_same() {
        let keys = seal(&new_key());
        let sealed = keys.seal("secret", "backends/1/rapi_password").unwrap();
        assert!(!sealed.contains("secret"));
        assert_ne!(
            sealed,
            keys.seal("secret", "backends/1/rapi_password").unwrap()
        );
        assert_eq!(
            keys.open(&sealed, "backends/1/rapi_password").unwrap(),
            "secret"
        );
        let elsewhere = keys.open(&sealed, "backends/2/rapi_password");
        assert!(matches!(elsewhere, Err(SealError::Changed)));
        for changed in ["", "1:", "1:AAAA", "x", &sealed[..sealed.len() - 4]] {
            assert!(
                keys.open(changed, "backends/1/rapi_password").is_err(),
                "{changed}"
            );
        }
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_still_opens() {
        let first = new_key();
        let old = seal(&first).seal("secret", "here").unwrap();
        let both = seal(&format!("{first}{}", new_key().replacen("1:", "2:", 1)));
        assert_eq!(both.open(&old, "here").unwrap(), "secret");
        let new = both.seal("secret", "here").unwrap();
        assert!(new.starts_with("2:"));
        assert!(matches!(
            seal(&first).open(&new, "here"),
            Err(SealError::NoKey(2))
        ));
    }

    #[test]
    fn a_key_file_is_for_its_owner_and_each_line_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        assert!(matches!(Seal::read(&path), Err(SealError::Read { .. })));
        fs::write(&path, new_key()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Seal::read(&path),
            Err(SealError::Open { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Seal::read(&path).unwrap();
        fs::write(&path, "1:c2hvcnQ=\n").unwrap();
        assert!(matches!(
            Seal::read(&path),
            Err(SealError::Line { line: 1, .. })
        ));
        fs::write(&path, "\n").unwrap();
        assert!(matches!(Seal::read(&path), Err(SealError::Empty { .. })));
    }
}
