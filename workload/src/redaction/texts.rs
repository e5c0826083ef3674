//! The texts of an event that others go on with: what a model says comes in pieces, and a secret may begin in one and end in another.

use crate::json::{Json, Read};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

/// Fields that hold pieces, in all dialects.
const GROWING: [&str; 11] = [
    "content",
    "text",
    "arguments",
    "delta",
    "partial_json",
    "reasoning",
    "reasoning_content",
    "thinking",
    "refusal",
    "input",
    "code",
];
/// Fields that tell which of several texts a piece belongs to.
const TELLING: [&str; 6] = ["index", "output_index", "content_index", "summary_index", "item_id", "voice"];

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it is, without its quotes, bytes of the data.
    pub(super) place: Range<usize>,
    /// Which text it belongs to.
    pub(super) text: u64,
}

/// The pieces in the data of an event; nothing where it is no JSON.
pub(super) fn pieces(data: &str) -> Option<Vec<Piece>> {
    let (mut pieces, mut json) = (Vec::new(), Json::new(data));
    object(&mut json, 0, &mut pieces).ok()?;
    json.end().ok()?;
    Some(pieces)
}

fn object(json: &mut Json<'_>, path: u64, pieces: &mut Vec<Piece>) -> Read<()> {
    let (first, mut told) = (pieces.len(), 0);
    json.object(|json, name| {
        if TELLING.contains(&&*name) {
            // The order of fields says nothing.
            told ^= joined(joined(0, &name), json.value()?);
            return Ok(());
        }
        value(json, joined(path, &name), GROWING.contains(&&*name), pieces)
    })?;
    if told != 0 {
        pieces[first..].iter_mut().for_each(|piece| piece.text = joined(piece.text, told));
    }
    Ok(())
}

fn value(json: &mut Json<'_>, path: u64, grows: bool, pieces: &mut Vec<Piece>) -> Read<()> {
    match json.peek() {
        Some(b'{') => object(json, path, pieces),
        Some(b'[') => json.array(|json, _| value(json, path, grows, pieces)),
        Some(b'"') if grows => {
            let start = json.position() + 1;
            let length = json.value()?.len() - 2;
            pieces.push(Piece { place: start..start + length, text: path });
            Ok(())
        }
        _ => json.value().map(drop),
    }
}

fn joined(before: u64, next: impl std::hash::Hash) -> u64 {
    let mut hash = DefaultHasher::new();
    (before, next).hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of the data is a piece, and of which text: of the first, the second...
    fn told<'a>(events: &[&'a str]) -> Vec<(&'a str, usize)> {
        let mut texts = Vec::new();
        let mut told = Vec::new();
        for data in events {
            for Piece { place, text } in pieces(data).unwrap() {
                let known = texts.iter().position(|known| *known == text).unwrap_or_else(|| {
                    texts.push(text);
                    texts.len() - 1
                });
                told.push((&data[place], known));
            }
        }
        told
    }

    #[test]
    fn pieces_of_one_text_are_known_by_where_they_are_in_every_dialect() {
        let chat = [
            r#"{"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":"x"}}]}"#,
            r#"{"id":"a","choices":[{"delta":{"content":"y","reasoning_content":"r"},"index":1}]}"#,
            r#"{"id":"a","choices":[{"index":0,"delta":{"content":"z"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"name":"f","arguments":"{\"a"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"b"}}]}}]}"#,
        ];
        let expected = [("x", 0), ("y", 1), ("r", 2), ("z", 0), ("{\\\"a", 3), ("b", 3)];
        assert_eq!(told(&chat), expected);
        let messages = [
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"y"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"z"}}"#,
        ];
        assert_eq!(told(&messages), [("x", 0), ("y", 1), ("z", 0)]);
        let responses = [
            r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"x"}"#,
            r#"{"type":"response.output_text.delta","item_id":"m","output_index":1,"content_index":0,"delta":"y"}"#,
            r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"z"}"#,
        ];
        assert_eq!(told(&responses), [("x", 0), ("y", 1), ("z", 0)]);
        let voices = [
            r#"{"type":"voice.delta","voice":"developer","text":"x"}"#,
            r#"{"type":"voice.delta","voice":"tester","text":"y"}"#,
            r#"{"type":"voice.delta","voice":"developer","text":"z"}"#,
        ];
        assert_eq!(told(&voices), [("x", 0), ("y", 1), ("z", 0)]);
    }

    #[test]
    fn what_is_no_document_has_none() {
        assert_eq!(pieces("[DONE]"), None);
        assert_eq!(pieces("{\"text\":\"x\""), None);
    }
}
