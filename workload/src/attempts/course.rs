//! How far one request has come, and who is asked next. Pure.

use super::{Answered, Ledger};
use crate::backend::{BackendError, Retry};
use crate::routing::Target;

/// Most attempts of one request, whatever the budget.
const MOST_ATTEMPTS: usize = 4;
/// Most attempts that may have cost a backend as much as an answer does, or may have brought it down.
const MOST_COSTLY_ATTEMPTS: usize = 2;

/// A backend does not know the model.
const UNKNOWN: BackendError = BackendError::Faulty { status: 404 };

/// How somebody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// If there is room at once.
    AtOnce,
    /// If there is room at once, for the second time.
    Again,
    /// As soon as there is room.
    InLine,
}

/// How far one request has come.
pub(super) struct Course<'t, T> {
    pub(super) ledger: Ledger,
    /// Everybody, in the order in which they are to be asked.
    all: Vec<&'t Target>,
    /// How many of them had their turn.
    passed: usize,
    /// The first of the same priority as those asked last that has no room, to wait for before others are asked.
    full: Option<&'t Target>,
    /// The last one that failed and may be asked again; once, and when nobody else is left.
    again: Option<&'t Target>,
    was_repeated: bool,
    costly: usize,
    is_over: bool,
    /// The answer, or that of a backend that has too much to do, for a client to know when to come back.
    answer: Option<(usize, Answered<'t, T>)>,
    /// That of a backend that does not know the model: told only if there is nothing else to tell.
    unknown: Option<(usize, Answered<'t, T>)>,
    error: Option<BackendError>,
    /// Why one was not asked.
    skipped: Option<BackendError>,
}

impl<'t, T> Course<'t, T> {
    /// One that begins, over backends in the order in which they are to be asked.
    pub(super) fn over(targets: Vec<&'t Target>) -> Self {
        Self {
            ledger: Ledger::default(),
            all: targets,
            passed: 0,
            full: None,
            again: None,
            was_repeated: false,
            costly: 0,
            is_over: false,
            answer: None,
            unknown: None,
            error: None,
            skipped: None,
        }
    }

    /// Who is asked next, and how: where nobody of a priority has room, that is waited for before those are asked that are there for need.
    pub(super) fn next(&mut self) -> Option<(&'t Target, Turn)> {
        let is_enough = self.ledger.tried.len() >= MOST_ATTEMPTS || self.costly >= MOST_COSTLY_ATTEMPTS;
        if self.is_over || is_enough {
            return None;
        }
        let next = self.all.get(self.passed).copied();
        let next_priority = next.map(|target| target.priority);
        if let Some(full) = self.full.take_if(|full| next_priority != Some(full.priority)) {
            return Some((full, Turn::InLine));
        }
        if let Some(target) = next {
            self.passed += 1;
            return Some((target, Turn::AtOnce));
        }
        if std::mem::replace(&mut self.was_repeated, true) {
            return None;
        }
        self.again.map(|target| (target, Turn::Again))
    }

    /// Another one of the same priority, to be asked while one is; for the cost of it, only if that would not be one attempt too many.
    pub(super) fn rival(&mut self, of: &Target) -> Option<&'t Target> {
        let is_enough = self.ledger.tried.len() + 2 > MOST_ATTEMPTS || self.costly + 2 > MOST_COSTLY_ATTEMPTS;
        let next = self.all.get(self.passed).filter(|next| next.priority == of.priority && !is_enough)?;
        self.passed += 1;
        Some(next)
    }

    /// Whether there is an answer, or can be none.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many of those of its priority are left alone for failing, percent.
    pub(super) fn share_resting(&self, target: &Target) -> u16 {
        let equals = || self.all.iter().filter(|equal| equal.priority == target.priority);
        let resting = equals().filter(|equal| equal.backend.health().is_open()).count();
        u16::try_from(resting * 100 / equals().count().max(1)).unwrap_or(u16::MAX)
    }

    /// Whether nobody was asked yet.
    pub(super) fn is_first(&self) -> bool {
        self.ledger.tried.is_empty()
    }

    /// Somebody has no room now.
    pub(super) fn full(&mut self, target: &'t Target) {
        self.full.get_or_insert(target);
    }

    /// Somebody was not asked.
    pub(super) fn skipped(&mut self, backend: &str, reason: BackendError) {
        self.ledger.skipped.push(backend.to_owned());
        // That it shall come back later tells a client more than that something is not ready.
        self.skipped = Some(match self.skipped.take() {
            Some(before) if is_sooner(&before, &reason) => before,
            _ => reason,
        });
    }

    /// Somebody failed.
    pub(super) fn failed(&mut self, target: &'t Target, error: BackendError) {
        self.costly += usize::from(error.may_have_cost());
        match error.retry() {
            Retry::Never => self.is_over = true,
            Retry::Again => self.again = Some(target),
            Retry::Elsewhere => {}
        }
        if self.error.is_none() || error != UNKNOWN {
            self.error = Some(error);
        }
    }

    /// Somebody gives the answer.
    pub(super) fn answered(&mut self, answered: Answered<'t, T>) {
        self.is_over = true;
        self.answer = Some((self.ledger.tried.len(), answered));
    }

    /// Somebody has too much to do; others may do better.
    pub(super) fn put_off(&mut self, answered: Answered<'t, T>) {
        if self.answer.is_some() {
            // One that falls short is better than none.
            return;
        }
        self.answer = Some((self.ledger.tried.len(), answered));
    }

    /// Somebody gives an answer that falls short; only others who may do better are asked after it.
    pub(super) fn second_best(&mut self, answered: Answered<'t, T>) {
        self.answer = Some((self.ledger.tried.len(), answered));
        let in_need = self.all.iter().position(|target| target.is_in_need());
        self.passed = in_need.unwrap_or(self.all.len()).max(self.passed);
        (self.full, self.again) = (None, None);
    }

    /// Somebody does not know the model; others may.
    pub(super) fn unknown(&mut self, answered: Answered<'t, T>) {
        self.unknown = Some((self.ledger.tried.len(), answered));
    }

    /// What comes of it.
    pub(super) fn end(mut self) -> (Result<Answered<'t, T>, BackendError>, Ledger) {
        // What a backend said tells more than that one was not asked, and either more than that one does not know the model.
        let error = self.error.or(self.skipped);
        let unknown = self.unknown.filter(|_| error.as_ref().is_none_or(|error| *error == UNKNOWN));
        let answer = self.answer.or(unknown).map(|(index, answered)| {
            self.ledger.answered = Some(index);
            answered
        });
        (answer.ok_or(error.unwrap_or(BackendError::Unavailable)), self.ledger)
    }
}

/// Whether it is worth asking again after one of two before it is after the other.
fn is_sooner(one: &BackendError, other: &BackendError) -> bool {
    match (one.worth_asking_after(), other.worth_asking_after()) {
        (Some(one), Some(other)) => one <= other,
        (one, _) => one.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tried;
    use super::*;
    use crate::backend::{Backend, Engines};
    use codecrucible_contract as contract;
    use std::sync::Arc;

    fn targets(count: usize) -> Vec<Target> {
        let backend = |index: usize| {
            let remote = contract::Remote {
                url: "http://localhost".into(),
                has_credential: false,
                protocol: contract::Protocol::OpenAi,
            };
            let timeouts = contract::Timeouts { connect_ms: 1, first_byte_ms: 1, idle_ms: 1, total_ms: 1 };
            let backend = contract::Backend {
                name: index.to_string(),
                kind: contract::BackendKind::Remote(remote),
                models: Vec::new(),
                timeouts,
                priority: 0,
                weight: 1,
                circuit_breaker: contract::CircuitBreaker::default(),
                concurrency: None,
            };
            Arc::new(Backend::new(&backend, None, &Engines::default()).unwrap())
        };
        let target = |index| Target {
            public_model: "m".into(),
            backend_model: "m".into(),
            backend: backend(index),
            priority: 0,
            weight: 1,
        };
        (0..count).map(target).collect()
    }

    /// Who is asked, if each says just this.
    fn asked(count: usize, says: impl Fn(&str) -> BackendError) -> Vec<String> {
        let targets = targets(count);
        let mut course = Course::<()>::over(targets.iter().collect());
        let mut asked = Vec::new();
        while let Some((target, turn)) = course.next() {
            let (name, now) = (target.backend.name(), tokio::time::Instant::now());
            asked.push(if turn == Turn::Again { format!("{name} again") } else { name.to_owned() });
            course.failed(target, says(name));
            let outcome = super::super::Outcome::Failed("");
            let (backend, after) = (name.to_owned(), std::time::Duration::ZERO);
            course.ledger.tried.push(Tried { backend, outcome, began: now, after, provider: "openai" });
        }
        asked
    }

    #[tokio::test]
    async fn all_are_asked_and_then_one_again_that_may_have_had_a_moments_trouble() {
        assert_eq!(asked(2, |_| BackendError::Unreachable), ["0", "1", "1 again"]);
        let first = |name: &str| {
            if name == "0" { BackendError::Unreachable } else { BackendError::Credential }
        };
        assert_eq!(asked(3, first), ["0", "1", "2", "0 again"]);
        assert_eq!(asked(2, |_| BackendError::Credential), ["0", "1"]);
        assert_eq!(asked(9, |_| BackendError::Unreachable).len(), MOST_ATTEMPTS);
    }

    #[tokio::test]
    async fn what_may_cost_as_much_as_an_answer_is_asked_twice_at_most() {
        for error in [BackendError::Cut, BackendError::TimedOut, BackendError::Refused { status: 500 }] {
            assert_eq!(asked(5, |_| error.clone()), ["0", "1"]);
        }
        assert_eq!(asked(1, |_| BackendError::Cut), ["0", "0 again"]);
        assert_eq!(asked(1, |_| BackendError::TimedOut), ["0"]);
    }

    #[tokio::test]
    async fn nobody_else_is_asked_what_is_wrong_itself() {
        assert_eq!(asked(3, |_| BackendError::Faulty { status: 413 }), ["0"]);
        assert_eq!(asked(3, |_| BackendError::TooLong("x".into())), ["0"]);
        assert_eq!(asked(3, |_| BackendError::Faulty { status: 404 }), ["0", "1", "2"]);
    }

    #[tokio::test]
    async fn that_a_model_is_unknown_is_told_only_if_there_is_nothing_else_to_tell() {
        let targets = targets(2);
        let told = |errors: [Option<BackendError>; 2]| {
            let mut course = Course::<()>::over(targets.iter().collect());
            for (target, error) in targets.iter().zip(errors) {
                match error {
                    Some(error) => course.failed(target, error),
                    None => course.skipped("b", BackendError::Resting { seconds: 3 }),
                }
            }
            course.end().0.err().unwrap()
        };
        assert_eq!(told([Some(BackendError::Cut), Some(UNKNOWN)]), BackendError::Cut);
        assert_eq!(told([Some(UNKNOWN), Some(BackendError::Cut)]), BackendError::Cut);
        assert_eq!(told([Some(UNKNOWN), Some(UNKNOWN)]), UNKNOWN);
        let health = targets[0].backend.health();
        let answered = || {
            let slot = health.room().enter().unwrap();
            Answered {
                target: &targets[0],
                answer: "404",
                in_flight: health.begin(slot, tokio::time::Instant::now(), || false).unwrap(),
            }
        };
        let mut course = Course::over(Vec::new());
        course.unknown(answered());
        assert_eq!(course.end().0.ok().map(|answered| answered.answer), Some("404"));
        let mut course = Course::over(Vec::new());
        course.unknown(answered());
        course.skipped("b", BackendError::Resting { seconds: 3 });
        assert_eq!(course.end().0.err(), Some(BackendError::Resting { seconds: 3 }));
    }

    #[test]
    fn the_shortest_rest_of_those_that_were_not_asked_is_told() {
        let mut course = Course::<()>::over(Vec::new());
        for seconds in [9, 3, 7] {
            course.skipped("b", BackendError::Resting { seconds });
        }
        course.skipped("c", BackendError::Loading);
        course.skipped("d", BackendError::Full { seconds: 4 });
        assert_eq!(course.end().0.err(), Some(BackendError::Resting { seconds: 3 }));
    }

    #[tokio::test]
    async fn those_who_are_there_for_need_are_asked_only_after_room_was_waited_for() {
        let mut targets = targets(4);
        targets.iter_mut().skip(2).for_each(|target| target.priority = 1);
        let mut course = Course::<()>::over(targets.iter().collect());
        let mut turns = Vec::new();
        while let Some((target, turn)) = course.next() {
            turns.push(format!("{} {turn:?}", target.backend.name()));
            match turn {
                Turn::AtOnce => course.full(target),
                _ => course.skipped(target.backend.name(), BackendError::Full { seconds: 1 }),
            }
        }
        assert_eq!(turns, ["0 AtOnce", "1 AtOnce", "0 InLine", "2 AtOnce", "3 AtOnce", "2 InLine"]);
        assert_eq!(course.end().0.err(), Some(BackendError::Full { seconds: 1 }));
    }
}
