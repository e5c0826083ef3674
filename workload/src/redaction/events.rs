//! A stream of events without secrets, also where one begins in one event and ends in another.
//!
//! Events stay as they are and in their order. One that holds what may be the beginning of a secret waits, and with it those behind it, until it is known
//! whether it is one, or until the stream ends.

use super::growing::{Change, Growing};
use super::texts::{Piece, pieces};
use super::{AnswerRedaction, Found};
use crate::backend::{BackendError, EventSplitter, data_line};
use bytes::{Bytes, BytesMut};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Most bytes of events that wait in one stream. Beyond, all of them go on as what they seem to be.
const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// Most texts of a stream that are known at once: those of tools that are called, of answers beside each other. Beyond, those before are over.
const MAX_TEXTS: usize = 64;
/// Names of events after which no text goes on.
const LAST: [&[u8]; 6] = [
    b"message_stop",
    b"response.completed",
    b"response.failed",
    b"response.incomplete",
    b"synthesis.finished",
    b"error",
];

/// What passes of a stream.
pub struct RedactedEvents {
    redaction: Arc<AnswerRedaction>,
    /// Told of what is found, as it is.
    tell: Box<dyn Fn(&Found) + Send + Sync>,
    splitter: EventSplitter,
    texts: HashMap<u64, Growing>,
    waiting: Waiting,
}

impl RedactedEvents {
    /// Before the first event.
    pub fn new(redaction: Arc<AnswerRedaction>, tell: impl Fn(&Found) + Send + Sync + 'static) -> Self {
        Self {
            redaction,
            tell: Box::new(tell),
            splitter: EventSplitter::default(),
            texts: HashMap::new(),
            waiting: Waiting::default(),
        }
    }

    /// What may go on now that more has come; an event that is too long is an error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Bytes, BackendError> {
        for event in self.splitter.read(bytes)? {
            self.event(event);
        }
        Ok(self.waiting.released())
    }

    /// All that waits: nothing comes any more.
    pub fn finish(&mut self) -> Bytes {
        let rest = self.splitter.rest();
        if !rest.is_empty() {
            self.event(rest);
        }
        self.end_texts();
        self.waiting.released()
    }

    fn event(&mut self, event: Bytes) {
        let data = data_line(&event);
        let pieces = data
            .clone()
            .and_then(|data| Some((data.start, pieces(std::str::from_utf8(&event[data]).ok()?)?)));
        let is_last = data.is_some_and(|data| !event[data].starts_with(b"{")) || is_called(&event, &LAST);
        let number = self.waiting.push(event.clone());
        match pieces {
            Some((offset, pieces)) => self.texts_of(number, &event, offset, pieces),
            // What is no JSON is one text.
            None => {
                let secrets = self.redaction.whole.patterns.search(&event, 0..event.len());
                let changes = secrets.map(|secret| whole(number, secret.place, secret.pattern)).collect();
                self.change(changes);
            }
        }
        if is_last || self.waiting.bytes > MAX_WAITING_BYTES || self.texts.len() > MAX_TEXTS {
            self.end_texts();
        }
    }

    fn texts_of(&mut self, number: u64, event: &[u8], offset: usize, pieces: Vec<Piece>) {
        let is_piece = |place: &Range<usize>| {
            let is_in = |piece: &Piece| {
                piece.place.start + offset <= place.start && place.end <= piece.place.end + offset
            };
            pieces.iter().any(is_in)
        };
        let secrets =
            self.redaction.whole.patterns.all(event).into_iter().filter(|secret| !is_piece(&secret.place));
        let changes = secrets.map(|secret| whole(number, secret.place, secret.pattern)).collect();
        self.change(changes);
        for Piece { place, text } in pieces {
            let growing = self.texts.entry(text).or_default();
            let at = place.start + offset;
            growing.push(&event[at..place.end + offset], number, at);
            if !self.redaction.whole.is_shadow {
                self.waiting.wait(number);
            }
            self.decide(text, false);
        }
    }

    fn decide(&mut self, text: u64, is_end: bool) {
        let Some(growing) = self.texts.get_mut(&text) else { return };
        let waiting = &mut self.waiting;
        let changes = growing.decide(&self.redaction, is_end, |event| waiting.go_on(event));
        self.change(changes);
    }

    fn end_texts(&mut self) {
        let texts: Vec<u64> = self.texts.keys().copied().collect();
        texts.into_iter().for_each(|text| self.decide(text, true));
        self.texts.clear();
    }

    fn change(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let whole = &self.redaction.whole;
        let mut found = Found::new(whole.is_shadow);
        for change in changes {
            change.begins.into_iter().for_each(|pattern| found.count(whole.patterns.name(pattern)));
            if !whole.is_shadow {
                let instead = change.begins.map(|pattern| whole.in_place_of(pattern)).unwrap_or_default();
                self.waiting.change(change.event, change.place, instead);
            }
        }
        (self.tell)(&found);
    }
}

/// A secret that is not cut.
const fn whole(event: u64, place: Range<usize>, pattern: usize) -> Change {
    Change { event, place, begins: Some(pattern) }
}

/// Whether an event has one of these names.
fn is_called(event: &[u8], names: &[&[u8]]) -> bool {
    let mut lines = event.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.any(|line| line.strip_prefix(b"event:").is_some_and(|name| names.contains(&name.trim_ascii())))
}

/// Events in their order, from the first one on that is not known yet.
#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// The number of the first one.
    first: u64,
    bytes: usize,
}

struct Event {
    bytes: Bytes,
    /// How many of its pieces are not decided.
    undecided: usize,
    changes: Vec<(Range<usize>, String)>,
}

impl Waiting {
    fn push(&mut self, bytes: Bytes) -> u64 {
        self.bytes += bytes.len();
        self.events.push_back(Event { bytes, undecided: 0, changes: Vec::new() });
        self.first + self.events.len() as u64 - 1
    }

    fn event(&mut self, number: u64) -> Option<&mut Event> {
        // One that waited for nothing has gone.
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.events.get_mut(index)
    }

    fn wait(&mut self, number: u64) {
        if let Some(event) = self.event(number) {
            event.undecided += 1;
        }
    }

    fn go_on(&mut self, number: u64) {
        if let Some(event) = self.event(number) {
            event.undecided = event.undecided.saturating_sub(1);
        }
    }

    fn change(&mut self, number: u64, place: Range<usize>, instead: String) {
        if let Some(event) = self.event(number) {
            event.changes.push((place, instead));
        }
    }

    /// Those that need not wait any more, changed.
    fn released(&mut self) -> Bytes {
        let mut released = Released::Nothing;
        while self.events.front().is_some_and(|event| event.undecided == 0) {
            let Some(event) = self.events.pop_front() else { break };
            self.first += 1;
            self.bytes -= event.bytes.len();
            released = released.and(event.changed());
        }
        released.bytes()
    }
}

impl Event {
    fn changed(mut self) -> Bytes {
        if self.changes.is_empty() {
            return self.bytes;
        }
        self.changes.sort_unstable_by_key(|(place, _)| place.start);
        let (mut changed, mut from) = (BytesMut::with_capacity(self.bytes.len()), 0);
        for (place, instead) in &self.changes {
            changed.extend_from_slice(&self.bytes[from..place.start]);
            changed.extend_from_slice(instead.as_bytes());
            from = place.end;
        }
        changed.extend_from_slice(&self.bytes[from..]);
        changed.freeze()
    }
}

/// Events that go on together. One by itself is not copied.
enum Released {
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

impl Released {
    fn and(self, event: Bytes) -> Self {
        let mut several = match self {
            Self::Nothing => return Self::One(event),
            Self::One(first) => BytesMut::from(first),
            Self::Several(several) => several,
        };
        several.extend_from_slice(&event);
        Self::Several(several)
    }

    fn bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(event) => event,
            Self::Several(several) => several.freeze(),
        }
    }
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
        let redaction = AnswerRedaction::new(Some(&policy)).unwrap();
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
        String::from_utf8(events.push(bytes.as_bytes()).unwrap().into()).unwrap()
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
        assert_eq!(
            finished(&mut events),
            format!("{begin}data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"ODNN7EX")
        );
        let mut events = enforced(&[]);
        assert_eq!(pushed(&mut events, &format!("data: {{\"text\":\"{SECRET}")), "");
        assert_eq!(finished(&mut events), "data: {\"text\":\"[REDACTED:aws-access-key]");
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
        assert!(events.waiting.bytes <= MAX_WAITING_BYTES && lines > 200, "{lines}");
    }

    #[test]
    fn in_shadow_nothing_waits_and_all_is_counted() {
        let (mut events, counted) = looking(&[], contract::RedactionMode::Shadow);
        for piece in ["AKIAIOSF", "ODNN7EXAMPLE", " end"] {
            let event = said(0, piece);
            assert_eq!(pushed(&mut events, &event), event);
        }
        assert_eq!(*counted.lock().unwrap(), [("aws-access-key".to_owned(), 1)]);
    }

    #[test]
    fn an_event_that_is_too_long_ends_the_stream() {
        let mut events = enforced(&[]);
        assert!(events.push(&vec![b'x'; 2 * MAX_WAITING_BYTES]).is_err());
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
