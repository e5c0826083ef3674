//! Which path leads where.

use super::error::ApiError;
use super::{
    admin, anthropic_errors, authentication, browsers, exchange, gateway, in_flight, models, oauth, served,
    synthesis,
};
use crate::backend::Endpoint;
use crate::service::Service;
use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use codecrucible_contract::STATUS_PATH;
use http::{HeaderMap, Method, StatusCode, Uri};

/// The public API.
pub fn public_router(service: Service) -> Router {
    let asked = model_routes()
        .route("/v1/synthesis", post(synthesis::synthesize))
        .route_layer(from_fn_with_state(service.clone(), served::note));
    let authenticated = Router::new()
        .merge(asked)
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*model}", get(models::show))
        // Within, not around: whoever has no token is not counted, or could drive an autoscaler, and end a canary.
        .route_layer(from_fn_with_state(service.clone(), in_flight::count))
        .route_layer(from_fn_with_state(service.clone(), authentication::require_token));
    Router::new()
        .merge(authenticated)
        .route("/oauth/token", post(oauth::token))
        .route("/.well-known/jwks.json", get(oauth::published_keys))
        .route_layer(from_fn_with_state(service.clone(), exchange::tell))
        .route("/livez", get(admin::live))
        .route("/readyz", get(admin::ready_without_reason))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(service)
}

/// What models answer, for whoever is let in.
pub(super) fn model_routes() -> Router<Service> {
    Endpoint::ALL.into_iter().fold(Router::new(), |router, endpoint| {
        router.route(endpoint.public_path(), gateway::route(endpoint))
    })
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
