//! `GET /v1/models`.

use super::error::ApiError;
use crate::routing::Route;
use crate::service::Service;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

pub(super) async fn list(State(service): State<Service>) -> Json<Value> {
    let snapshot = service.glance();
    let data: Vec<Value> = snapshot.routes.all().iter().map(document).collect();
    Json(json!({"object": "list", "data": data}))
}

pub(super) async fn show(
    State(service): State<Service>,
    Path(model): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let snapshot = service.glance();
    snapshot
        .routes
        .of_model(&model)
        .map(|route| Json(document(route)))
        .ok_or_else(|| ApiError::model_not_found(&model))
}

fn document(route: &Route) -> Value {
    // When a model was made is not known here; the field is required by OpenAI's schema.
    json!({"id": route.public_model, "object": "model", "created": 0, "owned_by": route.backend.name()})
}
