//! Answers that are given again, and what clients are told of it: `Cache-Status` (RFC 9211), `Age`, and 504 for who wants nothing else (RFC 9111).

use super::error::ApiError;
use super::events::as_events;
use super::exchange::Exchange;
use super::route_header::ROUTE;
use crate::cache::{ABSENT, Content, Directives, Joined, KeptAnswer, Layer, Look, Place, Reader};
use crate::service::Service;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{AGE, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use std::time::Instant;

/// What is told of an answer that somebody else asked for.
const COLLAPSED: &str = "codecrucible; fwd=miss; collapsed";
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a backend answers, and what of it is to be kept.
pub(super) struct FromBackend {
    pub(super) response: Response,
    pub(super) content: Option<Content>,
}

impl FromBackend {
    /// A document.
    pub(super) fn whole(document: Bytes) -> Self {
        let content = Content::Document(document);
        Self { response: response(&content), content: Some(content) }
    }

    /// Something that is not to be kept, or not yet whole.
    pub(super) fn passing(response: Response) -> Self {
        Self { response, content: None }
    }
}

fn response(content: &Content) -> Response {
    let mut response = Response::new(Body::from(content.bytes().clone()));
    match content {
        Content::Document(_) => {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Content::Events(_) => as_events(&mut response),
    }
    response
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    response.status().is_success() && kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// Where an answer came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Hit,
    Collapsed,
    Miss,
    Refreshed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Refreshed => "refreshed",
        }
    }
}

/// What the header of the route says of an answer that no backend was asked for.
fn route(layer: Layer) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("cache={}; attempts=0", layer.as_str())).ok()
}

/// One request whose answer is kept.
pub(super) struct Keeping<'a> {
    pub(super) service: &'a Service,
    pub(super) exchange: &'a Exchange,
    pub(super) place: Place,
    pub(super) directives: Directives,
    pub(super) is_stream: bool,
}

impl Keeping<'_> {
    /// Gives what is kept, or asks.
    pub(super) async fn answer(self, ask: impl Future<Output = FromBackend>) -> Result<Response, ApiError> {
        match self.place.look(self.directives, Instant::now()).await {
            Look::Kept(kept, layer) => Ok(self.again(&kept, Outcome::Hit, layer)),
            Look::Absent | Look::Unwanted if self.directives.only_if_cached => {
                self.count(ABSENT);
                Err(ApiError::not_kept())
            }
            Look::Unwanted => Ok(self.ask_alone(ask, Outcome::Refreshed).await),
            Look::Absent if self.is_stream => Ok(self.stream_together(ask).await),
            Look::Absent => Ok(self.ask_together(ask).await),
        }
    }

    async fn ask_alone(&self, ask: impl Future<Output = FromBackend>, outcome: Outcome) -> Response {
        let FromBackend { response, content } = ask.await;
        if let Some(content) = content {
            self.place.keep(content).await;
        }
        self.passed_on(response, outcome)
    }

    /// A stream that is under way is read from its beginning, and goes on as fast as it comes.
    async fn stream_together(&self, ask: impl Future<Output = FromBackend>) -> Response {
        let begin = Instant::now();
        match self.place.join().await {
            Joined::First(first) => {
                let response = self.ask_alone(ask, Outcome::Miss).await;
                if !is_stream(&response) {
                    first.keep_for_itself();
                    return response;
                }
                response.map(|body| Body::new(first.share(body, self.exchange.trouble_note())))
            }
            Joined::Reader(reader) => {
                self.exchange.note_wait(begin.elapsed());
                self.read_along(reader)
            }
            Joined::Alone => {
                self.exchange.note_wait(begin.elapsed());
                self.ask_alone(ask, Outcome::Miss).await
            }
        }
    }

    fn read_along(&self, reader: Reader) -> Response {
        self.exchange.read_along(reader.trouble().clone());
        let mut response = Response::new(Body::new(reader));
        as_events(&mut response);
        let headers = response.headers_mut();
        headers.insert(CACHE_STATUS, HeaderValue::from_static(COLLAPSED));
        headers.extend(route(Layer::Memory).map(|route| (ROUTE, route)));
        self.count(Outcome::Collapsed.as_str());
        response
    }

    async fn ask_together(&self, ask: impl Future<Output = FromBackend>) -> Response {
        let mut ask = std::pin::pin!(ask);
        let (mut own, begin) = (None, Instant::now());
        let asked = async {
            // Somebody else may have asked, and left.
            self.exchange.note_wait(begin.elapsed());
            let FromBackend { response, content } = ask.as_mut().await;
            own = Some(response);
            content
        };
        let kept = self.place.answer_or(asked).await;
        if let Some(own) = own {
            return self.passed_on(own, Outcome::Miss);
        }
        self.exchange.note_wait(begin.elapsed());
        match kept {
            Some(kept) => self.again(&kept, Outcome::Collapsed, Layer::Memory),
            // Whoever asked for all got what is not to be kept, and so is nobody's but his.
            None => self.passed_on(ask.await.response, Outcome::Miss),
        }
    }

    fn again(&self, kept: &KeptAnswer, outcome: Outcome, layer: Layer) -> Response {
        let (mut response, now) = (response(&kept.content), Instant::now());
        let told = match outcome {
            Outcome::Collapsed => COLLAPSED.to_owned(),
            _ => format!("codecrucible; hit; ttl={}", self.place.good_for(kept, now).as_secs()),
        };
        let headers = response.headers_mut();
        headers.extend(HeaderValue::try_from(told).ok().map(|told| (CACHE_STATUS, told)));
        headers.insert(AGE, HeaderValue::from(kept.age(now).as_secs()));
        headers.extend(route(layer).map(|route| (ROUTE, route)));
        self.count(outcome.as_str());
        response
    }

    fn passed_on(&self, mut response: Response, outcome: Outcome) -> Response {
        let told = match outcome {
            Outcome::Refreshed => HeaderValue::from_static("codecrucible; fwd=request"),
            _ => HeaderValue::from_static("codecrucible; fwd=miss"),
        };
        response.headers_mut().insert(CACHE_STATUS, told);
        self.count(outcome.as_str());
        response
    }

    fn count(&self, outcome: &'static str) {
        self.exchange.note_cache(outcome);
        let rule = &self.place.rule;
        self.service.metrics().cache.answered(rule.answers(), rule.name(), outcome);
    }
}
