//! `POST /v1/synthesis`: whole, or with an event for all that the voices do.

use super::chat::event_stream;
use super::error::ApiError;
use super::identifiers::unique;
use super::{Service, body};
use crate::backend::{Backend, BackendError};
use crate::chat::RequestError;
use crate::snapshot::Snapshot;
use crate::synthesis::{Outcome, Plan, Progress, Synthesis, SynthesisRequest, run};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Events that wait for a slow client before the voices are slowed down.
const WAITING_EVENTS: usize = 256;

/// Everything that one synthesis needs.
struct Job {
    id: String,
    plan: Plan,
    model: String,
    backend: Arc<Backend>,
    service: Service,
    _permit: OwnedSemaphorePermit,
}

pub(super) async fn synthesize(State(service): State<Service>, body: Body) -> Result<Response, ApiError> {
    let permit = service.syntheses.clone().try_acquire_owned().map_err(|_| ApiError::busy())?;
    let bytes = body::read(body).await?;
    let request: SynthesisRequest = serde_json::from_slice(&bytes)
        .map_err(|error| RequestError::body(format!("the body is not a valid synthesis request: {error}")))?;
    let snapshot = service.snapshot();
    let (model, backend) = chosen_model(&snapshot, request.model.as_deref())?;
    let stream = request.stream;
    let plan = request.plan(&snapshot.bundle.policy().synthesis)?;
    let job = Job { id: unique("synthesis"), plan, model, backend, service, _permit: permit };
    if stream {
        return Ok(event_stream(Body::from_stream(events(job))));
    }
    // Nobody listens to progress; a channel that is closed takes events for nothing.
    let (progress, _) = mpsc::channel(1);
    Ok(Json(job.run(&progress).await?).into_response())
}

/// The public name is looked up, the backend's own name is used.
fn chosen_model(snapshot: &Snapshot, asked: Option<&str>) -> Result<(String, Arc<Backend>), ApiError> {
    let route = match asked {
        Some(model) => snapshot.route(model).ok_or_else(|| ApiError::model_not_found(model))?,
        // A policy has at least one backend, and each at least one model.
        None => snapshot.routes().first().ok_or_else(|| ApiError::model_not_found(""))?,
    };
    Ok((route.backend_model.clone(), route.backend.clone()))
}

impl Job {
    async fn run(&self, progress: &mpsc::Sender<Progress>) -> Result<Synthesis, BackendError> {
        let outcome = run(self.id.clone(), &self.plan, &self.model, &self.backend, progress).await;
        if let Ok(synthesis) = &outcome {
            for candidate in &synthesis.candidates {
                let outcome = match candidate.outcome {
                    Outcome::Completed { .. } => "completed",
                    Outcome::Failed { .. } => "failed",
                };
                self.service.metrics.candidates.with_label_values(&[&candidate.voice, outcome]).inc();
            }
        }
        outcome
    }
}

/// The voices' progress, then the result. Dropping the stream drops the voices with it.
fn events(job: Job) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let (sender, mut receiver) = mpsc::channel(WAITING_EVENTS);
    let mut work = Box::pin(async move {
        match job.run(&sender).await {
            Ok(synthesis) => finished(&synthesis),
            Err(error) => event("error", &ApiError::from(error).document()),
        }
    });
    let mut result: Option<Bytes> = None;
    let mut ended = false;
    futures::stream::poll_fn(move |context| {
        use std::task::Poll;
        if ended {
            return Poll::Ready(None);
        }
        if result.is_none()
            && let Poll::Ready(last) = work.as_mut().poll(context)
        {
            result = Some(last);
        }
        match receiver.poll_recv(context) {
            Poll::Ready(Some(progress)) => Poll::Ready(Some(Ok(progress_event(&progress)))),
            // The sender went away with the work, so the result is there.
            Poll::Ready(None) => {
                ended = true;
                Poll::Ready(result.take().map(Ok))
            }
            Poll::Pending => Poll::Pending,
        }
    })
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

fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}
