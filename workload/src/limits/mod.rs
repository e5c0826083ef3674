//! How much clients may ask for: every limit that applies to a request must admit it, or nothing is taken from any. Replicas count together in a
//! store, or each its part in memory.

mod at_once;
mod claims;
mod counting;
mod estimate;
#[cfg(test)]
mod fixtures;
mod memory;
mod reservation;
mod rules;
#[cfg(test)]
mod semantics;
mod shared;
#[cfg(test)]
mod together;

pub use at_once::Held;
pub use estimate::{estimated_answer_tokens, estimated_tokens};
pub use reservation::Reservation;
pub use rules::{Asked, Limits};

use crate::store::{Newest, StoreSettings};
use crate::telemetry::Metrics;
use arc_swap::ArcSwapOption;
use at_once::Places;
use claims::{Claim, takes};
use codecrucible_contract::{StoreAcknowledgement, WithoutStore};
use counting::Standing;
use memory::Memory;
use reservation::Place;
use shared::{AskedStore, NoStore, SharedCounters, Unanswered};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_util::task::TaskTracker;

/// How long a request waits for an answer of the store, milliseconds. After one that did not come it asks no more.
const PATIENCE_MS: u64 = 25;
/// What the store is called in metrics.
const STORE: &str = "redis";
/// What a client should wait when limits cannot be asked, milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// Counts for the whole process, whatever the policy.
pub struct Limiter {
    memory: Memory,
    places: Arc<Places>,
    store: ArcSwapOption<SharedCounters>,
    /// Which store is told of.
    stores: Newest,
    patience: Duration,
    /// Corrections on their way to the store.
    settling: TaskTracker,
    metrics: Arc<Metrics>,
}

/// What a request that is admitted was given.
#[derive(Default)]
pub struct Allowance {
    /// How it stands with the limits that are in force, in their order.
    pub told: Vec<Told>,
    /// A limit in shadow that would refuse it.
    pub refused_in_shadow: Option<Arc<str>>,
    /// What was taken for its tokens, to be corrected by what it uses.
    pub reservation: Option<Reservation>,
    /// Places among those that are under way at once, for as long as the request lasts.
    pub held: Option<Held>,
}

/// A request that is not admitted.
#[derive(Debug)]
pub struct Refusal {
    /// The limit that refuses it, if it is not for want of a store.
    pub limit: Option<Arc<str>>,
    /// What that limit is, in words.
    pub description: String,
    /// How it stands with all of them.
    pub told: Vec<Told>,
    /// When to ask again, milliseconds.
    pub retry_ms: u64,
}

impl Refusal {
    /// Whole seconds, the last one begun.
    pub fn retry_seconds(&self) -> u64 {
        self.retry_ms.div_ceil(1_000)
    }
}

/// How a client stands with a limit.
#[derive(Clone, Debug)]
pub struct Told {
    /// What the limit is, as a header tells it (`RateLimit-Policy`).
    pub policy: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// How many could be had at once.
    pub remaining: u64,
    /// Until all could be had, milliseconds; nothing where that is when others end.
    pub reset_ms: Option<u64>,
}

impl Limiter {
    /// Nothing counted yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self::with_patience(Duration::from_millis(PATIENCE_MS), metrics)
    }

    fn with_patience(patience: Duration, metrics: Arc<Metrics>) -> Self {
        Self {
            memory: Memory::default(),
            places: Arc::default(),
            store: ArcSwapOption::empty(),
            stores: Newest::default(),
            patience,
            settling: TaskTracker::new(),
            metrics,
        }
    }

    /// From now on replicas count together there, or nowhere; and counters of limits that are no more are forgotten.
    pub fn follow(&self, limits: &Limits, settings: Option<&StoreSettings>) {
        self.memory.keep(|name| limits.has(name));
        let current = self.store.load();
        if current.as_ref().map(|store| store.settings()) == settings {
            return;
        }
        let connected = self.metrics.limits.store_connected.clone();
        connected.reset();
        let is_newest = self.stores.next();
        let open = move |settings: &StoreSettings| {
            connected.with_label_values(&[STORE]).set(0);
            let told = connected.clone();
            Arc::new(SharedCounters::open(settings.clone(), self.patience, current.clone(), move |outcome| {
                if !is_newest() {
                    return;
                }
                told.with_label_values(&[STORE]).set(i64::from(outcome.is_ok()));
                match outcome {
                    Ok(()) => tracing::info!("replicas count together in the store"),
                    Err(reason) => tracing::warn!(reason, "the store for limits does not answer"),
                }
            }))
        };
        self.store.store(settings.map(open));
    }

    /// Ends when no correction is on its way to the store, and no place on its way back. For when there are no more requests.
    pub async fn settle(&self) {
        self.settling.close();
        self.settling.wait().await;
        let store = self.store.load_full();
        if let Some(store) = store {
            store.asked().leases.settle().await;
        }
    }

    /// Whether it counts together with others; nothing where there is no store.
    pub fn store_acknowledgement(&self) -> Option<StoreAcknowledgement> {
        let store = self.store.load();
        let trouble = store.as_ref()?.trouble();
        Some(trouble.map_or_else(StoreAcknowledgement::default, |why| StoreAcknowledgement::trouble(&why)))
    }

    /// Takes what a request needs from all limits that apply to it, or from none.
    pub async fn admit(self: &Arc<Self>, limits: &Limits, asked: &Asked<'_>) -> Result<Allowance, Refusal> {
        let claims = limits.claims(asked);
        if claims.is_empty() {
            return Ok(Allowance::default());
        }
        let store = self.store.load().as_ref().map(|store| store.asked());
        let (at_once, rates): (Vec<_>, _) = claims.into_iter().partition(|claim| claim.limit.is_at_once());
        // Whatever refuses then gives these back.
        let (places, is_silent) = self.take_places(at_once, store.as_ref()).await?;
        match self.take(rates, store, is_silent).await {
            Ok(allowance) => Ok(places.and(allowance)),
            Err(refusal) => Err(Refusal { told: [places.told, refusal.told].concat(), ..refusal }),
        }
    }

    /// Places of a request among those under way at once, and whether the store was asked for them in vain.
    async fn take_places(
        self: &Arc<Self>,
        claims: Vec<Claim>,
        store: Option<&Arc<AskedStore>>,
    ) -> Result<(Allowance, bool), Refusal> {
        if claims.is_empty() {
            return Ok((Allowance::default(), false));
        }
        let mut is_silent = false;
        if let Some(store) = store {
            let begin = Instant::now();
            let is_asked = store.is_connected();
            let borrowed = store.borrow(&claims).await;
            self.note_wait(is_asked, begin);
            if let Ok((standings, held)) = borrowed {
                let allowance = self.judge(&claims, &standings, false)?;
                return Ok((Allowance { held, ..allowance }, false));
            }
            // Where it refuses to lend places, it may count all the same.
            is_silent = matches!(borrowed, Err(Unanswered::NoStore));
        }
        let claims = if store.is_some() { self.without_store(claims)? } else { claims };
        let (standings, held) = self.places.take(&claims);
        let allowance = self.judge(&claims, &standings, true)?;
        Ok((Allowance { held, ..allowance }, is_silent))
    }

    async fn take(
        self: &Arc<Self>,
        claims: Vec<Claim>,
        store: Option<Arc<AskedStore>>,
        is_silent: bool,
    ) -> Result<Allowance, Refusal> {
        let Some(store) = store.filter(|_| !claims.is_empty()) else { return self.count_here(claims) };
        if is_silent {
            return self.count_here(self.without_store(claims)?);
        }
        let begin = Instant::now();
        let is_asked = store.is_connected();
        let taken = store.take(claims).await;
        self.note_wait(is_asked, begin);
        match taken {
            Ok(taken) => {
                let (claims, standings, at_ms) = taken.keep();
                self.decided(claims, &standings, Place::Store(store, at_ms))
            }
            Err((claims, NoStore)) => self.count_here(self.without_store(claims)?),
        }
    }

    /// Whoever did not ask did not wait, which says nothing about the store.
    fn note_wait(&self, is_asked: bool, begin: Instant) {
        if is_asked {
            self.metrics.limits.store_seconds.observe(begin.elapsed().as_secs_f64());
        }
    }

    /// What is counted here while the store does not answer, as each limit says.
    fn without_store(&self, claims: Vec<Claim>) -> Result<Vec<Claim>, Refusal> {
        for claim in &claims {
            let labels = [&*claim.limit.name, claim.limit.fallback()];
            self.metrics.limits.fallbacks.with_label_values(&labels).inc();
        }
        let is_denied =
            |claim: &Claim| claim.limit.without_store == WithoutStore::Deny && !claim.limit.is_shadow;
        if claims.iter().any(is_denied) {
            return Err(Refusal {
                limit: None,
                description: "Limits cannot be checked at the moment.".into(),
                told: Vec::new(),
                retry_ms: RETRY_AFTER_MS,
            });
        }
        let is_counted = |claim: &Claim| claim.limit.without_store == WithoutStore::Local;
        Ok(claims.into_iter().filter(is_counted).collect())
    }

    fn count_here(self: &Arc<Self>, claims: Vec<Claim>) -> Result<Allowance, Refusal> {
        if claims.is_empty() {
            return Ok(Allowance::default());
        }
        let now_ms = milliseconds(SystemTime::now());
        let standings = self.memory.take(now_ms, &takes(&claims, |limit| limit.part));
        self.decided(claims, &standings, Place::Here(now_ms))
    }

    fn decided(
        self: &Arc<Self>,
        claims: Vec<Claim>,
        standings: &[Standing],
        place: Place,
    ) -> Result<Allowance, Refusal> {
        let allowance = self.judge(&claims, standings, matches!(place, Place::Here(_)))?;
        let reserved = |(claim, standing): (Claim, &Standing)| {
            (standing.is_admitted() && claim.limit.is_in_tokens()).then_some(claim)
        };
        let reserved: Vec<_> = claims.into_iter().zip(standings).filter_map(reserved).collect();
        let reservation = (!reserved.is_empty()).then(|| Reservation::new(Arc::clone(self), reserved, place));
        Ok(Allowance { reservation, ..allowance })
    }

    /// Whether all admit it, and what is told of them; counts what each decided.
    fn judge(&self, claims: &[Claim], standings: &[Standing], is_part: bool) -> Result<Allowance, Refusal> {
        let both = || claims.iter().zip(standings);
        for (claim, standing) in both() {
            let decision = claim.limit.decision(standing.is_admitted());
            self.metrics.limits.decided(&claim.limit.decisions, &claim.limit.name, decision);
        }
        let in_force = || both().filter(|(claim, _)| !claim.limit.is_shadow);
        let told: Vec<_> = in_force().map(|(claim, standing)| told(claim, standing, is_part)).collect();
        let refused = in_force().filter(|(_, standing)| !standing.is_admitted());
        // Of several, the one that lasts longest.
        if let Some((claim, standing)) = refused.max_by_key(|(_, standing)| standing.retry_ms) {
            return Err(Refusal {
                limit: Some(Arc::clone(&claim.limit.name)),
                description: claim.limit.told(is_part).description.clone(),
                told,
                retry_ms: standing.retry_ms,
            });
        }
        let mut in_shadow =
            both().filter(|(claim, standing)| claim.limit.is_shadow && !standing.is_admitted());
        let refused_in_shadow = in_shadow.next().map(|(claim, _)| Arc::clone(&claim.limit.name));
        Ok(Allowance { told, refused_in_shadow, ..Allowance::default() })
    }
}

impl Allowance {
    /// What two kinds of limits gave.
    fn and(self, other: Self) -> Self {
        Self {
            told: [self.told, other.told].concat(),
            refused_in_shadow: self.refused_in_shadow.or(other.refused_in_shadow),
            reservation: self.reservation.or(other.reservation),
            held: self.held.or(other.held),
        }
    }
}

fn told(claim: &Claim, standing: &Standing, is_part: bool) -> Told {
    Told {
        policy: Arc::clone(&claim.limit.told(is_part).policy),
        name: Arc::clone(&claim.limit.name),
        remaining: standing.remaining,
        reset_ms: (!claim.limit.is_at_once()).then_some(standing.reset_ms),
    }
}

/// Since 1970.
fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
