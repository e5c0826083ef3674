//! Gives way for a while where somebody else changes an object of ours whenever it is written: two who are both right would write
//! without end, such as with a controller of Ingresses that has an opinion. Whoever changes it seldom is corrected at once, what is new
//! is always written, and what guards the service always corrected.

use super::child::Child;
use super::desired::Prepared;
use codecrucible_crds::names;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What others work on too.
const SHARED: [Child; 4] = [Child::Service, Child::Ingress, Child::Route, Child::RouteTrust];
/// Most corrections of one object within [`WINDOW`].
const MOST_CORRECTIONS: usize = 5;
/// What a correction counts for.
const WINDOW: Duration = Duration::from_secs(60);

/// When objects were corrected, the oldest first, by their owner's uid.
#[derive(Default)]
pub(super) struct Contested(Mutex<HashMap<(String, Child), Vec<Instant>>>);

/// What is left alone, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftAlone {
    pub(super) child: Child,
    pub(super) name: String,
    /// Until it is written again.
    pub(super) pause: Duration,
}

impl Contested {
    /// Takes out of what is about to be written what was corrected too often, and notes the other corrections as made.
    pub(super) fn restrain(
        &self,
        owner: &str,
        live: &BTreeMap<Child, DynamicObject>,
        changes: &mut Vec<Prepared>,
        now: Instant,
    ) -> Vec<LeftAlone> {
        let mut corrected = self.corrected();
        corrected.retain(|_, at| at.last().is_some_and(|at| now.duration_since(*at) < WINDOW));
        let mut left = Vec::new();
        changes.retain(|prepared| {
            if !SHARED.contains(&prepared.child) || !is_correction(live.get(&prepared.child), prepared) {
                return true;
            }
            let at = corrected.entry((owner.to_owned(), prepared.child)).or_default();
            let pause = admit(at, now);
            let (child, name) = (prepared.child, prepared.name.clone());
            left.extend(pause.map(|pause| LeftAlone { child, name, pause }));
            pause.is_none()
        });
        left
    }

    fn corrected(&self) -> MutexGuard<'_, HashMap<(String, Child), Vec<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an object has been written just like this before.
fn is_correction(live: Option<&DynamicObject>, prepared: &Prepared) -> bool {
    let written = live.and_then(|live| live.annotations().get(names::ANNOTATION_APPLIED_HASH));
    let wanted = &prepared.object["metadata"]["annotations"][names::ANNOTATION_APPLIED_HASH];
    written.is_some_and(|written| wanted == written.as_str())
}

/// How long a correction has to wait, if it is one too many; it is noted if it is not.
fn admit(corrected: &mut Vec<Instant>, now: Instant) -> Option<Duration> {
    corrected.retain(|at| now.duration_since(*at) < WINDOW);
    let oldest = corrected.first().filter(|_| corrected.len() >= MOST_CORRECTIONS);
    let pause = oldest.map(|at| WINDOW.saturating_sub(now.duration_since(*at)));
    if pause.is_none() {
        corrected.push(now);
    }
    pause
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(content: &str) -> Value {
        let annotations = json!({names::ANNOTATION_APPLIED_HASH: content});
        json!({"apiVersion": "v1", "kind": "Any", "metadata": {"name": "demo", "annotations": annotations}})
    }

    fn change(content: &str) -> Prepared {
        Prepared { child: Child::Ingress, name: "demo".into(), object: object(content) }
    }

    /// An Ingress that was written as `old` and changed by somebody is to be as `new`: what is left alone.
    fn left(contested: &Contested, owner: &str, new: &str, now: Instant) -> Vec<LeftAlone> {
        let live = BTreeMap::from([(Child::Ingress, serde_json::from_value(object("old")).unwrap())]);
        let mut changes = vec![change(new)];
        let left = contested.restrain(owner, &live, &mut changes, now);
        assert_eq!(changes.len() + left.len(), 1);
        left
    }

    #[test]
    fn an_object_that_somebody_changes_each_time_is_left_alone_for_a_while() {
        let (contested, begin) = (Contested::default(), Instant::now());
        let left = |seconds| left(&contested, "1-2-3", "old", begin + Duration::from_secs(seconds));
        for second in 0..5 {
            assert_eq!(left(second), []);
        }
        let pause = Duration::from_secs(55);
        assert_eq!(left(5), [LeftAlone { child: Child::Ingress, name: "demo".into(), pause }]);
        assert_eq!(left(60), [], "the first one counts no longer");
        assert_ne!(left(60), []);
    }

    #[test]
    fn what_guards_the_service_is_always_corrected() {
        let live = BTreeMap::from([(Child::NetworkPolicy, serde_json::from_value(object("old")).unwrap())]);
        let contested = Contested::default();
        for _ in 0..=MOST_CORRECTIONS {
            let mut changes = vec![Prepared { child: Child::NetworkPolicy, ..change("old") }];
            assert_eq!(contested.restrain("1-2-3", &live, &mut changes, Instant::now()), []);
        }
    }

    #[test]
    fn what_is_new_and_the_objects_of_others_are_written_at_once() {
        let (contested, now) = (Contested::default(), Instant::now());
        for _ in 0..=MOST_CORRECTIONS {
            left(&contested, "1-2-3", "old", now);
        }
        assert_eq!(left(&contested, "1-2-3", "new", now), []);
        assert_eq!(left(&contested, "4-5-6", "old", now), []);
        let mut created = vec![change("old")];
        assert_eq!(contested.restrain("1-2-3", &BTreeMap::new(), &mut created, now), []);
        assert_eq!(left(&contested, "4-5-6", "new", now + 2 * WINDOW), []);
        assert!(contested.corrected().is_empty(), "what is over long ago is forgotten");
    }
}
