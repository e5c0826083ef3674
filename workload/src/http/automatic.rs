//! Requests that leave it to the service which model answers (`spec.routing.automatic`): which one that is, and how the client is told.

use super::access;
use super::authentication::Caller;
use super::error::ApiError;
use super::route_header::ROUTE;
use crate::authorization::Action;
use crate::backend::Endpoint;
use crate::gateway::ModelRequest;
use crate::request_error::RequestError;
use crate::routing::{Choice, Judged};
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::response::Response;
use codecrucible_contract::{Task, Tier};
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

/// Says what kind of work a request is.
pub(super) const TASK: HeaderName = HeaderName::from_static("x-codecrucible-task");

/// The model for a request that names none, whose client says what kind of work it is or does not.
pub(super) fn choose<'a>(
    service: &Service,
    snapshot: &'a Snapshot,
    caller: &Caller,
    request: &ModelRequest,
    task: Option<&HeaderValue>,
) -> Result<Option<Choice<'a>>, ApiError> {
    if snapshot.routes.automatic() != Some(&*request.model) {
        return Ok(None);
    }
    if !matches!(request.endpoint, Endpoint::ChatCompletions | Endpoint::Messages) {
        let model = &request.model;
        let problem = format!("{model:?} answers chats only: /v1/chat/completions and /v1/messages");
        return Err(RequestError::at("model", problem).into());
    }
    let task = task.map(read_task).transpose()?;
    let _room = service.room_for_body(request.weight_as_chat()).ok_or_else(ApiError::busy)?;
    let judged = Judged::of(&request.chat()?, request.estimated_prompt_tokens(), request.effort, task);
    let may_be_asked = |route: &_| access::may(snapshot, caller, Action::Complete, route);
    let choice = snapshot.routes.choose(judged, request.stream, may_be_asked);
    choice.map(Some).ok_or_else(|| ApiError::not_permitted(Some(&request.model)))
}

fn read_task(value: &HeaderValue) -> Result<Task, RequestError> {
    let task = value.to_str().ok().and_then(|task| serde_json::from_value(Value::from(task)).ok());
    task.ok_or_else(|| {
        let problem = format!("{TASK} must be write, change, fix, review, test or explain");
        RequestError::at(TASK.as_str(), problem)
    })
}

/// Tells a client why this model answered.
pub(super) fn tell(mut response: Response, choice: &Choice<'_>, model: &str) -> Response {
    let Some(route) = response.headers().get(ROUTE).and_then(|route| route.to_str().ok()) else {
        return response;
    };
    let tier = match choice.tier {
        Tier::Fast => "fast",
        Tier::Quality => "quality",
    };
    let percent = choice.judged.complexity.percent;
    let told = format!("{route}; model={model}; complexity={percent}; tier={tier}");
    if let Ok(told) = HeaderValue::try_from(told) {
        response.headers_mut().insert(ROUTE, told);
    }
    response
}

/// The same, for one who asks what would become of a request.
pub(super) fn explain(choice: &Choice<'_>) -> Value {
    json!({
        "complexity": choice.judged.complexity,
        "task": choice.judged.task,
        "tier": choice.tier,
        "model": choice.route.public_model,
        "if_short": choice.escalated.map(|route| &route.public_model),
    })
}
