//! A backend that speaks OpenAI's protocol over HTTP.

use super::completion::{CompletionRequest, Finish, FinishReason, Piece};
use super::remote_client::{HttpClient, http_client};
use super::{BackendError, Begun, Deadline, Endpoint, EventReader, SetupError};
use crate::collect::{CollectError, collect};
use crate::telemetry::Correlation;
use bytes::Bytes;
use codecrucible_contract::Timeouts;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use std::collections::VecDeque;
use tokio::time::timeout_at;

/// Largest whole answer, bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Statuses that tell the client something about its own request; others are our trouble, not its.
const PASSED_ON: [u16; 6] = [400, 404, 413, 415, 422, 429];

/// A server's address, credential and connections.
pub struct RemoteBackend {
    /// Of each endpoint, in their order.
    addresses: [Uri; Endpoint::ALL.len()],
    authorization: Option<HeaderValue>,
    client: HttpClient,
}

/// An answer in OpenAI's protocol, unread.
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
    /// Server-sent events that have begun, and until when they may come.
    Stream(Begun<Incoming>, Deadline),
}

impl RemoteBackend {
    /// A backend at a base URL. Nothing is connected yet.
    pub fn new(url: &str, credential: Option<&str>, timeouts: Timeouts) -> Result<Self, SetupError> {
        let base = url.trim_end_matches('/');
        let mut addresses = Endpoint::ALL.map(|_| Uri::default());
        for (address, endpoint) in addresses.iter_mut().zip(Endpoint::ALL) {
            *address = format!("{base}{}", endpoint.path()).parse().map_err(|_| SetupError::Url)?;
        }
        let authorization = credential.map(|credential| {
            let mut value = HeaderValue::try_from(format!("Bearer {credential}"))?;
            value.set_sensitive(true);
            Ok::<_, http::header::InvalidHeaderValue>(value)
        });
        Ok(Self {
            addresses,
            authorization: authorization.transpose().map_err(|_| SetupError::Credential)?,
            client: http_client(timeouts),
        })
    }

    /// Sends a request body as it is, with what the request is known by, and gives the answer as it comes.
    pub async fn forward(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        correlation: Option<&Correlation>,
        deadline: Deadline,
    ) -> Result<Answer, BackendError> {
        let mut request = self.request(endpoint, body);
        correlation.inspect(|correlation| correlation.add_to(request.headers_mut()));
        let answer = timeout_at(deadline.first_byte(), self.client.request(request))
            .await
            .map_err(|_elapsed| BackendError::TimedOut)?
            .map_err(|error| request_error(&error))?;
        let (parts, body) = answer.into_parts();
        let retry_after = parts.headers.get(RETRY_AFTER).cloned();
        let kind = media_type(parts.headers.get(CONTENT_TYPE));
        match (kind, parts.status.as_u16()) {
            (Some(MediaType::Events), 200..=299) => {
                Ok(Answer::Stream(begun(body, deadline).await?, deadline))
            }
            (Some(MediaType::Json), status) if parts.status.is_success() || PASSED_ON.contains(&status) => {
                Ok(Answer::Whole { status: parts.status, retry_after, body: whole(body, deadline).await? })
            }
            (_, status) => Err(refusal(status, retry_after.as_ref())),
        }
    }

    fn request(&self, endpoint: Endpoint, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.addresses[endpoint as usize].clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }

    /// Asks for a streamed answer and reads its pieces.
    pub(super) async fn complete(
        &self,
        request: CompletionRequest,
        deadline: Deadline,
    ) -> Result<BoxStream<'static, Result<Piece, BackendError>>, BackendError> {
        let body = serde_json::to_vec(&request_document(&request)).map_err(|_| BackendError::Failed)?;
        match self.forward(Endpoint::ChatCompletions, body.into(), None, deadline).await? {
            Answer::Stream(body, _) => Ok(pieces(body)),
            Answer::Whole { status, body, .. } if status.is_success() => {
                let answer: Chunk = serde_json::from_slice(&body).map_err(|_| BackendError::Protocol)?;
                Ok(futures::stream::iter(answer.pieces_of_whole()?).map(Ok).boxed())
            }
            Answer::Whole { status, retry_after, .. } => Err(refusal(status.as_u16(), retry_after.as_ref())),
        }
    }
}

async fn begun(mut body: Incoming, deadline: Deadline) -> Result<Begun<Incoming>, BackendError> {
    let first = timeout_at(deadline.first_byte(), body.frame()).await;
    let first = first.map_err(|_elapsed| BackendError::TimedOut)?;
    Ok(Begun::new(first.and_then(Result::ok).ok_or(BackendError::Cut)?, body))
}

async fn whole(body: Incoming, deadline: Deadline) -> Result<Bytes, BackendError> {
    let whole = timeout_at(deadline.end(), collect(body, MAX_ANSWER_BYTES)).await;
    whole.map_err(|_elapsed| BackendError::TimedOut)?.map_err(|error| match error {
        CollectError::TooLarge => BackendError::Protocol,
        CollectError::Cut => BackendError::Cut,
    })
}

fn request_document(request: &CompletionRequest) -> serde_json::Value {
    let CompletionRequest { model, turns, max_tokens, temperature, top_p, seed, stop } = request;
    let mut document = json!({
        "model": model, "messages": turns, "max_tokens": max_tokens, "temperature": temperature, "top_p": top_p,
        "stream": true, "stream_options": {"include_usage": true},
    });
    if let Some(seed) = seed {
        document["seed"] = json!(seed);
    }
    if !stop.is_empty() {
        document["stop"] = json!(stop);
    }
    document
}

fn pieces(body: Begun<Incoming>) -> BoxStream<'static, Result<Piece, BackendError>> {
    let answer = StreamedAnswer {
        body,
        reader: EventReader::default(),
        events: VecDeque::new(),
        finish: Finish::default(),
    };
    futures::stream::unfold(Some(answer), |answer| async move {
        let mut answer = answer?;
        match answer.next_piece().await {
            Ok(piece @ Piece::Text(_)) => Some((Ok(piece), Some(answer))),
            end => Some((end, None)),
        }
    })
    .boxed()
}

/// A streamed answer that is being read.
struct StreamedAnswer {
    body: Begun<Incoming>,
    reader: EventReader,
    events: VecDeque<String>,
    finish: Finish,
}

impl StreamedAnswer {
    async fn next_piece(&mut self) -> Result<Piece, BackendError> {
        loop {
            let event = self.next_event().await?;
            if event == "[DONE]" {
                return Ok(Piece::Finished(self.finish));
            }
            if let Some(text) = read_chunk(&event, &mut self.finish)? {
                return Ok(Piece::Text(text));
            }
        }
    }

    async fn next_event(&mut self) -> Result<String, BackendError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let frame = self.body.frame().await.ok_or(BackendError::Cut)?.map_err(|_| BackendError::Cut)?;
            if let Ok(bytes) = frame.into_data() {
                self.events.extend(self.reader.read(&bytes)?);
            }
        }
    }
}

fn read_chunk(event: &str, finish: &mut Finish) -> Result<Option<String>, BackendError> {
    let chunk: Chunk = serde_json::from_str(event).map_err(|_| BackendError::Protocol)?;
    if let Some(usage) = chunk.usage {
        (finish.prompt_tokens, finish.completion_tokens) = (usage.prompt_tokens, usage.completion_tokens);
    }
    let Some(choice) = chunk.choices.into_iter().next() else {
        return Ok(None);
    };
    if choice.finish_reason.as_deref() == Some("length") {
        finish.reason = FinishReason::Length;
    }
    Ok(choice.delta.content.filter(|text| !text.is_empty()))
}

/// The parts of OpenAI's chat answers, whole and streamed, that synthesis needs.
#[derive(Deserialize)]
struct Chunk {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, alias = "message")]
    delta: Message,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
}

impl Chunk {
    fn pieces_of_whole(self) -> Result<[Piece; 2], BackendError> {
        let choice = self.choices.into_iter().next().ok_or(BackendError::Protocol)?;
        let reason = if choice.finish_reason.as_deref() == Some("length") {
            FinishReason::Length
        } else {
            FinishReason::Stop
        };
        let (prompt_tokens, completion_tokens) =
            self.usage.map_or((0, 0), |usage| (usage.prompt_tokens, usage.completion_tokens));
        let text = choice.delta.content.unwrap_or_default();
        Ok([Piece::Text(text), Piece::Finished(Finish { reason, prompt_tokens, completion_tokens })])
    }
}

enum MediaType {
    Json,
    Events,
}

fn media_type(value: Option<&HeaderValue>) -> Option<MediaType> {
    let essence = value?.to_str().ok()?.split(';').next()?.trim();
    match essence {
        _ if essence.eq_ignore_ascii_case("application/json") => Some(MediaType::Json),
        _ if essence.eq_ignore_ascii_case("text/event-stream") => Some(MediaType::Events),
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

/// The cause may name addresses: it is for the log, the client gets the kind.
fn request_error(error: &hyper_util::client::legacy::Error) -> BackendError {
    tracing::warn!(cause = causes(error), "a backend could not be asked");
    if error.is_connect() { BackendError::Unreachable } else { BackendError::Cut }
}

fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
