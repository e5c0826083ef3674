//! When a backend that fails is left alone, and how it comes back: by a request at first, then by more, so that one that has just
//! recovered is not overrun. Pure; the clock is passed in.

use codecrucible_contract::CircuitBreaker as Rules;
use std::time::Duration;
use tokio::time::Instant;

/// Half of the time over which failures are counted, seconds.
const HALF_WINDOW: Duration = Duration::from_secs(5);
/// Connections that fail in a row after which nothing more need be counted: nobody is there. What clients send has no part in that, as it
/// may have in other failures.
const UNREACHABLE_IN_A_ROW: u32 = 3;
/// How long a backend is left alone at first that is not there, unless the rules say less: to find out costs next to nothing, and it may
/// only have been started anew.
const LONGEST_ABSENCE: Duration = Duration::from_secs(1);
/// Trials that must go well, and more of them than go wrong, before all requests come back.
const TRIALS: u32 = 5;
/// How often the time that a backend is left alone doubles at most.
const MOST_DOUBLINGS: u32 = 3;
/// Longest time from one trial to the next.
const BETWEEN_TRIALS: Duration = Duration::from_secs(1);

/// How a request went, as far as it tells something about the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was answered.
    Answered,
    /// The backend failed.
    Failed,
    /// There was no connection.
    Unreachable,
    /// Neither: its client left, or the backend asked for patience.
    Nothing,
}

/// What a request was let through as: one that began before the state changed says nothing about the state of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admission(Option<u32>);

impl Admission {
    /// Of what was not let through, and says nothing therefore.
    pub(super) const NONE: Self = Self(None);
}

/// One backend's.
pub(super) struct Breaker {
    rules: Rules,
    state: State,
    /// How often the state changed.
    changes: u32,
}

enum State {
    /// Requests go through and are counted.
    Closed { window: Window, unreachable: u32 },
    /// Left alone until then, for the so-manieth time in a row.
    Open { until: Instant, times: u32 },
    /// Tried out.
    Trying(Trials),
}

/// How it goes with a backend that is tried out: at most one request more at once than went well so far, and one each second however
/// long the others take.
struct Trials {
    under_way: u32,
    passed: u32,
    failed: u32,
    last: Instant,
    /// How often it was left alone before.
    times: u32,
}

impl Breaker {
    pub(super) fn new(rules: Rules, now: Instant) -> Self {
        Self { rules, state: State::closed(now), changes: 0 }
    }

    /// Lets a request through, or tells how long to wait.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Admission, Duration> {
        match &mut self.state {
            State::Closed { .. } => {}
            State::Open { until, .. } if now < *until => return Err(*until - now),
            State::Open { times, .. } => {
                let times = *times;
                self.change(State::Trying(Trials { under_way: 1, passed: 0, failed: 0, last: now, times }));
            }
            State::Trying(trials) => trials.admit(now)?,
        }
        Ok(Admission(Some(self.changes)))
    }

    /// Notes how a request went.
    pub(super) fn note(&mut self, admission: Admission, seen: Seen, now: Instant) {
        if admission.0 != Some(self.changes) {
            return;
        }
        match &mut self.state {
            State::Closed { window, unreachable } => {
                window.count(seen, now);
                *unreachable = match seen {
                    Seen::Unreachable => *unreachable + 1,
                    Seen::Nothing => *unreachable,
                    Seen::Answered | Seen::Failed => 0,
                };
                if *unreachable >= UNREACHABLE_IN_A_ROW || window.is_bad(self.rules) {
                    self.open(1, seen, now);
                }
            }
            State::Trying(trials) => {
                trials.count(seen);
                let Trials { passed, failed, times, .. } = *trials;
                if passed >= TRIALS {
                    self.change(State::closed(now));
                } else if failed > passed {
                    self.open(times + 1, seen, now);
                }
            }
            // Nothing is admitted in this state.
            State::Open { .. } => {}
        }
    }

    /// Whether requests are kept away, or only a few let through.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    fn open(&mut self, times: u32, seen: Seen, now: Instant) {
        let ruled = Duration::from_millis(self.rules.open_for_ms);
        let first = if seen == Seen::Unreachable { ruled.min(LONGEST_ABSENCE) } else { ruled };
        let doublings = (times - 1).min(MOST_DOUBLINGS);
        self.change(State::Open { until: now + first * (1 << doublings), times });
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.changes = self.changes.wrapping_add(1);
    }
}

impl State {
    fn closed(now: Instant) -> Self {
        Self::Closed { window: Window::starting(now), unreachable: 0 }
    }
}

impl Trials {
    fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let next = self.last + BETWEEN_TRIALS;
        if self.under_way > self.passed && now < next {
            return Err(next - now);
        }
        self.under_way += 1;
        self.last = now;
        Ok(())
    }

    fn count(&mut self, seen: Seen) {
        self.under_way = self.under_way.saturating_sub(1);
        self.passed += u32::from(seen == Seen::Answered);
        self.failed += u32::from(matches!(seen, Seen::Failed | Seen::Unreachable));
    }
}

/// What went well and what did not, lately: between one and two halves of the window.
struct Window {
    since: Instant,
    current: Counts,
    previous: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    requests: u32,
    failed: u32,
}

impl Window {
    fn starting(now: Instant) -> Self {
        Self { since: now, current: Counts::default(), previous: Counts::default() }
    }

    fn count(&mut self, seen: Seen, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= HALF_WINDOW {
            self.previous = if age < HALF_WINDOW * 2 { self.current } else { Counts::default() };
            (self.current, self.since) = (Counts::default(), now);
        }
        self.current.requests += u32::from(seen != Seen::Nothing);
        self.current.failed += u32::from(matches!(seen, Seen::Failed | Seen::Unreachable));
    }

    fn is_bad(&self, rules: Rules) -> bool {
        let requests = u64::from(self.current.requests) + u64::from(self.previous.requests);
        let failed = u64::from(self.current.failed) + u64::from(self.previous.failed);
        requests >= u64::from(rules.minimum_requests)
            && failed * 100 >= requests * u64::from(rules.error_rate_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules { error_rate_percent: 75, minimum_requests: 4, open_for_ms: 2_000 };

    /// A breaker, and a clock that is moved by hand.
    struct Scene {
        breaker: Breaker,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let now = Instant::now();
            Self { breaker: Breaker::new(RULES, now), now }
        }

        fn after(&mut self, milliseconds: u64) -> &mut Self {
            self.now += Duration::from_millis(milliseconds);
            self
        }

        fn send(&mut self, seen: Seen) -> Result<(), Duration> {
            let admission = self.breaker.admit(self.now)?;
            self.breaker.note(admission, seen, self.now);
            Ok(())
        }

        fn send_all(&mut self, seen: &[Seen]) {
            for seen in seen {
                self.send(*seen).unwrap();
            }
        }
    }

    use Seen::{Answered, Failed, Nothing, Unreachable};

    #[test]
    fn it_opens_when_enough_requests_failed_and_not_before() {
        let mut scene = Scene::new();
        scene.send_all(&[Failed, Failed, Failed]);
        assert!(!scene.breaker.is_open(), "three requests say nothing");
        scene.send_all(&[Nothing, Nothing, Answered]);
        assert_eq!(scene.send(Failed), Err(Duration::from_secs(2)), "three of four failed");
        let mut scene = Scene::new();
        scene.send_all(&[Answered, Answered, Failed, Failed, Failed, Failed, Failed]);
        assert!(!scene.breaker.is_open(), "five of seven are less than three of four");
        scene.send_all(&[Failed]);
        assert!(scene.breaker.is_open());
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let mut scene = Scene::new();
        scene.send_all(&[Failed, Failed, Failed]);
        scene.after(10_000).send_all(&[Answered, Failed, Failed]);
        assert!(!scene.breaker.is_open());
    }

    #[test]
    fn it_comes_back_little_by_little() {
        let mut scene = Scene::new();
        scene.send_all(&[Failed; 4]);
        scene.after(2_000);
        let first = scene.breaker.admit(scene.now).unwrap();
        assert_eq!(scene.breaker.admit(scene.now), Err(BETWEEN_TRIALS), "one at first");
        scene.breaker.note(first, Answered, scene.now);
        let two = [scene.breaker.admit(scene.now), scene.breaker.admit(scene.now)];
        assert!(scene.breaker.admit(scene.now).is_err(), "then two");
        for trial in two {
            scene.breaker.note(trial.unwrap(), Answered, scene.now);
        }
        scene.send_all(&[Answered, Answered]);
        assert!(!scene.breaker.is_open());
        scene.send_all(&[Answered; 20]);
    }

    #[test]
    fn a_trial_that_takes_long_holds_up_the_next_one_for_a_second() {
        let mut scene = Scene::new();
        scene.send_all(&[Failed; 4]);
        scene.after(2_000);
        let slow = scene.breaker.admit(scene.now).unwrap();
        scene.after(999);
        assert!(scene.breaker.admit(scene.now).is_err());
        scene.after(1).send_all(&[Answered; 5]);
        assert!(!scene.breaker.is_open());
        scene.breaker.note(slow, Failed, scene.now);
        assert!(!scene.breaker.is_open(), "it began before");
    }

    #[test]
    fn a_trial_that_fails_among_others_that_pass_is_one_requests_own_fault() {
        let mut scene = Scene::new();
        scene.send_all(&[Failed; 4]);
        scene.after(2_000).send_all(&[Answered, Failed, Answered, Failed, Answered, Answered, Answered]);
        assert!(!scene.breaker.is_open());
    }

    #[test]
    fn it_is_left_alone_longer_each_time_that_it_fails_again_up_to_a_limit() {
        let mut scene = Scene::new();
        scene.send_all(&[Failed; 4]);
        let mut waits = Vec::new();
        for _ in 0..5 {
            let wait = scene.breaker.admit(scene.now).unwrap_err();
            waits.push(wait.as_secs());
            scene.after(1_000 * wait.as_secs()).send_all(&[Failed]);
        }
        assert_eq!(waits, [2, 4, 8, 16, 16]);
    }

    #[test]
    fn who_began_before_says_nothing_about_later() {
        let mut scene = Scene::new();
        let early = scene.breaker.admit(scene.now).unwrap();
        scene.send_all(&[Failed; 4]);
        scene.breaker.note(early, Answered, scene.now);
        assert!(scene.breaker.is_open());
        scene.after(2_000);
        let trial = scene.breaker.admit(scene.now).unwrap();
        scene.breaker.note(early, Failed, scene.now);
        scene.breaker.note(trial, Nothing, scene.now);
        scene.send_all(&[Answered; 5]);
        for _ in 0..4 {
            scene.breaker.note(early, Failed, scene.now);
        }
        assert!(!scene.breaker.is_open(), "nor about the time after");
    }

    #[test]
    fn one_that_is_not_there_is_noticed_among_thousands_of_answers_and_soon_tried_again() {
        let mut scene = Scene::new();
        scene.send_all(&[Answered; 5_000]);
        scene.send_all(&[Unreachable, Unreachable, Answered, Unreachable, Nothing, Unreachable]);
        assert!(!scene.breaker.is_open(), "not in a row");
        scene.send_all(&[Unreachable]);
        assert_eq!(scene.send(Answered), Err(Duration::from_secs(1)));
        scene.after(1_000);
        assert!(scene.send(Unreachable).is_ok());
        assert_eq!(scene.send(Answered), Err(Duration::from_secs(2)));
    }

    proptest! {
        /// Whatever comes, a backend that answers again is let back in.
        #[test]
        fn it_always_comes_back(steps in prop::collection::vec((0_u8..4, 0_u64..20_000), 0..300)) {
            let mut scene = Scene::new();
            let mut under_way = Vec::new();
            for (what, pause) in steps {
                scene.after(pause);
                under_way.extend(scene.breaker.admit(scene.now).ok());
                if what < 3 && let Some(admission) = under_way.pop() {
                    scene.breaker.note(admission, [Answered, Failed, Unreachable][usize::from(what)], scene.now);
                }
            }
            let mut answers = 0;
            while scene.breaker.is_open() {
                scene.after(16_000);
                prop_assert!(scene.send(Answered).is_ok());
                answers += 1;
                prop_assert!(answers <= TRIALS);
            }
        }

        /// Nobody but those who try it out is let to one that failed, and they are few.
        #[test]
        fn it_is_not_overrun_when_it_comes_back(pauses in prop::collection::vec(0_u64..3_000, 1..200)) {
            let mut scene = Scene::new();
            scene.send_all(&[Failed; 4]);
            let (begin, mut let_through) = (scene.now, 0);
            for pause in pauses {
                scene.after(pause);
                let_through += u128::from(scene.breaker.admit(scene.now).is_ok());
                prop_assert!(let_through <= 1 + (scene.now - begin).as_millis() / 1_000);
            }
        }
    }
}
