//! One request on its way to an answer: whose turn it is, whether there is room, and what came of it.

use super::course::{Course, Step, Turn};
use super::ledger::Outcome;
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
struct Ready<'t> {
    target: &'t Target,
    in_flight: InFlight,
    deadline: Deadline,
    began: Instant,
}

/// An attempt that stands in the ledger, under its number.
struct Attempt<'t> {
    ready: Ready<'t>,
    number: usize,
}

/// An attempt that is being answered.
struct Running<'t, 'f, F> {
    attempt: Attempt<'t>,
    answering: Pin<&'f mut F>,
}

impl<'t, Q: Question> Run<'_, 't, Q> {
    /// Goes its course until that is over. Borrowed, since a future that owns it has it twice.
    pub(super) async fn until_answered(&mut self) {
        while let Some(step) = self.course.next() {
            // Whoever waits has paid: in vain he would keep others from it.
            let is_to_be_paid = !self.course.is_first();
            if is_to_be_paid && matches!(step, Step::Wait(_)) && !self.is_paid_for() {
                break;
            }
            let has_waited = matches!(step, Step::Wait(_));
            let Some((target, slot)) = self.room(step).await else { continue };
            let Some(ready) = self.begin(target, slot) else { continue };
            if is_to_be_paid && !has_waited && !self.is_paid_for() {
                break;
            }
            let (attempt, now) = (self.made(ready), Instant::now());
            match self.attempts.hedge_after.filter(|_| self.question.is_streamed()) {
                // What is rare lies elsewhere, so that what is usual is moved about with little.
                Some(after) => Box::pin(self.ask_hedged(attempt, after)).await,
                None => {
                    let answer = self.question.ask(target, attempt.ready.deadline).await;
                    self.note(attempt, answer).await;
                }
            }
            self.course.ledger.asking += now.elapsed();
        }
    }

    async fn pause(&mut self) {
        let pause = Duration::from_millis(fastrand::u64(0..=LONGEST_PAUSE_MS));
        sleep(pause).await;
        self.course.ledger.paused += pause;
    }

    fn is_paid_for(&mut self) -> bool {
        let is_paid_for = self.spend();
        self.course.ledger.is_over_budget |= !is_paid_for;
        is_paid_for
    }

    fn spend(&self) -> bool {
        self.attempts.budget.spend(self.attempts.budget_percent, Instant::now())
    }

    /// Room for the next attempt, unless there is none.
    async fn room(&mut self, step: Step<'t>) -> Option<(&'t Target, Slot)> {
        match step {
            Step::Wait(targets) => Box::pin(self.wait_for_room(targets)).await,
            Step::Ask(target, turn) => {
                if turn == Turn::Again {
                    self.pause().await;
                }
                let slot = target.backend.health().room().enter();
                if slot.is_none() {
                    self.has_no_room(target, turn);
                }
                Some((target, slot?))
            }
        }
    }

    fn has_no_room(&mut self, target: &'t Target, turn: Turn) {
        // One that is left alone, or only tried out, is not worth waiting for.
        if turn == Turn::First && !target.backend.health().is_resting(Instant::now()) {
            self.course.full(target);
        } else {
            self.course.skipped(target.backend.name(), BackendError::Full { seconds: 1 });
        }
    }

    /// Waits for the one that is expected to have room first; for others only if that one takes nobody any more.
    async fn wait_for_room(&mut self, mut targets: Vec<&'t Target>) -> Option<(&'t Target, Slot)> {
        let urgency = self.attempts.urgency;
        targets.sort_by_cached_key(|target| target.backend.health().room().expected_wait(urgency));
        for target in targets {
            let (now, name) = (Instant::now(), target.backend.name());
            let end = Deadline::of(target.backend.timeouts(), self.began, now).end();
            let slot = target.backend.health().room().wait(urgency, now, end).await;
            let waited = now.elapsed();
            self.course.ledger.queued += waited;
            self.attempts.metrics.backends.waited(name, urgency, waited, slot.is_ok());
            match slot {
                Ok(slot) => return Some((target, slot)),
                Err(Full { expected, has_waited }) => {
                    let seconds = expected.as_secs() + 1;
                    self.course.skipped(name, BackendError::Full { seconds });
                    if has_waited {
                        break;
                    }
                }
            }
        }
        None
    }

    /// Begins an attempt, unless the backend is not to be asked now.
    fn begin(&mut self, target: &'t Target, slot: Slot) -> Option<Ready<'t>> {
        let (backend, began) = (&target.backend, Instant::now());
        let deadline = Deadline::of(backend.timeouts(), self.began, began);
        let reason = match backend.readiness() {
            _ if deadline.end() <= began => BackendError::TimedOut,
            Readiness::Loading => BackendError::Loading,
            Readiness::Failed(_) => BackendError::Unavailable,
            Readiness::Ready => {
                let most = self.attempts.max_resting_percent;
                let health = backend.health();
                let has_to_be =
                    || share_resting(self.course.equals(target)).is_some_and(|share| share > most);
                match health.begin(slot, began, deadline, has_to_be) {
                    Ok(in_flight) => return Some(Ready { target, in_flight, deadline, began }),
                    // Whole seconds, the last one begun.
                    Err(rest) => BackendError::Resting { seconds: rest.as_secs() + 1 },
                }
            }
        };
        self.course.skipped(backend.name(), reason);
        None
    }

    /// Puts it down.
    fn made(&mut self, ready: Ready<'t>) -> Attempt<'t> {
        let backend = &ready.target.backend;
        let number = self.course.ledger.begin(backend.name(), backend.provider(), ready.began);
        Attempt { ready, number }
    }

    /// Asks a backend, and another one too if it says nothing for so long: the first that begins to answer answers.
    async fn ask_hedged(&mut self, attempt: Attempt<'t>, after: Duration) {
        let (question, asked) = (self.question, attempt.ready.target);
        let mut answering = pin!(question.ask(asked, attempt.ready.deadline));
        if let Ok(answer) = timeout(after, answering.as_mut()).await {
            return self.note(attempt, answer).await;
        }
        let Some(rival) = self.rival(asked) else {
            let answer = answering.await;
            return self.note(attempt, answer).await;
        };
        self.course.ledger.is_hedged = true;
        let rival_answering = pin!(question.ask(rival.ready.target, rival.ready.deadline));
        let rival = Running { attempt: rival, answering: rival_answering };
        let (first, answer, other) = race(Running { attempt, answering }, rival).await;
        self.note(first, answer).await;
        if self.course.is_over() {
            self.tell(&other.attempt, Outcome::Outrun);
            let Ready { mut in_flight, .. } = other.attempt.ready;
            in_flight.outran(Instant::now());
        } else {
            let answer = other.answering.await;
            self.note(other.attempt, answer).await;
        }
    }

    /// An attempt at another backend that can be made at once, and is paid for. Whoever cannot be asked now has its turn later.
    fn rival(&mut self, of: &Target) -> Option<Attempt<'t>> {
        let now = Instant::now();
        let may_be_asked = |target: &&&Target| {
            target.backend.readiness() == Readiness::Ready && !target.backend.health().is_resting(now)
        };
        let (target, slot) = self.course.rivals(of).iter().filter(may_be_asked).find_map(|target| {
            let slot = target.backend.health().room().enter()?;
            Some((*target, slot))
        })?;
        // That there is none for this does no harm, and is not told therefore.
        if !self.spend() {
            return None;
        }
        self.course.take(target);
        let ready = self.begin(target, slot)?;
        Some(self.made(ready))
    }

    /// Notes what came of an attempt.
    async fn note(&mut self, attempt: Attempt<'t>, answer: Result<Q::Answer, BackendError>) {
        let judged = match answer {
            Ok(answer) if self.course.may_escalate() => Box::pin(self.question.judge(answer)).await,
            Ok(answer) => {
                let verdict = Q::verdict(&answer);
                Ok((answer, verdict))
            }
            Err(error) => Err(error),
        };
        let now = Instant::now();
        match judged {
            Err(error) => {
                self.tell(&attempt, Outcome::Failed(error.kind(), error.failing_status()));
                let Ready { target, mut in_flight, .. } = attempt.ready;
                match error {
                    BackendError::PutOff { seconds } => {
                        in_flight.put_off(seconds.map(Duration::from_secs), now)
                    }
                    _ => in_flight.failed(&error, now),
                }
                self.course.failed(target, error);
            }
            Ok((answer, verdict)) => {
                self.tell(&attempt, Outcome::of(verdict));
                let Attempt { ready: Ready { target, mut in_flight, .. }, number } = attempt;
                match verdict {
                    Verdict::Answered | Verdict::Short(_) => {
                        in_flight.answered(self.question.is_streamed(), now)
                    }
                    Verdict::Refused | Verdict::Unknown => in_flight.refused(now),
                    Verdict::PutOff(wait) => in_flight.put_off(wait, now),
                }
                let is_short = matches!(verdict, Verdict::Short(_));
                // It is all there, and the backend free for others.
                let in_flight = (!is_short).then_some(in_flight);
                self.course.said(verdict, number, Answered { target, answer, in_flight, is_short });
            }
        }
    }

    fn tell(&mut self, attempt: &Attempt<'t>, outcome: Outcome) {
        self.course.ledger.end(attempt.number, outcome, attempt.ready.began.elapsed());
        let backend = &attempt.ready.target.backend;
        self.attempts.metrics.models.attempted(backend.attempts(), backend.name(), outcome.as_str());
    }
}

/// How many of these are left alone for failing, percent; nothing of one that is alone.
fn share_resting<'t>(equals: impl Iterator<Item = &'t Target>) -> Option<u16> {
    let (mut all, mut resting) = (0, 0);
    for target in equals {
        all += 1;
        resting += usize::from(target.backend.health().is_open());
    }
    (all > 1).then(|| u16::try_from(resting * 100 / all).unwrap_or(u16::MAX))
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
