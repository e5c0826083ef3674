//! Which secrets were found, for logs and metrics: never what they were.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How often each pattern was, by its name.
    pub counts: BTreeMap<String, u64>,
    /// Whether nothing was done about it.
    pub is_shadow: bool,
}

impl Found {
    pub(super) fn new(is_shadow: bool) -> Self {
        Self { counts: BTreeMap::new(), is_shadow }
    }

    /// One more.
    pub(super) fn count(&mut self, name: &str) {
        *self.counts.entry(name.to_owned()).or_default() += 1;
    }

    /// The names, for a person.
    pub fn names(&self) -> String {
        self.counts.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// Where it is noted what was found in an answer, while that passes.
#[derive(Clone, Default)]
pub struct FoundNote(Arc<Mutex<Option<Found>>>);

impl FoundNote {
    /// More was found.
    pub fn add(&self, found: &Found) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = noted.get_or_insert_with(|| Found::new(found.is_shadow));
        for (name, count) in &found.counts {
            *noted.counts.entry(name.clone()).or_default() += count;
        }
    }

    /// What was found until now, if anything.
    pub fn get(&self) -> Option<Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
