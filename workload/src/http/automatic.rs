//! Requests that leave it to the service which model answers (`spec.routing.automatic`): which one that is, and how the client is told.

use super::access;
use super::authentication::Caller;
use super::error::ApiError;
use super::route_header::ROUTE;
use crate::authorization::Action;
use crate::backend::Endpoint;
use crate::gateway::{ModelRequest, Shown};
use crate::request_error::RequestError;
use crate::routing::{Choice, Judged};
use crate::snapshot::Snapshot;
use axum::response::Response;
use codecrucible_contract::Task;
use http::HeaderValue;
use serde_json::{Value, json};

/// The model for a request that names none, whose client says what kind of work it is or does not.
pub(super) fn choose<'a>(
    snapshot: &'a Snapshot,
    caller: &Caller,
    request: &ModelRequest,
    task: Option<Task>,
) -> Result<Option<Choice<'a>>, ApiError> {
    if snapshot.routes.automatic() != Some(&*request.model) {
        return Ok(None);
    }
    if !matches!(request.endpoint, Endpoint::ChatCompletions | Endpoint::Messages) {
        let model = &request.model;
        let problem = format!("{model:?} is for /v1/chat/completions and /v1/messages only");
        return Err(RequestError::at("model", problem).into());
    }
    let judged = Judged::of(&Shown::by(request).features(request), task);
    let may_be_asked = |route: &_| access::may(snapshot, caller, Action::Complete, route);
    let choice = snapshot.routes.choose(judged, request.stream, may_be_asked);
    choice.map(Some).ok_or_else(|| ApiError::not_permitted(Some(&request.model)))
}

/// Tells a client why this model answered.
pub(super) fn tell(mut response: Response, choice: &Choice<'_>, model: &str) -> Response {
    let Some(route) = response.headers().get(ROUTE).and_then(|route| route.to_str().ok()) else {
        return response;
    };
    let told = format!("{route}; model={model}; complexity={}", choice.judged.complexity.percent);
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
        "model": choice.route.public_model.name(),
        "if_short": choice.escalated.map(|route| route.public_model.name()),
    })
}
