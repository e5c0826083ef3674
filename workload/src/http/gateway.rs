//! The routes of OpenAI's and Anthropic's APIs that models answer: who may ask, whether it is answered again, and otherwise that backends are asked.

use super::admission::{Admitted, admit};
use super::asking::Asking;
use super::authentication::Caller;
use super::body::{self, MAX_BODY_BYTES};
use super::cache::Keeping;
use super::error::ApiError;
use super::exchange::Exchange;
use super::explanation::{self, Unsent};
use super::limits::{self, LISTED, Wanted, tell_limits};
use super::urgency::{self, URGENCY};
use crate::authorization::Action;
use crate::backend::{Endpoint, Told};
use crate::cache::{ABSENT, Asked, Directives, Place};
use crate::dialects::anthropic::{BETA, BETA_OF_TOKENS, VERSION};
use crate::gateway::{ModelQuestion, ModelRequest};
use crate::limits::Allowance;
use crate::routing::Target;
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use codecrucible_contract::LimitedRoute;
use http::{HeaderMap, HeaderValue};

/// Such a route.
pub(super) fn route(endpoint: Endpoint) -> MethodRouter<Service> {
    post(
        move |State(service): State<Service>,
              Extension(caller): Extension<Caller>,
              Extension(exchange): Extension<Exchange>,
              request: Request| answer(service, caller, exchange, endpoint, request),
    )
}

async fn answer(
    service: Service,
    caller: Caller,
    exchange: Exchange,
    endpoint: Endpoint,
    request: Request,
) -> Result<Response, ApiError> {
    let directives = Directives::of(request.headers());
    let wish = request.headers().get(URGENCY).cloned();
    let is_dry_run = explanation::is_wanted(request.headers())?;
    let headers = told_headers(endpoint, request.headers());
    let body = body::read(&service, &exchange, request.into_body(), MAX_BODY_BYTES).await?;
    let request = ModelRequest::parse(endpoint, body.bytes.clone())?;
    let snapshot = service.snapshot();
    let Admitted { public_model, targets } =
        admit(&service, &snapshot, &caller, Action::Complete, Some(&request.model))?;
    let urgency = urgency::urgency(&snapshot, &caller, public_model, wish.as_ref())?;
    // Also those of it that cannot be asked, which are left out below.
    let all_targets = if snapshot.bundle.policy().cache.is_some() { targets.clone() } else { Vec::new() };
    if is_dry_run {
        limits::allowance(
            &service,
            &snapshot,
            (&caller, &exchange),
            Wanted { model: Some(public_model), ..LISTED },
        )
        .await?;
        let weight = ModelQuestion::weight(&request, &targets);
        let _room = service.room_for_body(weight).ok_or_else(ApiError::busy)?;
        let place = place(&service, &snapshot, &caller, (&request, public_model, headers.as_ref()), &targets);
        let unsent = Unsent { request: &request, public_model, targets: &targets, place };
        return Ok(unsent.explain(&service.attempts(&snapshot, urgency)).await);
    }
    let wanted =
        Wanted { route: endpoint.into(), model: Some(public_model), tokens: request.estimated_tokens() };
    let Allowance { told, reservation, .. } =
        limits::allowance(&service, &snapshot, (&caller, &exchange), wanted).await?;
    exchange.note_model(public_model);
    let weight = ModelQuestion::weight(&request, &targets);
    let _room = service.room_for_body(weight).ok_or_else(ApiError::busy)?;
    let with = Told { correlation: Some(exchange.correlation()), attempt: 0, headers: headers.as_ref() };
    let (question, targets) = ModelQuestion::new(&request, with, targets)?;
    let place = if directives.no_store {
        None
    } else {
        place(&service, &snapshot, &caller, (&request, public_model, headers.as_ref()), &all_targets)
    };
    let asking = Asking {
        service: &service,
        snapshot: &snapshot,
        exchange: &exchange,
        request: &request,
        public_model,
        urgency,
        place: place.clone(),
    };
    let ask = asking.ask(&question, &targets, reservation);
    let response = match place {
        Some(place) => {
            let (service, exchange, is_stream) = (&service, &exchange, request.stream);
            Keeping { service, exchange, place, directives, is_stream }.answer(ask).await
        }
        None if directives.only_if_cached => {
            exchange.note_cache(ABSENT);
            Err(ApiError::not_kept())
        }
        None => Ok(ask.await.response),
    };
    Ok(tell_limits(response.unwrap_or_else(ApiError::into_response), &told))
}

/// What of a client's headers means something to a backend that speaks its dialect.
fn told_headers(endpoint: Endpoint, headers: &HeaderMap) -> Option<HeaderMap> {
    if endpoint != Endpoint::Messages {
        return None;
    }
    let mut told = HeaderMap::new();
    told.extend(headers.get(VERSION).map(|version| (VERSION, version.clone())));
    let betas = headers.get_all(BETA).iter().filter_map(|betas| betas.to_str().ok());
    let betas =
        betas.flat_map(|betas| betas.split(',')).map(str::trim).filter(|beta| *beta != BETA_OF_TOKENS);
    let betas = HeaderValue::try_from(betas.collect::<Vec<_>>().join(",")).ok();
    told.extend(betas.filter(|betas| !betas.is_empty()).map(|betas| (BETA, betas)));
    Some(told)
}

/// Where the answer is kept, if it is to be.
fn place(
    service: &Service,
    snapshot: &Snapshot,
    caller: &Caller,
    (request, model, headers): (&ModelRequest, &str, Option<&HeaderMap>),
    targets: &[&Target],
) -> Option<Place> {
    let policy = snapshot.bundle.policy().cache.as_ref()?;
    let ModelRequest { endpoint, is_deterministic, .. } = *request;
    let values = headers.into_iter().flat_map(HeaderMap::iter);
    let told: String = values.map(|(name, value)| format!("{name}: {value:?}\n")).collect();
    let asked = Asked { endpoint, model, client: &caller.principal.subject, is_deterministic, told: &told };
    service.cache().place(policy, &asked, targets, request.text())
}

impl From<Endpoint> for LimitedRoute {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::ChatCompletions => Self::ChatCompletions,
            Endpoint::Completions => Self::Completions,
            Endpoint::Responses => Self::Responses,
            Endpoint::Embeddings => Self::Embeddings,
            Endpoint::Messages => Self::Messages,
        }
    }
}
