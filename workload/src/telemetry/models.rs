//! What models answered, and at what cost.

use super::UsedTokens;
use super::handles::Handles;
use super::metrics::registered;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Attempts at one backend, by what came of them: five outcomes, and all ways to fail.
pub type AttemptCounters = Handles<&'static str, 20>;
/// Tokens of one model, by their two kinds.
pub type TokenCounters = Handles<&'static str, 2>;

/// The metrics of models.
pub struct ModelMetrics {
    answers: IntCounterVec,
    broken: IntCounterVec,
    /// Requests that nobody else was asked for because there was no budget.
    pub retries_over_budget: IntCounter,
    /// Candidates of synthesis by voice and outcome.
    pub candidates: IntCounterVec,
    tokens: IntCounterVec,
}

impl ModelMetrics {
    pub(super) fn registered(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        Ok(Self {
            answers: counters(
                "codecrucible_backend_answers_total",
                "Attempts by backend and by what came of them.",
                &["backend", "outcome"],
            )?,
            broken: counters(
                "codecrucible_backend_answers_broken_total",
                "Answers that had begun and were not whole, by backend and reason (cut, timeout, total_timeout, protocol, too_large, failed).",
                &["backend", "reason"],
            )?,
            retries_over_budget: registered(
                registry,
                IntCounter::new(
                    "codecrucible_retries_over_budget_total",
                    "Requests for which no other backend was asked because the budget was spent.",
                )?,
            )?,
            candidates: counters(
                "codecrucible_synthesis_candidates_total",
                "Candidates of synthesis by voice and outcome.",
                &["voice", "outcome"],
            )?,
            tokens: counters(
                "codecrucible_model_tokens_total",
                "Tokens that answers used, by model and kind (prompt, completion); estimated where a backend does not say.",
                &["model", "kind"],
            )?,
        })
    }

    /// Notes what came of an attempt at a backend, which has these counters.
    pub fn attempted(&self, counters: &AttemptCounters, backend: &str, outcome: &'static str) {
        counters.add(outcome, 1, || self.answers.with_label_values(&[backend, outcome]));
    }

    /// Notes that an answer of a backend broke that had begun.
    pub fn broke(&self, backend: &str, reason: &str) {
        self.broken.with_label_values(&[backend, reason]).inc();
    }

    /// Notes the tokens that an answer of a model used, which has these counters.
    pub fn used(&self, counters: &TokenCounters, model: &str, UsedTokens { prompt, completion }: UsedTokens) {
        for (kind, count) in [("prompt", prompt), ("completion", completion)] {
            if count > 0 {
                counters.add(kind, count, || self.tokens.with_label_values(&[model, kind]));
            }
        }
    }
}
