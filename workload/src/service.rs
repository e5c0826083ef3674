//! What all parts of the running service share.

use crate::attempts::{Attempts, RetryBudget};
use crate::identity::{IssueError, IssuedToken, KnownClients};
use crate::limits::{Allowance, Asked, Limiter, Refusal};
use crate::snapshot::Snapshot;
use crate::telemetry::{Metrics, ServedRequests};
use crate::tls::PublicCertificate;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use codecrucible_contract::{Acknowledgement, Refused, Served, ShadowAcknowledgement};
use rustls::ServerConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Synthesis requests that run at once; each holds several backends' answers in memory.
const MAX_CONCURRENT_SYNTHESES: usize = 64;
/// Bytes of request bodies that are held at once, kilobytes.
const MAX_HELD_BODIES_KB: usize = 256 * 1024;

/// What all parts of the running service share. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    snapshot: Arc<ArcSwap<Snapshot>>,
    clients: Arc<ArcSwap<KnownClients>>,
    acknowledgement: Arc<ArcSwap<Acknowledgement>>,
    certificate: Arc<ArcSwapOption<ServerConfig>>,
    public_certificate: Arc<ArcSwapOption<PublicCertificate>>,
    metrics: Arc<Metrics>,
    served: Arc<ServedRequests>,
    draining: Arc<AtomicBool>,
    syntheses: Arc<Semaphore>,
    held_bodies: Arc<Semaphore>,
    retries: Arc<RetryBudget>,
    limiter: Arc<Limiter>,
}

impl Service {
    /// A service on a first snapshot, for these clients. Needs a runtime where the policy names a store.
    pub fn new(snapshot: Snapshot, clients: KnownClients, metrics: Arc<Metrics>) -> Self {
        let limiter = Arc::new(Limiter::new(Arc::clone(&metrics)));
        limiter.follow(&snapshot.limits, snapshot.store.as_ref());
        Self {
            acknowledgement: Arc::new(ArcSwap::from_pointee(acknowledge(&snapshot))),
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            clients: Arc::new(ArcSwap::from_pointee(clients)),
            certificate: Arc::default(),
            public_certificate: Arc::default(),
            metrics,
            served: Arc::default(),
            draining: Arc::default(),
            syntheses: Arc::new(Semaphore::new(MAX_CONCURRENT_SYNTHESES)),
            held_bodies: Arc::new(Semaphore::new(MAX_HELD_BODIES_KB)),
            retries: Arc::new(RetryBudget::new(Instant::now())),
            limiter,
        }
    }

    /// The snapshot that serves now, for a moment.
    pub fn glance(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The snapshot that serves now, for as long as a request takes.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Replaces the snapshot; requests that have one keep theirs.
    pub fn replace_snapshot(&self, snapshot: Snapshot) {
        let acknowledgement = acknowledge(&snapshot);
        self.limiter.follow(&snapshot.limits, snapshot.store.as_ref());
        self.snapshot.store(Arc::new(snapshot));
        // Not before it serves.
        self.acknowledgement.store(Arc::new(acknowledgement));
    }

    /// The clients that may ask for tokens, and use them, for a moment.
    pub fn clients(&self) -> Guard<Arc<KnownClients>> {
        self.clients.load()
    }

    /// From now on these are let in and no others, whatever tokens the others have.
    pub fn replace_clients(&self, clients: KnownClients) {
        self.clients.store(Arc::new(clients));
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
        let certificate = self.public_certificate.load().as_ref().map(|shown| shown.fingerprint.clone());
        let clients = self.clients().registered_hash().to_owned();
        let shadow = self.glance().shadow.as_ref().map(|shadow| match shadow {
            Ok(shadow) => shadow.acknowledgement(),
            Err(reason) => ShadowAcknowledgement::refusal(reason),
        });
        Acknowledgement {
            clients,
            certificate,
            shadow,
            served: self.served.read(),
            store: self.limiter.store_acknowledgement(),
            ..Acknowledgement::clone(&self.acknowledgement.load())
        }
    }

    /// Notes why the newest configuration does not serve; nothing once it does, or is the one that serves.
    pub fn note_refusal(&self, reason: Option<&str>) {
        let refused = reason.map(|reason| Refused::new(reason, now()));
        let current = Acknowledgement::clone(&self.acknowledgement.load());
        self.acknowledgement.store(Arc::new(Acknowledgement { refused, ..current }));
    }

    /// What the replica shows to whoever asks how it is. Nothing while it has no certificate.
    pub fn certificate(&self) -> Option<Arc<ServerConfig>> {
        self.certificate.load_full()
    }

    /// From the next connection on the replica shows this.
    pub fn replace_certificate(&self, certificate: Option<Arc<ServerConfig>>) {
        self.certificate.store(certificate);
    }

    /// What clients are shown. Nothing while there is none.
    pub fn public_certificate(&self) -> Option<Arc<ServerConfig>> {
        self.public_certificate.load().as_ref().map(|shown| Arc::clone(&shown.config))
    }

    /// From the next connection on clients are shown this.
    pub fn replace_public_certificate(&self, certificate: PublicCertificate) {
        self.metrics.certificate_end_seconds.set(certificate.not_after);
        self.public_certificate.store(Some(Arc::new(certificate)));
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How well clients with a token were served.
    pub fn served(&self) -> &ServedRequests {
        &self.served
    }

    /// What the attempts of a request share, under the policy of a snapshot.
    pub fn attempts(&self, snapshot: &Snapshot) -> Attempts<'_> {
        let budget_percent = snapshot.bundle.policy().routing.retry_budget_percent;
        Attempts { budget: &self.retries, budget_percent, metrics: &self.metrics }
    }

    /// Whether the limits of a snapshot admit a request, and how it stands with them.
    pub async fn admit(&self, snapshot: &Snapshot, asked: &Asked<'_>) -> Result<Allowance, Refusal> {
        self.limiter.admit(&snapshot.limits, asked).await
    }

    /// From now on not ready, so that load balancers turn away.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the service is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Room for one more synthesis, if there is any; given back with the permit.
    pub fn room_for_synthesis(&self) -> Option<OwnedSemaphorePermit> {
        self.syntheses.clone().try_acquire_owned().ok()
    }

    /// Room for one more body, if there is any; given back with the permit.
    pub fn room_for_body(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.held_bodies.clone().try_acquire_many_owned(kilobytes).ok()
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
