//! The newest version of each kind that a watch has shown. Where there are several API servers, the one that is
//! asked may remember less than the one that told of a change: it is asked for no less than what was told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Versions by kind.
#[derive(Default)]
pub(crate) struct Newest(Mutex<HashMap<String, Shown>>);

/// What a watch of a kind has shown.
#[derive(Default)]
struct Shown {
    version: u64,
    is_listed: bool,
}

impl Newest {
    /// Notes the version of an object that a watch has shown. The API has them compared as numbers; one that is none
    /// is not noted.
    pub(crate) fn note(&self, kind: &str, version: Option<&str>) {
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            self.change(kind, |shown| shown.version = shown.version.max(version));
        }
    }

    /// Notes that a watch has shown everything that there was.
    pub(crate) fn note_listed(&self, kind: &str) {
        self.change(kind, |shown| shown.is_listed = true);
    }

    /// What to ask for: no less than what was shown. Nothing before everything was shown: whoever led before may
    /// have known more.
    pub(crate) fn of(&self, kind: &str) -> Option<String> {
        self.shown().get(kind).filter(|shown| shown.is_listed).map(|shown| shown.version.to_string())
    }

    fn change(&self, kind: &str, change: impl FnOnce(&mut Shown)) {
        let mut shown = self.shown();
        if let Some(known) = shown.get_mut(kind) {
            return change(known);
        }
        change(shown.entry(kind.to_owned()).or_default());
    }

    fn shown(&self) -> MutexGuard<'_, HashMap<String, Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Newest;

    #[test]
    fn the_newest_of_a_kind_counts_in_whatever_order_they_come() {
        let newest = Newest::default();
        for version in [Some("9"), Some("10"), Some("8"), Some("not a number"), None] {
            newest.note("Service", version);
        }
        newest.note_listed("Service");
        assert_eq!(newest.of("Service").as_deref(), Some("10"));
    }

    #[test]
    fn a_kind_counts_only_once_all_of_it_was_shown() {
        let newest = Newest::default();
        newest.note("Service", Some("9"));
        assert_eq!(newest.of("Service"), None);
        newest.note_listed("Secret");
        assert_eq!(newest.of("Secret").as_deref(), Some("0"), "there are none");
    }
}
