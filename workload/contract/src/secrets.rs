//! The random values that the configuration's folders hold. The operator makes them in a cluster, and
//! `workload init` outside of one; both write what the workload reads.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Characters on a line of PEM (RFC 7468, section 2).
const PEM_LINE_CHARACTERS: usize = 64;

/// The system gave no randomness, or the library failed, which it does for a key that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret could not be made")]
pub struct SecretError;

/// A new 2048-bit RSA key, PKCS#8 in PEM (RFC 7468). Takes a noticeable part of a second.
pub fn signing_key_pem() -> Result<String, SecretError> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SecretError)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| SecretError)?;
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(PEM_LINE_CHARACTERS)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")))
}

/// Different characters that a random token has at least.
const MIN_DIFFERENT_CHARACTERS: usize = 16;
/// Characters of a random token: 256 bits, six in each.
const TOKEN_CHARACTERS: usize = 43;

/// Whether a text looks like one of [`random_token`]'s. One that a person chose may be weak, and then its hash tells it.
pub fn is_random_token(text: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let mut seen = [false; 128];
    text.bytes().filter(u8::is_ascii).for_each(|byte| seen[usize::from(byte)] = true);
    // Of 64 characters, 43 random ones show about 31 and hardly ever fewer than 16.
    let different = seen.iter().filter(|seen| **seen).count();
    text.len() == TOKEN_CHARACTERS && text.bytes().all(is_of_it) && different >= MIN_DIFFERENT_CHARACTERS
}

/// 256 random bits, URL-safe.
pub fn random_token() -> Result<String, SecretError> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SecretError)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_secrets_are_the_same() {
        assert_ne!(random_token().unwrap(), random_token().unwrap());
        assert!((0..100).all(|_| is_random_token(&random_token().unwrap())));
        for chosen in ["", "hunter2", &"a".repeat(43), &"correct-horse-battery-staple".repeat(2)] {
            assert!(!is_random_token(chosen), "{chosen}");
        }
    }

    #[test]
    fn a_signing_key_has_lines_that_every_pem_reader_takes() {
        let pem = signing_key_pem().unwrap();
        assert!(
            pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.ends_with("-----END PRIVATE KEY-----\n")
        );
        assert!(pem.lines().all(|line| line.len() <= PEM_LINE_CHARACTERS));
        assert_ne!(pem, signing_key_pem().unwrap());
    }
}
