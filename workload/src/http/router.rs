//! Which path leads where.

use super::around::{answered, authenticated, open};
use super::error::ApiError;
use super::{admin, anthropic_errors, browsers, gateway, models, oauth, synthesis};
use crate::backend::Endpoint;
use crate::service::Service;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use codecrucible_contract::STATUS_PATH;
use http::{HeaderMap, Method, StatusCode, Uri};

const SYNTHESIS: &str = "/v1/synthesis";
const MODELS: &str = "/v1/models";
const MODEL: &str = "/v1/models/{*model}";
const TOKEN: &str = "/oauth/token";
const KEYS: &str = "/.well-known/jwks.json";

/// The public API.
pub fn public_router(service: Service) -> Router {
    type Ours = State<Service>;
    let models = Endpoint::ALL.into_iter().fold(Router::new(), |router, endpoint| {
        let path = endpoint.public_path();
        let answer = move |service, caller, exchange, request| {
            gateway::answer(endpoint, service, caller, exchange, request)
        };
        router
            .route(path, post(move |State(service): Ours, request| answered(service, path, request, answer)))
    });
    let synthesize =
        |State(service): Ours, request| answered(service, SYNTHESIS, request, synthesis::synthesize);
    let list = |State(service): Ours, request| authenticated(service, MODELS, request, models::list);
    let show = |State(service): Ours, request| authenticated(service, MODEL, request, models::show);
    let token = |State(service): Ours, request| open(service, TOKEN, request, oauth::token);
    let keys = |State(service): Ours, request| open(service, KEYS, request, oauth::published_keys);
    models
        .route(SYNTHESIS, post(synthesize))
        .route(MODELS, get(list))
        .route(MODEL, get(show))
        .route(TOKEN, post(token))
        .route(KEYS, get(keys))
        .route("/livez", get(admin::live))
        .route("/readyz", get(admin::ready_without_reason))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(service)
}

/// Probes and metrics, for the cluster's own eyes.
pub fn admin_router(service: Service) -> Router {
    Router::new()
        .route("/livez", get(admin::live))
        .route("/readyz", get(admin::ready))
        .route("/metrics", get(admin::metrics))
        .with_state(service)
}

/// What the operator asks.
pub fn status_router(service: Service) -> Router {
    Router::new().route(STATUS_PATH, get(admin::status)).with_state(service)
}

async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    let message = "There is no such route.";
    let error = ApiError::new(StatusCode::NOT_FOUND, "invalid_request_error", "route_not_found", message);
    refused(anthropic_errors::are_wanted(uri.path(), &headers), error).await
}

/// Browsers ask with a method of their own what pages may send.
async fn method_not_allowed(
    State(service): State<Service>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if let Some(allowed) = browsers::preflight(&service, &method, &headers) {
        return allowed;
    }
    let (status, message) = (StatusCode::METHOD_NOT_ALLOWED, "The route does not take this method.");
    let error = ApiError::new(status, "invalid_request_error", "method_not_allowed", message);
    refused(anthropic_errors::are_wanted(uri.path(), &headers), error).await
}

async fn refused(is_for_anthropic: bool, error: ApiError) -> Response {
    let response = error.into_response();
    if is_for_anthropic { anthropic_errors::translated(response).await } else { response }
}
