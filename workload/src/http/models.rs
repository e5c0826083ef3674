//! `GET /v1/models`: those that the caller may see, in the shape of OpenAI's API or of Anthropic's.

use super::access;
use super::anthropic_errors::is_anthropic;
use super::authentication::Caller;
use super::error::ApiError;
use super::exchange::Exchange;
use super::limits::{self, LISTED, Wanted, tell_limits};
use crate::authorization::Action;
use crate::dialects::anthropic::{model_document, model_list};
use crate::request_error::RequestError;
use crate::routing::Route;
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, RequestExt as _};
use serde_json::{Value, json};

/// Models that are decided about before others get their turn: each is some microseconds, and there may be thousands.
const DECISIONS_AT_ONCE: usize = 16;
/// Who has the name that leads to a model.
const AUTOMATIC_OWNER: &str = "codecrucible";

pub(super) async fn list(
    service: Service,
    caller: Caller,
    exchange: Exchange,
    request: Request,
) -> Result<Response, ApiError> {
    let snapshot = service.snapshot();
    let told = limits::allowance(&service, &snapshot, (&caller, &exchange), LISTED).await?.told;
    let is_anthropic = is_anthropic(request.headers());
    let mut data = Vec::new();
    for routes in snapshot.routes.all().chunks(DECISIONS_AT_ONCE) {
        data.extend(routes.iter().filter_map(|route| shown(&service, &snapshot, &caller, route)));
        tokio::task::yield_now().await;
    }
    // What leads to models is only for those who may see one.
    let automatic = snapshot.routes.automatic().filter(|_| !data.is_empty());
    data.extend(automatic.map(|name| document(name, AUTOMATIC_OWNER)));
    let list = if is_anthropic {
        model_list(data.iter().filter_map(|model| model["id"].as_str()))
    } else {
        json!({"object": "list", "data": data})
    };
    Ok(tell_limits(Json(list).into_response(), &told))
}

pub(super) async fn show(
    service: Service,
    caller: Caller,
    exchange: Exchange,
    mut request: Request,
) -> Result<Response, ApiError> {
    let named = request.extract_parts::<Path<String>>().await;
    let Path(model) = named.map_err(|_| RequestError::at("model", "model must be valid UTF-8"))?;
    let snapshot = service.snapshot();
    let told = limits::allowance(
        &service,
        &snapshot,
        (&caller, &exchange),
        Wanted { model: Some(&model), ..LISTED },
    )
    .await?
    .told;
    let found = snapshot.routes.of_model(&model);
    // One that a client may not see does not exist for it.
    let is_automatic = snapshot.routes.automatic() == Some(&model);
    let may_see = |route: &Route| access::may(&snapshot, &caller, Action::ListModels, route);
    let automatic = is_automatic && snapshot.routes.all().iter().any(may_see);
    found
        .and_then(|route| shown(&service, &snapshot, &caller, route))
        .or_else(|| automatic.then(|| document(&model, AUTOMATIC_OWNER)))
        .map(|shown| if is_anthropic(request.headers()) { model_document(&model) } else { shown })
        .map(|shown| tell_limits(Json(shown).into_response(), &told))
        .ok_or_else(|| ApiError::model_not_found(&model))
}

/// A model as the caller sees it: as the first backend's that it may use.
fn shown(service: &Service, snapshot: &Snapshot, caller: &Caller, route: &Route) -> Option<Value> {
    let permitted = access::permitted(service, snapshot, caller, Action::ListModels, route);
    let owner = permitted.first()?.backend.name();
    Some(document(route.public_model.name(), owner))
}

/// When a model was made is not known here; the field is required by OpenAI's schema.
fn document(name: &str, owner: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": owner})
}
