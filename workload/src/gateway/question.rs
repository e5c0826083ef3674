//! A request as one backend after the other is asked it: bytes through to a remote one, OpenAI's documents read for the embedded one.

use super::{OpenAiRequest, parse_for_embedded};
use crate::attempts::{Question, Verdict};
use crate::backend::{
    Answer, BackendError, Completion, CompletionRequest, Deadline, Endpoint, Kind, seconds,
};
use crate::request_error::RequestError;
use crate::routing::Target;
use crate::telemetry::Correlation;
use http::StatusCode;
use std::time::Duration;

/// One request.
pub struct OpenAiQuestion<'a> {
    request: &'a OpenAiRequest,
    correlation: &'a Correlation,
    /// What the embedded engine reads of it, where one may be asked, and whether a stream is to end with the usage.
    for_embedded: Option<(CompletionRequest, bool)>,
}

/// What a backend answers.
pub enum OpenAiAnswer {
    /// A remote one, in OpenAI's protocol.
    Remote(Answer),
    /// The embedded one.
    Embedded {
        /// The answer, which has begun.
        completion: Completion,
        /// Whether a stream is to end with the usage.
        include_usage: bool,
    },
}

impl<'a> OpenAiQuestion<'a> {
    /// A request, and who of these can be asked it: what the embedded engine does not understand is only an error where nobody else
    /// may be asked.
    pub fn new<'t>(
        request: &'a OpenAiRequest,
        correlation: &'a Correlation,
        mut targets: Vec<&'t Target>,
    ) -> Result<(Self, Vec<&'t Target>), RequestError> {
        let is_embedded = |target: &&Target| matches!(target.backend.kind(), Kind::Embedded(_));
        if !targets.iter().any(is_embedded) {
            return Ok((Self { request, correlation, for_embedded: None }, targets));
        }
        let read = match request.endpoint {
            Endpoint::ChatCompletions => parse_for_embedded(request.body()),
            _ => Err(RequestError::at("model", "the embedded model answers chat completions only")),
        };
        let for_embedded = match read {
            Ok(read) => Some(read),
            Err(error) => {
                targets.retain(|target| !is_embedded(target));
                if targets.is_empty() {
                    return Err(error);
                }
                None
            }
        };
        Ok((Self { request, correlation, for_embedded }, targets))
    }
}

impl Question for OpenAiQuestion<'_> {
    type Answer = OpenAiAnswer;

    async fn ask(&self, target: &Target, deadline: Deadline) -> Result<OpenAiAnswer, BackendError> {
        match (target.backend.kind(), &self.for_embedded) {
            (Kind::Remote(remote), _) => {
                let body = self.request.body_for(&target.backend_model);
                Ok(OpenAiAnswer::Remote(
                    remote.forward(self.request.endpoint, body, Some(self.correlation), deadline).await?,
                ))
            }
            (Kind::Embedded(_), Some((asked, include_usage))) => {
                let completion = target.backend.complete(asked.clone(), deadline).await?;
                Ok(OpenAiAnswer::Embedded { completion, include_usage: *include_usage })
            }
            // It is not among those who can be asked.
            (Kind::Embedded(_), None) => Err(BackendError::Unavailable),
        }
    }

    fn verdict(answer: &OpenAiAnswer) -> Verdict {
        match answer {
            OpenAiAnswer::Remote(Answer::Whole {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after,
                ..
            }) => Verdict::PutOff(seconds(retry_after.as_ref()).map(Duration::from_secs)),
            OpenAiAnswer::Remote(Answer::Whole { status: StatusCode::NOT_FOUND, .. }) => Verdict::Unknown,
            OpenAiAnswer::Remote(Answer::Whole { status, .. }) if !status.is_success() => Verdict::Refused,
            _ => Verdict::Answered,
        }
    }
}
