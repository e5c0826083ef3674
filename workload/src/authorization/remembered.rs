//! Decisions that were made before, under one policy: they hold as long as it does, since nothing else was asked.

use super::{Asked, Asking, Verdict};
use moka::sync::Cache;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

/// Decisions that are remembered, so many clients times models; of more, those that are asked for least are made anew.
const REMEMBERED_DECISIONS: u64 = 16 * 1024;

/// What was decided about a question.
struct Decision {
    client: Box<str>,
    asked: (super::Action, Box<str>, Box<str>),
    verdict: Arc<Verdict>,
}

impl Decision {
    fn is_about(&self, client: &str, asked: &Asked<'_>) -> bool {
        let (action, model, backend) = &self.asked;
        *self.client == *client
            && (*action, &**model, &**backend) == (asked.action, asked.model, asked.backend)
    }
}

/// By a hash that nobody outside can foresee, so that a question is looked up without being copied.
pub(super) struct Remembered {
    hasher: RandomState,
    decisions: Cache<u64, Arc<Decision>>,
}

impl Remembered {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), decisions: Cache::new(REMEMBERED_DECISIONS) }
    }

    /// What was decided, or is now.
    pub(super) fn or(
        &self,
        asking: &Asking<'_>,
        asked: &Asked<'_>,
        decide: impl FnOnce() -> Verdict,
    ) -> Arc<Verdict> {
        let key = self.hasher.hash_one((asking.client, asked));
        let known = self.decisions.get(&key).filter(|known| known.is_about(asking.client, asked));
        if let Some(known) = known {
            return Arc::clone(&known.verdict);
        }
        let verdict = Arc::new(decide());
        let decision = Decision {
            client: asking.client.into(),
            asked: (asked.action, asked.model.into(), asked.backend.into()),
            verdict: Arc::clone(&verdict),
        };
        self.decisions.insert(key, Arc::new(decision));
        verdict
    }
}
