//! What all parts of the running service share.

use crate::attempts::{Attempts, RetryBudget};
use crate::cache::AnswerCache;
use crate::identity::{IssueError, IssuedToken, KnownClients};
use crate::limits::{Allowance, Asked, Limiter, Refusal};
use crate::snapshot::Snapshot;
use crate::telemetry::{Metrics, ServedRequests, Traces};
use crate::tls::PublicCertificate;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use codecrucible_contract::{
    self as contract, Acknowledgement, Refused, Served, ShadowAcknowledgement, Urgency,
};
use rustls::ServerConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Synthesis requests that run at once; each holds several backends' answers in memory.
const MAX_CONCURRENT_SYNTHESES: usize = 64;
/// Bytes of request bodies that are held at once, kilobytes.
const MAX_HELD_BODIES_KB: usize = 256 * 1024;

/// What all parts of the running service share. One pointer: it is cloned several times for each request.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

struct Shared {
    snapshot: ArcSwap<Snapshot>,
    changes: watch::Sender<()>,
    clients: ArcSwap<KnownClients>,
    acknowledgement: ArcSwap<Acknowledgement>,
    certificate: ArcSwapOption<ServerConfig>,
    public_certificate: ArcSwapOption<PublicCertificate>,
    metrics: Arc<Metrics>,
    served: ServedRequests,
    draining: AtomicBool,
    farewell: CancellationToken,
    syntheses: Arc<Semaphore>,
    held_bodies: Arc<Semaphore>,
    retries: RetryBudget,
    limiter: Arc<Limiter>,
    cache: AnswerCache,
    traces: Traces,
}

impl Service {
    /// A service on a first snapshot, for these clients. Needs a runtime where the policy names a store or a collector.
    pub fn new(snapshot: Snapshot, clients: KnownClients, metrics: Arc<Metrics>) -> Self {
        snapshot.apply_concurrency();
        let limiter = Arc::new(Limiter::new(Arc::clone(&metrics)));
        limiter.follow(&snapshot.limits, snapshot.store.as_ref());
        let cache = AnswerCache::new(Arc::clone(&metrics));
        cache.follow(snapshot.bundle.policy().cache.as_ref(), snapshot.shared_answers.as_ref());
        let traces = Traces::new(metrics.trace_batches.clone());
        traces.follow(snapshot.bundle.policy());
        Self(Arc::new(Shared {
            acknowledgement: ArcSwap::from_pointee(acknowledge(&snapshot)),
            snapshot: ArcSwap::from_pointee(snapshot),
            changes: watch::Sender::default(),
            clients: ArcSwap::from_pointee(clients),
            certificate: ArcSwapOption::empty(),
            public_certificate: ArcSwapOption::empty(),
            metrics,
            served: ServedRequests::default(),
            draining: AtomicBool::new(false),
            farewell: CancellationToken::new(),
            syntheses: Arc::new(Semaphore::new(MAX_CONCURRENT_SYNTHESES)),
            held_bodies: Arc::new(Semaphore::new(MAX_HELD_BODIES_KB)),
            retries: RetryBudget::new(Instant::now()),
            limiter,
            cache,
            traces,
        }))
    }

    /// The snapshot that serves now, for a moment.
    pub fn glance(&self) -> Guard<Arc<Snapshot>> {
        self.0.snapshot.load()
    }

    /// The snapshot that serves now, for as long as a request takes.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    /// Replaces the snapshot; requests that have one keep theirs.
    pub fn replace_snapshot(&self, snapshot: Snapshot) {
        let acknowledgement = acknowledge(&snapshot);
        snapshot.apply_concurrency();
        self.0.limiter.follow(&snapshot.limits, snapshot.store.as_ref());
        self.0.cache.follow(snapshot.bundle.policy().cache.as_ref(), snapshot.shared_answers.as_ref());
        self.0.traces.follow(snapshot.bundle.policy());
        self.0.snapshot.store(Arc::new(snapshot));
        self.0.changes.send_replace(());
        // Not before it serves.
        self.0.acknowledgement.store(Arc::new(acknowledgement));
    }

    /// Tells whenever the snapshot or the clients were replaced.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// The clients that may ask for tokens, and use them, for a moment.
    pub fn clients(&self) -> Guard<Arc<KnownClients>> {
        self.0.clients.load()
    }

    /// From now on these are let in and no others, whatever tokens the others have.
    pub fn replace_clients(&self, clients: KnownClients) {
        self.0.clients.store(Arc::new(clients));
        self.0.changes.send_replace(());
    }

    /// A token for a client that has proved who it is.
    pub fn issue_token(&self, client_id: &str, now: SystemTime) -> Result<IssuedToken, IssueError> {
        let clients = self.clients();
        // Without a credential, a token is good for nothing.
        let credential = clients.credential(client_id).unwrap_or_default();
        self.glance().tokens.issue(client_id, credential, now)
    }

    /// What was applied, and what was refused since.
    pub fn acknowledgement(&self) -> Acknowledgement {
        let certificate = self.0.public_certificate.load().as_ref().map(|shown| shown.fingerprint.clone());
        let clients = self.clients().registered_hash().to_owned();
        let shadow = self.glance().shadow.as_ref().map(|shadow| match shadow {
            Ok(shadow) => shadow.acknowledgement(),
            Err(reason) => ShadowAcknowledgement::refusal(reason),
        });
        Acknowledgement {
            clients,
            certificate,
            shadow,
            served: self.0.served.read(),
            store: self.0.limiter.store_acknowledgement(),
            ..Acknowledgement::clone(&self.0.acknowledgement.load())
        }
    }

    /// Notes why the newest configuration does not serve; nothing once it does, or is the one that serves.
    pub fn note_refusal(&self, reason: Option<&str>) {
        let refused = reason.map(|reason| Refused::new(reason, now()));
        let current = Acknowledgement::clone(&self.0.acknowledgement.load());
        self.0.acknowledgement.store(Arc::new(Acknowledgement { refused, ..current }));
    }

    /// What the replica shows to whoever asks how it is. Nothing while it has no certificate.
    pub fn certificate(&self) -> Option<Arc<ServerConfig>> {
        self.0.certificate.load_full()
    }

    /// From the next connection on the replica shows this.
    pub fn replace_certificate(&self, certificate: Option<Arc<ServerConfig>>) {
        self.0.certificate.store(certificate);
    }

    /// What clients are shown. Nothing while there is none.
    pub fn public_certificate(&self) -> Option<Arc<ServerConfig>> {
        self.0.public_certificate.load().as_ref().map(|shown| Arc::clone(&shown.config))
    }

    /// Whether clients come over TLS.
    pub fn is_encrypted(&self) -> bool {
        self.0.public_certificate.load().is_some()
    }

    /// From the next connection on clients are shown this.
    pub fn replace_public_certificate(&self, certificate: PublicCertificate) {
        self.0.metrics.certificate_end_seconds.set(certificate.not_after);
        self.0.public_certificate.store(Some(Arc::new(certificate)));
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// How well clients with a token were served.
    pub fn served(&self) -> &ServedRequests {
        &self.0.served
    }

    /// What the attempts of a request share, under the policy of a snapshot.
    pub fn attempts(&self, snapshot: &Snapshot, urgency: Urgency) -> Attempts<'_> {
        let routing = &snapshot.bundle.policy().routing;
        Attempts {
            budget: &self.0.retries,
            budget_percent: routing.retry_budget_percent,
            has_affinity: routing.affinity == contract::Affinity::PromptPrefix,
            hedge_after: routing.hedge_after_ms.map(Duration::from_millis),
            max_resting_percent: routing.max_resting_percent,
            urgency,
            metrics: &self.0.metrics,
        }
    }

    /// Whether the limits of a snapshot admit a request, and how it stands with them.
    pub async fn admit(&self, snapshot: &Snapshot, asked: &Asked<'_>) -> Result<Allowance, Refusal> {
        self.0.limiter.admit(&snapshot.limits, asked).await
    }

    /// Answers that are given again.
    pub fn cache(&self) -> &AnswerCache {
        &self.0.cache
    }

    /// Where requests are told of as traces.
    pub fn traces(&self) -> &Traces {
        &self.0.traces
    }

    /// From now on not ready, so that load balancers turn away.
    pub fn start_draining(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the service is about to end.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Cancelled when answers that are still under way have to end.
    pub fn farewell(&self) -> &CancellationToken {
        &self.0.farewell
    }

    /// Ends when all that requests used has been counted, and told. For when there are no more.
    pub async fn settle(&self) {
        tokio::join!(self.0.limiter.settle(), self.0.traces.settle(), self.0.cache.settle());
    }

    /// Room for one more synthesis, if there is any; given back with the permit.
    pub fn room_for_synthesis(&self) -> Option<OwnedSemaphorePermit> {
        self.0.syntheses.clone().try_acquire_owned().ok()
    }

    /// Room for one more body, if there is any; given back with the permit.
    pub fn room_for_body(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.0.held_bodies.clone().try_acquire_many_owned(kilobytes).ok()
    }
}

fn acknowledge(snapshot: &Snapshot) -> Acknowledgement {
    let (revision, hash) = (snapshot.bundle.revision().to_string(), snapshot.bundle.hash().to_owned());
    // Clients and certificate come and go by themselves, and what is compared counts on.
    let (clients, certificate, shadow, served, store) = (String::new(), None, None, Served::default(), None);
    let (applied_at, refused) = (now(), None);
    Acknowledgement { revision, hash, clients, certificate, shadow, served, store, applied_at, refused }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
