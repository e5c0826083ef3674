//! Decisions that were made before, under one policy: they hold as long as it does, since nothing else was asked.

use super::{Action, Asked, Asking, Verdict};
use moka::Equivalent;
use moka::sync::Cache;
use std::sync::Arc;

/// Decisions that are remembered, so many clients times models; of more, those that are asked for least are made anew.
const REMEMBERED_DECISIONS: u64 = 16 * 1024;

/// Who asks for what. Hashes as it does where it is borrowed.
#[derive(PartialEq, Eq, Hash)]
struct Question {
    client: Box<str>,
    action: Action,
    model: Box<str>,
    backend: Box<str>,
}

/// The same, to look for without a copy.
#[derive(Hash)]
struct BorrowedQuestion<'a> {
    client: &'a str,
    action: Action,
    model: &'a str,
    backend: &'a str,
}

impl Equivalent<Question> for BorrowedQuestion<'_> {
    fn equivalent(&self, other: &Question) -> bool {
        (self.client, self.action, self.model, self.backend)
            == (&other.client, other.action, &other.model, &other.backend)
    }
}

/// What was decided.
pub(super) struct Remembered(Cache<Question, Arc<Verdict>>);

impl Remembered {
    pub(super) fn new() -> Self {
        Self(Cache::new(REMEMBERED_DECISIONS))
    }

    /// What was decided, or is now.
    pub(super) fn or(
        &self,
        asking: &Asking<'_>,
        asked: &Asked<'_>,
        decide: impl FnOnce() -> Verdict,
    ) -> Arc<Verdict> {
        let Asked { action, model, backend } = *asked;
        if let Some(known) = self.0.get(&BorrowedQuestion { client: asking.client, action, model, backend }) {
            return known;
        }
        let verdict = Arc::new(decide());
        let question =
            Question { client: asking.client.into(), action, model: model.into(), backend: backend.into() };
        self.0.insert(question, Arc::clone(&verdict));
        verdict
    }
}
