//! The newest version of each kind that a watch has shown. Where there are several API servers, the one that is
//! asked may remember less than the one that told of a change: it is asked for no less than what was told.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Versions by kind. The API has them compared as numbers; one that is none is not noted.
#[derive(Default)]
pub(crate) struct Newest(Mutex<HashMap<String, u64>>);

impl Newest {
    /// Notes the version of an object that a watch has shown.
    pub(crate) fn note(&self, kind: &str, version: Option<&str>) {
        let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) else { return };
        let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match versions.get_mut(kind) {
            Some(newest) => *newest = version.max(*newest),
            None => {
                versions.insert(kind.to_owned(), version);
            }
        }
    }

    /// What to ask for: no less than what was shown. `0`, which is anything, if nothing was.
    pub(crate) fn of(&self, kind: &str) -> String {
        let versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(kind).copied().unwrap_or_default().to_string()
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
        assert_eq!(newest.of("Service"), "10");
        assert_eq!(newest.of("Secret"), "0");
    }
}
