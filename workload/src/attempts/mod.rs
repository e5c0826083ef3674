//! How a request is brought to an answer: one backend after the other, within the budget, until one begins to answer. After that
//! nothing is tried any more, so no answer is ever made of two.

mod budget;
mod course;
mod ledger;
mod run;

pub use budget::RetryBudget;
pub use ledger::{Ledger, Outcome, Tried};

use crate::backend::{BackendError, Deadline, InFlight};
use crate::routing::{Affinity, Order, Target, in_order_of_trial};
use crate::telemetry::Metrics;
use codecrucible_contract::Urgency;
use course::Course;
use run::Run;
use std::time::Duration;
use tokio::time::Instant;

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

    /// By what the client's request is known, if it is one.
    fn request_id(&self) -> Option<&str> {
        None
    }

    /// Whether answers are streams, whose first byte is a sign of life and not all there is.
    fn is_streamed(&self) -> bool;

    /// What the answer says about the one who gave it.
    fn verdict(answer: &Self::Answer) -> Verdict;

    /// The same, where others can be asked after an answer that falls short: it is looked into.
    fn judge(
        &self,
        answer: Self::Answer,
    ) -> impl Future<Output = Result<(Self::Answer, Verdict), BackendError>> + Send;
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
    /// It answers, but the answer falls short for this reason; another one may do better.
    Short(&'static str),
    /// It has too much to do, and asks to be left alone for this long, if it says so.
    PutOff(Option<Duration>),
}

/// An answer that has begun.
pub struct Answered<'t, T> {
    /// Who gives it.
    pub target: &'t Target,
    /// The answer.
    pub answer: T,
    /// Counts the backend's work for as long as it is kept; nothing for an answer that is all there.
    pub in_flight: Option<InFlight>,
    /// Whether it falls short, and nobody did better.
    pub is_short: bool,
}

/// What all attempts of one request share.
pub struct Attempts<'a> {
    /// What pays for all but the first one.
    pub budget: &'a RetryBudget,
    /// The share of requests that is granted to it, percent.
    pub budget_percent: u16,
    /// Whether prompts that begin alike go to the same backend.
    pub has_affinity: bool,
    /// After how long without a first byte another backend is asked too, if ever.
    pub hedge_after: Option<Duration>,
    /// The share of equal backends that may be left alone for failing, percent.
    pub max_resting_percent: u16,
    /// How urgent the request is.
    pub urgency: Urgency,
    /// What is counted.
    pub metrics: &'a Metrics,
}

impl Attempts<'_> {
    /// The first answer that begins, and what was tried for it; those who may do better are asked where one falls short.
    pub async fn first_answer<'t, Q: Question>(
        &self,
        question: &Q,
        targets: &[&'t Target],
        better: &[&'t Target],
    ) -> (Result<Answered<'t, Q::Answer>, BackendError>, Ledger) {
        self.budget.earn();
        let affinity = if self.has_affinity { question.affinity() } else { None };
        let Order { targets, is_by_affinity } = in_order_of_trial(targets, affinity);
        let better = if better.is_empty() { Vec::new() } else { in_order_of_trial(better, affinity).targets };
        let mut course = Course::over(targets, better);
        course.ledger.is_by_affinity = is_by_affinity;
        let mut run = Run { attempts: self, question, course, began: Instant::now() };
        run.until_answered().await;
        let (answer, ledger) = run.course.end();
        self.tell(&ledger, question.request_id());
        (answer, ledger)
    }

    /// Of what did not go well at once. Who is left alone was told when that began.
    fn tell(&self, ledger: &Ledger, request_id: Option<&str>) {
        if ledger.is_over_budget {
            self.metrics.models.retries_over_budget.inc();
        }
        if ledger.is_remarkable() {
            tracing::warn!(request_id, attempts = %ledger, "not all went well at once");
        }
    }
}
