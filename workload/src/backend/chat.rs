//! A chat with a backend that is asked over HTTP: written in its protocol, and its answer read piece by piece.

use super::lines::LineReader;
use super::remote::{Answer, MediaType, RemoteBackend, Told, seconds};
use super::{BackendError, Deadline, Endpoint, EventReader};
use crate::dialects::{AnswerReader, Chat, Delta, anthropic, ollama, openai, refusal_message};
use bytes::Bytes;
use codecrucible_contract::Protocol;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{HeaderValue, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use std::collections::VecDeque;
use tokio::time::{Instant, timeout_at};

/// What a client is told of a refusal that says nothing.
const NO_MESSAGE: &str = "The model's backend does not take the request.";

/// Longest part of a refusal's words that is passed on, bytes: some repeat the request.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// An answer that is still being given. Dropping it cancels the work behind it.
pub type Deltas = BoxStream<'static, Result<Delta, BackendError>>;

/// What a backend says to a chat.
pub enum Said {
    /// An answer.
    Answer(Deltas),
    /// That it finds fault with the request, or has too much to do.
    Refusal(Refusal),
}

/// Why a backend does not answer, in its own words.
#[derive(Debug)]
pub struct Refusal {
    /// Status to pass on.
    pub status: StatusCode,
    /// How long the client should wait, as the backend said.
    pub retry_after: Option<HeaderValue>,
    /// For the client.
    pub message: String,
}

/// For those who do not pass words on.
impl From<&Refusal> for BackendError {
    fn from(refusal: &Refusal) -> Self {
        match refusal.status {
            StatusCode::TOO_MANY_REQUESTS => Self::PutOff { seconds: seconds(refusal.retry_after.as_ref()) },
            status => Self::Faulty { status: status.as_u16() },
        }
    }
}

/// Asks one.
pub(super) async fn ask(
    remote: &RemoteBackend,
    chat: &Chat,
    model: &str,
    told: Told<'_>,
    deadline: Deadline,
) -> Result<Said, BackendError> {
    let (endpoint, body, streams, mut reader) = spoken(remote.protocol(), chat, model);
    match remote.send(endpoint, body.into(), told, deadline, streams).await? {
        Answer::Stream(body, deadline) => {
            Ok(Said::Answer(deltas(body, deadline, Splitter::of(streams), reader)))
        }
        Answer::Whole { status, body, .. } if status.is_success() => {
            let deltas = reader.whole(&body)?.into_deltas();
            Ok(Said::Answer(futures::stream::iter(deltas.into_iter().map(Ok)).boxed()))
        }
        Answer::Whole { status, retry_after, body } => {
            let mut message = refusal_message(&body).unwrap_or_else(|| NO_MESSAGE.to_owned());
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
            Ok(Said::Refusal(Refusal { status, retry_after, message }))
        }
    }
}

/// A chat as a protocol has it: where it is sent, what, what streams are made of, and who reads the answer.
fn spoken(
    protocol: &Protocol,
    chat: &Chat,
    model: &str,
) -> (Endpoint, Vec<u8>, MediaType, Box<dyn AnswerReader>) {
    let chats = Endpoint::ChatCompletions;
    match protocol {
        Protocol::OpenAi => {
            let reader = openai::Reader::default();
            (chats, openai::write_request(chat, model), MediaType::Events, Box::new(reader))
        }
        Protocol::Anthropic => {
            let reader = anthropic::Reader::default();
            (Endpoint::Messages, anthropic::write_request(chat, model), MediaType::Events, Box::new(reader))
        }
        Protocol::Ollama(settings) => {
            let reader = ollama::Reader::default();
            (chats, ollama::write_request(chat, model, settings), MediaType::Lines, Box::new(reader))
        }
    }
}

/// Finds the documents in a stream.
enum Splitter {
    Events(EventReader),
    Lines(LineReader),
}

impl Splitter {
    fn of(streams: MediaType) -> Self {
        match streams {
            MediaType::Lines => Self::Lines(LineReader::default()),
            MediaType::Events | MediaType::Json => Self::Events(EventReader::default()),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Vec<String>, BackendError> {
        match self {
            Self::Events(reader) => reader.read(bytes),
            Self::Lines(reader) => reader.read(bytes),
        }
    }
}

/// A streamed answer that is being read.
struct Streamed<B> {
    body: B,
    deadline: Deadline,
    splitter: Splitter,
    reader: Box<dyn AnswerReader>,
    waiting: VecDeque<Result<Delta, BackendError>>,
}

fn deltas(
    body: impl Body<Data = Bytes> + Send + Unpin + 'static,
    deadline: Deadline,
    splitter: Splitter,
    reader: Box<dyn AnswerReader>,
) -> Deltas {
    let streamed = Streamed { body, deadline, splitter, reader, waiting: VecDeque::new() };
    futures::stream::unfold(Some(streamed), |streamed| async move {
        let mut streamed = streamed?;
        match streamed.next().await {
            Ok(Delta::End) => Some((Ok(Delta::End), None)),
            Ok(delta) => Some((Ok(delta), Some(streamed))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl<B: Body<Data = Bytes> + Unpin> Streamed<B> {
    async fn next(&mut self) -> Result<Delta, BackendError> {
        loop {
            if let Some(read) = self.waiting.pop_front() {
                return read;
            }
            // Whatever comes shows that the backend is at work, also what says nothing.
            let next = self.deadline.next_after(Instant::now());
            let frame =
                timeout_at(next, self.body.frame()).await.map_err(|_elapsed| BackendError::TimedOut)?;
            let frame = frame.ok_or(BackendError::Cut)?.map_err(|_| BackendError::Cut)?;
            let Ok(bytes) = frame.into_data() else { continue };
            self.read(&bytes);
        }
    }

    /// What came before trouble is told before it.
    fn read(&mut self, bytes: &[u8]) {
        let documents = self.splitter.read(bytes).unwrap_or_else(|error| {
            self.waiting.push_back(Err(error));
            Vec::new()
        });
        for document in documents {
            match self.reader.event(&document) {
                Ok(deltas) => self.waiting.extend(deltas.into_iter().map(Ok)),
                Err(error) => {
                    self.waiting.push_back(Err(error.into()));
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::Timeouts;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::time::Duration;

    const TIMEOUTS: Timeouts =
        Timeouts { connect_ms: 1, first_byte_ms: 1_000, idle_ms: 1_000, total_ms: 60_000 };
    const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
    const END: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

    /// The last thing that is heard of events that come after so many milliseconds each.
    async fn last_heard(events: Vec<(u64, &'static str)>) -> Option<Result<Delta, BackendError>> {
        let frames = stream::iter(events).then(|(pause_ms, event)| async move {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(event.as_bytes())))
        });
        let body = StreamBody::new(Box::pin(frames));
        let splitter = Splitter::of(MediaType::Events);
        let reader = Box::new(anthropic::Reader::default());
        deltas(body, Deadline::starting_now(TIMEOUTS), splitter, reader).collect::<Vec<_>>().await.pop()
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_only_shows_that_it_is_at_work_is_waited_for() {
        let events = vec![(900, PING), (900, PING), (900, PING), (900, END)];
        assert_eq!(last_heard(events).await, Some(Ok(Delta::End)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_says_nothing_at_all_is_not() {
        assert_eq!(last_heard(vec![(900, PING), (1_100, END)]).await, Some(Err(BackendError::TimedOut)));
    }

    #[tokio::test(start_paused = true)]
    async fn nor_is_one_that_never_gets_to_an_end() {
        assert_eq!(last_heard(vec![(900, PING); 100]).await, Some(Err(BackendError::TimedOut)));
    }
}
