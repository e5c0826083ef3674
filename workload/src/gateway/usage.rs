//! How many tokens a request used: as the backend says at the end of its answer, or estimated where it does not.

use crate::backend::Finish;
use crate::limits::{Reservation, estimated_tokens};
use serde::Deserialize;

/// How much of the end of a stream is kept to find the usage in it, bytes.
const TAIL_BYTES: usize = 4 * 1024;
const USAGE: &[u8] = b"\"usage\":";
const EVENT: &[u8] = b"data:";

/// What OpenAI's API says of an answer, in either of its two ways.
#[derive(Deserialize)]
struct Usage {
    total_tokens: Option<u64>,
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
}

/// What the last `usage` in the bytes of an answer says. A text cannot contain one: its quotes are escaped.
fn said(bytes: &[u8]) -> Option<u64> {
    let start = memchr::memmem::rfind(bytes, USAGE)? + USAGE.len();
    let usage: Option<Usage> =
        serde_json::Deserializer::from_slice(&bytes[start..]).into_iter().next()?.ok()?;
    let Usage { total_tokens, prompt_tokens, completion_tokens } = usage?;
    let parts = || Some(prompt_tokens? + completion_tokens.unwrap_or(0));
    total_tokens.or_else(parts)
}

/// Counts the tokens of one answer, and corrects by them what was taken for it; nothing where nothing was.
#[derive(Default)]
pub struct Meter {
    reservation: Option<Reservation>,
    prompt_tokens: u64,
    pieces: u64,
    tail: Vec<u8>,
}

impl Meter {
    /// From when a backend is asked on, the prompt counts, whatever comes.
    pub fn new(reservation: Option<Reservation>, prompt_tokens: u64) -> Self {
        let mut meter = Self { reservation, prompt_tokens, pieces: 0, tail: Vec::new() };
        meter.note(prompt_tokens);
        meter
    }

    /// A whole answer.
    pub fn whole(mut self, is_success: bool, body: &[u8]) {
        if self.reservation.is_none() {
            return;
        }
        let estimated = || self.prompt_tokens + estimated_tokens(body.len());
        self.note(if is_success { said(body).unwrap_or_else(estimated) } else { 0 });
    }

    /// No answer.
    pub fn failed(mut self) {
        self.note(0);
    }

    /// Some bytes of a stream.
    pub fn frame(&mut self, bytes: &[u8]) {
        if self.reservation.is_none() {
            return;
        }
        self.pieces += memchr::memmem::find_iter(bytes, EVENT).count() as u64;
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        if self.tail.len() + kept.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        }
        self.tail.extend_from_slice(kept);
    }

    /// A piece of the embedded model's answer, which is about a token.
    pub fn piece(&mut self) {
        self.pieces += 1;
    }

    /// The end of the embedded model's answer.
    pub fn finished(&mut self, finish: &Finish) {
        self.pieces = 0;
        self.note((finish.prompt_tokens + finish.completion_tokens) as u64);
    }

    fn note(&mut self, used: u64) {
        if let Some(reservation) = &mut self.reservation {
            reservation.note(used);
        }
    }
}

/// A stream ends in many ways, and what was sent until then counts.
impl Drop for Meter {
    fn drop(&mut self) {
        if self.pieces > 0 {
            let used = said(&self.tail).unwrap_or(self.prompt_tokens + self.pieces);
            self.note(used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_the_end_of_an_answer() {
        let chat = br#"{"id":"x","choices":[{"message":{"content":"say \"usage\": {}"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7},"x":1}"#;
        assert_eq!(said(chat), Some(7));
        let response = br#"data: {"usage": {"input_tokens":5,"output_tokens":6}}"#;
        assert_eq!(said(response), Some(11));
        let each_chunk_says = br#"data: {"usage":{"total_tokens":1}}\n\ndata: {"usage":{"total_tokens":9}}"#;
        assert_eq!(said(each_chunk_says), Some(9));
        for nothing in [
            &b"{}"[..],
            br#"{"usage":null}"#,
            br#"{"usage":{"#,
            br#"{"content":"\"usage\":{\"total_tokens\":1}"}"#,
        ] {
            assert_eq!(said(nothing), None, "{}", String::from_utf8_lossy(nothing));
        }
    }
}
