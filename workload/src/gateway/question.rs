//! A request as one backend after the other is asked it: as its bytes are where the backend speaks as the client does, and otherwise as a chat that is
//! written as the backend speaks.

use super::ModelRequest;
use super::collected::collected;
use super::shortfall::shortfall;
use super::usage::used_by;
use crate::attempts::{Question, Verdict};
use crate::backend::{
    Answer, Backend, BackendError, Deadline, Deltas, Endpoint, Kind, Refusal, RemoteBackend, Said, Told,
    seconds,
};
use crate::dialects::{self, AnswerReader as _, Chat, anthropic, openai};
use crate::request_error::RequestError;
use crate::routing::{Affinity, Target};
use crate::telemetry::UsedTokens;
use codecrucible_contract::{Protocol, Task};
use futures::StreamExt as _;
use http::{HeaderValue, StatusCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One request.
pub struct ModelQuestion<'a> {
    request: &'a ModelRequest,
    told: Told<'a>,
    /// What is read of it, where somebody may be asked who does not speak as the client does.
    chat: Option<Chat>,
    attempts: AtomicUsize,
    /// What answers used that fell short.
    unused: Mutex<UsedTokens>,
    /// By which task answers are judged, if that is known.
    task: Option<Task>,
}

/// What a backend answers.
pub enum ModelAnswer {
    /// In the client's own way, unread.
    Passing(Answer),
    /// In pieces.
    Pieces(Deltas),
    /// Nothing, and why, in its own words.
    Refusal(Refusal),
}

/// How a backend is asked.
enum Way<'a> {
    /// With the request's bytes.
    Pass(&'a RemoteBackend),
    /// With the chat that it is.
    Chat,
    /// Not at all.
    Never,
}

fn way(endpoint: Endpoint, backend: &Backend) -> Way<'_> {
    match (endpoint, backend.kind()) {
        (Endpoint::ChatCompletions | Endpoint::Messages | Endpoint::Responses, Kind::Embedded(_)) => {
            Way::Chat
        }
        (_, Kind::Embedded(_)) => Way::Never,
        (endpoint, Kind::Remote(remote)) => match (endpoint, remote.protocol()) {
            (Endpoint::Messages, Protocol::Anthropic) => Way::Pass(remote),
            (Endpoint::Messages, _) => Way::Chat,
            (Endpoint::ChatCompletions, Protocol::Anthropic | Protocol::Ollama(_))
            | (Endpoint::Responses, Protocol::Anthropic) => Way::Chat,
            (_, Protocol::Anthropic) => Way::Never,
            (_, Protocol::OpenAi | Protocol::Ollama(_)) => Way::Pass(remote),
        },
    }
}

impl<'a> ModelQuestion<'a> {
    /// How much memory it takes, beside that of the request, to ask these, bytes.
    pub fn weight(request: &ModelRequest, targets: &[&Target]) -> usize {
        let is_chat = |target: &&Target| matches!(way(request.endpoint, &target.backend), Way::Chat);
        if targets.iter().any(is_chat) { request.weight_as_chat() } else { 0 }
    }

    /// A request, and who of these can be asked it: what one does not understand is only an error where nobody else may be asked.
    pub fn new<'t>(
        request: &'a ModelRequest,
        told: Told<'a>,
        mut targets: Vec<&'t Target>,
        mut better: Vec<&'t Target>,
    ) -> Result<(Self, Vec<&'t Target>, Vec<&'t Target>), RequestError> {
        let read = Read::of(request, targets.iter().chain(&better).copied());
        let mut problem = None;
        let mut can_be_asked = |target: &&Target| {
            let found = read.problem(target);
            let is_asked = found.is_none();
            problem = problem.take().or(found);
            is_asked
        };
        targets.retain(&mut can_be_asked);
        better.retain(&mut can_be_asked);
        if targets.is_empty() {
            std::mem::swap(&mut targets, &mut better);
        }
        match problem {
            Some(problem) if targets.is_empty() => Err(problem),
            _ => {
                let chat = read.chat.ok().flatten();
                let (attempts, unused) = (AtomicUsize::new(0), Mutex::default());
                Ok((Self { request, told, chat, attempts, unused, task: None }, targets, better))
            }
        }
    }

    /// Why these are not asked it, of each that is not.
    pub fn problems<'t>(request: &ModelRequest, targets: &[&'t Target]) -> Vec<(&'t Target, RequestError)> {
        let read = Read::of(request, targets.iter().copied());
        targets.iter().filter_map(|target| Some((*target, read.problem(target)?))).collect()
    }
}

/// A request as far as it had to be read for who is to be asked.
struct Read {
    endpoint: Endpoint,
    /// Nothing where all speak as the client does.
    chat: Result<Option<Chat>, RequestError>,
}

impl Read {
    fn of<'t>(request: &ModelRequest, mut targets: impl Iterator<Item = &'t Target>) -> Self {
        let endpoint = request.endpoint;
        let is_chat = |target: &Target| matches!(way(endpoint, &target.backend), Way::Chat);
        let chat = targets.any(is_chat).then(|| request.chat()).transpose();
        Self { endpoint, chat }
    }

    /// Why somebody cannot be asked.
    fn problem(&self, target: &Target) -> Option<RequestError> {
        match (way(self.endpoint, &target.backend), &self.chat) {
            (Way::Pass(_), _) => None,
            (Way::Chat, Ok(Some(chat))) => target.backend.unsupported(chat),
            (Way::Chat, Err(error)) => Some(error.clone()),
            (Way::Chat, Ok(None)) | (Way::Never, _) => Some(chats_only()),
        }
    }
}

impl ModelQuestion<'_> {
    /// Answers are judged by a task.
    pub fn about(self, task: Option<Task>) -> Self {
        Self { task, ..self }
    }

    /// What answers used that fell short.
    pub fn unused(&self) -> UsedTokens {
        *self.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_unused(&self, answer: &dialects::Answer) {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let used = used_by(answer, self.request.estimated_prompt_tokens());
        unused.prompt = unused.prompt.saturating_add(used.prompt);
        unused.completion = unused.completion.saturating_add(used.completion);
    }

    /// What a whole answer says, if it is one in a known dialect; and the answer.
    async fn said(
        &self,
        answer: ModelAnswer,
    ) -> Result<(ModelAnswer, Option<dialects::Answer>), BackendError> {
        Ok(match answer {
            ModelAnswer::Passing(Answer::Whole { status: StatusCode::OK, body, retry_after }) => {
                let said = match self.request.endpoint {
                    Endpoint::Messages => anthropic::Reader::default().whole(&body),
                    _ => openai::Reader::default().whole(&body),
                };
                (ModelAnswer::Passing(Answer::Whole { status: StatusCode::OK, body, retry_after }), said.ok())
            }
            ModelAnswer::Pieces(deltas) => {
                let (said, _) = collected(deltas).await?;
                let again = said.clone().into_deltas().into_iter().map(Ok);
                (ModelAnswer::Pieces(futures::stream::iter(again).boxed()), Some(said))
            }
            other => (other, None),
        })
    }

    /// What is read of it, if anything had to be.
    pub fn chat(&self) -> Option<&Chat> {
        self.chat.as_ref()
    }
}

fn chats_only() -> RequestError {
    RequestError::at(
        "model",
        "this model's backend answers chats only: /v1/chat/completions, /v1/messages and /v1/responses",
    )
}

impl Question for ModelQuestion<'_> {
    type Answer = ModelAnswer;

    async fn ask(&self, target: &Target, deadline: Deadline) -> Result<ModelAnswer, BackendError> {
        self.answer(target, deadline).await
    }

    fn request_id(&self) -> Option<&str> {
        self.told.correlation?.request_id().to_str().ok()
    }

    fn is_streamed(&self) -> bool {
        self.request.stream
    }

    fn affinity(&self) -> Option<Affinity> {
        self.request.affinity()
    }

    fn verdict(answer: &ModelAnswer) -> Verdict {
        match answer {
            ModelAnswer::Passing(Answer::Whole { status, retry_after, .. })
            | ModelAnswer::Refusal(Refusal { status, retry_after, .. }) => {
                verdict(*status, retry_after.as_ref())
            }
            ModelAnswer::Passing(Answer::Stream(..)) | ModelAnswer::Pieces(_) => Verdict::Answered,
        }
    }

    async fn judge(&self, answer: ModelAnswer) -> Result<(ModelAnswer, Verdict), BackendError> {
        let verdict = Self::verdict(&answer);
        let (answer, said) = self.said(answer).await?;
        let Some(said) = said.filter(|_| verdict == Verdict::Answered) else { return Ok((answer, verdict)) };
        let (task, is_limited) = (self.task, self.request.has_answer_limit);
        // Parsing broken code can take long, so it is done on a thread on which no request waits.
        let judge = move || (shortfall(&said, task, is_limited), said);
        let Ok((shortfall, said)) = tokio::task::spawn_blocking(judge).await else {
            return Ok((answer, verdict));
        };
        let Some(reason) = shortfall else { return Ok((answer, verdict)) };
        self.note_unused(&said);
        Ok((answer, Verdict::Short(reason)))
    }
}

impl ModelQuestion<'_> {
    async fn answer(&self, target: &Target, deadline: Deadline) -> Result<ModelAnswer, BackendError> {
        let Self { request, told, chat, attempts, .. } = self;
        let told = Told { attempt: attempts.fetch_add(1, Ordering::Relaxed), ..*told };
        match (way(request.endpoint, &target.backend), chat) {
            (Way::Pass(remote), _) => {
                let body = request.body_for(&target.backend_model);
                Ok(ModelAnswer::Passing(remote.forward(request.endpoint, body, told, deadline).await?))
            }
            (Way::Chat, Some(chat)) => {
                // The headers are those of the client's dialect.
                let told = Told { headers: None, ..told };
                let said = target.backend.ask(chat, &target.backend_model, told, deadline).await?;
                Ok(match said {
                    Said::Answer(deltas) => ModelAnswer::Pieces(deltas),
                    Said::Refusal(refusal) => ModelAnswer::Refusal(refusal),
                })
            }
            // It is not among those who can be asked.
            (Way::Chat, None) | (Way::Never, _) => Err(BackendError::Unavailable),
        }
    }
}

fn verdict(status: StatusCode, retry_after: Option<&HeaderValue>) -> Verdict {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Verdict::PutOff(seconds(retry_after).map(Duration::from_secs)),
        StatusCode::NOT_FOUND => Verdict::Unknown,
        status if !status.is_success() => Verdict::Refused,
        _ => Verdict::Answered,
    }
}
