//! `POST /v1/synthesis`: whole, or with an event for all that the voices do.

use super::admission::{Admitted, admit, compare_synthesis};
use super::authentication::Caller;
use super::body::{self, MAX_BODY_BYTES};
use super::cache::FromBackend;
use super::destination::urgency;
use super::error::ApiError;
use super::events::event_stream;
use super::exchange::Exchange;
use super::identifiers::unique;
use super::limits::{self, Wanted, tell_limits};
use super::secrets::{self, AnswerRedactor};
use super::wishes;
use crate::authorization::Action;
use crate::backend::BackendError;
use crate::limits::{Allowance, Reservation};
use crate::request_error::RequestError;
use crate::routing::Target;
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::synthesis::{Asked, Outcome, Plan, Progress, Synthesis, SynthesisRequest, run};
use crate::telemetry::{TokenNote, TroubleNote, UsedTokens};
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use codecrucible_contract::{LimitedRoute, Urgency};
use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Events that wait for a slow client before the voices are slowed down.
const WAITING_EVENTS: usize = 256;
/// How long all of them may wait before the client counts as gone, seconds.
const PATIENCE_SECONDS: u32 = 30;

/// Everything that one synthesis needs.
struct Job {
    id: String,
    plan: Plan,
    targets: Vec<Target>,
    urgency: Urgency,
    reservation: Option<Reservation>,
    tokens: TokenNote,
    snapshot: Arc<Snapshot>,
    service: Service,
    _permit: OwnedSemaphorePermit,
}

pub(super) async fn synthesize(
    service: Service,
    caller: Caller,
    exchange: Exchange,
    request: Request,
) -> Result<Response, ApiError> {
    let wanted_urgency = wishes::urgency(request.headers())?;
    let body = body::read(&service, &exchange, request.into_body(), MAX_BODY_BYTES).await?;
    let permit = service.room_for_synthesis().ok_or_else(ApiError::busy)?;
    let snapshot = service.snapshot();
    let bytes = secrets::redacted(&service, &snapshot, &exchange, body.bytes.clone());
    let request: SynthesisRequest = serde_json::from_slice(&bytes)
        .map_err(|error| RequestError::body(format!("the body is not a valid synthesis request: {error}")))?;
    let Admitted { public_model, targets } =
        admit(&service, &snapshot, &caller, Action::Synthesize, request.model.as_deref())?;
    let targets = targets.into_iter().cloned().collect();
    let urgency = urgency(&snapshot, &caller, public_model.name(), wanted_urgency);
    let stream = request.stream;
    let compared = snapshot.shadow.is_some().then(|| request.clone());
    let plan = request.plan(&snapshot.bundle.policy().synthesis);
    if let Some(request) = compared {
        compare_synthesis(&service, &snapshot, &caller, request, plan.as_ref().ok());
    }
    let plan = plan?;
    let tokens = plan.estimated_tokens();
    let wanted =
        Wanted { route: LimitedRoute::Synthesis, model: Some(public_model.name()), or_model: None, tokens };
    let Allowance { told, mut reservation, .. } =
        limits::allowance(&service, &snapshot, (&caller, &exchange), wanted).await?;
    exchange.note_model(public_model);
    // Until it is known what the voices used, what was taken stays taken.
    reservation.iter_mut().for_each(Reservation::note_unknown);
    let secrets = AnswerRedactor::of_texts(&service, &snapshot, &exchange);
    let job = Job {
        id: unique("synthesis"),
        plan,
        targets,
        urgency,
        reservation,
        tokens: exchange.tokens().clone(),
        snapshot,
        service,
        _permit: permit,
    };
    if stream {
        let service = job.service.clone();
        let mut redactor = secrets.events();
        let events = events(job, exchange.trouble_note()).filter_map(move |event| {
            let passing = match (&mut redactor, event) {
                (Some(redactor), Ok(event)) => redactor.push(&event),
                (_, event) => Ok(event.unwrap_or_default()),
            };
            // What waits is nothing yet.
            std::future::ready(passing.map(|bytes| (!bytes.is_empty()).then_some(bytes)).transpose())
        });
        let events = Body::from_stream(events);
        return Ok(tell_limits(event_stream(&service, &exchange, events, error_event), &told));
    }
    // Nobody listens to progress; a channel that is closed takes events for nothing.
    let (progress, _) = mpsc::channel(1);
    let begin = Instant::now();
    let outcome = job.run(&progress).await;
    exchange.note_wait(begin.elapsed());
    let response =
        outcome.map(|synthesis| document(&secrets, &synthesis)).map_err(ApiError::from).into_response();
    Ok(tell_limits(response, &told))
}

fn document(secrets: &AnswerRedactor, synthesis: &Synthesis) -> Response {
    let document = serde_json::to_vec(synthesis).unwrap_or_default();
    FromBackend::whole(secrets.document(document.into())).response
}

impl Job {
    async fn run(mut self, progress: &mpsc::Sender<Progress>) -> Result<Synthesis, BackendError> {
        let asked =
            Asked { targets: &self.targets, attempts: self.service.attempts(&self.snapshot, self.urgency) };
        let outcome = run(self.id.clone(), &self.plan, &asked, progress).await;
        let used = outcome.as_ref().map_or(UsedTokens::default(), Synthesis::used_tokens);
        self.tokens.set(used);
        self.reservation.iter_mut().for_each(|reservation| reservation.note(used.total()));
        if let Ok(synthesis) = &outcome {
            for candidate in &synthesis.candidates {
                let outcome = match candidate.outcome {
                    Outcome::Completed { .. } => "completed",
                    Outcome::Failed { .. } => "failed",
                };
                self.service
                    .metrics()
                    .models
                    .candidates
                    .with_label_values(&[&candidate.voice, outcome])
                    .inc();
            }
        }
        outcome
    }
}

/// The voices' progress, then the result. The work goes on in a task of its own, so that its time limits
/// hold also while the client takes nothing; it ends when the client leaves, or takes nothing for too long.
fn events(job: Job, trouble: TroubleNote) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let (progress, mut heard) = mpsc::channel(WAITING_EVENTS);
    let (last_words, last_heard) = oneshot::channel();
    let service = job.service.clone();
    tokio::spawn(async move {
        let result = tokio::select! {
            result = job.run(&progress) => result,
            () = progress.closed() => return,
            () = nobody_takes(&progress) => return,
        };
        let last = match result {
            Ok(synthesis) => finished(&synthesis),
            Err(error) => {
                trouble.set(error.kind());
                let error = ApiError::from(error);
                // As if it had not been streamed.
                if error.status().is_server_error() {
                    service.served().broke();
                }
                error_event(&error)
            }
        };
        let _ = last_words.send(last);
    });
    let voices = futures::stream::poll_fn(move |context| heard.poll_recv(context));
    let end = futures::stream::once(last_heard).filter_map(|last| async { last.ok() });
    voices.map(|progress| progress_event(&progress)).chain(end).map(Ok)
}

/// Ends when the events have been waiting, as many as may, for too long.
async fn nobody_takes(progress: &mpsc::Sender<Progress>) {
    let mut full_seconds = 0;
    while full_seconds < PATIENCE_SECONDS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        full_seconds = if progress.capacity() == 0 { full_seconds + 1 } else { 0 };
    }
}

fn progress_event(progress: &Progress) -> Bytes {
    let name = match progress {
        Progress::Started { .. } => "voice.started",
        Progress::Delta { .. } => "voice.delta",
        Progress::Finished(_) => "voice.finished",
    };
    event(name, &serde_json::to_value(progress).unwrap_or_default())
}

fn finished(synthesis: &Synthesis) -> Bytes {
    let document = serde_json::to_value(synthesis).unwrap_or_default();
    event("synthesis.finished", &json!({"type": "synthesis.finished", "synthesis": document}))
}

fn error_event(error: &ApiError) -> Bytes {
    event("error", &error.document())
}

fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}
