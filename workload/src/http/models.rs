//! `GET /v1/models`: those that the caller may see.

use super::access;
use super::authentication::Caller;
use super::error::ApiError;
use crate::authorization::Action;
use crate::routing::Route;
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};

/// Models that are decided about before others get their turn: each is some microseconds, and there may be thousands.
const DECISIONS_AT_ONCE: usize = 16;

pub(super) async fn list(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
) -> Json<Value> {
    let snapshot = service.snapshot();
    let mut data = Vec::new();
    for routes in snapshot.routes.all().chunks(DECISIONS_AT_ONCE) {
        data.extend(routes.iter().filter_map(|route| shown(&service, &snapshot, &caller, route)));
        tokio::task::yield_now().await;
    }
    Json(json!({"object": "list", "data": data}))
}

pub(super) async fn show(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(model): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let snapshot = service.snapshot();
    let found = snapshot.routes.of_model(&model);
    // One that a client may not see does not exist for it.
    found
        .and_then(|route| shown(&service, &snapshot, &caller, route))
        .map(Json)
        .ok_or_else(|| ApiError::model_not_found(&model))
}

/// A model as the caller sees it: as the first backend's that it may use.
fn shown(service: &Service, snapshot: &Snapshot, caller: &Caller, route: &Route) -> Option<Value> {
    let permitted = access::permitted(service, snapshot, caller, Action::ListModels, route);
    let owner = permitted.first()?.backend.name();
    // When a model was made is not known here; the field is required by OpenAI's schema.
    Some(json!({"id": route.public_model, "object": "model", "created": 0, "owned_by": owner}))
}
