//! Parts that read what strangers send, for fuzz targets: what must hold of them, whatever it is.
#![allow(clippy::unwrap_used, reason = "what fails is what is looked for")]

use crate::backend::{Endpoint, EventReader};
use crate::cache::Directives;
use crate::dialects::{
    Answer, AnswerReader, Delta, Head, StopReason, StreamWriter, anthropic, ollama, openai,
};
use crate::gateway::ModelRequest;
use crate::redaction::{AnswerRedaction, RedactedEvents, Redaction, redactions};
use crate::telemetry::Correlation;
use bytes::Bytes;
use codecrucible_contract as contract;
use codecrucible_contract::{Ollama, RedactionMode, SecretPattern};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// The name that a backend knows the model by: with everything that has to be escaped.
const BACKEND_MODEL: &str = "or\"g/\\m\u{1}";
/// What is looked for beside the usual: something in every second text, and something that goes on as far as it can.
const PATTERNS: [(&str, &str); 2] = [("four", "[a-z0-9]{4}"), ("rest", "ab.{3,}")];
/// Made once: to make one ready takes much longer than to use it.
static REDACTION: LazyLock<Redaction> = LazyLock::new(|| redactions(Some(&secrets())).0.unwrap());
static ANSWERS: LazyLock<Arc<AnswerRedaction>> =
    LazyLock::new(|| Arc::new(redactions(Some(&secrets())).1.unwrap()));
/// Most bytes of a stream: beyond, what is found within escapes is looked behind only so often, and how often depends on how it came.
const STREAM_BYTES: usize = 256;
/// Most bytes of the pieces that events arrive in.
const PIECE_BYTES: usize = 3;

fn secrets() -> contract::Redaction {
    let pattern =
        |(name, pattern): (&str, &str)| SecretPattern { name: name.into(), pattern: pattern.into() };
    let patterns = PATTERNS.into_iter().map(pattern).collect();
    contract::Redaction { is_shadow: false, answers: Some(RedactionMode::Enforce), patterns }
}

/// A request that is let through is for a backend what it was for us, but for the model's name.
pub fn request(bytes: &[u8]) {
    for endpoint in Endpoint::ALL {
        let Ok(request) = ModelRequest::parse(endpoint, Bytes::copy_from_slice(bytes)) else { continue };
        let (Ok(before), Ok(after)) = (document(bytes), document(&request.body_for(BACKEND_MODEL))) else {
            // Numbers and surrogates that other parsers do not take are for backends to judge.
            continue;
        };
        assert_eq!(before["model"], request.model.as_str());
        assert_eq!(after["model"], BACKEND_MODEL);
        assert_eq!(after["stream"].as_bool().unwrap_or_default(), request.stream);
        let renamed = |mut document: Value| {
            document["model"] = Value::Null;
            document
        };
        assert_eq!(renamed(before), renamed(after));
        onward(endpoint, bytes);
    }
}

/// What is read as a chat is written as one in each dialect, and read again where it has to be.
fn onward(endpoint: Endpoint, bytes: &[u8]) {
    let chat = match endpoint {
        Endpoint::ChatCompletions => openai::read_request(bytes),
        Endpoint::Messages => anthropic::read_request(bytes),
        _ => return,
    };
    let Ok(chat) = chat else { return };
    let as_openai = openai::write_request(&chat, BACKEND_MODEL);
    let again = openai::read_request(&as_openai).unwrap();
    assert_eq!(openai::write_request(&again, BACKEND_MODEL), as_openai);
    if anthropic::unsupported(&chat).is_none() {
        anthropic::read_request(&anthropic::write_request(&chat, BACKEND_MODEL)).unwrap();
    }
    if ollama::unsupported(&chat).is_none() {
        document(&ollama::write_request(&chat, BACKEND_MODEL, &Ollama::default())).unwrap();
    }
}

fn document(bytes: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(bytes)
}

/// Events are the same however their bytes arrive.
pub fn events(bytes: &[u8]) {
    let at_once = EventReader::default().read(bytes);
    let mut reader = EventReader::default();
    let in_pieces: Result<Vec<_>, _> = bytes.chunks(PIECE_BYTES).map(|piece| reader.read(piece)).collect();
    if let (Ok(at_once), Ok(in_pieces)) = (at_once, in_pieces) {
        assert_eq!(at_once, in_pieces.concat());
    }
}

/// Whatever a backend answers, in whichever dialect, a client reads of it what we have read, in either of theirs.
pub fn answers(bytes: &[u8]) {
    let Ok(events) = EventReader::default().read(bytes) else { return };
    let readers: [Box<dyn AnswerReader>; 3] = [
        Box::new(openai::Reader::default()),
        Box::new(anthropic::Reader::default()),
        Box::new(ollama::Reader::default()),
    ];
    for mut reader in readers {
        let read = events.iter().map_while(|event| reader.event(event).ok()).flatten();
        let deltas: Vec<Delta> = read.filter(|delta| *delta != Delta::End).collect();
        let head = || Head { id: "1".into(), created: 0, model: "m".into() };
        let openai = written(Box::new(openai::Writer::new(head(), true)), &deltas);
        assert_same(&deltas, &openai, Box::new(openai::Reader::default()));
        let anthropic = written(Box::new(anthropic::Writer::new(head(), true)), &deltas);
        assert_same(&deltas, &anthropic, Box::new(anthropic::Reader::default()));
    }
}

fn written(mut writer: Box<dyn StreamWriter>, deltas: &[Delta]) -> Vec<u8> {
    let mut stream = writer.start().to_vec();
    deltas
        .iter()
        .chain([&Delta::End])
        .for_each(|delta| stream.extend_from_slice(&writer.write(delta.clone())));
    stream
}

fn assert_same(deltas: &[Delta], stream: &[u8], mut reader: Box<dyn AnswerReader>) {
    let (mut sent, mut heard) = (Answer::default(), Answer::default());
    deltas.iter().for_each(|delta| sent.take(delta.clone()));
    for event in EventReader::default().read(stream).unwrap() {
        reader.event(&event).unwrap().into_iter().for_each(|delta| heard.take(delta));
    }
    // Not all dialects tell a stop text from an end, and calls without an id get one.
    let stop = if sent.stop == StopReason::StopText { StopReason::Done } else { sent.stop };
    heard.stop = if heard.stop == StopReason::StopText { StopReason::Done } else { heard.stop };
    for (sent, heard) in sent.calls.iter().zip(&mut heard.calls) {
        if sent.id.is_empty() {
            heard.id.clear();
        }
    }
    assert_eq!(heard, Answer { stop, ..sent });
}

/// Whatever headers say, those that go on are few and short.
pub fn headers(bytes: &[u8]) {
    const NAMES: [&str; 4] = ["cache-control", "x-request-id", "traceparent", "tracestate"];
    const MOST_BYTES: usize = 1024;
    let mut headers = HeaderMap::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').take(64).enumerate() {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(HeaderName::from_static(NAMES[index % NAMES.len()]), value);
        }
    }
    let _ = Directives::of(&headers);
    let correlation = Correlation::of(&headers);
    let mut onward = HeaderMap::new();
    correlation.add_to(&mut onward, 0);
    assert!(onward.values().all(|value| value.len() <= MOST_BYTES), "{onward:?}");
    assert!(onward.len() < NAMES.len(), "{onward:?}");
}

/// What is JSON stays JSON of the same shape without secrets, and nothing that is not makes trouble.
pub fn redaction(bytes: &[u8]) {
    let (after, found) = REDACTION.apply(Bytes::copy_from_slice(bytes));
    assert_eq!(found.is_none(), after == bytes);
    // However a stream is cut into frames, what passes is the same.
    let stream = &bytes[..bytes.len().min(STREAM_BYTES)];
    assert_eq!(without_secrets(stream, PIECE_BYTES), without_secrets(stream, STREAM_BYTES));
    let Ok(before) = document(bytes) else { return };
    same_shape(&before, &document(&after).unwrap());
}

/// What passes of a stream that comes in frames of so many bytes.
fn without_secrets(stream: &[u8], frame: usize) -> Vec<u8> {
    let mut events = RedactedEvents::new(Arc::clone(&ANSWERS), |_| {});
    let mut passed = Vec::new();
    for frame in stream.chunks(frame) {
        let Ok(bytes) = events.push(&Bytes::copy_from_slice(frame)) else { break };
        passed.extend_from_slice(&bytes);
    }
    passed.extend_from_slice(&events.finish());
    passed
}

/// Only what strings say differs.
fn same_shape(before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()));
            before.values().zip(after.values()).for_each(|(before, after)| same_shape(before, after));
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            before.iter().zip(after).for_each(|(before, after)| same_shape(before, after));
        }
        (Value::String(_), Value::String(_)) => {}
        (before, after) => assert_eq!(before, after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{read, read_dir};

    /// What fuzzing begins with, and what it found.
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = format!("{}/../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        read_dir(folder).unwrap().map(|seed| read(seed.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn what_must_hold_does_for_each_seed() {
        for (target, check) in [
            ("request", request as fn(&[u8])),
            ("events", events),
            ("answers", answers),
            ("headers", headers),
            ("redaction", redaction),
        ] {
            let seeds = seeds(target);
            assert!(!seeds.is_empty(), "{target}");
            seeds.iter().for_each(|seed| check(seed));
        }
    }
}
