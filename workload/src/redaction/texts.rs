//! The texts of an event that others go on with: what a model says comes in pieces, and a secret may begin in one and end in another.

use crate::json::{Json, Read};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

/// Fields that hold pieces, in all dialects.
const GROWING: [&str; 14] = [
    "content",
    "text",
    "arguments",
    "input",
    "delta",
    "partial_json",
    "reasoning",
    "reasoning_content",
    "thinking",
    "summary",
    "refusal",
    "transcript",
    "stdout",
    "stderr",
];
/// Fields that tell which of several speakers a piece is of: a choice, a block, an item, a voice. Not the part of an item: some servers count it up with each piece.
const SPEAKERS: [&str; 3] = ["index", "output_index", "voice"];
/// How the type of an event ends that has pieces. In dialects whose events have types, the others repeat what was said, or tell that it is over.
const MORE: &str = "delta\"";
/// Those after which nobody says anything.
const LAST: [&str; 5] = [
    "\"message_stop\"",
    "\"response.completed\"",
    "\"response.incomplete\"",
    "\"response.failed\"",
    "\"error\"",
];
/// What is said in the place of a reason while an answer goes on.
const NO_REASON: [&str; 2] = ["null", "\"\""];

/// What an event says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Saying {
    /// Pieces of texts, in their order.
    pub(super) pieces: Vec<Piece>,
    /// Who says no more of what was begun.
    pub(super) over: Vec<u64>,
    /// Whether nobody does.
    pub(super) is_last: bool,
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it is, without its quotes, bytes of the data.
    pub(super) place: Range<usize>,
    /// Which text it belongs to.
    pub(super) text: u64,
    /// In which field it is: several texts of one speaker may be beside each other in the same one, as calls of tools are.
    pub(super) field: u64,
    /// Who says it.
    pub(super) speaker: u64,
}

/// What the data of an event says; nothing where it is no JSON.
pub(super) fn saying(data: &str) -> Option<Saying> {
    let mut reader = Reader::default();
    let mut json = Json::new(data);
    let speaker = reader.object(&mut json, 0).ok()?;
    json.end().ok()?;
    let Reader { mut pieces, mut over, kind, .. } = reader;
    if kind.is_some_and(|kind| !kind.ends_with(MORE)) {
        pieces.clear();
        over.push(speaker);
    }
    Some(Saying { pieces, over, is_last: kind.is_some_and(|kind| LAST.contains(&kind)) })
}

#[derive(Default)]
struct Reader<'a> {
    pieces: Vec<Piece>,
    over: Vec<u64>,
    /// Of the event, as it is written.
    kind: Option<&'a str>,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Takes an object; gives who is named in it.
    fn object(&mut self, json: &mut Json<'a>, path: u64) -> Read<u64> {
        let (first, mut speaker, mut is_over) = (self.pieces.len(), 0, false);
        self.depth += 1;
        json.object(|json, name| {
            match &*name {
                name if SPEAKERS.contains(&name) => speaker = joined(1, (name, json.value()?)),
                "type" if self.depth == 1 => self.kind = Some(json.value()?),
                "finish_reason" => is_over = !NO_REASON.contains(&json.value()?),
                name => self.value(json, joined(path, name), GROWING.contains(&name))?,
            }
            Ok(())
        })?;
        self.depth -= 1;
        for piece in &mut self.pieces[first..] {
            piece.text = joined(piece.text, speaker);
            // Who is named farther outside says all of it.
            piece.speaker = if speaker == 0 { piece.speaker } else { speaker };
        }
        if is_over {
            self.over.push(speaker);
        }
        Ok(speaker)
    }

    fn value(&mut self, json: &mut Json<'a>, path: u64, grows: bool) -> Read<()> {
        match json.peek() {
            Some(b'{') => self.object(json, path).map(drop),
            Some(b'[') => json.array(|json, _| self.value(json, path, grows)),
            Some(b'"') if grows => {
                let start = json.position() + 1;
                let length = json.value()?.len() - 2;
                if length > 0 {
                    self.pieces.push(Piece {
                        place: start..start + length,
                        text: path,
                        field: path,
                        speaker: 0,
                    });
                }
                Ok(())
            }
            _ => json.value().map(drop),
        }
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

    /// What of the data is a piece, of which text and of whom: of the first, the second...
    fn told<'a>(events: &[&'a str]) -> Vec<(&'a str, usize, usize)> {
        let (mut texts, mut speakers, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let number = |known: &mut Vec<u64>, new: u64| {
            known.iter().position(|known| *known == new).unwrap_or_else(|| {
                known.push(new);
                known.len() - 1
            })
        };
        for data in events {
            for Piece { place, text, speaker, .. } in saying(data).unwrap().pieces {
                told.push((&data[place], number(&mut texts, text), number(&mut speakers, speaker)));
            }
        }
        told
    }

    #[test]
    fn pieces_of_one_text_are_known_by_where_they_are_in_every_dialect() {
        let chat = [
            r#"{"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"id":"a","choices":[{"index":0,"delta":{"content":"x"}}]}"#,
            r#"{"id":"a","choices":[{"delta":{"content":"y","reasoning_content":"r"},"index":1}]}"#,
            r#"{"id":"a","choices":[{"index":0,"delta":{"content":"z"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"name":"f","arguments":"{\"a"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"b"}}]}}]}"#,
        ];
        let expected = [("x", 0, 0), ("y", 1, 1), ("r", 2, 1), ("z", 0, 0), ("{\\\"a", 3, 0), ("b", 3, 0)];
        assert_eq!(told(&chat), expected);
        let messages = [
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"y"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"z"}}"#,
        ];
        assert_eq!(told(&messages), [("x", 0, 0), ("y", 1, 1), ("z", 0, 0)]);
        let responses = [
            r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"x"}"#,
            r#"{"type":"response.output_text.delta","item_id":"m","output_index":1,"content_index":0,"delta":"y"}"#,
            r#"{"type":"response.output_text.delta","item_id":"n","output_index":0,"content_index":0,"delta":"z"}"#,
        ];
        assert_eq!(told(&responses), [("x", 0, 0), ("y", 1, 1), ("z", 0, 0)]);
        let counts_up = [
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":5,"delta":"x"}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":6,"delta":"y"}"#,
        ];
        assert_eq!(told(&counts_up), [("x", 0, 0), ("y", 0, 0)]);
        let voices = [
            r#"{"type":"voice.delta","voice":"developer","text":"x"}"#,
            r#"{"type":"voice.delta","voice":"tester","text":"y"}"#,
            r#"{"type":"voice.delta","voice":"developer","text":"z"}"#,
        ];
        assert_eq!(told(&voices), [("x", 0, 0), ("y", 1, 1), ("z", 0, 0)]);
    }

    #[test]
    fn who_has_ended_is_told_in_every_dialect_and_what_is_repeated_then_is_no_piece() {
        let speaker = |event: &str| saying(event).unwrap().pieces[0].speaker;
        for (said, ends) in [
            (
                r#"{"choices":[{"index":3,"delta":{"content":"x"}}]}"#,
                r#"{"choices":[{"index":3,"delta":{},"finish_reason":"stop"}]}"#,
            ),
            (
                r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"x"}}"#,
                r#"{"type":"content_block_stop","index":3}"#,
            ),
            (
                r#"{"type":"response.output_text.delta","output_index":3,"content_index":0,"delta":"x"}"#,
                r#"{"type":"response.output_text.done","output_index":3,"content_index":0,"text":"x"}"#,
            ),
            (
                r#"{"type":"voice.delta","voice":"v","text":"x"}"#,
                r#"{"type":"voice.finished","voice":"v","text":"x"}"#,
            ),
        ] {
            let Saying { pieces, over, is_last } = saying(ends).unwrap();
            assert!(pieces.is_empty() && over == [speaker(said)] && !is_last, "{ends}");
        }
        assert!(saying(r#"{"type":"response.completed","response":{}}"#).unwrap().is_last);
        for reason in NO_REASON {
            let goes_on = format!(
                r#"{{"choices":[{{"index":0,"delta":{{"content":"x"}},"finish_reason":{reason}}}]}}"#
            );
            assert!(saying(&goes_on).unwrap().over.is_empty(), "{reason}");
        }
    }

    #[test]
    fn what_is_no_document_says_nothing() {
        assert_eq!(saying("[DONE]"), None);
        assert_eq!(saying("{\"text\":\"x\""), None);
    }
}
