//! Questions of the policy's warm-up list, which a replica asks before anybody does: so who asks first is answered at once.
//!
//! What is kept already costs nothing, and no limit counts it. Everything else goes the way of its client's own requests: what the client may do, its
//! limits, the cache and the log hold for it. Nobody waits for it, so neither autoscaling nor a canary's figures count it.

use super::authentication::Caller;
use super::destination::Destination;
use super::error::ApiError;
use super::exchange::{Exchange, followed};
use super::gateway;
use super::wishes::Wishes;
use crate::backend::Endpoint;
use crate::cache::Place;
use crate::gateway::ModelRequest;
use crate::identity::Principal;
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use codecrucible_contract::WarmUp;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Pauses after which what failed is asked again, before each is made up to half longer or shorter.
pub const PAUSES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(80),
];
/// How long it is waited for the disk and the Redis of the cache each, which may have the answers.
const LAYER_PATIENCE: Duration = Duration::from_secs(5);
/// How long one answer may take, with the queue, all attempts and the whole stream: others wait for it. Longer than most backends are given.
const ANSWER_PATIENCE: Duration = Duration::from_secs(300);
/// How long a stream that has ended may take until it is kept, and the pause between two looks.
const KEEP_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// From where the service itself asks, as access policies and limits see it.
const OWN_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// What the log says of the cache for such a request.
pub(super) const WARM_UP: &str = "warm_up";

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A model answered, and the answer is kept.
    Asked,
    /// The answer was there.
    Kept,
    /// No rule of the cache applies, or the answer is none that is kept.
    Unkept,
    /// It is not one that is answered, or not to this client.
    Refused,
    /// There is no such client.
    Unknown,
    /// Nobody answered, or not now.
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Kept => "kept",
            Self::Unkept => "unkept",
            Self::Refused => "refused",
            Self::Unknown => "unknown_client",
            Self::Failed => "failed",
        }
    }

    /// Of an answer that has come.
    fn of(status: StatusCode, is_kept: bool) -> Self {
        let is_for_now = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
        match status {
            _ if is_kept => Self::Asked,
            _ if is_for_now || status.is_server_error() => Self::Failed,
            _ if status.is_success() => Self::Unkept,
            _ => Self::Refused,
        }
    }
}

/// Asks what is on the list once the disk is open, and whenever policy or clients are replaced. What fails is asked again after each of the pauses.
/// Never ends.
pub async fn keep_warm(service: Service, disk: impl Future, pauses: &[Duration]) {
    let _ = timeout(LAYER_PATIENCE, disk).await;
    let mut changes = service.changes();
    loop {
        changes.mark_unchanged();
        Warming { service: &service, snapshot: &service.snapshot(), changes: &changes }.all(pauses).await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// A question and its place in the list.
type Listed<'a> = (usize, &'a WarmUp);

/// The list of one snapshot, until another one serves.
struct Warming<'a> {
    service: &'a Service,
    snapshot: &'a Snapshot,
    changes: &'a watch::Receiver<()>,
}

impl Warming<'_> {
    async fn all(&self, pauses: &[Duration]) {
        let Some(cache) = &self.snapshot.bundle.policy().cache else { return };
        let mut left: Vec<_> = cache.warm_up.iter().enumerate().collect();
        if left.is_empty() {
            return;
        }
        let _ = timeout(LAYER_PATIENCE, self.service.cache().connected()).await;
        // Replicas that begin at once need not all ask the same.
        left.rotate_left(fastrand::usize(..cache.warm_up.len()));
        left = self.round(left).await;
        for pause in pauses {
            if left.is_empty() || self.wait(pause.mul_f64(0.5 + fastrand::f64())).await.is_none() {
                return;
            }
            left = self.round(left).await;
        }
        if !left.is_empty() {
            let indices: Vec<_> = left.iter().map(|(index, _)| *index).collect();
            tracing::warn!(?indices, "questions of the cache's warm-up list were not answered");
        }
    }

    /// Nothing if another snapshot serves meanwhile.
    async fn wait(&self, pause: Duration) -> Option<()> {
        let mut changes = self.changes.clone();
        tokio::select! {
            () = sleep(pause) => Some(()),
            _ = changes.changed() => None,
        }
    }

    /// Asks one after the other, and gives back what is to be asked in the next round. A model that fails is left alone until then, so that the others do not
    /// wait for it; what was not asked therefore is asked first.
    async fn round<'q>(&self, questions: Vec<Listed<'q>>) -> Vec<Listed<'q>> {
        let (mut skipped, mut failed, mut failing) = (Vec::new(), Vec::new(), HashSet::new());
        for (index, question) in questions {
            if self.is_over() {
                break;
            }
            let model = question.model().unwrap_or_default();
            if failing.contains(&model) {
                skipped.push((index, question));
                continue;
            }
            let outcome = self.ask(question).await;
            if self.is_over() && matches!(outcome, Outcome::Unkept | Outcome::Refused) {
                // It may be so under the new policy alone.
                break;
            }
            self.tell(index, question, outcome);
            if outcome == Outcome::Failed {
                failed.push((index, question));
                failing.insert(model);
            }
        }
        skipped.extend(failed);
        skipped
    }

    /// Whether another snapshot serves, or there are other clients.
    fn is_over(&self) -> bool {
        self.changes.has_changed().unwrap_or(true)
    }

    fn tell(&self, index: usize, question: &WarmUp, outcome: Outcome) {
        let client = &question.client;
        self.service.metrics().cache.warm_up.with_label_values(&[outcome.as_str()]).inc();
        match outcome {
            Outcome::Asked | Outcome::Kept | Outcome::Failed => {}
            Outcome::Unkept => tracing::warn!(
                index,
                client,
                "the answer to a question of the cache's warm-up list is not kept"
            ),
            Outcome::Refused => {
                tracing::warn!(index, client, "a question of the cache's warm-up list is refused")
            }
            Outcome::Unknown => tracing::warn!(
                index,
                client,
                "a question of the cache's warm-up list has a client that is not known"
            ),
        }
    }

    async fn ask(&self, question: &WarmUp) -> Outcome {
        let Some(caller) = self.caller(&question.client) else { return Outcome::Unknown };
        let place = match self.place(&caller, question) {
            Ok(Some(place)) => place,
            Ok(None) => return Outcome::Unkept,
            Err(_) => return Outcome::Refused,
        };
        if place.has(Instant::now()).await {
            return Outcome::Kept;
        }
        let answer = async {
            let mut response = self.answer(caller, question).await;
            // Read to its end, without which nothing is kept, and forgotten as it comes.
            while response.frame().await.is_some() {}
            response.status()
        };
        match timeout(ANSWER_PATIENCE, answer).await {
            Ok(status) => Outcome::of(status, status.is_success() && is_kept_soon(&place).await),
            Err(_) => Outcome::Failed,
        }
    }

    /// What the client would be answered.
    async fn answer(&self, caller: Caller, question: &WarmUp) -> Response {
        let (service, endpoint) = (self.service, Endpoint::from(question.route));
        let within = |exchange: Exchange, request| async {
            exchange.note_cache(WARM_UP);
            exchange.note_client(&caller.principal.subject);
            gateway::answer(endpoint, service.clone(), caller, exchange, request).await.into_response()
        };
        followed(service, endpoint.public_path(), request(endpoint, question), within).await
    }

    /// Whom the service speaks for; nobody while there is no such client.
    fn caller(&self, client: &str) -> Option<Caller> {
        let now = SystemTime::now();
        let principal = Principal::spoken_for(client, self.service.clients().credential(client)?, now);
        Some(Caller { principal: Arc::new(principal), address: OWN_ADDRESS, now })
    }

    /// Where the answer will be kept, if it is to be.
    fn place(&self, caller: &Caller, question: &WarmUp) -> Result<Option<Place>, ApiError> {
        let endpoint = question.route.into();
        let wishes = Wishes::of(endpoint, &headers(question))?;
        let body = Bytes::copy_from_slice(question.request.as_bytes());
        let body = match &self.snapshot.redaction {
            Some(redaction) => redaction.apply(body).0,
            None => body,
        };
        let request = ModelRequest::parse(endpoint, body)?;
        let destination = Destination::of(self.service, self.snapshot, caller, &request, &wishes)?;
        Ok(gateway::place(self.service, self.snapshot, caller, (&request, &destination, &wishes)))
    }
}

/// A stream is kept beside its reader.
async fn is_kept_soon(place: &Place) -> bool {
    let kept = async {
        while !place.is_in_memory(Instant::now()).await {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(KEEP_PATIENCE, kept).await.is_ok()
}

fn headers(question: &WarmUp) -> HeaderMap {
    let told = question.headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    });
    told.collect()
}

fn request(endpoint: Endpoint, question: &WarmUp) -> Request {
    let mut request = Request::new(Body::from(question.request.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(endpoint.public_path());
    *request.headers_mut() = headers(question);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_answered_later_is_asked_again() {
        let of = |status| Outcome::of(StatusCode::from_u16(status).unwrap(), false);
        assert!([408, 429, 500, 503, 504].iter().all(|status| of(*status) == Outcome::Failed));
        assert!([400, 403, 404, 413].iter().all(|status| of(*status) == Outcome::Refused));
        assert_eq!(of(200), Outcome::Unkept);
        assert_eq!(Outcome::of(StatusCode::OK, true), Outcome::Asked);
    }
}
