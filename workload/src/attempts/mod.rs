//! How a request is brought to an answer: one backend after the other, within the budget, until one begins to answer. After that
//! nothing is tried any more, so no answer is ever made of two.

mod budget;
mod course;
mod ledger;

pub use budget::RetryBudget;
pub use ledger::{Ledger, Outcome, Tried};

use crate::backend::{BackendError, Deadline, InFlight, Readiness};
use crate::routing::{Affinity, Order, Target, in_order_of_trial};
use crate::telemetry::Metrics;
use course::Course;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest pause before a backend is asked again that just failed, milliseconds; how long exactly is left to chance, so that those
/// who failed together do not come back together.
const LONGEST_PAUSE_MS: u64 = 100;

/// What backends are asked.
pub trait Question: Sync {
    /// What they answer.
    type Answer: Send;

    /// Asks one, until it begins to answer.
    fn ask(
        &self,
        target: &Target,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Self::Answer, BackendError>> + Send;

    /// What it has in common with others that are best asked of the same backend.
    fn affinity(&self) -> Option<Affinity> {
        None
    }

    /// What the answer says about the one who gave it.
    fn verdict(answer: &Self::Answer) -> Verdict;
}

/// What an answer says about the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers.
    Answered,
    /// It finds fault with the request, which others would too.
    Refused,
    /// It does not know the model, by the name that it was given.
    Unknown,
    /// It has too much to do, and asks to be left alone for this long, if it says so.
    PutOff(Option<Duration>),
}

/// An answer that has begun.
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// Counts the backend's work for as long as it is kept.
    pub in_flight: InFlight,
}

/// What all attempts of one request share.
pub struct Attempts<'a> {
    /// What pays for all but the first one.
    pub budget: &'a RetryBudget,
    /// The share of requests that is granted to it, percent.
    pub budget_percent: u16,
    /// Whether prompts that begin alike go to the same backend.
    pub has_affinity: bool,
    /// What is counted.
    pub metrics: &'a Metrics,
}

impl Attempts<'_> {
    /// The first answer that begins, and what was tried for it.
    pub async fn first_answer<Q: Question>(
        &self,
        question: &Q,
        targets: &[&Target],
    ) -> (Result<Answered<Q::Answer>, BackendError>, Ledger) {
        self.budget.earn();
        let began = Instant::now();
        let affinity = if self.has_affinity { question.affinity() } else { None };
        let Order { targets, is_by_affinity } = in_order_of_trial(targets, affinity);
        let mut course = Course::over(targets);
        course.ledger.is_by_affinity = is_by_affinity;
        while let Some((target, is_repeated)) = course.next() {
            if is_repeated {
                let pause = Duration::from_millis(fastrand::u64(0..=LONGEST_PAUSE_MS));
                sleep(pause).await;
                course.ledger.paused += pause;
            }
            let now = Instant::now();
            let Some((deadline, in_flight)) = begin(&mut course, target, began, now) else { continue };
            if !course.is_first() && !self.budget.spend(self.budget_percent, now) {
                course.ledger.is_over_budget = true;
                break;
            }
            let answer = question.ask(target, deadline).await;
            self.note::<Q>(&mut course, target, in_flight, now, answer);
        }
        let (answer, ledger) = course.end();
        self.tell(&ledger);
        (answer, ledger)
    }

    /// Notes what came of an attempt.
    fn note<'t, Q: Question>(
        &self,
        course: &mut Course<'t, Q::Answer>,
        target: &'t Target,
        mut in_flight: InFlight,
        began: Instant,
        answer: Result<Q::Answer, BackendError>,
    ) {
        let (now, name) = (Instant::now(), target.backend.name());
        let outcome = match answer {
            Err(error) => {
                match error {
                    BackendError::PutOff { seconds } => {
                        in_flight.put_off(seconds.map(Duration::from_secs), now)
                    }
                    _ => in_flight.failed(&error, now),
                }
                let outcome = Outcome::Failed(error.kind());
                course.failed(target, error);
                outcome
            }
            Ok(answer) => {
                let verdict = Q::verdict(&answer);
                match verdict {
                    Verdict::Answered => in_flight.answered(now),
                    Verdict::Refused | Verdict::Unknown => in_flight.refused(now),
                    Verdict::PutOff(wait) => in_flight.put_off(wait, now),
                }
                let answered = Answered { answer, in_flight };
                match verdict {
                    Verdict::Answered | Verdict::Refused => course.answered(answered),
                    Verdict::Unknown => course.unknown(answered),
                    Verdict::PutOff(_) => course.put_off(answered),
                }
                Outcome::of(verdict)
            }
        };
        let provider = target.backend.provider();
        let tried = Tried { backend: name.to_owned(), outcome, began, after: now - began, provider };
        course.ledger.tried.push(tried);
        self.metrics.models.answers.with_label_values(&[name, outcome.as_str()]).inc();
    }

    /// Of what did not go well at once. Who is left alone was told when that began.
    fn tell(&self, ledger: &Ledger) {
        if ledger.is_over_budget {
            self.metrics.models.retries_over_budget.inc();
        }
        if ledger.is_remarkable() {
            tracing::warn!(attempts = %ledger, "not all went well at once");
        }
    }
}

/// Begins an attempt, unless the backend is not to be asked now.
fn begin<T>(
    course: &mut Course<'_, T>,
    target: &Target,
    began: Instant,
    now: Instant,
) -> Option<(Deadline, InFlight)> {
    let backend = &target.backend;
    let deadline = Deadline::of(backend.timeouts(), began, now);
    let is_ready = match backend.readiness() {
        _ if deadline.end() <= now => Err(BackendError::TimedOut),
        Readiness::Loading => Err(BackendError::Loading),
        Readiness::Failed(_) => Err(BackendError::Unavailable),
        Readiness::Ready => Ok(()),
    };
    if let Err(reason) = is_ready {
        course.skipped(backend.name(), reason);
        return None;
    }
    match backend.health().begin(now) {
        Ok(in_flight) => Some((deadline, in_flight)),
        Err(rest) => {
            // Whole seconds, the last one begun.
            course.skipped(backend.name(), BackendError::Resting { seconds: rest.as_secs() + 1 });
            None
        }
    }
}
