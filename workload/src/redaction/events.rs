//! A stream of events without secrets, also where one begins in one event and ends in another.
//!
//! Events stay as they are and in their order. One that holds what may be the beginning of a secret waits, and with it those behind it, until it is known
//! whether it is one, or until who says it has ended. What cannot be read for sure does not pass: others might read it.

use super::growing::{Change, Growing};
use super::held::HeldEvents;
use super::texts::{Piece, Saying, saying};
use super::{AnswerRedaction, Found};
use crate::backend::{BackendError, EventSplitter, data_line};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// Longest event, bytes: as long as a whole answer may be.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes of memory for events that wait in one stream. Beyond, all of them go on as what they seem to be.
const MAX_HELD_BYTES: usize = 1024 * 1024;
/// Pieces of other texts after which one that got none is over, and so most texts that are under way at once: of answers beside each other, each gets one in turn.
const MAX_OTHERS: u64 = 256;
/// What comes last in OpenAI's streams.
const END_MARK: &[u8] = b"[DONE]";

/// What passes of a stream.
pub struct RedactedEvents {
    redaction: Arc<AnswerRedaction>,
    /// Told of what is found, as it is.
    tell: Box<dyn Fn(&Found) + Send + Sync>,
    splitter: EventSplitter,
    texts: HashMap<u64, Growing>,
    held: HeldEvents,
    /// How many have come.
    pieces: u64,
    is_broken: bool,
}

impl RedactedEvents {
    /// Before the first event.
    pub fn new(redaction: Arc<AnswerRedaction>, tell: impl Fn(&Found) + Send + Sync + 'static) -> Self {
        Self {
            redaction,
            tell: Box::new(tell),
            splitter: EventSplitter::up_to(MAX_EVENT_BYTES),
            texts: HashMap::new(),
            held: HeldEvents::default(),
            pieces: 0,
            is_broken: false,
        }
    }

    /// What may go on now that more has come. What cannot be read, or is too long, is an error, unless secrets are only told of: then all passes as it comes.
    pub fn push(&mut self, bytes: &Bytes) -> Result<Bytes, BackendError> {
        let read = if self.is_broken { Ok(()) } else { self.read(bytes) };
        self.is_broken |= read.is_err();
        if self.redaction.documents.is_shadow {
            self.held.released();
            return Ok(bytes.clone());
        }
        // What came before is given with all that waits.
        read.map(|()| self.held.released())
    }

    /// All that waits: nothing comes any more.
    pub fn finish(&mut self) -> Bytes {
        let rest = self.splitter.rest();
        if !rest.is_empty() && !self.is_broken {
            // What is no event is left out.
            self.is_broken = self.event(rest).is_err();
        }
        self.end_texts(|_, _| true);
        let released = self.held.released();
        if self.redaction.documents.is_shadow { Bytes::new() } else { released }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        self.splitter.read(bytes)?.into_iter().try_for_each(|event| self.event(event))
    }

    fn event(&mut self, event: Bytes) -> Result<(), BackendError> {
        let data = data_line(&event)?;
        let saying = data.clone().and_then(|data| said(&event[data])).transpose()?;
        let number = self.held.push(event.clone());
        if self.redaction.documents.patterns.are_in(&event) {
            let pieces = saying.as_ref().map(|saying| &*saying.pieces);
            self.change(self.secrets_within(number, &event, data.clone(), pieces));
        }
        if let (Some(saying), Some(data)) = (saying, data.clone()) {
            self.take(number, &event, data.start, saying);
        }
        if data.is_some_and(|data| event[data].trim_ascii() == END_MARK) || self.held.bytes() > MAX_HELD_BYTES
        {
            self.end_texts(|_, _| true);
        }
        Ok(())
    }

    /// Those that are in this event alone: in strings that are no pieces, and in lines that are no document.
    fn secrets_within(
        &self,
        number: u64,
        event: &[u8],
        data: Option<Range<usize>>,
        pieces: Option<&[Piece]>,
    ) -> Vec<Change> {
        let patterns = &self.redaction.documents.patterns;
        let (mut changes, mut start) = (Vec::new(), 0);
        for line in event.split_inclusive(|byte| *byte == b'\n') {
            let place = start..start + line.trim_ascii_end().len();
            let document = data.clone().zip(pieces).filter(|(data, _)| place.contains(&data.start));
            match document {
                Some((data, pieces)) => {
                    let secrets = patterns.all(&event[data.clone()]);
                    let secrets = secrets.into_iter().filter(|secret| !is_piece(pieces, &secret.place));
                    changes.extend(secrets.map(|secret| {
                        let place = data.start + secret.place.start..data.start + secret.place.end;
                        Change { event: number, place, begins: Some(secret.pattern) }
                    }));
                }
                None => changes.extend(patterns.search(event, place).map(|secret| Change {
                    event: number,
                    place: secret.place,
                    begins: Some(secret.pattern),
                })),
            }
            start += line.len();
        }
        changes
    }

    /// Takes what an event says, whose data begins at a place of it.
    fn take(&mut self, number: u64, event: &[u8], offset: usize, saying: Saying) {
        let now: HashSet<u64> = saying.pieces.iter().map(|piece| piece.text).collect();
        for Piece { place, text, field, speaker } in saying.pieces {
            let pieces = self.pieces;
            // Who goes on in another field has ended what was before, unless both come together.
            self.end_texts(|other, growing| {
                let goes_on = growing.speaker != speaker || growing.field == field || now.contains(&other);
                !goes_on || pieces - growing.last_piece >= MAX_OTHERS
            });
            let growing = self.texts.entry(text).or_insert_with(|| Growing::of(speaker, field));
            self.pieces += 1;
            growing.last_piece = self.pieces;
            let at = place.start + offset;
            growing.push(&event[at..place.end + offset], number, at);
            self.held.hold(number);
            self.decide(text, false);
        }
        for speaker in saying.over {
            self.end_texts(|_, growing| growing.speaker == speaker);
        }
        if saying.is_last {
            self.end_texts(|_, _| true);
        }
    }

    fn decide(&mut self, text: u64, is_end: bool) {
        let Some(growing) = self.texts.get_mut(&text) else { return };
        let held = &mut self.held;
        let changes = growing.decide(&self.redaction, is_end, |event| held.let_go(event));
        self.change(changes);
    }

    fn end_texts(&mut self, is_over: impl Fn(u64, &Growing) -> bool) {
        let over = self.texts.iter().filter(|(text, growing)| is_over(**text, growing));
        let over: Vec<u64> = over.map(|(text, _)| *text).collect();
        for text in over {
            self.decide(text, true);
            self.texts.remove(&text);
        }
    }

    fn change(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let documents = &self.redaction.documents;
        let mut found = Found::new(documents.is_shadow);
        for Change { event, place, begins } in changes {
            begins.into_iter().for_each(|pattern| found.count(documents.patterns.name(pattern)));
            let instead = begins.map(|pattern| documents.in_place_of(pattern)).unwrap_or_default();
            self.held.change(event, place, instead);
        }
        (self.tell)(&found);
    }
}

/// What data says, if it is a document.
fn said(data: &[u8]) -> Option<Result<Saying, BackendError>> {
    let text = || std::str::from_utf8(data).ok();
    data.starts_with(b"{").then(|| text().and_then(saying).ok_or(BackendError::Protocol))
}

/// Whether a place is in one of these, which are in their order.
fn is_piece(pieces: &[Piece], place: &Range<usize>) -> bool {
    let before = pieces.partition_point(|piece| piece.place.start <= place.start);
    before > 0 && place.end <= pieces[before - 1].place.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract as contract;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::sync::Mutex;

    const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";
    const DONE: &str = "data: [DONE]\n\n";

    type Counted = Arc<Mutex<Vec<(String, u64)>>>;

    fn looking(patterns: &[(&str, &str)], mode: contract::RedactionMode) -> (RedactedEvents, Counted) {
        let pattern = |(name, pattern): &(&str, &str)| contract::SecretPattern {
            name: (*name).into(),
            pattern: (*pattern).into(),
        };
        let patterns = patterns.iter().map(pattern).collect();
        let policy = contract::Redaction { is_shadow: false, answers: Some(mode), patterns };
        let counted = Counted::default();
        let counting = Arc::clone(&counted);
        let redaction = crate::redaction::redactions(Some(&policy)).1.unwrap();
        let tell = move |found: &Found| counting.lock().unwrap().extend(found.counts.clone());
        (RedactedEvents::new(Arc::new(redaction), tell), counted)
    }

    fn enforced(patterns: &[(&str, &str)]) -> RedactedEvents {
        looking(patterns, contract::RedactionMode::Enforce).0
    }

    fn said(index: u32, text: &str) -> String {
        format!("data: {}\n\n", json!({"choices": [{"index": index, "delta": {"content": text}}]}))
    }

    fn pushed(events: &mut RedactedEvents, bytes: &str) -> String {
        String::from_utf8(events.push(&Bytes::copy_from_slice(bytes.as_bytes())).unwrap().into()).unwrap()
    }

    fn finished(events: &mut RedactedEvents) -> String {
        String::from_utf8(events.finish().into()).unwrap()
    }

    /// All that a client reads of an answer of these pieces.
    fn read(events: &mut RedactedEvents, pieces: &[&str]) -> String {
        let mut passed: String = pieces.iter().map(|piece| pushed(events, &said(0, piece))).collect();
        passed += &pushed(events, DONE);
        text(&passed, 0)
    }

    fn text(events: &str, index: u32) -> String {
        let said = |event: &str| {
            let document: Value = serde_json::from_str(event.strip_prefix("data: ")?).ok()?;
            let choice = &document["choices"][0];
            Some(choice["delta"]["content"].as_str().filter(|_| choice["index"] == index)?.to_owned())
        };
        events.split("\n\n").filter_map(said).collect()
    }

    #[test]
    fn what_is_no_secret_passes_at_once_and_as_it_came() {
        let mut events = enforced(&[]);
        for piece in ["let ", "x1", " = read(\"AKI\");", " // sk-learn, eyJ ", "and it did"] {
            let event = said(0, piece);
            assert_eq!(pushed(&mut events, &event), event, "{piece}");
        }
        assert_eq!(pushed(&mut events, DONE), DONE);
    }

    #[test]
    fn a_secret_in_pieces_is_replaced_by_its_name_in_the_first_of_them() {
        let mut events = enforced(&[]);
        assert_eq!(
            read(&mut events, &["a: AK", "IAIOSFODNN", "7", "EXAMPLE", " b"]),
            "a: [REDACTED:aws-access-key] b"
        );
        assert_eq!(read(&mut events, &["AKIAIOSFODNN7EXAMPLE"]), "[REDACTED:aws-access-key]");
        assert_eq!(
            read(&mut events, &["AKIAIOSF", "ODNN7EXAMPLEX"]),
            "AKIAIOSFODNN7EXAMPLEX",
            "one letter too many"
        );
        let (key, name) = (
            ["-----BEGIN PRIVATE", " KEY-----\nMII", "x\n-----END PRIVATE KEY--", "---\n"],
            "[REDACTED:private-key]\n",
        );
        assert_eq!(read(&mut events, &key), name);
        assert_eq!(
            read(&mut events, &["-----BEGIN PRIVATE KEY-----", "\nMII"]),
            "-----BEGIN PRIVATE KEY-----\nMII"
        );
    }

    #[test]
    fn events_wait_behind_one_that_may_begin_a_secret_and_keep_their_order() {
        let mut events = enforced(&[]);
        let (begin, other) = (said(0, "AKIAIOSF"), said(1, "z"));
        assert_eq!(pushed(&mut events, &begin), "");
        assert_eq!(pushed(&mut events, &other), "");
        assert_eq!(pushed(&mut events, ": still there\n\n"), "");
        let end = said(0, "!");
        assert_eq!(pushed(&mut events, &end), format!("{begin}{other}: still there\n\n{end}"));
    }

    #[test]
    fn texts_beside_each_other_do_not_make_a_secret_together_and_hide_none() {
        let mut events = enforced(&[]);
        let mut passed = String::new();
        for (index, piece) in [(0, "AKIAIOSF"), (1, "AKIAIOSFODNN"), (0, "ODNN7EXAMPLE."), (1, "7EXAMPLE?")] {
            passed += &pushed(&mut events, &said(index, piece));
        }
        passed += &finished(&mut events);
        assert_eq!(text(&passed, 0), "[REDACTED:aws-access-key].");
        assert_eq!(text(&passed, 1), "[REDACTED:aws-access-key]?");
    }

    #[test]
    fn what_else_an_event_says_is_looked_at_by_itself() {
        let mut events = enforced(&[]);
        let event = format!(
            "event: x\ndata: {{\"id\":\"{SECRET}\",\"item\":{{\"output\":\"{SECRET} {SECRET}\"}}}}\n\n"
        );
        assert_eq!(pushed(&mut events, &event), event.replace(SECRET, "[REDACTED:aws-access-key]"));
        let no_json = format!("data: oh {SECRET}\n\n");
        assert_eq!(pushed(&mut events, &no_json), no_json.replace(SECRET, "[REDACTED:aws-access-key]"));
    }

    #[test]
    fn a_stream_that_is_cut_gives_what_waits_and_no_secret() {
        let mut events = enforced(&[]);
        let begin = said(0, "AKIAIOSF");
        assert_eq!(pushed(&mut events, &begin), "");
        assert_eq!(
            pushed(&mut events, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ODNN7EX"),
            ""
        );
        assert_eq!(finished(&mut events), begin, "what is no event is left out");
        assert_eq!(pushed(&mut enforced(&[]), "data: [DONE]"), "");
        let mut events = enforced(&[]);
        pushed(&mut events, "data: [DONE]");
        assert_eq!(finished(&mut events), "data: [DONE]", "a mark may be last without an empty line");
    }

    #[test]
    fn what_has_ended_holds_nothing_up() {
        let mut events = enforced(&[]);
        let thought = format!(
            "data: {}\n\n",
            json!({"choices": [{"index": 0, "delta": {"reasoning_content": "files"}}]})
        );
        assert_eq!(pushed(&mut events, &thought), "", "it may begin with sk-");
        let answer = said(0, "x1");
        assert_eq!(
            pushed(&mut events, &answer),
            format!("{thought}{answer}"),
            "who goes on with something else"
        );
        assert_eq!(pushed(&mut events, &said(0, "files")), "");
        let end =
            format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
        assert_eq!(pushed(&mut events, &end), format!("{}{end}", said(0, "files")), "who is done");
        let block = |index: u32| {
            format!(
                "data: {}\n\n",
                json!({"type": "content_block_delta", "index": index, "delta": {"text": "files"}})
            )
        };
        assert_eq!(pushed(&mut events, &block(0)), "");
        assert_eq!(pushed(&mut events, &block(1)), "");
        let stop = "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
        assert_eq!(pushed(&mut events, stop), block(0), "the other one is not over");
    }

    #[test]
    fn a_secret_is_found_that_comes_in_two_fields_at_once_or_in_one_of_calls_that_alternate() {
        let choice = |delta: Value| {
            format!("data: {}\n\n", json!({"choices": [{"index": 0, "finish_reason": "", "delta": delta}]}))
        };
        let both = |text: &str| choice(json!({"reasoning": text, "reasoning_content": text}));
        let call = |index: u32, text: &str| {
            choice(json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]}))
        };
        for stream in [
            vec![both("AKIAIOSF"), both("ODNN7EXAMPLE")],
            vec![call(0, "AKIAIOSF"), call(1, "AKIAIOSFOD"), call(0, "ODNN7EXAMPLE"), call(1, "NN7EXAMPLE")],
        ] {
            let mut events = enforced(&[]);
            let passed: String = stream.iter().map(|event| pushed(&mut events, event)).collect();
            let passed = passed + &pushed(&mut events, DONE);
            assert_eq!(passed.matches("[REDACTED:aws-access-key]").count(), 2, "{passed}");
            assert!(!passed.contains("ODNN7") && !passed.contains("AKIA"), "{passed}");
        }
    }

    #[test]
    fn a_text_of_which_nobody_says_that_it_is_over_does_not_hold_up_all_the_rest() {
        let mut events = enforced(&[]);
        let block = |index: u32, text: &str| {
            format!(
                "data: {}\n\n",
                json!({"type": "content_block_delta", "index": index, "delta": {"text": text}})
            )
        };
        assert_eq!(pushed(&mut events, &block(0, "files")), "");
        let (mut count, other) = (0, block(1, "x1"));
        while pushed(&mut events, &other).is_empty() {
            count += 1;
            assert!(count <= MAX_OTHERS);
        }
        assert_eq!(count, MAX_OTHERS);
    }

    #[test]
    fn what_came_before_an_event_that_cannot_be_read_is_not_lost() {
        let mut events = enforced(&[]);
        let good = said(0, "x1");
        assert!(events.push(&Bytes::from(format!("{good}data: {{\n\n"))).is_err());
        assert_eq!(finished(&mut events), good);
    }

    #[test]
    fn what_others_might_read_and_we_do_not_ends_the_stream() {
        for event in [
            "data: {\"text\":\ndata: \"AKIAIOSF\"}\n\n",
            "data: {\"text\":\"AKIAIOSF\"}\r\rdata: {}\n\n",
            "data: {\"text\":\"AKIAIOSF\",\"x\":NaN}\n\n",
            "data: {\"text\":\"AKIAIOSF\"\n\n",
            "data: {\"text\":\"AKIAIOSF\u{fffd}\"\n\n",
        ] {
            let mut events = enforced(&[]);
            let before = said(0, "AKIA");
            assert_eq!(pushed(&mut events, &before), "");
            assert!(events.push(&Bytes::from(event)).is_err(), "{event}");
            assert_eq!(finished(&mut events), before);
        }
    }

    #[test]
    fn what_stands_beside_the_data_is_looked_at_too() {
        let mut events = enforced(&[]);
        let event = format!(": \"{SECRET}\nid: {SECRET}\ndata:  {{\"id\":\"{SECRET}\"}}\n\n");
        assert_eq!(pushed(&mut events, &event), event.replace(SECRET, "[REDACTED:aws-access-key]"));
    }

    #[test]
    fn what_waits_has_a_limit() {
        let mut events = enforced(&[]);
        let begin = said(0, "-----BEGIN PRIVATE KEY-----");
        assert_eq!(pushed(&mut events, &begin), "");
        let line = said(0, &"x".repeat(64));
        let mut lines = 0;
        while pushed(&mut events, &line).is_empty() {
            lines += 1;
            assert!(lines * 64 <= 2 * 16 * 1024, "{lines}");
        }
        assert!(events.held.bytes() <= MAX_HELD_BYTES && lines > 200, "{lines}");
    }

    #[test]
    fn events_that_wait_behind_another_one_have_a_limit_in_memory() {
        let mut events = enforced(&[]);
        assert_eq!(pushed(&mut events, &said(0, "AKIAIOSF")), "");
        let mut held = 0;
        while pushed(&mut events, "\n").is_empty() {
            held += 1;
            assert!(held * 32 <= MAX_HELD_BYTES, "{held}");
        }
        assert!(held > 1_000 && events.held.bytes() <= MAX_HELD_BYTES, "{held}");
    }

    #[test]
    fn so_many_texts_are_known_at_once_and_no_more() {
        let mut events = enforced(&[]);
        for index in 0..1_000 {
            pushed(&mut events, &said(index, "AKIAIOSF"));
            assert!(events.texts.len() as u64 <= MAX_OTHERS + 1);
        }
    }

    #[test]
    fn in_shadow_all_passes_as_it_comes_and_is_counted() {
        let (mut events, counted) = looking(&[], contract::RedactionMode::Shadow);
        for piece in ["AKIAIOSF", "ODNN7EXAMPLE", " end"] {
            for half in said(0, piece).split_inclusive("content") {
                assert_eq!(pushed(&mut events, half), half);
            }
        }
        assert_eq!(*counted.lock().unwrap(), [("aws-access-key".to_owned(), 1)]);
        let no_json = "data: {\n\n";
        assert_eq!(pushed(&mut events, no_json), no_json, "what cannot be read passes");
        assert_eq!(finished(&mut events), "");
    }

    #[test]
    fn an_event_that_is_too_long_ends_the_stream() {
        let mut events = enforced(&[]);
        assert!(events.push(&vec![b'x'; MAX_EVENT_BYTES + 1].into()).is_err());
    }

    proptest! {
        /// Whatever is said, in whatever pieces: a client reads what it would if all had come at once.
        #[test]
        fn pieces_come_to_the_same_as_the_whole(
            words in prop::collection::vec(prop::sample::select(vec!["ab", "aab", "1", "12", "x", " ", "\n", "\"", "\\", "é", "END", "BEG"]), 0..40),
            cuts in prop::collection::vec(1..6_usize, 1..40),
            pattern in prop::sample::select(vec!["a{2,}b+", "[0-9]{4,}", "BEG.*?END", "BEG.{0,20}END|aabab", "\\b12[0-9a-z]{3}\\b", "(?:ab){2,4}"]),
        ) {
            let patterns = [("x", pattern)];
            let (all, mut pieces) = (words.concat(), Vec::new());
            let mut letters = all.chars();
            for cut in cuts.iter().cycle() {
                let piece: String = letters.by_ref().take(*cut).collect();
                if piece.is_empty() {
                    break;
                }
                pieces.push(piece);
            }
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let at_once = read(&mut enforced(&patterns), &[&all]);
            prop_assert_eq!(read(&mut enforced(&patterns), &pieces), at_once);
        }
    }
}
