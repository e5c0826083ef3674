//! Metrics at hand: a family looks up by hashing and comparing all labels which of its metrics is meant, which is to be done once for whatever is counted for
//! each request, and not each time.

use prometheus::IntCounter;
use std::sync::OnceLock;

/// The metrics of one thing, by what comes of it. Each is looked up when that comes of it for the first time, so that nothing is told of what
/// never was, and held as long as the thing lives. What has no place among so many is looked up each time.
pub struct Handles<K, const MOST: usize, M = IntCounter>([OnceLock<(K, M)>; MOST]);

impl<K, const MOST: usize, M> Default for Handles<K, MOST, M> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; MOST])
    }
}

impl<K: Copy + PartialEq, const MOST: usize> Handles<K, MOST> {
    /// Counts so many more of a kind.
    pub(super) fn add(&self, kind: K, count: u64, look_up: impl Fn() -> IntCounter) {
        self.with(kind, look_up, |counter| counter.inc_by(count));
    }
}

impl<K: Copy + PartialEq, const MOST: usize, M> Handles<K, MOST, M> {
    /// Notes something in what a kind has.
    pub(super) fn with(&self, kind: K, look_up: impl Fn() -> M, note: impl FnOnce(&M)) {
        for place in &self.0 {
            let (of, metric) = place.get_or_init(|| (kind, look_up()));
            if *of == kind {
                return note(metric);
            }
        }
        note(&look_up());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{IntCounterVec, Opts};
    use std::cell::Cell;

    struct Counted {
        family: IntCounterVec,
        handles: Handles<&'static str, 2>,
        looks: Cell<usize>,
    }

    impl Counted {
        fn new() -> Self {
            let family = IntCounterVec::new(Opts::new("n", "h"), &["kind"]).unwrap();
            Self { family, handles: Handles::default(), looks: Cell::default() }
        }

        fn add(&self, kind: &'static str) {
            self.handles.add(kind, 1, || {
                self.looks.set(self.looks.get() + 1);
                self.family.with_label_values(&[kind])
            });
        }

        fn of(&self, kind: &str) -> u64 {
            self.family.with_label_values(&[kind]).get()
        }
    }

    #[test]
    fn each_kind_counts_for_itself_and_is_looked_up_once() {
        let counted = Counted::new();
        for kind in ["a", "b", "a", "b", "b"] {
            counted.add(kind);
        }
        assert_eq!((counted.of("a"), counted.of("b"), counted.looks.get()), (2, 3, 2));
    }

    #[test]
    fn what_has_no_place_counts_all_the_same() {
        let counted = Counted::new();
        for kind in ["a", "b", "c", "c", "a"] {
            counted.add(kind);
        }
        assert_eq!((counted.of("a"), counted.of("b"), counted.of("c")), (2, 1, 2));
    }

    #[test]
    fn two_who_count_something_for_the_first_time_at_once_both_count() {
        let family = IntCounterVec::new(Opts::new("n", "h"), &["kind"]).unwrap();
        let handles = Handles::<&str, 4>::default();
        std::thread::scope(|scope| {
            for kind in ["a", "b", "a", "b"] {
                let (handles, family) = (&handles, &family);
                let count = move || handles.add(kind, 1, || family.with_label_values(&[kind]));
                scope.spawn(move || (0..1_000).for_each(|_| count()));
            }
        });
        assert_eq!(["a", "b"].map(|kind| family.with_label_values(&[kind]).get()), [2_000, 2_000]);
    }
}
