//! Secrets of people: passwords are kept as argon2id, long random texts (tokens, credentials' secrets) as SHA-256.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use openssl::base64::encode_block;
use openssl::error::ErrorStack;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Passwords that are looked at at once: each takes 19 MiB.
static TURNS: Semaphore = Semaphore::const_new(4);

/// Why there is no new secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The system gives no random numbers.
    #[error("draw random numbers")]
    Random(#[source] ErrorStack),
    /// The password cannot be digested.
    #[error("digest a password: {0}")]
    Digest(argon2::password_hash::Error),
    /// The work was cut off.
    #[error("digest a password")]
    Cut(#[source] tokio::task::JoinError),
}

/// A random text that fits into URLs, of 32 random bytes.
///
/// # Errors
/// The system gives no random numbers.
pub fn random() -> Result<String, SecretError> {
    let mut bytes = [0; 32];
    openssl::rand::rand_bytes(&mut bytes).map_err(SecretError::Random)?;
    let text = encode_block(&bytes).replace('+', "-").replace('/', "_");
    Ok(text.trim_end_matches('=').to_owned())
}

/// What is kept of a long random text: SHA-256, hexadecimal.
#[must_use]
pub fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether this is the text whose digest it is; takes as long whatever differs.
#[must_use]
pub fn matches(text: &str, kept: &str) -> bool {
    let digest = digest(text);
    digest.len() == kept.len() && openssl::memcmp::eq(digest.as_bytes(), kept.as_bytes())
}

/// What is kept of a password: argon2id, as a PHC string. Takes tens of milliseconds: not on a thread that others wait for.
///
/// # Errors
/// The system gives no random numbers, or the password is gigabytes long.
pub fn digest_password(password: &str) -> Result<String, SecretError> {
    let digest = Argon2::default().hash_password(password.as_bytes());
    digest
        .map(|digest| digest.to_string())
        .map_err(SecretError::Digest)
}

/// [`digest_password`], on a thread of its own.
///
/// # Errors
/// As there, or the program ends meanwhile.
pub async fn new_password(password: String) -> Result<String, SecretError> {
    let _turn = TURNS.acquire().await;
    let task = tokio::task::spawn_blocking(move || digest_password(&password));
    task.await.map_err(SecretError::Cut)?
}

/// Whether this is the password; takes as long where there is none.
fn is_password(password: &str, kept: Option<&str>) -> bool {
    let Some(parsed) = kept.and_then(|kept| PasswordHash::new(kept).ok()) else {
        // Who asks must not learn from the time that there is no such user.
        let _ = Argon2::default().hash_password(password.as_bytes());
        return false;
    };
    Argon2::default()
        .verify_password(password.as_bytes(), &parsed)
        .is_ok()
}

/// Whether this is the password, found out on a thread of its own.
///
/// # Errors
/// The program ends meanwhile.
pub async fn check_password(password: String, kept: Option<String>) -> Result<bool, SecretError> {
    let _turn = TURNS.acquire().await;
    let task = tokio::task::spawn_blocking(move || is_password(&password, kept.as_deref()));
    task.await.map_err(SecretError::Cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_fits_its_digest() {
        let kept = digest_password("correct horse").unwrap();
        assert!(kept.starts_with("$argon2id$v=19$"), "{kept}");
        assert_ne!(kept, digest_password("correct horse").unwrap());
        assert!(is_password("correct horse", Some(&kept)));
        assert!(!is_password("correct horses", Some(&kept)));
        assert!(!is_password("", Some("")));
        assert!(!is_password("x", None));
    }

    #[test]
    fn random_texts_are_long_and_go_into_urls() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 43);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert!(one.bytes().all(fits), "{one}");
        assert!(matches(&one, &digest(&one)) && !matches(&other, &digest(&one)));
    }
}
