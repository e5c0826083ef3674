//! What models answered, and at what cost.

use super::UsedTokens;
use super::metrics::registered;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// The metrics of models.
pub struct ModelMetrics {
    /// Attempts by backend and outcome.
    pub answers: IntCounterVec,
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

    /// Notes the tokens that an answer used.
    pub fn used(&self, model: &str, UsedTokens { prompt, completion }: UsedTokens) {
        for (kind, count) in [("prompt", prompt), ("completion", completion)] {
            if count > 0 {
                self.tokens.with_label_values(&[model, kind]).inc_by(count);
            }
        }
    }
}
