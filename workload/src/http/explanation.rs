//! What would become of a request (`x-codecrucible-dry-run: true`): which backends it may go to and how, in which order they would be asked now, and
//! whether its answer is kept. Nobody is asked, and no limit but that of listing models counts it.

use super::automatic;
use super::destination::Destination;
use crate::attempts::Attempts;
use crate::backend::{Kind, Occupancy};
use crate::cache::Place;
use crate::gateway::{ModelQuestion, ModelRequest};
use crate::routing::{Order, Target, in_order_of_trial};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A request that is not sent.
pub(super) struct Unsent<'a> {
    pub(super) request: &'a ModelRequest,
    pub(super) destination: &'a Destination<'a>,
    pub(super) place: Option<Place>,
}

impl Unsent<'_> {
    /// What would become of it.
    pub(super) async fn explain(self, attempts: &Attempts<'_>) -> Response {
        let Self { request, destination, place } = self;
        let Destination { choice, public_model, targets, .. } = destination;
        let everybody = destination.everybody();
        let problems = ModelQuestion::problems(request, &everybody);
        let problem_of = |target: &Target| {
            problems.iter().find(|(other, _)| std::ptr::eq(*other, target)).map(|(_, problem)| problem)
        };
        let asked: Vec<&Target> =
            targets.iter().copied().filter(|target| problem_of(target).is_none()).collect();
        let affinity = if attempts.has_affinity { request.affinity() } else { None };
        let Order { targets: order, is_by_affinity } = in_order_of_trial(&asked, affinity);
        let now = Instant::now();
        let backends = everybody.iter().map(|target| {
            let mut shown = backend(target, now);
            if let Some(problem) = problem_of(target) {
                shown["not_asked"] = json!({"param": problem.parameter, "message": problem.message});
            }
            shown
        });
        let by = match order.len() {
            0 | 1 => "only",
            _ if is_by_affinity => "prefix",
            _ => "load",
        };
        let cache = match &place {
            None => Value::Null,
            Some(place) => {
                json!({"rule": place.rule.name(), "is_kept": place.has(std::time::Instant::now()).await})
            }
        };
        let document = json!({
            "object": "codecrucible.explanation",
            "model": public_model.name(),
            "stream": request.stream,
            "deterministic": request.is_deterministic,
            "estimated_tokens": {"prompt": request.estimated_prompt_tokens(), "total": request.estimated_tokens()},
            "backends": backends.collect::<Vec<_>>(),
            "order": order.iter().map(|target| target.backend.name()).collect::<Vec<_>>(),
            "by": by,
            "urgency": attempts.urgency,
            "automatic": choice.as_ref().map(automatic::explain),
            "cache": cache,
        });
        Json(document).into_response()
    }
}

/// A backend that the client may use; never its address.
fn backend(target: &Target, now: Instant) -> Value {
    let Target { public_model, backend_model, backend, priority, weight } = target;
    let Occupancy { in_flight, most, queued } = backend.health().room().occupancy();
    let speaks = match backend.kind() {
        Kind::Embedded(_) => "embedded",
        Kind::Remote(_) => backend.provider(),
    };
    json!({
        "name": backend.name(), "speaks": speaks, "serves": public_model.name(), "model": backend_model, "priority": priority, "weight": weight,
        "state": backend.condition(now), "in_flight": in_flight, "most_in_flight": most, "queued": queued,
        "first_byte_ms": backend.health().first_byte().map(|after| after.as_millis()),
    })
}
