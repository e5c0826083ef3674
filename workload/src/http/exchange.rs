//! One request and its answer, from the first byte to the last: by what it is known, how it is counted, how much of its time was the service's own
//! (`x-codecrucible-overhead-us`), and the line of the log that tells of it.

use super::anthropic_errors;
use super::browsers::{harden, tell_origin};
use super::unread::given_up_unread;
use super::warm_up::WARM_UP;
use super::watched_body::{Watch, watched};
use crate::attempts::Ledger;
use crate::limits::Held;
use crate::redaction::{Found, FoundNote};
use crate::routing::PublicModel;
use crate::service::Service;
use crate::telemetry::{
    AccessLine, AttemptSpan, Correlation, REQUEST_ID, RequestSpans, TokenNote, TroubleNote,
};
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONNECTION, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// Names of what was taken out of a request.
const REDACTED: HeaderName = HeaderName::from_static("x-codecrucible-redacted");
/// Microseconds.
const OVERHEAD: HeaderName = HeaderName::from_static("x-codecrucible-overhead-us");

/// What is noted of one request while it is answered. Cheap to clone.
#[derive(Clone)]
pub(super) struct Exchange(Arc<Noted>);

struct Noted {
    correlation: Correlation,
    client: OnceLock<Arc<str>>,
    model: OnceLock<Arc<PublicModel>>,
    /// What was tried.
    ledger: OnceLock<Ledger>,
    /// What became of a request whose answer is kept.
    cache: OnceLock<&'static str>,
    /// Secrets that were found in it.
    secrets: OnceLock<Found>,
    /// Those that were found in the answer.
    answer_secrets: FoundNote,
    /// Which limit refuses it, or would.
    limit: OnceLock<Refusing>,
    /// Why its answer, which had begun, is not whole.
    trouble: OnceLock<TroubleNote>,
    tokens: TokenNote,
    /// Its places among those that are under way at once. They are given back with the exchange.
    held: OnceLock<Held>,
    /// For a client or a backend, until the answer began, nanoseconds.
    waited: AtomicU64,
}

/// Which limit refuses a request.
pub(super) enum Refusing {
    InForce(Arc<str>),
    InShadow(Arc<str>),
}

impl Exchange {
    fn new(correlation: Correlation) -> Self {
        Self(Arc::new(Noted {
            correlation,
            client: OnceLock::new(),
            model: OnceLock::new(),
            ledger: OnceLock::new(),
            cache: OnceLock::new(),
            secrets: OnceLock::new(),
            answer_secrets: FoundNote::default(),
            limit: OnceLock::new(),
            trouble: OnceLock::new(),
            tokens: TokenNote::default(),
            held: OnceLock::new(),
            waited: AtomicU64::new(0),
        }))
    }

    /// By what it is known.
    pub(super) fn correlation(&self) -> &Correlation {
        &self.0.correlation
    }

    /// Where the tokens are noted that it uses.
    pub(super) fn tokens(&self) -> &TokenNote {
        &self.0.tokens
    }

    pub(super) fn note_client(&self, client: &str) {
        let _ = self.0.client.set(client.into());
    }

    pub(super) fn note_model(&self, model: &Arc<PublicModel>) {
        let _ = self.0.model.set(Arc::clone(model));
    }

    /// The model that answers, by the name that clients use, once that is known.
    pub(super) fn model(&self) -> Option<&str> {
        self.0.model.get().map(|model| model.name())
    }

    /// Gives it back, for as long as the exchange lasts. One request has one.
    pub(super) fn note_attempts(&self, ledger: Ledger) -> &Ledger {
        self.note_wait(ledger.waited());
        self.0.ledger.get_or_init(|| ledger)
    }

    pub(super) fn note_cache(&self, outcome: &'static str) {
        let _ = self.0.cache.set(outcome);
    }

    pub(super) fn note_secrets(&self, found: Found) {
        let _ = self.0.secrets.set(found);
    }

    /// Where the secrets are noted that are found in the answer.
    pub(super) fn answer_secrets(&self) -> &FoundNote {
        &self.0.answer_secrets
    }

    pub(super) fn note_limit(&self, limit: Refusing) {
        let _ = self.0.limit.set(limit);
    }

    /// Where it is noted should its answer, once it has begun, not be whole.
    pub(super) fn trouble_note(&self) -> TroubleNote {
        self.0.trouble.get_or_init(TroubleNote::default).clone()
    }

    /// It reads another one's answer, of which that is noted there.
    pub(super) fn read_along(&self, trouble: TroubleNote) {
        let _ = self.0.trouble.set(trouble);
    }

    /// Whether a client asks, and not the service itself.
    pub(super) fn is_for_client(&self) -> bool {
        self.0.cache.get() != Some(&WARM_UP)
    }

    /// From now on these are its places, as long as it lasts.
    pub(super) fn hold(&self, held: Held) {
        let _ = self.0.held.set(held);
    }

    /// Time that was not the service's own.
    pub(super) fn note_wait(&self, waited: Duration) {
        self.0.waited.fetch_add(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The answer from within to one request, and all that is told of both: under the name of the route in metrics and in the log.
pub(super) async fn followed<A: Future<Output = Response>>(
    service: &Service,
    route: &'static str,
    request: Request,
    within: impl FnOnce(Exchange, Request) -> A,
) -> Response {
    let version = request.version();
    let origin = request.headers().get(ORIGIN).cloned();
    let has_anthropic_errors = anthropic_errors::are_wanted(request.uri().path(), request.headers());
    let exchange = Exchange::new(correlation(service, request.headers()));
    let mut ending = Ending {
        service: service.clone(),
        method: request.method().clone(),
        route,
        exchange: exchange.clone(),
        begin: Instant::now(),
        began: None,
        bytes: 0,
        is_whole: false,
    };
    let mut response = within(exchange, request).await;
    let own = ending.begin(response.status());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, ending.exchange.correlation().request_id().clone());
    headers.insert(OVERHEAD, HeaderValue::from(u64::try_from(own.as_micros()).unwrap_or(u64::MAX)));
    headers.extend(redacted(&ending.exchange).map(|names| (REDACTED, names)));
    harden(&ending.service, headers);
    tell_origin(&ending.service, origin.as_ref(), headers);
    if version <= Version::HTTP_11 && ending.service.is_draining() {
        // Whoever would send another request on a connection that is about to be closed had better open one elsewhere.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if has_anthropic_errors {
        response = anthropic_errors::translated(response).await;
    }
    let is_http2 = version == Version::HTTP_2;
    response.map(|body| watched(body, ending)).map(|body| if is_http2 { given_up_unread(body) } else { body })
}

/// The names of what was taken out of a request.
fn redacted(exchange: &Exchange) -> Option<HeaderValue> {
    let found = exchange.0.secrets.get().filter(|found| !found.is_shadow)?;
    HeaderValue::try_from(found.names()).ok()
}

/// What is told when an answer has ended, or when its client did not wait for it: what is in it notes tokens when it goes, which is before.
struct Ending {
    service: Service,
    method: Method,
    route: &'static str,
    exchange: Exchange,
    begin: Instant,
    began: Option<Began>,
    bytes: u64,
    is_whole: bool,
}

/// How an answer began.
#[derive(Clone, Copy)]
struct Began {
    status: StatusCode,
    after: Duration,
    own: Duration,
}

impl Ending {
    /// The answer begins; gives how much of the time until then was the service's own.
    fn begin(&mut self, status: StatusCode) -> Duration {
        let after = self.begin.elapsed();
        let waited = Duration::from_nanos(self.exchange.0.waited.load(Ordering::Relaxed));
        let own = after.saturating_sub(waited);
        self.began = Some(Began { status, after, own });
        self.count(status, after);
        own
    }

    fn count(&self, status: StatusCode, after: Duration) {
        self.service.metrics().requests.answered(self.route, status, after);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let ended_after = self.begin.elapsed();
        if self.began.is_none() {
            self.began = Some(Began { status: client_gone(), after: ended_after, own: Duration::ZERO });
            self.count(client_gone(), ended_after);
        }
        let Some(Began { status, after, own }) = self.began else { return };
        let Noted {
            correlation,
            client,
            model,
            ledger,
            cache,
            secrets,
            answer_secrets,
            limit,
            trouble,
            tokens,
            ..
        } = &*self.exchange.0;
        let (ledger, trouble, tokens) =
            (ledger.get(), trouble.get().and_then(TroubleNote::get), tokens.get());
        if let Some(model) = model.get() {
            self.service.metrics().models.used(model.tokens(), model.name(), tokens);
        }
        let (limit, shadow_limit) = match limit.get() {
            Some(Refusing::InForce(limit)) => (Some(&**limit), None),
            Some(Refusing::InShadow(limit)) => (None, Some(&**limit)),
            None => (None, None),
        };
        let (secrets, shadow_secrets) = named(secrets.get());
        let (answer_secrets, shadow_answer_secrets) = named(answer_secrets.get().as_ref());
        let line = AccessLine {
            secrets: secrets.as_deref(),
            shadow_secrets: shadow_secrets.as_deref(),
            answer_secrets: answer_secrets.as_deref(),
            shadow_answer_secrets: shadow_answer_secrets.as_deref(),
            queued: ledger.map(|ledger| ledger.queued).filter(|queued| !queued.is_zero()),
            short: ledger.and_then(Ledger::shortfall),
            route: self.route,
            status,
            client: client.get().map(|client| &**client),
            model: model.get().map(|model| model.name()),
            backend: ledger.and_then(Ledger::backend),
            attempts: ledger.map_or(0, |ledger| ledger.tried.len()),
            cache: cache.get().copied(),
            limit,
            shadow_limit,
            tokens,
            bytes: self.bytes,
            // What breaks ends with an event that says so.
            is_whole: self.is_whole && trouble.is_none(),
            trouble,
            began_after: after,
            ended_after,
            own,
            request_id: correlation.request_id().to_str().unwrap_or_default(),
            trace_id: correlation.trace_id(),
        };
        // Whoever likes sends requests without a token: whether they are told of is not for them to say.
        let is_trusted = client.get().is_some() || !correlation.is_traced_by_client();
        if correlation.told().is_some() && is_trusted {
            self.service.traces().tell(spans(&line, &self.method, &self.exchange, ended_after));
        }
        line.leave(self.service.glance().bundle.policy().observability.access_log, fastrand::u16(0..100));
    }
}

/// The names of secrets that were taken out, and of those that would be.
fn named(found: Option<&Found>) -> (Option<String>, Option<String>) {
    let named = |is_shadow| found.filter(|found| found.is_shadow == is_shadow).map(Found::names);
    (named(false), named(true))
}

/// By what a request is known; whether a collector is told of it is decided here, for all that comes of it.
fn correlation(service: &Service, headers: &HeaderMap) -> Correlation {
    let correlation = Correlation::of(headers);
    match &service.glance().bundle.policy().observability.traces {
        Some(traces) => correlation.sampled(traces.sample_percent, fastrand::u16(0..100)),
        None => correlation,
    }
}

/// What a collector is told. Instants say nothing outside of the process: their distance from now does.
fn spans<'a>(
    line: &AccessLine<'a>,
    method: &'a Method,
    exchange: &'a Exchange,
    ended_after: Duration,
) -> RequestSpans<'a> {
    let (end, now) = (SystemTime::now(), tokio::time::Instant::now());
    let attempts = exchange.0.ledger.get().map(|ledger| AttemptSpan::of(ledger, (end, now)));
    RequestSpans {
        correlation: exchange.correlation(),
        method: method.as_str(),
        route: line.route,
        status: line.status.as_u16(),
        time: (end - ended_after, end),
        client: line.client,
        model: line.model,
        cache: line.cache,
        limit: line.limit,
        trouble: line.trouble,
        tokens: line.tokens,
        attempts: attempts.unwrap_or_default(),
    }
}

/// Of requests whose clients did not wait for an answer: what nginx calls so.
fn client_gone() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT)
}

impl Watch for Ending {
    fn sent(&mut self, bytes: usize, is_whole: bool) {
        self.bytes += bytes as u64;
        self.is_whole = is_whole;
    }
}
