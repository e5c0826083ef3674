//! How far one request has come, and who is asked next. Pure.

use super::{Answered, Ledger, Verdict};
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
    /// For the first time.
    First,
    /// For the second time.
    Again,
}

/// What is done next.
pub(super) enum Step<'t> {
    /// Somebody is asked, if there is room at once.
    Ask(&'t Target, Turn),
    /// Room is waited for, at one of these.
    Wait(Vec<&'t Target>),
}

/// How far one request has come.
pub(super) struct Course<'t, T> {
    pub(super) ledger: Ledger,
    /// Everybody, in the order in which they are to be asked.
    all: Vec<&'t Target>,
    /// How many of them had their turn.
    passed: usize,
    /// Those who are asked after an answer that falls short, in their order.
    better: Vec<&'t Target>,
    /// Those of the stage of who was asked last that have no room: it is waited for before the next stage begins.
    full: Vec<&'t Target>,
    /// The last one that failed and may be asked again; once, and when nobody else is left.
    again: Option<&'t Target>,
    was_repeated: bool,
    costly: usize,
    is_over: bool,
    /// What a client gets, if nothing better comes: by which attempt, and how good it is.
    best: Option<(Worth, usize, Answered<'t, T>)>,
    error: Option<BackendError>,
    /// Why one was not asked.
    skipped: Option<BackendError>,
}

/// How good what a backend says is, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It does not know the model: told only if there is nothing else to tell.
    Unknown,
    /// It has too much to do, and may say when to come back.
    PutOff,
    /// It finds fault with the request.
    Refusal,
    /// An answer that falls short.
    Short,
    /// An answer.
    Answer,
}

/// Those of one stage are asked before any of the next one is: others of the priority before those that are being drained, and those before who is there
/// for need.
fn stage(target: &Target) -> (u16, bool) {
    (target.priority, target.weight == 0)
}

impl<'t, T> Course<'t, T> {
    /// One that begins, over backends in the order in which they are to be asked, and over those that are if an answer falls short.
    pub(super) fn over(all: Vec<&'t Target>, better: Vec<&'t Target>) -> Self {
        Self {
            ledger: Ledger::default(),
            all,
            passed: 0,
            better,
            full: Vec::new(),
            again: None,
            was_repeated: false,
            costly: 0,
            is_over: false,
            best: None,
            error: None,
            skipped: None,
        }
    }

    /// What is done next.
    pub(super) fn next(&mut self) -> Option<Step<'t>> {
        if self.is_over || self.attempts_left() == 0 {
            return None;
        }
        let next = self.all.get(self.passed).copied();
        if self.full.first().is_some_and(|full| next.map(stage) != Some(stage(full))) {
            return Some(Step::Wait(std::mem::take(&mut self.full)));
        }
        if let Some(target) = next {
            self.passed += 1;
            return Some(Step::Ask(target, Turn::First));
        }
        if std::mem::replace(&mut self.was_repeated, true) {
            return None;
        }
        self.again.map(|target| Step::Ask(target, Turn::Again))
    }

    /// How many attempts may still be made.
    fn attempts_left(&self) -> usize {
        let costly = MOST_COSTLY_ATTEMPTS.saturating_sub(self.costly);
        if costly == 0 { 0 } else { MOST_ATTEMPTS.saturating_sub(self.ledger.tried.len()) }
    }

    /// Others of the same stage, one of which may be asked while this one is; nobody if that would be one attempt too many, or was done before.
    pub(super) fn rivals(&self, of: &Target) -> &[&'t Target] {
        let is_enough =
            self.ledger.is_hedged || self.attempts_left() == 0 || self.costly + 2 > MOST_COSTLY_ATTEMPTS;
        let rest = self.all.get(self.passed..).filter(|_| !is_enough).unwrap_or_default();
        let equals = rest.iter().take_while(|other| stage(other) == stage(of)).count();
        &rest[..equals]
    }

    /// One of those who are left has its turn now.
    pub(super) fn take(&mut self, target: &Target) {
        let rest = self.all.get_mut(self.passed..).unwrap_or_default();
        if let Some(place) = rest.iter().position(|other| std::ptr::eq(*other, target)) {
            rest[..=place].rotate_right(1);
            self.passed += 1;
        }
    }

    /// All of the same stage as this one.
    pub(super) fn equals(&self, of: &Target) -> impl Iterator<Item = &'t Target> {
        let of = stage(of);
        self.all.iter().copied().filter(move |target| stage(target) == of)
    }

    /// Whether there is an answer, or can be none.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether others can be asked if an answer falls short.
    pub(super) fn may_escalate(&self) -> bool {
        !self.better.is_empty()
    }

    /// Whether nobody was asked yet.
    pub(super) fn is_first(&self) -> bool {
        self.ledger.tried.is_empty()
    }

    /// Somebody has no room now.
    pub(super) fn full(&mut self, target: &'t Target) {
        self.full.push(target);
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

    /// Somebody said something, in an attempt of this number.
    pub(super) fn said(&mut self, verdict: Verdict, number: usize, answered: Answered<'t, T>) {
        let worth = match verdict {
            Verdict::Answered => Worth::Answer,
            Verdict::Short(_) => Worth::Short,
            Verdict::Refused => Worth::Refusal,
            Verdict::PutOff(_) => Worth::PutOff,
            Verdict::Unknown => Worth::Unknown,
        };
        match worth {
            Worth::Answer | Worth::Refusal => self.is_over = true,
            Worth::Short => self.escalate(),
            Worth::PutOff | Worth::Unknown => {}
        }
        if self.best.as_ref().is_none_or(|(best, ..)| *best <= worth) {
            self.best = Some((worth, number, answered));
        }
    }

    /// From now on only those are asked who may do better.
    fn escalate(&mut self) {
        (self.all, self.passed) = (std::mem::take(&mut self.better), 0);
        self.full.clear();
        self.again = None;
    }

    /// What comes of it.
    pub(super) fn end(mut self) -> (Result<Answered<'t, T>, BackendError>, Ledger) {
        // What a backend said tells more than that one was not asked, and either more than that one does not know the model.
        let error = self.error.or(self.skipped);
        let is_worth_telling =
            |worth: Worth| worth > Worth::Unknown || error.as_ref().is_none_or(|error| *error == UNKNOWN);
        let best = self.best.filter(|(worth, ..)| is_worth_telling(*worth));
        let answer = best.map(|(_, number, answered)| {
            self.ledger.answered = Some(number);
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
            public_model: Arc::new("m".into()),
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
        let mut course = Course::<()>::over(targets.iter().collect(), Vec::new());
        let mut asked = Vec::new();
        while let Some(Step::Ask(target, turn)) = course.next() {
            let (name, now) = (target.backend.name(), tokio::time::Instant::now());
            asked.push(if turn == Turn::Again { format!("{name} again") } else { name.to_owned() });
            course.ledger.begin(name, "openai", now);
            course.failed(target, says(name));
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
            let mut course = Course::<()>::over(targets.iter().collect(), Vec::new());
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
        let mut course = Course::over(Vec::new(), Vec::new());
        course.said(Verdict::Unknown, 0, saying(&targets[0], "404"));
        assert_eq!(course.end().0.ok().map(|answered| answered.answer), Some("404"));
        let mut course = Course::over(Vec::new(), Vec::new());
        course.said(Verdict::Unknown, 0, saying(&targets[0], "404"));
        course.skipped("b", BackendError::Resting { seconds: 3 });
        assert_eq!(course.end().0.err(), Some(BackendError::Resting { seconds: 3 }));
    }

    fn saying<'t>(target: &'t Target, answer: &'static str) -> Answered<'t, &'static str> {
        Answered { target, answer, in_flight: None, is_short: false }
    }

    #[tokio::test]
    async fn what_falls_short_is_better_than_anything_but_an_answer() {
        let targets = targets(2);
        for (verdict, expected) in [
            (Verdict::Answered, "other"),
            (Verdict::Refused, "short"),
            (Verdict::PutOff(None), "short"),
            (Verdict::Unknown, "short"),
            (Verdict::Short("cut"), "other"),
        ] {
            let mut course = Course::over(vec![&targets[0]], vec![&targets[1]]);
            course.said(Verdict::Short("empty"), 0, saying(&targets[0], "short"));
            let next = course.next();
            assert!(
                matches!(next, Some(Step::Ask(target, Turn::First)) if std::ptr::eq(target, &targets[1]))
            );
            course.said(verdict, 1, saying(&targets[1], "other"));
            assert_eq!(course.end().0.ok().map(|answered| answered.answer), Some(expected), "{verdict:?}");
        }
        let mut course = Course::over(vec![&targets[0]], vec![&targets[1]]);
        course.said(Verdict::Short("empty"), 0, saying(&targets[0], "short"));
        course.failed(&targets[1], BackendError::Cut);
        assert_eq!(course.end().0.ok().map(|answered| answered.answer), Some("short"));
    }

    #[tokio::test]
    async fn a_rival_is_of_the_same_stage_and_there_is_one_at_most() {
        let mut targets = targets(4);
        targets[2].weight = 0;
        targets[3].priority = 1;
        let mut course = Course::<()>::over(targets.iter().collect(), Vec::new());
        let Some(Step::Ask(first, _)) = course.next() else { panic!("somebody is asked") };
        let names = |rivals: &[&Target]| -> Vec<_> {
            rivals.iter().map(|rival| rival.backend.name().to_owned()).collect()
        };
        assert_eq!(names(course.rivals(first)), ["1"]);
        course.take(&targets[1]);
        course.ledger.is_hedged = true;
        assert!(course.rivals(first).is_empty());
        assert!(matches!(course.next(), Some(Step::Ask(target, _)) if std::ptr::eq(target, &targets[2])));
    }

    #[test]
    fn the_shortest_rest_of_those_that_were_not_asked_is_told() {
        let mut course = Course::<()>::over(Vec::new(), Vec::new());
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
        // One that is being drained, and one for need.
        targets[2].weight = 0;
        targets[3].priority = 1;
        let mut course = Course::<()>::over(targets.iter().collect(), Vec::new());
        let mut turns = Vec::new();
        while let Some(step) = course.next() {
            match step {
                Step::Ask(target, _) => {
                    turns.push(target.backend.name().to_owned());
                    course.full(target);
                }
                Step::Wait(targets) => {
                    let names: Vec<_> = targets.iter().map(|target| target.backend.name()).collect();
                    turns.push(format!("wait for {}", names.join(" ")));
                    course.skipped("b", BackendError::Full { seconds: 1 });
                }
            }
        }
        assert_eq!(turns, ["0", "1", "wait for 0 1", "2", "wait for 2", "3", "wait for 3"]);
        assert_eq!(course.end().0.err(), Some(BackendError::Full { seconds: 1 }));
    }
}
