//! One request as the spans of a trace, named by OpenTelemetry's conventions for HTTP servers and for generative models: the request, within it what was
//! asked of models in all, and within that each attempt, which is what a backend that traces too continues. Pure.

use crate::attempts::Ledger;
use crate::telemetry::{Correlation, UsedTokens};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::time::SystemTime;
use tokio::time::Instant;

/// What is told of a request.
pub struct RequestSpans<'a> {
    /// By what it is known.
    pub correlation: &'a Correlation,
    /// Its method.
    pub method: &'a str,
    /// Its route.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// When it came, and when its answer had ended.
    pub time: (SystemTime, SystemTime),
    /// Who asked.
    pub client: Option<&'a str>,
    /// The model, by the name that clients use.
    pub model: Option<&'a str>,
    /// What became of it in the cache.
    pub cache: Option<&'a str>,
    /// The limit that refused it.
    pub limit: Option<&'a str>,
    /// Why its answer broke, which had begun.
    pub trouble: Option<&'a str>,
    /// What it used.
    pub tokens: UsedTokens,
    /// Backends that were asked.
    pub attempts: Vec<AttemptSpan>,
}

/// A backend that was asked.
#[derive(Clone, Debug)]
pub struct AttemptSpan {
    /// Its name.
    pub backend: String,
    /// What it speaks.
    pub provider: &'static str,
    /// What came of it.
    pub outcome: &'static str,
    /// Whether it gave the answer.
    pub is_answer: bool,
    /// From when until when; that of the answer ends with it.
    pub time: (SystemTime, SystemTime),
}

impl RequestSpans<'_> {
    /// All of them; none if it is not to be told of.
    pub(super) fn into_spans(self) -> Vec<SpanData> {
        let Some((trace_id, parent, ids)) = self.correlation.told() else { return Vec::new() };
        let trace = TraceId::from_bytes(trace_id.to_be_bytes());
        let mut spans = vec![self.request(trace, span_id(parent.unwrap_or_default()), ids.request())];
        spans[0].parent_span_is_remote = parent.is_some();
        if let Some(first) = self.attempts.first() {
            let begin = first.time.0;
            spans.push(self.asking(trace, (ids.request(), ids.asking()), begin));
        }
        for (index, attempt) in self.attempts.iter().enumerate() {
            spans.push(attempt.span(trace, (ids.asking(), ids.attempt(index))));
        }
        spans
    }

    fn request(&self, trace: TraceId, parent: SpanId, id: u64) -> SpanData {
        let mut span =
            span(trace, (parent, id), SpanKind::Server, format!("{} {}", self.method, self.route), self.time);
        let mut note = |key: &'static str, value: Value| span.attributes.push(KeyValue::new(key, value));
        note("http.request.method", self.method.to_owned().into());
        note("http.route", self.route.to_owned().into());
        note("http.response.status_code", i64::from(self.status).into());
        let request_id = self.correlation.request_id().to_str().unwrap_or_default();
        for (key, value) in [
            ("codecrucible.request_id", Some(request_id)),
            ("codecrucible.client", self.client),
            ("codecrucible.cache", self.cache),
            ("codecrucible.limit", self.limit),
        ] {
            value.into_iter().for_each(|value| note(key, value.to_owned().into()));
        }
        let failed = (self.status >= 500).then(|| self.status.to_string());
        if let Some(error) = failed.or_else(|| self.trouble.map(str::to_owned)) {
            note("error.type", error.into());
            span.status = Status::error("");
        }
        span
    }

    fn asking(&self, trace: TraceId, (parent, id): (u64, u64), begin: SystemTime) -> SpanData {
        let operation = operation(self.route);
        let model = self.model.unwrap_or_default();
        let time = (begin, self.time.1);
        let name = format!("{operation} {model}");
        let mut span = span(trace, (span_id(parent), id), SpanKind::Client, name, time);
        let mut note = |key: &'static str, value: Value| span.attributes.push(KeyValue::new(key, value));
        note("gen_ai.operation.name", operation.into());
        note("gen_ai.request.model", model.to_owned().into());
        let of_answer = self.attempts.iter().find(|attempt| attempt.is_answer).or(self.attempts.last());
        of_answer.into_iter().for_each(|attempt| note("gen_ai.provider.name", attempt.provider.into()));
        note("gen_ai.usage.input_tokens", number(self.tokens.prompt));
        note("gen_ai.usage.output_tokens", number(self.tokens.completion));
        if !self.attempts.iter().any(|attempt| attempt.is_answer) {
            note("error.type", of_answer.map_or("none", |attempt| attempt.outcome).into());
            span.status = Status::error("");
        }
        span
    }
}

impl AttemptSpan {
    /// What was tried for a request that has just ended. Instants say nothing outside of the process: their distance from now does.
    pub fn of(ledger: &Ledger, (end, now): (SystemTime, Instant)) -> Vec<Self> {
        let spans = ledger.tried.iter().enumerate().map(|(index, tried)| {
            let (is_answer, began) = (ledger.answered == Some(index), end - (now - tried.began));
            Self {
                backend: tried.backend.clone(),
                provider: tried.provider,
                outcome: tried.outcome.as_str(),
                is_answer,
                time: (began, if is_answer { end } else { began + tried.after }),
            }
        });
        spans.collect()
    }

    fn span(&self, trace: TraceId, (parent, id): (u64, u64)) -> SpanData {
        let name = format!("attempt {}", self.backend);
        let mut span = span(trace, (span_id(parent), id), SpanKind::Client, name, self.time);
        let mut note = |key: &'static str, value: Value| span.attributes.push(KeyValue::new(key, value));
        note("codecrucible.backend", self.backend.clone().into());
        note("codecrucible.outcome", self.outcome.into());
        if !self.is_answer {
            note("error.type", self.outcome.into());
            span.status = Status::error("");
        }
        span
    }
}

/// What is asked of a model, by the conventions' names.
fn operation(route: &str) -> &'static str {
    match route {
        "/v1/completions" => "text_completion",
        "/v1/embeddings" => "embeddings",
        _ => "chat",
    }
}

fn number(tokens: u64) -> Value {
    i64::try_from(tokens).unwrap_or(i64::MAX).into()
}

fn span_id(id: u64) -> SpanId {
    SpanId::from_bytes(id.to_be_bytes())
}

fn span(
    trace: TraceId,
    (parent_span_id, id): (SpanId, u64),
    span_kind: SpanKind,
    name: String,
    (start_time, end_time): (SystemTime, SystemTime),
) -> SpanData {
    let state = TraceState::default();
    SpanData {
        span_context: SpanContext::new(trace, span_id(id), TraceFlags::SAMPLED, false, state),
        parent_span_id,
        parent_span_is_remote: false,
        span_kind,
        name: Cow::Owned(name),
        start_time,
        end_time,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use std::time::Duration;

    fn attempt(backend: &str, outcome: &'static str, from_ms: u64, until_ms: u64) -> AttemptSpan {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let time = (at(from_ms), at(until_ms));
        let is_answer = outcome == "answered";
        AttemptSpan { backend: backend.into(), provider: "openai", outcome, is_answer, time }
    }

    fn spans(correlation: &Correlation, attempts: Vec<AttemptSpan>, status: u16) -> Vec<SpanData> {
        broken(correlation, attempts, status, None)
    }

    fn broken(
        correlation: &Correlation,
        attempts: Vec<AttemptSpan>,
        status: u16,
        trouble: Option<&str>,
    ) -> Vec<SpanData> {
        let (begin, end) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_millis(90));
        let spans = RequestSpans {
            correlation,
            method: "POST",
            route: "/v1/chat/completions",
            status,
            time: (begin, end),
            client: Some("shop.app"),
            model: Some("coder"),
            cache: None,
            limit: None,
            trouble,
            tokens: UsedTokens { prompt: 3, completion: 4 },
            attempts,
        };
        spans.into_spans()
    }

    fn attribute(span: &SpanData, key: &str) -> Option<String> {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        found.map(|attribute| attribute.value.as_str().into_owned())
    }

    #[test]
    fn attempts_are_within_what_was_asked_which_is_within_the_request() {
        let correlation = Correlation::of(&HeaderMap::new()).sampled(100, 0);
        let attempts = vec![attempt("a", "cut", 10, 20), attempt("b", "answered", 30, 90)];
        let spans = spans(&correlation, attempts, 200);
        let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["POST /v1/chat/completions", "chat coder", "attempt a", "attempt b"]);
        assert_eq!(spans[0].parent_span_id, SpanId::INVALID);
        assert_eq!(spans[1].parent_span_id, spans[0].span_context.span_id());
        assert!(spans[2..].iter().all(|span| span.parent_span_id == spans[1].span_context.span_id()));
        assert_eq!((spans[1].start_time, spans[1].end_time), (spans[2].start_time, spans[0].end_time));
        assert_eq!(attribute(&spans[0], "http.response.status_code").as_deref(), Some("200"));
        assert_eq!(attribute(&spans[1], "gen_ai.usage.output_tokens").as_deref(), Some("4"));
        assert_eq!(attribute(&spans[2], "error.type").as_deref(), Some("cut"));
        assert_eq!((attribute(&spans[1], "error.type"), attribute(&spans[3], "error.type")), (None, None));
    }

    #[test]
    fn what_failed_says_so_at_every_level() {
        let correlation = Correlation::of(&HeaderMap::new()).sampled(100, 0);
        let spans = spans(&correlation, vec![attempt("a", "timeout", 10, 90)], 504);
        let errors: Vec<_> = spans.iter().filter_map(|span| attribute(span, "error.type")).collect();
        assert_eq!(errors, ["504", "timeout", "timeout"]);
        let spans = broken(&correlation, vec![attempt("a", "answered", 10, 90)], 200, Some("cut"));
        assert_eq!(attribute(&spans[0], "error.type").as_deref(), Some("cut"), "its answer broke");
    }

    #[test]
    fn nothing_is_made_of_a_request_that_is_not_told_of() {
        assert!(spans(&Correlation::of(&HeaderMap::new()), Vec::new(), 200).is_empty());
    }
}
