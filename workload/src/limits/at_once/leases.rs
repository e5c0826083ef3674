//! Places that the store lends, for all replicas together.

use super::super::claims::Claim;
use super::super::counting::Standing;
use super::super::shared::{AskedStore, CLOCK, NoStore, Unanswered};
use super::{Ask, Held, asks, decide};
use crate::store::Connection;
use redis::Script;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::time::{Instant, timeout};

/// For how long a place is lent, milliseconds: as long those of a replica that is gone are missed.
pub(in super::super) const LEASE_MS: u64 = 30_000;
/// Most places that are lent anew by one script, which holds the store up so long.
const MOST_AT_ONCE: usize = 500;

static LEND: LazyLock<Script> = LazyLock::new(|| script(include_str!("lend.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| script(include_str!("renew.lua")));
static RETURN: LazyLock<Script> = LazyLock::new(|| script(include_str!("return.lua")));

fn script(what: &str) -> Script {
    Script::new(&[CLOCK, what].concat())
}

/// Has the store learn the scripts, so that nobody waits for that, and a place is never given back before it is lent. Who may not run them is told when there is a limit.
pub(in super::super) async fn teach(connection: &Connection, hash_tag: &str) {
    let key = format!("{hash_tag}:probe:places");
    let mut lend = LEND.prepare_invoke();
    lend.key(&key).arg("probe").arg(1).arg(1).arg(0).arg(u64::from(u32::MAX) * 1_000);
    let mut renew = RENEW.prepare_invoke();
    renew.key(&key).arg(1).arg("probe");
    let mut give_back = RETURN.prepare_invoke();
    give_back.key(&key).arg("probe");
    let _ = connection.invoke::<Vec<u64>>(&lend).await;
    for invocation in [renew, give_back] {
        let _ = connection.invoke::<u64>(&invocation).await;
    }
}

/// What is lent to requests of this replica: the keys of each, by its name.
#[derive(Default)]
pub(in super::super) struct Leases(Mutex<HashMap<String, Vec<String>>>);

/// What was lent to one request.
pub(in super::super) struct Lent {
    store: Arc<AskedStore>,
    request: String,
}

impl Leases {
    fn lent(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each place with its request, in parts.
    fn parts(&self) -> Vec<Vec<(String, String)>> {
        let all: Vec<_> = self
            .lent()
            .iter()
            .flat_map(|(request, keys)| keys.iter().map(|key| (key.clone(), request.clone())))
            .collect();
        all.chunks(MOST_AT_ONCE).map(<[_]>::to_vec).collect()
    }

    fn has(&self, request: &str) -> bool {
        self.lent().contains_key(request)
    }
}

impl AskedStore {
    /// Borrows one of each that has one, or none where one that counts has none, and tells how each stands.
    pub(in super::super) async fn borrow(
        self: &Arc<Self>,
        claims: &[Claim],
    ) -> Result<(Vec<Standing>, Option<Held>), NoStore> {
        let connection = self.health.connection().ok_or(NoStore)?;
        match timeout(self.patience, self.borrow_for(claims, LEASE_MS)).await {
            Ok(Ok(borrowed)) => {
                self.health.answered();
                Ok(borrowed)
            }
            Ok(Err(_)) => Err(NoStore),
            Err(_elapsed) => {
                self.health.was_late(&connection, Instant::now());
                Err(NoStore)
            }
        }
    }

    pub(super) async fn borrow_for(
        self: &Arc<Self>,
        claims: &[Claim],
        lease_ms: u64,
    ) -> Result<(Vec<Standing>, Option<Held>), Unanswered> {
        let mut invocation = LEND.prepare_invoke();
        let request = format!("{:032x}", fastrand::u128(..));
        invocation.arg(&request).arg(lease_ms);
        for (claim, Ask { most, is_shadow }) in claims.iter().zip(asks(claims, false)) {
            invocation.key(&claim.key).arg(most).arg(u8::from(is_shadow));
        }
        invocation.arg(self.not_after());
        // Noted before, so that it is given back also where nobody waits for the answer any more.
        let keys = claims.iter().map(|claim| claim.key.clone()).collect();
        self.leases.lent().insert(request.clone(), keys);
        let lent = Lent { store: Arc::clone(self), request };
        let under_way: Vec<u64> = self.ask(&invocation).await?;
        if under_way.len() != claims.len() {
            return Err(Unanswered::NoStore);
        }
        let (standings, is_taken) = decide(&asks(claims, false), &under_way);
        if !is_taken {
            lent.forget();
            return Ok((standings, None));
        }
        let mut standings_left = standings.iter();
        if let Some(keys) = self.leases.lent().get_mut(&lent.request) {
            keys.retain(|_| standings_left.next().is_some_and(Standing::is_admitted));
        }
        Ok((standings, Some(lent.into())))
    }

    /// Borrows anew what requests of this replica have.
    pub(in super::super) async fn renew(&self, lease_ms: u64) {
        for part in self.leases.parts() {
            let mut invocation = RENEW.prepare_invoke();
            invocation.arg(lease_ms);
            for (key, request) in &part {
                invocation.key(key).arg(request);
            }
            if self.ask::<u64>(&invocation).await.is_err() {
                return;
            }
            // Some may have been given back just before.
            let gone: Vec<_> = part.into_iter().filter(|(_, request)| !self.leases.has(request)).collect();
            self.give_back(&gone).await;
        }
    }

    async fn give_back(&self, places: &[(String, String)]) {
        if places.is_empty() {
            return;
        }
        let mut invocation = RETURN.prepare_invoke();
        for (key, request) in places {
            invocation.key(key).arg(request);
        }
        // What is not given back is lent no longer than a while.
        let _ = self.ask::<u64>(&invocation).await;
    }
}

impl Lent {
    /// Nothing was lent.
    fn forget(self) {
        self.store.leases.lent().remove(&self.request);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(keys) = self.store.leases.lent().remove(&self.request) else { return };
        // Outside a runtime the process is about to end.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, request) = (Arc::clone(&self.store), self.request.clone());
        runtime.spawn(async move {
            let places: Vec<_> = keys.into_iter().map(|key| (key, request.clone())).collect();
            store.give_back(&places).await;
        });
    }
}
