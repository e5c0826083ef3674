//! Places that the store lends, for all replicas together.

use super::super::claims::Claim;
use super::super::counting::Standing;
use super::super::shared::{AskedStore, CLOCK, NEVER_MS, Unanswered};
use super::{Ask, Held, asks, decide};
use crate::store::Connection;
use redis::Script;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

/// For how long a place is lent, milliseconds: as long those of a replica that is gone are missed.
pub(in super::super) const LEASE_MS: u64 = 30_000;
/// Most places that wait to be given back.
const MAX_UNRETURNED: usize = 10_000;
/// Most places that are lent anew, or given back, by one script, which holds the store up so long.
const MOST_AT_ONCE: usize = 500;

static LEND: LazyLock<Script> = LazyLock::new(|| script(include_str!("lend.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| script(include_str!("renew.lua")));
static RETURN: LazyLock<Script> = LazyLock::new(|| script(include_str!("return.lua")));

fn script(what: &str) -> Script {
    Script::new(&[CLOCK, what].concat())
}

/// Has the store learn the scripts, so that nobody waits for that, and a place is never given back before it is lent. Whoever may not run them may
/// count everything else there.
pub(in super::super) async fn teach(connection: &Connection, hash_tag: &str) {
    let key = format!("{hash_tag}:probe:places");
    let mut lend = LEND.prepare_invoke();
    lend.key(&key).arg("probe").arg(1).arg(1).arg(0).arg(NEVER_MS);
    let mut renew = RENEW.prepare_invoke();
    renew.key(&key).arg(1).arg("probe");
    let mut give_back = RETURN.prepare_invoke();
    give_back.key(&key).arg("probe");
    let mut taught = connection.invoke::<Vec<u64>>(&lend).await.map(|_| ());
    for invocation in [renew, give_back] {
        let learned = connection.invoke::<u64>(&invocation).await.map(|_| ());
        taught = taught.and(learned);
    }
    if let Err(error) = taught {
        tracing::warn!(%error, "limits of ConcurrentRequests cannot be counted in the store");
    }
}

/// What is lent to requests of this replica.
#[derive(Default)]
pub(in super::super) struct Leases {
    /// The keys of each request, by its name.
    lent: Mutex<HashMap<String, Vec<String>>>,
    /// What could not be given back yet.
    unreturned: Mutex<Vec<Place>>,
    /// What is on its way back.
    returning: TaskTracker,
}

/// A limit's key, and the name of the request that has a place there.
type Place = (String, String);

/// What was lent to one request, or may have been while that is not known.
struct Lent {
    store: Arc<AskedStore>,
    request: String,
    keys: Vec<String>,
}

impl Leases {
    fn lent(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreturned(&self) -> MutexGuard<'_, Vec<Place>> {
        self.unreturned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when nothing is on its way back. For when there are no more requests.
    pub(in super::super) async fn settle(&self) {
        self.returning.close();
        self.returning.wait().await;
    }

    /// All places, in parts.
    fn parts(&self) -> Vec<Vec<Place>> {
        let lent = self.lent();
        let places = |(request, keys): (&String, &Vec<String>)| {
            keys.iter().map(|key| (key.clone(), request.clone())).collect::<Vec<_>>()
        };
        let all: Vec<_> = lent.iter().flat_map(places).collect();
        all.chunks(MOST_AT_ONCE).map(<[_]>::to_vec).collect()
    }
}

impl AskedStore {
    /// Borrows one of each that has one, or none where one that counts has none, and tells how each stands.
    pub(in super::super) async fn borrow(
        self: &Arc<Self>,
        claims: &[Claim],
    ) -> Result<(Vec<Standing>, Option<Held>), Unanswered> {
        let connection = self.health.connection().ok_or(Unanswered::NoStore)?;
        match timeout(self.patience, self.borrow_for(claims, LEASE_MS)).await {
            Ok(Ok(borrowed)) => {
                self.health.answered();
                Ok(borrowed)
            }
            Ok(Err(why)) => Err(why),
            Err(_elapsed) => {
                self.health.was_late(&connection, Instant::now());
                Err(Unanswered::NoStore)
            }
        }
    }

    pub(super) async fn borrow_for(
        self: &Arc<Self>,
        claims: &[Claim],
        lease_ms: u64,
    ) -> Result<(Vec<Standing>, Option<Held>), Unanswered> {
        let (mut invocation, asks) = (LEND.prepare_invoke(), asks(claims, false));
        let request = format!("{:032x}", fastrand::u128(..));
        invocation.arg(&request).arg(lease_ms);
        for (claim, Ask { most, is_shadow }) in claims.iter().zip(&asks) {
            invocation.key(&claim.key).arg(most).arg(u8::from(*is_shadow));
        }
        invocation.arg(self.not_after());
        let keys = claims.iter().map(|claim| claim.key.clone()).collect();
        // Made before, so that it is given back also where nobody waits for the answer any more.
        let mut lent = Lent { store: Arc::clone(self), request, keys };
        let under_way: Vec<u64> = self.ask(&invocation).await?;
        if under_way.len() != claims.len() {
            return Err(Unanswered::NoStore);
        }
        let (standings, is_taken) = decide(&asks, &under_way);
        let mut of_keys = standings.iter();
        lent.keys.retain(|_| is_taken && of_keys.next().is_some_and(Standing::is_admitted));
        if !is_taken {
            return Ok((standings, None));
        }
        self.leases.lent().insert(lent.request.clone(), lent.keys.clone());
        Ok((standings, Some(Held::new(lent))))
    }

    /// Borrows anew what requests of this replica have.
    pub(in super::super) async fn renew(&self, lease_ms: u64) {
        for part in self.leases.parts() {
            let mut invocation = RENEW.prepare_invoke();
            invocation.arg(lease_ms);
            for (key, request) in &part {
                invocation.key(key).arg(request);
            }
            let renewed = self.ask::<u64>(&invocation).await;
            // Some may have been given back meanwhile, and lent again by that.
            let is_gone = |(_, request): &Place| !self.leases.lent().contains_key(request);
            self.give_back(part.into_iter().filter(is_gone).collect()).await;
            // One that is refused says nothing of the others.
            if matches!(renewed, Err(Unanswered::NoStore)) {
                return;
            }
        }
    }

    /// Gives back what could not be given back before.
    pub(in super::super) async fn return_all(&self) {
        let unreturned = std::mem::take(&mut *self.leases.unreturned());
        for part in unreturned.chunks(MOST_AT_ONCE) {
            self.give_back(part.to_vec()).await;
        }
    }

    async fn give_back(&self, places: Vec<Place>) {
        if places.is_empty() {
            return;
        }
        let mut invocation = RETURN.prepare_invoke();
        for (key, request) in &places {
            invocation.key(key).arg(request);
        }
        if matches!(self.ask::<u64>(&invocation).await, Err(Unanswered::NoStore)) {
            let mut unreturned = self.leases.unreturned();
            // What finds no room here comes back when it is lent no longer.
            let room = MAX_UNRETURNED.saturating_sub(unreturned.len());
            unreturned.extend(places.into_iter().take(room));
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.store.leases.lent().remove(&self.request);
        if self.keys.is_empty() {
            return;
        }
        // Outside a runtime the process is about to end.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, request) = (Arc::clone(&self.store), std::mem::take(&mut self.request));
        let places = std::mem::take(&mut self.keys).into_iter().map(|key| (key, request.clone())).collect();
        self.store.leases.returning.spawn_on(async move { store.give_back(places).await }, &runtime);
    }
}
