//! The routes of OpenAI's and Anthropic's APIs that models answer: who may ask, whether it is answered again, and otherwise that backends are asked.

use super::asking::Asking;
use super::authentication::Caller;
use super::automatic;
use super::body::{self, MAX_BODY_BYTES};
use super::cache::Keeping;
use super::destination::Destination;
use super::error::ApiError;
use super::exchange::Exchange;
use super::explanation::Unsent;
use super::limits::{self, LISTED, Wanted, tell_limits};
use super::secrets::{self, AnswerRedactor};
use super::wishes::Wishes;
use crate::backend::{Endpoint, Told};
use crate::cache::{ABSENT, Asked, Place};
use crate::gateway::{ModelQuestion, ModelRequest};
use crate::limits::Allowance;
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use codecrucible_contract::LimitedRoute;
use http::HeaderMap;

/// The answer to a request at such a route.
pub(super) async fn answer(
    endpoint: Endpoint,
    service: Service,
    caller: Caller,
    exchange: Exchange,
    request: Request,
) -> Result<Response, ApiError> {
    let wishes = Wishes::of(endpoint, request.headers())?;
    let body = body::read(&service, &exchange, request.into_body(), MAX_BODY_BYTES).await?;
    let snapshot = service.snapshot();
    let bytes = secrets::redacted(&service, &snapshot, &exchange, body.bytes.clone());
    let request = ModelRequest::parse(endpoint, bytes)?;
    let destination = Destination::of(&service, &snapshot, &caller, &request, &wishes)?;
    let by_whom = (&caller, &exchange);
    if wishes.is_dry_run {
        let wanted = Wanted { model: Some(destination.public_model.name()), ..LISTED };
        limits::allowance(&service, &snapshot, by_whom, wanted).await?;
        let weight = ModelQuestion::weight(&request, &destination.everybody());
        let _room = service.room_for_body(weight).ok_or_else(ApiError::busy)?;
        let place = place(&service, &snapshot, &caller, (&request, &destination, &wishes));
        let attempts = service.attempts(&snapshot, destination.urgency);
        let unsent = Unsent { request: &request, destination: &destination, place };
        return Ok(Box::pin(unsent.explain(&attempts)).await);
    }
    let Destination { public_model, urgency, .. } = destination;
    let (or_model, tokens) = (destination.better_model(), request.estimated_tokens());
    let wanted = Wanted { route: endpoint.into(), model: Some(public_model.name()), or_model, tokens };
    let Allowance { told, reservation, .. } = limits::allowance(&service, &snapshot, by_whom, wanted).await?;
    if or_model.is_none() {
        exchange.note_model(public_model);
    }
    let weight = ModelQuestion::weight(&request, &destination.everybody());
    let _room = service.room_for_body(weight).ok_or_else(ApiError::busy)?;
    // Of all that may be asked, those too that cannot be, which are left out below.
    let place = place(&service, &snapshot, &caller, (&request, &destination, &wishes));
    let place = place.filter(|_| !wishes.directives.no_store);
    let with = Told { correlation: Some(exchange.correlation()), attempt: 0, headers: wishes.told.as_ref() };
    let Destination { targets, better, choice, .. } = destination;
    let (question, targets, better) = ModelQuestion::new(&request, with, targets, better)?;
    let question = question.about(choice.as_ref().and_then(|choice| choice.judged.task));
    let asking = Asking {
        service: &service,
        snapshot: &snapshot,
        exchange: &exchange,
        request: &request,
        public_model,
        urgency,
        place: place.clone(),
        secrets: AnswerRedactor::of(endpoint, &service, &snapshot, &exchange),
    };
    let directives = wishes.directives;
    let response = match place {
        Some(place) => {
            let (service, exchange, is_stream) = (&service, &exchange, request.stream);
            // Boxed, and not before it begins: a future has room for all that it may come to, and most that is kept is not asked for.
            let ask = async { Box::pin(asking.ask(&question, (&targets, &better), reservation)).await };
            Box::pin(Keeping { service, exchange, place, directives, is_stream }.answer(ask)).await
        }
        None if directives.only_if_cached => {
            exchange.note_cache(ABSENT);
            Err(ApiError::not_kept())
        }
        None => Ok(asking.ask(&question, (&targets, &better), reservation).await.response),
    };
    let response = tell_limits(response.unwrap_or_else(ApiError::into_response), &told);
    Ok(match &choice {
        Some(choice) => automatic::tell(response, choice, exchange.model().unwrap_or(public_model.name())),
        None => response,
    })
}

/// Where the answer is kept, if it is to be.
pub(super) fn place(
    service: &Service,
    snapshot: &Snapshot,
    caller: &Caller,
    (request, destination, wishes): (&ModelRequest, &Destination<'_>, &Wishes),
) -> Option<Place> {
    let rules = snapshot.cache_rules.as_ref()?;
    let ModelRequest { endpoint, is_deterministic, .. } = *request;
    let model = destination.public_model.name();
    let values = wishes.told.iter().flat_map(HeaderMap::iter);
    let told: String = values.map(|(name, value)| format!("{name}: {value:?}\n")).collect();
    let client = &caller.principal.subject;
    let redaction = match (&snapshot.answer_redaction, endpoint) {
        (None, _) | (_, Endpoint::Embeddings) => "",
        (Some(redaction), _) => redaction.identity(),
    };
    let asked = Asked { endpoint, model, client, is_deterministic, told: &told, redaction };
    service.cache().place(rules, &asked, &destination.everybody(), request.text())
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
