//! What was tried for one request and what came of it: the one place from which log, metrics and the client's header are told.

use super::Verdict;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// What came of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer began.
    Answered,
    /// The backend finds fault with the request.
    Refused,
    /// The backend has too much to do.
    PutOff,
    /// Its answer fell short, for this reason.
    Short(&'static str),
    /// Nobody waits for it any more: another backend that was asked too began to answer before.
    Outrun,
    /// It failed, in this way; with the status that it answered with, if that is what is wrong.
    Failed(&'static str, Option<u16>),
}

impl Outcome {
    /// Of an answer.
    pub(super) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Answered => Self::Answered,
            Verdict::Refused | Verdict::Unknown => Self::Refused,
            Verdict::PutOff(_) => Self::PutOff,
            Verdict::Short(reason) => Self::Short(reason),
        }
    }

    /// Why an answer fell short, if it did.
    fn shortfall(self) -> Option<&'static str> {
        match self {
            Self::Short(reason) => Some(reason),
            _ => None,
        }
    }

    /// Its name in metrics and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::PutOff => "put_off",
            Self::Short(_) => "short",
            Self::Outrun => "outrun",
            Self::Failed(kind, _) => kind,
        }
    }
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The backend's name.
    pub backend: String,
    /// What came of it.
    pub outcome: Outcome,
    /// When it began.
    pub began: Instant,
    /// How long that took.
    pub after: Duration,
    /// What the backend speaks, by the name that OpenTelemetry has for it.
    pub provider: &'static str,
}

/// All attempts of one request, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Those that were made.
    pub tried: Vec<Tried>,
    /// Which of them gave the answer that a client gets.
    pub answered: Option<usize>,
    /// Backends that were not asked: they are left alone, not ready, or have no room.
    pub skipped: Vec<String>,
    /// How long backends were asked, of which two may have been at once.
    pub asking: Duration,
    /// How long nothing was asked, so that a backend had time to recover.
    pub paused: Duration,
    /// How long the request waited for room.
    pub queued: Duration,
    /// Whether the first one was that to which the prompt belongs.
    pub is_by_affinity: bool,
    /// Whether two were asked at once, because the first one said nothing for long.
    pub is_hedged: bool,
    /// Whether another one would have been made, but for the budget.
    pub is_over_budget: bool,
}

impl Ledger {
    /// Whether it is worth a line in the log: nearly every request is answered at once, and that nobody is asked because all are left
    /// alone was told before.
    pub fn is_remarkable(&self) -> bool {
        let is_usual = |tried: &Tried| matches!(tried.outcome, Outcome::Answered | Outcome::Refused);
        // Whose answer falls short, and who is outrun, does not fail.
        let is_by_design = |tried: &&Tried| matches!(tried.outcome, Outcome::Short(_) | Outcome::Outrun);
        let mut others = self.tried.iter().filter(|tried| !is_by_design(tried));
        self.is_over_budget || others.clone().count() > 1 || !others.all(is_usual)
    }

    /// Notes that an attempt begins; its outcome is told later. Gives its number.
    pub(super) fn begin(&mut self, backend: &str, provider: &'static str, began: Instant) -> usize {
        let (outcome, after) = (Outcome::Outrun, Duration::ZERO);
        self.tried.push(Tried { backend: backend.to_owned(), outcome, began, after, provider });
        self.tried.len() - 1
    }

    /// Notes what came of an attempt.
    pub(super) fn end(&mut self, number: usize, outcome: Outcome, after: Duration) {
        if let Some(tried) = self.tried.get_mut(number) {
            (tried.outcome, tried.after) = (outcome, after);
        }
    }

    /// Why an answer fell short, if one did.
    pub fn shortfall(&self) -> Option<&'static str> {
        self.tried.iter().find_map(|tried| tried.outcome.shortfall())
    }

    /// How long backends were waited for.
    pub fn waited(&self) -> Duration {
        self.paused + self.queued + self.asking
    }

    /// Who answered, or was asked last.
    pub fn backend(&self) -> Option<&str> {
        Some(&self.answered.and_then(|index| self.tried.get(index)).or(self.tried.last())?.backend)
    }

    /// What a client is told: who answered, or was asked last, after how many attempts, and why he, where that is not for having less to do.
    pub fn summary(&self) -> Option<String> {
        if self.tried.is_empty() && !self.queued.is_zero() {
            return Some(format!("attempts=0; queued_ms={}", self.queued.as_millis()));
        }
        let by = if self.is_by_affinity && self.tried.len() == 1 { "; by=prefix" } else { "" };
        let mut summary = format!("backend={}; attempts={}{by}", self.backend()?, self.tried.len());
        if let Some(reason) = self.shortfall() {
            summary.push_str("; short=");
            summary.push_str(reason);
        }
        if self.is_hedged {
            summary.push_str("; hedged");
        }
        if self.queued.as_millis() > 0 {
            summary.push_str(&format!("; queued_ms={}", self.queued.as_millis()));
        }
        Some(summary)
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Tried { backend, outcome, after, .. }) in self.tried.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{backend} {}", outcome.as_str())?;
            if let Outcome::Failed(_, Some(status)) = outcome {
                write!(f, " with status {status}")?;
            }
            write!(f, " after {} ms", after.as_millis())?;
        }
        if !self.skipped.is_empty() {
            write!(f, ", not asked: {}", self.skipped.join(" "))?;
        }
        if self.queued.as_millis() > 0 {
            write!(f, ", {} ms of waiting for room", self.queued.as_millis())?;
        }
        if self.is_over_budget { f.write_str(", and no budget for more") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(backend: &str, outcome: Outcome, after_ms: u64) -> Tried {
        let (backend, after) = (backend.to_owned(), Duration::from_millis(after_ms));
        Tried { backend, outcome, began: Instant::now(), after, provider: "openai" }
    }

    #[test]
    fn it_tells_what_was_tried_in_order_and_who_answered() {
        let mut ledger = Ledger::default();
        ledger.tried.push(tried("a", Outcome::PutOff, 3));
        ledger.tried.push(tried("b", Outcome::Failed("error", Some(500)), 120));
        ledger.skipped.push("c".into());
        assert_eq!(
            ledger.to_string(),
            "a put_off after 3 ms, b error with status 500 after 120 ms, not asked: c"
        );
        assert_eq!(ledger.summary().as_deref(), Some("backend=b; attempts=2"));
        ledger.answered = Some(0);
        assert_eq!(ledger.summary().as_deref(), Some("backend=a; attempts=2"), "its 429 is the answer");
        (ledger.is_hedged, ledger.queued) = (true, Duration::from_millis(7));
        assert_eq!(ledger.summary().as_deref(), Some("backend=a; attempts=2; hedged; queued_ms=7"));
        assert!(ledger.to_string().ends_with(", not asked: c, 7 ms of waiting for room"));
        assert!(ledger.is_remarkable());
    }

    #[test]
    fn what_went_well_at_once_is_not_remarkable() {
        let mut ledger = Ledger::default();
        assert!(!ledger.is_remarkable() && ledger.summary().is_none());
        ledger.tried.push(tried("a", Outcome::Answered, 0));
        assert!(!ledger.is_remarkable());
        ledger.is_over_budget = true;
        assert!(ledger.is_remarkable() && ledger.to_string().ends_with("no budget for more"));
    }
}
