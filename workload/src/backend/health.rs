//! How a backend does: how many requests it has, how soon it answers, whether it fails, and whether it asked to be left alone.

use super::breaker::{Admission, Breaker, Seen};
use super::room::{Room, Slot};
use super::{BackendError, Deadline};
use crate::telemetry::ModelMetrics;
use codecrucible_contract as contract;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time for which a backend's wish to be left alone is heeded.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);
/// The time for which one is left alone that asks for it and does not say for how long.
const USUAL_PATIENCE: Duration = Duration::from_secs(1);
/// Why a stream is not whole for which the time of its request was not enough, waiting included.
pub const TOTAL_TIMEOUT: &str = "total_timeout";
/// How much one answer moves the average of how soon they begin: one part of so many.
const AVERAGED: u64 = 8;

/// Of one backend.
pub struct Health {
    /// The backend's name.
    name: String,
    state: Mutex<State>,
    room: Arc<Room>,
    /// How soon answers begin, on average, microseconds; zero before the first one.
    first_byte_us: AtomicU64,
}

struct State {
    breaker: Breaker,
    /// Until when it asked to be left alone.
    patience: Option<Instant>,
}

impl Health {
    /// Of a backend of which nothing is known.
    pub fn new(name: &str, rules: contract::CircuitBreaker) -> Arc<Self> {
        let state = State { breaker: Breaker::new(rules, Instant::now()), patience: None };
        Arc::new(Self {
            name: name.to_owned(),
            state: Mutex::new(state),
            room: Arc::default(),
            first_byte_us: AtomicU64::new(0),
        })
    }

    /// Begins a request that has room, or tells how long the backend is to be left alone. One that fails is asked nevertheless if it has to be. The
    /// deadline tells later whether a stream broke or only took too long.
    pub fn begin(
        self: &Arc<Self>,
        mut slot: Slot,
        now: Instant,
        deadline: Deadline,
        has_to_be: impl FnOnce() -> bool,
    ) -> Result<InFlight, Duration> {
        let mut state = self.state();
        if let Some(until) = state.patience.filter(|until| now < *until) {
            return Err(until - now);
        }
        let admission = state.breaker.admit(now);
        drop(state);
        let admission =
            admission.or_else(|rest| if has_to_be() { Ok(Admission::NONE) } else { Err(rest) })?;
        slot.begin(now);
        let (health, end) = (Arc::clone(self), deadline.end());
        Ok(InFlight { health, _slot: slot, began: now, end, admission, is_noted: false })
    }

    /// How many requests it has at once, and who waits.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Requests that it has.
    pub fn in_flight(&self) -> u32 {
        self.room.in_flight()
    }

    /// How soon answers begin, on average; nothing before the first one.
    pub fn first_byte(&self) -> Option<Duration> {
        let average = self.first_byte_us.load(Ordering::Relaxed);
        (average > 0).then(|| Duration::from_micros(average))
    }

    /// Whether it is left alone now, because it fails or asked to be.
    pub fn is_resting(&self, now: Instant) -> bool {
        let state = self.state();
        state.breaker.is_open() || state.patience.is_some_and(|until| now < until)
    }

    /// Whether it is left alone because it fails, or only tried out.
    pub fn is_open(&self) -> bool {
        self.state().breaker.is_open()
    }

    fn note(&self, admission: Admission, seen: Seen, now: Instant) {
        let mut state = self.state();
        let was_open = state.breaker.is_open();
        state.breaker.note(admission, seen, now);
        let is_open = state.breaker.is_open();
        drop(state);
        match (was_open, is_open) {
            (false, true) => tracing::warn!(backend = self.name, "a backend fails and is left alone"),
            (true, false) => tracing::info!(backend = self.name, "a backend works again"),
            _ => {}
        }
    }

    fn note_first_byte(&self, after: Duration) {
        let sample = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).max(1);
        let average = self.first_byte_us.load(Ordering::Relaxed);
        // Two at the same time may lose one: an average does not mind.
        let next = if average == 0 { sample } else { average - average / AVERAGED + sample / AVERAGED };
        self.first_byte_us.store(next.max(1), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that a backend has, until the value goes: with the last byte of its answer, or with its client.
pub struct InFlight {
    health: Arc<Health>,
    _slot: Slot,
    began: Instant,
    end: Instant,
    admission: Admission,
    is_noted: bool,
}

impl InFlight {
    /// Its answer, which had begun, broke. Counts it, and gives in which way.
    pub fn broke(&self, error: &BackendError, now: Instant, metrics: &ModelMetrics) -> &'static str {
        let is_over = *error == BackendError::TimedOut && now >= self.end;
        let reason = if is_over { TOTAL_TIMEOUT } else { error.kind() };
        metrics.broke(&self.health.name, reason);
        reason
    }

    /// Its answer has begun; that of a stream tells how soon the backend begins under its load, and how long a whole one takes tells how long it is.
    pub fn answered(&mut self, is_stream: bool, now: Instant) {
        self.health.note_first_byte(now - self.began);
        if is_stream {
            self.health.room.answered(now - self.began);
        }
        self.note(Seen::Answered, now);
    }

    /// It was found fault with, which takes no time and says nothing of how soon answers begin.
    pub fn refused(&mut self, now: Instant) {
        self.note(Seen::Answered, now);
    }

    /// It was told to come back later.
    pub fn put_off(&mut self, wait: Option<Duration>, now: Instant) {
        let until = now + wait.unwrap_or(USUAL_PATIENCE).min(LONGEST_PATIENCE);
        let mut state = self.health.state();
        state.patience = Some(state.patience.map_or(until, |before| before.max(until)));
        drop(state);
        self.health.room.in_trouble();
        self.note(Seen::Nothing, now);
    }

    /// It was not answered.
    pub fn failed(&mut self, error: &BackendError, now: Instant) {
        let seen = match error {
            BackendError::Unreachable => Seen::Unreachable,
            error if error.is_the_backends_fault() => Seen::Failed,
            _ => Seen::Nothing,
        };
        if *error == BackendError::TimedOut {
            self.health.note_first_byte(now - self.began);
            self.health.room.in_trouble();
        }
        self.note(seen, now);
    }

    /// Another backend that was asked later began to answer before.
    pub fn outran(&mut self, now: Instant) {
        self.health.note_first_byte(now - self.began);
        self.note(Seen::Nothing, now);
    }

    /// Its client left before an answer began, after it had waited for longer than usual perhaps.
    fn abandoned(&mut self, now: Instant) {
        let waited = now - self.began;
        if self.health.first_byte().is_some_and(|usual| waited > usual) {
            self.health.note_first_byte(waited);
        }
        self.note(Seen::Nothing, now);
    }

    fn note(&mut self, seen: Seen, now: Instant) {
        if !std::mem::replace(&mut self.is_noted, true) {
            self.health.note(self.admission, seen, now);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.is_noted {
            self.abandoned(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Arc<Health> {
        Health::new(
            "b",
            contract::CircuitBreaker { error_rate_percent: 50, minimum_requests: 2, open_for_ms: 1_000 },
        )
    }

    fn begin(health: &Arc<Health>, now: Instant) -> Result<InFlight, Duration> {
        let timeouts = contract::Timeouts { connect_ms: 1, first_byte_ms: 1, idle_ms: 1, total_ms: 600_000 };
        health.begin(health.room().enter().unwrap(), now, Deadline::of(timeouts, now, now), || false)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_in_flight_until_its_value_goes() {
        let health = health();
        let mut attempt = begin(&health, Instant::now()).unwrap();
        attempt.answered(true, Instant::now() + Duration::from_millis(80));
        assert_eq!((health.in_flight(), health.first_byte()), (1, Some(Duration::from_millis(80))));
        drop(attempt);
        assert_eq!(health.in_flight(), 0);
        begin(&health, Instant::now()).unwrap().answered(true, Instant::now() + Duration::from_millis(160));
        assert_eq!(health.first_byte(), Some(Duration::from_millis(90)));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_open_it_and_what_is_the_clients_own_does_not() {
        let health = health();
        for error in [BackendError::TooLong("x".into()), BackendError::Busy] {
            begin(&health, Instant::now()).unwrap().failed(&error, Instant::now());
        }
        assert!(!health.is_open());
        for _ in 0..2 {
            begin(&health, Instant::now()).unwrap().failed(&BackendError::Cut, Instant::now());
        }
        assert!(health.is_open() && begin(&health, Instant::now()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_to_be_left_alone_is_heeded_for_a_while() {
        let (health, now) = (health(), Instant::now());
        let mut two = [begin(&health, now).unwrap(), begin(&health, now).unwrap()];
        two[0].put_off(Some(Duration::from_secs(7)), now);
        two[1].put_off(None, now);
        assert_eq!(begin(&health, now).err(), Some(Duration::from_secs(7)), "the longer one counts");
        let later = now + Duration::from_secs(7);
        begin(&health, later).unwrap().put_off(None, later);
        assert_eq!(begin(&health, later).err(), Some(USUAL_PATIENCE));
        let later = later + USUAL_PATIENCE;
        begin(&health, later).unwrap().put_off(Some(Duration::from_secs(86_400)), later);
        assert_eq!(begin(&health, later).err(), Some(LONGEST_PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn only_answers_and_long_waits_tell_how_soon_answers_begin() {
        let (health, now) = (health(), Instant::now());
        begin(&health, now).unwrap().answered(true, now + Duration::from_millis(80));
        begin(&health, now).unwrap().refused(now + Duration::from_millis(1));
        begin(&health, now).unwrap().failed(&BackendError::Cut, now + Duration::from_millis(1));
        drop(begin(&health, now).unwrap());
        assert_eq!(health.first_byte(), Some(Duration::from_millis(80)));
        let waiting = begin(&health, now).unwrap();
        tokio::time::advance(Duration::from_millis(160)).await;
        drop(waiting);
        assert_eq!(health.first_byte(), Some(Duration::from_millis(90)));
    }
}
