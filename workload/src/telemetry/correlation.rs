//! By what one request is known to everybody who has to do with it: an identifier (`x-request-id`) and, where a client traces, its trace
//! (W3C Trace Context, level 1). Both go on to backends.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Which OpenAI's SDKs show with errors.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest identifier that is taken over from a client, bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// Longest state of a trace that is passed on, bytes (the least that a party should pass on).
const MAX_TRACE_STATE_BYTES: usize = 512;

/// By what a request is known.
#[derive(Clone, Debug)]
pub struct Correlation {
    request_id: HeaderValue,
    trace: Option<Trace>,
    /// By what a collector knows the parts of it; nothing if none is told of it.
    spans: Option<SpanIds>,
}

#[derive(Clone, Debug)]
struct Trace {
    /// 32 digits.
    id: String,
    /// The client's part of it, 16 digits; nothing if it begins here.
    parent: Option<String>,
    /// 2 digits.
    flags: String,
    state: Option<HeaderValue>,
}

/// By what the parts of a request are known in its trace: numbers that follow each other.
#[derive(Clone, Copy, Debug)]
pub struct SpanIds(u64);

impl SpanIds {
    fn new() -> Self {
        // There are never so many attempts that the last one would be 0.
        Self(fastrand::u64(1..u64::MAX / 2))
    }

    /// The request.
    pub fn request(self) -> u64 {
        self.0
    }

    /// What is asked of a model in all.
    pub fn asking(self) -> u64 {
        self.0 + 1
    }

    /// An attempt, from 0.
    pub fn attempt(self, index: usize) -> u64 {
        self.0 + 2 + index as u64
    }
}

/// The flag of a trace that whoever began it tells of.
const SAMPLED: u8 = 1;

impl Correlation {
    /// As a client says, as far as that is well-formed.
    pub fn of(headers: &HeaderMap) -> Self {
        let request_id = headers.get(REQUEST_ID).filter(|id| is_request_id(id.as_bytes())).cloned();
        let trace = headers.get(TRACE_PARENT).and_then(|parent| trace(parent.to_str().ok()?));
        let state = headers.get(TRACE_STATE).filter(|state| state.len() <= MAX_TRACE_STATE_BYTES).cloned();
        Self {
            request_id: request_id.unwrap_or_else(new_request_id),
            trace: trace.map(|trace| Trace { state, ..trace }),
            spans: None,
        }
    }

    /// The same where a collector is told of requests: of those that a client traces as it says, and of a share of the others: `drawn` is below 100.
    pub fn sampled(mut self, percent: u16, drawn: u16) -> Self {
        let is_told = match &self.trace {
            Some(trace) => u8::from_str_radix(&trace.flags, 16).is_ok_and(|flags| flags & SAMPLED != 0),
            None => drawn < percent,
        };
        if is_told {
            self.spans = Some(SpanIds::new());
            self.trace.get_or_insert_with(|| Trace {
                id: format!("{:032x}", fastrand::u128(1..)),
                parent: None,
                flags: format!("{SAMPLED:02x}"),
                state: None,
            });
        }
        self
    }

    /// Whether the trace began before it came here.
    pub fn is_traced_by_client(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.parent.is_some())
    }

    /// If a collector is told of it: the trace, the client's part of it, if any, and by what the parts of the request are known.
    pub fn told(&self) -> Option<(u128, Option<u64>, SpanIds)> {
        let (trace, spans) = (self.trace.as_ref()?, self.spans?);
        let parent = trace.parent.as_ref().and_then(|parent| u64::from_str_radix(parent, 16).ok());
        Some((u128::from_str_radix(&trace.id, 16).ok()?, parent, spans))
    }

    /// The identifier.
    pub fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// The identifier of the trace, if the client has one.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace.as_ref().map(|trace| trace.id.as_str())
    }

    /// Tells whoever is asked next, in an attempt, from 0.
    pub fn add_to(&self, headers: &mut HeaderMap, attempt: usize) {
        headers.insert(REQUEST_ID, self.request_id.clone());
        let Some(Trace { id, flags, state, .. }) = &self.trace else { return };
        // The part of the trace that begins there.
        let part = self.spans.map_or_else(|| fastrand::u64(1..), |spans| spans.attempt(attempt));
        let parent = format!("00-{id}-{part:016x}-{flags}");
        if let Ok(parent) = HeaderValue::try_from(parent) {
            headers.insert(TRACE_PARENT, parent);
            state.iter().for_each(|state| drop(headers.insert(TRACE_STATE, state.clone())));
        }
    }
}

/// It stands in logs and headers of others.
fn is_request_id(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.iter().all(is_plain)
}

fn new_request_id() -> HeaderValue {
    let id = format!("{:032x}", fastrand::u128(..));
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// A later version may say more behind.
fn trace(parent: &str) -> Option<Trace> {
    let mut parts = parent.split('-');
    let mut part = |length: usize| {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        parts.next().filter(|part| part.len() == length && part.bytes().all(is_digit))
    };
    let (version, id, parent_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_something = |part: &str| part.bytes().any(|byte| byte != b'0');
    let is_whole = version != "00" || parts.next().is_none();
    let is_valid = version != "ff" && is_whole && is_something(id) && is_something(parent_id);
    let parent = Some(parent_id.to_owned());
    is_valid.then(|| Trace { id: id.to_owned(), parent, flags: flags.to_owned(), state: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(headers: &[(HeaderName, &str)]) -> Correlation {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        Correlation::of(&headers.collect())
    }

    #[test]
    fn a_clients_identifier_is_taken_over_if_it_is_plain() {
        let id = |text: &str| of(&[(REQUEST_ID, text)]).request_id().to_str().unwrap().to_owned();
        assert_eq!(id("order-7/2"), "order-7/2");
        for odd in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert!(is_request_id(id(odd).as_bytes()) && id(odd) != odd && id(odd).len() == 32, "{odd}");
        }
        assert_ne!(of(&[]).request_id(), of(&[]).request_id());
    }

    #[test]
    fn a_trace_goes_on_with_another_part() {
        let correlation = of(&[(TRACE_PARENT, PARENT), (TRACE_STATE, "a=1")]);
        assert_eq!(correlation.trace_id(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        let mut next = HeaderMap::new();
        correlation.add_to(&mut next, 0);
        let parent = next[TRACE_PARENT].to_str().unwrap();
        assert!(parent.starts_with(&PARENT[..36]) && parent.ends_with("-01") && parent != PARENT, "{parent}");
        assert!(trace(parent).is_some());
        assert_eq!(next[TRACE_STATE], "a=1");
        assert_eq!(next[REQUEST_ID], correlation.request_id());
    }

    #[test]
    fn what_is_no_trace_is_none() {
        let known = |parent: &str| of(&[(TRACE_PARENT, parent)]).trace_id().is_some();
        assert!(known(PARENT) && known(&format!("01{}-more", &PARENT[2..])), "a later version may say more");
        for odd in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &PARENT.to_uppercase(),
            &PARENT.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(!known(odd), "{odd}");
        }
        let mut next = HeaderMap::new();
        of(&[(TRACE_STATE, "a=1")]).add_to(&mut next, 0);
        assert!(!next.contains_key(TRACE_STATE) && !next.contains_key(TRACE_PARENT));
    }

    #[test]
    fn whether_a_collector_is_told_is_for_the_client_to_say_that_traces() {
        let traced = |flags: &str| of(&[(TRACE_PARENT, &format!("{}{flags}", &PARENT[..PARENT.len() - 2]))]);
        assert!(traced("00").sampled(100, 99).told().is_none());
        let told = traced("01").sampled(0, 0);
        let (trace, parent, spans) = told.told().unwrap();
        assert_eq!((trace, parent), (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, Some(0x00f0_67aa_0ba9_02b7)));
        let mut next = HeaderMap::new();
        told.add_to(&mut next, 1);
        let expected = format!("00-{trace:032x}-{:016x}-01", spans.attempt(1));
        assert_eq!(next[TRACE_PARENT], expected, "a backend goes on from the attempt");
    }

    #[test]
    fn of_the_others_a_share_is_told() {
        assert!(of(&[]).sampled(0, 0).told().is_none());
        let told = of(&[]).sampled(100, 99);
        let (trace, parent, _) = told.told().unwrap();
        assert_eq!(parent, None);
        let mut next = HeaderMap::new();
        told.add_to(&mut next, 0);
        assert!(next[TRACE_PARENT].to_str().unwrap().starts_with(&format!("00-{trace:032x}-")));
    }
}
