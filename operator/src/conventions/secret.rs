//! What is in Secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The content of a Secret with these texts.
pub(crate) fn secret<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let data: Map<String, Value> =
        texts.into_iter().map(|(key, text)| (key.to_owned(), STANDARD.encode(text).into())).collect();
    if data.is_empty() {
        // The API server drops an empty map, which would look like drift.
        return json!({"type": "Opaque"});
    }
    json!({"type": "Opaque", "data": data})
}

/// The text at a key of a Secret, given as everything but its metadata.
pub(crate) fn text_at(secret: &Value, key: &str) -> Option<String> {
    let encoded = secret.get("data")?.get(key)?.as_str()?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}
