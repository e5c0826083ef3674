//! A line of the log for each request, at its end; of those that went well, for a sample.

use super::{UsedTokens, logging};
use codecrucible_contract::AccessLog;
use http::StatusCode;
use serde::Serialize;
use std::time::Duration;

/// Room for a line, bytes; most are shorter.
const LINE_BYTES: usize = 640;

/// What is known of a request when it has ended.
#[derive(Debug, Default)]
pub struct AccessLine<'a> {
    /// Which path was asked, as a pattern.
    pub route: &'a str,
    /// What was answered.
    pub status: StatusCode,
    /// Who asked, once that is known.
    pub client: Option<&'a str>,
    /// The model, by the name that clients use.
    pub model: Option<&'a str>,
    /// Which backend answered.
    pub backend: Option<&'a str>,
    /// After how many attempts.
    pub attempts: usize,
    /// What became of a request whose answer is kept: whether it was a hit.
    pub cache: Option<&'a str>,
    /// Which secrets were taken out of it.
    pub secrets: Option<&'a str>,
    /// Which ones would be, if that were in force.
    pub shadow_secrets: Option<&'a str>,
    /// Which secrets were taken out of the answer.
    pub answer_secrets: Option<&'a str>,
    /// Which ones would be, if that were in force.
    pub shadow_answer_secrets: Option<&'a str>,
    /// How long it waited for a backend to have room, where it did.
    pub queued: Option<Duration>,
    /// Why an answer fell short after which others were asked.
    pub short: Option<&'a str>,
    /// Which limit refused it.
    pub limit: Option<&'a str>,
    /// Which one would, if it were in force.
    pub shadow_limit: Option<&'a str>,
    /// What the answer used.
    pub tokens: UsedTokens,
    /// Bytes of the answer.
    pub bytes: u64,
    /// Whether all of the answer was sent; otherwise it broke, or the client left before.
    pub is_whole: bool,
    /// Why an answer broke that had begun well.
    pub trouble: Option<&'a str>,
    /// Until the answer began, for a stream its first event.
    pub began_after: Duration,
    /// Until it ended.
    pub ended_after: Duration,
    /// What of the time until it began was the service's own.
    pub own: Duration,
    /// By what it is known.
    pub request_id: &'a str,
    /// The client's trace.
    pub trace_id: Option<&'a str>,
}

/// As it is written: like the other lines of the log, but whatever its level is.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'static str,
    message: &'static str,
    route: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_secrets: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_secrets: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_answer_secrets: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_ms: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    short: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_limit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
    bytes: u64,
    is_whole: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'a str>,
    began_after_ms: u128,
    ended_after_ms: u128,
    own_us: u128,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    target: &'static str,
}

impl AccessLine<'_> {
    /// Leaves it to be written, or not, as the policy says; `chance` is below 100. Those that are told of by chance give way to others.
    pub fn leave(&self, policy: AccessLog, chance: u16) {
        if self.is_told(policy, chance) {
            logging::leave_line(&self.line(&logging::timestamp()), !self.has_to_be_told(policy));
        }
    }

    fn line(&self, timestamp: &str) -> Vec<u8> {
        let tokens = |count: u64| (count > 0).then_some(count);
        let line = Line {
            timestamp,
            level: "INFO",
            message: "request",
            route: self.route,
            status: self.status.as_u16(),
            client: self.client,
            model: self.model,
            backend: self.backend,
            attempts: (self.attempts > 0).then_some(self.attempts),
            cache: self.cache,
            secrets: self.secrets,
            shadow_secrets: self.shadow_secrets,
            answer_secrets: self.answer_secrets,
            shadow_answer_secrets: self.shadow_answer_secrets,
            queued_ms: self.queued.map(|queued| queued.as_millis()),
            short: self.short,
            limit: self.limit,
            shadow_limit: self.shadow_limit,
            prompt_tokens: tokens(self.tokens.prompt),
            completion_tokens: tokens(self.tokens.completion),
            bytes: self.bytes,
            is_whole: self.is_whole,
            trouble: self.trouble,
            began_after_ms: self.began_after.as_millis(),
            ended_after_ms: self.ended_after.as_millis(),
            own_us: self.own.as_micros(),
            request_id: self.request_id,
            trace_id: self.trace_id,
            target: "access",
        };
        let mut text = Vec::with_capacity(LINE_BYTES);
        // Into memory it does not fail.
        let _ = serde_json::to_writer(&mut text, &line);
        text.push(b'\n');
        text
    }

    fn is_told(&self, policy: AccessLog, chance: u16) -> bool {
        self.has_to_be_told(policy) || chance < policy.sample_percent
    }

    fn has_to_be_told(&self, policy: AccessLog) -> bool {
        let is_slow =
            policy.slower_than_ms.is_some_and(|most| self.ended_after > Duration::from_millis(most));
        let has_failed = self.status.is_server_error() && self.cache != Some(crate::cache::ABSENT);
        has_failed || self.trouble.is_some() || is_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_or_is_slow_is_always_told_and_of_the_rest_a_sample() {
        let line = |status, seconds| AccessLine {
            status,
            ended_after: Duration::from_secs(seconds),
            ..AccessLine::default()
        };
        let policy = AccessLog { sample_percent: 10, slower_than_ms: Some(5_000) };
        let usual = line(StatusCode::OK, 5);
        assert!(usual.is_told(policy, 9) && !usual.is_told(policy, 10) && !usual.has_to_be_told(policy));
        let stranger = line(StatusCode::UNAUTHORIZED, 1);
        assert!(!stranger.is_told(policy, 99), "whoever likes makes these");
        let absent = AccessLine { cache: Some(crate::cache::ABSENT), ..line(StatusCode::GATEWAY_TIMEOUT, 1) };
        assert!(!absent.has_to_be_told(policy), "the client wanted it so");
        let broken = AccessLine { trouble: Some("cut"), ..line(StatusCode::OK, 1) };
        for told in [line(StatusCode::OK, 6), line(StatusCode::BAD_GATEWAY, 1), broken] {
            assert!(told.is_told(policy, 99) && told.has_to_be_told(policy));
        }
        let all = AccessLog { sample_percent: 100, slower_than_ms: None };
        assert!(line(StatusCode::OK, 1).is_told(all, 99));
    }

    #[test]
    fn a_line_is_one_line_of_json_whatever_is_in_it() {
        let line = AccessLine {
            route: "/v1/models",
            client: Some("apps.\"shop\"\n"),
            tokens: UsedTokens { prompt: 3, completion: 0 },
            own: Duration::from_micros(70),
            ..AccessLine::default()
        };
        let text = String::from_utf8(line.line("1970-01-01T00:00:00Z")).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&read["timestamp"], &read["client"]),
            (&"1970-01-01T00:00:00Z".into(), &"apps.\"shop\"\n".into())
        );
        assert_eq!((&read["prompt_tokens"], &read["own_us"]), (&3.into(), &70.into()));
        assert!(read.get("completion_tokens").is_none() && read.get("limit").is_none());
    }
}
