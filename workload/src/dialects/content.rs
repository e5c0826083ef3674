//! The content of a message, which all dialects with parts write in two ways: as a text, or as a list of parts.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A text, or parts.
pub(super) enum Content<P> {
    Text(String),
    Parts(Vec<P>),
}

impl<'de, P: DeserializeOwned> Deserialize<'de> for Content<P> {
    /// By its first letter, so that what is wrong with a part is what the error says.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let read = if raw.get().starts_with('[') {
            serde_json::from_str(raw.get()).map(Self::Parts)
        } else {
            serde_json::from_str(raw.get()).map(Self::Text)
        };
        read.map_err(serde::de::Error::custom)
    }
}
