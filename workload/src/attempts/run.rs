//! One request on its way to an answer: whose turn it is, whether there is room, and what came of it.

use super::course::{Course, Turn};
use super::ledger::{Ledger, Outcome, Tried};
use super::{Answered, Attempts, Question, Verdict};
use crate::backend::{BackendError, Deadline, Full, InFlight, Readiness, Slot};
use crate::routing::Target;
use futures::future::{Either, select};
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Longest pause before a backend is asked again that just failed, milliseconds; how long exactly is left to chance, so that those
/// who failed together do not come back together.
const LONGEST_PAUSE_MS: u64 = 100;

/// One request.
pub(super) struct Run<'a, 't, Q: Question> {
    pub(super) attempts: &'a Attempts<'a>,
    pub(super) question: &'a Q,
    pub(super) course: Course<'t, Q::Answer>,
    pub(super) began: Instant,
}

/// An attempt that has room, and whose backend is not left alone.
struct Attempt<'t> {
    target: &'t Target,
    in_flight: InFlight,
    deadline: Deadline,
    began: Instant,
}

/// An attempt that is being answered.
struct Running<'t, 'f, F> {
    attempt: Attempt<'t>,
    answering: Pin<&'f mut F>,
}

impl<'t, Q: Question> Run<'_, 't, Q> {
    pub(super) async fn until_answered(mut self) -> (Result<Answered<'t, Q::Answer>, BackendError>, Ledger) {
        while let Some((target, turn)) = self.course.next() {
            if turn == Turn::Again {
                self.pause().await;
            }
            let Some(slot) = self.slot(target, turn).await else { continue };
            let Some(attempt) = self.begin(target, slot) else { continue };
            if !self.course.is_first() && !self.is_paid_for() {
                break;
            }
            let now = Instant::now();
            match self.attempts.hedge_after {
                Some(after) => self.ask_hedged(attempt, after).await,
                None => {
                    let answer = self.question.ask(target, attempt.deadline).await;
                    self.note(attempt, answer);
                }
            }
            self.course.ledger.asking += now.elapsed();
        }
        self.course.end()
    }

    async fn pause(&mut self) {
        let pause = Duration::from_millis(fastrand::u64(0..=LONGEST_PAUSE_MS));
        sleep(pause).await;
        self.course.ledger.paused += pause;
    }

    fn is_paid_for(&mut self) -> bool {
        let is_paid_for = self.attempts.budget.spend(self.attempts.budget_percent, Instant::now());
        self.course.ledger.is_over_budget |= !is_paid_for;
        is_paid_for
    }

    /// Room for an attempt, unless there is none.
    async fn slot(&mut self, target: &'t Target, turn: Turn) -> Option<Slot> {
        let full = match turn {
            Turn::InLine => match self.wait_for_room(target).await {
                Ok(slot) => return Some(slot),
                Err(Full(expected)) => expected,
            },
            Turn::AtOnce | Turn::Again => match target.backend.health().room().enter() {
                Some(slot) => return Some(slot),
                // One that is left alone, or only tried out, is not worth waiting for.
                None if turn == Turn::AtOnce && !target.backend.health().is_resting(Instant::now()) => {
                    self.course.full(target);
                    return None;
                }
                None => Duration::ZERO,
            },
        };
        self.course.skipped(target.backend.name(), BackendError::Full { seconds: full.as_secs() + 1 });
        None
    }

    async fn wait_for_room(&mut self, target: &Target) -> Result<Slot, Full> {
        let now = Instant::now();
        let end = Deadline::of(target.backend.timeouts(), self.began, now).end();
        let slot = target.backend.health().room().wait(self.attempts.urgency, end).await;
        self.course.ledger.queued += now.elapsed();
        self.attempts.metrics.backends.waited(target.backend.name(), now.elapsed(), slot.is_ok());
        slot
    }

    /// Begins an attempt, unless the backend is not to be asked now.
    fn begin(&mut self, target: &'t Target, slot: Slot) -> Option<Attempt<'t>> {
        let (backend, began) = (&target.backend, Instant::now());
        let deadline = Deadline::of(backend.timeouts(), self.began, began);
        let reason = match backend.readiness() {
            _ if deadline.end() <= began => BackendError::TimedOut,
            Readiness::Loading => BackendError::Loading,
            Readiness::Failed(_) => BackendError::Unavailable,
            Readiness::Ready => {
                let most = self.attempts.max_resting_percent;
                let health = backend.health();
                match health.begin(slot, began, || self.course.share_resting(target) > most) {
                    Ok(in_flight) => return Some(Attempt { target, in_flight, deadline, began }),
                    // Whole seconds, the last one begun.
                    Err(rest) => BackendError::Resting { seconds: rest.as_secs() + 1 },
                }
            }
        };
        self.course.skipped(backend.name(), reason);
        None
    }

    /// Asks a backend, and another one too if it says nothing for so long: the first that begins to answer answers.
    async fn ask_hedged(&mut self, attempt: Attempt<'t>, after: Duration) {
        let question = self.question;
        let mut answering = pin!(question.ask(attempt.target, attempt.deadline));
        if let Ok(answer) = timeout(after, answering.as_mut()).await {
            return self.note(attempt, answer);
        }
        let Some(rival) = self.rival(attempt.target) else {
            let answer = answering.await;
            return self.note(attempt, answer);
        };
        self.course.ledger.is_hedged = true;
        let rival_answering = pin!(question.ask(rival.target, rival.deadline));
        let rival = Running { attempt: rival, answering: rival_answering };
        let (first, answer, other) = race(Running { attempt, answering }, rival).await;
        self.note(first, answer);
        if self.course.is_over() {
            self.outran(&other.attempt);
        } else {
            let answer = other.answering.await;
            self.note(other.attempt, answer);
        }
    }

    /// An attempt at another backend that can be made at once, and is paid for.
    fn rival(&mut self, of: &Target) -> Option<Attempt<'t>> {
        loop {
            let target = self.course.rival(of)?;
            let slot = target.backend.health().room().enter();
            if let Some(attempt) = slot.and_then(|slot| self.begin(target, slot)) {
                return self.is_paid_for().then_some(attempt);
            }
        }
    }

    /// Notes what came of an attempt.
    fn note(&mut self, attempt: Attempt<'t>, answer: Result<Q::Answer, BackendError>) {
        let Attempt { target, mut in_flight, began, .. } = attempt;
        let now = Instant::now();
        let outcome = match answer {
            Err(error) => {
                match error {
                    BackendError::PutOff { seconds } => {
                        in_flight.put_off(seconds.map(Duration::from_secs), now)
                    }
                    _ => in_flight.failed(&error, now),
                }
                let outcome = Outcome::Failed(error.kind());
                self.course.failed(target, error);
                outcome
            }
            Ok(answer) => {
                let verdict = Q::verdict(&answer);
                match verdict {
                    Verdict::Answered | Verdict::Short(_) => in_flight.answered(now),
                    Verdict::Refused | Verdict::Unknown => in_flight.refused(now),
                    Verdict::PutOff(wait) => in_flight.put_off(wait, now),
                }
                let answered = Answered { target, answer, in_flight };
                match verdict {
                    Verdict::Answered | Verdict::Refused => self.course.answered(answered),
                    Verdict::Unknown => self.course.unknown(answered),
                    Verdict::PutOff(_) => self.course.put_off(answered),
                    Verdict::Short(_) => self.course.second_best(answered),
                }
                Outcome::of(verdict)
            }
        };
        self.tried(target, outcome, began);
    }

    /// Notes an attempt that nobody needs any more.
    fn outran(&mut self, attempt: &Attempt<'t>) {
        self.tried(attempt.target, Outcome::Outrun, attempt.began);
    }

    fn tried(&mut self, target: &Target, outcome: Outcome, began: Instant) {
        let (name, provider) = (target.backend.name(), target.backend.provider());
        let tried = Tried { backend: name.to_owned(), outcome, began, after: began.elapsed(), provider };
        self.course.ledger.tried.push(tried);
        self.attempts.metrics.models.answers.with_label_values(&[name, outcome.as_str()]).inc();
    }
}

/// Which of two says something first, what that is, and the other one.
async fn race<'t, 'f, F: Future>(
    one: Running<'t, 'f, F>,
    other: Running<'t, 'f, F>,
) -> (Attempt<'t>, F::Output, Running<'t, 'f, F>) {
    match select(one.answering, other.answering).await {
        Either::Left((answer, answering)) => {
            (one.attempt, answer, Running { attempt: other.attempt, answering })
        }
        Either::Right((answer, answering)) => {
            (other.attempt, answer, Running { attempt: one.attempt, answering })
        }
    }
}
