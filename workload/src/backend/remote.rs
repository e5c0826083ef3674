//! A backend that is asked over HTTP, in one of the protocols that there are. What it answers is given unread here; [`super::chat`] reads it.

use super::connections::{self, AnswerBody, AskError, Connections};
use super::{BackendError, Begun, Deadline, Endpoint, SetupError};
use crate::collect::{CollectError, collect};
use crate::dialects::anthropic::{API_KEY, USUAL_VERSION, VERSION};
use crate::telemetry::Correlation;
use bytes::Bytes;
use codecrucible_contract::{Protocol, Timeouts};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, InvalidHeaderValue, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use tokio::time::timeout_at;

/// Largest answer that is not a stream, bytes.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Statuses that tell the client something about its own request; others are our trouble, not its.
const PASSED_ON: [u16; 6] = [400, 404, 413, 415, 422, 429];
/// A server's address, credential and connections.
pub struct RemoteBackend {
    protocol: Protocol,
    /// Where each endpoint is on the server, in their order.
    addresses: [Uri; Endpoint::ALL.len()],
    /// What goes with each request.
    headers: HeaderMap,
    connections: Connections,
}

/// What a request says beside its body.
#[derive(Clone, Copy, Default)]
pub struct Told<'a> {
    /// By what it is known.
    pub correlation: Option<&'a Correlation>,
    /// How many attempts there were before.
    pub attempt: usize,
    /// Headers that mean something in the backend's protocol.
    pub headers: Option<&'a HeaderMap>,
}

/// An answer, unread.
pub enum Answer {
    /// A whole JSON document.
    Whole {
        /// Status to pass on.
        status: StatusCode,
        /// How long the client should wait, as the backend said.
        retry_after: Option<HeaderValue>,
        /// The document.
        body: Bytes,
    },
    /// A stream that has begun, and until when it may go on.
    Stream(Begun<AnswerBody>, Deadline),
}

impl RemoteBackend {
    /// A backend at a base URL. Nothing is connected yet.
    pub fn new(
        url: &str,
        protocol: Protocol,
        credential: Option<&str>,
        timeouts: Timeouts,
    ) -> Result<Self, SetupError> {
        let base = url.trim_end_matches('/');
        let server: Uri = base.parse().map_err(|_| SetupError::Url)?;
        let mut headers = headers(&protocol, credential).map_err(|_| SetupError::Credential)?;
        headers.insert(HOST, connections::host(&server).ok_or(SetupError::Url)?);
        let below = server.path().trim_end_matches('/').to_owned();
        let mut addresses = Endpoint::ALL.map(|_| Uri::default());
        for (address, endpoint) in addresses.iter_mut().zip(Endpoint::ALL) {
            let path = format!("{below}{}", path(&protocol, endpoint));
            *address = path.parse().map_err(|_| SetupError::Url)?;
        }
        Ok(Self { protocol, addresses, headers, connections: Connections::new(server, timeouts) })
    }

    /// What it speaks.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// Sends a request body as it is, and gives the answer as it comes.
    pub async fn forward(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        told: Told<'_>,
        deadline: Deadline,
    ) -> Result<Answer, BackendError> {
        self.send(endpoint, body, told, deadline, MediaType::Events).await
    }

    /// The same, where streams are of another type.
    pub(super) async fn send(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        told: Told<'_>,
        deadline: Deadline,
        streams: MediaType,
    ) -> Result<Answer, BackendError> {
        let request = self.request(endpoint, body, told);
        let answer = timeout_at(deadline.first_byte(), self.connections.ask(request))
            .await
            .map_err(|_elapsed| BackendError::TimedOut)?
            .map_err(|error| self.unasked(error, told.correlation))?;
        let (parts, body) = answer.into_parts();
        let retry_after = parts.headers.get(RETRY_AFTER).cloned();
        let kind = media_type(parts.headers.get(CONTENT_TYPE));
        match (kind, parts.status.as_u16()) {
            (Some(kind), 200..=299) if kind == streams => {
                Ok(Answer::Stream(begun(body, deadline).await?, deadline))
            }
            (Some(MediaType::Json), status) if parts.status.is_success() || PASSED_ON.contains(&status) => {
                Ok(Answer::Whole { status: parts.status, retry_after, body: whole(body, deadline).await? })
            }
            (_, status) => Err(refusal(status, retry_after.as_ref())),
        }
    }

    /// Of a request that was not answered. The cause may name addresses: it is for the log, the client gets the kind.
    fn unasked(&self, error: AskError, of: Option<&Correlation>) -> BackendError {
        let (cause, kind) = match error {
            AskError::Unreachable(error) => (causes(&*error), BackendError::Unreachable),
            AskError::Cut(error) => (causes(&error), BackendError::Cut),
        };
        let (server, kind_name) = (self.connections.server(), kind.kind());
        let request_id = of.and_then(|correlation| correlation.request_id().to_str().ok());
        tracing::warn!(server, kind = kind_name, cause, request_id, "a backend could not be asked");
        kind
    }

    fn request(&self, endpoint: Endpoint, body: Bytes, told: Told<'_>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.addresses[endpoint as usize].clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if let Some(more) = told.headers {
            more.keys().for_each(|name| drop(headers.remove(name)));
            headers.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        if let Some(correlation) = told.correlation {
            correlation.add_to(headers, told.attempt);
        }
        request
    }
}

/// Below the base URL, which for OpenAI's protocol has the version in it, as its SDKs have it.
fn path(protocol: &Protocol, endpoint: Endpoint) -> String {
    match (protocol, endpoint) {
        (Protocol::OpenAi, endpoint) => endpoint.path().to_owned(),
        (Protocol::Ollama(_), Endpoint::ChatCompletions) => "/api/chat".to_owned(),
        (Protocol::Ollama(_) | Protocol::Anthropic, endpoint) => endpoint.public_path().to_owned(),
    }
}

fn headers(protocol: &Protocol, credential: Option<&str>) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream, application/x-ndjson"),
    );
    let (name, scheme) = match protocol {
        Protocol::Anthropic => {
            headers.insert(VERSION, USUAL_VERSION);
            (API_KEY, "")
        }
        Protocol::OpenAi | Protocol::Ollama(_) => (AUTHORIZATION, "Bearer "),
    };
    if let Some(credential) = credential {
        let mut value = HeaderValue::try_from(format!("{scheme}{credential}"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

async fn begun(mut body: AnswerBody, deadline: Deadline) -> Result<Begun<AnswerBody>, BackendError> {
    let first = timeout_at(deadline.first_byte(), body.frame()).await;
    let first = first.map_err(|_elapsed| BackendError::TimedOut)?;
    Ok(Begun::new(first.and_then(Result::ok).ok_or(BackendError::Cut)?, body))
}

async fn whole(body: AnswerBody, deadline: Deadline) -> Result<Bytes, BackendError> {
    let whole = timeout_at(deadline.end(), collect(body, MAX_ANSWER_BYTES)).await;
    whole.map_err(|_elapsed| BackendError::TimedOut)?.map_err(|error| match error {
        CollectError::TooLarge => BackendError::TooLarge,
        CollectError::Cut => BackendError::Cut,
    })
}

/// What an answer is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// A document.
    Json,
    /// Server-sent events.
    Events,
    /// A document in each line.
    Lines,
}

fn media_type(value: Option<&HeaderValue>) -> Option<MediaType> {
    let essence = value?.to_str().ok()?.split(';').next()?.trim();
    match essence {
        _ if essence.eq_ignore_ascii_case("application/json") => Some(MediaType::Json),
        _ if essence.eq_ignore_ascii_case("text/event-stream") => Some(MediaType::Events),
        _ if essence.eq_ignore_ascii_case("application/x-ndjson") => Some(MediaType::Lines),
        _ => None,
    }
}

/// What a status says that no document goes with that clients understand.
fn refusal(status: u16, retry_after: Option<&HeaderValue>) -> BackendError {
    match status {
        401 | 403 => BackendError::Credential,
        // The backend has no such model, or no such endpoint.
        404 | 405 | 501 => BackendError::Faulty { status: 404 },
        429 => BackendError::PutOff { seconds: seconds(retry_after) },
        503 if retry_after.is_some() => BackendError::PutOff { seconds: seconds(retry_after) },
        // Anthropic's API has too much to do.
        529 => BackendError::PutOff { seconds: seconds(retry_after) },
        status if PASSED_ON.contains(&status) => BackendError::Faulty { status },
        400..=499 if status != 408 => BackendError::Faulty { status: 400 },
        400.. => BackendError::Refused { status },
        _ => BackendError::Protocol,
    }
}

/// `Retry-After` in seconds; as a date it is as if it were not said.
pub(crate) fn seconds(retry_after: Option<&HeaderValue>) -> Option<u64> {
    retry_after?.to_str().ok()?.trim().parse().ok()
}

fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
