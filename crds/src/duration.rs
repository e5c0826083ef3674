//! Durations as people write them in a resource: `15m`, `500ms`, `7d`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// One number and one unit, as written. The schema holds it to [`PATTERN`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(String);

/// One to six digits and a unit.
const PATTERN: &str = "^[1-9][0-9]{0,5}(ms|s|m|h|d)$";

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError;

impl Duration {
    /// A duration from the text of a constant or a default; not checked.
    pub fn literal(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The length. The schema keeps objects that break the rule from ever being stored, but an object
    /// that is older than the schema may still arrive.
    pub fn get(&self) -> Result<std::time::Duration, DurationError> {
        self.0.parse::<Parsed>().map(|Parsed(length)| length)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

struct Parsed(std::time::Duration);

impl FromStr for Parsed {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let milliseconds_per_unit: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(DurationError),
        };
        if number.is_empty() || number.len() > 6 || number.starts_with('0') {
            return Err(DurationError);
        }
        let number: u64 = number.parse().map_err(|_| DurationError)?;
        Ok(Self(std::time::Duration::from_millis(number * milliseconds_per_unit)))
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number and a unit: ms, s, m, h or d.",
            "maxLength": 8,
            "pattern": PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_its_length() {
        let seconds = |text: &str| Duration::literal(text).get().unwrap().as_secs_f64();
        assert_eq!(seconds("500ms"), 0.5);
        assert_eq!(seconds("30s"), 30.0);
        assert_eq!(seconds("15m"), 900.0);
        assert_eq!(seconds("2h"), 7200.0);
        assert_eq!(seconds("999999d"), 999_999.0 * 86_400.0);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "5", "s", "0s", "05s", "-5s", "1.5s", "5 s", "5w", "1000000s", "1h30m"] {
            assert_eq!(Duration::literal(text).get(), Err(DurationError), "{text}");
        }
    }
}
