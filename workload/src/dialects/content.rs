//! The content of a message, which all dialects with parts write in two ways: as a text, or as a list of parts.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A text, or parts.
pub(super) enum Content<P> {
    Text(String),
    Parts(Vec<P>),
}

impl<'de, P: Deserialize<'de>> Deserialize<'de> for Content<P> {
    /// By its first letter, so that what is wrong with a part is what the error says.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let read = if raw.starts_with('[') {
            serde_json::from_str(raw).map(Self::Parts)
        } else {
            serde_json::from_str(raw).map(Self::Text)
        };
        read.map_err(serde::de::Error::custom)
    }
}
