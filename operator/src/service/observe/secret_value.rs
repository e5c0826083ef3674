//! The credential that is taken out of a Secret. Pure.

use codecrucible_crds::SecretKeyReference;
use k8s_openapi::api::core::v1::Secret;

/// Longest credential, bytes: it becomes a header, and few servers take longer ones.
pub(crate) const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;
/// Why a credential cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingCredential {
    Secret,
    Key,
    NotText,
    TooLong,
}

pub(super) fn value_at(
    secret: Option<Secret>,
    reference: &SecretKeyReference,
) -> Result<String, MissingCredential> {
    let mut data = secret.ok_or(MissingCredential::Secret)?.data.unwrap_or_default();
    let value = data.remove(&reference.key).ok_or(MissingCredential::Key)?;
    if value.0.len() > MAX_CREDENTIAL_BYTES {
        return Err(MissingCredential::TooLong);
    }
    let text = String::from_utf8(value.0).map_err(|_| MissingCredential::NotText)?;
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_control) {
        Err(MissingCredential::NotText)
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    #[test]
    fn a_credential_is_one_line_of_text() {
        let read = |value: &[u8]| {
            let secret = json!({"data": {"k": STANDARD.encode(value)}});
            let reference = SecretKeyReference { name: "s".into(), key: "k".into() };
            value_at(Some(serde_json::from_value(secret).unwrap()), &reference)
        };
        assert_eq!(read(b" token\n"), Ok("token".into()));
        for bad in [&b""[..], b" \n", b"two\nlines", b"\xff"] {
            assert_eq!(read(bad), Err(MissingCredential::NotText), "{bad:?}");
        }
        assert_eq!(read(&[b'x'; MAX_CREDENTIAL_BYTES + 1]), Err(MissingCredential::TooLong));
    }
}
