//! Counters that all replicas share, in Redis: one script, one round trip, from all counters or from none. While the store does not answer it is
//! not asked, so that requests wait for it no longer than once; it is tried again beside them.

use super::at_once::{LEASE_MS, Leases, teach};
use super::claims::{Claim, Settlement, Take, settlements, takes};
use super::counting::{Rule, Standing};
use super::milliseconds;
use crate::store::{Connection, Health, Kept, StoreSettings, connect, keep_connected};
use arc_swap::ArcSwapOption;
use codecrucible_contract::Algorithm;
use redis::{FromRedisValue, RedisError, Script, ScriptInvocation};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long an answer that nobody waits for may take, milliseconds: what was taken must not be lost.
const LONG_PATIENCE_MS: u64 = 2_000;
/// Pause between two looks whether it still answers, milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;
/// How often places are borrowed anew, of requests that have not ended, milliseconds.
const RENEW_EVERY_MS: u64 = LEASE_MS / 3;
/// Most corrections that wait for the store to come back.
const MAX_UNSETTLED: usize = 10_000;
/// What is counted to see that it answers.
const PROBE_RULE: Rule =
    Rule { algorithm: Algorithm::FixedWindow, limit: 1, window: 1_000, burst: 1, tick_ms: 1 };

/// Later than any script runs, milliseconds since 1970.
pub(super) const NEVER_MS: u64 = u32::MAX as u64 * 1_000;

/// How the time is had: the store's own, so that replicas need not agree about it.
pub(super) const CLOCK: &str = "local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
";
const COUNTING: &str = include_str!("counting.lua");

static TAKE: LazyLock<Script> = LazyLock::new(|| script(CLOCK, include_str!("take.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| script(CLOCK, include_str!("settle.lua")));

pub(super) fn script(clock: &str, what: &str) -> Script {
    Script::new(&[clock, COUNTING, what].concat())
}

/// The store does not answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoStore;

/// Why there is no answer.
pub(super) enum Unanswered {
    NoStore,
    /// To this question, while others are answered.
    Refused,
}

/// A correction that goes back to the others unless it is settled.
struct Waiting<'a> {
    unsettled: &'a Mutex<VecDeque<Unsettled>>,
    next: Option<Unsettled>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(next) = self.next.take() {
            self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).push_front(next);
        }
    }
}

/// The store, as long as the policy names it.
pub(super) struct SharedCounters {
    settings: StoreSettings,
    asked: Arc<AskedStore>,
    _keeper: AbortOnDropHandle<Infallible>,
}

/// What requests ask. Whoever still holds it when the policy names another store finds no connection soon.
pub(super) struct AskedStore {
    pub(super) health: Health<Connection>,
    pub(super) patience: Duration,
    /// Places of requests under way. Shared with how the same store was entered before.
    pub(super) leases: Arc<Leases>,
    /// Shared with how the same store was entered before.
    unsettled: Arc<Mutex<VecDeque<Unsettled>>>,
    /// The same store, as it was entered before: asked until this one has connected, so that a password can be replaced at leisure.
    before: ArcSwapOption<SharedCounters>,
    /// How much later it is by the store's clock, milliseconds.
    ahead_ms: AtomicI64,
    /// Why there is no connection, while there is none.
    trouble: Mutex<String>,
}

/// What was taken by a request that may have gone meanwhile. Unless somebody keeps it, it is given back.
pub(super) struct Taken {
    /// How each claim stands.
    pub(super) standings: Vec<Standing>,
    claims: Vec<Claim>,
    /// By the store's clock, milliseconds since 1970.
    at_ms: u64,
    store: Arc<AskedStore>,
}

/// A correction that waits for the store.
struct Unsettled {
    claims: Vec<Claim>,
    taken_at_ms: u64,
    used: u64,
}

impl SharedCounters {
    /// Begins to connect; `tell` hears whether it is connected, and why not, whenever that changes. Needs a runtime.
    pub(super) fn open(
        settings: StoreSettings,
        patience: Duration,
        before: Option<Arc<Self>>,
        tell: impl Fn(Result<(), &str>) + Send + Sync + 'static,
    ) -> Self {
        let before = before.filter(|before| before.settings.is_same_store(&settings));
        let asked = Arc::new(AskedStore {
            health: Health::default(),
            patience,
            leases: before.as_ref().map_or_else(Arc::default, |before| Arc::clone(&before.asked.leases)),
            unsettled: before
                .as_ref()
                .map_or_else(Arc::default, |before| Arc::clone(&before.asked.unsettled)),
            // One is enough: that which answers, if any does.
            before: ArcSwapOption::new(before.map(|before| {
                let earlier = before.asked.before.load_full();
                earlier.filter(|_| !before.asked.is_connected()).unwrap_or(before)
            })),
            ahead_ms: AtomicI64::new(0),
            trouble: Mutex::new("it is not connected yet".into()),
        });
        let keeper = Keeper { settings: settings.clone(), asked: Arc::clone(&asked), tell };
        let keeping = tokio::spawn(async move { keep_connected(&keeper).await });
        Self { settings, asked, _keeper: AbortOnDropHandle::new(keeping) }
    }

    /// What it was opened with.
    pub(super) fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// Why it does not answer, if it does not.
    pub(super) fn trouble(&self) -> Option<String> {
        (!self.asked.is_connected()).then(|| self.asked.trouble().clone())
    }

    /// What requests ask.
    pub(super) fn asked(&self) -> Arc<AskedStore> {
        let before = self.asked.before.load();
        match &*before {
            Some(before) if !self.asked.is_connected() => Arc::clone(&before.asked),
            _ => Arc::clone(&self.asked),
        }
    }
}

impl AskedStore {
    /// Whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.health.connection().is_some()
    }

    /// Takes what all claims want, or nothing. Whoever does not wait for the answer, because it is late or the client is gone, gets everything
    /// back: what was sent is counted, whether anybody waits or not.
    pub(super) async fn take(self: &Arc<Self>, claims: Vec<Claim>) -> Result<Taken, (Vec<Claim>, NoStore)> {
        let Some(connection) = self.health.connection() else { return Err((claims, NoStore)) };
        let (store, kept) = (Arc::clone(self), claims.clone());
        let taking = tokio::spawn(async move { store.take_patiently(claims).await });
        match timeout(self.patience, taking).await {
            Ok(Ok(Some(taken))) => {
                self.health.answered();
                Ok(taken)
            }
            Ok(_) => Err((kept, NoStore)),
            Err(_elapsed) => {
                self.health.was_late(&connection, Instant::now());
                Err((kept, NoStore))
            }
        }
    }

    async fn take_patiently(self: Arc<Self>, claims: Vec<Claim>) -> Option<Taken> {
        let mut invocation = TAKE.prepare_invoke();
        for Take { key, rule, cost, is_shadow, limit: _ } in takes(&claims, |limit| limit.whole) {
            add_rule(invocation.key(key), &rule).arg(cost).arg(u8::from(is_shadow));
        }
        invocation.arg(self.not_after());
        let reply: Vec<u64> = self.ask(&invocation).await.ok()?;
        let (at_ms, standings) = reply.split_first().filter(|(_, rest)| rest.len() == 3 * claims.len())?;
        let standing = |of: &[u64]| Standing { remaining: of[0], reset_ms: of[1], retry_ms: of[2] };
        let standings = standings.chunks_exact(3).map(standing).collect();
        Some(Taken { standings, claims, at_ms: *at_ms, store: self })
    }

    /// Corrects what was taken at a time, now or when the store is back. False if there are too many that wait.
    pub(super) async fn settle(&self, claims: Vec<Claim>, taken_at_ms: u64, used: u64) -> bool {
        let unsettled = Unsettled { claims, taken_at_ms, used };
        match self.try_settle(&unsettled).await {
            Ok(()) => true,
            Err(Unanswered::Refused) => false,
            Err(Unanswered::NoStore) => {
                let mut waiting = self.unsettled();
                let has_room = waiting.len() < MAX_UNSETTLED;
                if has_room {
                    waiting.push_back(unsettled);
                }
                has_room
            }
        }
    }

    async fn try_settle(
        &self,
        Unsettled { claims, taken_at_ms, used }: &Unsettled,
    ) -> Result<(), Unanswered> {
        let mut invocation = SETTLE.prepare_invoke();
        for Settlement { key, rule, beyond, limit: _ } in settlements(claims, |limit| limit.whole, *used) {
            add_rule(invocation.key(key), &rule).arg(*taken_at_ms).arg(beyond);
        }
        invocation.arg(self.not_after());
        self.ask::<Vec<u64>>(&invocation).await.map(|_| ())
    }

    /// How late it is there, which a reply begins with.
    fn note_time(&self, reply: &[u64]) {
        if let Some(store_ms) = reply.first() {
            let ahead = i128::from(*store_ms) - i128::from(milliseconds(SystemTime::now()));
            self.ahead_ms.store(i64::try_from(ahead).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Until when a script may run, by the store's clock: what waits in a connection longer must not count, since nobody waits for it.
    pub(super) fn not_after(&self) -> u64 {
        let now =
            milliseconds(SystemTime::now()).saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed));
        now.saturating_add(LONG_PATIENCE_MS)
    }

    /// Settles what waits, as long as the store answers. What is being settled when that is given up waits on.
    async fn settle_all(&self) {
        loop {
            let Some(next) = self.unsettled().pop_front() else { return };
            let mut waiting = Waiting { unsettled: &self.unsettled, next: Some(next) };
            let Some(next) = &waiting.next else { return };
            match self.try_settle(next).await {
                // Nobody else can settle what is refused either.
                Ok(()) | Err(Unanswered::Refused) => waiting.next = None,
                Err(Unanswered::NoStore) => return,
            }
        }
    }

    /// Asks now and then, so that a loss is noticed where nobody else asks. Never ends.
    async fn look_after(self: &Arc<Self>, hash_tag: &str) -> Infallible {
        let key = probe_key(hash_tag);
        // At once: the store may have forgotten what it lent.
        let mut renew_at = Instant::now();
        loop {
            let is_due = Instant::now() >= renew_at;
            if is_due {
                renew_at = Instant::now() + Duration::from_millis(RENEW_EVERY_MS);
            }
            let renewing = async {
                if is_due {
                    self.renew(LEASE_MS).await;
                }
            };
            tokio::join!(self.settle_all(), self.return_all(), renewing);
            sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
            let Some(connection) = self.health.connection() else { continue };
            let mut invocation = TAKE.prepare_invoke();
            add_rule(invocation.key(&key), &PROBE_RULE).arg(0).arg(0).arg(self.not_after());
            match timeout(self.patience, self.ask::<Vec<u64>>(&invocation)).await {
                Ok(answer) => {
                    if let Ok(reply) = answer {
                        self.note_time(&reply);
                        self.health.answered();
                    }
                }
                Err(_elapsed) => self.health.was_late(&connection, Instant::now()),
            }
        }
    }

    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, Unanswered> {
        let connection = self.health.connection().ok_or(Unanswered::NoStore)?;
        match timeout(Duration::from_millis(LONG_PATIENCE_MS), connection.invoke(invocation)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_of_one_request(&error) => Err(Unanswered::Refused),
            Ok(Err(error)) => {
                self.health.lost(&connection, &error.to_string());
                Err(Unanswered::NoStore)
            }
            Err(_elapsed) => {
                self.health.lost(&connection, "it does not answer");
                Err(Unanswered::NoStore)
            }
        }
    }

    fn trouble(&self) -> MutexGuard<'_, String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsettled(&self) -> MutexGuard<'_, VecDeque<Unsettled>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Keeps what was taken: the claims, and when that was.
    pub(super) fn keep(mut self) -> (Vec<Claim>, Vec<Standing>, u64) {
        (std::mem::take(&mut self.claims), std::mem::take(&mut self.standings), self.at_ms)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut standings = self.standings.iter();
        // From those that refused, nothing was taken, and where one did that counts, from none.
        let is_refused = self
            .claims
            .iter()
            .zip(&self.standings)
            .any(|(claim, s)| !claim.limit.is_shadow && !s.is_admitted());
        let mut claims = std::mem::take(&mut self.claims);
        claims.retain(|_| standings.next().is_some_and(Standing::is_admitted));
        if is_refused || claims.is_empty() {
            return;
        }
        let (store, at_ms) = (Arc::clone(&self.store), self.at_ms);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { store.settle(claims, at_ms, 0).await });
        }
    }
}

/// An error about some keys, such as that one holds something else or that they are being moved, says nothing about the store.
fn is_of_one_request(error: &RedisError) -> bool {
    error.code().is_some_and(|code| ["ERR", "WRONGTYPE", "TRYAGAIN", "CROSSSLOT", "NOPERM"].contains(&code))
}

pub(super) fn add_rule<'a, 'b>(
    invocation: &'a mut ScriptInvocation<'b>,
    rule: &Rule,
) -> &'a mut ScriptInvocation<'b> {
    let algorithm = match rule.algorithm {
        Algorithm::TokenBucket => 1,
        Algorithm::SlidingWindow => 2,
        Algorithm::FixedWindow => 3,
    };
    invocation.arg(algorithm).arg(rule.limit).arg(rule.window).arg(rule.burst).arg(rule.tick_ms)
}

/// What keeps the store connected.
struct Keeper<T> {
    settings: StoreSettings,
    asked: Arc<AskedStore>,
    tell: T,
}

impl<T: Fn(Result<(), &str>) + Sync> Kept for Keeper<T> {
    type Connection = Connection;

    fn health(&self) -> &Health<Connection> {
        &self.asked.health
    }

    async fn connect(&self) -> Result<Connection, String> {
        connected(&self.settings, &self.asked).await
    }

    async fn look_after(&self) -> Infallible {
        self.asked.look_after(&self.settings.prefix).await
    }

    fn tell(&self, outcome: Result<(), &str>) {
        match outcome {
            Ok(()) => self.asked.before.store(None),
            Err(why) => why.clone_into(&mut self.asked.trouble()),
        }
        (self.tell)(outcome);
    }
}

/// A connection over which a counter was written within the time that requests wait: one that may only read, is full or slow, is none.
async fn connected(settings: &StoreSettings, asked: &AskedStore) -> Result<Connection, String> {
    let connection = connect(settings).await?;
    teach(&connection, &settings.prefix).await;
    let key = probe_key(&settings.prefix);
    // The store learns the scripts from who asks first.
    for patience in [Duration::from_millis(LONG_PATIENCE_MS), asked.patience] {
        for script in [&SETTLE, &TAKE] {
            let mut invocation = script.prepare_invoke();
            add_rule(invocation.key(&key), &PROBE_RULE).arg(0).arg(0).arg(NEVER_MS);
            let answer = timeout(patience, connection.invoke::<Vec<u64>>(&invocation)).await;
            let answer =
                answer.map_err(|_elapsed| "it answers too late")?.map_err(|error| error.to_string())?;
            asked.note_time(&answer);
        }
    }
    Ok(connection)
}

fn probe_key(hash_tag: &str) -> String {
    format!("{hash_tag}:probe")
}
