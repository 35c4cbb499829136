//! Public keys of SSH: a line of `authorized_keys` without options (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4,
//! OpenSSH's `PROTOCOL.u2f`). Reading is pure.

use openssl::base64::{decode_block, encode_block};
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::rsa::Rsa;

/// Why a line is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not `KIND BASE64 COMMENT`.
    #[error("a public key is a line of a kind, its base64 and a comment")]
    Line,
    /// The kind is unknown, or no longer safe.
    #[error(
        "the kind of key is not one of ssh-ed25519, ssh-rsa, ecdsa-sha2-nistp256, -384, -521 and their sk- forms"
    )]
    Kind,
    /// The base64 is not what its kind says.
    #[error("the key's base64 does not hold a key of its kind")]
    Blob,
    /// An RSA key is too short.
    #[error("an RSA key has at least 1024 bits")]
    Short,
}

/// Longest line that is kept, bytes: an RSA key of 16,384 bits has 2,700.
const LONGEST: usize = 16 * 1024;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    blob: Vec<u8>,
}

/// Takes fields off a blob: each is four bytes of length, and the bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }
}

impl PublicKey {
    /// Reads a line.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let line = line.trim();
        if line.len() > LONGEST || line.contains(['\n', '\r', '\0']) {
            return Err(KeyError::Line);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), Some(text)) = (words.next(), words.next()) else {
            return Err(KeyError::Line);
        };
        let blob = decode_block(text).map_err(|_| KeyError::Blob)?;
        Self::check(kind, &blob)?;
        // OpenSSL overlooks some of what is no base64.
        if encode_block(&blob) != text {
            return Err(KeyError::Blob);
        }
        Ok(Self { blob })
    }

    fn check(kind: &str, blob: &[u8]) -> Result<(), KeyError> {
        let mut fields = Fields(blob);
        let mut next = || fields.next().ok_or(KeyError::Blob);
        if next()? != kind.as_bytes() {
            return match Self::is_known(kind) {
                true => Err(KeyError::Blob),
                false => Err(KeyError::Kind),
            };
        }
        let is_right = match kind {
            "ssh-ed25519" => next()?.len() == 32,
            "sk-ssh-ed25519@openssh.com" => next()?.len() == 32 && !next()?.is_empty(),
            "ssh-rsa" => {
                let exponent = next()?;
                let modulus = next()?;
                let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
                if modulus.len() < 128 {
                    return Err(KeyError::Short);
                }
                !exponent.is_empty()
            }
            "ecdsa-sha2-nistp256" => next()? == b"nistp256" && next()?.len() == 65,
            "ecdsa-sha2-nistp384" => next()? == b"nistp384" && next()?.len() == 97,
            "ecdsa-sha2-nistp521" => next()? == b"nistp521" && next()?.len() == 133,
            "sk-ecdsa-sha2-nistp256@openssh.com" => {
                next()? == b"nistp256" && next()?.len() == 65 && !next()?.is_empty()
            }
            _ => return Err(KeyError::Kind),
        };
        if is_right && fields.0.is_empty() {
            return Ok(());
        }
        Err(KeyError::Blob)
    }

    fn is_known(kind: &str) -> bool {
        let kinds = [
            "ssh-ed25519",
            "sk-ssh-ed25519@openssh.com",
            "ssh-rsa",
            "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp384",
            "ecdsa-sha2-nistp521",
            "sk-ecdsa-sha2-nistp256@openssh.com",
        ];
        kinds.contains(&kind)
    }

    /// Its MD5, as `ssh-keygen -l -E md5` prints it: what Nova shows.
    ///
    /// # Errors
    /// OpenSSL refuses MD5.
    pub fn fingerprint(&self) -> Result<String, ErrorStack> {
        let digest = hash(MessageDigest::md5(), &self.blob)?;
        let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(pairs.join(":"))
    }
}

/// A new key: the private one as PEM, and the public one's line.
///
/// # Errors
/// OpenSSL's own. It takes a while: not on a thread that others wait for.
pub fn generate(comment: &str) -> Result<(String, String), ErrorStack> {
    let key = Rsa::generate(2048)?;
    let private = String::from_utf8_lossy(&key.private_key_to_pem()?).into_owned();
    let mut blob = Vec::new();
    let mut put = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        blob.extend(length.to_be_bytes());
        blob.extend(bytes);
    };
    // A number whose first bit is set gets a zero before it: it is not negative.
    let positive = |number: Vec<u8>| match number.first() {
        Some(first) if first & 0x80 != 0 => [vec![0], number].concat(),
        _ => number,
    };
    put(b"ssh-rsa");
    put(&positive(key.e().to_vec()));
    put(&positive(key.n().to_vec()));
    Ok((
        private,
        format!("ssh-rsa {} {comment}", encode_block(&blob)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFgmbuhEkWmkq0X79hsA8IsuLhjTNDKSbjYvDwzlpJY me@here";

    #[test]
    fn a_line_is_a_key_of_its_kind_or_refused() {
        let key = PublicKey::parse(ED25519).unwrap();
        assert_eq!(
            key,
            PublicKey::parse(&format!("  {ED25519} and more\n")).unwrap()
        );
        for (line, error) in [
            ("", KeyError::Line),
            ("ssh-ed25519", KeyError::Line),
            ("ssh-ed25519 AAAA\nssh-rsa AAAA", KeyError::Line),
            ("ssh-dss AAAAB3NzaC1kc3MAAAAA", KeyError::Kind),
            ("ssh-ed25519 !!!!", KeyError::Blob),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFg", KeyError::Blob),
            (
                "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIGFgmbuhEkWmkq0X79hsA8IsuLhjTNDKSbjYvDwzlpJY",
                KeyError::Blob,
            ),
            (
                "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAABAECAwQ=",
                KeyError::Short,
            ),
        ] {
            assert_eq!(PublicKey::parse(line), Err(error), "{line}");
        }
    }

    #[test]
    fn a_key_we_make_is_one_we_take() {
        let (private, public) = generate("made").unwrap();
        assert!(private.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
        let key = PublicKey::parse(&public).unwrap();
        let fingerprint = key.fingerprint().unwrap();
        assert_eq!(fingerprint.len(), 47);
        assert_eq!(fingerprint.matches(':').count(), 15);
    }
}
