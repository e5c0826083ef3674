//! How many tokens a request used: as the backend says at the end of its answer, or estimated where it does not.

use crate::backend::{BackendError, Endpoint};
use crate::dialects;
use crate::dialects::Usage as Used;
use crate::limits::{Reservation, estimated_tokens};
use crate::telemetry::{TokenNote, UsedTokens};
use serde::Deserialize;

/// How much of the end of a stream is kept to find the usage in it, bytes.
const TAIL_BYTES: usize = 4 * 1024;
/// Events at the end of a stream in which usage is looked for: the end mark comes after it.
const LAST_EVENTS: usize = 4;
/// More tokens than any model reads or writes in one answer: what a backend, or a client that has it repeat something, says beyond is not taken for true.
const MOST_TOKENS: u64 = 10_000_000;
/// What there is about a token in an event, at most, bytes.
const EVENT_BYTES: u64 = 400;
/// The same in Anthropic's.
const EVENT_BYTES_OF_MESSAGES: u64 = 130;
const USAGE: &[u8] = b"\"usage\":";
const EVENT: &[u8] = b"data:";

/// What is said of an answer: by OpenAI's API in either of its two ways, or by Anthropic's, to which what was known from before is no input.
#[derive(Deserialize)]
struct Usage {
    total_tokens: Option<u64>,
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

/// What a document of an answer says: in OpenAI's responses, the last event has the whole response in it.
#[derive(Deserialize)]
struct Answer {
    usage: Option<Usage>,
    response: Option<Box<Self>>,
}

impl Answer {
    fn used(self, estimated: u64) -> Option<UsedTokens> {
        let within = self.response.and_then(|response| response.usage);
        self.usage.or(within)?.used(estimated)
    }
}

impl Usage {
    /// The prompt's tokens are the estimated ones where only those of the answer are given: in streams, some say the former at the beginning.
    fn used(self, estimated: u64) -> Option<UsedTokens> {
        let Self { total_tokens, prompt_tokens, completion_tokens, .. } = self;
        let known = [self.cache_creation_input_tokens, self.cache_read_input_tokens].into_iter().flatten();
        let known = known.fold(0, u64::saturating_add);
        let prompt = prompt_tokens.or(total_tokens).or_else(|| completion_tokens.map(|_| estimated))?;
        let prompt = prompt.saturating_add(known).min(MOST_TOKENS);
        let rest = total_tokens.unwrap_or(prompt).saturating_sub(prompt);
        Some(UsedTokens { prompt, completion: completion_tokens.unwrap_or(rest).min(MOST_TOKENS) })
    }
}

/// What a whole answer says.
fn said_by(document: &[u8], estimated: u64) -> Option<UsedTokens> {
    serde_json::from_slice::<Answer>(document).ok()?.used(estimated)
}

/// What the last of the events at the end of a stream says that says anything. An event that is longer than what is kept cannot be read; of it, what
/// stands last counts.
fn said_at_the_end(tail: &[u8], estimated: u64) -> Option<UsedTokens> {
    let events = memchr::memmem::rfind_iter(tail, EVENT).take(LAST_EVENTS);
    let whole = events.filter_map(|start| {
        let event = &tail[start + EVENT.len()..];
        let end = memchr::memchr(b'\n', event).unwrap_or(event.len());
        said_by(&event[..end], estimated)
    });
    whole.into_iter().next().or_else(|| {
        let start = memchr::memmem::rfind(tail, USAGE)? + USAGE.len();
        let usage = serde_json::Deserializer::from_slice(&tail[start..]).into_iter::<Usage>().next()?;
        usage.ok()?.used(estimated)
    })
}

/// What a whole answer used, as its backend says; where it does not, by how long it is.
pub fn used_by(answer: &dialects::Answer, prompt_tokens: u64) -> UsedTokens {
    let Used { prompt, completion, .. } = answer.usage;
    if prompt == 0 && completion == 0 {
        return UsedTokens { prompt: prompt_tokens, completion: estimated_tokens(answer.text.len()) };
    }
    UsedTokens { prompt: prompt.min(MOST_TOKENS), completion: completion.min(MOST_TOKENS) }
}

/// Counts the tokens of one answer: notes them for who tells of the request, and corrects by them what was taken for it.
pub struct Meter {
    note: TokenNote,
    reservation: Option<Reservation>,
    prompt_tokens: u64,
    /// Of answers that were not given.
    before: UsedTokens,
    pieces: u64,
    /// Bytes of a stream, or of the texts of pieces.
    bytes: u64,
    /// What of them there is about each token.
    event_bytes: u64,
    tail: Vec<u8>,
}

impl Meter {
    /// From when a backend is asked on, what was taken stays taken until it is known better: also if its client does not wait for that.
    pub fn new(
        note: TokenNote,
        mut reservation: Option<Reservation>,
        endpoint: Endpoint,
        prompt_tokens: u64,
    ) -> Self {
        reservation.iter_mut().for_each(Reservation::note_unknown);
        note.set(UsedTokens { prompt: prompt_tokens, completion: 0 });
        let event_bytes = match endpoint {
            Endpoint::Messages => EVENT_BYTES_OF_MESSAGES,
            _ => EVENT_BYTES,
        };
        Self {
            note,
            reservation,
            prompt_tokens,
            before: UsedTokens::default(),
            pieces: 0,
            bytes: 0,
            event_bytes,
            tail: Vec::new(),
        }
    }

    /// A whole answer.
    pub fn whole(mut self, is_success: bool, body: &[u8]) {
        let estimated =
            || UsedTokens { prompt: self.prompt_tokens, completion: estimated_tokens(body.len()) };
        self.used(if is_success {
            said_by(body, self.prompt_tokens).unwrap_or_else(estimated)
        } else {
            UsedTokens::default()
        });
    }

    /// No answer. One that took too long or broke off may have cost all that was asked for; where a backend fails at once, a client does not pay.
    pub fn failed(mut self, error: &BackendError) {
        if !matches!(error, BackendError::TimedOut | BackendError::Cut) {
            self.used(UsedTokens::default());
        }
    }

    /// Some bytes of a stream.
    pub fn frame(&mut self, bytes: &[u8]) {
        self.pieces += memchr::memmem::find_iter(bytes, EVENT).count() as u64;
        self.bytes += bytes.len() as u64;
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        if self.tail.len() + kept.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        }
        self.tail.extend_from_slice(kept);
    }

    /// A piece of an answer, which is about a token, unless its text is so long that it is several.
    pub fn piece(&mut self, text: &str) {
        self.pieces += 1;
        self.bytes += text.len() as u64;
        self.event_bytes = 0;
    }

    /// A whole answer in pieces, of so many bytes.
    pub fn said_in_all(mut self, usage: Used, bytes: usize) {
        let estimated = Used { completion: estimated_tokens(bytes), ..Used::default() };
        self.said(if usage == Used::default() { estimated } else { usage });
    }

    /// What an answer in pieces used, as its backend says; where it does not, its pieces count.
    pub fn said(&mut self, usage: Used) {
        let Used { prompt, completion, .. } = usage;
        if prompt > 0 || completion > 0 {
            self.pieces = 0;
            let prompt = if prompt == 0 { self.prompt_tokens } else { prompt.min(MOST_TOKENS) };
            self.used(UsedTokens { prompt, completion: completion.min(MOST_TOKENS) });
        }
    }

    /// What answers used that were not given.
    pub fn also(mut self, used: UsedTokens) -> Self {
        self.before = used;
        self
    }

    fn used(&mut self, used: UsedTokens) {
        let used = UsedTokens {
            prompt: used.prompt.saturating_add(self.before.prompt),
            completion: used.completion.saturating_add(self.before.completion),
        };
        self.note.set(used);
        if let Some(reservation) = &mut self.reservation {
            reservation.note(used.total());
        }
    }
}

/// A stream ends in many ways, and what was sent until then counts.
impl Drop for Meter {
    fn drop(&mut self) {
        if self.pieces > 0 {
            // An event is a token, unless it is so long that it is several.
            let texts = usize::try_from(self.bytes.saturating_sub(self.pieces * self.event_bytes))
                .unwrap_or(usize::MAX);
            let completion = self.pieces.max(estimated_tokens(texts));
            let counted = UsedTokens { prompt: self.prompt_tokens, completion };
            self.used(said_at_the_end(&self.tail, self.prompt_tokens).unwrap_or(counted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_where_the_protocol_has_it_and_nowhere_else() {
        let used = |prompt, completion| Some(UsedTokens { prompt, completion });
        let chat = br#"{"choices":[{"message":{"content":"say \"usage\": {}"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7},"x":1}"#;
        assert_eq!(said_by(chat, 1), used(3, 4));
        assert_eq!(said_by(br#"{"usage":{"prompt_tokens":5,"total_tokens":5}}"#, 1), used(5, 0));
        assert_eq!(said_by(br#"{"usage":{"total_tokens":5}}"#, 1), used(5, 0));
        let repeated = br#"{"usage":{"prompt_tokens":1,"completion_tokens":8},"tools":[{"usage":{"total_tokens":99}}],"metadata":{"usage":"x"}}"#;
        assert_eq!(said_by(repeated, 1), used(1, 8), "what the client has it repeat");
        let absurd = br#"{"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":1}}"#;
        assert_eq!(said_by(absurd, 1), used(MOST_TOKENS, 1));
        let message = br#"{"usage":{"input_tokens":3,"cache_read_input_tokens":2,"cache_creation_input_tokens":null,"output_tokens":4}}"#;
        assert_eq!(said_by(message, 1), used(5, 4), "to Anthropic, what was known from before is no input");
        assert_eq!(said_by(br#"{"usage":{"output_tokens":4}}"#, 1), used(1, 4), "the rest was said before");
        for nothing in
            [&b"{}"[..], br#"{"usage":null}"#, br#"{"usage":{"#, br#"{"x":{"usage":{"total_tokens":1}}}"#]
        {
            assert_eq!(said_by(nothing, 1), None, "{}", String::from_utf8_lossy(nothing));
        }
    }

    #[test]
    fn of_a_stream_the_last_event_that_says_anything_counts() {
        let used = |prompt, completion| Some(UsedTokens { prompt, completion });
        let each_counts = b"data: {\"usage\":{\"prompt_tokens\":1}}\n\ndata: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":8}}\n\ndata: [DONE]\n\n";
        assert_eq!(said_at_the_end(each_counts, 1), used(1, 8));
        let response = b"event: response.completed\ndata: {\"response\":{\"tools\":[{\"usage\":{\"total_tokens\":9}}],\"usage\": {\"input_tokens\":5,\"output_tokens\":6}}}\n\n";
        assert_eq!(said_at_the_end(response, 1), used(5, 6));
        let long = b"so long that its beginning is lost\",\"usage\":{\"input_tokens\":5,\"output_tokens\":6},\"metadata\":{}}}\n\n";
        assert_eq!(said_at_the_end(long, 1), used(5, 6));
        assert_eq!(said_at_the_end(b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n", 1), None);
    }

    /// What is noted after an answer.
    fn noted(answer: impl FnOnce(Meter)) -> (u64, u64) {
        let note = TokenNote::default();
        answer(Meter::new(note.clone(), None, Endpoint::ChatCompletions, 10));
        let UsedTokens { prompt, completion } = note.get();
        (prompt, completion)
    }

    #[test]
    fn whichever_way_an_answer_ends_what_was_sent_until_then_counts() {
        let usage = Used { prompt: 7, cached: 0, completion: 2 };
        assert_eq!(noted(drop), (10, 0), "it was asked");
        assert_eq!(noted(|meter| meter.failed(&BackendError::Unreachable)), (0, 0));
        assert_eq!(noted(|meter| meter.failed(&BackendError::TimedOut)), (10, 0));
        assert_eq!(noted(|meter| meter.whole(false, b"{}")), (0, 0));
        assert_eq!(noted(|meter| meter.whole(true, b"12345678")), (10, 2));
        assert_eq!(noted(|mut meter| meter.piece("x")), (10, 1), "the client left");
        assert_eq!(noted(|mut meter| (meter.piece("x"), meter.piece("x"), meter.said(usage)).2), (7, 2));
        assert_eq!(noted(|mut meter| meter.frame(b"data: {}\n\ndata: {}\n\n")), (10, 2));
        assert_eq!(
            noted(|mut meter| meter.piece(&"x".repeat(4_000))),
            (10, 1_000),
            "many tokens in one piece"
        );
        assert_eq!(noted(|meter| meter.said_in_all(Used::default(), 40)), (10, 10), "nothing is said");
        let half = Used { completion: 2, ..Used::default() };
        assert_eq!(noted(|meter| meter.said_in_all(half, 40)), (10, 2), "half of it is");
        let long = format!("data: {}\n\n", "x".repeat(4_392));
        assert_eq!(noted(|mut meter| meter.frame(long.as_bytes())), (10, 1_000), "many tokens in one event");
    }

    #[test]
    fn usage_that_is_cut_between_frames_of_a_long_stream_is_found() {
        let counted = noted(|mut meter| {
            for _ in 0..100 {
                meter.frame(&[b'x'; 999]);
            }
            meter.frame(b"data: {\"usa");
            meter.frame(b"ge\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n");
            assert!(meter.tail.capacity() <= 4 * TAIL_BYTES);
        });
        assert_eq!(counted, (1, 2));
    }
}
